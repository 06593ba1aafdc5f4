use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

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

/// The host of a registry, with its port if any.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Registry(String);

/// A repository of a registry.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Repository {
    registry: Registry,
    path: String,
}

/// A name of an image, which may move.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tag(String);

/// Picks one image of a location.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "the specification knows these two")]
pub enum Selector {
    /// By a name that may move.
    Tag(Tag),
    /// For good.
    Digest(Digest),
}

impl Registry {
    /// Docker's own registry, by the name that its API has.
    pub const DOCKER_HUB: &str = "index.docker.io";

    /// Host, and port if any.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without the port.
    pub fn host(&self) -> &str {
        match self.0.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or(rest, |(host, _)| host),
            None => self.0.split_once(':').map_or(&self.0, |(host, _)| host),
        }
    }

    /// Whether it is this very machine: then plain HTTP is safe, and is tried without being asked.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host.ends_with(".localhost")
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }
}

impl FromStr for Registry {
    type Err = ReferenceError;

    fn from_str(given: &str) -> Result<Self, ReferenceError> {
        let lower = given.to_ascii_lowercase();
        let text = if lower == "docker.io" {
            Self::DOCKER_HUB
        } else {
            lower.as_str()
        };
        let bracketed = text.strip_prefix('[').and_then(|it| it.split_once(']'));
        let (host, port) =
            bracketed.unwrap_or_else(|| text.split_at(text.find(':').unwrap_or(text.len())));
        let host_ok = if bracketed.is_some() {
            host.parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            // With a port, `oci:5000/app` would be a folder once it is printed.
            host.len() <= 255 && host.split('.').all(is_label) && !TRANSPORTS.contains(&host)
        };
        let port_ok = port.is_empty()
            || port.strip_prefix(':').is_some_and(|it| {
                it.bytes().all(|b| b.is_ascii_digit()) && it.parse::<u16>().is_ok()
            });
        if host_ok && port_ok {
            // Only its case tells such a name from a folder of Docker's registry.
            let text = if is_host(text) { text } else { given };
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Registry {
                text: text.to_owned(),
            })
        }
    }
}

/// What references begin with that are none to a registry.
const TRANSPORTS: [&str; 4] = ["oci", "oci-archive", "docker-archive", "docker-daemon"];

/// Whether what stands before the first slash of a name is a registry, as Docker has it. There it is
/// one, too, if it has an upper-case letter, which no repository has.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

/// A part of the name of a host. Some have `_` in theirs, though no standard has it.
fn is_label(text: &str) -> bool {
    let edge = |it: Option<u8>| it.is_some_and(|b| b.is_ascii_alphanumeric());
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

impl Repository {
    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The path within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Another repository of the same registry.
    pub fn sibling(&self, path: &str) -> Result<Self, ReferenceError> {
        Self::new(self.registry.clone(), path)
    }

    /// As Docker shows it: `app`, `me/app`, `registry.example/app`.
    pub fn short(&self) -> String {
        if self.registry.as_str() != Registry::DOCKER_HUB {
            return self.to_string();
        }
        let short = self.path.strip_prefix("library/").unwrap_or(&self.path);
        // A part with a dot would be read as a registry.
        match short.parse::<Self>() {
            Ok(parsed) if parsed == *self => short.to_owned(),
            _ => self.long(),
        }
    }

    /// As containerd keeps it: `docker.io/library/app`, `registry.example/app`.
    pub fn long(&self) -> String {
        if self.registry.as_str() != Registry::DOCKER_HUB {
            return self.to_string();
        }
        format!("docker.io/{}", self.path)
    }

    /// No repository, but the registry itself: to ask what has nothing to do with one.
    pub(crate) fn root(registry: Registry) -> Self {
        Self {
            registry,
            path: String::new(),
        }
    }

    fn new(registry: Registry, path: &str) -> Result<Self, ReferenceError> {
        let component = |it: &str| {
            let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            let bytes = it.as_bytes();
            bytes.first().copied().is_some_and(edge)
                && bytes.last().copied().is_some_and(edge)
                && bytes
                    .iter()
                    .all(|b| edge(*b) || matches!(b, b'.' | b'-' | b'_'))
                && !it.contains("..")
        };
        if path.len() <= 255 && path.split('/').all(component) {
            Ok(Self {
                registry,
                path: path.to_owned(),
            })
        } else {
            Err(ReferenceError::Repository {
                text: path.to_owned(),
            })
        }
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    /// Parses `registry.example/path`. Without a registry it is Docker's, and without a folder there
    /// `library/`, as everywhere in this field.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        match text.split_once('/') {
            Some((first, path))
                if is_host(first) || first.bytes().any(|b| b.is_ascii_uppercase()) =>
            {
                let registry: Registry = first.parse()?;
                if registry.as_str() == Registry::DOCKER_HUB && !path.contains('/') {
                    return Self::new(registry, &format!("library/{path}"));
                }
                Self::new(registry, path)
            }
            Some(_) => Self::new(Registry(Registry::DOCKER_HUB.to_owned()), text),
            None => Self::new(
                Registry(Registry::DOCKER_HUB.to_owned()),
                &format!("library/{text}"),
            ),
        }
    }
}

impl Tag {
    /// The tag that is meant where none is given.
    pub const LATEST: &str = "latest";

    /// [`LATEST`](Self::LATEST), as a tag.
    pub fn latest() -> Self {
        Self(Self::LATEST.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one by which registries and cosign attach things to a manifest: `sha256-<hex>`,
    /// with or without an ending.
    pub fn is_digest_tag(&self) -> bool {
        let rest = self.0.strip_prefix("sha256-");
        let hex = rest.and_then(|it| it.get(..64));
        hex.is_some_and(|it| it.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

impl Tag {
    /// A name of an image in a layout, which may be more than a registry takes as a tag: `a/b:1.0+git`.
    ///
    /// <https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md>, the grammar of
    /// `org.opencontainers.image.ref.name`. It does not allow `_`, which tags have.
    pub fn in_layout(text: &str) -> Result<Self, ReferenceError> {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let is_component = |it: &str| {
            let ends = [it.bytes().next(), it.bytes().last()];
            ends.into_iter().all(|it| it.is_some_and(is_word))
                && it
                    .bytes()
                    .all(|b| is_word(b) || matches!(b, b'-' | b'.' | b':' | b'@' | b'+'))
        };
        if let Ok(tag) = text.parse() {
            return Ok(tag);
        }
        if text.len() <= MAX_NAME && text.split('/').all(is_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Name {
                text: text.to_owned(),
            })
        }
    }

    /// Whether a registry takes it, too.
    pub fn is_plain(&self) -> bool {
        self.0.parse::<Self>().is_ok()
    }
}

/// The longest name of an image in a layout that is read, in bytes.
const MAX_NAME: usize = 512;

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let bytes = text.as_bytes();
        if bytes.len() <= 128
            && bytes.first().copied().is_some_and(word)
            && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Tag {
                text: text.to_owned(),
            })
        }
    }
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

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => self.registry.fmt(f),
            path => write!(f, "{}/{path}", self.registry),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
