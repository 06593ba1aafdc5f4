//! `report.toml`: what the exporter or rebaser made, for the platform.

use oci::{Descriptor, Digest};
use serde::{Deserialize, Serialize};

use super::analyzed::RunImageMetadata;
use super::metadata::BomEntry;
use crate::images::Kind;

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
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageReport {
    /// The names that it was given.
    pub tags: Vec<String>,
    /// With a daemon: the digest of its config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// With a registry, or a layout for who asked for it: the digest of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// With a registry or a layout: the size of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_size: Option<u64>,
    /// What it is based on, as its labels say: RFC 0129, for who asked for it.
    ///
    /// <https://github.com/buildpacks/rfcs/blob/main/text/0129-export-run-image-metadata.md>
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_image: Option<RunImageMetadata>,
}

impl ReportFile {
    /// With the digest of the image, wherever it is.
    #[must_use]
    pub fn with_digest(mut self, image: &Descriptor) -> Self {
        self.image.digest = Some(image.digest.to_string());
        self
    }

    /// With what the image is based on.
    #[must_use]
    pub fn with_run_image(mut self, run_image: &RunImageMetadata) -> Self {
        self.image.run_image = Some(run_image.clone());
        self
    }
}

impl ImageReport {
    /// Of the image `image` with these names, which a daemon has as `daemon_id`: a daemon's images
    /// have no manifest.
    pub(crate) fn new(
        names: &[String],
        image: &Descriptor,
        kind: Kind,
        daemon_id: Option<&Digest>,
    ) -> Self {
        Self {
            tags: names.to_vec(),
            image_id: daemon_id.map(|it| it.hex().to_owned()),
            digest: (kind == Kind::Registry).then(|| image.digest.to_string()),
            manifest_size: (kind != Kind::Daemon).then_some(image.size),
            run_image: None,
        }
    }
}
