//! `order.toml`: which groups of buildpacks to try, and in which order.

use serde::{Deserialize, Serialize};

use super::group::GroupElement;

/// The content of `order.toml`.
///
/// <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#ordertoml-toml>
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Order {
    /// The groups of buildpacks; the first that passes is taken.
    pub order: Vec<OrderGroup>,
    /// The groups of extensions.
    #[serde(rename = "order-extensions", skip_serializing_if = "Vec::is_empty")]
    pub order_extensions: Vec<OrderGroup>,
}

/// Buildpacks that pass or fail together.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct OrderGroup {
    /// Its members.
    pub group: Vec<GroupElement>,
}

impl OrderGroup {
    /// A group of these.
    pub fn new(group: Vec<GroupElement>) -> Self {
        Self { group }
    }
}
