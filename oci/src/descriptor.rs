//! What a piece of content is, which it is, and how long.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::{null, texts};
use crate::{Digest, MediaType, Platform};

/// Says what a piece of content is, which it is, and how long: the only way this workspace refers
/// to content.
///
/// What stands beside digest and size in a descriptor from elsewhere is a hint.
///
/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md>
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is; empty where a document does not say it.
    #[serde(default, deserialize_with = "null")]
    pub media_type: MediaType,
    /// Which content it is.
    pub digest: Digest,
    /// How many bytes it is; 0 where a document does not say it.
    #[serde(default)]
    pub size: u64,
    /// Where else the content may be had. Never followed.
    #[serde(
        default,
        deserialize_with = "null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub urls: Vec<String>,
    /// Extra facts, sorted so that they serialise one way only.
    #[serde(
        default,
        deserialize_with = "texts",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The content itself, base64. Never read in place of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Of a manifest in an index: what it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Of an artifact manifest: what the artifact is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
}

impl Descriptor {
    /// The descriptor of content that lies elsewhere.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// Describes `content`.
    pub fn of(media_type: MediaType, content: &[u8]) -> Self {
        Self::new(media_type, Digest::of(content), content.len() as u64)
    }

    /// The same content without the hints: media type, digest and size.
    pub fn bare(&self) -> Self {
        Self::new(self.media_type.clone(), self.digest.clone(), self.size)
    }
}

crate::json::objects_only!(Descriptor);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bare_has_no_hints() {
        let target = Descriptor::of(MediaType::EMPTY, b"{}");
        let hinted = Descriptor {
            urls: vec!["https://elsewhere.example".to_owned()],
            annotations: BTreeMap::from([("key".to_owned(), "value".to_owned())]),
            data: Some("e30=".to_owned()),
            platform: Some(Platform::host()),
            artifact_type: Some(MediaType::EMPTY),
            ..target.clone()
        };
        assert_eq!(hinted.bare(), target);
    }
}
