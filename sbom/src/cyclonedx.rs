//! CycloneDX: what it says, and what it is made of.

mod component;
pub(crate) mod read;
mod words;
pub(crate) mod write;
pub(crate) mod xml;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::Object;

/// A CycloneDX document about an image, as [`merge`](crate::merge) writes it or as a verified
/// statement carries it.
///
/// <https://cyclonedx.org/docs/1.5/json/>
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct CycloneDx {
    root: Object,
}

impl CycloneDx {
    pub(crate) fn from_root(root: Object) -> Self {
        Self { root }
    }

    /// The document.
    pub fn root(&self) -> &Object {
        &self.root
    }

    /// Its version of the format: `1.5`.
    pub fn spec_version(&self) -> &str {
        crate::json::text(&self.root, "specVersion").unwrap_or_default()
    }

    /// Its components, without those nested in others.
    pub fn components(&self) -> impl Iterator<Item = &Value> {
        crate::json::list(&self.root, "components").iter()
    }

    /// How many components it lists, nested ones too.
    pub fn len(&self) -> usize {
        count(self.components())
    }

    /// Whether it lists none.
    pub fn is_empty(&self) -> bool {
        self.components().next().is_none()
    }

    /// The document as bytes: compact JSON with sorted keys. The same for the same document.
    pub fn to_bytes(&self) -> Vec<u8> {
        Value::Object(self.root.clone()).to_string().into_bytes()
    }
}

fn count<'a>(components: impl Iterator<Item = &'a Value>) -> usize {
    components
        .map(|it| {
            let nested = it.as_object().map(|it| crate::json::list(it, "components"));
            1 + count(nested.unwrap_or_default().iter())
        })
        .sum()
}

impl intoto::Predicate for CycloneDx {
    const TYPE: intoto::PredicateType = intoto::PredicateType::CYCLONEDX;
}
