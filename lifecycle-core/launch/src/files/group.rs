//! `group.toml`: the buildpacks and extensions that passed detection.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// The content of `group.toml`.
///
/// <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#grouptoml-toml>
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "GroupFile")]
pub struct Group {
    /// The buildpacks, in the order in which they run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<GroupElement>,
    /// Whether the file has a list of buildpacks, which may be empty.
    #[serde(skip)]
    pub has_list: bool,
    /// The extensions, in the order in which they run.
    #[serde(rename = "group-extensions", skip_serializing_if = "Vec::is_empty")]
    pub group_extensions: Vec<GroupElement>,
}

/// The same, as it is read.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct GroupFile {
    group: Option<Vec<GroupElement>>,
    group_extensions: Vec<GroupElement>,
}

impl From<GroupFile> for Group {
    fn from(file: GroupFile) -> Self {
        Self {
            has_list: file.group.is_some(),
            group: file.group.unwrap_or_default(),
            group_extensions: file.group_extensions,
        }
    }
}

impl Group {
    /// A group of these buildpacks and extensions.
    pub fn new(group: Vec<GroupElement>, group_extensions: Vec<GroupElement>) -> Self {
        Self {
            has_list: !group.is_empty(),
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
    /// In an order: the execution environments in which it counts; empty for all. Never written:
    /// upstream knows none.
    #[serde(rename = "exec-env", deserialize_with = "exec_env", skip_serializing)]
    pub exec_env: Vec<String>,
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

/// Execution environments: a list of names, or of tables with a `name`, as the specification has it for
/// buildpacks. Anything else counts as absent: upstream does not look at it.
fn exec_env<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    Ok(exec_env_of(&value))
}

/// The same, of a value that was read. Empty means all of them.
pub fn exec_env_of(value: &toml::Value) -> Vec<String> {
    let names = value.as_array().into_iter().flatten();
    let names = names.filter_map(|it| it.as_str().or_else(|| it.get("name")?.as_str()));
    names.map(str::to_owned).collect()
}

/// Whether what is for these execution environments is for `current`.
pub fn is_for(exec_env: &[String], current: &str) -> bool {
    exec_env.is_empty() || exec_env.iter().any(|it| it == "*" || it == current)
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
        assert!(group.has_list);
    }

    #[test]
    fn no_list_and_an_empty_one_are_two_things() {
        for (text, expected) in [("", false), ("group = []", true)] {
            let group: Group = toml::from_str(text).unwrap();
            assert_eq!((group.has_list, group.group.len()), (expected, 0));
        }
    }

    #[test]
    fn execution_environments_come_in_two_forms_and_other_values_do_not_count() {
        for (text, expected) in [
            ("exec-env = [\"test\", \"*\"]", ["test", "*"].as_slice()),
            ("[[exec-env]]\nname = \"test\"", &["test"]),
            ("exec-env = 3", &[]),
            ("exec-env = [3, \"test\"]", &["test"]),
            ("", &[]),
        ] {
            let element: GroupElement = super::super::parse(text.as_bytes()).unwrap();
            assert_eq!(element.exec_env, expected, "{text}");
        }
        assert!(is_for(&[], "test"));
        assert!(is_for(&["*".to_owned()], "test"));
        assert!(!is_for(&["production".to_owned()], "test"));
    }
}
