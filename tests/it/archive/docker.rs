//! Which manifest is the image of a Docker archive that is a layout, too.

use super::*;

/// Files of a tar, by name.
#[derive(Default)]
struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    fn add(&mut self, name: &str, content: &[u8]) {
        self.0.push((name.to_owned(), content.to_vec()));
    }

    fn blob(&mut self, media_type: MediaType, content: &[u8]) -> Descriptor {
        let target = Descriptor::of(media_type, content);
        self.add(&format!("blobs/sha256/{}", target.digest.hex()), content);
        target
    }

    fn manifest(&mut self, config: &Descriptor, subject: Option<&Descriptor>) -> Descriptor {
        let mut manifest = json!({ "schemaVersion": 2, "config": config, "layers": [] });
        if let Some(subject) = subject {
            manifest["subject"] = json!(subject);
        }
        self.blob(MediaType::IMAGE_MANIFEST, manifest.to_string().as_bytes())
    }

    fn index(&mut self, manifests: &[&Descriptor]) -> Descriptor {
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        self.blob(MediaType::IMAGE_INDEX, index.to_string().as_bytes())
    }

    /// The only image, if `index.json` lists these and `manifest.json` names the config `c`.
    async fn image(mut self, workspace: &Workspace, listed: &[&Descriptor]) -> Descriptor {
        let config = config(&[]);
        self.add("c", &config);
        let index = json!({ "schemaVersion": 2, "manifests": listed });
        self.add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        self.add("index.json", index.to_string().as_bytes());
        self.add(
            "manifest.json",
            br#"[{"Config":"c","RepoTags":["app:v1"]}]"#,
        );
        let files = self.0.iter().map(|(name, content)| (&**name, &**content));
        let path = workspace.write("app.tar", tarred(&files.collect::<Vec<_>>()));
        let archive = docker_archive(&path, Some("app"));
        assert_eq!(archive.tags().await.unwrap(), [tag("v1")]);
        resolve(&archive, "v1").await
    }
}

fn config_of(files: &mut Files) -> Descriptor {
    files.blob(MediaType::IMAGE_CONFIG, &config(&[]))
}

#[tokio::test]
async fn a_manifest_of_that_config_is_the_image() {
    let workspace = Workspace::new();
    let mut files = Files::default();
    let config = config_of(&mut files);
    let image = files.manifest(&config, None);
    // Neither proof of it, nor what cannot be read.
    let proof = files.manifest(&config, Some(&image));
    let junk = files.blob(MediaType::IMAGE_MANIFEST, b"junk");
    // Whatever the index calls it.
    let named = Descriptor {
        annotations: BTreeMap::from([
            (
                "org.opencontainers.image.ref.name".to_owned(),
                "v2".to_owned(),
            ),
            (
                "io.containerd.image.name".to_owned(),
                "docker.io/library/app:v2".to_owned(),
            ),
        ]),
        ..image.clone()
    };
    let listed = [&junk, &named, &named, &proof];
    assert_eq!(files.image(&workspace, &listed).await, image);
}

#[tokio::test]
async fn without_a_whole_one_it_is_made() {
    let workspace = Workspace::new();
    let mut files = Files::default();
    let lost = Descriptor::of(MediaType::IMAGE_CONFIG, &config(&[]));
    let image = files.manifest(&lost, None);
    let made = files.image(&workspace, &[&image]).await;
    assert_eq!(made.media_type, MediaType::DOCKER_MANIFEST);

    let mut files = Files::default();
    let config = config_of(&mut files);
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"lost");
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    let image = files.blob(MediaType::IMAGE_MANIFEST, manifest.to_string().as_bytes());
    assert_eq!(files.image(&workspace, &[&image]).await, made);
}

#[tokio::test]
async fn an_image_is_looked_for_within_the_limits() {
    let workspace = Workspace::new();
    for (depth, is_found) in [(8, true), (9, false)] {
        let mut files = Files::default();
        let config = config_of(&mut files);
        let image = files.manifest(&config, None);
        let mut last = image.clone();
        // Each leads a hundred times to the one below.
        for _ in 0..depth {
            last = files.index(&[&last; 100]);
        }
        let found = files.image(&workspace, &[&last]).await;
        assert_eq!(found == image, is_found, "{depth}");
    }
}

/// What has no config of an image, or is proof of another, is none for Docker, whatever its name.
#[tokio::test]
async fn only_images_are_listed_for_docker() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let archive = new_docker_archive(&path, Some("app"));
    let image = push_with_config(&archive, &[b"layer"]).await;
    let artifact = push_image(&archive, b"artifact", None).await;
    let proof = json!({
        "schemaVersion": 2, "layers": [], "subject": image,
        "config": Descriptor::of(MediaType::IMAGE_CONFIG, &config(&[b"layer"])),
    });
    let proof = Bytes::from(proof.to_string());
    let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &proof);
    archive.push_manifest(&target, proof).await.unwrap();
    for (target, name) in [
        (&image, "v1"),
        (&image, "v2"),
        (&artifact, "v3"),
        (&target, "v4"),
    ] {
        archive.tag(target, &tag(name)).await.unwrap();
    }
    archive.finish().await.unwrap();
    let listed = member_json(&path, "manifest.json");
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["RepoTags"], json!(["app:v1", "app:v2"]));

    // Written again, it lists nothing twice; and what is another's is another's.
    let archive = new_docker_archive(&path, Some("other"));
    assert_eq!(archive.tags().await.unwrap(), []);
    let new = push_with_config(&archive, &[b"new"]).await;
    archive.tag(&new, &tag("v9")).await.unwrap();
    archive.finish().await.unwrap();
    let index = member_json(&path, "index.json");
    let entries = index["manifests"].as_array().unwrap().iter();
    let same = entries.filter(|it| it["digest"] == json!(image.digest));
    assert_eq!(same.count(), 2, "{index}");
    let tags = docker_archive(&path, Some("app")).tags().await.unwrap();
    assert_eq!(tags, [tag("v1"), tag("v2")]);
}

#[tokio::test]
async fn layers_that_are_compressed_stay_as_they_are_and_are_checked() {
    let workspace = Workspace::new();
    let layer = tarred(&[("a", b"1")]);
    let size = u32::try_from(layer.len()).unwrap();
    let magic = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x60];
    let zstd = [&magic[..], &(size << 3 | 1).to_le_bytes()[..3], &layer].concat();
    let gzip = gzip(&workspace, &layer);
    let listed = br#"[{"Config":"c","RepoTags":null,"Layers":["l"]}]"#.as_slice();
    for (packed, media_type) in [
        (gzip, MediaType::DOCKER_LAYER_GZIP),
        (zstd, MediaType::DOCKER_LAYER_ZSTD),
    ] {
        for is_good in [true, false] {
            let layer = if is_good { &layer[..] } else { b"another" };
            let files = tarred(&[
                ("c", &config(&[layer])),
                ("l", &packed),
                ("manifest.json", listed),
            ]);
            let archive = docker_archive(&workspace.write("app.tar", files), None);
            let image = archive.only().await;
            if !is_good {
                let Err(StoreError::Malformed { problem, .. }) = image else {
                    panic!("{image:?}");
                };
                assert!(problem.contains("is not what the config says"), "{problem}");
                continue;
            }
            let bytes = read(&archive, &image.unwrap(), 1 << 20).await.unwrap();
            let manifest: ImageManifest = serde_json::from_slice(&bytes).unwrap();
            let expected = Descriptor::of(media_type.clone(), &packed);
            assert_eq!(manifest.layers, [expected]);
        }
    }
}

/// Whether it is compressed is seen by its first bytes, if it has as many.
#[tokio::test]
async fn a_layer_may_have_a_byte_or_none() {
    let workspace = Workspace::new();
    let listed = br#"[{"Config":"c","Layers":["l"]}]"#.as_slice();
    for layer in [b"".as_slice(), &[0x1f]] {
        let files = tarred(&[
            ("c", &config(&[layer])),
            ("l", layer),
            ("manifest.json", listed),
        ]);
        let archive = docker_archive(&workspace.write("app.tar", files), None);
        let image = archive.only().await.unwrap();
        let bytes = read(&archive, &image, 1 << 20).await.unwrap();
        let manifest: ImageManifest = serde_json::from_slice(&bytes).unwrap();
        let packed = read(&archive, &manifest.layers[0], 1 << 20).await.unwrap();
        assert_eq!(gunzip(&workspace, &packed), layer);
    }
}

/// Docker says so of an image that has no name.
#[tokio::test]
async fn none_is_no_name() {
    let workspace = Workspace::new();
    let listed = br#"[{"Config":"c","RepoTags":["<none>:<none>"],"Layers":[]}]"#;
    let files = tarred(&[("c", &config(&[])), ("manifest.json", listed)]);
    let path = workspace.write("app.tar", files);
    let archive = new_docker_archive(&path, Some("other"));
    let other = push_with_config(&archive, &[b"other"]).await;
    archive.tag(&other, &tag("v1")).await.unwrap();
    archive.finish().await.unwrap();
    let listed = member_json(&path, "manifest.json");
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    let names = |at: usize| listed[at]["RepoTags"].clone();
    let mut names = [names(0), names(1)];
    names.sort_by_key(Value::is_null);
    assert_eq!(names, [json!(["other:v1"]), json!(null)]);
}

/// An image that was never asked for is one all the same, until its name is another's.
#[tokio::test]
async fn what_takes_over_a_name_is_the_only_one_by_it() {
    let workspace = Workspace::new();
    for (names, name) in [(json!(["app:v1"]), Some("app")), (json!(null), None)] {
        let listed = json!([{ "Config": "c", "RepoTags": names, "Layers": [] }]).to_string();
        let files = tarred(&[("c", &config(&[])), ("manifest.json", listed.as_bytes())]);
        let path = workspace.write("app.tar", files);
        let archive = new_docker_archive(&path, name);
        let image = push_with_config(&archive, &[b"new"]).await;
        // Twice is as good as once.
        for _ in 0..2 {
            archive.tag(&image, &tag("v1")).await.unwrap();
        }
        archive.finish().await.unwrap();
        let listed = member_json(&path, "manifest.json");
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(listed[0]["RepoTags"], names);
        let archive = docker_archive(&path, name);
        let found = match name {
            Some(_) => resolve(&archive, "v1").await,
            None => archive.only().await.unwrap(),
        };
        assert_eq!(found, image);
    }
}
