//! Layers that other images have: what a build does not fetch, and what it does not leave out.

use std::collections::BTreeSet;

use bytes::Bytes;
use insta::assert_snapshot;
use oci::{Descriptor, LayoutStore, MediaType, Store, Upload};
use serde_json::json;
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{Output, Project};

use crate::build::json as printed;

/// An image to run on, at `name`; the digest of its only large layer.
fn run_image(project: &Project, name: &str) -> String {
    project.write("app/large", vec![b'x'; 100_000]);
    let built = ["--unsigned", "--no-cache", "--tag", "oci:base:v1"];
    Output::of(
        project
            .sealpack(["build", "app", "--builder", "builder.toml"])
            .args(built),
    )
    .expect(0);
    project.run(&["copy", "oci:base:v1", name]).expect(0);
    fs_err::remove_file(project.join("app/large")).unwrap();
    layers(project, "oci:base:v1").remove(0)
}

/// The digests of the layers of an image.
fn layers(project: &Project, image: &str) -> Vec<String> {
    let shown = printed(
        &project
            .run(&["inspect", image, "--output", "json"])
            .expect(0),
    );
    let layers = shown["layers"].as_array().unwrap().iter();
    layers
        .map(|it| it["digest"].as_str().unwrap().to_owned())
        .collect()
}

/// What was fetched of `layers` since it was asked last.
fn fetched(registry: &TestRegistry, layers: &[String]) -> Vec<String> {
    let requests = registry.take_requests().into_iter();
    let is_layer = |it: &String| layers.iter().any(|layer| it.contains(layer.as_str()));
    requests
        .filter(|it| it.starts_with("GET") && is_layer(it))
        .collect()
}

/// How many of the app's own layers the run image has, too: it is made of the same app, and a layer is
/// looked into for each of the two.
fn twice(project: &Project, app: &str, of_run: &[String]) -> usize {
    let own = layers(project, app).into_iter().skip(of_run.len());
    own.filter(|it| of_run.contains(it)).count()
}

/// Reads an image to its last byte.
fn read_all(project: &Project, image: &str) {
    let to = format!("oci:read-{}", layers(project, image).len());
    project.run(&["copy", image, &to, "--referrers"]).expect(0);
}

#[test]
fn within_a_registry_no_layer_of_the_run_image_moves() {
    let project = Project::typical();
    let registry = TestRegistry::start(Switches::default());
    let (run, app) = (
        format!("{}/run:v1", registry.host()),
        format!("{}/app:v1", registry.host()),
    );
    run_image(&project, &run);
    let of_run = layers(&project, &run);
    registry.take_requests();
    let build = || project.build_with(&app, &["--run-image", &run]).expect(0);
    build();
    let requests = registry.requests();
    let mounted = |layer: &String| {
        let layer = layer.replace(':', "%3A");
        let mount = format!("mount={layer}&from=run");
        requests.iter().filter(|it| it.contains(&mount)).count()
    };
    for layer in &of_run {
        assert_eq!(mounted(layer), 1, "{requests:#?}");
    }
    // But each is looked into, once: the SBOM says what is in it.
    let looked_into = fetched(&registry, &of_run).len();
    assert_eq!(looked_into, of_run.len() + twice(&project, &app, &of_run));

    // Nor of the image before, if it is used again.
    let all = layers(&project, &app);
    registry.take_requests();
    project.write("app/more.txt", "more");
    let output = build();
    assert!(!output.stderr.contains(" 0 reused"), "{}", output.stderr);
    let requests = registry.requests();
    for twice in [
        "HEAD /v2/app/manifests/v1",
        "GET /v2/app/manifests/",
        "GET /v2/run/",
    ] {
        let asked: Vec<_> = requests.iter().filter(|it| it.starts_with(twice)).collect();
        let once: BTreeSet<_> = asked.iter().collect();
        assert_eq!(asked.len(), once.len(), "{requests:#?}");
    }
    // But for its SBOM, which is read.
    let fetched = fetched(&registry, &all);
    assert_eq!(fetched.len(), 1, "{fetched:?}");
    read_all(&project, &app);
}

#[test]
fn elsewhere_a_layer_goes_straight_to_where_it_is_missing() {
    let project = Project::typical();
    let (from, to) = (
        TestRegistry::start(Switches::default()),
        TestRegistry::start(Switches::default()),
    );
    let run = format!("{}/run:v1", from.host());
    run_image(&project, &run);
    let of_run = layers(&project, &run);
    from.take_requests();
    let app = format!("{}/app:v1", to.host());
    let build = |output: &str| project.build_with(output, &["--run-image", &run]).expect(0);
    build(&app);
    // Once on its way, and once to look into it.
    let moved = fetched(&from, &of_run).len();
    assert_eq!(moved, 2 * of_run.len() + twice(&project, &app, &of_run));
    read_all(&project, &app);
    // Where it is, there it stays.
    build(&app);
    assert_eq!(fetched(&from, &of_run), [] as [&str; 0]);
    // A layout, an archive.
    for output in ["oci:out:v1", "oci-archive:out.tar:v1"] {
        build(output);
        assert_eq!(fetched(&from, &of_run).len(), of_run.len());
        read_all(&project, output);
    }
}

#[test]
fn what_is_kept_is_whole_or_says_what_it_lacks() {
    let project = Project::typical();
    let registry = TestRegistry::start(Switches::default());
    let run = format!("{}/run:v1", registry.host());
    let large = run_image(&project, &run);
    let policy = project.join("policy/policy.toml");
    let text = fs_err::read_to_string(&policy).unwrap();
    fs_err::write(&policy, text + "\n[[require]]\nclaim = \"vuln\"\n\n[[accept]]\nclaims = [\"vuln\"]\nsigner = \"given\"\n").unwrap();
    let build = |staging: &str| {
        let arguments = ["--run-image", &run, "--staging", staging];
        project.build_with("oci:out:v1", &arguments)
    };
    let output = build("kept");
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(!output.stderr.contains("lacks"), "{}", output.stderr);
    read_all(&project, "oci:kept");

    registry.set(|it| {
        let on = format!("GET /v2/run/blobs/{large}").leak();
        it.faults = vec![Fault::first(99, on, FaultKind::Status(403, None))];
    });
    let output = build("lacking");
    assert_eq!(output.code, 1, "{}", output.stderr);
    let note = "note: `oci:[folder]/lacking` lacks layers that other images have: ";
    let note = note.replace("[folder]", project.workspace().path().to_str().unwrap());
    assert!(output.stderr.contains(&note), "{}", output.stderr);
}

/// An image for this machine type, of no layers; or, with more diff IDs than that, a broken one.
pub(crate) async fn push_image(
    store: &dyn Store,
    architecture: &str,
    diff_ids: &[&str],
) -> Descriptor {
    let config = json!({
        "architecture": architecture, "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let content = Bytes::from(config.to_string());
    let config = Descriptor::of(MediaType::IMAGE_CONFIG, &content);
    let upload = Upload::Bytes(content);
    store.push_blob(&config, upload).await.unwrap();
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [] });
    let manifest = Bytes::from(manifest.to_string());
    let image = Descriptor::of(MediaType::IMAGE_MANIFEST, &manifest);
    store.push_manifest(&image, manifest).await.unwrap();
    store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
    image
}

#[tokio::test]
async fn images_to_begin_with_have_to_be_good() {
    let project = Project::typical();
    let other = LayoutStore::create(project.join("other")).unwrap();
    push_image(&other, "s390x", &[]).await;
    let broken = LayoutStore::create(project.join("broken")).unwrap();
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"none").digest;
    push_image(&broken, "amd64", &[layer.as_str()]).await;
    let say = |output: Output| project.transcript(&output);
    let mut said = String::new();
    for (run, output) in [
        ("oci:other:v1", "oci:out:v1"),
        ("oci:broken:v1", "oci:out:v1"),
        ("static", "oci:broken:v1"),
    ] {
        said += &say(project.build_with(output, &["--run-image", run]));
        said += "\n";
    }
    assert_snapshot!(said, @r"
exit: 2
--- stdout
--- stderr
error: the run image `oci:other:v1` is for linux/s390x, not for linux/amd64
exit: 2
--- stdout
--- stderr
error: failed to fetch the run image `oci:broken:v1`
  cause: image sha256:[digest] has 0 layers, but 1 diff IDs
exit: 2
--- stdout
--- stderr
error: failed to read the image before, `oci:broken:v1`
  cause: image sha256:[digest] has 0 layers, but 1 diff IDs
hint: `--no-cache` builds without it
");
    project
        .build_with("oci:broken:v1", &["--no-cache"])
        .expect(0);
}
