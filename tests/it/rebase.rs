//! `sealpack rebase`: the same app on another run image, with proof anew, and hardly anything moved.

use std::path::Path;
use std::time::Duration;

use oci::{Image, Index, LayoutStore, Limits, Manifest, Platform, Selector, Store as _, Upload};
use serde_json::Value;
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{
    LayerFiles, Output, Podman, Project, Workspace, binary, docker_registry, olareg, peer,
    repository, skipped, write_image,
};

use crate::build::json;
use crate::publish::runnable;
use crate::tracing::{decode, hangs_together};

/// A run image with one package, in this version, as the layout `folder`.
async fn run_image(project: &Project, folder: &str, version: &str) {
    let status = format!(
        "Package: libexample\nStatus: install ok installed\nVersion: {version}\nArchitecture: amd64\nMaintainer: A <a@example.test>\nDescription: x\n\n"
    );
    let base = LayerFiles::new()
        .folder("etc")
        .file("etc/os-release", "ID=debian\nVERSION_ID=12\n")
        .folder("tmp")
        .folder("var")
        .folder("var/lib")
        .folder("var/lib/dpkg")
        .file("var/lib/dpkg/status", status);
    let more = LayerFiles::new().file("etc/version", version);
    write_image(&project.join(folder), &[base, more]).await;
}

/// What a policy for run images asks for: that they are signed.
const SIGNED: &str = r#"
[[accept]]
claims = ["signature"]
signer = "given"

[[require]]
claim = "signature"

[rules]
use = ["signature"]
"#;

/// A registry with an app on version 1 of its run image, and version 2 of that.
struct World {
    project: Project,
    registry: TestRegistry,
}

impl World {
    async fn new() -> Self {
        let world = Self {
            project: Project::typical(),
            registry: TestRegistry::start(Switches::default()),
        };
        run_image(&world.project, "run-1", "1.0").await;
        run_image(&world.project, "run-2", "2.0").await;
        let project = &world.project;
        project.write("signed/policy.toml", SIGNED);
        let run = world.image("run:latest");
        project.run(&["copy", "oci:run-1", &run]).expect(0);
        let app = world.image("app:v1");
        project.build_with(&app, &["--run-image", &run]).expect(0);
        project.run(&["copy", "oci:run-2", &run]).expect(0);
        world
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.project.run(arguments)
    }

    fn inspect(&self, image: &str) -> Value {
        json(&self.run(&["inspect", image, "--output", "json"]).expect(0))
    }

    fn digest(&self, image: &str) -> String {
        self.inspect(image)["digest"].as_str().unwrap().to_owned()
    }

    /// The layers of an image, lowest first.
    fn layers(&self, image: &str) -> Vec<String> {
        let shown = self.inspect(image);
        let layers = shown["layers"].as_array().unwrap().iter();
        layers
            .map(|it| it["digest"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The verified statement of a kind.
    fn claim(&self, image: &str, claim: &str) -> Value {
        claim_of(&self.project, image, claim)
    }
}

/// A digest without its algorithm.
fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap()
}

fn claim_of(project: &Project, image: &str, claim: &str) -> Value {
    let verified = project.run(&[
        "verify", image, "--key", "test.pub", "--claim", claim, "--output", "json",
    ]);
    let verified = json(&verified.expect(0));
    verified["claims"][0]["statements"][0]["statement"]["predicate"].clone()
}

/// The components of a CycloneDX document, as `name version`.
fn components(document: &Value) -> Vec<String> {
    let text = |it: &Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
    let all = document["components"].as_array().unwrap().iter();
    all.map(|it| format!("{} {}", text(it, "name"), text(it, "version")))
        .collect()
}

#[tokio::test]
async fn no_layer_of_the_app_moves_and_all_proof_is_new() {
    let world = World::new().await;
    let (app, run) = (world.image("app:v1"), world.image("run:latest"));
    let old = world.digest(&app);
    let before = world.layers(&app);
    world.run(&["sign", &run, "--key", "test.key"]).expect(0);
    world.registry.take_requests();
    let output = world.run(&[
        "rebase",
        &app,
        "--key",
        "test.key",
        "--policy",
        "policy",
        "--run-image-policy",
        "signed",
        "--output",
        "json",
    ]);
    let report = json(&output.expect(0));
    let requests = world.registry.take_requests();
    for layer in &before {
        let moved: Vec<_> = requests
            .iter()
            .filter(|it| it.contains(hex(layer)))
            .collect();
        assert!(moved.is_empty(), "{moved:#?}");
    }
    // The tag is written once, when all else is there: image, four claims.
    let tag = requests
        .iter()
        .position(|it| it == "PUT /v2/app/manifests/v1");
    let written = requests[..tag.unwrap()]
        .iter()
        .filter(|it| it.starts_with("PUT /v2/app/manifests/sha256:"));
    assert_eq!(written.count(), 5, "{requests:#?}");

    assert_eq!(report["images"][0]["before"], old.as_str());
    assert_eq!(report["images"][0]["sbom"], "attached");
    let after = world.layers(&app);
    assert_eq!(after[2..], before[2..]);
    assert_eq!(after[..2], world.layers(&run)[..]);
    let check = [
        "policy", "check", &app, "--policy", "policy", "--key", "test.pub",
    ];
    world.run(&check).expect(0);
    world
        .run(&["verify", &app, "--key", "test.pub", "--claim", "vsa"])
        .expect(0);

    let sbom = components(&world.claim(&app, "cyclonedx"));
    for expected in ["libexample 2.0", "lib 1.2.3"] {
        assert!(
            sbom.iter().any(|it| it == expected),
            "{expected}: {sbom:#?}"
        );
    }
    assert!(!sbom.iter().any(|it| it == "libexample 1.0"), "{sbom:#?}");
    let provenance = world.claim(&app, "provenance");
    let definition = &provenance["buildDefinition"];
    assert_eq!(
        definition["buildType"],
        "https://sealpack.example/docs/buildtypes/cnb-rebase-v1.md"
    );
    let dependencies = definition["resolvedDependencies"].as_array().unwrap();
    let dependency = |name: &str| {
        let found = dependencies.iter().find(|it| it["name"] == name);
        found.map(|it| it["digest"]["sha256"].as_str().unwrap().to_owned())
    };
    assert_eq!(dependency("image before").unwrap(), hex(&old));
    assert!(dependency("source").is_some(), "{dependencies:#?}");
    assert!(dependency("run image before").is_some());
    let run_digest = world.digest(&run);
    assert!(
        dependencies
            .iter()
            .any(|it| it["digest"]["sha256"] == hex(&run_digest))
    );

    // What is attached to the image before stays with it.
    let old = world.image(&format!("app@{old}"));
    let provenance = world.claim(&old, "provenance");
    assert_eq!(
        provenance["buildDefinition"]["buildType"],
        "https://sealpack.example/docs/buildtypes/cnb-v1.md"
    );

    // Again, on the same: the same image; and what was found in the base is not read again.
    world.registry.take_requests();
    let again = ["rebase", &app, "--key", "test.key", "--output", "json"];
    let again = json(&world.run(&again).expect(0));
    assert_eq!(again["digest"], report["digest"]);
    let requests = world.registry.take_requests();
    let of_run = world.layers(&run);
    let read = requests
        .iter()
        .filter(|it| it.starts_with("GET") && of_run.iter().any(|layer| it.contains(hex(layer))));
    assert_eq!(read.count(), 0, "{requests:#?}");
}

/// The rebaser has no layers: it tells where the platform says that some are, else in the file that the
/// platform names for all, else nowhere.
#[tokio::test]
async fn the_rebaser_writes_what_it_did_where_the_platform_says() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";
    let world = World::new().await;
    let (app, run) = (world.image("app:v1"), world.image("run:latest"));
    let program = world.project.join("rebaser");
    std::os::unix::fs::symlink(binary("lifecycle"), &program).unwrap();
    fs_err::create_dir(world.project.join("layers")).unwrap();
    let layers = world.project.join("layers").display().to_string();
    let below = world.project.join("layers/tracing/lifecycle/rebase.jsonl");
    let alone = world.project.join("alone.jsonl");
    let rebase = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut rebaser = world.project.workspace().command(&program);
        rebaser
            .env("CNB_PLATFORM_API", "0.15")
            .env("CNB_OTEL_TRACEPARENT", format!("00-{TRACE}-{PARENT}-01"))
            .envs(variables.iter().copied())
            .args(["-run-image", &run, "-previous-image", &app])
            .args(["-report", "report.toml"])
            .args(flags)
            .arg(world.image("app:rebaser"));
        let said = Output::of(&mut rebaser).expect(0);
        assert!(!format!("{}{}", said.stdout, said.stderr).contains("trace"));
    };
    // Not asked for, or nowhere to tell it.
    rebase(&[("CNB_LAYERS_DIR", &layers)], &[]);
    rebase(&[], &["-telemetry"]);
    rebase(&[("CNB_TELEMETRY", "true")], &[]);
    assert!(!world.project.join("layers/tracing").exists() && !Path::new("/layers").exists());
    let file = alone.display().to_string();
    rebase(&[("CNB_OTEL_LOG_PATH", &file)], &[]);
    rebase(&[("CNB_LAYERS_DIR", &layers)], &["-telemetry"]);
    for path in [&alone, &below] {
        let text = fs_err::read_to_string(path).unwrap();
        let spans = decode(&text);
        hangs_together(&spans, Some(PARENT));
        for name in ["rebase", "save-image"] {
            let of_name = spans.iter().filter(|it| it.name == name).count();
            assert_eq!(of_name, 1, "{spans:#?}");
        }
        assert_eq!(spans[0].trace, TRACE);
        assert!(!text.contains(&world.registry.host()), "{text}");
    }
    rebase(
        &[("CNB_LAYERS_DIR", &layers), ("CNB_OTEL_LOG_PATH", &file)],
        &[],
    );
    let lines = |path| fs_err::read_to_string(path).unwrap().lines().count();
    assert_eq!(lines(&below), 2 * lines(&alone));
}

/// Upstream's rebaser is recorded in `tests/golden`; ours does what it does.
#[tokio::test]
async fn it_is_the_image_that_the_rebaser_makes() {
    let world = World::new().await;
    let (app, run) = (world.image("app:v1"), world.image("run:latest"));
    let rebaser = world.project.join("rebaser");
    std::os::unix::fs::symlink(binary("lifecycle"), &rebaser).unwrap();
    let theirs = world.image("app:rebaser");
    let mut rebaser = world.project.workspace().command(&rebaser);
    rebaser
        .env("CNB_PLATFORM_API", "0.15")
        .args(["-run-image", &run, "-previous-image", &app])
        .args(["-report", "report.toml", &theirs]);
    Output::of(&mut rebaser).expect(0);
    let ours = world.image("app:ours");
    let rebase = ["rebase", &app, "--run-image", &run, "--tag", &ours];
    world
        .run(&[&rebase[..], &["--key", "test.key"]].concat())
        .expect(0);
    assert_eq!(world.digest(&ours), world.digest(&theirs));
}

/// Asking for a layer costs little; moving one keeps a processor busy.
#[tokio::test]
async fn the_rebaser_moves_as_many_layers_at_once_as_there_are_processors() {
    let Some(taskset) = peer("taskset") else {
        return;
    };
    let world = World::new().await;
    let elsewhere = TestRegistry::start(Switches::default());
    let layers: Vec<_> = (0..5)
        .map(|it| LayerFiles::new().file(&format!("file-{it}"), it.to_string()))
        .collect();
    write_image(&world.project.join("many"), &layers).await;
    // Past the protocol: what matters is how many it is asked for at once by whom.
    let read = |path: &str| fs_err::read(world.project.join(path)).unwrap();
    let index: Value = serde_json::from_slice(&read("many/index.json")).unwrap();
    let entry = &index["manifests"][0];
    let manifest = hex(entry["digest"].as_str().unwrap());
    for blob in fs_err::read_dir(world.project.join("many/blobs/sha256")).unwrap() {
        let content = fs_err::read(blob.unwrap().path()).unwrap();
        elsewhere.put_blob("run", content);
    }
    let content = read(&format!("many/blobs/sha256/{manifest}"));
    let media_type = entry["mediaType"].as_str().unwrap();
    elsewhere.put_manifest("run", Some("latest"), media_type, content);
    let run = format!("{}/run", elsewhere.host());
    let program = world.project.join("rebaser");
    std::os::unix::fs::symlink(binary("lifecycle"), &program).unwrap();
    // Each is on its way for long.
    let slow = Fault::first(
        usize::MAX,
        "GET /v2/run/blobs/",
        FaultKind::Slow(Duration::from_millis(200)),
    );
    elsewhere.set(|it| it.faults = vec![slow]);
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let allowed = status
        .lines()
        .find_map(|it| it.strip_prefix("Cpus_allowed_list:"));
    let one: String = allowed
        .unwrap()
        .trim()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let mut rebaser = world.project.workspace().command(taskset);
    rebaser
        .args(["-c", &one])
        .arg(program)
        .env("CNB_PLATFORM_API", "0.15")
        .args([
            "-force",
            "-run-image",
            &run,
            "-previous-image",
            &world.image("app:v1"),
        ])
        .args(["-report", "report.toml", &world.image("app:moved")]);
    Output::of(&mut rebaser).expect(0);
    let requests = elsewhere.take_requests();
    let moved = requests
        .iter()
        .filter(|it| it.starts_with("GET /v2/run/blobs/"))
        .count();
    assert_eq!(moved, 1 + layers.len(), "{requests:#?}");
    assert_eq!(elsewhere.most_at_once(), 1);
}

#[tokio::test]
async fn what_a_policy_does_not_accept_is_not_rebased() {
    let world = World::new().await;
    let (app, run) = (world.image("app:v1"), world.image("run:latest"));
    let rebase = |more: &[&str]| {
        let all = ["rebase", &app, "--key", "test.key"];
        world.run(&[&all[..], more].concat())
    };
    let writes = || {
        let all = world.registry.take_requests().into_iter();
        all.filter(|it| !it.starts_with("GET") && !it.starts_with("HEAD"))
            .collect::<Vec<_>>()
    };
    writes();
    // The run image is not signed.
    let judged = ["--policy", "policy", "--run-image-policy", "signed"];
    let output = rebase(&judged).expect(1);
    assert!(
        output.stderr.contains(&world.image("run@")),
        "{}",
        output.stderr
    );
    // Nor is an image that nobody proves.
    world.run(&["sign", &run, "--key", "test.key"]).expect(0);
    let bare = world.image("bare:v1");
    let build = ["build", "app", "--builder", "builder.toml", "--unsigned"];
    let build = [&build[..], &["--run-image", &run, "--tag", &bare]].concat();
    world.run(&build).expect(0);
    writes();
    let all = ["rebase", &bare, "--key", "test.key"];
    world.run(&[&all[..], &judged].concat()).expect(1);
    assert_eq!(writes(), [] as [&str; 0]);
    // Without a policy it is rebased, but its source is not made up.
    world.run(&all).expect(0);
    let provenance = world.claim(&bare, "provenance");
    let dependencies = provenance["buildDefinition"]["resolvedDependencies"].to_string();
    assert!(
        !dependencies.contains(r#""name":"source""#),
        "{dependencies}"
    );
    let check = [
        "policy", "check", &bare, "--policy", "policy", "--key", "test.pub",
    ];
    world.run(&check).expect(1);
}

#[tokio::test]
async fn an_image_goes_where_it_is_told_and_stays_where_it_was() {
    let world = World::new().await;
    let app = world.image("app:v1");
    let old = world.digest(&app);
    let report = world.project.join("report.toml");
    let tags = [
        "--tag",
        &world.image("app:v2"),
        "--tag",
        "oci:out:v2",
        "--tag",
        "oci-archive:out.tar:v2",
    ];
    let all = [
        "rebase",
        &app,
        "--key",
        "test.key",
        "--report",
        "report.toml",
    ];
    world.run(&[&all[..], &tags].concat()).expect(0);
    assert_eq!(world.digest(&app), old);
    let new = world.digest(&world.image("app:v2"));
    assert_ne!(new, old);
    for image in ["oci:out:v2", "oci-archive:out.tar:v2"] {
        assert_eq!(world.digest(image), new);
        for claim in ["signature", "provenance", "cyclonedx", "spdx"] {
            world
                .run(&["verify", image, "--key", "test.pub", "--claim", claim])
                .expect(0);
        }
    }
    let report = fs_err::read_to_string(report).unwrap();
    assert!(report.contains(&format!("digest = \"{new}\"")), "{report}");
    // Out of a layout, and on a run image in one.
    let on = ["--run-image", "oci:run-1", "--tag", "oci:back:v1"];
    let all = ["rebase", "oci:out:v2", "--key", "test.key", "--offline"];
    world.run(&[&all[..], &on].concat()).expect(0);
    assert_eq!(
        world.layers("oci:back:v1"),
        world.layers(&world.image(&format!("app@{old}")))
    );
}

#[tokio::test]
async fn another_image_than_the_one_that_is_written_may_be_rebased() {
    let world = World::new().await;
    let (app, to) = (world.image("app:v1"), world.image("app:next"));
    let old = world.digest(&app);
    let from = ["--previous-image", &app, "--key", "test.key"];
    world.run(&[&["rebase", &to][..], &from].concat()).expect(0);
    assert_eq!(world.digest(&app), old);
    let new = world.digest(&to);
    assert_ne!(new, old);
    // The same as if it had been rebased under its own name.
    world.run(&["rebase", &app, "--key", "test.key"]).expect(0);
    assert_eq!(world.digest(&app), new);
    world
        .run(&["verify", &to, "--key", "test.pub", "--claim", "provenance"])
        .expect(0);
}

#[tokio::test]
async fn what_cannot_be_rebased_says_why() {
    let world = World::new().await;
    let (app, run) = (world.image("app:v1"), world.image("run:latest"));
    let other = world.image("other:latest");
    world.run(&["copy", "oci:run-2", &other]).expect(0);
    let old = world.digest(&app);
    let rebase = |image: &str, more: &[&str]| {
        let all = ["rebase", image, "--key", "test.key"];
        world.run(&[&all[..], more].concat())
    };
    let say = |output: Output, part: &str| {
        let output = output.expect(2);
        assert!(output.stderr.contains(part), "{part}\n{}", output.stderr);
    };
    say(rebase(&app, &["--run-image", &other]), "`--force`");
    rebase(
        &app,
        &["--run-image", &other, "--force", "--tag", "oci:forced:v1"],
    )
    .expect(0);
    say(rebase(&run, &[]), "no lifecycle made it");
    say(
        rebase(&app, &["--run-image", &app]),
        "cannot be its own run image",
    );
    say(
        rebase(&world.image(&format!("app@{old}")), &[]),
        "names a digest",
    );
    say(rebase(&app, &["--run-image", &world.image("none")]), "none");
    say(
        rebase(&app, &["--tag", "docker-daemon:app:v1"]),
        "cannot keep",
    );
    // Another tag of the same run image is no other run image.
    let tagged = world.image("run:2");
    world.run(&["copy", "oci:run-2", &tagged]).expect(0);
    rebase(&app, &["--run-image", &tagged, "--tag", "oci:tagged:v1"]).expect(0);
    let output = rebase(&app, &["--no-base-packages", "--tag", "oci:bare:v1"]).expect(0);
    let sbom = components(&world.claim("oci:bare:v1", "cyclonedx"));
    assert!(
        !sbom.iter().any(|it| it.starts_with("libexample")),
        "{sbom:#?}\n{}",
        output.stderr
    );
    assert_eq!(world.digest(&app), old);
}

#[tokio::test]
async fn cosign_verifies_it_in_real_registries() {
    let project = Project::typical();
    let folder = project.workspace().path().to_owned();
    run_image(&project, "run-1", "1.0").await;
    run_image(&project, "run-2", "2.0").await;
    for registry in [docker_registry(&folder), olareg(&folder)]
        .into_iter()
        .flatten()
    {
        let (app, run) = (
            format!("{}/team/app:v1", registry.host()),
            format!("{}/team/run:latest", registry.host()),
        );
        project.run(&["copy", "oci:run-1", &run]).expect(0);
        project.build_with(&app, &["--run-image", &run]).expect(0);
        project.run(&["copy", "oci:run-2", &run]).expect(0);
        let rebased = ["rebase", &app, "--key", "test.key", "--output", "json"];
        let report = json(&project.run(&rebased).expect(0));
        let image = report["image"].as_str().unwrap();
        for arguments in [
            &["verify"][..],
            &["verify-attestation", "--type", "slsaprovenance1"],
            &["verify-attestation", "--type", "cyclonedx"],
            &["verify-attestation", "--type", "spdxjson"],
        ] {
            let Some(cosign) = peer("cosign") else { break };
            let mut cosign = project.workspace().command(cosign);
            cosign
                .args(arguments)
                .args(["--key", "test.pub", "--insecure-ignore-tlog"])
                .args(["--allow-http-registry", image]);
            Output::of(&mut cosign).expect(0);
        }
    }
}

#[tokio::test]
async fn what_was_rebased_starts() {
    let Some(project) = runnable() else { return };
    let Some(podman) = Podman::new(&project.join("podman")) else {
        return;
    };
    run_image(&project, "run-1", "1.0").await;
    run_image(&project, "run-2", "2.0").await;
    project
        .build_with("oci:podman/out:v1", &["--run-image", "oci:run-1"])
        .expect(0);
    let on = ["--run-image", "oci:run-2", "--key", "test.key"];
    project
        .run(&[&["rebase", "oci:podman/out:v1"][..], &on].concat())
        .expect(0);
    // Its run image has no name that means anything elsewhere, now as before.
    let again = project.run(&["rebase", "oci:podman/out:v1", "--key", "test.key"]);
    let said = again.expect(2).stderr;
    assert!(said.contains("was in no registry"), "{said}");
    let output = podman.run(&["run", "--rm", "--quiet", "oci:out:v1"]);
    if output.code != 0 && !output.stderr.contains("/cnb/") {
        eprintln!("SKIPPED: podman does not work here: {}", output.stderr);
        return;
    }
    assert_eq!(output.expect(0).stdout, "hello, world\n");
}

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

#[test]
fn the_example_does_it_in_a_layout() {
    let workspace = Workspace::new();
    let Some(rustc) = peer("rustc") else { return };
    let toolchain = Output::of(workspace.command(rustc).args(["--print", "sysroot"]));
    if toolchain.code != 0 {
        skipped(&format!("rustc does not work here: {}", toolchain.stderr));
        return;
    }
    let ours = binary("sealpack");
    let ours = ours.parent().unwrap().display();
    let path = format!("{ours}:{}/bin:/usr/bin:/bin", toolchain.stdout.trim());
    let mut example = workspace.command(repository().join("examples/rebase/run"));
    let said = Output::of(example.env("PATH", path)).expect(0);
    for part in ["7 layers kept, 1 left", "accepted oci:", "verified oci:"] {
        assert!(said.transcript(&[]).contains(part), "{part}\n{said:#?}");
    }
    assert!(workspace.join("out/rebase/report.toml").is_file());
}
