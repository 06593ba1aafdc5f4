use super::*;

#[test]
fn manifests_have_the_bytes_that_others_write() {
    let config: ImageConfig = serde_json::from_str(
        r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#,
    )
    .unwrap();
    let like = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::DOCKER_MANIFEST),
        config: Descriptor::of(MediaType::DOCKER_CONFIG, b""),
        layers: Vec::new(),
        annotations: std::collections::BTreeMap::default(),
        subject: None,
        artifact_type: None,
    };
    let layer = Descriptor::of(MediaType::DOCKER_LAYER_GZIP, b"layer");
    let image = Image::new(&like, config.clone(), vec![layer.clone()]).unwrap();
    assert_eq!(
        image.manifest_bytes(),
        &format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{},"digest":"{}"}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":5,"digest":"{}"}}]}}"#,
            image.config_bytes().len(),
            image.id(),
            layer.digest
        )
    );
    assert!(matches!(
        Image::new(&like, config, Vec::new()),
        Err(ImageError::LayersDiffer { .. })
    ));
}

#[test]
fn the_variant_is_taken_if_there_is_one() {
    let child = |architecture: &str, variant: Option<&str>, content: &[u8]| Descriptor {
        platform: Some(Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.map(str::to_owned),
            ..Platform::default()
        }),
        ..Descriptor::of(MediaType::IMAGE_MANIFEST, content)
    };
    let manifests = [
        child("amd64", None, b"1"),
        child("arm", Some("v6"), b"2"),
        child("arm", Some("v7"), b"3"),
    ];
    let picked = |it: &Descriptor| pick(&manifests, it.platform.as_ref().unwrap()).cloned();
    for manifest in &manifests {
        assert_eq!(picked(manifest).as_ref(), Some(manifest));
    }
    assert_eq!(picked(&child("arm", None, b"")), manifests.get(1).cloned());
    assert_eq!(picked(&child("s390x", None, b"")), None);
}

#[test]
fn an_image_of_which_nothing_is_said_is_for_linux_on_amd64() {
    let manifests = [Descriptor::of(MediaType::IMAGE_MANIFEST, b"1")];
    let picked = |platform: &str| pick(&manifests, &platform.parse().unwrap()).is_some();
    assert!(picked("linux/amd64"));
    assert!(!picked("linux/arm64"));
    assert!(!picked("windows/amd64"));
}

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

/// An image whose manifest has so many layers, and whose config has so many diff IDs.
async fn push(store: &dyn Store, layers: usize, diff_ids: usize, more: &str) -> Descriptor {
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"layer");
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "more": more,
        "rootfs": { "type": "layers", "diff_ids": vec![&layer.digest; diff_ids] },
    });
    let config = Bytes::from(config.to_string());
    let target = Descriptor::of(MediaType::IMAGE_CONFIG, &config);
    let upload = crate::Upload::Bytes(config);
    store.push_blob(&target, upload).await.unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "config": target, "layers": vec![&layer; layers],
    });
    push_manifest(store, MediaType::IMAGE_MANIFEST, &manifest).await
}

async fn push_index(store: &dyn Store, entry: Descriptor, platform: &str) -> Descriptor {
    let entry = Descriptor {
        platform: Some(platform.parse().unwrap()),
        ..entry
    };
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] });
    push_manifest(store, MediaType::IMAGE_INDEX, &index).await
}

async fn push_manifest(
    store: &dyn Store,
    media_type: MediaType,
    manifest: &serde_json::Value,
) -> Descriptor {
    let content = Bytes::from(manifest.to_string());
    let target = Descriptor::of(media_type, &content);
    store.push_manifest(&target, content).await.unwrap();
    target
}

#[tokio::test]
async fn an_image_is_read_within_the_limits() {
    let store = crate::MemoryStore::new();
    let image = push(&store, 1, 1, &"x".repeat(1000)).await;
    let mut nested = image.clone();
    for _ in 0..3 {
        nested = push_index(&store, nested, "linux/amd64").await;
    }
    let read = async |target: &Descriptor, limits: Limits| {
        Image::read(&store, target, &platform(), &limits).await
    };
    let limits = Limits::default();
    let found = read(&nested, limits).await.unwrap();
    assert_eq!(*found.descriptor(), image);
    let flat = Limits { depth: 2, ..limits };
    let refused = read(&nested, flat).await;
    assert!(matches!(refused, Err(ImageError::NoPlatform { .. })));
    for small in [
        Limits {
            manifest_bytes: 100,
            ..limits
        },
        Limits {
            metadata_bytes: 1000,
            ..limits
        },
    ] {
        let refused = read(&image, small).await;
        assert!(matches!(
            refused,
            Err(ImageError::Store(StoreError::TooLarge { .. }))
        ));
    }
}

#[tokio::test]
async fn manifest_and_config_have_the_same_layers() {
    let store = crate::MemoryStore::new();
    for (layers, diff_ids) in [(1, 2), (2, 1), (0, 1), (1, 0)] {
        let image = push(&store, layers, diff_ids, "").await;
        let refused = Image::read(&store, &image, &platform(), &Limits::default()).await;
        assert!(matches!(refused, Err(ImageError::LayersDiffer { .. })));
    }
}

#[tokio::test]
async fn an_image_for_another_machine_is_none_for_this_one() {
    let store = crate::MemoryStore::new();
    let image = push(&store, 1, 1, "").await;
    for (platform, is_ours) in [
        ("linux/amd64", true),
        ("linux/arm64", false),
        ("windows/amd64", false),
    ] {
        let index = push_index(&store, image.clone(), platform).await;
        let found = Image::read(&store, &index, &self::platform(), &Limits::default()).await;
        assert_eq!(found.is_ok(), is_ours, "{found:?}");
    }
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"layer");
    let index = push_index(&store, layer, "linux/amd64").await;
    let found = Image::read(&store, &index, &platform(), &Limits::default()).await;
    assert!(matches!(found, Err(ImageError::NoPlatform { .. })));
}
