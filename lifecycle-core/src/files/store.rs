//! `store.toml`: what a buildpack wants to be told in the next build.

use serde::{Deserialize, Serialize};

/// All of the file.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#storetoml-toml>
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Store {
    /// Whatever the buildpack likes.
    #[serde(
        default,
        deserialize_with = "super::table",
        skip_serializing_if = "Option::is_none"
    )]
    pub metadata: Option<toml::Table>,
}
