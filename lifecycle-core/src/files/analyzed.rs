//! `analyzed.toml`: what the analyzer found, and the restorer completed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::any::Any;
use super::run::RunImages;
use super::store::Store;

/// All of the file.
///
/// <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#analyzedtoml-toml>
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Analyzed {
    /// The image that this build replaces; its reference is empty if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageIdentifier>,
    /// The image that extensions extend for the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_image: Option<ImageIdentifier>,
    /// What the replaced image says of its layers.
    #[serde(default)]
    pub metadata: LayersMetadata,
    /// What the new image is based on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_image: Option<RunImage>,
}

impl Analyzed {
    /// The reference of the image that this build replaces, if there is one.
    pub fn previous_image(&self) -> Option<&str> {
        self.image
            .as_ref()
            .map(|it| it.reference.as_str())
            .filter(|it| !it.is_empty())
    }

    /// The run image as the log tells of it: JSON.
    pub fn run_image_text(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Json<'a> {
            reference: &'a str,
            image: &'a str,
            extend: bool,
            #[serde(rename = "target", skip_serializing_if = "Option::is_none")]
            target: Option<&'a TargetMetadata>,
        }
        let json = self.run_image.as_ref().map(|it| Json {
            reference: &it.reference,
            image: &it.image,
            extend: it.extend,
            target: it.target.as_ref(),
        });
        go::json::to_string(&json).unwrap_or_default()
    }
}

/// Names one image for good.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ImageIdentifier {
    /// With a registry or a layout `name@sha256:…`, with a daemon the image ID.
    #[serde(default)]
    pub reference: String,
}

/// The run image, as the analyzer found it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RunImage {
    /// With a registry or a layout `name@sha256:…`, with a daemon the image ID; empty if it was not
    /// found.
    #[serde(default)]
    pub reference: String,
    /// The name it was asked for by; from Platform API 0.12 on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Whether extensions have something to run on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extend: bool,
    /// What runs on it; from Platform API 0.12 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetMetadata>,
}

/// What an image runs on, and what it is made of.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TargetMetadata {
    /// The label `io.buildpacks.base.id`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// As Go's `GOOS`.
    #[serde(default)]
    pub os: String,
    /// As Go's `GOARCH`.
    #[serde(default)]
    pub arch: String,
    /// E.g. `v8`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch_variant: String,
    /// The distribution of the operating system, if the image says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distro: Option<Distro>,
}

/// A distribution of an operating system.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename = "files.OSDistro")]
pub struct Distro {
    /// As `ID` in `/etc/os-release`.
    #[serde(default)]
    pub name: String,
    /// As `VERSION_ID` there.
    #[serde(default)]
    pub version: String,
}

/// What an image says of its layers: `[metadata]` here, the label `io.buildpacks.lifecycle.metadata`
/// there.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LayersMetadata {
    /// The slices of the app.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub app: Vec<LayerSha>,
    /// The SBOMs of what is launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<LayerSha>,
    /// The layers of each buildpack, in the order of the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buildpacks: Vec<BuildpackLayersMetadata>,
    /// `config/metadata.toml`.
    #[serde(default)]
    pub config: LayerSha,
    /// The launcher.
    #[serde(default)]
    pub launcher: LayerSha,
    /// The links in `/cnb/process`.
    #[serde(default)]
    pub process_types: LayerSha,
    /// The run image below.
    #[serde(default)]
    pub run_image: RunImageMetadata,
    /// Where the run image may be had, as platforms before 0.12 read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackMetadata>,
}

/// A layer by its diffID.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LayerSha {
    /// The diffID; empty if there is no such layer.
    #[serde(default)]
    pub sha: String,
}

/// The layers of one buildpack, in an image or in a cache.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct BuildpackLayersMetadata {
    /// The buildpack's id.
    #[serde(default)]
    pub key: String,
    /// The buildpack's version.
    #[serde(default)]
    pub version: String,
    /// Its layers by name.
    #[serde(default)]
    pub layers: BTreeMap<String, LayerMetadata>,
    /// What it wants to be told in the next build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
}

/// One layer of a buildpack.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct LayerMetadata {
    /// The diffID.
    #[serde(default)]
    pub sha: String,
    /// Whether later buildpacks see it.
    #[serde(default)]
    pub build: bool,
    /// Whether the app sees it.
    #[serde(default)]
    pub launch: bool,
    /// Whether the next build sees it.
    #[serde(default)]
    pub cache: bool,
    /// What the buildpack says of it.
    #[serde(default, rename = "metadata", skip_serializing_if = "Option::is_none")]
    pub data: Option<Any>,
}

/// What an image says of the run image below it: all that a rebase needs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "RunImageFields", into = "RunImageFields")]
pub struct RunImageMetadata {
    /// The diffID of its last layer.
    pub top_layer: String,
    /// Which image it is.
    pub reference: String,
    /// Where it may be had; from Platform API 0.12 on.
    pub images: RunImages,
}

/// [`RunImageMetadata`] as it stands in the file, in upstream's order.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case")]
struct RunImageFields {
    top_layer: String,
    reference: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    image: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mirrors: Vec<String>,
}

impl From<RunImageFields> for RunImageMetadata {
    fn from(it: RunImageFields) -> Self {
        Self {
            top_layer: it.top_layer,
            reference: it.reference,
            images: RunImages {
                image: it.image,
                mirrors: it.mirrors,
            },
        }
    }
}

impl From<RunImageMetadata> for RunImageFields {
    fn from(it: RunImageMetadata) -> Self {
        Self {
            top_layer: it.top_layer,
            reference: it.reference,
            image: it.images.image,
            mirrors: it.images.mirrors,
        }
    }
}

/// `stack` in [`LayersMetadata`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StackMetadata {
    /// Where the run image may be had.
    #[serde(default)]
    pub run_image: RunImages,
}
