//! `run.toml`, and `stack.toml` before Platform API 0.12: which run images a platform offers.

use serde::{Deserialize, Serialize};

/// All of `run.toml`.
///
/// <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#runtoml-toml>
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Run {
    /// The images; the first is taken unless something else is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<RunImages>,
}

/// One run image, and where else it may be had.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RunImages {
    /// The image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The same image in other registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
}

impl RunImages {
    /// The image, then its mirrors.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.image)
            .filter(|it| !it.is_empty())
            .chain(&self.mirrors)
            .map(String::as_str)
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.image.is_empty() && self.mirrors.is_empty()
    }
}

/// All of `stack.toml`.
///
/// <https://github.com/buildpacks/spec/blob/platform/0.11/platform.md#stacktoml-toml>
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stack {
    /// The one run image.
    #[serde(default)]
    pub run_image: RunImages,
}

impl From<Stack> for Run {
    fn from(stack: Stack) -> Self {
        Self {
            images: vec![stack.run_image],
        }
    }
}
