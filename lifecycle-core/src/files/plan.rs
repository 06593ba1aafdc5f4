//! `plan.toml`: what buildpacks require and who provides it.

use serde::{Deserialize, Serialize};
use toml::Table;

use super::group::GroupElement;

/// The content of `plan.toml`, which the detector writes and the builder reads.
///
/// <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#plantoml-toml>
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct BuildPlan {
    /// One for each thing that is required.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<BuildPlanEntry>,
}

/// A thing that is required, and who may provide it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct BuildPlanEntry {
    /// Who provides it, in the order of the group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<GroupElement>,
    /// The requirements, all of one name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Require>,
}

/// A requirement.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Require {
    /// What is required.
    pub name: String,
    /// Its version, where somebody else wrote one here: what `bin/detect` asks for says it among the
    /// metadata.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// More about it. Absent and empty differ, as upstream writes one and not the other.
    #[serde(
        deserialize_with = "super::table",
        skip_serializing_if = "Option::is_none"
    )]
    pub metadata: Option<Table>,
}

/// The plan that one buildpack's `bin/build` is given.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#buildpack-plan-toml>
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct BuildpackPlan {
    /// What it shall provide.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Require>,
}

impl BuildPlan {
    /// The plan of the buildpack or extension `id`.
    pub fn of(&self, id: &str, extension: bool) -> BuildpackPlan {
        let entries = self
            .entries
            .iter()
            .filter(|entry| {
                entry
                    .providers
                    .iter()
                    .any(|it| it.id == id && it.extension == extension)
            })
            .flat_map(|entry| entry.requires.iter().cloned())
            .collect();
        BuildpackPlan { entries }
    }

    /// The plan without the entries that ask for something in `met`, whoever may provide it.
    pub fn without_met(mut self, met: &[String]) -> Self {
        self.entries
            .retain(|entry| !entry.requires.iter().any(|it| met.contains(&it.name)));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> BuildPlan {
        toml::from_str(
            "[[entries]]\n[[entries.providers]]\nid = \"a\"\n[[entries.providers]]\nid = \"b\"\n\
             [[entries.requires]]\nname = \"x\"\n[[entries.requires]]\nname = \"x\"\n\
             [[entries]]\n[[entries.providers]]\nid = \"a\"\nextension = true\n\
             [[entries.requires]]\nname = \"y\"\n",
        )
        .unwrap()
    }

    #[test]
    fn a_buildpack_sees_what_it_provides() {
        assert_eq!(plan().of("a", false).entries.len(), 2);
        assert_eq!(plan().of("a", true).entries[0].name, "y");
        assert!(plan().of("c", false).entries.is_empty());
    }

    #[test]
    fn a_version_is_a_text_and_handed_on() {
        let requires = |version: &str| {
            let text = format!(
                "[[entries]]\n[[entries.providers]]\nid = \"a\"\n\
                 [[entries.requires]]\nname = \"x\"\nversion = {version}\n"
            );
            go::toml::from_bytes::<BuildPlan>(text.as_bytes())
        };
        let plan = requires("\"1\"").unwrap().of("a", false);
        let text = go::toml::to_string(&plan).unwrap();
        assert_eq!(text, "[[entries]]\n  name = \"x\"\n  version = \"1\"\n");
        assert!(requires("true").is_err());
    }

    #[test]
    fn what_is_met_is_gone_for_the_next() {
        let rest = plan().without_met(&["x".to_owned()]);
        assert!(rest.of("b", false).entries.is_empty());
        assert_eq!(rest.entries.len(), 1);
        assert_eq!(plan().without_met(&["z".to_owned()]), plan());
    }
}
