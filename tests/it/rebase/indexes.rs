//! Indexes: each image on its own run image.

use super::*;

/// Puts the same image for another machine type beside `v1` of a layout, and both into an index, `both`.
pub(crate) async fn for_two(layout: &Path) {
    let store = LayoutStore::open(layout).unwrap();
    let v1 = Selector::Tag("v1".parse().unwrap());
    let amd64 = store.resolve(&v1).await.unwrap();
    let limits = Limits::default();
    let image = Image::read(&store, &amd64, &Platform::host(), &limits)
        .await
        .unwrap();
    let mut config = image.config().clone();
    "arm64".clone_into(&mut config.architecture);
    let layers = image.layers().map(|(it, _)| it.clone()).collect();
    let other = Image::new(image.manifest(), config, layers).unwrap();
    let upload = Upload::Bytes(other.config_bytes().clone());
    store
        .push_blob(&other.manifest().config, upload)
        .await
        .unwrap();
    let bytes = other.manifest_bytes().clone();
    store
        .push_manifest(other.descriptor(), bytes)
        .await
        .unwrap();
    let entry = |descriptor: &oci::Descriptor, platform: &str| oci::Descriptor {
        platform: Some(platform.parse().unwrap()),
        ..descriptor.bare()
    };
    let entries = vec![
        entry(&amd64, "linux/amd64"),
        entry(other.descriptor(), "linux/arm64"),
    ];
    let annotations = [("team".to_owned(), "release".to_owned())].into();
    let index = Index::new(oci::MediaType::IMAGE_INDEX, entries, annotations);
    let (root, bytes) = index.encode().unwrap();
    store.push_manifest(&root, bytes).await.unwrap();
    store.tag(&root, &"both".parse().unwrap()).await.unwrap();
}

#[tokio::test]
async fn each_image_of_an_index_is_rebased_on_its_own_run_image() {
    let project = Project::typical();
    for (folder, version) in [("run-1", "1.0"), ("run-2", "2.0")] {
        run_image(&project, folder, version).await;
        let store = LayoutStore::open(project.join(folder)).unwrap();
        let latest = store.only().await.unwrap();
        store.tag(&latest, &"v1".parse().unwrap()).await.unwrap();
        for_two(&project.join(folder)).await;
    }
    project
        .build_with("oci:out:v1", &["--run-image", "oci:run-1:v1"])
        .expect(0);
    for_two(&project.join("out")).await;
    let rebased = project.run(&[
        "rebase",
        "oci:out:both",
        "--run-image",
        "oci:run-2:both",
        "--key",
        "test.key",
        "--output",
        "json",
    ]);
    let report = json(&rebased.expect(0));
    let images = report["images"].as_array().unwrap();
    let platforms: Vec<_> = images
        .iter()
        .map(|it| it["platform"].as_str().unwrap())
        .collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    let bases: Vec<_> = images
        .iter()
        .map(|it| it["runImage"].as_str().unwrap())
        .collect();
    assert_ne!(bases[0], bases[1]);
    let all = images.iter().chain([&report]);
    for digest in all.map(|it| it["digest"].as_str().unwrap()) {
        let image = format!("oci:out@{digest}");
        for claim in ["signature", "provenance", "cyclonedx", "spdx"] {
            claim_of(&project, &image, claim);
        }
    }
    let index = index(&project.join("out"), "both").await;
    let (root, _) = index.encode().unwrap();
    assert_eq!(report["digest"], root.digest.as_str());
    assert_eq!(index.annotations["team"], "release");
    let platform = index.manifests[1].platform.as_ref().unwrap();
    assert_eq!(platform.architecture, "arm64");
}

/// The index of this tag.
pub(crate) async fn index(layout: &Path, tag: &str) -> Index {
    let store = LayoutStore::open(layout).unwrap();
    let tag = Selector::Tag(tag.parse().unwrap());
    let root = store.resolve(&tag).await.unwrap();
    let limits = Limits::default();
    let bytes = oci::store::read(&store, &root, limits.manifest_bytes).await;
    match Manifest::parse(&root.media_type, &bytes.unwrap(), &limits).unwrap() {
        Manifest::Index(index) => index,
        Manifest::Image(_) => panic!("an image"),
    }
}
