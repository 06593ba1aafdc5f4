//! Each step of verification that certificates need, by a bundle that all the other steps let through.

use attest::{
    Accept, ChainError, LogError, Rejection, SctError, TimestampError, TrustedRoot, Verifier,
};
use intoto::PredicateType;
use testkit::sigstore::{
    ISSUER, Made, Published, Recipe, SIGNED_AT, SUBJECT, TIME_STAMPING, TreeBy, Window,
};
use time::Duration;

use super::identity;
use crate::verify::{IMAGE, descriptor};

fn made(recipe: &Recipe) -> Made {
    let statement =
        attest::image_signature(&[descriptor(IMAGE)], &std::collections::BTreeMap::new()).unwrap();
    recipe.sign(&serde_json::to_value(statement).unwrap())
}

fn verify_by(root: TrustedRoot, bundle: &[u8]) -> Result<attest::Verified, Rejection> {
    let accepted = [Accept {
        predicate_type: PredicateType::COSIGN_SIGN,
        signer: identity(SUBJECT, ISSUER),
    }];
    Verifier::trusting(root).verify(bundle, &descriptor(IMAGE), &accepted)
}

fn verify(recipe: &Recipe) -> Result<attest::Verified, Rejection> {
    let made = made(recipe);
    verify_by(made.trusted_root(), made.bundle.json())
}

/// Over before anybody signs.
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
fn what_they_change_is_good() {
    for recipe in [Recipe::default(), first_generation()] {
        let verified = verify(&recipe).unwrap();
        assert_eq!(verified.unchecked(), []);
        assert_eq!(verified.proof().logs().len(), 1);
        assert_eq!(verified.proof().times()[0].time, SIGNED_AT);
    }
}

#[test]
fn step_2_a_certificate_is_read_whole_or_refused() {
    let good = made(&Recipe::default());
    let text = std::str::from_utf8(good.bundle.json()).unwrap();
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let certificate = &value["verificationMaterial"]["certificate"]["rawBytes"];
    let cut = certificate.as_str().unwrap().get(..400).unwrap();
    let bad = text.replace(certificate.as_str().unwrap(), cut);
    assert!(matches!(
        verify_by(good.trusted_root(), bad.as_bytes()),
        Err(Rejection::MalformedCertificate { .. })
    ));
}

#[test]
fn step_4_the_certificates_key_signs() {
    let (one, other) = (made(&Recipe::default()), made(&Recipe::default()));
    let value =
        |it: &Made| -> serde_json::Value { serde_json::from_slice(it.bundle.json()).unwrap() };
    let mut mixed = value(&one);
    mixed["dsseEnvelope"] = value(&other)["dsseEnvelope"].clone();
    assert!(matches!(
        verify_by(one.trusted_root(), mixed.to_string().as_bytes()),
        Err(Rejection::NotSignedByCertificate)
    ));
}

fn not_logged(recipe: &Recipe) -> LogError {
    match verify(recipe) {
        Err(Rejection::TooFewLogs {
            reason: Some(reason),
            wanted: 1,
            found: 0,
        }) => reason,
        other => panic!("{other:?}"),
    }
}

/// One of the three made bundles that another verifier takes: an entry of a log that does not exist.
#[test]
fn step_5a_an_entry_of_a_log_that_does_not_exist_gives_no_vote() {
    for recipe in [Recipe::default(), first_generation()] {
        for log_id in [vec![0; 32], vec![1; 32], Vec::new()] {
            let log_id = Some(log_id);
            let reason = not_logged(&Recipe {
                log_id,
                ..recipe.clone()
            });
            assert!(matches!(reason, LogError::UnknownLog { .. }), "{reason:?}");
        }
    }
}

#[test]
fn step_5b_an_entry_of_another_signature_gives_no_vote() {
    for recipe in [Recipe::default(), first_generation()] {
        let (one, other) = (made(&recipe), made(&recipe));
        let mut mixed: serde_json::Value = serde_json::from_slice(one.bundle.json()).unwrap();
        let other: serde_json::Value = serde_json::from_slice(other.bundle.json()).unwrap();
        let body = "/verificationMaterial/tlogEntries/0/canonicalizedBody";
        *mixed.pointer_mut(body).unwrap() = other.pointer(body).unwrap().clone();
        assert!(matches!(
            verify_by(one.trusted_root(), mixed.to_string().as_bytes()),
            Err(Rejection::TooFewLogs {
                reason: Some(LogError::Other { .. }),
                ..
            })
        ));
    }
}

#[test]
fn step_5c_a_time_counts_by_the_logs_promise_alone() {
    let good = made(&first_generation());
    let mut bundle: serde_json::Value = serde_json::from_slice(good.bundle.json()).unwrap();
    let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
    entry["integratedTime"] = (SIGNED_AT.unix_timestamp() + 1).to_string().into();
    assert!(matches!(
        verify_by(good.trusted_root(), bundle.to_string().as_bytes()),
        Err(Rejection::TooFewLogs {
            reason: Some(LogError::Promise { .. }),
            ..
        })
    ));
    // Without a promise it is in the log, but nobody knows since when.
    let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
    entry["inclusionPromise"] = serde_json::Value::Null;
    assert!(matches!(
        verify_by(good.trusted_root(), bundle.to_string().as_bytes()),
        Err(Rejection::TooFewTimes { found: 0, .. })
    ));
}

/// One of the three made bundles that another verifier takes: a tree that another trusted log signed.
#[test]
fn step_5d_a_tree_by_another_logs_key_gives_no_vote() {
    for recipe in [Recipe::default(), first_generation()] {
        for tree_by in [TreeBy::Another, TreeBy::AnotherInItsName] {
            let reason = not_logged(&Recipe {
                tree_by,
                ..recipe.clone()
            });
            assert!(
                matches!(reason, LogError::CheckpointSignature { .. }),
                "{reason:?}"
            );
        }
    }
}

#[test]
fn step_5d_an_entry_is_in_the_tree() {
    let good = made(&Recipe::default());
    let proof = "/verificationMaterial/tlogEntries/0/inclusionProof";
    for (field, value) in [
        ("hashes", serde_json::json!([])),
        ("logIndex", "0".into()),
        ("treeSize", "3".into()),
        ("rootHash", "AAAA".into()),
    ] {
        let mut bundle: serde_json::Value = serde_json::from_slice(good.bundle.json()).unwrap();
        bundle.pointer_mut(proof).unwrap()[field] = value;
        let result = verify_by(good.trusted_root(), bundle.to_string().as_bytes());
        assert!(
            matches!(
                &result,
                Err(Rejection::TooFewLogs {
                    reason: Some(LogError::NotIncluded),
                    ..
                })
            ),
            "{field}: {result:?}"
        );
    }
    let mut bundle: serde_json::Value = serde_json::from_slice(good.bundle.json()).unwrap();
    *bundle.pointer_mut(proof).unwrap() = serde_json::Value::Null;
    assert!(matches!(
        verify_by(good.trusted_root(), bundle.to_string().as_bytes()),
        Err(Rejection::TooFewLogs {
            reason: Some(LogError::NoProof),
            ..
        })
    ));
}

fn not_seen(recipe: &Recipe) -> Option<TimestampError> {
    match verify(recipe) {
        Err(Rejection::TooFewTimes {
            reason,
            wanted: 1,
            found: 0,
        }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn step_6_somebody_saw_it() {
    assert_eq!(
        not_seen(&Recipe {
            seen: None,
            ..Recipe::default()
        }),
        None
    );
}

#[test]
fn step_6b_a_timestamp_of_something_else_gives_no_vote() {
    let (one, other) = (made(&Recipe::default()), made(&Recipe::default()));
    let value =
        |it: &Made| -> serde_json::Value { serde_json::from_slice(it.bundle.json()).unwrap() };
    let mut mixed = value(&one);
    let data = "/verificationMaterial/timestampVerificationData";
    *mixed.pointer_mut(data).unwrap() = value(&other).pointer(data).unwrap().clone();
    assert!(matches!(
        verify_by(one.trusted_root(), mixed.to_string().as_bytes()),
        Err(Rejection::TooFewTimes {
            reason: Some(TimestampError::OtherSignature),
            ..
        })
    ));
}

#[test]
fn step_6c_and_d_a_clock_is_one_of_the_trusted_root() {
    let (one, other) = (made(&Recipe::default()), made(&Recipe::default()));
    // The same names and numbers, other keys.
    let mut root = one.root.clone();
    root["timestampAuthorities"] = other.root["timestampAuthorities"].clone();
    let root = TrustedRoot::parse(root.to_string().as_bytes()).unwrap();
    assert!(matches!(
        verify_by(root, one.bundle.json()),
        Err(Rejection::TooFewTimes {
            reason: Some(TimestampError::Signature),
            ..
        })
    ));
}

#[test]
fn step_6d_a_clock_is_certified_for_this_at_that_time() {
    let default = Recipe::default;
    for recipe in [
        Recipe {
            clock: past(),
            ..default()
        },
        Recipe {
            clock_trusted: past(),
            ..default()
        },
        Recipe {
            clock_purpose: default().purpose,
            ..default()
        },
    ] {
        let reason = not_seen(&recipe);
        assert!(
            matches!(reason, Some(TimestampError::Chain { .. })),
            "{reason:?}"
        );
    }
}

fn not_certified(recipe: &Recipe) -> ChainError {
    match verify(recipe) {
        Err(Rejection::NotCertified { source, holder }) => {
            assert_eq!(holder.subject(), Some(SUBJECT));
            source
        }
        other => panic!("{other:?}"),
    }
}

/// One of the three made bundles that another verifier takes: the certificate between the root and
/// the signer's had expired.
#[test]
fn step_7_an_expired_intermediate_is_no_anchor() {
    for recipe in [Recipe::default(), first_generation()] {
        assert!(matches!(
            not_certified(&Recipe {
                intermediate: past(),
                ..recipe
            }),
            ChainError::NotValid { .. }
        ));
    }
}

#[test]
fn step_7_the_whole_chain_is_valid_for_signing_at_each_time() {
    let default = Recipe::default;
    assert!(matches!(
        not_certified(&Recipe {
            root: past(),
            ..default()
        }),
        ChainError::RootNotValid { .. }
    ));
    assert!(matches!(
        not_certified(&Recipe {
            leaf: past(),
            ..default()
        }),
        ChainError::NotValid { .. }
    ));
    assert!(matches!(
        not_certified(&Recipe {
            purpose: TIME_STAMPING.to_vec(),
            ..default()
        }),
        ChainError::Purpose { .. }
    ));
    assert!(matches!(
        not_certified(&Recipe {
            intermediate_purpose: Some(TIME_STAMPING.to_vec()),
            ..default()
        }),
        ChainError::NoPath { .. }
    ));
    assert!(matches!(
        not_certified(&Recipe {
            root_path_length: 0,
            ..default()
        }),
        ChainError::NoPath { .. }
    ));
    // A promise at another time than the clock's: both count.
    let late = SIGNED_AT + Duration::days(1);
    assert!(matches!(
        not_certified(&Recipe {
            logged: late,
            seen: Some(SIGNED_AT),
            ..first_generation()
        }),
        ChainError::NotValid { time } if time == late
    ));
    verify(&Recipe {
        intermediate_purpose: None,
        ..default()
    })
    .unwrap();
}

#[test]
fn step_7_an_authority_is_one_of_the_trusted_root() {
    let (one, other) = (made(&Recipe::default()), made(&Recipe::default()));
    let mut root = one.root.clone();
    root["certificateAuthorities"] = other.root["certificateAuthorities"].clone();
    let root = TrustedRoot::parse(root.to_string().as_bytes()).unwrap();
    assert!(matches!(
        verify_by(root, one.bundle.json()),
        Err(Rejection::NotCertified {
            source: ChainError::NoPath { .. },
            ..
        })
    ));
}

#[test]
fn step_8_a_certificate_was_published() {
    for (published, expected) in [
        (Published::No, "Missing"),
        (Published::Unknown, "UnknownLog"),
        (Published::Forged, "Signature"),
    ] {
        let recipe = Recipe {
            published,
            ..Recipe::default()
        };
        match verify(&recipe) {
            Err(Rejection::NotPublished { source }) => {
                let is_expected = match source {
                    SctError::Missing => expected == "Missing",
                    SctError::UnknownLog { .. } => expected == "UnknownLog",
                    SctError::Signature { .. } => expected == "Signature",
                    _ => false,
                };
                assert!(is_expected, "{source:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// All bytes but most of those in long values, where one is like the next.
fn changed_bytes(json: &[u8]) -> Vec<usize> {
    let mut run = 0;
    let mut chosen = Vec::new();
    for (at, byte) in json.iter().enumerate() {
        run = if byte.is_ascii_alphanumeric() || b"+/=".contains(byte) {
            run + 1
        } else {
            0
        };
        if run < 24 || run % 16 == 0 {
            chosen.push(at);
        }
    }
    chosen
}

/// The bytes of a good bundle, changed: never accepted as something else. What nobody signs, and
/// changes nothing, may be anything.
#[test]
fn a_bundle_with_any_byte_changed_is_never_another_claim() {
    for recipe in [Recipe::default(), first_generation()] {
        let good = made(&recipe);
        let root = good.trusted_root();
        let original = verify_by(root.clone(), good.bundle.json()).unwrap();
        let json = good.bundle.json();
        let mut survivors = Vec::new();
        for at in changed_bytes(json) {
            let mut bad = json.to_vec();
            bad[at] ^= 1;
            if let Ok(verified) = verify_by(root.clone(), &bad) {
                assert_eq!(verified.payload(), original.payload());
                assert_eq!(verified.proof(), original.proof(), "byte {at}");
                let around = &json[at.saturating_sub(20)..(at + 20).min(json.len())];
                survivors.push(String::from_utf8_lossy(around).into_owned());
            }
        }
        assert_eq!(survivors, [] as [&str; 0]);
    }
}

/// Every value of a good bundle taken out, emptied, or taken from another bundle of the same signer.
#[test]
fn a_bundle_with_any_field_of_another_is_never_accepted() {
    for recipe in [Recipe::default(), first_generation()] {
        let (good, other) = (made(&recipe), made(&recipe));
        let root = good.trusted_root();
        let value: serde_json::Value = serde_json::from_slice(good.bundle.json()).unwrap();
        let other: serde_json::Value = serde_json::from_slice(other.bundle.json()).unwrap();
        for pointer in pointers(&value, "") {
            let at = value.pointer(&pointer).unwrap();
            let swapped = other.pointer(&pointer).cloned();
            let changes = [
                Some(serde_json::Value::Null),
                Some("".into()),
                Some(serde_json::json!([])),
                Some(serde_json::json!({})),
                swapped,
            ];
            for change in changes.into_iter().flatten().filter(|it| it != at) {
                let mut bad = value.clone();
                *bad.pointer_mut(&pointer).unwrap() = change.clone();
                let result = verify_by(root.clone(), bad.to_string().as_bytes());
                assert!(result.is_err(), "{pointer}: {change}");
            }
        }
    }
}

/// All values of a document but the whole.
fn pointers(value: &serde_json::Value, at: &str) -> Vec<String> {
    let children: Vec<_> = match value {
        serde_json::Value::Object(fields) => fields
            .iter()
            .map(|(name, it)| (format!("{at}/{name}"), it))
            .collect(),
        serde_json::Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(number, it)| (format!("{at}/{number}"), it))
            .collect(),
        _ => Vec::new(),
    };
    children
        .into_iter()
        .flat_map(|(pointer, it)| {
            let below = pointers(it, &pointer);
            [pointer].into_iter().chain(below)
        })
        .collect()
}
