use super::*;
use crate::view::{FileContent, FileInfo, Missed, Pick, ViewError, ViewLimits, view_image};

struct Nothing;

impl Pick for Nothing {
    type Kept = ();

    fn wants(&mut self, _: &FileInfo<'_>) -> bool {
        false
    }

    fn keep(&mut self, _: &FileInfo<'_>, _: &mut FileContent<'_>) -> Option<()> {
        None
    }

    fn miss(&mut self, _: &FileInfo<'_>, _: Missed) -> Option<()> {
        None
    }
}

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
        annotations: BTreeMap::default(),
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

#[tokio::test]
async fn what_is_read_loosely_has_to_be_what_it_is_called() {
    let store = crate::MemoryStore::new();
    let limits = Limits::default();
    let read =
        async |target: &Descriptor| Image::read_loosely(&store, target, &platform(), &limits).await;
    for (layers, diff_ids) in [(1, 2), (2, 1), (0, 1), (1, 0)] {
        let uneven = push(&store, layers, diff_ids, "").await;
        let image = read(&uneven).await.unwrap();
        assert!(!image.is_even() && image.index().is_none());
        let id = DiffId(Digest::of(b"layer"));
        assert_eq!(image.layer(&id), None, "which layer is it?");
        assert_eq!(image.layers().count(), 0, "which is whose?");
        let viewed = view_image(&store, &image, Nothing, ViewLimits::default()).await;
        assert!(matches!(viewed, Err(ViewError::Uneven { .. })));
    }
    let image = push(&store, 1, 1, "").await;
    let index = push_index(&store, image.clone(), "linux/amd64").await;
    let found = read(&index).await.unwrap();
    assert_eq!((found.descriptor(), found.index()), (&image, Some(&index)));
    let gone = Descriptor::of(MediaType::IMAGE_MANIFEST, b"gone");
    let index = push_index(&store, gone, "linux/amd64").await;
    assert!(matches!(read(&index).await, Err(ImageError::NoChild(_))));
    assert!(matches!(
        Image::read(&store, &index, &platform(), &limits).await,
        Err(ImageError::Store(StoreError::NotFound { .. }))
    ));
}

#[tokio::test]
async fn content_in_a_descriptor_is_the_right_one() {
    let store = crate::MemoryStore::new();
    let limits = Limits::default();
    let image = push(&store, 1, 1, "").await;
    let whole = Image::read(&store, &image, &platform(), &limits)
        .await
        .unwrap();
    let sha512 = format!("sha512:{}", "a".repeat(128));
    let (id, content) = (whole.id().clone(), whole.config_bytes());
    let right = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(content)
    };
    for (key, value, problem) in [
        ("data", right.as_str(), None),
        (
            "data",
            "e30=",
            Some(format!(
                "error verifying Digest; got \"{}\", want \"{id}\"",
                Digest::of(b"{}")
            )),
        ),
        (
            "digest",
            sha512.as_str(),
            Some("unsupported hash: \"sha512\"".to_owned()),
        ),
    ] {
        let mut manifest: serde_json::Value =
            serde_json::from_slice(whole.manifest_bytes()).unwrap();
        manifest["config"][key] = value.into();
        let target = push_manifest(&store, MediaType::IMAGE_MANIFEST, &manifest).await;
        let read = Image::read_loosely(&store, &target, &platform(), &limits).await;
        let told = read.err().map(|error| error.to_string());
        assert_eq!(told, problem, "{key}");
    }
}

#[tokio::test]
async fn an_image_on_another_says_of_itself_what_that_one_says() {
    let store = crate::MemoryStore::new();
    let limits = Limits::default();
    let usual = push(&store, 1, 1, "").await;
    let usual = Image::read(&store, &usual, &platform(), &limits)
        .await
        .unwrap();
    for (own, kept) in [
        (MediaType::DOCKER_CONFIG, MediaType::DOCKER_CONFIG),
        (MediaType::IMAGE_CONFIG, MediaType::IMAGE_CONFIG),
        (MediaType::EMPTY, MediaType::IMAGE_CONFIG),
    ] {
        let mut manifest: serde_json::Value =
            serde_json::from_slice(usual.manifest_bytes()).unwrap();
        manifest["schemaVersion"] = 3.into();
        manifest["config"]["mediaType"] = own.as_str().into();
        let base = push_manifest(&store, MediaType::IMAGE_MANIFEST, &manifest).await;
        let base = Image::read(&store, &base, &platform(), &limits)
            .await
            .unwrap();
        let layers = base.manifest().layers.clone();
        let config = base.config().clone();
        let image = Image::on(&base, BTreeMap::new(), config, layers).unwrap();
        assert!(
            image
                .manifest_bytes()
                .starts_with(br#"{"schemaVersion":3,"config":{"#)
        );
        assert_eq!(image.manifest().config.media_type, kept);
        assert_eq!(image.descriptor().media_type, MediaType::IMAGE_MANIFEST);
    }
}
