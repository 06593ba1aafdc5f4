//! `system.toml`: buildpacks that run before and after those of any group.

use serde::{Deserialize, Serialize};

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
    /// They, in order.
    pub buildpacks: Vec<GroupElement>,
}
