//! `report.toml`: what the exporter or rebaser made, for the platform.

use serde::{Deserialize, Serialize};

use super::metadata::BomEntry;

/// All of the file.
///
/// <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#reporttoml-toml>
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ReportFile {
    /// What was used by the build; before Platform API 0.9.
    #[serde(default, skip_serializing_if = "BuildReport::is_empty")]
    pub build: BuildReport,
    /// The image.
    pub image: ImageReport,
}

/// `[build]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct BuildReport {
    /// What buildpacks at an API below 0.9 say they used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bom: Vec<BomEntry>,
}

impl BuildReport {
    fn is_empty(&self) -> bool {
        self.bom.is_empty()
    }
}

/// `[image]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageReport {
    /// The names that it was given.
    pub tags: Vec<String>,
    /// With a daemon: the digest of its config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// With a registry: the digest of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// With a registry: the size of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_size: Option<u64>,
}
