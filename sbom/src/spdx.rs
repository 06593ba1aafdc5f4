//! SPDX 2: what it says, and what it is made of.

mod package;
pub(crate) mod read;
pub(crate) mod tag_value;
mod words;
pub(crate) mod write;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::Object;

/// An SPDX 2 document about an image, as [`merge`](crate::merge) writes it or as a verified
/// statement carries it.
///
/// <https://spdx.github.io/spdx-spec/v2.3/>
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Spdx {
    root: Object,
}

impl Spdx {
    pub(crate) fn from_root(root: Object) -> Self {
        Self { root }
    }

    /// The document.
    pub fn root(&self) -> &Object {
        &self.root
    }

    /// Its version of the format: `SPDX-2.3`.
    pub fn spec_version(&self) -> &str {
        crate::json::text(&self.root, "spdxVersion").unwrap_or_default()
    }

    /// Its packages; one of them is the image.
    pub fn packages(&self) -> impl Iterator<Item = &Value> {
        crate::json::list(&self.root, "packages").iter()
    }

    /// The document as bytes: compact JSON with sorted keys. The same for the same document.
    pub fn to_bytes(&self) -> Vec<u8> {
        Value::Object(self.root.clone()).to_string().into_bytes()
    }
}

impl intoto::Predicate for Spdx {
    const TYPE: intoto::PredicateType = intoto::PredicateType::SPDX;
}
