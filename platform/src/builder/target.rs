//! Targets: what builders are for and buildpacks run on, as pack has them.

use std::fmt;
use std::str::FromStr;

use oci::{Image, Platform};
use serde::{Deserialize, Serialize};

use super::labels::{DISTRO_NAME, DISTRO_VERSION};

/// What a builder builds for, or a buildpack runs on. An empty field is any.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "pack knows these")]
pub struct Target {
    /// As Go's `GOOS`.
    pub os: String,
    /// As Go's `GOARCH`.
    pub arch: String,
    /// E.g. `v8`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Empty for any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub distros: Vec<TargetDistro>,
}

/// A distribution that a [`Target`] names.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "pack knows these")]
pub struct TargetDistro {
    /// As `ID` in `/etc/os-release`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// As `VERSION_ID` in `/etc/os-release`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
}

impl Target {
    /// What an image is: platform and, where its labels say it, distribution.
    pub fn of_image(image: &Image) -> Self {
        let mut target = Self::from(&image.config().platform());
        let label = |name| image.label(name).filter(|it| !it.is_empty());
        if let (Some(name), Some(version)) = (label(DISTRO_NAME), label(DISTRO_VERSION)) {
            target.distros.push(TargetDistro {
                name: name.to_owned(),
                version: version.to_owned(),
            });
        }
        target
    }

    /// Whether it fits an image that is for `other`, by pack's rule: the system is the same, the
    /// architecture is the same or open on either side, and so is the distribution. The variant does
    /// not count.
    pub fn fits(&self, other: &Self) -> bool {
        let arch = self.arch.is_empty() || other.arch.is_empty() || self.arch == other.arch;
        let distro = match other.distros.first() {
            Some(distro) if !distro.name.is_empty() && !distro.version.is_empty() => {
                self.distros.is_empty() || self.distros.contains(distro)
            }
            _ => true,
        };
        self.os == other.os && arch && distro
    }

    /// One for each distribution: `ubuntu@22.04` and `ubuntu@24.04` are two.
    pub fn expanded(&self) -> Vec<Self> {
        if self.distros.len() < 2 {
            return vec![self.clone()];
        }
        let one = |distro: &TargetDistro| Self {
            distros: vec![distro.clone()],
            ..self.clone()
        };
        self.distros.iter().map(one).collect()
    }

    /// Folders that may be there for it, one in the other: `os`, `arch`, `variant`, `name@version`.
    ///
    /// <https://github.com/buildpacks/rfcs/blob/main/text/0128-multiarch-builders-and-package.md>
    pub fn folders(&self) -> Vec<String> {
        // They become paths.
        if self.has_bad_names() {
            return Vec::new();
        }
        let names = [&self.os, &self.arch, &self.variant].into_iter().cloned();
        let distros = self
            .distros
            .iter()
            .map(|it| format!("{}@{}", it.name, it.version));
        names.chain(distros).filter(|it| !it.is_empty()).collect()
    }

    /// The platform, as images name it.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.arch.clone(),
            os: self.os.clone(),
            os_version: None,
            os_features: Vec::new(),
            variant: Some(self.variant.clone()).filter(|it| !it.is_empty()),
        }
    }

    fn has_bad_names(&self) -> bool {
        let bad = |it: &String| {
            it.len() > 100
                || matches!(it.as_str(), "." | "..")
                || !it
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-+~".contains(c))
        };
        [&self.os, &self.arch, &self.variant].into_iter().any(bad)
            || self
                .distros
                .iter()
                .any(|it| bad(&it.name) || bad(&it.version))
    }
}

impl From<&Platform> for Target {
    fn from(platform: &Platform) -> Self {
        Self {
            os: platform.os.clone(),
            arch: platform.architecture.clone(),
            variant: platform.variant.clone().unwrap_or_default(),
            distros: Vec::new(),
        }
    }
}

/// `os[/arch[/variant]][:name@version[@version…][;name@version…]]`, as pack's `--target` has it.
impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let bad = || TargetError {
            text: text.to_owned(),
        };
        let (platform, distros) = match text.split_once(':') {
            Some((platform, distros)) => (platform, Some(distros)),
            None => (text, None),
        };
        let parts: Vec<&str> = platform.split('/').collect();
        let (os, arch, variant) = match parts.as_slice() {
            [os] => (*os, "", ""),
            [os, arch] => (*os, *arch, ""),
            [os, arch, variant] => (*os, *arch, *variant),
            _ => return Err(bad()),
        };
        let mut target = Self {
            os: os.to_owned(),
            arch: arch.to_owned(),
            variant: variant.to_owned(),
            distros: Vec::new(),
        };
        for distro in distros.into_iter().flat_map(|it| it.split(';')) {
            let mut words = distro.split('@');
            let name = words.next().unwrap_or_default();
            let versions: Vec<&str> = words.collect();
            if name.is_empty() || versions.is_empty() || versions.contains(&"") {
                return Err(bad());
            }
            target
                .distros
                .extend(versions.into_iter().map(|version| TargetDistro {
                    name: name.to_owned(),
                    version: version.to_owned(),
                }));
        }
        let incomplete = parts.iter().any(|it| it.is_empty());
        if incomplete || target.has_bad_names() {
            return Err(bad());
        }
        Ok(target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        for part in [&self.arch, &self.variant] {
            if !part.is_empty() {
                write!(f, "/{part}")?;
            }
        }
        for (at, distro) in self.distros.iter().enumerate() {
            let mark = if at == 0 { ':' } else { ';' };
            write!(f, "{mark}{}@{}", distro.name, distro.version)?;
        }
        Ok(())
    }
}

/// A text is no [`Target`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{text}` is not a target: write OS/ARCH[/VARIANT][:DISTRO@VERSION], such as `linux/amd64` or `linux/arm64:ubuntu@24.04`"
)]
#[non_exhaustive]
pub struct TargetError {
    /// What was given.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn targets_are_read_as_pack_writes_them() {
        for text in [
            "linux",
            "linux/amd64",
            "linux/arm/v6",
            "linux/arm64:ubuntu@22.04",
            "linux/arm64:ubuntu@22.04;alpine@3.19",
        ] {
            assert_eq!(target(text).to_string(), text);
        }
        let several = target("linux/arm:ubuntu@22.04@24.04");
        assert_eq!(several.distros.len(), 2);
        let expanded: Vec<_> = several.expanded().iter().map(ToString::to_string).collect();
        assert_eq!(
            expanded,
            ["linux/arm:ubuntu@22.04", "linux/arm:ubuntu@24.04"]
        );
        assert_eq!(
            target("linux/arm/v6:ubuntu@22.04").folders(),
            ["linux", "arm", "v6", "ubuntu@22.04"]
        );
        for bad in [
            "",
            "/",
            "linux/",
            "linux/a/b/c",
            "linux:",
            "linux:ubuntu",
            "linux:@1",
            "linux:ubuntu@",
            "../x",
            "linux/..",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_open_fits() {
        assert!(target("linux").fits(&target("linux/amd64")));
        assert!(target("linux/amd64").fits(&target("linux")));
        assert!(!target("linux/arm64").fits(&target("linux/amd64")));
        assert!(!target("windows").fits(&target("linux")));
        assert!(target("linux:ubuntu@22.04").fits(&target("linux/amd64")));
        assert!(target("linux:ubuntu@22.04").fits(&target("linux/amd64:ubuntu@22.04")));
        assert!(!target("linux:ubuntu@22.04").fits(&target("linux/amd64:ubuntu@24.04")));
    }
}
