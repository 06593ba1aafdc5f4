//! `sealpack build --platform` in builder images: each platform in its own image of the index.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use bytes::Bytes;
use oci::{Descriptor, LayoutStore, MediaType, Store as _, Upload};
use serde_json::{Value, json};
use testkit::{BuilderImage, Output, peer, skipped};

use super::{Fixture, NOBODY, built, is_root};

/// Puts the builder images of these layouts into the index `oci:both:latest`, for these architectures and
/// variants.
async fn both(fixture: &Fixture, members: &[(&str, &str, &str)]) {
    let store = LayoutStore::create(fixture.folder.join("both")).unwrap();
    let mut listed = Vec::new();
    for (layout, architecture, variant) in members {
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
        config["architecture"] = Value::from(*architecture);
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
        member["platform"] = json!({ "architecture": architecture, "os": "linux" });
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
    both(
        &fixture,
        &[("builder", "amd64", ""), ("other", "amd64", "v2")],
    )
    .await;
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
    let usual = platform::sandbox::Interpreter::find(&arm64, []);
    if usual.is_some() || platform::sandbox::runs_programs_for(&arm64) {
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

/// Detecting says which machine it sees, and building leaves that, and its own, in the app and in a layer.
fn telling() -> BuilderImage {
    BuilderImage::new()
        .detect(
            "printf '[[provides]]\\nname = \"x\"\\n[[requires]]\\nname = \"x\"\\n\
             [requires.metadata]\\non = \"%s\"\\n' \"$(uname -m)\" > \"$CNB_BUILD_PLAN_PATH\"",
        )
        .build(
            "uname -m > machine\ngrep on \"$CNB_BP_PLAN_PATH\" > detected\nmkdir \"$CNB_LAYERS_DIR/told\"\n\
             /bin/sh -c 'echo \"$0 $(uname -m) $CNB_TARGET_ARCH\"' a-name > \"$CNB_LAYERS_DIR/told/line\"\n\
             printf '[types]\\nlaunch = true\\n' > \"$CNB_LAYERS_DIR/told.toml\"",
        )
}

#[tokio::test]
async fn another_machine_s_programs_run_by_an_interpreter_that_the_build_registers_for_itself() {
    let (Some(busybox), Some(qemu)) = (peer("busybox-arm64"), peer("qemu-aarch64-static")) else {
        return;
    };
    let Some(fixture) = Fixture::new(&telling()).await else {
        return;
    };
    let other = telling().of_arm64(busybox);
    other.write(&fixture.folder.join("other")).await;
    both(
        &fixture,
        &[("builder", "amd64", ""), ("other", "arm64", "")],
    )
    .await;
    let programs = fixture.folder.join("programs");
    fs_err::create_dir(&programs).unwrap();
    fs_err::copy(qemu, programs.join("qemu-aarch64-static")).unwrap();
    let build = |output: &str, user: Option<u32>| {
        let mut command = fixture.command_in("oci:both:latest", output);
        command
            .env("PATH", format!("/usr/bin:{}", programs.display()))
            .args(["--platform", "linux/amd64,linux/arm64"]);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let output = Output::of(&mut command);
        if output.stderr.contains("a build may not use `") {
            skipped(&output.stderr);
            return None;
        }
        Some(output.expect(0))
    };
    let Some(output) = build("out", None) else {
        return;
    };
    // What Debian's package has registered for the whole machine would do as well.
    let arm64 = "linux/arm64".parse().unwrap();
    let by_itself = !platform::sandbox::runs_programs_for(&arm64);
    let report = crate::build::json(&output);
    let images = report["images"].as_array().unwrap();
    for (image, (platform, machine)) in images
        .iter()
        .zip([("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")])
    {
        assert_eq!(image["platform"], platform);
        let name = format!("oci:out@{}", image["digest"].as_str().unwrap());
        let root = fixture.folder.join(machine);
        let mut unpack = fixture.workspace.sealpack(["unpack", &name]);
        Output::of(unpack.arg(&root)).expect(0);
        let read = |path: &str| fs_err::read_to_string(root.join(path)).unwrap();
        assert_eq!(read("workspace/machine"), format!("{machine}\n"));
        let detected = format!("on = \"{machine}\"");
        assert!(read("workspace/detected").contains(&detected), "{machine}");
        let architecture = platform.trim_start_matches("linux/");
        assert_eq!(
            read("layers/test_inside/told/line"),
            format!("a-name {machine} {architecture}\n")
        );
        let verify = [
            "verify",
            &name,
            "--key",
            "test.pub",
            "--claim",
            "provenance",
        ];
        let verify = [&verify[..], &["--output", "json"]].concat();
        let provenance = Output::of(&mut fixture.workspace.sealpack(verify)).expect(0);
        assert_eq!(
            provenance.stdout.contains("qemu-aarch64-static"),
            by_itself && architecture == "arm64",
            "{}",
            provenance.stdout
        );
    }
    // Nobody else runs by it.
    let listed = fs_err::read_dir("/proc/sys/fs/binfmt_misc")
        .into_iter()
        .flatten();
    let mut names = listed.map(|it| it.unwrap().file_name());
    assert!(!names.any(|it| it == "sealpack"));
    assert!(!output.stderr.contains("register"), "{}", output.stderr);

    if is_root() {
        fs_err::remove_dir_all(fixture.folder.join(".cache")).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(&fixture.folder, mode).unwrap();
        fixture.give_to(NOBODY);
        if let Some(output) = build("by-nobody", Some(NOBODY)) {
            assert_eq!(crate::build::json(&output)["digest"], report["digest"]);
        }
    }
}
