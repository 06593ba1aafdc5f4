//! What an image says of how it was built: its labels, read back.

use oci::ImageConfig;
use serde::{Deserialize, Serialize};

/// What a lifecycle wrote into the labels of an image. All of it is the image's own word.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BuildFacts {
    /// The buildpacks that took part, in order.
    pub buildpacks: Vec<Module>,
    /// The extensions that took part, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Module>,
    /// What can be started.
    pub processes: Vec<Process>,
    /// The run image, as it was referred to; empty if unknown.
    pub run_image: String,
    /// The version of the lifecycle; empty if unknown.
    pub lifecycle: String,
}

/// A buildpack or extension.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Module {
    /// Its id.
    #[serde(default)]
    pub id: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
}

/// A process of an image.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Process {
    /// Its name.
    #[serde(default)]
    pub r#type: String,
    /// The program and the arguments that stay.
    #[serde(default)]
    pub command: Words,
    /// The arguments that a user may replace.
    #[serde(default)]
    pub args: Option<Vec<String>>,
    /// Whether the image starts it when nothing else is said.
    #[serde(default)]
    pub default: bool,
}

/// One word or several: older platforms wrote one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(clippy::exhaustive_enums, reason = "the specification has these two")]
pub enum Words {
    /// Platform API below 0.10.
    One(String),
    /// Platform API 0.10 and later.
    Many(Vec<String>),
}

impl Default for Words {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BuildLabel {
    buildpacks: Option<Vec<Module>>,
    extensions: Option<Vec<Module>>,
    processes: Option<Vec<Process>>,
    launcher: Launcher,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Launcher {
    version: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LayersLabel {
    run_image: RunImage,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RunImage {
    reference: String,
    image: String,
}

impl BuildFacts {
    /// Reads the labels of `config`. None, if no lifecycle built the image; a label that cannot be
    /// read is an error.
    pub fn of(config: &ImageConfig) -> Result<Option<Self>, InspectError> {
        let labels = &config.config.labels;
        let Some(build) = parse::<BuildLabel>(labels, "io.buildpacks.build.metadata")? else {
            return Ok(None);
        };
        let layers =
            parse::<LayersLabel>(labels, "io.buildpacks.lifecycle.metadata")?.unwrap_or_default();
        let default = config
            .config
            .entrypoint
            .first()
            .and_then(|it| it.strip_prefix("/cnb/process/"));
        let mut processes = build.processes.unwrap_or_default();
        for process in &mut processes {
            process.default = default == Some(&process.r#type);
        }
        let run_image = match layers.run_image {
            RunImage { image, .. } if !image.is_empty() => image,
            RunImage { reference, .. } => reference,
        };
        Ok(Some(Self {
            buildpacks: build.buildpacks.unwrap_or_default(),
            extensions: build.extensions.unwrap_or_default(),
            processes,
            run_image,
            lifecycle: build.launcher.version,
        }))
    }
}

fn parse<T: for<'de> Deserialize<'de>>(
    labels: &std::collections::BTreeMap<String, String>,
    label: &'static str,
) -> Result<Option<T>, InspectError> {
    labels
        .get(label)
        .map(|text| {
            serde_json::from_str(text).map_err(|source| InspectError::Label { label, source })
        })
        .transpose()
}

/// Why the labels of an image cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A label is not what the specification says.
    #[error("label `{label}` is malformed")]
    Label {
        /// Which.
        label: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(build: &str) -> ImageConfig {
        let mut config = ImageConfig::default();
        config
            .config
            .labels
            .insert("io.buildpacks.build.metadata".to_owned(), build.to_owned());
        config.config.entrypoint = vec!["/cnb/process/web".to_owned()];
        config
    }

    #[test]
    fn labels_of_every_platform_are_read() {
        let facts = BuildFacts::of(&config(
            r#"{"bom":null,"buildpacks":[{"id":"a/b","version":"1"}],"launcher":{"version":"0.21.17"},
                "processes":[{"type":"web","command":["server"],"args":null,"direct":true},
                             {"type":"old","command":"server","args":["x"]}]}"#,
        ))
        .unwrap()
        .unwrap();
        assert_eq!(facts.lifecycle, "0.21.17");
        assert_eq!(facts.processes.len(), 2);
        assert!(facts.processes[0].default && !facts.processes[1].default);
        assert_eq!(facts.processes[1].command, Words::One("server".to_owned()));
    }

    #[test]
    fn an_image_without_labels_is_no_error_but_a_broken_label_is() {
        assert_eq!(BuildFacts::of(&ImageConfig::default()).unwrap(), None);
        assert!(BuildFacts::of(&config("{")).is_err());
    }
}
