//! How an image is read: strictly, or as go-containerregistry does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Image, ImageError, pick};
use crate::store::{self, Store};
use crate::{Descriptor, Digest, ImageConfig, Limits, Manifest, Platform};

/// How much has to be right before an image is one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// What descriptors have in them is not looked at.
    Strict,
    /// As go-containerregistry: content in descriptors has to be the right one, each digest is SHA-256,
    /// and a field that is there twice has its last value.
    Loose,
}

/// Reads the image that `target` describes; of an index, the one that runs on `platform`. Its manifest
/// and its config may speak of different layers.
pub(super) async fn read(
    store: &dyn Store,
    target: &Descriptor,
    platform: &Platform,
    limits: &Limits,
    reading: Reading,
) -> Result<Image, ImageError> {
    let is_loose = reading == Reading::Loose;
    let mut descriptor = target.bare();
    let mut depth = 0;
    let (manifest, manifest_bytes) = loop {
        let bytes = match store::read(store, &descriptor, limits.manifest_bytes).await {
            Err(error) if is_loose && depth > 0 && error.is_not_found() => {
                return Err(ImageError::NoChild(error));
            }
            bytes => bytes?,
        };
        let parse = if is_loose {
            Manifest::parse_loosely
        } else {
            Manifest::parse
        };
        let parsed = parse(&descriptor.media_type, &bytes, limits);
        let parsed = parsed.map_err(|source| ImageError::Manifest {
            digest: descriptor.digest.clone(),
            media_type: descriptor.media_type.clone(),
            source,
        })?;
        if is_loose {
            for it in parsed.successors().into_iter().chain(parsed.subject()) {
                known_hash(&it.digest)?;
            }
        }
        match parsed {
            Manifest::Image(image) => break (image, bytes),
            Manifest::Index(index) => {
                depth += 1;
                let child = (depth <= limits.depth)
                    .then(|| pick(&index.manifests, platform))
                    .flatten();
                let child = child.ok_or_else(|| ImageError::NoPlatform {
                    digest: descriptor.digest.clone(),
                    platform: format!("{}/{}", platform.os, platform.architecture),
                })?;
                if is_loose {
                    check_data(child)?;
                }
                descriptor = child.bare();
            }
        }
    };
    if is_loose {
        check_data(&manifest.config)?;
    }
    let config_bytes = store::read(store, &manifest.config, limits.metadata_bytes).await?;
    let parse = if is_loose {
        ImageConfig::parse_loosely
    } else {
        ImageConfig::parse
    };
    let config = parse(&config_bytes).map_err(|source| ImageError::Config {
        digest: manifest.config.digest.clone(),
        source,
    })?;
    if is_loose {
        for it in &config.rootfs.diff_ids {
            known_hash(&it.0)?;
        }
    }
    Ok(Image {
        descriptor,
        manifest,
        manifest_bytes,
        config,
        config_bytes,
        index: (depth > 0).then(|| target.bare()),
    })
}

/// An error if go-containerregistry does not know how `digest` is made.
fn known_hash(digest: &Digest) -> Result<(), ImageError> {
    let name = digest.algorithm().name();
    if name == "sha256" {
        return Ok(());
    }
    Err(ImageError::Refused {
        problem: format!("unsupported hash: \"{name}\""),
    })
}

/// An error if the content that stands in `descriptor` is not what it describes.
fn check_data(descriptor: &Descriptor) -> Result<(), ImageError> {
    let data = descriptor.data.as_ref();
    let Some(content) = data.and_then(|it| STANDARD.decode(it).ok()) else {
        return Ok(());
    };
    let problem = match (Digest::of(&content), content.len() as u64) {
        (digest, _) if digest != descriptor.digest => format!(
            "error verifying Digest; got \"{digest}\", want \"{}\"",
            descriptor.digest
        ),
        (_, size) if size != descriptor.size => {
            format!("error verifying Size; got {size}, want {}", descriptor.size)
        }
        _ => return Ok(()),
    };
    Err(ImageError::Refused { problem })
}
