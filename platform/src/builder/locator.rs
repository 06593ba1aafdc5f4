//! What a user means by the name of a buildpack or extension, guessed in the order in which pack does.
//!
//! | text | is |
//! |---|---|
//! | `from=builder`, `urn:cnb:builder` | the builder's own groups |
//! | `urn:cnb:builder:ID[@VERSION]`, `from=builder:…` | what the builder has |
//! | `docker://IMAGE` | an image |
//! | `file://PATH` | a file or folder |
//! | what is there | a file or folder |
//! | what the builder has by this id | that |
//! | what names a registry, `oci:` or the like | an image |
//!
//! A name without a registry is taken for one of Docker's only behind `docker://`. Pack takes `NAMESPACE/NAME` for the name of a buildpack in a registry of buildpacks before it takes it
//! for an image. To take it for an image here would give whoever owns that image a say in builds that
//! mean another; so it is refused.

use std::path::{Path, PathBuf};

use lifecycle_core::buildpack::Kind;
use oci::{Reference, ReferenceError};

use super::Builder;
use super::id::{IdError, ModuleId, ModuleVersion};

/// Where a buildpack or extension is to be had from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "pack knows these")]
pub enum Locator {
    /// The builder's own groups.
    Builder,
    /// What the builder has.
    Named {
        /// Its id.
        id: ModuleId,
        /// Its version, if it was said.
        version: Option<ModuleVersion>,
    },
    /// A folder, an archive, a `.cnb` file.
    Path(PathBuf),
    /// A package image.
    Image(Reference),
}

impl Locator {
    /// What `text` means. What is relative is so to `folder`; `builder` is the one that is added to, if
    /// there is one already.
    pub fn parse(
        text: &str,
        kind: Kind,
        folder: &Path,
        builder: Option<&Builder>,
    ) -> Result<Self, LocatorError> {
        if matches!(text, "from=builder" | "urn:cnb:builder") {
            return Ok(Self::Builder);
        }
        for prefix in ["urn:cnb:builder:", "from=builder:"] {
            if let Some(name) = text.strip_prefix(prefix) {
                return Self::named(name);
            }
        }
        if text.starts_with("urn:cnb:registry:") {
            return Err(LocatorError::Registry {
                text: text.to_owned(),
            });
        }
        if let Some(name) = text.strip_prefix("docker://") {
            return Self::image(text, name);
        }
        if text.starts_with("file://") {
            let path = url::Url::parse(text).ok();
            let path = path.and_then(|it| it.to_file_path().ok());
            return path.map(Self::Path).ok_or_else(|| LocatorError::FileUrl {
                text: text.to_owned(),
            });
        }
        if text.contains("://") || text.starts_with("urn:") {
            return Err(LocatorError::Url {
                text: text.to_owned(),
            });
        }
        let path = folder.join(text);
        if !text.is_empty() && path.exists() {
            return Ok(Self::Path(path));
        }
        if let (Ok(named), Some(builder)) = (Self::named(text), builder)
            && let Self::Named { id, version } = &named
            && builder.modules(kind).iter().any(|it| {
                it.id == *id
                    && version
                        .as_ref()
                        .is_none_or(|version| it.version == *version)
            })
        {
            return Ok(named);
        }
        if is_registry_name(text) {
            return Err(LocatorError::Ambiguous {
                text: text.to_owned(),
            });
        }
        if !names_its_place(text) {
            return Err(LocatorError::NotThere {
                text: text.to_owned(),
            });
        }
        Self::image(text, text)
    }

    /// `ID` or `ID@VERSION`, of the builder.
    pub fn named(text: &str) -> Result<Self, LocatorError> {
        let (id, version) = match text.split_once('@') {
            Some((id, version)) => (id, Some(version)),
            None => (text, None),
        };
        let bad = |source| LocatorError::Id {
            text: text.to_owned(),
            source,
        };
        Ok(Self::Named {
            id: id.parse().map_err(bad)?,
            version: version.map(str::parse).transpose().map_err(bad)?,
        })
    }

    fn image(text: &str, name: &str) -> Result<Self, LocatorError> {
        let parsed = name.parse().map_err(|source| LocatorError::Unknown {
            text: text.to_owned(),
            source,
        });
        parsed.map(Self::Image)
    }
}

/// Whether a name says where an image is: by a registry's host, or by a word such as `oci:`. What does
/// not would be sought at Docker's registry, where anybody may have taken it: a file that is missing, or
/// misspelt, says neither.
fn names_its_place(text: &str) -> bool {
    match text.split_once('/') {
        Some((host, _)) if host.contains(':') => true,
        Some((host, _)) => host == "localhost" || (host.contains('.') && !host.starts_with('.')),
        None => ["oci:", "oci-archive:", "docker-archive:", "docker-daemon:"]
            .iter()
            .any(|it| text.starts_with(it)),
    }
}

/// `NAMESPACE/NAME`, with `@VERSION` or without: what pack looks up in a registry of buildpacks.
fn is_registry_name(text: &str) -> bool {
    let (name, version) = text.split_once('@').unwrap_or((text, "0.0.0"));
    let good = |part: &str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        // `../gone` is a path.
        !part.is_empty() && !part.starts_with('.') && part.chars().all(fits)
    };
    let is_version = version
        .parse::<ModuleVersion>()
        .is_ok_and(|it| it.is_semantic());
    let parts = name.split_once('/');
    is_version && parts.is_some_and(|(namespace, name)| good(namespace) && good(name))
}

/// Why nobody knows what a text means.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocatorError {
    /// To pack it is not an image.
    #[error(
        "`{text}` is neither there nor in the builder, and would be a buildpack of a registry of buildpacks, which cannot be asked yet"
    )]
    Ambiguous {
        /// What was said.
        text: String,
    },
    /// It leads to no file of this machine.
    #[error("`{text}` is not a path of this machine")]
    FileUrl {
        /// What was said.
        text: String,
    },
    /// It cannot be an id.
    #[error("`{text}` cannot be a buildpack of the builder")]
    Id {
        /// What was said.
        text: String,
        /// Why.
        source: IdError,
    },
    /// It is in a registry of buildpacks.
    #[error("`{text}` is in a registry of buildpacks, which cannot be asked yet")]
    Registry {
        /// What was said.
        text: String,
    },
    /// There is no such file, and as an image it would be one of Docker's registry.
    #[error("`{text}` is neither there nor in the builder")]
    NotThere {
        /// What was said.
        text: String,
    },
    /// It is nothing of all these.
    #[error("`{text}` is neither a file, a folder, something that the builder has, nor an image")]
    Unknown {
        /// What was said.
        text: String,
        /// Why it is no image.
        source: ReferenceError,
    },
    /// It would have to be downloaded.
    #[error("`{text}` is neither on this machine nor an image")]
    Url {
        /// What was said.
        text: String,
    },
}

#[cfg(test)]
mod tests;
