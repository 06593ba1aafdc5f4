//! The config of an image.

use std::collections::BTreeMap;

use go::json::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::{null, texts};
use crate::{DiffId, Platform, wire};

/// The config of an image: how its layers make a root file system, and how it is run.
///
/// Read and written as Go's go-containerregistry does, on which the image IDs of all CNB tools rest; keys
/// that it does not know are left out.
///
/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md>
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct ImageConfig {
    /// As Go's `GOARCH`.
    #[serde(deserialize_with = "null")]
    pub architecture: String,
    /// Who made it.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Docker's: the container that it was made from.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Docker's: its version.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub docker_version: String,
    /// How it was made: one entry for each layer, and some for none.
    #[serde(deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// As Go's `GOOS`.
    #[serde(deserialize_with = "null")]
    pub os: String,
    /// The layers.
    #[serde(deserialize_with = "null")]
    pub rootfs: RootFs,
    /// How it is run.
    #[serde(deserialize_with = "null")]
    pub config: RunConfig,
    /// E.g. the build of Windows.
    #[serde(
        rename = "os.version",
        deserialize_with = "null",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// E.g. `v8`.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// E.g. `win32k`.
    #[serde(
        rename = "os.features",
        deserialize_with = "null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
}

impl ImageConfig {
    /// Reads a config. One that has a field twice, or something after its end, is refused: it has two
    /// meanings.
    ///
    /// # Errors
    ///
    /// If it is none, in the words of Go's library.
    pub fn parse(text: &[u8]) -> Result<Self, Problem> {
        go::json::unambiguous(text, &wire::CONFIG)
    }

    /// The same as go-containerregistry reads it, whatever meanings it has besides: for the lifecycle.
    ///
    /// # Errors
    ///
    /// If `text` does not begin with a config, in the words of Go's library.
    pub fn parse_loosely(text: &[u8]) -> Result<Self, Problem> {
        go::json::decode(text, &wire::CONFIG)
    }

    /// What it runs on.
    pub fn platform(&self) -> Platform {
        let some = |text: &String| Some(text.clone()).filter(|it| !it.is_empty());
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: some(&self.os_version),
            os_features: self.os_features.clone(),
            variant: some(&self.variant),
        }
    }
}

/// How an image is run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(clippy::struct_excessive_bools, reason = "Docker has them")]
pub struct RunConfig {
    /// Docker's.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_false")]
    pub attach_stderr: bool,
    /// Docker's.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_false")]
    pub attach_stdin: bool,
    /// Docker's.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_false")]
    pub attach_stdout: bool,
    /// Arguments to the entry point, unless others are given.
    #[serde(deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Docker's: how to ask whether it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthCheck>,
    /// Docker's.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// What is run.
    #[serde(deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The environment: `NAME=value`.
    #[serde(deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Docker's.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Docker's.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// What is said of the image.
    #[serde(deserialize_with = "texts", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Docker's: what to do in builds on top.
    #[serde(deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Docker's.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_false")]
    pub open_stdin: bool,
    /// Docker's.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_false")]
    pub stdin_once: bool,
    /// Docker's.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_false")]
    pub tty: bool,
    /// Who runs it: `user[:group]`, by name or number.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Where data is that outlives a container.
    #[serde(deserialize_with = "null", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Value>,
    /// Where it is run.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// On which ports it listens: `8080/tcp`.
    #[serde(deserialize_with = "null", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// Windows.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    /// Docker's.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_false")]
    pub network_disabled: bool,
    /// Docker's.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    /// How it is asked to end.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Docker's: the shell of `RUN` in builds on top.
    #[serde(deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}

impl RunConfig {
    /// The value of an environment variable; of the first entry, if there are several.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .filter_map(|it| it.split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Sets an environment variable: where it stood, or at the end.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        let place = self
            .env
            .iter_mut()
            .find(|it| it.split_once('=').map_or(it.as_str(), |(key, _)| key) == name);
        match place {
            Some(it) => *it = entry,
            None => self.env.push(entry),
        }
    }
}

/// How Docker asks whether a container is well.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HealthCheck {
    /// The command.
    #[serde(deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// How often, in nanoseconds.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// How long it may take, in nanoseconds.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// How long it may fail at the start, in nanoseconds.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// How often it may fail.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// How a layer was made.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct History {
    /// By whom.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// What else.
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether there is no layer.
    #[serde(deserialize_with = "null", skip_serializing_if = "is_false")]
    pub empty_layer: bool,
}

/// The layers of an image.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type", deserialize_with = "null")]
    pub kind: String,
    /// Lowest first.
    #[serde(deserialize_with = "null")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_gos_order_and_those_it_does_not_know_are_left_out() {
        let text = r#"{"x-own":[1],"os":"linux","variant":"v8","rootfs":{"type":"layers","diff_ids":null},
            "history":[{"created_by":"a","created":"t","empty_layer":true}],"created":"t","architecture":"arm64",
            "config":{"Volumes":{"/v":{}},"Labels":{"b":"<","a":""},"Env":["A=b=c"],"User":"u","Cmd":null,
            "Own":true,"StopSignal":"S"}} and more"#;
        let text = text.replace("\"t\"", "\"2020-01-01T0:00:00Z\"");
        assert!(ImageConfig::parse(text.as_bytes()).is_err());
        let config = ImageConfig::parse_loosely(text.as_bytes()).unwrap();
        assert_eq!(
            go::json::to_string(&config).unwrap(),
            r#"{"architecture":"arm64","created":"2020-01-01T00:00:00Z","history":[{"created":"2020-01-01T00:00:00Z","created_by":"a","empty_layer":true}],"os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{"Env":["A=b=c"],"Labels":{"a":"","b":"\u003c"},"User":"u","Volumes":{"/v":{}},"StopSignal":"S"},"variant":"v8"}"#
        );
    }

    #[test]
    fn what_a_config_leaves_empty_is_no_part_of_its_platform() {
        let config = |version: &str, variant: &str| ImageConfig {
            os_version: version.to_owned(),
            variant: variant.to_owned(),
            ..ImageConfig::default()
        };
        let platform = config("", "").platform();
        assert_eq!((platform.os_version, platform.variant), (None, None));
        let platform = config("10.0.1", "v8").platform();
        assert_eq!(platform.os_version.as_deref(), Some("10.0.1"));
        assert_eq!(platform.variant.as_deref(), Some("v8"));
    }

    #[test]
    fn variables_are_set_in_place() {
        let mut config = RunConfig {
            env: vec!["A=1=2".to_owned(), "B".to_owned()],
            ..RunConfig::default()
        };
        assert_eq!(config.env("A"), Some("1=2"));
        config.set_env("B", "x");
        config.set_env("A", "y");
        config.set_env("C", "");
        assert_eq!(config.env, ["A=y", "B=x", "C="]);
    }
}
