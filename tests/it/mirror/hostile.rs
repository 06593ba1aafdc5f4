//! Registries that lose, lie and throttle, and strangers who attach.

use testkit::registry::{Fault, FaultKind};

use super::*;

/// A site, and a registry with one signed image `app:v1`.
async fn one() -> (Site, TestRegistry, String, Descriptor) {
    let site = Site::new();
    let from = TestRegistry::start(Switches::default());
    let store = repository(&from.host(), "app");
    let image = push(&store, &["app"], None).await;
    sign(&store, &image, &site.key).await;
    tag(&store, &image, "v1").await;
    let source = format!("{}/app:v1", from.host());
    (site, from, source, image)
}

/// What arrives without its proof has no name there.
#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_loses_proof_gets_no_tag() {
    let (site, _from, source, image) = one().await;
    for switches in [
        Switches {
            lost_manifests: 1,
            ..Switches::default()
        },
        Switches {
            wrong_content: true,
            ..Switches::default()
        },
    ] {
        let to = TestRegistry::start(switches);
        let place = format!("{}/app", to.host());
        let report = site.report(&[&source, &place], 2);
        assert_eq!(status(&report, &source), "failed", "{report:#}");
        assert_eq!(to.tagged("app", "v1"), None);
        // Another time it goes well.
        to.set(|it| *it = Switches::default());
        let again = site.report(&[&source, &place], 0);
        let status = status(&again, &source);
        assert!(["mirrored", "there"].contains(&&*status), "{status}");
        let there = repository(&to.host(), "app");
        assert_eq!(
            tagged(&there, "v1").await.map(|it| it.digest),
            Some(image.digest.clone())
        );
    }
}

/// Strangers' junk neither helps nor harms; what is broken of it is named.
#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_attach_changes_nothing() {
    let (site, from, source, image) = one().await;
    let store = repository(&from.host(), "app");
    for number in 0..20 {
        push(&store, &[&format!("junk {number}")], Some(&image)).await;
        sign(&store, &image, &PrivateKey::generate().unwrap()).await;
    }
    // One of them refers to a layer that is not there.
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"nowhere");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::IMAGE_MANIFEST,
        "config": Descriptor::of(MediaType::EMPTY, b"{}"),
        "layers": [layer],
        "subject": image,
    });
    let manifest = manifest.to_string();
    from.put_manifest("app", None, MediaType::IMAGE_MANIFEST.as_str(), manifest);
    let to = TestRegistry::start(Switches::default());
    let place = format!("{}/app", to.host());
    let report = site.report(&[&source, &place], 0);
    let entry = &report["images"][0];
    assert_eq!(
        (&entry["status"], &entry["proofs"]),
        (&"mirrored".into(), &1.into())
    );
    assert_eq!(entry["dropped"].as_array().unwrap().len(), 1, "{entry:#}");
    assert_eq!(entry["referrers"], 41);
}

/// A registry that throttles slows it down, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn throttling_slows_down_only() {
    let (site, from, source, _) = one().await;
    let to = TestRegistry::start(Switches::default());
    for registry in [&from, &to] {
        registry.set(|it| {
            it.faults = ["manifests", "blobs", "referrers"]
                .map(|on| Fault::first(1, on, FaultKind::Status(429, Some("0"))))
                .to_vec();
        });
    }
    let report = site.report(&[&source, &format!("{}/app", to.host())], 0);
    assert_eq!(status(&report, &source), "mirrored");
}

/// A source that cannot be asked is no rejection, and holds up nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_undecided() {
    let (site, _from, source, _) = one().await;
    let down = TestRegistry::start(Switches {
        faults: vec![Fault::first(
            usize::MAX,
            "/v2/",
            FaultKind::Status(401, None),
        )],
        ..Switches::default()
    });
    let image = format!("{}/app:v1", down.host());
    let pattern = format!("{}/other:v*", down.host());
    let words = [&source, &image, &pattern, "oci:out/", "--keep-going"];
    let report = site.report(&words, 2);
    assert_eq!(status(&report, &source), "mirrored");
    assert_eq!(status(&report, &image), "undecided");
    assert_eq!(status(&report, &pattern), "undecided");
    let images = report["images"].as_array().unwrap();
    let entry = images
        .iter()
        .find(|it| it["source"] == image.as_str())
        .unwrap();
    assert_eq!(entry["problems"].as_array().unwrap().len(), 1, "{entry}");
    let hint = format!("log in with `sealpack login {}`", down.host());
    assert!(
        entry["hint"].as_str().unwrap().starts_with(&hint),
        "{entry}"
    );
}
