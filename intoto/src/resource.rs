//! Artifacts, described: digests by the name of their algorithm.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::null_is_unset;

/// Digests of one artifact, hex by the name of the algorithm: `sha256`, `sha512`, `gitCommit`, …
///
/// <https://github.com/in-toto/attestation/blob/v1.1.0/spec/v1/digest_set.md>
pub type DigestSet = BTreeMap<String, String>;

/// An artifact, described: the subject of a statement, or something that a predicate speaks of.
///
/// <https://github.com/in-toto/attestation/blob/v1.1.0/spec/v1/resource_descriptor.md>
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDescriptor {
    /// Tells artifacts of one statement apart; says nothing about identity.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "String::is_empty"
    )]
    pub name: String,
    /// Where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Which it is. Subjects must have one.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub digest: DigestSet,
    /// The artifact itself, base64, if it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Where it may be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_location: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Extra facts, of any shape.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "Map::is_empty"
    )]
    pub annotations: Map<String, Value>,
}

impl ResourceDescriptor {
    /// Describes content by its digest alone.
    pub fn of(digest: &oci::Digest) -> Self {
        Self {
            digest: DigestSet::from([(
                digest.algorithm().name().to_owned(),
                digest.hex().to_owned(),
            )]),
            ..Self::default()
        }
    }

    /// Whether it is the content that has `digest`: by the same algorithm, all of it, to the
    /// letter.
    pub fn has(&self, digest: &oci::Digest) -> bool {
        self.digest
            .get(digest.algorithm().name())
            .is_some_and(|hex| hex == digest.hex())
    }
}

impl From<&oci::Descriptor> for ResourceDescriptor {
    fn from(descriptor: &oci::Descriptor) -> Self {
        Self::of(&descriptor.digest)
    }
}
