//! Whether an image that is replaced is whole, as go-containerregistry's `validate` has it: some
//! clean-ups of registries leave a manifest without its layers, and no layer of such an image can be
//! used again.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use go::json::{Field, Struct, Type};
use oci::{Descriptor, Image, ImageConfig, Limits, Manifest, Platform, Store, store};
use serde::Deserialize;

use crate::save::ASKED_AT_ONCE;

/// Whether all of `image` is there; if an index led to it, all that the index names.
pub(super) async fn is_valid(store: &dyn Store, image: &Image, limits: &Limits) -> bool {
    match image.index() {
        Some(index) => is_valid_index(store, index, 1, limits).await,
        None => is_whole(store, image).await,
    }
}

/// Whether the layers of `image` are there.
async fn is_whole(store: &dyn Store, image: &Image) -> bool {
    if !says_layers(image) {
        return false;
    }
    let layers: BTreeSet<_> = image.manifest().layers.iter().collect();
    let asked = stream::iter(layers)
        .map(|layer| store.contains(layer))
        .buffer_unordered(ASKED_AT_ONCE);
    asked
        .all(|one| std::future::ready(one.unwrap_or(false)))
        .await
}

/// Whether the config says that its root file system is one of layers: in so many words, where all else
/// takes that for granted.
fn says_layers(image: &Image) -> bool {
    const CONFIG: Type = Type::Struct(&Struct {
        package: "v1",
        name: "ConfigFile",
        fields: &[Field::new("rootfs", &ROOT_FS)],
    });
    const ROOT_FS: Type = Type::Struct(&Struct {
        package: "v1",
        name: "RootFS",
        fields: &[Field::new("type", &Type::STRING)],
    });
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Config {
        rootfs: RootFs,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct RootFs {
        #[serde(rename = "type")]
        kind: String,
    }
    match go::json::decode::<Config>(image.config_bytes(), &CONFIG) {
        Ok(config) => config.rootfs.kind == "layers",
        Err(_) => image.config().rootfs.kind == "layers",
    }
}

/// Whether all that an index names is there and whole, and runs on what the index says.
async fn is_valid_index(
    store: &dyn Store,
    target: &Descriptor,
    depth: usize,
    limits: &Limits,
) -> bool {
    let Ok(bytes) = store::read(store, target, limits.manifest_bytes).await else {
        return false;
    };
    let Ok(Manifest::Index(index)) = Manifest::parse_loosely(&target.media_type, &bytes, limits)
    else {
        return false;
    };
    for it in &index.manifests {
        let is_valid = if it.media_type.is_index() {
            let deeper = depth + 1;
            deeper <= limits.depth && Box::pin(is_valid_index(store, it, deeper, limits)).await
        } else if it.media_type.is_image_manifest() {
            is_valid_member(store, it, limits).await
        } else {
            store.contains(it).await.unwrap_or(false)
        };
        if !is_valid {
            return false;
        }
    }
    true
}

/// Whether an image of an index is whole, and runs on what the index says.
async fn is_valid_member(store: &dyn Store, member: &Descriptor, limits: &Limits) -> bool {
    let host = Platform::host();
    let read = Image::read_loosely(store, member, &host, limits);
    let Ok(image) = Box::pin(read).await else {
        return false;
    };
    let runs_there = |said| runs_on(image.config(), said);
    member.platform.as_ref().is_none_or(runs_there) && is_whole(store, &image).await
}

/// Whether an image says of itself what an index says of it. One that says nothing does not.
fn runs_on(config: &ImageConfig, said: &Platform) -> bool {
    let own = config.platform();
    let text = |it: &Option<String>| it.clone().unwrap_or_default();
    let features = |it: &Platform| it.os_features.iter().cloned().collect::<BTreeSet<_>>();
    own != Platform::default()
        && own.os == said.os
        && own.architecture == said.architecture
        && text(&own.variant) == text(&said.variant)
        && text(&own.os_version) == text(&said.os_version)
        && features(&own) == features(said)
}

#[cfg(test)]
mod tests {
    use oci::{MediaType, MemoryStore, Upload};
    use serde_json::{Value, json};

    use super::*;

    async fn push(store: &MemoryStore, media_type: MediaType, manifest: &Value) -> Descriptor {
        let bytes = bytes::Bytes::from(manifest.to_string());
        let target = Descriptor::of(media_type, &bytes);
        store.push_manifest(&target, bytes).await.unwrap();
        target
    }

    /// An image for `linux/amd64`, of one layer, that is there or is not.
    async fn push_image(store: &MemoryStore, is_whole: bool, kind: &str) -> Descriptor {
        let layer = Descriptor::of(MediaType::LAYER_TAR, b"layer");
        if is_whole {
            let upload = Upload::Bytes(bytes::Bytes::from_static(b"layer"));
            store.push_blob(&layer, upload).await.unwrap();
        }
        let config = json!({"os": "linux", "architecture": "amd64",
            "rootfs": {"type": kind, "diff_ids": [layer.digest]}});
        let config = bytes::Bytes::from(config.to_string());
        let target = Descriptor::of(MediaType::IMAGE_CONFIG, &config);
        let upload = Upload::Bytes(config);
        store.push_blob(&target, upload).await.unwrap();
        let manifest = json!({"schemaVersion": 2, "config": target, "layers": [layer]});
        push(store, MediaType::IMAGE_MANIFEST, &manifest).await
    }

    #[tokio::test]
    async fn an_index_is_whole_if_all_its_images_are() {
        let limits = Limits::default();
        for (is_whole, kind, platform, is_right) in [
            (true, "layers", "amd64", true),
            (true, "other", "amd64", false),
            (true, "layers", "arm64", false),
            (false, "layers", "amd64", false),
        ] {
            let store = MemoryStore::new();
            let image = push_image(&store, is_whole, kind).await;
            let image = Descriptor {
                platform: Some(Platform {
                    os: "linux".to_owned(),
                    architecture: platform.to_owned(),
                    ..Platform::default()
                }),
                ..image
            };
            let index = json!({"schemaVersion": 2, "manifests": [image]});
            let mut target = push(&store, MediaType::IMAGE_INDEX, &index).await;
            let found = is_valid_index(&store, &target, 1, &limits).await;
            assert_eq!(found, is_right, "{is_whole} {kind} {platform}");
            // Nor is one that is too deep in others.
            for _ in 0..=limits.depth {
                let index = json!({"schemaVersion": 2, "manifests": [target]});
                target = push(&store, MediaType::IMAGE_INDEX, &index).await;
            }
            assert!(!is_valid_index(&store, &target, 1, &limits).await);
        }
        let store = MemoryStore::new();
        let empty = json!({"schemaVersion": 2, "manifests": []});
        let empty = push(&store, MediaType::IMAGE_INDEX, &empty).await;
        assert!(is_valid_index(&store, &empty, 1, &limits).await);
        let gone = json!({"schemaVersion": 2, "manifests": [
            Descriptor::of(MediaType::IMAGE_MANIFEST, b"gone")]});
        let gone = push(&store, MediaType::IMAGE_INDEX, &gone).await;
        assert!(!is_valid_index(&store, &gone, 1, &limits).await);
    }

    #[test]
    fn an_image_runs_on_what_it_says_itself() {
        let config = |os: &str, variant: &str| ImageConfig {
            os: os.to_owned(),
            architecture: os.to_owned(),
            variant: variant.to_owned(),
            ..ImageConfig::default()
        };
        let said = |variant: Option<&str>| Platform {
            os: "linux".to_owned(),
            architecture: "linux".to_owned(),
            variant: variant.map(str::to_owned),
            ..Platform::default()
        };
        assert!(runs_on(&config("linux", ""), &said(None)));
        assert!(runs_on(&config("linux", ""), &said(Some(""))));
        assert!(runs_on(&config("linux", "v8"), &said(Some("v8"))));
        assert!(!runs_on(&config("linux", ""), &said(Some("v8"))));
        assert!(!runs_on(&config("other", ""), &said(None)));
        assert!(!runs_on(&config("", ""), &Platform::default()));
    }
}
