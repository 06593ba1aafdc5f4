//! `project-metadata.toml`: where the app's source came from, by the platform's word.

use serde::{Deserialize, Serialize};

/// All of the file.
///
/// <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#project-metadatatoml-toml>
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ProjectMetadata {
    /// The source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ProjectSource>,
}

/// `[source]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ProjectSource {
    /// What kind of source, e.g. `git`.
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Which version of it.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub version: toml::Table,
    /// All else.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}
