//! Folders and files of the machine that a user lets buildpacks see: `SOURCE:TARGET[:ro|rw]`, as pack and
//! Docker have it.
//!
//! A user may mean well and give too much: the folder that holds a key, the socket of a daemon that does
//! whatever it is told. So what is [hidden](super::Request::hidden) is never given, nor what holds it,
//! nor what lies in it; and what a build owns stays its own.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

use crate::sandbox::Mount;

/// What a build has of its own.
const OWN: [&str; 9] = [
    "/cnb",
    "/dev",
    "/etc",
    "/layers",
    "/platform",
    "/proc",
    "/run",
    "/sys",
    "/workspace",
];
/// What of it users have always put there.
const BINDINGS: &str = "/platform/bindings";

/// Reads `SOURCE:TARGET[:ro|rw]`; without a word at the end it is read only. A relative source begins
/// at `directory`.
pub fn parse_volume(text: &str, directory: &Path) -> Result<Mount, VolumeError> {
    let wrong = |problem: &'static str| VolumeError::Form {
        text: text.to_owned(),
        problem,
    };
    let mut parts = text.split(':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
        return Err(wrong(
            "it is `SOURCE:TARGET`, with `:ro` or `:rw` or without",
        ));
    };
    let mut writable = false;
    for option in parts.flat_map(|it| it.split(',')) {
        match option {
            "ro" | "z" | "Z" => {}
            "rw" => writable = true,
            _ => return Err(wrong("what it may end with is `:ro` or `:rw`")),
        }
    }
    if source.is_empty() {
        return Err(wrong("the source is missing"));
    }
    let target_path = PathBuf::from(target);
    let mut components = target_path.components();
    let clean = components.next() == Some(Component::RootDir)
        && components.clone().next().is_some()
        && components.all(|it| matches!(it, Component::Normal(_)));
    // `Path` hides a `.` that is not at the beginning.
    if !clean || target.split('/').any(|it| it == ".") || target.contains(char::is_control) {
        return Err(wrong("the target is a path from `/`, without `.` and `..`"));
    }
    Ok(Mount {
        source: directory.join(source),
        target: target_path.components().collect(),
        writable,
    })
}

/// The same with the path that its source really has, if buildpacks may have it; `hidden` is what they
/// may not. `on_machine` if they see the machine's own root.
pub(super) fn check(
    volume: &Mount,
    hidden: &[PathBuf],
    on_machine: bool,
) -> Result<Mount, VolumeError> {
    let source = volume.source.canonicalize();
    let metadata = source.as_ref().ok().map(|it| it.metadata());
    let (Ok(source), Some(Ok(metadata))) = (source, metadata) else {
        return Err(VolumeError::NotThere {
            source_path: volume.source.clone(),
        });
    };
    let kind = metadata.file_type();
    if kind.is_socket() || !(kind.is_dir() || kind.is_file()) {
        return Err(VolumeError::Special {
            source_path: volume.source.clone(),
        });
    }
    for path in hidden {
        // What is not there may be there by the time that somebody looks.
        let real = real(path);
        if source.starts_with(&real) || real.starts_with(&source) {
            return Err(VolumeError::Hidden {
                source_path: volume.source.clone(),
                hidden: path.clone(),
            });
        }
    }
    let target = &volume.target;
    let is_binding = target.starts_with(BINDINGS) && target != Path::new(BINDINGS);
    let own = OWN.iter().find(|own| target.starts_with(own));
    if let Some(own) = own.filter(|_| !is_binding) {
        return Err(VolumeError::Own {
            target: target.clone(),
            own,
        });
    }
    let top = target.components().nth(1);
    if let Some(Component::Normal(top)) = top
        && on_machine
        && !is_binding
        && top != "tmp"
        && Path::new("/").join(top).exists()
    {
        return Err(VolumeError::Covers {
            target: target.clone(),
            covered: Path::new("/").join(top),
        });
    }
    Ok(Mount {
        source,
        ..volume.clone()
    })
}

/// Where `path` really is: of what is not there, as far as it is.
fn real(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut at = path;
    loop {
        if let Ok(real) = at.canonicalize() {
            return rest.iter().rev().fold(real, |path, name| path.join(name));
        }
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
            return path.to_owned();
        };
        rest.push(name);
        at = parent;
    }
}

/// Why buildpacks do not get to see something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// It would cover what the machine has there.
    #[error(
        "the volume at `{}` would cover `{}` of this machine, on whose root the build runs",
        target.display(), covered.display()
    )]
    Covers {
        /// Where it is to be.
        target: PathBuf,
        /// What it would cover.
        covered: PathBuf,
    },
    /// It is not written as volumes are.
    #[error("`{text}` is not a volume: {problem}")]
    Form {
        /// What was said.
        text: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Keys, credentials, sockets.
    #[error(
        "`{}` is not allowed as a volume: it is, holds or lies in `{}`, which buildpacks must not see",
        source_path.display(), hidden.display()
    )]
    Hidden {
        /// What was to be given.
        source_path: PathBuf,
        /// What is hidden.
        hidden: PathBuf,
    },
    /// There is nothing.
    #[error("`{}` is not a volume: there is no such file or folder", source_path.display())]
    NotThere {
        /// What was to be given.
        source_path: PathBuf,
    },
    /// Without a sandbox nothing can be put anywhere.
    #[error("this machine has no sandbox in which a volume could be mounted")]
    NoSandbox,
    /// A build needs this place for itself.
    #[error("no volume can be at `{}`: `{own}` is the build's own", target.display())]
    Own {
        /// Where it was to be.
        target: PathBuf,
        /// What a build owns there.
        own: &'static str,
    },
    /// A socket, pipe or device.
    #[error("`{}` is not a volume: it is neither a file nor a folder", source_path.display())]
    Special {
        /// What was to be given.
        source_path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_volume_is_read_as_docker_reads_it() {
        let parse = |text: &str| parse_volume(text, Path::new("/home"));
        let mount = |source: &str, target: &str, writable| Mount {
            source: source.into(),
            target: target.into(),
            writable,
        };
        assert_eq!(parse("/a:/b").unwrap(), mount("/a", "/b", false));
        assert_eq!(parse("a:/b/c:rw").unwrap(), mount("/home/a", "/b/c", true));
        assert_eq!(parse("/a:/b/:ro,z").unwrap(), mount("/a", "/b", false));
        for text in [
            "",
            "/a",
            ":/b",
            "/a:b",
            "/a:/",
            "/a:/b/../c",
            "/a:/b/./c",
            "/a:/b:x",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{text}` is not a volume: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_hidden_is_given_by_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("home/.ssh/old")).unwrap();
        fs::create_dir_all(at("fine")).unwrap();
        fs::write(at("home/.ssh/id"), "key").unwrap();
        symlink(at("home/.ssh"), at("fine/link")).unwrap();
        symlink(at("home"), at("other-home")).unwrap();
        let socket = UnixListener::bind(at("socket")).unwrap();
        // By a link, and one that is not there yet.
        let hidden = [at("other-home/.ssh"), at("other-home/.docker/config.json")];
        let check = |source: PathBuf| {
            let volume = Mount {
                source,
                target: "/data".into(),
                writable: false,
            };
            check(&volume, &hidden, true)
        };
        for path in [
            "home",
            "home/.ssh",
            "home/.ssh/id",
            "home/.ssh/old",
            "fine/link",
            "fine/link/id",
            "",
        ] {
            let error = check(at(path)).unwrap_err();
            assert!(
                matches!(error, VolumeError::Hidden { .. }),
                "{path}: {error}"
            );
        }
        let error = check(at("socket")).unwrap_err();
        assert!(matches!(error, VolumeError::Special { .. }), "{error}");
        let error = check(at("gone")).unwrap_err();
        assert!(matches!(error, VolumeError::NotThere { .. }), "{error}");
        assert_eq!(
            check(at("fine")).unwrap().source,
            at("fine").canonicalize().unwrap()
        );
        drop(socket);
    }

    #[test]
    fn what_a_build_owns_stays_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let check = |target: &str, on_machine| {
            let volume = Mount {
                source: folder.path().to_owned(),
                target: target.into(),
                writable: false,
            };
            check(&volume, &[], on_machine)
        };
        for target in [
            "/layers",
            "/layers/a",
            "/cnb/buildpacks",
            "/workspace/a",
            "/proc/a",
            "/etc/a",
            "/platform/bindings",
            "/platform/env/A",
        ] {
            let error = check(target, false).unwrap_err();
            assert!(
                matches!(error, VolumeError::Own { .. }),
                "{target}: {error}"
            );
        }
        for target in ["/platform/bindings/a", "/data", "/tmp/a", "/layers-of-mine"] {
            check(target, true).unwrap();
        }
        check("/usr/share/a", false).unwrap();
        let error = check("/usr/share/a", true).unwrap_err();
        assert!(matches!(error, VolumeError::Covers { .. }), "{error}");
    }
}
