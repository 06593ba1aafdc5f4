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
    match std::fs::metadata(os_release) {
        Ok(found) if !found.is_dir() && found.len() > 0 => {}
        _ => return target,
    }
    match crate::files::read_bytes(os_release) {
        Ok(text) => target.distro = distro(&String::from_utf8_lossy(&text)),
        Err(error) => {
            let cause = go::words::chain(&error);
            let text = format!("Encountered error trying to read /etc/os-release file: {cause}");
            log.line(Level::Warn, &text);
        }
    }
    target
}

/// The distribution that an `os-release` file names, read as upstream does: what decides which
/// buildpacks fit is the same for both. A line with two `=` does not count, a later one does until both
/// are known, and of quotes only `"` are taken away.
fn distro(text: &str) -> Option<Distro> {
    let mut distro = Distro::default();
    for line in text.split('\n') {
        let mut parts = line.split('=');
        let (Some(key), Some(value), None) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let value = || value.trim_matches(['"', ' ']).to_owned();
        match key {
            "ID" => distro.name = value(),
            "VERSION_ID" => distro.version = value(),
            _ => {}
        }
        if !distro.name.is_empty() && !distro.version.is_empty() {
            break;
        }
    }
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
        assert_eq!(distro("ID=\nVERSION_ID=\n"), None);
    }

    #[test]
    fn os_release_is_read_as_upstream_does() {
        let read = |text: &str| {
            let distro = distro(text).unwrap_or_default();
            (distro.name, distro.version)
        };
        let pair = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(read("ID= \"x\" \nVERSION_ID='7'\n"), pair("x", "'7'"));
        assert_eq!(read(" ID=x\nID =x\nID=a=b\nVERSION_ID=1\n"), pair("", "1"));
        assert_eq!(read("ID=a\nID=b\nVERSION_ID=1\nID=c\n"), pair("b", "1"));
        assert_eq!(read("ID=x\r\n"), pair("x\r", ""));
    }
}
