//! What a build made: plain data, for `report.toml` and for whoever says how the image came to be.

use oci::{Descriptor, DiffId, Digest};

use crate::files::analyzed::RunImageMetadata;
use crate::files::group::GroupElement;
use crate::files::metadata::{BomEntry, Process};
use crate::files::report::{BuildReport, ImageReport, ReportFile};
use crate::images::Kind;

/// What the exporter made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The image, by its manifest.
    pub image: Descriptor,
    /// The digest of its config.
    pub image_id: Digest,
    /// The names that it was given.
    pub names: Vec<String>,
    /// What it is known by where it lies.
    pub kind: Kind,
    /// The image ID, if it went to a daemon.
    pub daemon_id: Option<Digest>,
    /// What it is based on.
    pub run_image: ReportedRunImage,
    /// The buildpacks that took part, in order.
    pub buildpacks: Vec<GroupElement>,
    /// The extensions that took part, in order.
    pub extensions: Vec<GroupElement>,
    /// What can be started.
    pub processes: Vec<Process>,
    /// The layers above the run image's, lowest first.
    pub layers: Vec<ReportedLayer>,
    /// What buildpacks say they used, before Platform API 0.9.
    pub bom: Vec<BomEntry>,
}

/// What an image is based on.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ReportedRunImage {
    /// The name that it was asked for by.
    pub name: String,
    /// Which image it is, for good.
    pub reference: String,
    /// What the labels of the image say of it.
    pub metadata: RunImageMetadata,
}

/// A layer that the exporter made.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReportedLayer {
    /// `<buildpack>:<layer>`, `slice-<n>` or `buildpacksio/lifecycle:<name>`.
    pub id: String,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Its blob.
    pub descriptor: Descriptor,
    /// Whether the previous image has it.
    pub reused: bool,
}

impl Report {
    /// What `report.toml` says of it.
    pub fn file(&self) -> ReportFile {
        ReportFile {
            build: BuildReport {
                bom: self.bom.clone(),
            },
            image: ImageReport::new(&self.names, &self.image, self.kind, self.daemon_id.as_ref()),
        }
    }
}
