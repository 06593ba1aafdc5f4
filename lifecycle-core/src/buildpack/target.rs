//! Which targets a module fits: operating system, architecture and distribution.

use std::path::Path;

use super::descriptor::Target;
use crate::files::analyzed::{Distro, TargetMetadata};
use crate::{Level, Log};

impl Target {
    /// Whether it fits an image that is `base`.
    pub fn fits(&self, base: &TargetMetadata) -> bool {
        let same = |a: &str, b: &str| a.is_empty() || b.is_empty() || a == b;
        let platform = same(&self.os, &base.os)
            && same(&self.arch, &base.arch)
            && same(&self.arch_variant, &base.arch_variant);
        let distro = self.distros.is_empty()
            || base.distro.as_ref().is_some_and(|base| {
                self.distros.iter().any(|distro| {
                    same(&distro.name, &base.name) && same(&distro.version, &base.version)
                })
            });
        platform && distro
    }
}

/// The target of a run image that does not say its distribution, with what it leaves open taken from
/// the build image: its `/etc/os-release`, and the machine that it runs on.
pub(crate) fn completed(
    mut target: TargetMetadata,
    os_release: &Path,
    log: &dyn Log,
) -> TargetMetadata {
    if target.distro.is_some() {
        return target;
    }
    if target.os.is_empty() {
        "linux".clone_into(&mut target.os);
    }
    if target.arch.is_empty() {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            other => other,
        };
        arch.clone_into(&mut target.arch);
    }
    log.line(
        Level::Info,
        "target distro name/version labels not found, reading /etc/os-release file",
    );
    let text = std::fs::read(os_release).unwrap_or_default();
    target.distro = distro(&String::from_utf8_lossy(&text));
    target
}

/// The distribution that an `os-release` file names.
fn distro(text: &str) -> Option<Distro> {
    let value = |key: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(it, _)| it.trim() == key)
            .map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned())
            .unwrap_or_default()
    };
    let distro = Distro {
        name: value("ID"),
        version: value("VERSION_ID"),
    };
    (distro != Distro::default()).then_some(distro)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildpack::descriptor;

    #[test]
    fn an_empty_field_fits_everything() {
        let base = TargetMetadata {
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            ..TargetMetadata::default()
        };
        let arch = |arch: &str| Target {
            arch: arch.to_owned(),
            ..Target::default()
        };
        assert!(Target::default().fits(&base));
        assert!(arch("amd64").fits(&base));
        assert!(!arch("arm64").fits(&base));
        let ubuntu = Target {
            distros: vec![descriptor::Distro {
                name: "ubuntu".to_owned(),
                version: String::new(),
            }],
            ..Target::default()
        };
        assert!(!ubuntu.fits(&base));
        let distro = distro("NAME=x\nID=ubuntu\nVERSION_ID=\"18.04\"\n");
        assert!(ubuntu.fits(&TargetMetadata { distro, ..base }));
    }

    #[test]
    fn os_release_may_say_nothing() {
        assert_eq!(distro("PRETTY_NAME=x\n"), None);
        assert_eq!(distro("VERSION_ID='7'\n").unwrap().version, "7");
    }
}
