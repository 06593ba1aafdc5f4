//! Who a buildpack or extension is: its id and its version, each parsed once.

use std::fmt;
use std::str::FromStr;

use lifecycle_core::files::group::{GroupElement, escape_id};
use serde::{Deserialize, Serialize};

/// The id of a buildpack or extension: letters, digits, `.`, `-` and `/`, and none of the names that
/// the lifecycle keeps for itself. So an id with `_` for `/` is a file name, and no two have the same.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#buildpack-id>
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleId(String);

/// The version of a buildpack or extension, as it says it. What we make has `X.Y.Z`; what others made
/// need not, but it is a file name in any case.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleVersion(String);

/// A buildpack or extension as an order names it: `id@version`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct ModuleName {
    /// Its id.
    pub id: ModuleId,
    /// Its version.
    pub version: ModuleVersion,
}

/// The longest id or version, in bytes: what file systems take as one name.
const LONGEST: usize = 255;

impl ModuleId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a file name: `/` becomes `_`.
    pub fn escaped(&self) -> String {
        escape_id(&self.0)
    }
}

impl ModuleVersion {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `X.Y.Z`, with what semantic versions may have behind it: what the specification
    /// asks of who makes a buildpack.
    pub fn is_semantic(&self) -> bool {
        let core = self.0.split(['-', '+']).next().unwrap_or_default();
        let number =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        core.split('.').count() == 3
            && core.split('.').all(number)
            && self
                .0
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c))
    }
}

/// Whether `text` can be an id.
fn is_id(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "./-".contains(c);
    !matches!(
        text,
        "" | "config" | "app" | "sbom" | "generated" | "." | ".."
    ) && text.len() <= LONGEST
        && text.chars().all(good)
}

impl FromStr for ModuleId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if is_id(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Id {
                text: text.to_owned(),
            })
        }
    }
}

impl FromStr for ModuleVersion {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let good = |c: char| c.is_ascii_alphanumeric() || ".-+_~".contains(c);
        let is_name = !matches!(text, "" | "." | "..") && text.len() <= LONGEST;
        // `.wh.` in front would make a whiteout of its folder.
        if is_name && text.chars().all(good) && !text.starts_with(".wh.") {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Version {
                text: text.to_owned(),
            })
        }
    }
}

/// `id@version`.
impl FromStr for ModuleName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (id, version) = text.split_once('@').ok_or_else(|| IdError::Name {
            text: text.to_owned(),
        })?;
        Ok(Self {
            id: id.parse()?,
            version: version.parse()?,
        })
    }
}

impl TryFrom<&GroupElement> for ModuleName {
    type Error = IdError;

    fn try_from(element: &GroupElement) -> Result<Self, IdError> {
        Ok(Self {
            id: element.id.parse()?,
            version: element.version.parse()?,
        })
    }
}

impl TryFrom<String> for ModuleId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl TryFrom<String> for ModuleVersion {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ModuleId> for String {
    fn from(id: ModuleId) -> Self {
        id.0
    }
}

impl From<ModuleVersion> for String {
    fn from(version: ModuleVersion) -> Self {
        version.0
    }
}

impl PartialEq<str> for ModuleId {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<String> for ModuleId {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}

impl PartialEq<str> for ModuleVersion {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<String> for ModuleVersion {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ModuleVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.version)
    }
}

/// Why a text is no id, version or name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// It cannot be an id.
    #[error("`{text}` cannot be an id: letters, digits, `.`, `-` and `/` can")]
    Id {
        /// What was given.
        text: String,
    },
    /// It cannot be a version.
    #[error("`{text}` is not a version")]
    Version {
        /// What was given.
        text: String,
    },
    /// It is not of the form `id@version`.
    #[error("`{text}` is not of the form `id@version`")]
    Name {
        /// What was given.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_file_names_once_they_are_escaped() {
        for good in ["a", "paketo-buildpacks/go", "x.y/z-1/q"] {
            let id: ModuleId = good.parse().unwrap();
            assert_eq!(id.as_str(), good);
            assert!(!id.escaped().contains('/'));
        }
        for bad in [
            "",
            ".",
            "..",
            "app",
            "config",
            "sbom",
            "generated",
            "a_b",
            "a b",
            "a\0",
            "é",
        ] {
            assert!(bad.parse::<ModuleId>().is_err(), "{bad}");
        }
        assert!("x".repeat(300).parse::<ModuleId>().is_err());
    }

    #[test]
    fn versions_are_file_names() {
        for (text, semantic) in [
            ("1.2.3", true),
            ("0.0.1-rc.1+b", true),
            ("0.1", false),
            ("latest", false),
            ("1.2.x", false),
        ] {
            let version: ModuleVersion = text.parse().unwrap();
            assert_eq!(version.is_semantic(), semantic, "{text}");
        }
        for bad in ["", ".", "..", "../1", "1/2", ".wh.1", "1 2", "1\n"] {
            assert!(bad.parse::<ModuleVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_both() {
        let name: ModuleName = "a/b@1.2.3".parse().unwrap();
        assert_eq!(name.to_string(), "a/b@1.2.3");
        for bad in ["a/b", "@1", "a@", "a@b@c"] {
            assert!(bad.parse::<ModuleName>().is_err(), "{bad}");
        }
    }
}
