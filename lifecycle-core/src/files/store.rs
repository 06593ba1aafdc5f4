//! `store.toml`: what a buildpack wants to be told in the next build.

use serde::{Deserialize, Deserializer, Serialize};

use super::any::Any;

/// All of the file.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#storetoml-toml>
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Store {
    /// Whatever the buildpack likes.
    #[serde(
        default,
        deserialize_with = "table",
        skip_serializing_if = "Option::is_none"
    )]
    pub metadata: Option<Any>,
}

fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Any>, D::Error> {
    let table: Option<toml::Table> = super::table(deserializer)?;
    Ok(table.map(Any::from))
}
