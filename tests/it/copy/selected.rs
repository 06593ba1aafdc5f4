//! How one image of an index is found, and how far it is looked for.

use bytes::Bytes;
use oci::{
    CopyError, CopyOptions, Descriptor, Limits, MediaType, MemoryStore, Platform, Platforms, Store,
    StoreError, Upload, copy_graph,
};
use serde_json::{Value, json};

use super::{all, push_index, push_json};
use crate::layout::push_image;

fn only(platform: &str) -> CopyOptions {
    CopyOptions {
        platforms: Platforms::One(platform.parse().unwrap()),
        ..all()
    }
}

/// An image with this config.
async fn push_with(store: &dyn Store, media_type: MediaType, config: &Value) -> Descriptor {
    let config = Bytes::from(config.to_string());
    let target = Descriptor::of(media_type, &config);
    let upload = Upload::Bytes(config);
    store.push_blob(&target, upload).await.unwrap();
    let manifest = json!({ "schemaVersion": 2, "config": target, "layers": [] });
    push_json(store, MediaType::IMAGE_MANIFEST, &manifest).await
}

async fn push_bare_index(store: &dyn Store, manifests: &[&Descriptor]) -> Descriptor {
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    push_json(store, MediaType::IMAGE_INDEX, &index).await
}

#[tokio::test]
async fn not_all_that_an_index_lists_is_an_image() {
    let src = MemoryStore::new();
    let image = push_image(&src, b"image", None).await;
    let platform: Platform = "linux/amd64".parse().unwrap();
    let blob = Descriptor {
        platform: Some(platform.clone()),
        ..Descriptor::of(MediaType::LAYER_TAR, b"image")
    };
    let image = Descriptor {
        platform: Some(platform),
        ..image
    };
    let root = push_bare_index(&src, &[&blob, &image]).await;
    let dst = MemoryStore::new();
    let copied = copy_graph(&src, &dst, &root, &only("linux/amd64"), &()).await;
    assert_eq!(copied.unwrap().root, image.bare());
}

/// What is no config of an image says nothing about a platform, whatever stands in it; nor does a
/// config that leaves it empty.
#[tokio::test]
async fn only_a_config_says_what_an_image_is_for() {
    let src = MemoryStore::new();
    let says = json!({ "os": "linux", "architecture": "s390x" });
    let empty = json!({ "os": "", "architecture": "" });
    let half = json!({ "os": "linux", "architecture": "" });
    let other = json!({ "os": "", "architecture": "s390x" });
    for (media_type, config, is_artifact) in [
        ("application/vnd.example.config+json".into(), &says, true),
        (MediaType::IMAGE_CONFIG, &empty, true),
        (MediaType::IMAGE_CONFIG, &half, true),
        (MediaType::IMAGE_CONFIG, &other, true),
        (MediaType::IMAGE_CONFIG, &says, false),
    ] {
        let root = push_with(&src, media_type, config).await;
        let dst = MemoryStore::new();
        let copied = copy_graph(&src, &dst, &root, &only("linux/amd64"), &()).await;
        if is_artifact {
            assert_eq!(copied.unwrap().root, root);
        } else {
            assert!(matches!(copied, Err(CopyError::OtherPlatform { .. })));
        }
    }
}

#[tokio::test]
async fn an_image_is_looked_for_within_the_limits() {
    let src = MemoryStore::new();
    let limited = |limits| CopyOptions {
        limits,
        ..only("linux/amd64")
    };
    let config = |number: usize| json!({ "os": "linux", "architecture": format!("a{number}") });
    let mut images = Vec::new();
    for number in 0..3 {
        images.push(push_with(&src, MediaType::IMAGE_CONFIG, &config(number)).await);
    }
    let images: Vec<&Descriptor> = images.iter().collect();
    let root = push_bare_index(&src, &images).await;
    let few = limited(Limits {
        manifests: 3,
        ..Limits::default()
    });
    let refused = copy_graph(&src, &MemoryStore::new(), &root, &few, &()).await;
    assert!(matches!(
        refused,
        Err(CopyError::TooManyManifests { limit: 3 })
    ));
    let large = json!({ "os": "linux", "architecture": "amd64", "more": "x".repeat(2000) });
    let image = push_with(&src, MediaType::IMAGE_CONFIG, &large).await;
    let small = limited(Limits {
        manifest_bytes: 1000,
        ..Limits::default()
    });
    let refused = copy_graph(&src, &MemoryStore::new(), &image, &small, &()).await;
    assert!(matches!(
        refused,
        Err(CopyError::Source {
            source: StoreError::TooLarge { limit: 1000, .. },
            ..
        })
    ));
}

#[tokio::test]
async fn what_there_is_instead_is_said_in_short() {
    let src = MemoryStore::new();
    let image = push_image(&src, b"image", None).await;
    let names: Vec<String> = (0..12).map(|it| format!("a{it}")).collect();
    // Each of them twice.
    let all = names.iter().chain(&names).map(|it| (&image, it.as_str()));
    let root = push_index(&src, &all.collect::<Vec<_>>()).await;
    let dst = MemoryStore::new();
    let none = copy_graph(&src, &dst, &root, &only("linux/amd64"), &()).await;
    let error = none.unwrap_err().to_string();
    let said = "it has linux/a0, linux/a1, linux/a2, linux/a3, linux/a4, linux/a5, linux/a6, \
                linux/a7, linux/a8, linux/a9, 2 more";
    assert!(error.ends_with(said), "{error}");
}

/// An index that was looked into in vain is not one that the image belongs to.
#[tokio::test]
async fn proof_of_indexes_on_the_way_is_counted_and_no_other() {
    let src = MemoryStore::new();
    let arm = push_image(&src, b"arm", None).await;
    let amd = push_image(&src, b"amd", None).await;
    let other = push_index(&src, &[(&arm, "arm64")]).await;
    let right = push_index(&src, &[(&amd, "amd64")]).await;
    let root = push_bare_index(&src, &[&other, &right]).await;
    for subject in [&root, &right, &other] {
        push_image(&src, subject.digest.as_str().as_bytes(), Some(subject)).await;
    }
    let dst = MemoryStore::new();
    let copied = copy_graph(&src, &dst, &root, &only("linux/amd64"), &()).await;
    let copied = copied.unwrap();
    assert_eq!((copied.root, copied.left_behind), (amd, 2));
}
