//! Bundles beside images: attached as OCI 1.1 referrers, and found again.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use intoto::{Statement, StatementError, Timestamp};
use oci::{
    Descriptor, Digest, ImageManifest, Limits, Manifest, ManifestError, MediaType, Store,
    StoreError, Upload, store,
};
use serde::Serialize;

use crate::bundle::MEDIA_TYPE_PREFIX;
use crate::{Bundle, Content};

/// How many fetches run at once.
const CONCURRENCY: usize = 32;

/// A bundle, attached to the image that it is about.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Referrer {
    /// The image.
    pub subject: Descriptor,
    /// The manifest that refers to it.
    pub manifest: Descriptor,
    /// The bundle in it.
    pub bundle: Descriptor,
}

/// Attaches `bundle` to the manifest that `subject` describes, as cosign does.
///
/// Without `created`, the same bundle gives the same manifest every time. A bundle that is not
/// about `subject` is refused: it would prove nothing there.
pub async fn attach(
    store: &dyn Store,
    subject: &Descriptor,
    bundle: &Bundle,
    created: Option<&Timestamp>,
) -> Result<Referrer, AttachError> {
    let annotations = annotations(subject, bundle, created)?;
    let config = Descriptor::of(MediaType::EMPTY, EMPTY);
    let layer = Descriptor::of(MediaType::SIGSTORE_BUNDLE, bundle.json());
    let content = manifest(&config, &layer, subject, &annotations);
    let mut manifest = Descriptor::of(MediaType::IMAGE_MANIFEST, &content);
    manifest.artifact_type = Some(MediaType::SIGSTORE_BUNDLE);
    manifest.annotations = annotations;

    // Blobs first, so that the manifest never refers to what is not there.
    let failed = |source| AttachError::Store {
        subject: subject.digest.clone(),
        source,
    };
    let empty = Upload::Bytes(Bytes::from_static(EMPTY));
    store.push_blob(&config, empty).await.map_err(failed)?;
    let json = Upload::Bytes(bundle.json().clone());
    store.push_blob(&layer, json).await.map_err(failed)?;
    store
        .push_manifest(&manifest, content.into())
        .await
        .map_err(failed)?;
    Ok(Referrer {
        subject: subject.bare(),
        manifest,
        bundle: layer,
    })
}

/// What lies beside an image: bundles, and what is none.
#[derive(Debug)]
#[non_exhaustive]
pub struct Discovered {
    /// What says to be a bundle, in the order of manifest digests.
    pub attached: Vec<Attached>,
    /// What is none, or could not be read, in the same order.
    pub ignored: Vec<Ignored>,
    /// How many referrers were not looked at, because there are more than the limit. If proof is
    /// missing, it may be among them.
    pub unread: usize,
}

/// What somebody attached to an image and calls a bundle. Bytes, until verified.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Attached {
    /// The manifest that refers to the image.
    pub manifest: Descriptor,
    /// The bytes of the bundle.
    pub bundle: Bytes,
}

/// A referrer that is no bundle. It can neither help nor harm.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ignored {
    /// The referrer, as it was listed.
    pub manifest: Descriptor,
    /// Why.
    pub reason: IgnoreReason,
}

/// Why a referrer is ignored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IgnoreReason {
    /// It is listed, but is not there, or is not what was listed.
    #[error("cannot read the referrer")]
    Absent(#[source] StoreError),
    /// It is no image manifest.
    #[error("referrer is not a manifest that can be read")]
    Manifest(#[source] ManifestError),
    /// Its own subject is another manifest, or none.
    #[error("referrer does not refer to the image")]
    OtherSubject {
        /// What it refers to.
        presented: Option<Digest>,
    },
    /// It is something else: an SBOM that nobody signed, a signature of another kind, …
    #[error("referrer holds {presented}, not one bundle")]
    NotABundle {
        /// What it holds.
        presented: String,
    },
    /// Together with smaller ones, it is more than we read for one image.
    #[error("bundles of one image are larger than {limit} bytes together")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}

/// Finds what is attached to the manifest that `subject` describes.
///
/// A listing is a hint: each manifest is fetched and asked itself what it refers to and what it
/// holds. Anyone who may push may attach, so whatever is wrong with one referrer only makes that
/// one ignored. A store that cannot be asked is an error: it leaves open what is there.
///
/// Who replaces proof adds the new and then deletes the old, so what was listed may be gone when it is
/// fetched. If something is, and the listing has changed since, all is looked at once more.
pub async fn discover(
    store: &dyn Store,
    subject: &Descriptor,
    limits: &Limits,
) -> Result<Discovered, AttachError> {
    let listed = list(store, subject).await?;
    let found = look_at(store, subject, listed.clone(), limits).await?;
    let is_gone =
        |it: &Ignored| matches!(&it.reason, IgnoreReason::Absent(error) if error.is_not_found());
    if !found.ignored.iter().any(is_gone) {
        return Ok(found);
    }
    let now = list(store, subject).await?;
    if now
        .iter()
        .map(|it| &it.digest)
        .eq(listed.iter().map(|it| &it.digest))
    {
        return Ok(found);
    }
    look_at(store, subject, now, limits).await
}

/// What the store lists, in the order of digests.
async fn list(store: &dyn Store, subject: &Descriptor) -> Result<Vec<Descriptor>, AttachError> {
    let listed = store.referrers(&subject.digest).await;
    let mut listed = listed.map_err(|source| AttachError::Store {
        subject: subject.digest.clone(),
        source,
    })?;
    listed.sort_by(|a, b| a.digest.cmp(&b.digest));
    listed.dedup_by(|a, b| a.digest == b.digest);
    Ok(listed)
}

/// Reads all of `listed` that the limits allow.
async fn look_at(
    store: &dyn Store,
    subject: &Descriptor,
    mut listed: Vec<Descriptor>,
    limits: &Limits,
) -> Result<Discovered, AttachError> {
    let failed = |source| AttachError::Store {
        subject: subject.digest.clone(),
        source,
    };
    // Likely ones first: that matters only beyond the limit.
    listed.sort_by_key(|it| !is_likely(it));
    let unread = listed.len().saturating_sub(limits.referrers);
    listed.truncate(limits.referrers);

    let mut ignored = Vec::new();
    let mut layers = Vec::new();
    let mut manifests = stream::iter(listed)
        .map(|manifest| async move {
            let layer = bundle_layer(store, subject, &manifest, limits).await;
            layer.map(|layer| (manifest, layer))
        })
        .buffered(CONCURRENCY);
    while let Some((manifest, layer)) = manifests.try_next().await.map_err(failed)? {
        match layer {
            Ok(layer) => layers.push((manifest, layer)),
            Err(reason) => ignored.push(Ignored { manifest, reason }),
        }
    }

    // Small ones first, so that large junk does not use up what may be read.
    layers.sort_by_key(|(_, layer)| layer.size);
    let mut left = limits.metadata_bytes;
    let (affordable, rest): (Vec<_>, Vec<_>) =
        layers
            .into_iter()
            .partition(|(_, layer)| match left.checked_sub(layer.size) {
                Some(it) => {
                    left = it;
                    true
                }
                None => false,
            });
    ignored.extend(rest.into_iter().map(|(manifest, _)| Ignored {
        manifest,
        reason: IgnoreReason::TooLarge {
            limit: limits.metadata_bytes,
        },
    }));

    let mut attached = Vec::new();
    let mut bundles = stream::iter(affordable)
        .map(|(manifest, layer)| async move {
            let bytes = had(store::read(store, &layer, limits.metadata_bytes).await)?;
            Ok((manifest, bytes))
        })
        .buffered(CONCURRENCY);
    while let Some((manifest, bundle)) = bundles.try_next().await.map_err(failed)? {
        match bundle {
            Ok(bundle) => attached.push(Attached { manifest, bundle }),
            Err(reason) => ignored.push(Ignored { manifest, reason }),
        }
    }

    attached.sort_by(|a, b| a.manifest.digest.cmp(&b.manifest.digest));
    ignored.sort_by(|a, b| a.manifest.digest.cmp(&b.manifest.digest));
    Ok(Discovered {
        attached,
        ignored,
        unread,
    })
}

/// Why bundles could not be attached or looked for. Says nothing about whether they are valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The bundle's payload is no statement, so it is about nothing.
    #[error("bundle does not hold a statement")]
    Statement(#[source] StatementError),
    /// The bundle signs a message, not a statement.
    #[error("bundle signs a message, not a statement about an image")]
    NotAStatement,
    /// The bundle is about something else.
    #[error("bundle is not about {subject}")]
    OtherSubject {
        /// What it was to be attached to.
        subject: Digest,
    },
    /// The store failed.
    #[error("failed to reach what is attached to {subject}")]
    Store {
        /// The image.
        subject: Digest,
        /// Why.
        source: StoreError,
    },
}

/// The two bytes that stand for no config.
const EMPTY: &[u8] = b"{}";

/// The annotations that cosign writes. Nobody signs them: they are for people and for listings.
fn annotations(
    subject: &Descriptor,
    bundle: &Bundle,
    created: Option<&Timestamp>,
) -> Result<BTreeMap<String, String>, AttachError> {
    let Content::Envelope(envelope) = bundle.content() else {
        return Err(AttachError::NotAStatement);
    };
    let statement = Statement::parse(envelope.payload()).map_err(AttachError::Statement)?;
    if !statement.is_about(&subject.digest) {
        return Err(AttachError::OtherSubject {
            subject: subject.digest.clone(),
        });
    }
    let created = created.map(|it| ("org.opencontainers.image.created", it.as_str()));
    let facts = [
        ("dev.sigstore.bundle.content", "dsse-envelope"),
        (
            "dev.sigstore.bundle.predicateType",
            statement.predicate_type().as_str(),
        ),
    ];
    Ok(facts
        .into_iter()
        .chain(created)
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect())
}

/// The bytes of the manifest, in cosign's order of fields, so that equal inputs give the digest
/// that cosign would have got.
fn manifest(
    config: &Descriptor,
    layer: &Descriptor,
    subject: &Descriptor,
    annotations: &BTreeMap<String, String>,
) -> Vec<u8> {
    let written = Written {
        schema_version: 2,
        media_type: MediaType::IMAGE_MANIFEST,
        config: Reference {
            artifact_type: Some(MediaType::SIGSTORE_BUNDLE),
            ..Reference::to(config)
        },
        layers: [Reference::to(layer)],
        annotations,
        subject: Reference::to(subject),
        artifact_type: MediaType::SIGSTORE_BUNDLE,
    };
    serde_json::to_vec(&written).expect("strings and numbers have a JSON form")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    schema_version: u32,
    media_type: MediaType,
    config: Reference<'a>,
    layers: [Reference<'a>; 1],
    annotations: &'a BTreeMap<String, String>,
    subject: Reference<'a>,
    artifact_type: MediaType,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    media_type: &'a MediaType,
    size: u64,
    digest: &'a Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<MediaType>,
}

impl<'a> Reference<'a> {
    fn to(descriptor: &'a Descriptor) -> Self {
        Self {
            media_type: &descriptor.media_type,
            size: descriptor.size,
            digest: &descriptor.digest,
            artifact_type: None,
        }
    }
}

/// Whether a listing gives no reason to think that `listed` is something else. Registries without
/// the referrers API list cosign's bundles under the config's type.
fn is_likely(listed: &Descriptor) -> bool {
    listed
        .artifact_type
        .as_ref()
        .is_none_or(|it| *it == MediaType::EMPTY || it.as_str().starts_with(MEDIA_TYPE_PREFIX))
}

/// What the manifest that is `listed` holds, if it is one bundle about `subject`.
async fn bundle_layer(
    store: &dyn Store,
    subject: &Descriptor,
    listed: &Descriptor,
    limits: &Limits,
) -> Result<Result<Descriptor, IgnoreReason>, StoreError> {
    // Bundles lie in image manifests, whatever the listing says.
    let target = Descriptor::new(
        MediaType::IMAGE_MANIFEST,
        listed.digest.clone(),
        listed.size,
    );
    let read = store::read_listed(store, &target, limits.manifest_bytes).await;
    let bytes = match had(read)? {
        Ok((_, bytes)) => bytes,
        Err(reason) => return Ok(Err(reason)),
    };
    Ok(
        match Manifest::parse(&MediaType::IMAGE_MANIFEST, &bytes, limits) {
            Ok(Manifest::Image(manifest)) => only_bundle(manifest, subject),
            Ok(Manifest::Index(_)) => Err(IgnoreReason::NotABundle {
                presented: "an index".to_owned(),
            }),
            Err(error) => Err(IgnoreReason::Manifest(error)),
        },
    )
}

fn only_bundle(manifest: ImageManifest, subject: &Descriptor) -> Result<Descriptor, IgnoreReason> {
    let presented = manifest.subject.map(|it| it.digest);
    if presented.as_ref() != Some(&subject.digest) {
        return Err(IgnoreReason::OtherSubject { presented });
    }
    let count = manifest.layers.len();
    match <[Descriptor; 1]>::try_from(manifest.layers) {
        Ok([layer]) if layer.media_type.as_str().starts_with(MEDIA_TYPE_PREFIX) => Ok(layer),
        Ok([layer]) => Err(IgnoreReason::NotABundle {
            presented: format!("`{}`", layer.media_type),
        }),
        Err(_) => Err(IgnoreReason::NotABundle {
            presented: format!("{count} layers"),
        }),
    }
}

/// Tells what a stranger can bring about (content that is not what it was said to be) from a store
/// that failed.
fn had<T>(read: Result<T, StoreError>) -> Result<Result<T, IgnoreReason>, StoreError> {
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(
            error @ (StoreError::NotFound { .. }
            | StoreError::DigestMismatch { .. }
            | StoreError::SizeMismatch { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Manifest { .. }),
        ) => Ok(Err(IgnoreReason::Absent(error))),
        Err(error) => Err(error),
    }
}
