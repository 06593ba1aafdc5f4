//! Tags made of an image's digest, `sha256-<hex>.sig`, `.att` and `.sbom`: by them cosign 1 and 2 attached
//! signatures, attestations and SBOMs. They are seen, named and carried along; nothing of it is verified.

pub(crate) mod subject;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use oci::store::read;
use oci::{Descriptor, Digest, Found, Limits, Location, Selector, Store, StoreError, Tag};
use serde::Deserialize;

use crate::error::{CommandError, Context as _, Message};

/// How many tags are asked about at once.
const CONCURRENCY: usize = 16;

/// What stands behind the digest.
const ENDINGS: [&str; 3] = [".sig", ".att", ".sbom"];

/// What the layers are of what cosign attached: its signatures, DSSE envelopes, and each kind of SBOM.
const LAYERS: [&str; 7] = [
    "application/vnd.dev.cosign.simplesigning.v1+json",
    "application/vnd.dsse.envelope.v1+json",
    "application/vnd.cyclonedx+json",
    "application/vnd.cyclonedx+xml",
    "application/vnd.syft+json",
    "text/spdx",
    "spdx+json",
];

/// A tag of an image, and what it names.
#[derive(Clone, Debug)]
pub(crate) struct DigestTag {
    pub(crate) name: String,
    pub(crate) target: Descriptor,
}

/// The tags of the image `found`. That they cannot be asked for is not what a user wants to know: what
/// proves something is elsewhere.
pub(crate) async fn of(found: &Found) -> Vec<String> {
    of_image(found, &found.descriptor.digest).await
}

/// The same of an image beside it, such as one of an index.
pub(crate) async fn of_image(found: &Found, image: &Digest) -> Vec<String> {
    let tags = resolved(found, image).await;
    let tags = tags.into_iter().filter_map(Result::ok);
    tags.map(|it| it.name).collect()
}

/// The same with what they name, where it matters that none is missed.
pub(crate) async fn targets(found: &Found) -> Result<Vec<DigestTag>, StoreError> {
    let tags = resolved(found, &found.descriptor.digest).await;
    let tags = tags.into_iter().filter(|it| {
        let error = it.as_ref().err();
        error.is_none_or(|it| !it.is_not_found())
    });
    tags.collect()
}

async fn resolved(found: &Found, image: &Digest) -> Vec<Result<DigestTag, StoreError>> {
    // There a tag is another image's, and nothing can be attached.
    let has_proof = match found.reference.location {
        Location::Registry(_) | Location::Layout(_) | Location::LayoutArchive(_) => true,
        Location::DockerArchive { .. } | Location::DockerDaemon(_) => false,
    };
    // Longer digests make no tag, and cosign writes none for them.
    let names = ENDINGS.iter().filter(|_| has_proof).filter_map(|ending| {
        let name = format!("sha256-{}{ending}", image.hex());
        let tag = name.parse().ok()?;
        Some((name, Selector::Tag(tag)))
    });
    let asked = names.map(|(name, selector)| async move {
        let target = found.store.resolve(&selector).await?;
        Ok(DigestTag { name, target })
    });
    join_all(asked).await
}

/// A tag of another image that names `target`, too: who deletes that takes it from both.
pub(crate) async fn other_name(
    found: &Found,
    target: &Descriptor,
) -> Result<Option<Tag>, StoreError> {
    let own = format!("sha256-{}", found.descriptor.digest.hex());
    let mut tags = found.store.tags().await?;
    tags.retain(|it| it.is_digest_tag() && !it.as_str().starts_with(&own));
    let mut asked = stream::iter(tags)
        .map(|tag| async move {
            let named = found.store.resolve(&Selector::Tag(tag.clone())).await;
            (tag, named)
        })
        .buffer_unordered(CONCURRENCY);
    while let Some((tag, named)) = asked.next().await {
        match named {
            Ok(named) if named.digest == target.digest => return Ok(Some(tag)),
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether a store failed: all else only says that what is there is not what cosign attached, and anybody who
/// may push can bring that about.
fn is_failure(error: &StoreError) -> bool {
    !matches!(
        error,
        StoreError::NotFound { .. }
            | StoreError::SizeMismatch { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Manifest { .. }
    )
}

/// What is at `target`, if it can be had.
async fn content(
    store: &dyn Store,
    target: &Descriptor,
    limit: u64,
) -> Result<Option<Bytes>, StoreError> {
    match read(store, target, limit).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_failure(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// What cosign attached by a tag, if the tag names nothing else.
async fn layers(
    store: &dyn Store,
    target: &Descriptor,
) -> Result<Option<Vec<Descriptor>>, StoreError> {
    #[derive(Deserialize)]
    struct Attached {
        layers: Vec<Descriptor>,
    }

    let bytes = content(store, target, Limits::default().manifest_bytes).await?;
    let attached = bytes.and_then(|it| serde_json::from_slice(&it).ok());
    Ok(attached.and_then(|Attached { layers }| {
        let mut types = layers.iter().map(|it| it.media_type.as_str());
        (!layers.is_empty() && types.all(|it| LAYERS.contains(&it))).then_some(layers)
    }))
}

/// What a tag holds.
pub(crate) fn holds(tag: &str) -> &'static str {
    match tag.rsplit('.').next() {
        Some("sig") => "signatures",
        Some("att") => "attestations",
        _ => "an SBOM",
    }
}

/// What is said of a tag beside other things.
pub(crate) fn note(tag: &str) -> String {
    let holds = holds(tag);
    format!("it has {holds} in cosign's old format, which cannot be verified yet (tag `{tag}`)")
}

/// What is said of an image that has nothing else than such tags: whether it is signed is not known. Nor is
/// it if the store fails when it is asked for them.
///
/// Only if they name what cosign attached to it. Anybody may give such a name to anything, and a rejection would
/// become a doubt by it.
pub(crate) async fn all_there_is(found: &Found, image: &str) -> Option<CommandError> {
    let digest = &found.descriptor.digest;
    let mut attached = Vec::new();
    let mut failure = None;
    for tag in resolved(found, digest).await {
        let asked = match tag {
            Ok(DigestTag { name, target }) => subject::of(&*found.store, &target, digest)
                .await
                .map(|it| (name, it)),
            Err(error) => Err(error),
        };
        match asked {
            Ok((name, subject)) if subject.may_be_proof() => attached.push(name),
            Err(error) if is_failure(&error) => failure = failure.or(Some(error)),
            _ => {}
        }
    }
    doubt(image, &attached).or_else(|| {
        let unknown = Err::<(), _>(failure?);
        let said = || format!("whether `{image}` has proof in cosign's old format is not known");
        unknown.context(said).err()
    })
}

fn doubt(image: &str, tags: &[String]) -> Option<CommandError> {
    let first = tags.first()?;
    let more = match tags.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let holds = holds(first);
    let error = CommandError::undecided(Message(format!(
        "`{image}` has {holds} in cosign's old format (tag `{first}`{more}), which cannot be verified yet"
    )));
    Some(error.hint("sign it again, with cosign 3 or `sealpack sign`"))
}

/// Whether nothing but such tags is attached to `found`, and what is said of it then.
pub(crate) async fn alone(found: &Found, image: &str) -> Option<CommandError> {
    if has_referrers(found).await {
        return None;
    }
    all_there_is(found, image).await
}

/// Whether anything is attached to `found` as a referrer, or that is not known.
pub(crate) async fn has_referrers(found: &Found) -> bool {
    let referrers = found.store.referrers(&found.descriptor.digest).await;
    !referrers.is_ok_and(|it| it.is_empty())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use oci::{MediaType, MemoryStore};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn only_what_cosign_attached_is_taken_for_that() {
        let store = MemoryStore::new();
        for (types, expected) in [
            (&[LAYERS[0]][..], true),
            (&[LAYERS[0], LAYERS[1]], true),
            (&[], false),
            (
                &[LAYERS[0], "application/vnd.oci.image.layer.v1.tar"],
                false,
            ),
        ] {
            let empty = Descriptor::of(MediaType::EMPTY, b"{}");
            let layer = |it| json!({ "mediaType": it, "digest": empty.digest, "size": empty.size });
            let layers: Vec<_> = types.iter().map(layer).collect();
            let manifest = json!({ "schemaVersion": 2, "config": empty, "layers": layers });
            let manifest = Bytes::from(manifest.to_string());
            let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &manifest);
            store.push_manifest(&target, manifest).await.unwrap();
            assert_eq!(
                super::layers(&store, &target).await.unwrap().is_some(),
                expected,
                "{types:?}"
            );
        }
    }

    #[test]
    fn a_tag_says_what_it_holds() {
        assert_eq!(holds("sha256-00.sig"), "signatures");
        assert_eq!(holds("sha256-00.att"), "attestations");
        assert_eq!(holds("sha256-00.sbom"), "an SBOM");
        assert!(doubt("app", &[]).is_none());
    }
}
