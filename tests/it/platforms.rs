//! `sealpack build --platform`: an image for each platform, and one index of them, all proven.

use oci::{Descriptor, Image, LayoutStore, Limits, Platform, Store as _};
use serde_json::Value;
use testkit::{
    FakeBuildpack, LayerFiles, Output, Project, binary, copy_binary, docker_registry, olareg, peer,
    repository, write_image,
};

use crate::build::json;
use crate::rebase::{for_two, index};

/// A project whose buildpack writes down what it was told to build for; a run image for amd64 and arm64,
/// `oci:run:both`; and a folder with our programs, and a launcher for arm64 beside them.
async fn two() -> Project {
    let project = Project::new(&[FakeBuildpack::new("test/target").build(
        "mkdir -p \"$CNB_LAYERS_DIR/told\"\n\
         echo \"$CNB_TARGET_OS/$CNB_TARGET_ARCH\" > \"$CNB_LAYERS_DIR/told/target\"\n\
         printf '[types]\\nlaunch = true\\n' > \"$CNB_LAYERS_DIR/told.toml\"",
    )]);
    let base = LayerFiles::new()
        .folder("etc")
        .file("etc/os-release", "ID=debian\nVERSION_ID=12\n")
        .folder("tmp");
    write_image(&project.join("run"), &[base]).await;
    let store = LayoutStore::open(project.join("run")).unwrap();
    let only = store.only().await.unwrap();
    store.tag(&only, &"v1".parse().unwrap()).await.unwrap();
    for_two(&project.join("run")).await;
    for name in ["lifecycle", "launcher"] {
        fs_err::create_dir_all(project.join("programs/linux-arm64")).unwrap();
        copy_binary(name, project.join("programs").join(name));
    }
    // Nobody starts it here, so it need only say that it is for that machine.
    let mut launcher = fs_err::read(binary("launcher")).unwrap();
    launcher[18] = 183;
    project.write("programs/linux-arm64/launcher", launcher);
    project
}

const BOTH: [&str; 6] = [
    "--platform",
    "linux/amd64,linux/arm64",
    "--run-image",
    "oci:run:both",
    "--lifecycle",
    "programs",
];

fn digests(report: &Value) -> Vec<String> {
    let images = report["images"].as_array().unwrap().iter();
    images
        .chain([report])
        .map(|it| it["digest"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn each_is_built_and_proven_and_so_is_the_index() {
    let project = two().await;
    let build = |to: &str| {
        let all = [&BOTH[..], &["--output", "json"]].concat();
        json(&project.build_with(to, &all).expect(0))
    };
    let report = build("oci:out:v1");
    assert_eq!(report["verdict"]["accepted"], true, "{report:#}");
    for digest in digests(&report) {
        let image = format!("oci:out@{digest}");
        for claim in ["signature", "provenance", "cyclonedx", "spdx"] {
            let verify = ["verify", &image, "--key", "test.pub", "--claim", claim];
            project.run(&verify).expect(0);
        }
        let check = ["policy", "check", &image, "--policy", "policy"];
        let check = [&check[..], &["--key", "test.pub"]].concat();
        project.run(&check).expect(0);
    }
    let members = index(&project.join("out"), "v1").await.manifests;
    let store = LayoutStore::open(project.join("out")).unwrap();
    for (member, architecture) in members.iter().zip(["amd64", "arm64"]) {
        let platform = member.platform.clone().unwrap();
        assert_eq!(platform.architecture, architecture);
        let image = read(&store, member).await;
        assert_eq!(image.config().platform(), platform);
        // The buildpack was told, and each has a layer of its own.
        let folder = format!("root-{architecture}");
        let which = format!("oci:out@{}", member.digest);
        project.run(&["unpack", &which, &folder]).expect(0);
        let told = project.join(folder).join("layers/test_target/told/target");
        assert_eq!(
            fs_err::read_to_string(told).unwrap(),
            format!("linux/{architecture}\n")
        );
    }
    // Again, with what is there: the same.
    assert_eq!(build("oci:out:v1")["digest"], report["digest"]);
    // Copied whole.
    let copy = ["copy", "oci:out:v1", "oci:copy:v1", "--referrers"];
    project.run(&copy).expect(0);
    for digest in digests(&report) {
        let image = format!("oci:copy@{digest}");
        let verify = ["verify", &image, "--key", "test.pub", "--claim"];
        let verify = [&verify[..], &["provenance"]].concat();
        project.run(&verify).expect(0);
    }
}

async fn read(store: &LayoutStore, image: &Descriptor) -> Image {
    Image::read(store, image, &Platform::host(), &Limits::default())
        .await
        .unwrap()
}

#[tokio::test]
async fn others_take_what_a_registry_has_then() {
    let project = two().await;
    let folder = project.workspace().path().to_owned();
    for registry in [docker_registry(&folder), olareg(&folder)]
        .into_iter()
        .flatten()
    {
        let app = format!("{}/team/app:v1", registry.host());
        let all = [&BOTH[..], &["--output", "json"]].concat();
        let report = json(&project.build_with(&app, &all).expect(0));
        for (digest, platform) in
            digests(&report)
                .iter()
                .zip([Some("linux/amd64"), Some("linux/arm64"), None])
        {
            let image = format!("{}/team/app@{digest}", registry.host());
            if let Some(cosign) = peer("cosign") {
                let mut cosign = project.workspace().command(cosign);
                cosign
                    .args(["verify", "--key", "test.pub", "--insecure-ignore-tlog"])
                    .args(["--allow-http-registry", &image]);
                Output::of(&mut cosign).expect(0);
            }
            if let (Some(crane), Some(platform)) = (peer("crane"), platform) {
                let mut crane = project.workspace().command(crane);
                crane.args(["digest", "--insecure", "--platform", platform, &app]);
                assert_eq!(Output::of(&mut crane).expect(0).stdout.trim(), digest);
            }
        }
    }
}

#[tokio::test]
async fn what_a_platform_lacks_is_said_before_anything_is_built() {
    let project = two().await;
    let say = |arguments: &[&str], part: &str| {
        let output = project.build_with("oci:out:v1", arguments).expect(2);
        assert!(output.stderr.contains(part), "{part}\n{}", output.stderr);
        assert!(!output.stderr.contains("detect"), "{}", output.stderr);
        assert!(!project.join("out").exists());
    };
    let run = ["--run-image", "oci:run:both", "--lifecycle", "programs"];
    let with = |platforms: &'static str| [&["--platform", platforms], &run[..]].concat();
    say(&with("linux/amd64,linux/s390x"), "linux-s390x/launcher");
    say(&with("linux/arm64,linux/arm64"), "twice");
    say(&with("windows/amd64"), "run on Linux");
    say(&with("linux"), "is not a platform");
    let mut one = BOTH;
    one[3] = "oci:run:v1";
    say(&one, "cannot be used for linux/arm64");
    let launcher = project.join("programs/launcher");
    fs_err::copy(launcher, project.join("programs/linux-arm64/launcher")).unwrap();
    say(&BOTH, "is not a program for linux/arm64");
}

#[tokio::test]
async fn the_example_builds_for_two_machine_types() {
    let project = two().await;
    let ours = binary("sealpack");
    let path = format!("{}:/usr/bin:/bin", ours.parent().unwrap().display());
    let example = repository().join("examples/platforms/build");
    let mut command = project.workspace().command(example);
    command.arg(project.join("programs")).env("PATH", path);
    let said = Output::of(&mut command).expect(0);
    assert_eq!(said.stdout.matches("verified oci:").count(), 9, "{said:#?}");
    for platform in ["linux/amd64", "linux/arm64"] {
        let line = format!("\nbuilt for {platform}\n");
        assert!(said.stdout.contains(&line), "{said:#?}");
    }
}
