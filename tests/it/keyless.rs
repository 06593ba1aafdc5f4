//! Bundles that cosign made without a key, verified against a trusted root: with the right identity,
//! and for the right reason with no other.

mod steps;

use attest::{
    Accept, IdentityPattern, Message, Rejection, SignedBy, SignerPattern, TextPattern, Thresholds,
    TrustedRoot, Unchecked, Verifier, Witness,
};
use intoto::PredicateType;
use oci::{Descriptor, LayoutStore};
use testkit::registry::{Switches, TestRegistry};
use testkit::{Output, Workspace};

use crate::verify::{IMAGE, attached, descriptor, fixture, public_key, read};

const SUBJECT: &str = "dev@example.test";
const ISSUER: &str = "http://127.0.0.1:5620/oidc";

pub(crate) fn identity(subject: &str, issuer: &str) -> SignerPattern {
    SignerPattern::Identity(IdentityPattern::new(
        TextPattern::exact(subject).unwrap(),
        TextPattern::exact(issuer).unwrap(),
    ))
}

fn accept_all(signer: &SignerPattern) -> Vec<Accept> {
    [
        PredicateType::COSIGN_SIGN,
        PredicateType::CYCLONEDX,
        PredicateType::SLSA_PROVENANCE_V1,
    ]
    .map(|predicate_type| Accept {
        predicate_type,
        signer: signer.clone(),
    })
    .to_vec()
}

fn root() -> TrustedRoot {
    TrustedRoot::parse(&read("keyless/trusted_root.json")).unwrap()
}

/// The bundles over `artifact.txt`: by Rekor v1, and by v2 with a timestamp.
const BLOBS: [&str; 2] = [
    "blobs/keyless-signing_config.sigstore.json",
    "blobs/keyless-signing_config_rekor2.sigstore.json",
];

/// The attestations about it.
const ATTESTATIONS: [&str; 2] = [
    "blobs/keyless-attest-signing_config.sigstore.json",
    "blobs/keyless-attest-signing_config_rekor2.sigstore.json",
];

#[tokio::test]
async fn what_cosign_signed_without_a_key_is_verified_with_its_identity_and_no_other() {
    let store = LayoutStore::open(fixture("cosign-v3-keyless")).unwrap();
    let attached = attached(&store, IMAGE).await;
    assert_eq!(attached.len(), 4);
    let image = descriptor(IMAGE);
    let verifier = Verifier::trusting(root());
    let right = accept_all(&identity(SUBJECT, ISSUER));
    let (verified, rejected) = verifier.verify_all(&attached, &image, &right);
    assert!(rejected.is_empty(), "{rejected:?}");
    assert_eq!(verified.len(), 4);
    assert!(attest::is_signed(&verified, &image.digest));
    for one in &verified {
        let SignedBy::Identity(signer) = one.signer() else {
            panic!("{:?}", one.signer());
        };
        assert_eq!(signer.subject(), Some(SUBJECT));
        assert_eq!(signer.issuer(), Some(ISSUER));
        assert_eq!(one.proof().logs().len(), 1);
        assert!(!one.proof().times().is_empty());
        assert_eq!(one.unchecked(), []);
    }
    for (subject, issuer) in [
        ("dev@example.tes", ISSUER),
        ("dev@example.test.evil", ISSUER),
        (SUBJECT, "http://127.0.0.1:5620"),
        (ISSUER, SUBJECT),
    ] {
        let wrong = accept_all(&identity(subject, issuer));
        let (verified, rejected) = verifier.verify_all(&attached, &image, &wrong);
        assert!(verified.is_empty(), "{subject} {issuer}");
        for it in rejected {
            assert!(matches!(it.reason, Rejection::NotAccepted { .. }));
            assert_eq!(it.reason.code(), "signer-not-accepted");
        }
    }
    let by_key = accept_all(&SignerPattern::Key(public_key("cosign.pub")));
    let (verified, _) = verifier.verify_all(&attached, &image, &by_key);
    assert!(verified.is_empty());
}

#[test]
fn a_rejection_says_who_signed_and_who_was_wanted() {
    let verifier = Verifier::trusting(root());
    let blob = read("blobs/artifact.txt");
    let message = Message::Bytes(blob.into());
    let wanted = [identity("ops@example.test", ISSUER)];
    let error = verifier.verify_blob(&read(BLOBS[0]), &message, &wanted);
    assert_eq!(
        error.unwrap_err().to_string(),
        "`dev@example.test` by `http://127.0.0.1:5620/oidc` is not accepted, wanted \
         `ops@example.test` by `http://127.0.0.1:5620/oidc`"
    );
    let verifier = Verifier::trusting(TrustedRoot::public_good().unwrap());
    let error = verifier.verify_blob(&read(BLOBS[0]), &message, &wanted);
    assert_eq!(
        error.unwrap_err().to_string(),
        "0 of 1 transparency logs have the signature: signed by another instance: log \
         e3ou31oP6vrocUcUM5i01hDKEY0BtL2xyay9BhGFj2w= is not in this trusted root"
    );
    let error = Verifier::of_keys().verify_blob(&read(BLOBS[0]), &message, &wanted);
    assert!(matches!(error, Err(Rejection::NoTrustedRoot)));
}

#[test]
fn blobs_are_verified_whole_or_by_their_digest() {
    let verifier = Verifier::trusting(root());
    let blob = read("blobs/artifact.txt");
    let signer = [identity(SUBJECT, ISSUER)];
    for (name, clock) in BLOBS.iter().zip(["log", "timestamp authority"]) {
        for (message, other) in [
            (
                Message::Bytes(blob.as_slice().into()),
                Message::Bytes(b"another".as_slice().into()),
            ),
            (
                Message::Digest(oci::Digest::of(&blob)),
                Message::Digest(oci::Digest::of(b"another")),
            ),
        ] {
            let proof = verifier
                .verify_blob(&read(name), &message, &signer)
                .unwrap();
            assert!(
                proof.times().iter().any(|it| match &it.witness {
                    Witness::Log(_) => clock == "log",
                    Witness::TimestampAuthority(_) => clock == "timestamp authority",
                }),
                "{name}: {proof:?}"
            );
            assert!(matches!(
                verifier.verify_blob(&read(name), &other, &signer),
                Err(Rejection::OtherMessage)
            ));
        }
    }
}

#[test]
fn attestations_about_blobs_are_verified() {
    let verifier = Verifier::trusting(root());
    let artifact = Descriptor::of("text/plain".into(), &read("blobs/artifact.txt"));
    let accepted = accept_all(&identity(SUBJECT, ISSUER));
    for name in ATTESTATIONS {
        let verified = verifier.verify(&read(name), &artifact, &accepted).unwrap();
        assert_eq!(
            *verified.predicate_type(),
            PredicateType::SLSA_PROVENANCE_V1
        );
        let other = descriptor(IMAGE);
        assert!(matches!(
            verifier.verify(&read(name), &other, &accepted),
            Err(Rejection::OtherSubject { .. })
        ));
    }
}

#[test]
fn witnesses_are_counted_once_each() {
    let blob = read("blobs/artifact.txt");
    let message = Message::Bytes(blob.into());
    let signer = [identity(SUBJECT, ISSUER)];
    let with = |logs, times| Verifier::trusting(root()).requiring(Thresholds { logs, times });
    for name in BLOBS {
        let verify = |logs, times| with(logs, times).verify_blob(&read(name), &message, &signer);
        verify(Some(1), Some(1)).unwrap();
        verify(Some(0), None).unwrap();
        assert!(matches!(
            verify(Some(2), None),
            Err(Rejection::TooFewLogs {
                wanted: 2,
                found: 1,
                ..
            })
        ));
        assert!(matches!(
            verify(None, Some(3)),
            Err(Rejection::TooFewTimes { wanted: 3, .. })
        ));
        // Twice the same is one.
        let mut bundle: serde_json::Value = serde_json::from_slice(&read(name)).unwrap();
        let entries = bundle["verificationMaterial"]["tlogEntries"].as_array_mut();
        let entries = entries.unwrap();
        entries.push(entries[0].clone());
        let twice = bundle.to_string();
        assert!(matches!(
            with(Some(2), None).verify_blob(twice.as_bytes(), &message, &signer),
            Err(Rejection::TooFewLogs {
                wanted: 2,
                found: 1,
                ..
            })
        ));
    }
}

#[test]
fn what_a_key_bundle_brings_along_is_checked_where_there_is_a_root_and_asked_for_where_said() {
    let blob = read("blobs/artifact.txt");
    let message = Message::Bytes(blob.into());
    let signer = [SignerPattern::Key(public_key("cosign.pub"))];
    let mut bundle: serde_json::Value =
        serde_json::from_slice(&read("blobs/key-cosign.sigstore.json")).unwrap();
    let other: serde_json::Value = serde_json::from_slice(&read(BLOBS[0])).unwrap();
    bundle["verificationMaterial"]["tlogEntries"] =
        other["verificationMaterial"]["tlogEntries"].clone();
    let bundle = bundle.to_string();
    let verifier = Verifier::trusting(root());
    let proof = verifier
        .verify_blob(bundle.as_bytes(), &message, &signer)
        .unwrap();
    assert!(matches!(
        proof.unchecked(),
        [Unchecked::LogEntry {
            reason: attest::LogError::Other { .. },
            ..
        }]
    ));
    let verifier = verifier.requiring(Thresholds {
        logs: Some(1),
        times: None,
    });
    assert!(matches!(
        verifier.verify_blob(bundle.as_bytes(), &message, &signer),
        Err(Rejection::TooFewLogs { .. })
    ));
}

/// The command, on an image in a registry: two requests, and two for each bundle.
#[test]
fn the_command_verifies_identities_and_asks_the_registry_for_no_more_than_it_needs() {
    let workspace = Workspace::new();
    let registry = TestRegistry::start(Switches::default());
    let image = format!("{}/team/app@{IMAGE}", registry.host());
    let source = format!("oci:{}@{IMAGE}", fixture("cosign-v3-keyless").display());
    let tagged = format!("{}/team/app:v1", registry.host());
    let copy = ["copy", source.as_str(), tagged.as_str(), "--referrers"];
    Output::of(&mut workspace.sealpack(copy)).expect(0);
    let root = fixture("keyless/trusted_root.json");
    let verify = |flags: &[&str]| {
        registry.take_requests();
        let mut command = workspace.sealpack(["verify", image.as_str()]);
        let root = root.to_str().unwrap();
        let output = Output::of(command.args(["--trusted-root", root]).args(flags));
        (output, registry.take_requests())
    };
    let right = [
        "--certificate-identity",
        SUBJECT,
        "--certificate-oidc-issuer",
        ISSUER,
    ];
    let (output, asked) = verify(&right);
    output.expect(0);
    assert_eq!(asked.len(), 2 + 2 * 4, "{asked:#?}");
    let patterns = [
        "--certificate-identity-regexp",
        r"dev@example\..*",
        "--certificate-oidc-issuer-regexp",
        "http://.*/oidc",
    ];
    verify(&patterns).0.expect(0);
    let (output, _) = verify(&[&right[..], &["--claim", "provenance"]].concat());
    output.expect(0);
    for wrong in [
        [
            "--certificate-identity",
            "de@example.test",
            "--certificate-oidc-issuer",
            ISSUER,
        ],
        [
            "--certificate-identity",
            SUBJECT,
            "--certificate-oidc-issuer",
            "http://127.0.0.1",
        ],
        [
            "--certificate-identity-regexp",
            "example",
            "--certificate-oidc-issuer",
            ISSUER,
        ],
    ] {
        let (output, _) = verify(&wrong);
        let output = output.expect(1);
        assert!(
            output.stderr.contains("is not accepted"),
            "{}",
            output.stderr
        );
    }
    // A name without an issuer, and an issuer without a name, are no one.
    for half in [&right[..2], &right[2..]] {
        let (output, asked) = verify(half);
        output.expect(2);
        assert!(asked.is_empty(), "{asked:?}");
    }
}

/// One bundle costs four requests.
#[tokio::test]
async fn one_bundle_costs_four_requests() {
    let registry = TestRegistry::start(Switches::default());
    let options = oci::store::RegistryOptions::default();
    let client = oci::store::RegistryClient::new(options);
    let repository = format!("{}/team/app", registry.host()).parse().unwrap();
    let store = client.repository(&repository);
    let image = crate::layout::push_image(&store, b"app", None).await;
    let key = crate::verify::private_key("cosign.key");
    let statement = attest::image_signature(
        std::slice::from_ref(&image),
        &std::collections::BTreeMap::new(),
    )
    .unwrap();
    let bundle = attest::sign(&statement, &key).unwrap();
    attest::attach(&store, &image, &bundle, None).await.unwrap();
    registry.take_requests();
    let workspace = Workspace::new();
    let name = format!("{}/team/app@{}", registry.host(), image.digest);
    let public = fixture("keys/cosign.pub");
    let arguments = ["verify", &name, "--key", public.to_str().unwrap()];
    Output::of(&mut workspace.sealpack(arguments)).expect(0);
    let asked = registry.take_requests();
    assert_eq!(asked.len(), 4, "{asked:#?}");
}
