//! What cosign 1 and 2 attached by tags: named by each command that shows, judges, copies or deletes.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use testkit::{Output, Project};

use oci::store::{RegistryClient, RegistryOptions};
use oci::{Descriptor, LayoutStore, MediaType, Store, Upload};
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};

fn json_of(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

/// An image without other proof, `oci:bare:v1`, and the names of its tags: one of cosign's, and one that
/// somebody gave another image.
async fn project() -> (Project, String, [String; 2]) {
    let project = Project::typical();
    project.build("oci:out:v1").expect(0);
    let copy = ["copy", "oci:out:v1", "oci:bare:v1", "--no-referrers"];
    project.run(&copy).expect(0);
    let shown = json_of(
        &project
            .run(&["inspect", "oci:bare:v1", "-o", "json"])
            .expect(0),
    );
    let digest = shown["digest"].as_str().unwrap().to_owned();
    let tags = [".sig", ".att"].map(|it| format!("{}{it}", digest.replace(':', "-")));
    for (kind, tag) in tags.iter().enumerate() {
        attach(&project.join("bare"), tag, kind).await;
    }
    (project, digest, tags)
}

/// Gives a manifest in a layout this tag: of a signature as cosign wrote it, or of an image.
pub(crate) async fn attach(layout: &Path, tag: &str, kind: usize) {
    let digest = tag.split('.').next().unwrap().replace('-', ":");
    attach_about(layout, tag, (kind, &digest)).await;
}

/// The same, of a signature of this image.
async fn attach_about(layout: &Path, tag: &str, (kind, digest): (usize, &str)) {
    let kinds = [
        SIGNATURE,
        "application/vnd.oci.image.layer.v1.tar",
        ENVELOPE,
    ];
    let payloads = [signature(digest), json!("a layer"), envelope(&[digest])];
    let store = LayoutStore::open(layout).unwrap();
    push(&store, tag, kinds[kind], &payloads[kind]).await;
}

const SIGNATURE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

fn signature(digest: &str) -> Value {
    json!({ "critical": { "image": { "docker-manifest-digest": digest } } })
}

/// An attestation about all of these images.
fn envelope(digests: &[&str]) -> Value {
    let subject = |it: &&str| {
        let (_, hex) = it.split_once(':').unwrap();
        json!({ "name": "app", "digest": { "sha256": hex } })
    };
    let subjects: Vec<_> = digests.iter().map(subject).collect();
    let statement = json!({ "subject": subjects });
    json!({ "payload": BASE64_STANDARD.encode(statement.to_string()) })
}

/// Gives a manifest with this one layer this tag.
async fn push(store: &dyn Store, tag: &str, kind: &str, payload: &Value) -> Descriptor {
    let content = payload.to_string();
    let blobs = ["{}", content.as_str()].map(|it| Descriptor::of(MediaType::EMPTY, it.as_bytes()));
    for (blob, content) in blobs.iter().zip(["{}", &content]) {
        let upload = Upload::Bytes(content.to_owned().into());
        store.push_blob(blob, upload).await.unwrap();
    }
    let [config, blob] = &blobs;
    let layer = json!({ "mediaType": kind, "digest": blob.digest, "size": blob.size });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::IMAGE_MANIFEST, "config": config, "layers": [layer],
    });
    let manifest = bytes::Bytes::from(manifest.to_string());
    let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &manifest);
    store.push_manifest(&target, manifest).await.unwrap();
    store.tag(&target, &tag.parse().unwrap()).await.unwrap();
    target
}

/// The same image in a registry, and its store.
fn published(project: &Project, registry: &TestRegistry) -> (String, impl Store) {
    let name = format!("{}/team/app", registry.host());
    let copy = [
        "copy",
        "oci:bare:v1",
        &format!("{name}:v1"),
        "--no-referrers",
    ];
    project.run(&copy).expect(0);
    let client = RegistryClient::new(RegistryOptions::default());
    let store = client.repository(&name.parse().unwrap());
    (name, store)
}

#[tokio::test]
async fn old_proof_is_named_wherever_an_image_is_looked_at() {
    let (project, _, tags) = project().await;
    let judged = ["--policy", "policy", "--key", "test.pub"];
    for (command, code) in [
        (&["verify", "oci:bare:v1", "--key", "test.pub"][..], 2),
        (
            &[&["policy", "check", "oci:bare:v1"][..], &judged].concat(),
            2,
        ),
        (&["inspect", "oci:bare:v1"], 0),
        (&["tree", "oci:bare:v1"], 0),
        (&["report", "oci:bare:v1"], 0),
    ] {
        let said = project.run(command).expect(code);
        let text = format!("{}{}", said.stdout, said.stderr);
        assert!(text.contains(&tags[0]), "{command:?}: {said:?}");
        assert!(
            text.contains("cosign's old format"),
            "{command:?}: {said:?}"
        );
        let said = project.run(&[command, &["-o", "json"]].concat());
        assert_eq!(
            json_of(&said)["digestTags"],
            json!(tags),
            "{command:?}: {said:?}"
        );
    }
    let judged = ["--policy", "policy", "--key", "test.pub"];
    // What is not known is not refused.
    for command in [
        [&["copy", "oci:bare:v1", "oci:to:v1"][..], &judged].concat(),
        [&["mirror", "oci:bare:v1", "oci:to"][..], &judged].concat(),
    ] {
        let said = project.run(&command).expect(2);
        assert!(said.stderr.contains("cosign's old format"), "{said:?}");
    }
}

#[tokio::test]
async fn old_proof_goes_with_its_image_and_nothing_else_does() {
    let (project, digest, [signature, other]) = project().await;
    let image = format!("oci:bare@{digest}");
    let there = |tag: &str| project.run(&["inspect", &format!("oci:bare:{tag}")]).code;
    let said = project
        .run(&["delete", &image, "--referrers", "-o", "json"])
        .expect(0);
    assert_eq!(
        json_of(&said)["deleted"].as_array().unwrap().len(),
        2,
        "{said:?}"
    );
    assert_eq!(json_of(&said)["digestTagsLeftBehind"], json!([other]));
    assert!(
        said.stderr.contains("it is not what cosign attaches"),
        "{said:?}"
    );
    let tags = json_of(
        &project
            .run(&["ls", "oci:bare", "--all", "-o", "json"])
            .expect(0),
    );
    assert_eq!(tags["tags"], json!([other]), "{signature}");
    assert_ne!(there(&signature), 0);
}

#[tokio::test]
async fn old_proof_stays_where_the_image_alone_is_deleted() {
    let (project, digest, [signature, _]) = project().await;
    let said = project
        .run(&["delete", &format!("oci:bare@{digest}")])
        .expect(0);
    let says = format!("what cosign's old tags name stays (`{signature}` and 1 more)");
    assert!(said.stderr.contains(&says), "{said:?}");
}

/// Anybody may give such a name to the proof of another image, which is not to go with this one.
#[tokio::test]
async fn what_proves_another_image_is_not_deleted() {
    let (project, digest, [signature, attestation]) = project().await;
    let image = format!("oci:bare@{digest}");
    let layout = project.join("bare");
    let other = format!("sha256:{}", "0".repeat(64));
    attach_about(&layout, &signature, (0, &other)).await;
    attach_about(&layout, &attestation, (2, &other)).await;
    let sbom = signature.replace(".sig", ".sbom");
    let judged = ["policy", "check", "oci:bare:v1", "--policy", "policy"];
    let judged = [&judged[..], &["--key", "test.pub"]].concat();
    project.run(&judged).expect(1);
    attach_about(&layout, &sbom, (2, &digest)).await;
    project.run(&judged).expect(2);
    let said = project.run(&["delete", &image, "--referrers", "-o", "json"]);
    let said = said.expect(0);
    assert_eq!(
        json_of(&said)["digestTagsLeftBehind"],
        json!([signature, attestation]),
        "{said:?}"
    );
    assert!(
        said.stderr.contains("it is about another image"),
        "{said:?}"
    );
    assert_eq!(json_of(&said)["deleted"].as_array().unwrap().len(), 2);
}

/// That proof of the old kind may say yes is no reason to keep silent about what is missing.
#[tokio::test]
async fn what_is_missing_is_said_where_old_proof_is_all_there_is() {
    let (project, _, _) = project().await;
    let judged = ["--policy", "policy", "--key", "test.pub"];
    for command in [
        &["policy", "check", "oci:bare:v1"][..],
        &["copy", "oci:bare:v1", "oci:there:v1"],
        &["mirror", "oci:bare:v1", "oci:there"],
    ] {
        let said = project.run(&[command, &judged].concat()).expect(2);
        let count = said.stderr.matches("no signature by").count();
        assert_eq!(count, 1, "{command:?}: {said:?}");
        let count = said.stderr.matches("no cyclonedx").count();
        assert_eq!(count, 1, "{command:?}: {said:?}");
    }
}

/// What it holds proves the other image, too, and is not to go with this one.
#[tokio::test]
async fn what_is_about_two_images_is_not_deleted_with_one() {
    let (project, digest, [_, attestation]) = project().await;
    let image = format!("oci:bare@{digest}");
    let other = format!("sha256:{}", "0".repeat(64));
    let store = LayoutStore::open(project.join("bare")).unwrap();
    let about_both = envelope(&[&digest, &other]);
    push(&store, &attestation, ENVELOPE, &about_both).await;
    // It may be proof of this image all the same.
    let judged = ["policy", "check", "oci:bare:v1", "--policy", "policy"];
    let judged = [&judged[..], &["--key", "test.pub"]].concat();
    project.run(&judged).expect(2);
    let said = project.run(&["delete", &image, "--referrers", "-o", "json"]);
    let said = said.expect(0);
    assert_eq!(
        json_of(&said)["digestTagsLeftBehind"],
        json!([attestation]),
        "{said:?}"
    );
    assert!(
        said.stderr.contains("it is about another image, too"),
        "{said:?}"
    );
}

/// An SBOM does not say what it is about, so equal ones of two images are one manifest.
#[tokio::test]
async fn an_sbom_that_two_images_have_is_not_deleted_with_one() {
    let (project, digest, tags) = project().await;
    let own = tags[0].replace(".sig", ".sbom");
    let other = format!("sha256-{}.sbom", "0".repeat(64));
    let sbom = json!("SPDXVersion: SPDX-2.3");
    for (others, fault, kept) in [
        (&[][..], None, None),
        (&[&other], None, Some(format!("by the tag `{other}`, too"))),
        (
            &[],
            Some("GET /v2/team/app/tags/list"),
            Some("whether another image has it, too, is not known".to_owned()),
        ),
    ] {
        let registry = TestRegistry::start(Switches::default());
        let (name, store) = published(&project, &registry);
        for tag in [&own].into_iter().chain(others.iter().copied()) {
            push(&store, tag, "text/spdx", &sbom).await;
        }
        if let Some(on) = fault {
            let fault = Fault::first(usize::MAX, on, FaultKind::Status(403, None));
            registry.set(|it| it.faults = vec![fault]);
        }
        let image = format!("{name}@{digest}");
        let said = project.run(&["delete", &image, "--referrers", "-o", "json"]);
        let said = said.expect(0);
        let left = registry.tagged("team/app", &own).is_some();
        assert_eq!(left, kept.is_some(), "{said:?}");
        if let Some(reason) = kept {
            assert_eq!(json_of(&said)["digestTagsLeftBehind"], json!([own]));
            assert!(said.stderr.contains(&reason), "{said:?}");
        }
    }
}

/// Such proof may be there, and may say yes.
#[tokio::test]
async fn a_registry_that_fails_is_no_rejection() {
    let (project, digest, [tag, _]) = project().await;
    let registry = TestRegistry::start(Switches::default());
    let (name, store) = published(&project, &registry);
    let target = push(&store, &tag, SIGNATURE, &signature(&digest)).await;
    let image = format!("{name}@{digest}");
    let manifest: &str = format!("/manifests/{}", target.digest).leak();
    for on in ["GET /v2/team/app/blobs/", manifest, ".sig", "nothing"] {
        let fault = Fault::first(usize::MAX, on, FaultKind::Status(503, Some("0")));
        registry.set(|it| it.faults = vec![fault]);
        let judged = ["--policy", "policy", "--key", "test.pub"];
        for command in [
            &["verify", &image, "--key", "test.pub"][..],
            &[&["policy", "check", &image][..], &judged].concat(),
        ] {
            let said = project.run(command).expect(2);
            assert!(
                said.stderr.contains("cosign's old format"),
                "{on}: {said:?}"
            );
        }
    }
    // Nor is it deleted: what cannot be read is not called something else.
    let fault = Fault::first(
        usize::MAX,
        "GET /v2/team/app/blobs/",
        FaultKind::Status(503, Some("0")),
    );
    registry.set(|it| it.faults = vec![fault]);
    let said = project.run(&["delete", &image, "--referrers"]).expect(0);
    assert!(
        said.stderr.contains("which image it is about is not known"),
        "{said:?}"
    );
    assert!(registry.tagged("team/app", &tag).is_some());
}
