//! How much is read, held and on its way at once, and what of that is noticed before it is too late.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use oci::store::read;
use oci::{
    Content, CopyError, CopyOptions, Descriptor, Digest, Limits, MediaType, MemoryStore, Selector,
    Store as _, StoreError, copy_graph,
};
use serde_json::json;

use super::hooked::Hooked;
use super::{Call, Spy, all, push_index, push_json};
use crate::layout::push_image;

fn limited(limits: Limits) -> CopyOptions {
    CopyOptions { limits, ..all() }
}

fn few(manifests: usize) -> CopyOptions {
    limited(Limits {
        manifests,
        ..Limits::default()
    })
}

#[tokio::test]
async fn a_store_that_gives_more_than_it_said_is_cut_off() {
    let target = Descriptor::of(MediaType::EMPTY, b"{}");
    let store = Spy {
        lies: vec![(target.digest.clone(), Bytes::from_static(b"{ more }"))],
        ..Spy::default()
    };
    let refused = read(&store, &target, 4).await;
    assert!(matches!(
        refused,
        Err(StoreError::TooLarge { limit: 4, .. })
    ));
    let refused = read(&store, &target, 1).await;
    assert!(matches!(
        refused,
        Err(StoreError::TooLarge { limit: 1, .. })
    ));
    assert_eq!(store.calls().len(), 1, "the second was not even asked for");
}

/// Nothing is moved of a tree that is larger than the limit.
#[tokio::test]
async fn a_tree_of_too_many_manifests_is_not_begun() {
    let src = Spy::default();
    let mut indexes = Vec::new();
    for turn in 0..2_u8 {
        let one = push_image(&src.inner, &[turn], None).await;
        let two = push_image(&src.inner, &[turn, turn], None).await;
        indexes.push(push_index(&src.inner, &[(&one, "amd64"), (&two, "arm64")]).await);
    }
    let root = push_index(&src.inner, &[(&indexes[0], "a"), (&indexes[1], "b")]).await;
    let dst = Spy::default();
    let refused = copy_graph(&src, &dst, &root, &few(3), &()).await;
    assert!(matches!(
        refused,
        Err(CopyError::TooManyManifests { limit: 3 })
    ));
    assert_eq!(src.calls().len(), 3, "the images were not asked for");
    assert_eq!(dst.calls(), []);
    copy_graph(&src, &dst, &root, &few(7), &()).await.unwrap();
}

#[tokio::test]
async fn a_list_of_more_than_may_be_copied_is_not_begun() {
    let src = Spy::default();
    let image = push_image(&src.inner, b"popular", None).await;
    for turn in 0..4_u8 {
        push_image(&src.inner, &[turn], Some(&image)).await;
    }
    let refused = copy_graph(&src, &MemoryStore::new(), &image, &few(3), &()).await;
    assert!(matches!(
        refused,
        Err(CopyError::TooManyManifests { limit: 3 })
    ));
    let fetched = src.calls();
    let manifests = fetched
        .iter()
        .filter(|it| **it == Call::Fetch(image.digest.clone()));
    assert_eq!((manifests.count(), fetched.len()), (1, 3));
}

#[tokio::test]
async fn a_child_has_one_size() {
    let src = MemoryStore::new();
    let image = push_image(&src, b"image", None).await;
    let long = Descriptor {
        size: image.size + 1,
        ..image.bare()
    };
    let root = push_index(&src, &[(&image, "amd64"), (&long, "arm64")]).await;
    let refused = copy_graph(&src, &MemoryStore::new(), &root, &all(), &()).await;
    assert!(matches!(
        refused,
        Err(CopyError::Source {
            source: StoreError::SizeMismatch { .. },
            ..
        })
    ));
}

#[tokio::test]
async fn layers_that_must_not_be_distributed_stay_where_they_are() {
    let src = MemoryStore::new();
    for media_type in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        push_image(&src, b"layer", None).await;
        let foreign = Descriptor {
            urls: vec!["https://windows.example/layer".to_owned()],
            ..Descriptor::of(media_type.into(), b"elsewhere")
        };
        let manifest = json!({
            "schemaVersion": 2,
            "config": Descriptor::of(MediaType::EMPTY, b"{}"),
            "layers": [foreign, Descriptor::of(MediaType::LAYER_TAR, b"layer")],
        });
        let root = push_json(&src, MediaType::IMAGE_MANIFEST, &manifest).await;
        let dst = MemoryStore::new();
        let copied = copy_graph(&src, &dst, &root, &all(), &()).await.unwrap();
        assert_eq!(copied.new.blobs, 2);
    }
}

/// What cannot be is worse than what is too much.
#[tokio::test]
async fn a_circle_beside_what_is_too_deep_is_what_is_said() {
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    let child = |digest: &Digest| Descriptor::new(MediaType::IMAGE_INDEX, digest.clone(), 300);
    let index = |of: &Digest| {
        let text = json!({ "schemaVersion": 2, "manifests": [child(of)] }).to_string();
        Bytes::from(format!("{text:300}"))
    };
    let src = Spy {
        lies: vec![(a.clone(), index(&b)), (b.clone(), index(&a))],
        ..Spy::default()
    };
    let mut deep = push_image(&src.inner, b"deep", None).await;
    for _ in 0..10 {
        deep = push_index(&src.inner, &[(&deep, "amd64")]).await;
    }
    let root = push_index(&src.inner, &[(&child(&a), "a"), (&deep, "b")]).await;
    let refused = copy_graph(&src, &MemoryStore::new(), &root, &all(), &()).await;
    assert!(matches!(refused, Err(CopyError::Cycle { .. })));
}

/// Anyone may attach anything, in every way too much or too little: it is dropped, and no more.
#[tokio::test]
async fn junk_of_every_kind_is_dropped() {
    let mut src = Spy::default();
    let store = &src.inner;
    let image = push_image(store, b"image", None).await;
    let proof = push_image(store, b"proof", Some(&image)).await;
    let attached = |manifests: &[&Descriptor], more: &str| {
        json!({
            "schemaVersion": 2, "manifests": manifests, "subject": image, "more": more,
        })
    };
    let index = MediaType::IMAGE_INDEX;
    // Deeper than is followed.
    let mut deep = push_image(store, b"deep", None).await;
    for _ in 0..10 {
        deep = push_index(store, &[(&deep, "amd64")]).await;
    }
    let deep = push_json(store, index.clone(), &attached(&[&deep], "")).await;
    // More manifests than may be.
    let mut branches = Vec::new();
    for branch in 0..3_u8 {
        let mut images = Vec::new();
        for turn in 0..6_u8 {
            images.push(push_image(store, &[branch, turn], None).await);
        }
        let images: Vec<_> = images.iter().map(|it| (it, "amd64")).collect();
        branches.push(push_index(store, &images).await);
    }
    let branches: Vec<&Descriptor> = branches.iter().collect();
    let many = push_json(store, index.clone(), &attached(&branches, "")).await;
    // Two that are small, but together more than may be held.
    let half = json!({ "schemaVersion": 2, "manifests": [], "more": "x".repeat(15_000) });
    let half = push_json(store, index.clone(), &half).await;
    let large = attached(&[&half], &"x".repeat(15_000));
    let large = push_json(store, index.clone(), &large).await;
    // A size that is not that of the manifest, which spoils nothing, or more than is read.
    let short = push_json(store, index.clone(), &attached(&[], "short")).await;
    let short = Descriptor {
        size: short.size - 1,
        ..short
    };
    let huge = Descriptor::new(index.clone(), Digest::of(b"huge"), 1 << 30);
    // A circle, of bytes that nobody has hashed.
    let circle = push_json(store, index.clone(), &attached(&[], &"o".repeat(300))).await;
    let circular = attached(&[&circle], "");
    let size = usize::try_from(circle.size).unwrap();
    let circular = Bytes::from(format!("{:size$}", circular.to_string()));
    src.lies = vec![(circle.digest.clone(), circular)];
    let junk = [&deep, &many, &large, &huge, &circle];
    src.junk = vec![short.clone(), huge.clone()];

    let options = limited(Limits {
        manifests: 20,
        manifest_bytes: 20_000,
        metadata_bytes: 25_000,
        ..Limits::default()
    });
    let dst = MemoryStore::new();
    let copied = copy_graph(&src, &dst, &image, &options, &()).await.unwrap();
    let dropped: Vec<&Digest> = copied
        .dropped
        .iter()
        .map(|it| &it.descriptor.digest)
        .collect();
    for junk in junk {
        assert!(dropped.contains(&&junk.digest), "{junk:?}: {copied:?}");
    }
    assert!(dst.contains(&proof).await.unwrap());
    assert!(dst.resolve(&Selector::Digest(short.digest)).await.is_ok());
}

#[tokio::test]
async fn a_referrer_whose_bytes_are_wrong_is_dropped() {
    let mut src = Hooked::default();
    let image = push_image(&src.inner, b"image", None).await;
    let proof = push_image(&src.inner, b"proof", Some(&image)).await;
    let wrong = push_image(&src.inner, b"wrong", Some(&image)).await;
    let digest = wrong.digest.clone();
    src.fetch = Some(Box::new(move |target| {
        let mismatch = || StoreError::DigestMismatch {
            expected: target.digest.clone(),
            presented: Digest::of(b"what came"),
            came: None,
        };
        (target.digest == digest).then(|| Err(mismatch()))
    }));
    let dst = MemoryStore::new();
    let copied = copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    let dropped: Vec<_> = copied.dropped.iter().map(|it| &it.descriptor).collect();
    assert_eq!(dropped, [&wrong]);
    assert!(dst.contains(&proof).await.unwrap());
}

/// But whether a blob of it is there must be known.
#[tokio::test]
async fn a_blob_of_a_referrer_that_cannot_be_asked_for_fails_the_copy() {
    let mut src = Spy::default();
    let image = push_image(&src.inner, b"image", None).await;
    push_image(&src.inner, b"proof", Some(&image)).await;
    src.down = vec![Digest::of(b"proof")];
    let failed = copy_graph(&src, &MemoryStore::new(), &image, &all(), &()).await;
    assert!(matches!(failed, Err(CopyError::Source { digest, .. }) if digest == src.down[0]));
}

/// Its content comes in pieces; how many of it are being read, and were at most.
fn counted(now: &Arc<AtomicUsize>, most: &Arc<AtomicUsize>, content: Bytes) -> Content {
    most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    let now = now.clone();
    let rest = stream::once(async move {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        now.fetch_sub(1, Ordering::Relaxed);
        Ok(content)
    });
    Content::new(rest)
}

#[tokio::test]
async fn no_more_is_read_at_once_than_was_said() {
    let (now, most) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let mut src = Hooked::default();
    let image = push_image(&src.inner, b"image", None).await;
    let mut contents = super::contents(&src.inner, &image).await;
    for turn in 0..10_u8 {
        let proof = push_image(&src.inner, &[turn], Some(&image)).await;
        contents.extend(super::contents(&src.inner, &proof).await);
    }
    let (counting, highest) = (now.clone(), most.clone());
    src.fetch = Some(Box::new(move |target| {
        let content = contents.get(&target.digest)?.clone();
        Some(Ok(counted(&counting, &highest, content)))
    }));
    // None at once would be none at all.
    for (concurrency, expected) in [(3, 3), (0, 1)] {
        most.store(0, Ordering::Relaxed);
        let options = CopyOptions {
            concurrency,
            ..all()
        };
        let dst = MemoryStore::new();
        let copy = copy_graph(&src, &dst, &image, &options, &());
        let copied = tokio::time::timeout(Duration::from_mins(1), copy).await;
        assert_eq!(copied.unwrap().unwrap().referrers, 10);
        assert_eq!(most.load(Ordering::Relaxed), expected);
        assert_eq!(now.load(Ordering::Relaxed), 0);
    }
}

/// A destination that is slow holds up the source, and not the memory.
#[tokio::test]
async fn little_is_read_ahead_of_what_is_written() {
    const PIECES: usize = 1000;
    let pieces = Arc::new(AtomicUsize::new(0));
    let layer = vec![7; PIECES];
    let mut src = Hooked::default();
    let image = push_image(&src.inner, &layer, None).await;
    let (counting, digest) = (pieces.clone(), Digest::of(&layer));
    src.fetch = Some(Box::new(move |target| {
        let counting = counting.clone();
        let chunks = stream::iter(0..PIECES).map(move |_| {
            counting.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from_static(&[7]))
        });
        (target.digest == digest).then(|| Ok(Content::new(chunks)))
    }));
    let seen = pieces.clone();
    let dst = Hooked {
        look: Some(Box::new(move || {
            let read = seen.load(Ordering::Relaxed);
            assert!(read < 20, "{read} pieces were read");
        })),
        ..Hooked::default()
    };
    copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    assert_eq!(pieces.load(Ordering::Relaxed), PIECES);
}

/// Hundreds of images, each with a layer of its own.
async fn push_many(store: &MemoryStore, subject: Option<&Descriptor>) -> Vec<Descriptor> {
    let mut images = Vec::new();
    for turn in 0..600 {
        let layer = format!("image {turn}");
        images.push(push_image(store, layer.as_bytes(), subject).await);
    }
    images
}

/// Long lists of many subjects would be much, all at once.
#[tokio::test]
async fn what_is_attached_to_many_is_listed_some_at_a_time() {
    let mut src = Hooked::default();
    let images = push_many(&src.inner, None).await;
    let named: Vec<_> = images.iter().map(|it| (it, "amd64")).collect();
    let root = push_index(&src.inner, &named).await;
    let all_of_them = images.iter().chain([&root]);
    let first = all_of_them.min_by(|one, other| one.digest.cmp(&other.digest));
    let proof = push_image(&src.inner, b"proof", first).await;
    let listed = Arc::new(AtomicUsize::new(0));
    let (counting, seen) = (listed.clone(), listed.clone());
    src.referrers = Some(Box::new(move |_| {
        counting.fetch_add(1, Ordering::Relaxed);
        None
    }));
    let digest = proof.digest.clone();
    src.fetch = Some(Box::new(move |target| {
        if target.digest == digest {
            let listed = seen.load(Ordering::Relaxed);
            assert!(listed < 600, "{listed} lists were read");
        }
        None
    }));
    let dst = MemoryStore::new();
    let copied = copy_graph(&src, &dst, &root, &all(), &()).await.unwrap();
    assert_eq!(copied.referrers, 1);
    assert_eq!(listed.load(Ordering::Relaxed), 602);
}

/// Nor are all manifests of a long list held at once: some arrive before others are read.
#[tokio::test]
async fn what_is_attached_to_one_is_read_some_at_a_time() {
    let mut src = Hooked::default();
    let image = push_image(&src.inner, b"image", None).await;
    let proofs = push_many(&src.inner, Some(&image)).await;
    let read = Arc::new(AtomicUsize::new(0));
    let first = Arc::new(AtomicUsize::new(usize::MAX));
    let (counting, lowest) = (read.clone(), first.clone());
    let own = Digest::of(b"image");
    src.fetch = Some(Box::new(move |target| {
        if target.media_type.is_manifest() {
            counting.fetch_add(1, Ordering::Relaxed);
        } else if target.media_type == MediaType::LAYER_TAR && target.digest != own {
            lowest.fetch_min(counting.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        None
    }));
    let dst = MemoryStore::new();
    copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    let (read, first) = (read.load(Ordering::Relaxed), first.load(Ordering::Relaxed));
    assert_eq!(read, 1 + proofs.len());
    assert!(first < read, "{first} of {read}");
}
