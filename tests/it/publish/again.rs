//! What is built again: the newest proof by the same signer stands in the place of the one before, and
//! nothing else goes.

use std::time::Duration;

use serde_json::Value;
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{Output, Project};

use crate::build::json;

/// What is attached to `image`, by what is listed.
fn referrers(project: &Project, image: &str) -> usize {
    let tree = project.run(&["tree", image, "--output", "json"]).expect(0);
    let tree = json(&tree);
    let nodes = tree["nodes"].as_array().unwrap().iter();
    nodes.filter(|it| it["relation"] == "referrer").count()
}

/// Builds once the clock shows another second: claims of the same second are of the same time.
fn build_later(project: &Project, image: &str) -> Output {
    std::thread::sleep(Duration::from_millis(1010));
    project.build_with(image, &["--verbose"]).expect(0)
}

/// Everything that a stranger asks of what was built.
fn is_proven(project: &Project, image: &str) {
    for claim in ["signature", "provenance", "cyclonedx", "spdx", "vsa"] {
        let verify = ["verify", image, "--key", "test.pub", "--claim", claim];
        project.run(&verify).expect(0);
    }
    let check = ["policy", "check", image, "--policy", "policy"];
    let check = [&check[..], &["--key", "test.pub"]].concat();
    project.run(&check).expect(0);
}

#[test]
fn proof_by_the_same_signer_does_not_pile_up() {
    for no_referrers_api in [false, true] {
        let registry = TestRegistry::start(Switches {
            no_referrers_api,
            ..Switches::default()
        });
        let project = Project::typical();
        let image = format!("{}/team/app:v1", registry.host());
        project.build(&image).expect(0);
        assert_eq!(referrers(&project, &image), 5);
        build_later(&project, &image);
        assert_eq!(referrers(&project, &image), 5, "{no_referrers_api}");
        is_proven(&project, &image);

        // A verdict names what it was about: that of another tag says something else.
        let latest = format!("{}/team/app:latest", registry.host());
        build_later(&project, &latest);
        assert_eq!(referrers(&project, &image), 6);
        build_later(&project, &latest);
        assert_eq!(referrers(&project, &image), 6);
        is_proven(&project, &image);
    }
}

#[test]
fn an_archive_or_layout_has_it_once_too() {
    for image in ["oci:out/app:v1", "oci-archive:app.tar:v1"] {
        let project = Project::typical();
        project.build(image).expect(0);
        build_later(&project, image);
        assert_eq!(referrers(&project, image), 5, "{image}");
        is_proven(&project, image);
    }
}

#[test]
fn what_others_say_and_what_was_said_besides_stays() {
    let registry = TestRegistry::start(Switches::default());
    let project = Project::typical();
    let image = format!("{}/team/app:v1", registry.host());
    project.build(&image).expect(0);
    let provenance = |builder: &str| {
        format!(
            r#"{{"buildDefinition": {{"buildType": "https://x.example/y", "externalParameters": {{}}}},
            "runDetails": {{"builder": {{"id": "{builder}"}}, "metadata": {{"finishedOn": "2001-01-01T00:00:00Z"}}}}}}"#
        )
    };
    project.write("claim.json", provenance("https://other.example"));
    project.write("sbom.json", r#"{"bomFormat": "CycloneDX"}"#);
    project
        .run(&["key", "generate", "--output-key-prefix", "other"])
        .expect(0);
    for (key, kind, claim) in [
        ("other.key", "provenance", "claim.json"),
        ("test.key", "provenance", "claim.json"),
        ("test.key", "cyclonedx", "sbom.json"),
        ("test.key", "https://x.example/z", "claim.json"),
    ] {
        let attest = ["attest", &image, "--key", key, "--type", kind];
        let attest = [&attest[..], &["--predicate", claim]].concat();
        project.run(&attest).expect(0);
    }
    let marked = ["sign", &image, "--key", "test.key", "-a", "stage=prod"];
    project.run(&marked).expect(0);
    assert_eq!(referrers(&project, &image), 10);
    build_later(&project, &image);
    assert_eq!(referrers(&project, &image), 10);
    is_proven(&project, &image);
}

/// The provenances of `image`, by their manifests.
fn provenances(project: &Project, image: &str) -> Vec<String> {
    let tree = json(&project.run(&["tree", image, "--output", "json"]).expect(0));
    let nodes = tree["nodes"].as_array().unwrap().iter();
    let is_one = |it: &&Value| {
        let kind = it["predicateType"].as_str().unwrap_or_default();
        it["depth"] == 1 && kind.contains("slsa.dev/provenance")
    };
    let found = nodes
        .filter(is_one)
        .map(|it| it["digest"].as_str().unwrap().to_owned());
    found.collect()
}

/// The image comes out the same, and what went in does not.
#[test]
fn proof_of_another_build_stays() {
    let registry = TestRegistry::start(Switches::default());
    let project = Project::typical();
    let image = format!("{}/team/app:v1", registry.host());
    project.build(&image).expect(0);
    let first = provenances(&project, &image);
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(1010));
        project.build_with(&image, &["--env", "UNUSED=1"]).expect(0);
        let both = provenances(&project, &image);
        assert_eq!(both.len(), 2);
        assert!(both.contains(&first[0]));
    }
    is_proven(&project, &image);
}

#[test]
fn what_somebody_vouches_for_stays() {
    let registry = TestRegistry::start(Switches::default());
    let project = Project::typical();
    let image = format!("{}/team/app:v1", registry.host());
    project.build(&image).expect(0);
    let first = provenances(&project, &image);
    let target = format!("{}/team/app@{}", registry.host(), first[0]);
    project
        .run(&["sign", &target, "--key", "test.key"])
        .expect(0);
    build_later(&project, &image);
    assert!(provenances(&project, &image).contains(&first[0]));
    is_proven(&project, &image);
}

#[test]
fn a_registry_that_deletes_nothing_is_only_warned_of() {
    for status in [401, 403, 405] {
        let registry = TestRegistry::start(Switches {
            faults: vec![Fault::first(
                usize::MAX,
                "DELETE",
                FaultKind::Status(status, None),
            )],
            ..Switches::default()
        });
        let project = Project::typical();
        let image = format!("{}/team/app:v1", registry.host());
        project.build(&image).expect(0);
        let again = build_later(&project, &image);
        assert!(
            again.stderr.contains("2 claims of an earlier build"),
            "{again:?}"
        );
        let asked = registry.requests();
        let asked = asked
            .iter()
            .filter(|it| it.starts_with("DELETE") && it.contains("/manifests/"));
        assert_eq!(asked.count(), 1, "{status}");
        assert_eq!(referrers(&project, &image), 7);
        is_proven(&project, &image);
    }
}
