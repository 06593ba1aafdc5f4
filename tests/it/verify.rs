//! Bundles that cosign made, and our own: verified with the right key, refused with any other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attest::key::{KeyFile, PrivateKey, PublicKey};
use attest::{
    Accept, Attached, Bundle, Message, Rejection, SignedBy, SignerPattern, Unchecked, Verifier,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use intoto::{Predicate, PredicateType, ResourceDescriptor, Statement, Timestamp};
use oci::{Descriptor, Digest, LayoutStore, Limits, MediaType, MemoryStore, Store, Upload};
use serde_json::{Value, json};

/// The image in the fixtures, and what of it cosign signed.
pub(crate) const IMAGE: &str =
    "sha256:900ba210f34615e96cc5560c1177cc82499c1460eb6bb418199a63d512713ded";
const INDEX: &str = "sha256:c6f3e4f68abb748aab3e6f1869017556e325ca97b11d4a6c4b7e00412b555d03";
const ARM: &str = "sha256:0470b6d22442f4b227fdebbd218ae89b557d0010375619d511c0a9f6c9e8d73b";

pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(path)
}

pub(crate) fn read(path: &str) -> Vec<u8> {
    fs_err::read(fixture(path)).unwrap()
}

pub(crate) fn public_key(name: &str) -> PublicKey {
    PublicKey::from_pem(&read(&format!("keys/{name}"))).unwrap()
}

pub(crate) fn private_key(name: &str) -> PrivateKey {
    match KeyFile::parse(&read(&format!("keys/{name}"))).unwrap() {
        KeyFile::Plain(key) => *key,
        KeyFile::Encrypted(key) => key.decrypt(b"sealpack").unwrap(),
    }
}

pub(crate) fn descriptor(digest: &str) -> Descriptor {
    Descriptor::new(MediaType::IMAGE_MANIFEST, digest.parse().unwrap(), 401)
}

pub(crate) fn accept(predicate_type: PredicateType, key: &PublicKey) -> Accept {
    Accept {
        predicate_type,
        signer: SignerPattern::Key(key.clone()),
    }
}

/// Believes `key` about everything that the fixtures claim.
pub(crate) fn accept_all(key: &PublicKey) -> Vec<Accept> {
    [
        PredicateType::COSIGN_SIGN,
        PredicateType::CYCLONEDX,
        PredicateType::SPDX,
        PredicateType::SLSA_PROVENANCE_V1,
    ]
    .map(|it| accept(it, key))
    .to_vec()
}

pub(crate) async fn attached(store: &dyn Store, digest: &str) -> Vec<Attached> {
    attest::discover(store, &descriptor(digest), &Limits::default())
        .await
        .unwrap()
        .attached
}

/// A statement about the fixture's image, signed by `key`.
pub(crate) fn signed(predicate_type: PredicateType, key: &PrivateKey) -> Bundle {
    let subject = ResourceDescriptor::of(&IMAGE.parse().unwrap());
    let statement = Statement::of_type(predicate_type, vec![subject], json!({})).unwrap();
    attest::sign(&statement, key).unwrap()
}

/// The same, of any payload at all.
pub(crate) fn sealed(payload_type: &str, payload: &[u8], key: &PrivateKey) -> Vec<u8> {
    let signature = key
        .sign_message(&attest::dsse::pae(payload_type, payload))
        .unwrap();
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": key.public_key().hint()}},
        "dsseEnvelope": {
            "payload": base64(payload),
            "payloadType": payload_type,
            "signatures": [{"sig": base64(&signature)}],
        },
    })
    .to_string()
    .into_bytes()
}

/// The store of the test, with an image in it as in the fixtures.
pub(crate) async fn memory() -> MemoryStore {
    let store = MemoryStore::new();
    let layout = LayoutStore::open(fixture("cosign-v3-key")).unwrap();
    let image = descriptor(IMAGE);
    let bytes = oci::store::read(&layout, &image, 1 << 20).await.unwrap();
    let manifest = oci::Manifest::parse(&image.media_type, &bytes, &Limits::default()).unwrap();
    for blob in manifest.successors() {
        let content = oci::store::read(&layout, blob, 1 << 20).await.unwrap();
        store.push_blob(blob, Upload::Bytes(content)).await.unwrap();
    }
    store.push_manifest(&image, bytes).await.unwrap();
    store
}

#[tokio::test]
async fn what_cosign_signed_is_verified_with_its_key_and_no_other() {
    let key = public_key("cosign.pub");
    let cases = [
        ("cosign-v3-key", IMAGE, 4),
        ("cosign-v3-fallback-tag", IMAGE, 4),
        ("cosign-v3-index", INDEX, 1),
        ("cosign-v3-index", IMAGE, 1),
        ("cosign-v3-index", ARM, 1),
    ];
    for (layout, digest, count) in cases {
        let store = LayoutStore::open(fixture(layout)).unwrap();
        let attached = attached(&store, digest).await;
        let image = descriptor(digest);
        let accepted = accept_all(&key);
        let (verified, rejected) = Verifier::of_keys().verify_all(&attached, &image, &accepted);
        assert_eq!(verified.len(), count, "{layout} {rejected:?}");
        assert!(rejected.is_empty(), "{layout} {rejected:?}");
        assert!(attest::is_signed(&verified, &image.digest));
        for one in &verified {
            assert_eq!(*one.artifact(), image);
            assert_eq!(*one.signer(), SignedBy::Key(key.clone()));
            assert_eq!(Statement::parse(one.payload()).unwrap(), *one.statement());
            assert!(attached.iter().any(|it| {
                one.manifest() == Some(&it.manifest) && *one.bundle() == Digest::of(&it.bundle)
            }));
        }

        for other in [
            "nopass.pub",
            "p256.pub.pem",
            "p384.pub.pem",
            "ed25519.pub.pem",
            "rsa.pub.pem",
        ] {
            let accepted = accept_all(&public_key(other));
            let (verified, rejected) = Verifier::of_keys().verify_all(&attached, &image, &accepted);
            assert!(verified.is_empty(), "{layout} {other}");
            assert_eq!(rejected.len(), count);
            assert!(
                rejected
                    .iter()
                    .all(|it| matches!(it.reason, Rejection::SignatureInvalid { keys: 1 }))
            );
        }
    }
}

#[tokio::test]
async fn an_image_is_signed_by_a_signature_only() {
    let key = private_key("cosign.key");
    let accepted = accept_all(key.public_key());
    let image = descriptor(IMAGE);
    let store = memory().await;
    for other in [PredicateType::CYCLONEDX, PredicateType::SLSA_PROVENANCE_V1] {
        let bundle = signed(other, &key);
        attest::attach(&store, &image, &bundle, None).await.unwrap();
    }
    let found = attached(&store, IMAGE).await;
    let (verified, _) = Verifier::of_keys().verify_all(&found, &image, &accepted);
    assert_eq!(verified.len(), 2);
    assert!(!attest::is_signed(&verified, &image.digest));

    let bundle = signed(PredicateType::COSIGN_SIGN, &key);
    attest::attach(&store, &image, &bundle, None).await.unwrap();
    let found = attached(&store, IMAGE).await;
    let (verified, _) = Verifier::of_keys().verify_all(&found, &image, &accepted);
    assert!(attest::is_signed(&verified, &image.digest));
    assert!(!attest::is_signed(&verified, &ARM.parse().unwrap()));
}

#[tokio::test]
async fn a_stranger_neither_helps_nor_harms() {
    let key = private_key("cosign.key");
    let accepted = accept_all(key.public_key());
    let image = descriptor(IMAGE);
    let store = memory().await;
    let forged = signed(PredicateType::COSIGN_SIGN, &private_key("p256-pkcs8.pem"));
    attest::attach(&store, &image, &forged, None).await.unwrap();
    let found = attached(&store, IMAGE).await;
    let (verified, rejected) = Verifier::of_keys().verify_all(&found, &image, &accepted);
    assert!(verified.is_empty());
    assert_eq!(rejected.len(), 1);

    let bundle = signed(PredicateType::COSIGN_SIGN, &key);
    attest::attach(&store, &image, &bundle, None).await.unwrap();
    let found = attached(&store, IMAGE).await;
    let (verified, rejected) = Verifier::of_keys().verify_all(&found, &image, &accepted);
    assert!(attest::is_signed(&verified, &image.digest));
    assert_eq!((verified.len(), rejected.len()), (1, 1));
}

#[tokio::test]
async fn attaching_gives_the_manifest_that_cosign_wrote() {
    let layout = LayoutStore::open(fixture("cosign-v3-key")).unwrap();
    let found = attest::discover(&layout, &descriptor(IMAGE), &Limits::default())
        .await
        .unwrap();
    assert_eq!(
        (found.attached.len(), found.ignored.len(), found.unread),
        (4, 0, 0)
    );
    let store = memory().await;
    let created = Timestamp::try_from("2026-11-22T06:49:20Z".to_owned()).unwrap();
    for it in found.attached {
        let bundle = Bundle::parse(it.bundle.clone()).unwrap();
        let referrer = attest::attach(&store, &descriptor(IMAGE), &bundle, Some(&created))
            .await
            .unwrap();
        assert_eq!(referrer.manifest.digest, it.manifest.digest);
        assert_eq!(referrer.bundle.digest, Digest::of(&it.bundle));
    }
    assert_eq!(attached(&store, IMAGE).await.len(), 4);
}

#[tokio::test]
async fn attaching_twice_gives_one_referrer() {
    let store = memory().await;
    let bundle = signed(PredicateType::COSIGN_SIGN, &private_key("cosign.key"));
    let first = attest::attach(&store, &descriptor(IMAGE), &bundle, None).await;
    let second = attest::attach(&store, &descriptor(IMAGE), &bundle, None).await;
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(attached(&store, IMAGE).await.len(), 1);
}

#[tokio::test]
async fn a_bundle_is_not_attached_to_what_it_is_not_about() {
    let store = memory().await;
    let bundle = signed(PredicateType::COSIGN_SIGN, &private_key("cosign.key"));
    let refused = attest::attach(&store, &descriptor(ARM), &bundle, None).await;
    assert!(matches!(
        refused,
        Err(attest::AttachError::OtherSubject { .. })
    ));
    let blob = Bundle::parse(read("blobs/key-cosign.sigstore.json")).unwrap();
    let refused = attest::attach(&store, &descriptor(IMAGE), &blob, None).await;
    assert!(matches!(refused, Err(attest::AttachError::NotAStatement)));
}

#[test]
fn a_signature_is_the_statement_that_cosign_signs() {
    let annotations = BTreeMap::from([("team".to_owned(), "release".to_owned())]);
    let statement = attest::image_signature(&[descriptor(IMAGE)], &annotations).unwrap();
    let hex = IMAGE.strip_prefix("sha256:").unwrap();
    assert_eq!(
        serde_json::to_value(&statement).unwrap(),
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": hex}, "annotations": {"team": "release"}}],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        })
    );
    // P-256 signatures are deterministic, so the whole bundle is.
    let key = private_key("cosign.key");
    let bundle = attest::sign(&statement, &key).unwrap();
    assert_eq!(bundle, attest::sign(&statement, &key).unwrap());
}

#[test]
fn each_kind_of_key_signs_statements() {
    for name in [
        "p256-pkcs8.pem",
        "p384-pkcs8.pem",
        "ed25519-pkcs8.pem",
        "rsa-pkcs1.pem",
    ] {
        let key = private_key(name);
        let bundle = signed(PredicateType::COSIGN_SIGN, &key);
        let accepted = accept_all(key.public_key());
        Verifier::of_keys()
            .verify(bundle.json(), &descriptor(IMAGE), &accepted)
            .unwrap();
    }
}

/// The hint, its name and its value: the only bytes that nobody signed and nobody believes.
fn hint(json: &[u8]) -> std::ops::Range<usize> {
    let text = std::str::from_utf8(json).unwrap();
    let start = text.find("hint\":\"").unwrap();
    let (_, rest) = text.split_at(start);
    start..start + rest.find("\"}").unwrap()
}

#[test]
fn a_bundle_with_any_bit_flipped_is_never_accepted() {
    let key = private_key("cosign.key");
    let accepted = accept_all(key.public_key());
    let verifier = Verifier::of_keys();
    let image = descriptor(IMAGE);
    let ours = signed(PredicateType::COSIGN_SIGN, &key).json().to_vec();
    let cosigns = read(
        "cosign-v3-key/blobs/sha256/61a6f3eabcea476d5cd69734570962e04e72f3a26eba0806951bcd9e6438c62b",
    );
    for good in [ours, cosigns] {
        let original = verifier.verify(&good, &image, &accepted).unwrap();
        let hint = hint(&good);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                match verifier.verify(&bad, &image, &accepted) {
                    Err(_) => {}
                    Ok(verified) => {
                        assert!(hint.contains(&at), "byte {at}, bit {bit}");
                        assert_eq!(verified.payload(), original.payload());
                        assert_eq!(verified.signer(), original.signer());
                    }
                }
            }
        }
        for len in 0..good.len() {
            assert!(verifier.verify(&good[..len], &image, &accepted).is_err());
        }
    }
}

#[test]
fn a_bundle_with_any_field_taken_out_or_emptied_is_never_accepted() {
    let key = private_key("cosign.key");
    let accepted = accept_all(key.public_key());
    let good: Value =
        serde_json::from_slice(signed(PredicateType::COSIGN_SIGN, &key).json()).unwrap();
    let pointers = [
        "/mediaType",
        "/verificationMaterial",
        "/verificationMaterial/publicKey",
        "/dsseEnvelope",
        "/dsseEnvelope/payload",
        "/dsseEnvelope/payloadType",
        "/dsseEnvelope/signatures",
        "/dsseEnvelope/signatures/0",
        "/dsseEnvelope/signatures/0/sig",
    ];
    for pointer in pointers {
        for value in [json!(null), json!(""), json!([]), json!(0), json!("AA==")] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            let bad = bad.to_string();
            let result = Verifier::of_keys().verify(bad.as_bytes(), &descriptor(IMAGE), &accepted);
            assert!(result.is_err(), "{pointer}: {bad}");
        }
    }
}

/// Each step of `Verifier::verify`, by a bundle that all the other steps let through.
mod steps {
    use super::*;

    fn verify(bundle: &[u8]) -> Result<attest::Verified, Rejection> {
        let accepted = accept_all(&public_key("cosign.pub"));
        Verifier::of_keys().verify(bundle, &descriptor(IMAGE), &accepted)
    }

    fn good() -> Value {
        let bundle = signed(PredicateType::COSIGN_SIGN, &private_key("cosign.key"));
        serde_json::from_slice(bundle.json()).unwrap()
    }

    #[test]
    fn the_bundle_they_change_is_good() {
        let verified = verify(good().to_string().as_bytes()).unwrap();
        assert!(verified.unchecked().is_empty());
        assert_eq!(verified.checked().len(), 3);
    }

    #[test]
    fn step_1_it_has_one_meaning() {
        let good = good().to_string();
        let twice = good.replacen(
            "\"mediaType\":",
            "\"x\":{\"a\":1,\"a\":2},\"mediaType\":",
            1,
        );
        assert!(matches!(
            verify(twice.as_bytes()),
            Err(Rejection::Bundle(_))
        ));
    }

    #[test]
    fn step_2_a_certificate_is_not_believed_unchecked() {
        let mut bundle = good();
        bundle["verificationMaterial"] = json!({"certificate": {"rawBytes": "AA=="}});
        assert!(matches!(
            verify(bundle.to_string().as_bytes()),
            Err(Rejection::MalformedCertificate { .. })
        ));
        let keyless = read("blobs/keyless-attest-signing_config.sigstore.json");
        assert!(matches!(verify(&keyless), Err(Rejection::NoTrustedRoot)));
    }

    #[test]
    fn step_3_a_payload_of_another_type_is_no_statement() {
        let payload = serde_json::to_vec(
            &attest::image_signature(&[descriptor(IMAGE)], &BTreeMap::new()).unwrap(),
        )
        .unwrap();
        let key = private_key("cosign.key");
        verify(&sealed("application/vnd.in-toto+json", &payload, &key)).unwrap();
        for other in ["application/json", "", "application/vnd.in-toto+json "] {
            assert!(matches!(
                verify(&sealed(other, &payload, &key)),
                Err(Rejection::PayloadType { .. })
            ));
        }
        let blob = read("blobs/key-cosign.sigstore.json");
        assert!(matches!(verify(&blob), Err(Rejection::NotAnEnvelope)));
    }

    #[test]
    fn step_4_the_signature_is_checked() {
        let mut bundle = good();
        let other = signed(PredicateType::CYCLONEDX, &private_key("cosign.key"));
        let other: Value = serde_json::from_slice(other.json()).unwrap();
        bundle["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"].clone();
        assert!(matches!(
            verify(bundle.to_string().as_bytes()),
            Err(Rejection::SignatureInvalid { .. })
        ));
    }

    #[test]
    fn step_9_what_is_signed_has_to_be_a_statement() {
        let key = private_key("cosign.key");
        for payload in ["{}", "null", "", "[1]"] {
            assert!(matches!(
                verify(&sealed(
                    "application/vnd.in-toto+json",
                    payload.as_bytes(),
                    &key
                )),
                Err(Rejection::Statement(_))
            ));
        }
    }

    #[test]
    fn step_10_it_has_to_be_about_this_artifact() {
        let accepted = accept_all(&public_key("cosign.pub"));
        let result =
            Verifier::of_keys().verify(good().to_string().as_bytes(), &descriptor(ARM), &accepted);
        assert!(matches!(result, Err(Rejection::OtherSubject { .. })));
    }

    #[test]
    fn step_11_each_signer_is_believed_about_their_own_matters_only() {
        let (a, b) = (private_key("cosign.key"), private_key("p256-pkcs8.pem"));
        let accepted = [
            accept(PredicateType::COSIGN_SIGN, a.public_key()),
            accept(PredicateType::CYCLONEDX, b.public_key()),
        ];
        for (key, predicate_type, believed) in [
            (&a, PredicateType::COSIGN_SIGN, true),
            (&b, PredicateType::COSIGN_SIGN, false),
            (&a, PredicateType::CYCLONEDX, false),
            (&b, PredicateType::CYCLONEDX, true),
            (&a, PredicateType::SPDX, false),
        ] {
            let bundle = signed(predicate_type, key);
            let result = Verifier::of_keys().verify(bundle.json(), &descriptor(IMAGE), &accepted);
            match result {
                Ok(_) => assert!(believed),
                Err(Rejection::NotAccepted { .. }) => assert!(!believed),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_was_not_looked_at_is_said() {
        let mut bundle = good();
        bundle["verificationMaterial"]["tlogEntries"] = json!([{}, {}]);
        bundle["verificationMaterial"]["timestampVerificationData"] =
            json!({"rfc3161Timestamps": [{}]});
        let verified = verify(bundle.to_string().as_bytes()).unwrap();
        assert_eq!(
            verified.unchecked(),
            [
                Unchecked::LogEntries { count: 2 },
                Unchecked::Timestamps { count: 1 }
            ]
        );
    }
}

#[test]
fn no_accepted_signer_means_no() {
    let bundle = signed(PredicateType::COSIGN_SIGN, &private_key("cosign.key"));
    let key = public_key("cosign.pub");
    assert!(matches!(
        Verifier::of_keys().verify(bundle.json(), &descriptor(IMAGE), &[]),
        Err(Rejection::SignatureInvalid { keys: 0 })
    ));
    let about_another = [accept(PredicateType::SLSA_PROVENANCE_V1, &key)];
    assert!(matches!(
        Verifier::of_keys().verify(bundle.json(), &descriptor(IMAGE), &about_another),
        Err(Rejection::NotAccepted { .. })
    ));
}

#[test]
fn signatures_over_blobs_are_verified_for_each_kind_of_key() {
    let blob = read("blobs/artifact.txt");
    let message = Message::Bytes(blob.as_slice().into());
    let another = Message::Bytes(b"another".as_slice().into());
    let cases = [
        ("key-cosign", "cosign.pub"),
        ("key-p256-imported", "p256-imported.pub"),
        ("key-p384-imported", "p384-imported.pub"),
        ("key-ed25519-imported", "ed25519-imported.pub"),
        ("key-rsa-imported", "rsa-imported.pub"),
    ];
    for (name, key) in cases {
        let bundle = read(&format!("blobs/{name}.sigstore.json"));
        let signer = SignerPattern::Key(public_key(key));
        let trusting = Verifier::of_keys();
        assert_eq!(
            trusting
                .verify_blob(&bundle, &message, std::slice::from_ref(&signer))
                .unwrap()
                .signer(),
            &SignedBy::Key(public_key(key)),
            "{name}"
        );
        assert!(matches!(
            trusting.verify_blob(&bundle, &message, &[]),
            Err(Rejection::SignatureInvalid { keys: 0 })
        ));
        let refused = trusting
            .verify_blob(&bundle, &another, std::slice::from_ref(&signer))
            .unwrap_err();
        // Ed25519 bundles carry no digest of the message, so there the signature says it.
        assert_eq!(
            matches!(refused, Rejection::OtherMessage),
            !name.contains("ed25519"),
            "{refused:?}"
        );
        let stranger = SignerPattern::Key(public_key("nopass.pub"));
        assert!(matches!(
            trusting.verify_blob(&bundle, &message, &[stranger]),
            Err(Rejection::SignatureInvalid { .. })
        ));
    }

    let attestation = read("blobs/key-attest.sigstore.json");
    let key = public_key("cosign.pub");
    let accepted = accept_all(&key);
    let artifact = Descriptor::of("text/plain".into(), &blob);
    let verified = Verifier::of_keys()
        .verify(&attestation, &artifact, &accepted)
        .unwrap();
    let provenance: intoto::Provenance = verified.statement().predicate_as().unwrap();
    assert_eq!(
        provenance.run_details.builder.id,
        "https://example.test/builder"
    );
    assert_eq!(*verified.predicate_type(), intoto::Provenance::TYPE);
    assert!(matches!(
        Verifier::of_keys().verify_blob(&attestation, &message, &[SignerPattern::Key(key)]),
        Err(Rejection::NotAMessage)
    ));
}
