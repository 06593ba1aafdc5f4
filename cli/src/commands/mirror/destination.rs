//! Where images go.

use std::path::PathBuf;

use oci::{Location, Reference, Registry, Tag};

use super::sources::Origin;
use crate::error::{CommandError, Context as _, Message};
use crate::typed;

/// What a user calls the destination.
#[derive(Debug)]
pub(super) enum Destination {
    /// All into this one, by their tags.
    Here(Reference),
    /// Each repository to one of its own below this, without its registry.
    BelowRegistry { registry: Registry, path: String },
    /// Each repository to a layout of its own below this, with its registry.
    BelowFolder(PathBuf),
}

impl Destination {
    pub(super) fn parse(text: &str) -> Result<Self, CommandError> {
        if let Some(prefix) = text.strip_suffix('/') {
            if let Some(folder) = prefix.strip_prefix("oci:") {
                return Ok(Self::BelowFolder(folder.into()));
            }
            let (registry, path) = prefix.split_once('/').unwrap_or((prefix, ""));
            return Ok(Self::BelowRegistry {
                registry: registry
                    .parse()
                    .context(|| format!("`{text}` is not a place for images"))?,
                path: path.to_owned(),
            });
        }
        let reference =
            typed::image(text).context(|| format!("`{text}` is not a place for images"))?;
        if reference.selector().is_some() {
            return Err(CommandError::undecided(Message(format!(
                "`{text}` names one image, and images keep the tags that they have"
            )))
            .hint("name a repository: `HOST/REPO`, or what they go below: `HOST/PREFIX/`"));
        }
        match reference.location {
            Location::Registry(_) | Location::Layout(_) | Location::LayoutArchive(_) => {
                Ok(Self::Here(reference))
            }
            Location::DockerArchive { .. } | Location::DockerDaemon(_) => Err(
                CommandError::undecided(Message(format!("`{text}` cannot be a mirror")))
                    .hint("use `HOST/REPO`, `oci:DIR` or `oci-archive:FILE`"),
            ),
        }
    }

    /// Where the image of this origin goes.
    pub(super) fn of(&self, origin: &Origin) -> Result<Reference, CommandError> {
        let name = || {
            origin.name.as_ref().ok_or_else(|| {
                CommandError::undecided(Message(format!(
                    "`{}` has no name that it could have below the destination",
                    origin.reference
                )))
                .hint("name a repository or a layout as the destination, without `/` at its end")
            })
        };
        let place = match self {
            Self::Here(reference) => reference.to_string(),
            Self::BelowRegistry { registry, path } => {
                let name = name()?.path();
                match path.as_str() {
                    "" => format!("{registry}/{name}"),
                    path => format!("{registry}/{path}/{name}"),
                }
            }
            Self::BelowFolder(folder) => format!("oci:{}", folder.join(name()?.long()).display()),
        };
        if !matches!(self, Self::BelowRegistry { .. }) {
            let mut reference: Reference = place
                .parse()
                .context(|| format!("`{place}` is not a place for an image"))?;
            if !matches!(reference.location, Location::Registry(_)) {
                // A name in a layout may have colons and slashes.
                match (&origin.reference.tag, &origin.reference.digest) {
                    (Some(tag), _) => reference.tag = Some(tag.clone()),
                    (None, Some(digest)) => reference.digest = Some(digest.clone()),
                    (None, None) => reference.tag = Some(Tag::latest()),
                }
                return Ok(reference);
            }
        }
        let selector = match (&origin.reference.tag, &origin.reference.digest) {
            (Some(tag), _) => format!(":{tag}"),
            (None, Some(digest)) => format!("@{digest}"),
            (None, None) => ":latest".to_owned(),
        };
        format!("{place}{selector}")
            .parse()
            .context(|| format!("`{place}` is not a place for an image"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes(origin: &str, name: Option<&str>, destination: &str) -> String {
        let origin = Origin {
            reference: origin.parse().unwrap(),
            name: name.map(|it| it.parse().unwrap()),
        };
        match Destination::parse(destination).and_then(|it| it.of(&origin)) {
            Ok(reference) => reference.to_string(),
            Err(error) => error.lines()[0].text.clone(),
        }
    }

    #[test]
    fn images_go_here_or_below() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let by_digest = format!("r.example/app@{digest}");
        for (origin, name, destination, expected) in [
            (
                "r.example/app:v1",
                Some("r.example/app"),
                "m.example/x",
                "m.example/x:v1",
            ),
            (
                "r.example/app:v1",
                Some("r.example/app"),
                "m.example/",
                "m.example/app:v1",
            ),
            (
                "r.example/a/b:v1",
                Some("r.example/a/b"),
                "m.example:5000/p/q/",
                "m.example:5000/p/q/a/b:v1",
            ),
            (
                "r.example/app",
                Some("r.example/app"),
                "oci:out",
                "oci:out:latest",
            ),
            (
                "r.example:1/a/b:v1",
                Some("r.example:1/a/b"),
                "oci:out/",
                "oci:out/r.example:1/a/b:v1",
            ),
            (
                "debian:12",
                Some("debian"),
                "oci:out/",
                "oci:out/docker.io/library/debian:12",
            ),
            ("oci:in:v1", None, "m.example/app", "m.example/app:v1"),
            (
                "oci:in:v1",
                None,
                "oci-archive:a.tar",
                "oci-archive:a.tar:v1",
            ),
            (
                "oci:in:v1",
                None,
                "m.example/",
                "`oci:in:v1` has no name that it could have below the destination",
            ),
            (
                "r.example/app:v1",
                Some("r.example/app"),
                "m.example/x:v2",
                "`m.example/x:v2` names one image, and images keep the tags that they have",
            ),
            (
                "r.example/app:v1",
                Some("r.example/app"),
                "docker-daemon:x",
                "`docker-daemon:x` cannot be a mirror",
            ),
            (
                "r.example/app:v1",
                Some("r.example/app"),
                "m_/../",
                "`m_/../` is not a place for images",
            ),
            (
                "r.example/app:v1",
                Some("r.example/app"),
                "m.example/Up/",
                "`m.example/Up/app` is not a place for an image",
            ),
            (
                &by_digest,
                Some("r.example/app"),
                "m.example/x",
                &format!("m.example/x@{digest}"),
            ),
        ] {
            assert_eq!(goes(origin, name, destination), expected);
        }
    }
}
