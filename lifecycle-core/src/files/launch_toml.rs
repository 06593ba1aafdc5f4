//! `launch.toml`: how the app starts, in the words of one buildpack.

use serde::{Deserialize, Deserializer};

use super::metadata::{BomToml, Label, Slice};

/// The content of `<layers>/<buildpack>/launch.toml`, with commands as `C`: one text before
/// Buildpack API 0.9, a list of words since.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#launchtoml-toml>
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, bound(deserialize = "C: Default + Deserialize<'de>"))]
pub struct LaunchToml<C> {
    /// What went into the image; replaced by SBOM files in Buildpack API 0.9.
    pub bom: Vec<BomToml>,
    /// Labels for the image.
    pub labels: Vec<Label>,
    /// Ways to start the app.
    pub processes: Vec<LaunchProcess<C>>,
    /// Parts of the app that become layers of their own.
    pub slices: Vec<Slice>,
}

/// A way to start the app.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(
    default,
    bound(deserialize = "C: Default + Deserialize<'de>"),
    rename_all = "kebab-case"
)]
pub struct LaunchProcess<C> {
    /// Its name, e.g. `web`.
    pub r#type: String,
    /// What to run.
    pub command: RawCommand<C>,
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

/// A command as it stands in the file. What is wrong with it is told only after all else was read,
/// as upstream looks at it last.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a command is there and good, or not"
)]
pub enum RawCommand<C> {
    /// There is none.
    #[default]
    Missing,
    /// This one.
    Read(C),
    /// It is of another type: the error.
    Wrong(String),
}

impl<'de, C: Deserialize<'de>> Deserialize<'de> for RawCommand<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match C::deserialize(deserializer) {
            Ok(command) => Self::Read(command),
            Err(error) => Self::Wrong(error.to_string()),
        })
    }
}
