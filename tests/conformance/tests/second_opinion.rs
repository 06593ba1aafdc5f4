//! A second opinion on bundles: `sigstore-verify`, on what is good and on what is wrong at one place.
//! Where the two differ, the reason stands beside it.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy exempts only the `#[test]` functions themselves"
)]

#[path = "second_opinion/provider.rs"]
mod provider;

use attest::{Accept, IdentityPattern, Message, SignerPattern, TextPattern, TrustedRoot, Verifier};
use intoto::PredicateType;
use oci::{Descriptor, MediaType};
use sigstore_verify::trust_root::TrustedRoot as OtherRoot;
use sigstore_verify::types::Bundle as OtherBundle;
use sigstore_verify::{VerificationPolicy, Verifier as OtherVerifier};
use testkit::sigstore::{
    ISSUER, Published, Recipe, SIGNED_AT, SUBJECT, TIME_STAMPING, TreeBy, Window,
};
use time::Duration;

const ARTIFACT: &[u8] = b"an artifact";

fn identity(subject: &str, issuer: &str) -> SignerPattern {
    SignerPattern::Identity(IdentityPattern::new(
        TextPattern::exact(subject).unwrap(),
        TextPattern::exact(issuer).unwrap(),
    ))
}

/// Whether we accept it, and whether they do.
fn opinions(recipe: &Recipe) -> (bool, bool) {
    let artifact = Descriptor::of(MediaType::IMAGE_MANIFEST, ARTIFACT);
    let statement = attest::image_signature(
        std::slice::from_ref(&artifact),
        &std::collections::BTreeMap::new(),
    )
    .unwrap();
    let made = recipe.sign(&serde_json::to_value(statement).unwrap());
    let accepted = [Accept {
        predicate_type: PredicateType::COSIGN_SIGN,
        signer: identity(SUBJECT, ISSUER),
    }];
    let ours =
        Verifier::trusting(made.trusted_root()).verify(made.bundle.json(), &artifact, &accepted);
    let theirs = second(
        &made.root.to_string(),
        made.bundle.json(),
        ARTIFACT,
        (SUBJECT, ISSUER),
    );
    (ours.is_ok(), theirs.is_ok())
}

fn second(
    root: &str,
    bundle: &[u8],
    artifact: &[u8],
    (subject, issuer): (&str, &str),
) -> Result<(), String> {
    provider::install();
    let root = OtherRoot::from_json(root).map_err(|it| it.to_string())?;
    let verifier = OtherVerifier::new(&root).map_err(|it| it.to_string())?;
    let text = std::str::from_utf8(bundle).unwrap();
    let bundle = OtherBundle::from_json(text).map_err(|it| it.to_string())?;
    let policy = VerificationPolicy::new(subject, issuer);
    verifier
        .verify(artifact, &bundle, &policy)
        .map(|_| ())
        .map_err(|it| it.to_string())
}

fn past() -> Window {
    (
        SIGNED_AT - Duration::days(2000),
        SIGNED_AT - Duration::days(1000),
    )
}

fn first_generation() -> Recipe {
    Recipe {
        first_generation: true,
        seen: None,
        ..Recipe::default()
    }
}

#[test]
fn what_is_good_is_good_to_both() {
    for recipe in [Recipe::default(), first_generation()] {
        assert_eq!(opinions(&recipe), (true, true));
    }
}

#[test]
fn what_is_wrong_is_wrong_to_both() {
    let default = Recipe::default;
    for recipe in [
        Recipe {
            leaf: past(),
            ..default()
        },
        Recipe {
            purpose: TIME_STAMPING.to_vec(),
            ..default()
        },
        Recipe {
            published: Published::No,
            ..default()
        },
        Recipe {
            published: Published::Unknown,
            ..default()
        },
        Recipe {
            published: Published::Forged,
            ..default()
        },
        Recipe {
            tree_by: TreeBy::AnotherInItsName,
            first_generation: false,
            log_id: Some(vec![7; 32]),
            seen: None,
            ..default()
        },
        Recipe {
            seen: None,
            ..default()
        },
        Recipe {
            clock: past(),
            ..default()
        },
        Recipe {
            clock_trusted: past(),
            ..default()
        },
    ] {
        assert_eq!(opinions(&recipe), (false, false), "{recipe:?}");
    }
}

/// What they take and we do not, each with its reason.
#[test]
fn where_we_are_stricter() {
    let default = Recipe::default;
    // They make each certificate of an authority's chain an anchor, and anchors have no time.
    let intermediate = Recipe {
        intermediate: past(),
        ..default()
    };
    // They look for the key of a checkpoint among all logs, not at the one that the entry names.
    let another = Recipe {
        tree_by: TreeBy::Another,
        ..default()
    };
    let nowhere = Recipe {
        log_id: Some(vec![0; 32]),
        ..default()
    };
    // As above: what the root says of those below it is not asked.
    let path_length = Recipe {
        root_path_length: 0,
        ..default()
    };
    for recipe in [intermediate, another, nowhere, path_length] {
        assert_eq!(opinions(&recipe), (false, true), "{recipe:?}");
    }
}

#[test]
fn both_verify_what_cosign_signed_without_a_key() {
    let fixtures = testkit::repository().join("tests/fixtures");
    let read = |path: &str| fs_err::read(fixtures.join(path)).unwrap();
    let root = String::from_utf8(read("keyless/trusted_root.json")).unwrap();
    let blob = read("blobs/artifact.txt");
    let (subject, issuer) = ("dev@example.test", "http://127.0.0.1:5620/oidc");
    let verifier = Verifier::trusting(TrustedRoot::parse(root.as_bytes()).unwrap());
    for name in ["keyless-signing_config", "keyless-signing_config_rekor2"] {
        let bundle = read(&format!("blobs/{name}.sigstore.json"));
        for (subject, is_right) in [(subject, true), ("ops@example.test", false)] {
            let ours = verifier.verify_blob(
                &bundle,
                &Message::Bytes(blob.as_slice().into()),
                &[identity(subject, issuer)],
            );
            let theirs = second(&root, &bundle, &blob, (subject, issuer));
            assert_eq!(
                (ours.is_ok(), theirs.is_ok()),
                (is_right, is_right),
                "{name}"
            );
        }
    }
}
