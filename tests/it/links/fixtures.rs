//! What the reference implementation wrote is read, and means the same.

use attest::key::PublicKey;
use links::{FileError, Files, Inspections, Limits, Question, Refusal, Verified, verify};
use oci::{Descriptor, MediaType};
use testkit::repository;
use time::macros::datetime;

fn fixture(path: &str) -> Vec<u8> {
    fs_err::read(repository().join("tests/fixtures").join(path)).unwrap()
}

/// Files of the fixtures.
#[derive(Debug)]
struct Fixtures;

impl Files for Fixtures {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        let path = repository().join("tests/fixtures/in-toto").join(name);
        Ok(fs_err::read(path).ok())
    }
}

fn judge(layout: &str, keys: &[&str], manifest: &[u8]) -> Result<Verified, Refusal> {
    let keys: Vec<_> = keys
        .iter()
        .map(|it| PublicKey::from_pem(&fixture(&format!("keys/{it}.pub.pem"))).unwrap())
        .collect();
    verify(&Question {
        layout: &fixture(&format!("in-toto/{layout}")),
        layout_keys: &keys,
        files: &Fixtures,
        image: &Descriptor::of(MediaType::IMAGE_MANIFEST, manifest),
        now: datetime!(2026-01-01 0:00 UTC),
        inspections: Inspections::Undecided,
        limits: Limits::default(),
    })
}

#[test]
fn what_the_reference_wrote_is_accepted() {
    // Its own wrapper with RSA-PSS and ECDSA; an envelope; links in either, by Ed25519 and ECDSA.
    for (layout, keys) in [
        ("root.layout", ["rsa", "p256"].as_slice()),
        ("root.layout", &["p256"]),
        ("root-envelope.layout", &["rsa"]),
    ] {
        let verified = judge(layout, keys, b"manifest").unwrap();
        assert_eq!(verified.product(), "image");
        let steps: Vec<_> = verified.steps().iter().map(|it| &it.name).collect();
        assert_eq!(steps, ["build", "export"]);
        assert!(verified.steps().iter().all(|it| it.expected_command));
    }
}

#[test]
fn what_the_reference_wrote_proves_nothing_else() {
    for (layout, keys, manifest) in [
        ("root.layout", ["rsa"].as_slice(), "another image"),
        ("root.layout", &["rsa", "ed25519"], "manifest"),
        ("root-envelope.layout", &["p256"], "manifest"),
    ] {
        let refusal = judge(layout, keys, manifest.as_bytes()).unwrap_err();
        assert!(matches!(refusal, Refusal::Rejected { .. }), "{refusal:?}");
    }
    let refusal = judge("inspected.layout", &["rsa"], b"manifest").unwrap_err();
    assert!(matches!(refusal, Refusal::Undecided(_)), "{refusal:?}");
}
