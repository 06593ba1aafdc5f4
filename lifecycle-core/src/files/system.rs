//! `system.toml`: buildpacks that run before and after those of any group.

use serde::{Deserialize, Deserializer, Serialize};

use super::group::GroupElement;

/// The content of `system.toml`, since Platform API 0.15.
///
/// <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#systemtoml-toml>
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct System {
    /// The one table.
    pub system: SystemBuildpacks,
}

/// Who runs before, and who after.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct SystemBuildpacks {
    /// Before the group.
    pub pre: Buildpacks,
    /// After the group.
    pub post: Buildpacks,
}

/// A list of buildpacks.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Buildpacks {
    /// They, in order: id, version, and whether they may fail.
    #[serde(deserialize_with = "elements")]
    pub buildpacks: Vec<GroupElement>,
}

/// What the file says of a buildpack; nothing else that a group says of its members counts here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SystemBuildpack {
    id: String,
    version: String,
    optional: bool,
}

fn elements<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<GroupElement>, D::Error> {
    let read = Vec::<SystemBuildpack>::deserialize(deserializer)?;
    let elements = read.into_iter().map(|it| GroupElement {
        optional: it.optional,
        ..GroupElement::new(&it.id, &it.version)
    });
    Ok(elements.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_id_version_and_optional_count() {
        let text = "[[system.pre.buildpacks]]\nid = \"a\"\nversion = \"1\"\noptional = true\n\
                    extension = \"x\"\nhomepage = 1\n";
        let system: System = go::toml::from_bytes(text.as_bytes()).unwrap();
        let expected = GroupElement {
            optional: true,
            ..GroupElement::new("a", "1")
        };
        assert_eq!(system.system.pre.buildpacks, [expected]);
    }
}
