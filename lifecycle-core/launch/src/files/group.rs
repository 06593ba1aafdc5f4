//! `group.toml`: the buildpacks and extensions that passed detection.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The content of `group.toml`.
///
/// <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#grouptoml-toml>
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Group {
    /// The buildpacks, in the order in which they run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<GroupElement>,
    /// The extensions, in the order in which they run.
    #[serde(
        default,
        rename = "group-extensions",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub group_extensions: Vec<GroupElement>,
}

impl Group {
    /// A group of these buildpacks and extensions.
    pub fn new(group: Vec<GroupElement>, group_extensions: Vec<GroupElement>) -> Self {
        Self {
            group,
            group_extensions,
        }
    }
}

/// A buildpack or an extension, where a file names it: in an order, a group, a plan, a label.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct GroupElement {
    /// The id, e.g. `paketo-buildpacks/go`.
    pub id: String,
    /// The version, as the order has it.
    pub version: String,
    /// The Buildpack API that it speaks, as its descriptor has it. Empty where it is not told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api: String,
    /// Its home page, or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub homepage: String,
    /// Whether it is an extension.
    #[serde(skip_serializing_if = "is_false")]
    pub extension: bool,
    /// Whether its group passes without it.
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}

impl GroupElement {
    /// The buildpack `id` in `version`.
    pub fn new(id: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            version: version.into(),
            ..Self::default()
        }
    }

    /// The id as a file name: `/` becomes `_`.
    pub fn escaped_id(&self) -> String {
        escape_id(&self.id)
    }

    /// The same without whatever is said of its part in a group.
    pub fn identity(&self) -> Self {
        Self::new(&self.id, &self.version)
    }
}

/// `id@version`, also without a version.
impl fmt::Display for GroupElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.version)
    }
}

/// An id as a file name: `/` becomes `_`.
pub fn escape_id(id: &str) -> String {
    id.replace('/', "_")
}

/// Whether a flag is not set: then it is not written.
pub fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_other_lifecycles_write() {
        let text = "[[group]]\nid = \"a/b\"\nversion = \"1\"\napi = \"0.10\"\nodd = 1\n\
            [[group-extensions]]\nid = \"e\"\noptional = true\n";
        let group: Group = toml::from_str(text).unwrap();
        assert_eq!(group.group[0].to_string(), "a/b@1");
        assert_eq!(group.group[0].escaped_id(), "a_b");
        assert!(group.group_extensions[0].optional);
        assert_eq!(group.group_extensions[0].to_string(), "e@");
    }
}
