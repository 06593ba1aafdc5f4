//! `sealpack build --platform` in builder images: each platform in its own image of the index.

use bytes::Bytes;
use oci::{Descriptor, LayoutStore, MediaType, Store as _, Upload};
use serde_json::{Value, json};
use testkit::{BuilderImage, Output, skipped};

use super::{Fixture, built};

/// Puts the builder images of these layouts into the index `oci:both:latest`: for amd64, with these variants.
async fn both(fixture: &Fixture, members: &[(&str, &str)]) {
    let store = LayoutStore::create(fixture.folder.join("both")).unwrap();
    let mut listed = Vec::new();
    for (layout, variant) in members {
        let blobs = fixture.folder.join(layout).join("blobs/sha256");
        for blob in fs_err::read_dir(&blobs).unwrap() {
            let blob = blob.unwrap();
            let to = fixture.folder.join("both/blobs/sha256");
            fs_err::create_dir_all(&to).unwrap();
            fs_err::copy(blob.path(), to.join(blob.file_name())).unwrap();
        }
        let from = LayoutStore::open(fixture.folder.join(layout)).unwrap();
        let read = |digest: &Value| -> Value {
            let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
            serde_json::from_slice(&fs_err::read(blobs.join(hex)).unwrap()).unwrap()
        };
        let image = from.only().await.unwrap();
        let mut manifest = read(&Value::from(image.digest.to_string()));
        let mut config = read(&manifest["config"]["digest"]);
        if !variant.is_empty() {
            config["variant"] = Value::from(*variant);
        }
        let bytes = Bytes::from(config.to_string());
        let config = Descriptor::of(MediaType::IMAGE_CONFIG, &bytes);
        store
            .push_blob(&config, Upload::Bytes(bytes))
            .await
            .unwrap();
        manifest["config"] = json!(config);
        let bytes = Bytes::from(manifest.to_string());
        let manifest = Descriptor::of(MediaType::IMAGE_MANIFEST, &bytes);
        store.push_manifest(&manifest, bytes).await.unwrap();
        let mut member = json!(manifest);
        member["platform"] = json!({ "architecture": "amd64", "os": "linux" });
        if !variant.is_empty() {
            member["platform"]["variant"] = Value::from(*variant);
        }
        listed.push(member);
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": MediaType::IMAGE_INDEX, "manifests": listed,
    });
    let bytes = Bytes::from(index.to_string());
    let index = Descriptor::of(MediaType::IMAGE_INDEX, &bytes);
    store.push_manifest(&index, bytes).await.unwrap();
    let tag = "latest".parse().unwrap();
    store.tag(&index, &tag).await.unwrap();
}

#[tokio::test]
async fn each_platform_is_built_in_its_own_image() {
    let say = |word: &str| {
        BuilderImage::new().build(format!(
            "echo {word} ${{CNB_TARGET_ARCH_VARIANT:-}} > by-builder\n"
        ))
    };
    let Some(fixture) = Fixture::new(&say("first")).await else {
        return;
    };
    say("second").write(&fixture.folder.join("other")).await;
    both(&fixture, &[("builder", ""), ("other", "v2")]).await;
    let mut command = fixture.command_in("oci:both:latest", "out");
    command.args(["--platform", "linux/amd64,linux/amd64/v2"]);
    let Some((report, _)) = built(&mut command) else {
        return;
    };
    let images = report["images"].as_array().unwrap();
    for (image, (platform, content)) in images.iter().zip([
        ("linux/amd64", "first\n"),
        ("linux/amd64/v2", "second v2\n"),
    ]) {
        assert_eq!(image["platform"], platform);
        let name = format!("oci:out@{}", image["digest"].as_str().unwrap());
        let root = fixture.folder.join(platform.replace('/', "-"));
        let mut unpack = fixture.workspace.sealpack(["unpack", &name]);
        Output::of(unpack.arg(&root)).expect(0);
        let found = fs_err::read_to_string(root.join("workspace/by-builder")).unwrap();
        assert_eq!(found, content);
        let verify = [
            "verify",
            &name,
            "--key",
            "test.pub",
            "--claim",
            "provenance",
        ];
        Output::of(&mut fixture.workspace.sealpack(verify)).expect(0);
    }
}

#[tokio::test]
async fn programs_that_do_not_run_here_are_refused_before_anything_is_built() {
    let Some(fixture) = Fixture::new(&BuilderImage::new()).await else {
        return;
    };
    let arm64 = "linux/arm64".parse().unwrap();
    if platform::sandbox::runs_programs_for(&arm64) {
        skipped("this machine runs programs for linux/arm64");
        return;
    }
    let mut command = fixture.command("out");
    command.args(["--platform", "linux/amd64,linux/arm64"]);
    let output = Output::of(&mut command).expect(2);
    for expected in [
        "cannot build for linux/arm64 here",
        "qemu-user-static",
        "sealpack manifest",
    ] {
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
    assert!(!fixture.folder.join("out").exists());
    assert!(!fixture.folder.join(".cache").exists());
}
