//! What is in the destination already, or is met in two ways, and what breaks off on its way.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::stream;
use oci::{Content, CopyError, CopyOptions, Digest, MediaType, MemoryStore, copy_graph};
use serde_json::json;

use super::hooked::Hooked;
use super::{Spy, all, push_index, push_json, unavailable};
use crate::layout::push_image;

/// One image of an index may be attached to another one.
#[tokio::test]
async fn a_child_that_is_a_referrer_is_copied_once() {
    let src = Spy::default();
    let image = push_image(&src.inner, b"image", None).await;
    let proof = push_image(&src.inner, b"proof", Some(&image)).await;
    let root = push_index(&src.inner, &[(&image, "amd64"), (&proof, "unknown")]).await;
    let dst = MemoryStore::new();
    let plain = CopyOptions::default();
    let copied = copy_graph(&src, &dst, &root, &plain, &()).await.unwrap();
    assert_eq!((copied.left_behind, copied.new.manifests), (0, 3));
    let src = Spy {
        inner: src.inner,
        ..Spy::default()
    };
    let dst = MemoryStore::new();
    let copied = copy_graph(&src, &dst, &root, &all(), &()).await.unwrap();
    assert_eq!((copied.referrers, copied.new.manifests), (0, 3));
    let reads = src.calls();
    let distinct: BTreeSet<String> = reads.iter().map(|it| format!("{it:?}")).collect();
    assert_eq!(reads.len(), distinct.len());
}

/// Two referrers may have a manifest in common.
#[tokio::test]
async fn what_two_referrers_share_is_counted_once() {
    let src = MemoryStore::new();
    let image = push_image(&src, b"image", None).await;
    let part = push_image(&src, b"part", None).await;
    for which in ["one", "two"] {
        let index = json!({
            "schemaVersion": 2, "manifests": [part], "subject": image, "which": which,
        });
        push_json(&src, MediaType::IMAGE_INDEX, &index).await;
    }
    let dst = Hooked::default();
    let copied = copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    assert_eq!((copied.referrers, copied.new.manifests), (2, 4));
    assert_eq!(dst.manifests.load(Ordering::Relaxed), 4);
}

/// It was pushed, and then the list was lost.
#[tokio::test]
async fn a_referrer_that_is_there_and_not_listed_is_pushed_again() {
    let src = MemoryStore::new();
    let image = push_image(&src, b"image", None).await;
    push_image(&src, b"proof", Some(&image)).await;
    let mut dst = Hooked::default();
    copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    assert_eq!(dst.manifests.swap(0, Ordering::Relaxed), 2);
    copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    assert_eq!(dst.manifests.load(Ordering::Relaxed), 0);
    dst.referrers = Some(Box::new(|_| Some(Ok(Vec::new()))));
    copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    assert_eq!(dst.manifests.load(Ordering::Relaxed), 1);
}

/// Where nothing is attached, a destination that cannot list is good enough.
#[tokio::test]
async fn a_destination_is_not_asked_what_is_attached_to_what_has_nothing() {
    let src = MemoryStore::new();
    let image = push_image(&src, b"image", None).await;
    let dst = Hooked {
        referrers: Some(Box::new(|_| Some(Err(unavailable())))),
        ..Hooked::default()
    };
    copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    push_image(&src, b"proof", Some(&image)).await;
    let failed = copy_graph(&src, &dst, &image, &all(), &()).await;
    assert!(matches!(failed, Err(CopyError::Destination { .. })));
}

/// A destination must not take the part that came for all there is.
#[tokio::test]
async fn an_upload_breaks_off_where_the_source_does() {
    let mut src = Hooked::default();
    let image = push_image(&src.inner, b"layer", None).await;
    let layer = Digest::of(b"layer");
    src.fetch = Some(Box::new(move |target| {
        let chunks = [Ok(Bytes::from_static(b"lay")), Err(unavailable())];
        (target.digest == layer).then(|| Ok(Content::new(stream::iter(chunks))))
    }));
    let dst = Hooked::default();
    let failed = copy_graph(&src, &dst, &image, &all(), &()).await;
    assert!(matches!(failed, Err(CopyError::Source { .. })));
    assert_eq!(dst.broken.load(Ordering::Relaxed), 1);
}

/// No other registry is asked for what it cannot know.
#[tokio::test]
async fn only_a_neighbour_is_asked_to_take_a_blob_over() {
    let src = Hooked {
        repository: Some("one.example/app".parse().unwrap()),
        ..Hooked::default()
    };
    let image = push_image(&src.inner, b"layer", None).await;
    for (name, mounts) in [
        (Some("one.example/other"), 2),
        (Some("one.example/app"), 0),
        (Some("two.example/app"), 0),
        (None, 0),
    ] {
        let dst = Hooked {
            repository: name.map(|it| it.parse().unwrap()),
            ..Hooked::default()
        };
        copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
        assert_eq!(dst.mounts.load(Ordering::Relaxed), mounts, "{name:?}");
    }
}

/// What a list says of a referrer may be wrong. That the source cannot say now what is right is no
/// reason to leave it behind without a word.
#[tokio::test]
async fn a_wrong_hint_is_asked_about_and_a_silent_source_is_an_error() {
    let mut src = Hooked::default();
    let image = push_image(&src.inner, b"layer", None).await;
    let proof = push_image(&src.inner, b"proof", Some(&image)).await;
    let mut listed = proof.bare();
    listed.size += 1;
    let subject = image.digest.clone();
    src.referrers = Some(Box::new(move |it| {
        (*it == subject).then(|| Ok(vec![listed.clone()]))
    }));
    let copied = copy_graph(&src, &Hooked::default(), &image, &all(), &()).await;
    let copied = copied.unwrap();
    assert_eq!((copied.referrers, copied.dropped.len()), (1, 0));
    src.resolve = Some(Box::new(|_| Some(Err(unavailable()))));
    let failed = copy_graph(&src, &Hooked::default(), &image, &all(), &()).await;
    assert!(
        matches!(failed, Err(CopyError::Source { .. })),
        "{failed:?}"
    );
}
