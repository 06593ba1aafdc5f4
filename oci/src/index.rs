//! Makes indexes: the bytes that go-containerregistry writes for one.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::image::GoDescriptor;
use crate::{Descriptor, ImageError, Index, MediaType};

impl Index {
    /// The index of `manifests`, in this order: OCI's, or Docker's manifest list.
    pub fn new(
        media_type: MediaType,
        manifests: Vec<Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type),
            manifests,
            annotations,
            subject: None,
            artifact_type: None,
        }
    }

    /// The index as bytes, and which these are. Its subject and artifact type are left out: what is
    /// attached to something else is no index of images.
    ///
    /// # Errors
    /// If it cannot be said in JSON.
    pub fn encode(&self) -> Result<(Descriptor, Bytes), ImageError> {
        let media_type = self.media_type.clone().unwrap_or(MediaType::IMAGE_INDEX);
        let index = GoIndex {
            schema_version: 2,
            media_type: &media_type,
            manifests: self.manifests.iter().map(Into::into).collect(),
            annotations: &self.annotations,
        };
        let bytes = go::json::to_string(&index).map_err(ImageError::Unwritable)?;
        let descriptor = Descriptor::of(media_type, bytes.as_bytes());
        Ok((descriptor, bytes.into()))
    }
}

/// An index with its keys in go-containerregistry's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GoIndex<'a> {
    schema_version: u32,
    media_type: &'a MediaType,
    manifests: Vec<GoDescriptor<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Manifest, Platform};

    #[test]
    fn an_index_has_the_bytes_that_go_writes_and_reads_as_it_was() {
        let member = Descriptor {
            platform: Some("linux/arm64/v8".parse::<Platform>().unwrap()),
            annotations: BTreeMap::from([("a".to_owned(), "b&c".to_owned())]),
            ..Descriptor::of(MediaType::IMAGE_MANIFEST, b"{}")
        };
        let index = Index::new(MediaType::IMAGE_INDEX, vec![member], BTreeMap::new());
        let (descriptor, bytes) = index.encode().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(
            text,
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","annotations":{"a":"b\u0026c"},"platform":{"architecture":"arm64","os":"linux","variant":"v8"}}]}"#
        );
        let read = Manifest::parse(&descriptor.media_type, &bytes, &Limits::default());
        assert_eq!(read.unwrap(), Manifest::Index(index));
    }
}
