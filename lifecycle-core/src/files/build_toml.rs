//! `build.toml`: what a buildpack did not provide after all.

use serde::Deserialize;

use super::metadata::BomToml;

/// The content of `<layers>/<buildpack>/build.toml`.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#buildtoml-toml>
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct BuildToml {
    /// What went into the build image; replaced by SBOM files in Buildpack API 0.9.
    pub bom: Vec<BomToml>,
    /// What a later buildpack has to provide.
    pub unmet: Vec<Unmet>,
}

/// An entry of the plan that the buildpack left to others.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct Unmet {
    /// The name of what was required.
    pub name: String,
}
