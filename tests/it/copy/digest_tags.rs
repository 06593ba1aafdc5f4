//! Tags made of digests: whose they are, and stores that have trouble with them.

use std::collections::BTreeMap;

use oci::{
    CopyError, CopyOptions, Descriptor, Digest, MemoryStore, Selector, Store as _, StoreError, Tag,
    copy_graph,
};

use super::hooked::Hooked;
use super::{Spy, all, tag, unavailable};
use crate::layout::push_image;

fn with_tags() -> CopyOptions {
    CopyOptions {
        digest_tags: true,
        ..CopyOptions::default()
    }
}

fn tag_of(image: &Descriptor, suffix: &str) -> Tag {
    tag(&format!("sha256-{}{suffix}", image.digest.hex()))
}

#[tokio::test]
async fn only_tags_of_what_is_copied_are_copied() {
    let src = MemoryStore::new();
    let image = push_image(&src, b"image", None).await;
    let other = push_image(&src, b"other", None).await;
    let signature = push_image(&src, b"signature", None).await;
    for name in [
        tag_of(&image, ".sig"),
        tag_of(&image, ".zip"),
        tag_of(&image, "x"),
        tag_of(&other, ".sig"),
        tag_of(&other, ""),
        tag("v1"),
    ] {
        src.tag(&signature, &name).await.unwrap();
    }
    let dst = MemoryStore::new();
    copy_graph(&src, &dst, &image, &with_tags(), &())
        .await
        .unwrap();
    assert_eq!(dst.tags().await.unwrap(), [tag_of(&image, ".sig")]);
    let dst = MemoryStore::new();
    let copied = copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    assert_eq!(copied.digest_tags_left_behind, [tag_of(&image, ".sig")]);
}

/// What a store says when it is asked for a tag.
#[derive(Clone, Copy)]
enum Trouble {
    Gone,
    Malformed,
    Down,
}

/// A source with an image whose signature's tag is trouble.
async fn troubled(trouble: Trouble) -> (Hooked, Descriptor) {
    let mut src = Hooked::default();
    let image = push_image(&src.inner, b"image", None).await;
    let signature = push_image(&src.inner, b"signature", None).await;
    let name = tag_of(&image, ".sig");
    src.inner.tag(&signature, &name).await.unwrap();
    let troubles = BTreeMap::from([(name, trouble)]);
    src.resolve = Some(Box::new(move |selector| {
        let Selector::Tag(tag) = selector else {
            return None;
        };
        let place = "troubled".to_owned();
        Some(Err(match troubles.get(tag)? {
            Trouble::Gone => StoreError::NotFound {
                what: tag.to_string(),
                place,
                answer: None,
            },
            Trouble::Malformed => StoreError::Malformed {
                place,
                problem: "it has two of them".to_owned(),
            },
            Trouble::Down => unavailable(),
        }))
    }));
    (src, image)
}

#[tokio::test]
async fn a_tag_that_has_gone_since_it_was_listed_is_none() {
    let (src, image) = troubled(Trouble::Gone).await;
    let dst = MemoryStore::new();
    copy_graph(&src, &dst, &image, &with_tags(), &())
        .await
        .unwrap();
    assert_eq!(dst.tags().await.unwrap(), []);
    let copied = copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    assert_eq!(copied.digest_tags_left_behind, []);
}

/// Whatever it names, it is left behind.
#[tokio::test]
async fn a_tag_that_names_nothing_good_is_there_all_the_same() {
    let (src, image) = troubled(Trouble::Malformed).await;
    let dst = MemoryStore::new();
    let copied = copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    assert_eq!(copied.digest_tags_left_behind, [tag_of(&image, ".sig")]);
}

/// Else nobody would know that proof was lost.
#[tokio::test]
async fn a_source_that_cannot_be_asked_for_a_tag_fails_the_copy() {
    let (src, image) = troubled(Trouble::Down).await;
    for options in [with_tags(), all()] {
        let failed = copy_graph(&src, &MemoryStore::new(), &image, &options, &()).await;
        assert!(
            matches!(failed, Err(CopyError::Source { .. })),
            "{failed:?}"
        );
    }
    // The tag can be had, but not what it names, or a blob of that.
    for down in ["manifest", "blob"] {
        let mut src = Spy::default();
        let image = push_image(&src.inner, b"image", None).await;
        let signature = push_image(&src.inner, b"signature", None).await;
        let name = tag_of(&image, ".sig");
        src.inner.tag(&signature, &name).await.unwrap();
        src.down = vec![match down {
            "manifest" => signature.digest,
            _ => Digest::of(b"signature"),
        }];
        let failed = copy_graph(&src, &MemoryStore::new(), &image, &with_tags(), &()).await;
        assert!(
            matches!(failed, Err(CopyError::Source { .. })),
            "{failed:?}"
        );
    }
}

/// A destination that cannot say whether it has a list of its own must not lose it.
#[tokio::test]
async fn a_list_that_may_be_there_is_not_replaced() {
    let src = MemoryStore::new();
    let image = push_image(&src, b"image", None).await;
    let list = push_image(&src, b"list", None).await;
    src.tag(&list, &tag_of(&image, "")).await.unwrap();
    let dst = Hooked {
        resolve: Some(Box::new(|_| Some(Err(unavailable())))),
        ..Hooked::default()
    };
    let failed = copy_graph(&src, &dst, &image, &with_tags(), &()).await;
    assert!(matches!(failed, Err(CopyError::Destination { .. })));
    assert_eq!(dst.inner.tags().await.unwrap(), []);
}
