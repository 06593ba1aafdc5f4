//! Media types, and those that images have.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An IANA media type, as text: nothing refuses one that it does not know.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "String")]
pub struct MediaType(Cow<'static, str>);

impl MediaType {
    /// An OCI image manifest.
    pub const IMAGE_MANIFEST: Self = Self::literal("application/vnd.oci.image.manifest.v1+json");
    /// An OCI image index.
    pub const IMAGE_INDEX: Self = Self::literal("application/vnd.oci.image.index.v1+json");
    /// An OCI image config.
    pub const IMAGE_CONFIG: Self = Self::literal("application/vnd.oci.image.config.v1+json");
    /// An OCI layer: tar.
    pub const LAYER_TAR: Self = Self::literal("application/vnd.oci.image.layer.v1.tar");
    /// An OCI layer: tar, gzip.
    pub const LAYER_GZIP: Self = Self::literal("application/vnd.oci.image.layer.v1.tar+gzip");
    /// An OCI layer: tar, zstd.
    pub const LAYER_ZSTD: Self = Self::literal("application/vnd.oci.image.layer.v1.tar+zstd");
    /// The two bytes `{}`: the config of an artifact that has none.
    pub const EMPTY: Self = Self::literal("application/vnd.oci.empty.v1+json");
    /// Docker's image manifest, schema 2.
    pub const DOCKER_MANIFEST: Self =
        Self::literal("application/vnd.docker.distribution.manifest.v2+json");
    /// Docker's manifest list.
    pub const DOCKER_MANIFEST_LIST: Self =
        Self::literal("application/vnd.docker.distribution.manifest.list.v2+json");
    /// Docker's image config.
    pub const DOCKER_CONFIG: Self = Self::literal("application/vnd.docker.container.image.v1+json");
    /// Docker's layer: tar, gzip.
    pub const DOCKER_LAYER_GZIP: Self =
        Self::literal("application/vnd.docker.image.rootfs.diff.tar.gzip");
    /// Docker's layer: tar, zstd.
    pub const DOCKER_LAYER_ZSTD: Self =
        Self::literal("application/vnd.docker.image.rootfs.diff.tar.zstd");
    /// A Sigstore bundle, v0.3.
    pub const SIGSTORE_BUNDLE: Self =
        Self::literal("application/vnd.dev.sigstore.bundle.v0.3+json");

    /// Those that most descriptors have: no copy of their text is held.
    const KNOWN: [Self; 13] = [
        Self::IMAGE_MANIFEST,
        Self::IMAGE_INDEX,
        Self::IMAGE_CONFIG,
        Self::LAYER_TAR,
        Self::LAYER_GZIP,
        Self::LAYER_ZSTD,
        Self::EMPTY,
        Self::DOCKER_MANIFEST,
        Self::DOCKER_MANIFEST_LIST,
        Self::DOCKER_CONFIG,
        Self::DOCKER_LAYER_GZIP,
        Self::SIGSTORE_BUNDLE,
        Self::literal("application/vnd.in-toto+json"),
    ];

    const fn literal(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The type alone: `; charset=utf-8` and the like say nothing of JSON.
    pub(crate) fn without_parameters(&self) -> Self {
        match self.0.split_once(';') {
            Some((essence, _)) => essence.trim().into(),
            None => self.clone(),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an image manifest, OCI's or Docker's.
    pub fn is_image_manifest(&self) -> bool {
        *self == Self::IMAGE_MANIFEST || *self == Self::DOCKER_MANIFEST
    }

    /// Whether it is the config of an image, OCI's or Docker's.
    pub fn is_image_config(&self) -> bool {
        *self == Self::IMAGE_CONFIG || *self == Self::DOCKER_CONFIG
    }

    /// Whether it is an index, OCI's or Docker's.
    pub fn is_index(&self) -> bool {
        *self == Self::IMAGE_INDEX || *self == Self::DOCKER_MANIFEST_LIST
    }

    /// Whether content of this type refers to other content.
    pub fn is_manifest(&self) -> bool {
        self.is_image_manifest() || self.is_index()
    }
}

impl From<String> for MediaType {
    fn from(text: String) -> Self {
        // Letter case says nothing (RFC 9110, 8.3.1).
        let known = Self::KNOWN
            .into_iter()
            .find(|it| it.0.eq_ignore_ascii_case(&text));
        known.unwrap_or(Self(Cow::Owned(text)))
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
