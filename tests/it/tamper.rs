//! What was changed after it was made is noticed, and what is missing or forged turns the verdict.

use std::path::{Path, PathBuf};

use oci::Digest;
use serde_json::Value;
use testkit::{Output, Project, repository};

use crate::build::json;

/// A typical image in the layout `staged`, and its name there.
fn staged() -> (Project, String) {
    let project = Project::typical();
    let built = project
        .build_with("oci:out:v1", &["--staging", "staged", "--output", "json"])
        .expect(0);
    let digest = json(&built)["digest"].as_str().unwrap().to_owned();
    (project, format!("oci:staged@{digest}"))
}

fn check(project: &Project, image: &str) -> Output {
    project.run(&[
        "policy", "check", image, "--policy", "policy", "--key", "test.pub",
    ])
}

fn blobs(layout: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs_err::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    all.sort();
    all
}

fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// The manifest digests of what is attached to an image, by kind of claim.
fn attached(project: &Project, image: &str) -> Vec<(String, String)> {
    let tree = json(&project.run(&["tree", image, "--output", "json"]).expect(0));
    tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["relation"] == "referrer")
        .map(|it| {
            let text = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
            (text("predicateType"), text("digest"))
        })
        .collect()
}

fn find(project: &Project, image: &str, claim: &str) -> String {
    let all = attached(project, image);
    let found = all.iter().find(|(kind, _)| kind.contains(claim));
    found
        .unwrap_or_else(|| panic!("no {claim} in {all:?}"))
        .1
        .clone()
}

/// Takes a manifest out of a layout.
fn remove(layout: &Path, digest: &str) {
    fs_err::remove_file(blob(layout, digest)).unwrap();
    let path = layout.join("index.json");
    let mut index = read(&path);
    let manifests = index["manifests"].as_array_mut().unwrap();
    let before = manifests.len();
    manifests.retain(|it| it["digest"] != digest);
    assert_eq!(manifests.len() + 1, before);
    fs_err::write(path, index.to_string()).unwrap();
}

/// Puts a manifest into a layout.
fn add(layout: &Path, manifest: &Value) {
    let bytes = manifest.to_string().into_bytes();
    let digest = Digest::of(&bytes).to_string();
    let path = layout.join("index.json");
    let mut index = read(&path);
    index["manifests"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({
            "mediaType": manifest["mediaType"],
            "digest": digest,
            "size": bytes.len(),
            "artifactType": manifest["artifactType"],
        }));
    fs_err::write(blob(layout, &digest), bytes).unwrap();
    fs_err::write(path, index.to_string()).unwrap();
}

#[test]
fn a_flipped_bit_in_any_blob_is_noticed() {
    let (project, image) = staged();
    check(&project, &image).expect(0);
    let layout = project.join("staged");
    // Beside the image there are manifest and config of its run image, which go nowhere.
    project
        .run(&["copy", &image, "oci:whole:v1", "--referrers"])
        .expect(0);
    let staged = blobs(&layout);
    let is_copied = |it: &PathBuf| {
        project
            .join("whole/blobs/sha256")
            .join(it.file_name().unwrap())
            .exists()
    };
    let all: Vec<_> = staged.iter().filter(|it| is_copied(it)).collect();
    assert!(
        all.len() > 12 && all.len() + 2 == staged.len(),
        "{staged:?}"
    );
    // What proves something is read when it is judged; layers and config when they are moved.
    // The image itself: the manifest, and what it names.
    let mut own = image.clone();
    own += &read(&blob(&layout, image.split_once('@').unwrap().1)).to_string();
    let mut judged = 0;
    for path in all {
        let good = fs_err::read(path).unwrap();
        for at in [0, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs_err::write(path, &bad).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let copied = project.run(&["copy", &image, "oci:copied:v1", "--referrers"]);
            assert!(copied.stderr.contains(name), "{name}: {}", copied.stderr);
            assert!(
                !project.join("copied/blobs/sha256").join(name).exists(),
                "{name} was copied"
            );
            // What anyone may attach must not stop anyone from copying an image: it is left out, and
            // named.
            let proves = check(&project, &image).code != 0;
            if own.contains(name) {
                assert_eq!(copied.code, 2, "{name}: {}", copied.stderr);
            }
            judged += usize::from(proves);
            if project.join("copied").exists() {
                fs_err::remove_dir_all(project.join("copied")).unwrap();
            }
        }
        fs_err::write(path, &good).unwrap();
    }
    // The image's manifest, and manifest and bundle of provenance, both SBOMs and signature.
    assert!(judged >= 2 * 9, "{judged}");
    check(&project, &image).expect(0);
}

#[test]
fn each_removed_claim_turns_the_verdict() {
    for claim in ["provenance", "cyclonedx", "spdx", "cosign/sign"] {
        let (project, image) = staged();
        remove(&project.join("staged"), &find(&project, &image, claim));
        let output = check(&project, &image).expect(1);
        assert!(
            output.stderr.contains("rejected by the policy"),
            "{}",
            output.stderr
        );
    }
}

#[test]
fn a_claim_by_another_key_is_worth_nothing() {
    let (project, image) = staged();
    let other = repository().join("tests/fixtures/keys/p384-pkcs8.pem");
    let provenance = find(&project, &image, "provenance");
    let manifest = read(&blob(&project.join("staged"), &provenance));
    let bundle = manifest["layers"][0]["digest"].as_str().unwrap();
    let bundle = read(&blob(&project.join("staged"), bundle));
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    let statement = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, payload).unwrap();
    let statement: Value = serde_json::from_slice(&statement).unwrap();
    project.write("predicate.json", statement["predicate"].to_string());
    remove(&project.join("staged"), &provenance);
    project
        .run(&[
            "attest",
            &image,
            "--type",
            "provenance",
            "--predicate",
            "predicate.json",
            "--key",
            other.to_str().unwrap(),
        ])
        .expect(0);
    find(&project, &image, "provenance");
    check(&project, &image).expect(1);
    project
        .run(&[
            "verify",
            &image,
            "--key",
            "test.pub",
            "--claim",
            "provenance",
        ])
        .expect(1);
}

#[test]
fn a_claim_about_another_image_is_worth_nothing() {
    let (project, image) = staged();
    project.write("app/hello.txt", "another\n");
    let built = project
        .build_with("oci:other:v1", &["--output", "json"])
        .expect(0);
    let other = format!("oci:other@{}", json(&built)["digest"].as_str().unwrap());
    let layout = project.join("staged");
    for claim in ["provenance", "cosign/sign"] {
        let ours = find(&project, &image, claim);
        let theirs = find(&project, &other, claim);
        let subject = read(&blob(&layout, &ours))["subject"].clone();
        remove(&layout, &ours);
        let mut manifest = read(&blob(&project.join("other"), &theirs));
        assert_ne!(manifest["subject"], subject);
        manifest["subject"] = subject;
        let bundle = manifest["layers"][0]["digest"].as_str().unwrap();
        fs_err::copy(blob(&project.join("other"), bundle), blob(&layout, bundle)).unwrap();
        add(&layout, &manifest);
    }
    assert_eq!(attached(&project, &image).len(), 4);
    let output = check(&project, &image).expect(1);
    assert!(output.stderr.contains("note:"), "{}", output.stderr);
    project
        .run(&["verify", &image, "--key", "test.pub"])
        .expect(1);
}

#[test]
fn what_cosign_signed_is_accepted_by_its_key_and_no_other() {
    let project = Project::typical();
    let fixtures = repository().join("tests/fixtures");
    let digests = fs_err::read_to_string(fixtures.join("digests.env")).unwrap();
    let digest = |name: &str| {
        let line = digests.lines().find_map(|it| it.strip_prefix(name));
        line.unwrap().trim_start_matches('=').to_owned()
    };
    for (layout, image) in [
        ("cosign-v3-key", "IMG"),
        ("cosign-v3-fallback-tag", "IMG"),
        ("cosign-v3-index", "IDX"),
        ("cosign-v3-index", "ARM"),
    ] {
        let image = format!("oci:{}@{}", fixtures.join(layout).display(), digest(image));
        let verify = |key: &Path| {
            let key = key.to_str().unwrap();
            project.run(&["verify", &image, "--key", key])
        };
        verify(&fixtures.join("keys/cosign.pub")).expect(0);
        for other in ["p256.pub.pem", "p384.pub.pem", "nopass.pub", "rsa.pub.pem"] {
            verify(&fixtures.join("keys").join(other)).expect(1);
        }
        verify(&project.join("test.pub")).expect(1);
    }
}

#[test]
fn an_sbom_or_a_strangers_signature_does_not_make_an_image_signed() {
    let project = Project::typical();
    Output::of(&mut project.build_command(["--unsigned", "--tag", "oci:out:v1"])).expect(0);
    project.write(
        "bom.json",
        r#"{"bomFormat":"CycloneDX","specVersion":"1.5","version":1}"#,
    );
    let verify = || project.run(&["verify", "oci:out:v1", "--key", "test.pub"]);
    verify().expect(1);
    project
        .run(&[
            "attest",
            "oci:out:v1",
            "--key",
            "test.key",
            "--type",
            "cyclonedx",
            "--predicate",
            "bom.json",
        ])
        .expect(0);
    verify().expect(1);
    let stranger = repository().join("tests/fixtures/keys/p384-pkcs8.pem");
    project
        .run(&["sign", "oci:out:v1", "--key", stranger.to_str().unwrap()])
        .expect(0);
    verify().expect(1);
    project
        .run(&["sign", "oci:out:v1", "--key", "test.key"])
        .expect(0);
    verify().expect(0);
}
