//! What of an image is copied, and what is said of the rest.

use bytes::Bytes;
use oci::{
    CopyError, CopyOptions, Descriptor, LayoutStore, MediaType, MemoryStore, Platform, Platforms,
    Selector, Store, Upload, copy_graph,
};
use serde_json::{Value, json};
use testkit::registry::{Switches, TestRegistry};
use testkit::{Output, Workspace, docker_registry, olareg, peer};

use super::{all, contents, graph, push_index, push_json, repository, tag};
use crate::layout::{fixture, push_image};

fn only(platform: &str) -> CopyOptions {
    CopyOptions {
        platforms: Platforms::One(platform.parse().unwrap()),
        ..all()
    }
}

#[tokio::test]
async fn one_platform_is_copied_without_its_index() {
    let src = MemoryStore::new();
    let root = graph(&src).await;
    let dst = MemoryStore::new();
    let arm64 = only("linux/arm64/v8");
    let copied = copy_graph(&src, &dst, &root, &arm64, &()).await.unwrap();
    assert_ne!(copied.root, root);
    assert_eq!((copied.new.manifests, copied.referrers), (2, 1));
    assert_eq!(copied.left_behind, 1, "the proof of the index");
    assert_eq!(dst.contains(&root).await.ok(), Some(false));
    let none = copy_graph(&src, &dst, &root, &only("linux/s390x"), &()).await;
    let error = none.unwrap_err().to_string();
    let has = "has no image for linux/s390x; it has linux/amd64, linux/arm64";
    assert!(error.ends_with(has), "{error}");
}

/// An image whose config says what it runs on.
async fn push_image_for(store: &dyn Store, platform: &str) -> Descriptor {
    let platform: Platform = platform.parse().unwrap();
    let config = Bytes::from(serde_json::to_vec(&platform).unwrap());
    let target = Descriptor::of(MediaType::IMAGE_CONFIG, &config);
    let upload = Upload::Bytes(config);
    store.push_blob(&target, upload).await.unwrap();
    let manifest = json!({ "schemaVersion": 2, "config": target, "layers": [] });
    push_json(store, MediaType::IMAGE_MANIFEST, &manifest).await
}

#[tokio::test]
async fn an_entry_that_does_not_say_its_platform_is_believed_by_its_config() {
    let src = MemoryStore::new();
    let arm = push_image_for(&src, "linux/arm/v6").await;
    let amd64 = push_image_for(&src, "linux/amd64").await;
    let artifact = push_image(&src, b"artifact", None).await;
    let bare = |manifests: &[&Descriptor]| json!({ "schemaVersion": 2, "manifests": manifests });
    let nested = push_json(&src, MediaType::IMAGE_INDEX, &bare(&[&artifact, &arm])).await;
    let root = push_json(&src, MediaType::IMAGE_INDEX, &bare(&[&nested, &amd64])).await;
    let copied = |root: Descriptor, platform: &'static str| {
        let src = &src;
        async move {
            let dst = MemoryStore::new();
            let copied = copy_graph(src, &dst, &root, &only(platform), &()).await;
            copied.map(|it| it.root)
        }
    };
    assert_eq!(copied(root.clone(), "linux/amd64").await.unwrap(), amd64);
    assert_eq!(copied(root.clone(), "linux/arm").await.unwrap(), arm);
    let none = copied(root.clone(), "linux/arm/v7").await;
    assert!(matches!(none, Err(CopyError::NoPlatform { has, .. }) if has.len() == 2));

    // An image that is no part of an index is copied unless it says that it is another one.
    assert_eq!(copied(amd64.clone(), "linux/amd64").await.unwrap(), amd64);
    assert_eq!(
        copied(artifact.clone(), "linux/arm").await.unwrap(),
        artifact
    );
    let other = copied(amd64.clone(), "linux/arm64").await;
    assert!(matches!(other, Err(CopyError::OtherPlatform { .. })));

    // Deeper than is looked.
    let mut deep = amd64;
    for _ in 0..10 {
        deep = push_json(&src, MediaType::IMAGE_INDEX, &bare(&[&deep])).await;
    }
    let refused = copied(deep, "linux/amd64").await;
    assert!(matches!(refused, Err(CopyError::TooDeep { limit: 8 })));
}

#[tokio::test]
async fn digest_tags_are_copied_when_asked_for() {
    let src = LayoutStore::open(fixture("cosign-legacy")).unwrap();
    let root = src.resolve(&Selector::Tag(tag("image"))).await.unwrap();
    let dst = MemoryStore::new();
    let copied = copy_graph(&src, &dst, &root, &all(), &()).await.unwrap();
    assert_eq!(dst.tags().await.unwrap(), []);
    assert_eq!(copied.digest_tags_left_behind.len(), 3);
    let options = CopyOptions {
        digest_tags: true,
        ..CopyOptions::default()
    };
    let copied = copy_graph(&src, &dst, &root, &options, &()).await.unwrap();
    assert_eq!(copied.digest_tags_left_behind, []);
    let expected =
        ["att", "sbom", "sig"].map(|it| tag(&format!("sha256-{}.{it}", root.digest.hex())));
    assert_eq!(dst.tags().await.unwrap(), expected);
    for tag in expected {
        let found = dst.resolve(&Selector::Tag(tag)).await.unwrap();
        contents(&dst, &found).await;
    }

    // A list of referrers never replaces another.
    let src = LayoutStore::open(fixture("cosign-v3-fallback-tag")).unwrap();
    let list = tag(&format!("sha256-{}", root.digest.hex()));
    let own = push_index(&dst, &[]).await;
    dst.tag(&own, &list).await.unwrap();
    copy_graph(&src, &dst, &root, &options, &()).await.unwrap();
    let list = dst.resolve(&Selector::Tag(list)).await.unwrap();
    assert_eq!(list.digest, own.digest);
}

/// Whoever can push a tag can push a broken one.
#[tokio::test]
async fn a_broken_digest_tag_is_dropped_and_blocks_nothing() {
    let src = MemoryStore::new();
    let image = push_image(&src, b"image", None).await;
    let good = push_image(&src, b"signature", None).await;
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"gone");
    let config = Descriptor::of(MediaType::EMPTY, b"{}");
    let bad = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    let bad = push_json(&src, MediaType::IMAGE_MANIFEST, &bad).await;
    let lost = push_index(
        &src,
        &[(&Descriptor::of(MediaType::IMAGE_MANIFEST, b"x"), "arm")],
    )
    .await;
    let named = |suffix| tag(&format!("sha256-{}{suffix}", image.digest.hex()));
    for (target, suffix) in [(&bad, ".att"), (&good, ".sig"), (&lost, "")] {
        src.tag(target, &named(suffix)).await.unwrap();
    }
    let dst = MemoryStore::new();
    let options = CopyOptions {
        digest_tags: true,
        ..all()
    };
    let copied = copy_graph(&src, &dst, &image, &options, &()).await.unwrap();
    assert_eq!(dst.tags().await.unwrap(), [named(".sig")]);
    let dropped = copied.dropped.iter().map(|it| &it.descriptor.digest);
    assert_eq!(dropped.collect::<Vec<_>>(), [&lost.digest, &bad.digest]);
}

/// What cosign signed before there were referrers, it verifies where we copied it to.
#[test]
fn cosign_verifies_old_signatures_that_were_copied() {
    let workspace = Workspace::new();
    let (Some(cosign), source) = (peer("cosign"), fixture("cosign-legacy")) else {
        return;
    };
    let source = format!("oci:{}:image", source.display());
    for server in [docker_registry, olareg].map(|it| it(workspace.path())) {
        let Some(server) = server else { continue };
        let image = format!("{}/old:v1", server.host());
        let verify = || {
            Output::of(
                workspace
                    .command(&cosign)
                    .args(["verify", "--insecure-ignore-tlog", "--allow-http-registry"])
                    .args(["--new-bundle-format=false", "--key"])
                    .arg(fixture("keys/cosign.pub"))
                    .arg(&image),
            )
        };
        let copy = |arguments: &[&str]| {
            let words = [&["copy", &source, &image], arguments].concat();
            Output::of(&mut workspace.sealpack(words)).expect(0)
        };
        let without = copy(&["--referrers"]);
        assert!(
            without.stderr.contains("--digest-tags"),
            "{}",
            without.stderr
        );
        assert_ne!(verify().code, 0);
        copy(&["--digest-tags"]);
        verify().expect(0);
    }
}

/// Anyone may attach anything: it changes neither the exit code nor what else is copied, and it is
/// named.
#[tokio::test]
async fn what_was_dropped_or_left_behind_is_reported() {
    let registry = TestRegistry::start(Switches::default());
    let store = repository(&registry.host(), "app");
    let image = push_image(&store, b"image", None).await;
    push_image(&store, b"proof", Some(&image)).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    for turn in 0..12 {
        let layer = Descriptor::of(MediaType::LAYER_TAR, format!("gone {turn}").as_bytes());
        let bad = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::IMAGE_MANIFEST,
            "config": Descriptor::of(MediaType::EMPTY, b"{}"),
            "layers": [layer],
            "subject": image,
        });
        registry.put_manifest(
            "app",
            None,
            MediaType::IMAGE_MANIFEST.as_str(),
            bad.to_string(),
        );
    }
    let workspace = Workspace::new();
    let source = format!("{}/app:v1", registry.host());
    let copy = |to: &str, arguments: &[&str]| {
        let words = [&["copy", &source, to, "--output", "json"], arguments].concat();
        let output = Output::of(&mut workspace.sealpack(words)).expect(0);
        let report: Value = serde_json::from_str(&output.stdout).unwrap();
        (report, output.stderr)
    };
    let (report, stderr) = copy("oci:with:v1", &["--referrers"]);
    assert_eq!(report["referrers"], 1);
    assert_eq!(report["leftBehind"], 0);
    let dropped = report["dropped"].as_array().unwrap();
    assert_eq!(dropped.len(), 12);
    let problem = dropped[0]["problem"].as_str().unwrap();
    assert!(problem.contains("not found"), "{problem}");
    assert_eq!(
        stderr.matches("not copied: sha256:").count(),
        10,
        "{stderr}"
    );
    assert!(stderr.contains("not copied: 2 more"), "{stderr}");

    let (report, stderr) = copy("oci:without:v1", &["--no-referrers"]);
    assert_eq!(
        (&report["leftBehind"], &report["dropped"]),
        (&json!(13), &json!([]))
    );
    assert!(
        stderr.contains("at least 13 referrers were not copied"),
        "{stderr}"
    );
    let without = LayoutStore::open(workspace.join("without")).unwrap();
    assert_eq!(contents(&without, &image).await.len(), 3);
}

#[test]
fn platforms_are_chosen_by_flag() {
    let workspace = Workspace::new();
    let source = format!("oci:{}:index", fixture("cosign-v3-index").display());
    let copy = |arguments: &[&str]| {
        let words = [
            &["copy", &source, "oci:out:v1", "--output", "json"],
            arguments,
        ]
        .concat();
        Output::of(&mut workspace.sealpack(words))
    };
    let digest = |arguments: &[&str]| {
        let output = copy(arguments).expect(0);
        let report: Value = serde_json::from_str(&output.stdout).unwrap();
        (report["digest"].as_str().unwrap().to_owned(), output.stderr)
    };
    let (whole, _) = digest(&[]);
    assert_eq!(digest(&["--all-platforms", "--referrers"]).0, whole);
    let (amd64, stderr) = digest(&["--platform", "linux/amd64", "--referrers"]);
    assert!(stderr.contains("attached to the index"), "{stderr}");
    let (arm64, _) = digest(&["--platform", "linux/arm64/v8"]);
    assert!(amd64 != whole && arm64 != whole && amd64 != arm64);
    let output = copy(&["--platform", "linux/s390x"]).expect(2);
    assert!(
        output.stderr.contains("it has linux/amd64"),
        "{}",
        output.stderr
    );
    for wrong in [
        &["--platform", "amd64"][..],
        &["--platform", "linux/amd64", "--all-platforms"],
    ] {
        copy(wrong).expect(2);
    }
}
