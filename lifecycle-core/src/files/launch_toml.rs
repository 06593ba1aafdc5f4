//! `launch.toml`: how the app starts, in the words of one buildpack.

use serde::Deserialize;

use super::metadata::{Command, Label, Slice};
use super::plan::Require;

/// The content of `<layers>/<buildpack>/launch.toml`.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#launchtoml-toml>
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct LaunchToml {
    /// What went into the image; replaced by SBOM files in Buildpack API 0.9.
    pub bom: Vec<Require>,
    /// Labels for the image.
    pub labels: Vec<Label>,
    /// Ways to start the app.
    pub processes: Vec<LaunchProcess>,
    /// Parts of the app that become layers of their own.
    pub slices: Vec<Slice>,
}

/// A way to start the app.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename_all = "kebab-case")]
pub struct LaunchProcess {
    /// Its name, e.g. `web`.
    pub r#type: String,
    /// What to run: a text before Buildpack API 0.9, a list since.
    pub command: Command,
    /// Arguments. Absent and empty differ in the image's label.
    pub args: Option<Vec<String>>,
    /// Whether to run it without a shell; gone since Buildpack API 0.9.
    pub direct: Option<bool>,
    /// Whether it is what the image starts.
    pub default: bool,
    /// The folder to start it in; empty for the app's.
    pub working_dir: String,
    /// The execution environments in which it may run; none means all.
    pub exec_env: Vec<String>,
}
