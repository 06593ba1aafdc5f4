//! Texts that say where an image lies, and which one of those that lie there.

mod repository;
mod tag;
mod weak;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use self::repository::{Registry, Repository};
pub use self::tag::Tag;
use crate::{Digest, DigestError};

/// Where an image lies, and which one of those that lie there.
///
/// | text | means |
/// |---|---|
/// | `registry.example/repo[:tag][@sha256:…]` | a registry |
/// | `oci:DIR[:tag\|@sha256:…]` | an OCI image layout |
/// | `oci-archive:FILE[:tag\|@sha256:…]` | the same, as one tar file |
/// | `docker-archive:FILE[:NAME[:tag]][@sha256:…]` | what `docker save` writes; the image of that name |
/// | `docker-daemon:NAME[:tag\|@sha256:…]` | a Docker daemon; the digest may be an image ID |
///
/// A reference says where to look. It is no identity: only a [`Digest`] is.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct Reference {
    /// Where.
    pub location: Location,
    /// Which, by a name that may move.
    pub tag: Option<Tag>,
    /// Which, for good. Where both are given, this one holds.
    pub digest: Option<Digest>,
}

/// Where images lie.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_enums,
    reason = "who opens places has to know all of them"
)]
pub enum Location {
    /// In a repository of a registry.
    Registry(Repository),
    /// In an OCI image layout.
    Layout(PathBuf),
    /// In an OCI image layout inside a tar file.
    LayoutArchive(PathBuf),
    /// In what `docker save` writes.
    DockerArchive {
        /// The tar file.
        path: PathBuf,
        /// What images in it are called; without one, no name is meant.
        name: Option<Repository>,
    },
    /// In a Docker daemon, under this name.
    DockerDaemon(Repository),
}

/// Picks one image of a location.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "the specification knows these two")]
pub enum Selector {
    /// By a name that may move.
    Tag(Tag),
    /// For good.
    Digest(Digest),
}

impl Reference {
    /// What to look for at the location: the digest if there is one, else the tag, else nothing.
    pub fn selector(&self) -> Option<Selector> {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Some(Selector::Digest(digest.clone())),
            (None, Some(tag)) => Some(Selector::Tag(tag.clone())),
            (None, None) => None,
        }
    }

    /// What else a reference to a layout may mean, whose name has a slash in it: `oci:DIR:a/b:c` is the
    /// image `a/b:c` in `DIR`, if there is no folder `DIR:a/b`. With shorter folders first.
    pub fn readings(&self) -> Vec<Self> {
        let (path, location): (_, fn(PathBuf) -> Location) = match &self.location {
            Location::Layout(path) => (path, Location::Layout),
            Location::LayoutArchive(path) => (path, Location::LayoutArchive),
            _ => return Vec::new(),
        };
        let Some(path) = path.to_str() else {
            return Vec::new();
        };
        let last = self.tag.as_ref().map(|it| format!(":{it}"));
        let splits = path.match_indices(':').map(|(at, _)| path.split_at(at));
        splits
            .filter_map(|(folder, name)| {
                let name = name.strip_prefix(':')?;
                let name = format!("{name}{}", last.as_deref().unwrap_or_default());
                Some(Self {
                    location: location(PathBuf::from(folder)),
                    tag: Some(Tag::in_layout(&name).ok()?),
                    digest: self.digest.clone(),
                })
            })
            .collect()
    }

    /// The same place, but this very image.
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            location: self.location.clone(),
            tag: None,
            digest: Some(digest),
        }
    }
}

/// Takes `@digest` and `:tag` off the end of `text`. A colon before the last slash is no tag.
fn split_selector(text: &str) -> Result<(&str, Option<Tag>, Option<Digest>), ReferenceError> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse().map_err(ReferenceError::Digest)?)),
        None => (text, None),
    };
    match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => Ok((path, Some(tag.parse()?), digest)),
        _ => Ok((rest, None, digest)),
    }
}

/// What is meant, where a text is written as other tools have it, or is a path alone.
fn instead(text: &str) -> Option<String> {
    let schemes = ["docker://", "https://", "http://"];
    if let Some(rest) = schemes.iter().find_map(|it| text.strip_prefix(it)) {
        return Some(rest.trim_end_matches('/').to_owned());
    }
    for scheme in ["oci", "oci-archive", "docker-archive", "docker-daemon"] {
        let rest = text
            .strip_prefix(scheme)
            .and_then(|it| it.strip_prefix("://"));
        if let Some(rest) = rest {
            return Some(format!("{scheme}:{rest}"));
        }
    }
    let is_path = ["/", "./", "../"].iter().any(|it| text.starts_with(it));
    is_path.then(|| format!("oci:{text}"))
}

/// Parses `PATH[:name][@digest]`. What is behind the last colon is a name, unless there is a slash in it:
/// paths have colons, too (`mirror/registry.example:5000/app`). For names with a slash see
/// [`Reference::readings`].
fn layout(text: &str) -> Result<(&str, Option<Tag>, Option<Digest>), ReferenceError> {
    // A name may have an `@`, too; a digest has a colon behind it, and stands where there is no name.
    let (rest, digest) = match text.rsplit_once('@') {
        Some((rest, digest))
            if !digest.contains('/') && (digest.contains(':') || !rest.contains(':')) =>
        {
            let digest = digest.parse().map_err(ReferenceError::Digest)?;
            (rest, Some(digest))
        }
        _ => (text, None),
    };
    match rest.rsplit_once(':') {
        Some((path, name)) if !name.contains('/') => {
            Ok((path, Some(Tag::in_layout(name)?), digest))
        }
        _ => Ok((rest, None, digest)),
    }
}

/// Parses `FILE[:NAME[:tag]][@digest]`: as Docker has it, no colon is part of the file's name.
fn docker_archive(text: &str) -> Result<Reference, ReferenceError> {
    let (path, named) = match text.split_once([':', '@']) {
        Some((path, _)) => (path, text.get(path.len()..).unwrap_or_default()),
        None => (text, ""),
    };
    if path.is_empty() {
        return Err(ReferenceError::Empty);
    }
    let after_colon = named.strip_prefix(':');
    let (name, tag, digest) = split_selector(after_colon.unwrap_or(named))?;
    let name = after_colon.map(|_| name.parse()).transpose()?;
    Ok(Reference {
        location: Location::DockerArchive {
            path: PathBuf::from(path),
            name,
        },
        tag,
        digest,
    })
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        type OfPath = fn(PathBuf) -> Location;
        const PATHS: [(&str, OfPath); 2] = [
            ("oci:", Location::Layout),
            ("oci-archive:", Location::LayoutArchive),
        ];
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if let Some(instead) = instead(text) {
            return Err(ReferenceError::Form {
                text: text.to_owned(),
                instead,
            });
        }
        for (prefix, location) in PATHS {
            if let Some(rest) = text.strip_prefix(prefix) {
                let (path, tag, digest) = layout(rest)?;
                if path.is_empty() {
                    return Err(ReferenceError::Empty);
                }
                return Ok(Self {
                    location: location(PathBuf::from(path)),
                    tag,
                    digest,
                });
            }
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            return docker_archive(rest);
        }
        let (rest, daemon) = match text.strip_prefix("docker-daemon:") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (path, tag, digest) = split_selector(rest)?;
        let repository = path.parse()?;
        Ok(Self {
            location: if daemon {
                Location::DockerDaemon(repository)
            } else {
                Location::Registry(repository)
            },
            tag,
            digest,
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(repository) => repository.fmt(f),
            Self::Layout(path) => write!(f, "oci:{}", path.display()),
            Self::LayoutArchive(path) => write!(f, "oci-archive:{}", path.display()),
            Self::DockerArchive { path, name } => {
                write!(f, "docker-archive:{}", path.display())?;
                match name {
                    Some(name) => write!(f, ":{}", name.short()),
                    None => Ok(()),
                }
            }
            Self::DockerDaemon(repository) => write!(f, "docker-daemon:{}", repository.short()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Why a text is no [`Reference`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The digest is none.
    #[error(transparent)]
    Digest(DigestError),
    /// It is written in another way.
    #[error("`{text}` is not the name of an image: did you mean `{instead}`?")]
    Form {
        /// What was given.
        text: String,
        /// What may be meant.
        instead: String,
    },
    /// Nothing was given.
    #[error("reference is empty")]
    Empty,
    /// The registry is none.
    #[error("`{text}` is not the name of a registry")]
    Registry {
        /// What was given.
        text: String,
    },
    /// The repository is none.
    #[error(
        "`{text}` is not the name of a repository: lower-case letters, digits, `.`, `_`, `-` and `/`"
    )]
    Repository {
        /// What was given.
        text: String,
    },
    /// The name of an image in a layout is none.
    #[error(
        "`{text}` is not a name of an image in a layout: at most 512 letters, digits, `-`, `.`, `_`, `:`, `@`, `+`, and `/` between them"
    )]
    Name {
        /// What was given.
        text: String,
    },
    /// The tag is none.
    #[error("`{text}` is not a tag: at most 128 letters, digits, `.`, `_` and `-`")]
    Tag {
        /// What was given.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_print_as_they_parse() {
        let digest = Digest::of(b"");
        for text in [
            "registry.example/app".to_owned(),
            "registry.example:5000/a/b:v1".to_owned(),
            format!("127.0.0.1:5000/app@{digest}"),
            format!("127.0.0.1:5000/app:v1@{digest}"),
            "localhost/app:v1".to_owned(),
            "[::1]:5000/app:v1".to_owned(),
            "oci:out:hello".to_owned(),
            "oci:/some/where".to_owned(),
            "oci:many:localhost/hello:world".to_owned(),
            "oci-archive:x.tar:1.0.0+git1530.gad89e4f4".to_owned(),
            "oci:many:stable/2024".to_owned(),
            "oci:many:a@b".to_owned(),
            format!("oci:many:a@b@{digest}"),
            "LOCALDOMAIN/debian:v1".to_owned(),
            format!("oci:./here@{digest}"),
            "oci-archive:x.tar:v1".to_owned(),
            "docker-archive:x.tar".to_owned(),
            "docker-archive:/a/x.tar:app".to_owned(),
            "docker-archive:x.tar:app:v1".to_owned(),
            "docker-archive:x.tar:localhost:5000/me/app:v1".to_owned(),
            format!("docker-archive:x.tar@{digest}"),
            format!("docker-archive:x.tar:app:v1@{digest}"),
            "docker-daemon:app:v1".to_owned(),
            "docker-daemon:localhost:5000/app:v1".to_owned(),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn names_in_layouts_may_have_slashes() {
        let readings = |text: &str| {
            let readings = text.parse::<Reference>().unwrap().readings();
            let split = readings.into_iter().map(|it| match it.location {
                Location::Layout(path) => (path.display().to_string(), it.tag.unwrap().to_string()),
                other => (other.to_string(), String::new()),
            });
            split.collect::<Vec<_>>()
        };
        let pair = |path: &str, name: &str| (path.to_owned(), name.to_owned());
        assert_eq!(
            readings("oci:many:localhost/hello:world"),
            [pair("many", "localhost/hello:world")]
        );
        assert_eq!(
            readings("oci:many:stable/2024"),
            [pair("many", "stable/2024")]
        );
        assert_eq!(
            readings("oci:a:b/c:d/e:v1"),
            [pair("a", "b/c:d/e:v1"), pair("a:b/c", "d/e:v1")]
        );
        assert_eq!(readings("oci:out:v1"), []);
        assert_eq!(readings("r.example:5000/app:v1"), []);
    }

    #[test]
    fn short_names_are_dockers() {
        let reference: Reference = "ubuntu:24.04".parse().unwrap();
        assert_eq!(
            reference.to_string(),
            "index.docker.io/library/ubuntu:24.04"
        );
        let reference: Reference = "docker.io/paketo/builder".parse().unwrap();
        assert_eq!(reference.to_string(), "index.docker.io/paketo/builder");
        let reference: Reference = "dockeR.io/ubuntu".parse().unwrap();
        assert_eq!(reference.to_string(), "index.docker.io/library/ubuntu");
    }

    #[test]
    fn names_are_written_as_docker_has_them() {
        for (text, short, long) in [
            ("app", "app", "docker.io/library/app"),
            ("docker.io/me/app", "me/app", "docker.io/me/app"),
            (
                "localhost:5000/app",
                "localhost:5000/app",
                "localhost:5000/app",
            ),
        ] {
            let repository: Repository = text.parse().unwrap();
            assert_eq!((&*repository.short(), &*repository.long()), (short, long));
            assert_eq!(repository.short().parse(), Ok(repository.clone()));
            assert_eq!(repository.long().parse(), Ok(repository));
        }
        // Without its registry it would be read as another one.
        for text in ["docker.io/me.example/app", "docker.io/localhost/app"] {
            let repository: Repository = text.parse().unwrap();
            assert_eq!(repository.short(), text);
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "",
            "oci:",
            "registry.example/App",
            "registry.example/app:",
            "registry.example/app:a/b:",
            "registry.example/../app",
            "registry.example//app",
            "registry.example/app@sha256:00",
            "registry.example/app@md5:00",
            "registry.example:99999/app",
            "registry.example:+5/app",
            "registry.example:/app",
            "registry..example/app",
            "-registry.example/app",
            "../app",
            "./app",
            "[::1]:/app",
            "[::1]5000/app",
            "dOcker-daemon:0/5",
            "[r.example]/app",
            "reg istry.example/app",
            "[::1/app",
            "app:tag with space",
            "docker-archive:",
            "docker-archive::app:v1",
            "docker-archive:x.tar:",
            "docker-archive:x.tar:App",
            "docker-archive:x.tar:app:v1:v2",
            "docker-archive:x.tar@0",
            "registry.example-/app",
            "registry.example/-app",
            "registry.example/app.",
            "registry.example/a/.b",
            "registry.example/a..b",
            "app:.v1",
            "oci:out:a:",
            "oci:out:",
            "oci:out@sha256:00",
            "oci:out:v1@sha256:00",
            "app:a/b:c",
            "Docker/Docker/App",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        assert_eq!("".parse::<Reference>(), Err(ReferenceError::Empty));
    }

    #[test]
    fn no_part_of_a_reference_is_longer_than_it_may_be() {
        let host = |len| format!("{}/app", vec!["a"; len].join("."));
        let path = |len| format!("r.example/{}", "a".repeat(len));
        let tag = |len| format!("r.example/app:{}", "a".repeat(len));
        for (longest, longer) in [
            (host(128), host(129)),
            (path(255), path(256)),
            (tag(128), tag(129)),
        ] {
            assert!(longest.parse::<Reference>().is_ok(), "{longest}");
            assert!(longer.parse::<Reference>().is_err(), "{longer}");
        }
    }

    #[test]
    fn a_digest_goes_before_a_tag() {
        let digest = Digest::of(b"");
        let selector = |text: &str| text.parse::<Reference>().unwrap().selector();
        let both = format!("r.example/app:v1@{digest}");
        assert_eq!(selector(&both), Some(Selector::Digest(digest)));
        let tag = Selector::Tag("v1".parse().unwrap());
        assert_eq!(selector("r.example/app:v1"), Some(tag));
        assert_eq!(selector("r.example/app"), None);
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let is_loopback = |text: &str| text.parse::<Registry>().unwrap().is_loopback();
        for text in [
            "localhost",
            "LocalHost:5000",
            "registry.localhost:5000",
            "127.0.0.1",
            "127.1.2.3:5000",
            "[::1]:5000",
        ] {
            assert!(is_loopback(text), "{text}");
        }
        for text in [
            "localhost.example",
            "notlocalhost:5000",
            "127.0.0.1.example",
            "10.1.2.3",
            "0.0.0.0:5000",
            "[::2]:5000",
        ] {
            assert!(!is_loopback(text), "{text}");
        }
    }
}
