//! `sealpack rebase`: the same app on another run image, with proof anew, and hardly anything moved.

mod indexes;
mod places;
mod rebaser;
mod refused;

use std::path::Path;
use std::time::Duration;

use oci::{Image, Index, LayoutStore, Limits, Manifest, Platform, Selector, Store as _, Upload};
use serde_json::Value;
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{
    LayerFiles, Output, Podman, Project, Workspace, binary, docker_registry, olareg, peer,
    repository, skipped, write_image,
};

pub(crate) use self::indexes::{for_two, index};
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
