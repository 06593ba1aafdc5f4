//! What the launcher reads of `<layers>/config/metadata.toml`.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor, value::SeqAccessDeserializer};

use crate::go_words::{PathError, toml_cause};

/// The processes of an image and the buildpacks that gave them.
///
/// <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#metadatatoml-toml>
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct LaunchMetadata {
    /// In the order of the group.
    #[serde(default)]
    pub buildpacks: Vec<LaunchBuildpack>,
    /// Sorted by type; a type may stand twice, for different execution environments.
    #[serde(default)]
    pub processes: Vec<Process>,
}

/// A buildpack that took part in the build.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct LaunchBuildpack {
    /// Its ID, with slashes.
    #[serde(default)]
    pub id: String,
    /// Its Buildpack API, unchecked.
    #[serde(default)]
    pub api: String,
}

/// A way to start the app.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Process {
    /// The name of the process type.
    #[serde(default, rename = "type")]
    pub name: String,
    /// The program, and arguments that stay whatever the user gives.
    #[serde(default, deserialize_with = "command")]
    pub command: Vec<String>,
    /// Arguments that the user may replace.
    #[serde(default)]
    pub args: Vec<String>,
    /// Whether to start it without a shell.
    #[serde(default)]
    pub direct: bool,
    /// The buildpack that gave it.
    #[serde(default)]
    pub buildpack_id: String,
    /// Where to start it; relative to the app; the app's folder when empty.
    #[serde(default, rename = "working-dir")]
    pub working_directory: String,
    /// The execution environments in which it may start; all when empty.
    #[serde(default)]
    pub exec_env: Vec<String>,
}

impl LaunchMetadata {
    /// Reads `<layers>/config/metadata.toml`.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is not what the specification says.
    pub fn read(layers: &Path) -> Result<Self, MetadataError> {
        let path = layers.join("config/metadata.toml");
        let text = fs::read_to_string(&path)
            .map_err(|error| MetadataError::Read(PathError::new("open", &path, &error)))?;
        toml::from_str(&text).map_err(|error| MetadataError::Toml {
            cause: toml_cause(&text, &error),
        })
    }
}

/// The launcher's metadata cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(PathError),
    /// It is not TOML, or its values are of other types.
    #[error("{cause}")]
    Toml {
        /// Line and cause.
        cause: String,
    },
}

/// A command is a string below Platform API 0.10 and an array from there on; both are read.
fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Command;

    impl<'de> Visitor<'de> for Command {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or an array of strings")
        }

        fn visit_str<E>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Vec<String>, E> {
            Err(E::custom(format_args!(
                "unknown command type int64 with data {number}"
            )))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Vec<String>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(items))
        }
    }

    deserializer.deserialize_any(Command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_strings_or_arrays() {
        let read = |text: &str| {
            toml::from_str::<LaunchMetadata>(text)
                .map(|it| {
                    it.processes
                        .into_iter()
                        .flat_map(|it| it.command)
                        .collect::<Vec<_>>()
                })
                .map_err(|error| toml_cause(text, &error))
        };
        assert_eq!(
            read("[[processes]]\ncommand = \"a b\""),
            Ok(vec!["a b".to_owned()])
        );
        assert_eq!(
            read("[[processes]]\ncommand = [\"a\", \"b\"]").map(|it| it.len()),
            Ok(2)
        );
        assert_eq!(
            read("[[processes]]\ntype = \"web\"\ncommand = 5\n"),
            Err("toml: line 3 (last key \"processes.command\"): \
                 unknown command type int64 with data 5"
                .to_owned())
        );
        assert_eq!(
            read("[[processes]]\nargs = \"x\"\n"),
            Err(
                "toml: line 2 (last key \"processes.args\"): incompatible types: TOML value has \
                 type string; destination has type slice"
                    .to_owned()
            )
        );
    }
}
