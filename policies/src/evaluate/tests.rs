use std::fmt::Write as _;

use attest::SignerPattern;
use intoto::{Timestamp, VsaResult};
use oci::Descriptor;
use serde::Deserialize;
use serde_json::Map;

use super::*;
use crate::policy::tests::in_memory;
use crate::shipped::SHIPPED;
use crate::summary::Judge;
use crate::testing::{Keys, image};

/// What a rule says of some evidence: an entry of the file beside the rule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    note: String,
    /// When it is judged.
    now: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    require: Vec<String>,
    statements: Vec<Claim>,
    findings: Vec<String>,
}

/// A statement that is attached.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    #[serde(rename = "claim")]
    kind: String,
    /// `a` and `b` are accepted.
    #[serde(default = "default_signer")]
    signer: String,
    #[serde(default)]
    predicate: Value,
}

fn default_signer() -> String {
    "a".to_owned()
}

fn predicate_type(claim: &str) -> PredicateType {
    match claim {
        "signature" => PredicateType::COSIGN_SIGN,
        "provenance" => PredicateType::SLSA_PROVENANCE_V1,
        other => other.parse().unwrap(),
    }
}

fn cases(set: &str, file: &str, keys: &mut Keys, image: &Descriptor) -> Vec<Case> {
    let path = format!(
        "{}/rules/{set}/{}",
        env!("CARGO_MANIFEST_DIR"),
        file.replace(".rego", ".json")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("no cases: {path}"));
    let text = text
        .replace("$digest", image.digest.as_str())
        .replace("$hex", image.digest.hex())
        .replace("$a", &keys.fingerprint("a"))
        .replace("$b", &keys.fingerprint("b"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A policy that uses the shipped rules `sets` and accepts `signers` for all kinds of claims.
fn policy(
    sets: &[&str],
    own: Option<&str>,
    signers: &[SignerPattern],
    require: &[String],
    parameters: Map<String, Value>,
) -> Policy {
    let mut text = "[[accept]]\nclaims = [\"signature\", \"provenance\", \"cyclonedx\", \"spdx\", \"vsa\", \"health\"]\nsigner = \"given\"\n".to_owned();
    for claim in require {
        writeln!(text, "[[require]]\nclaim = \"{claim}\"").unwrap();
    }
    writeln!(text, "[rules]\nuse = {sets:?}").unwrap();
    if own.is_some() {
        text.push_str("files = [\"own.rego\"]\n");
    }
    let own = own.map(|it| ("own.rego", it));
    in_memory(&text, signers, own.as_slice())
        .unwrap()
        .with_parameters(parameters)
}

fn messages(verdict: &Verdict) -> Vec<&str> {
    verdict
        .findings()
        .iter()
        .map(|it| it.message.as_str())
        .collect()
}

#[test]
fn what_is_missing_is_one_cause() {
    let mut keys = Keys::default();
    let image = image("app");
    let claims = ["signature", "provenance", "cyclonedx", "spdx", "health"];
    let all = claims.map(str::to_owned);
    let sets = ["health", "sbom", "signature", "slsa"];
    let policy = policy(&sets, None, &[keys.identity("a")], &all, Map::new());
    let verdict = evaluate(&policy, &Evidence::about(&image, Vec::new())).unwrap();
    let causes: Vec<_> = verdict
        .causes()
        .iter()
        .map(|it| it.message.clone())
        .collect();
    assert_eq!(
        verdict.findings().len(),
        2 * claims.len(),
        "{:?}",
        verdict.findings()
    );
    let mut expected = claims
        .map(|it| format!("no {it} by an accepted signer"))
        .to_vec();
    expected.sort();
    let mut said = causes.clone();
    said.sort();
    assert_eq!(said, expected);
    // Nobody else says that it is missing.
    let policy = self::policy(&sets, None, &[keys.identity("a")], &[], Map::new());
    let verdict = evaluate(&policy, &Evidence::about(&image, Vec::new())).unwrap();
    assert_eq!(verdict.causes().len(), verdict.findings().len());
}

#[test]
fn shipped_rules_find_what_their_cases_say() {
    let mut keys = Keys::default();
    let image = image("app");
    for shipped in SHIPPED {
        let file = shipped.name.rsplit('/').next().unwrap();
        for case in cases(shipped.set, file, &mut keys, &image) {
            let note = format!("{}: {}", shipped.name, case.note);
            let signers: std::collections::BTreeSet<&str> = case
                .statements
                .iter()
                .map(|it| it.signer.as_str())
                .collect();
            let identities: Vec<_> = signers.iter().map(|it| keys.identity(it)).collect();
            let given = if identities.is_empty() {
                vec![keys.identity("a")]
            } else {
                identities
            };
            let policy = policy(&[shipped.set], None, &given, &case.require, case.parameters);
            let verified = case.statements.iter().map(|it| {
                keys.claim(
                    &image,
                    &it.signer,
                    &predicate_type(&it.kind),
                    it.predicate.clone(),
                )
            });
            let mut evidence = Evidence::about(&image, verified.collect::<Vec<_>>());
            if let Some(now) = case.now {
                evidence = evidence.at(now.try_into().unwrap());
            }
            let verdict =
                evaluate(&policy, &evidence).unwrap_or_else(|error| panic!("{note}: {error:?}"));
            assert_eq!(messages(&verdict), case.findings, "{note}");
            assert_eq!(verdict.accepted(), case.findings.is_empty(), "{note}");
        }
    }
}

#[test]
fn only_accepted_claims_about_this_image_count() {
    let mut keys = Keys::default();
    let app = image("app");
    let given = [keys.identity("a")];
    let require = ["signature".to_owned()];
    let policy = policy(&["signature"], None, &given, &require, Map::new());
    let sign = PredicateType::COSIGN_SIGN;
    for (evidence, expected) in [
        (vec![keys.claim(&app, "a", &sign, json!({}))], true),
        // By a key that somebody else accepts, not this policy.
        (vec![keys.claim(&app, "stranger", &sign, json!({}))], false),
        // Of another image.
        (
            vec![keys.claim(&image("other"), "a", &sign, json!({}))],
            false,
        ),
        // An SBOM by the right key is no signature.
        (
            vec![keys.claim(&app, "a", &PredicateType::SPDX, json!({}))],
            false,
        ),
        (vec![], false),
    ] {
        let verdict = evaluate(&policy, &Evidence::about(&app, evidence)).unwrap();
        assert_eq!(verdict.accepted(), expected);
        if !expected {
            assert_eq!(
                messages(&verdict),
                [
                    "no signature by an accepted signer",
                    "0 of 1 required signers found"
                ]
            );
        }
    }
}

#[test]
fn what_cannot_be_decided_is_an_error() {
    let mut keys = Keys::default();
    let app = image("app");
    let given = [keys.identity("a")];
    let evidence = Evidence::about(&app, []);
    let rego = |body: &str| {
        let own = format!("package sealpack.own\n\n{body}\n");
        let policy = policy(&[], Some(&own), &given, &[], Map::new());
        evaluate(&policy, &evidence)
            .map(|it| it.accepted())
            .map_err(|error| match error {
                EvaluateError::Rego(error) => {
                    assert!(error.file.ends_with("own.rego"), "{error:?}");
                    let line = error.line.map(|it| it.to_string()).unwrap_or_default();
                    format!("{line}: {}", error.message)
                }
                other => other.to_string(),
            })
    };
    assert_eq!(
        rego("deny contains \"no\" if input.image.size > 0"),
        Ok(false)
    );
    assert_eq!(
        rego("deny contains \"no\" if input.image.size > 9000"),
        Ok(true)
    );
    for (body, expected) in [
        (
            "deny contains \"x\" if http.send({\"url\": \"http://127.0.0.1\"}).status == 200",
            "3: `http.send` is not for rules: they see only what is proven",
        ),
        (
            "deny contains \"x\" if time.now_ns() > 0",
            "3: `time.now_ns`: no time was given",
        ),
        (
            "deny contains \"x\" if to_number(\"x\") > 0",
            "3: could not parse string as number",
        ),
        (
            "deny contains \"x\" if no.such(1)",
            "3: could not find function no.such",
        ),
    ] {
        assert_eq!(rego(body), Err(expected.to_owned()), "{body}");
    }
    for body in [
        "deny := 1",
        "deny contains 7 if true",
        "deny contains {\"message\": 7} if true",
    ] {
        let error = rego(body).unwrap_err();
        assert!(error.contains("is not a set of texts"), "{error}");
    }
}

#[test]
fn a_given_time_is_the_time() {
    let mut keys = Keys::default();
    let app = image("app");
    let own = "package sealpack.own\ndeny contains \"late\" if time.now_ns() > 1000000000\n";
    let policy = policy(&[], Some(own), &[keys.identity("a")], &[], Map::new());
    for (now, accepted) in [
        ("1970-01-01T00:00:01Z", true),
        ("1970-01-01T00:00:02Z", false),
    ] {
        let now = Timestamp::try_from(now.to_owned()).unwrap();
        let verdict = evaluate(&policy, &Evidence::about(&app, []).at(now)).unwrap();
        assert_eq!(verdict.accepted(), accepted);
    }
}

/// What makes the shipped rules content.
fn good(image: &Descriptor) -> Vec<Claim> {
    let digest = image.digest.as_str();
    let claim = |claim: &str, signer: &str, predicate| Claim {
        kind: claim.to_owned(),
        signer: signer.to_owned(),
        predicate,
    };
    let provenance = |id: &str| {
        json!({
            "buildDefinition": {
                "buildType": "https://example.test/t",
                "externalParameters": { "source": {} },
                "resolvedDependencies": [{ "name": "source", "digest": { "sha256": "00" } }],
            },
            "runDetails": { "builder": { "id": id } },
        })
    };
    vec![
        claim("signature", "a", json!({})),
        claim("signature", "b", json!({})),
        claim("provenance", "a", provenance("https://good")),
        claim("provenance", "b", provenance("https://bad")),
        claim(
            "cyclonedx",
            "a",
            json!({
                "metadata": { "component": { "version": digest } },
                "components": [{ "type": "library", "name": "x" }],
            }),
        ),
        claim("cyclonedx", "b", json!({ "components": [] })),
        claim(
            "spdx",
            "a",
            json!({
                "packages": [
                    { "SPDXID": "i", "name": "i", "versionInfo": digest },
                    { "SPDXID": "p", "name": "p", "versionInfo": "1" },
                ],
                "relationships": [{ "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "i" }],
            }),
        ),
    ]
}

fn strict(keys: &mut Keys) -> Policy {
    let fingerprint = keys.fingerprint("a");
    let parameters = json!({
        "builder-ids": ["https://good"],
        "builder-signers": { "https://good": [fingerprint] },
        "builder-levels": { "https://good": 2 },
    });
    policy(
        &["signature", "slsa", "sbom"],
        None,
        &[keys.identity("a"), keys.identity("b")],
        &["signature", "provenance", "cyclonedx", "spdx"].map(str::to_owned),
        parameters.as_object().unwrap().clone(),
    )
}

fn verified(keys: &mut Keys, image: &Descriptor) -> Vec<Verified> {
    good(image)
        .into_iter()
        .map(|it| keys.claim(image, &it.signer, &predicate_type(&it.kind), it.predicate))
        .collect()
}

#[test]
fn a_summary_claims_no_more_than_is_shown() {
    let mut keys = Keys::default();
    let app = image("app");
    let strict = strict(&mut keys);
    let all = verified(&mut keys, &app);
    let at = Timestamp::try_from("2026-01-01T00:00:00Z".to_owned()).unwrap();
    let judge = Judge {
        verifier_id: "https://example.test/verifier",
        resource_uri: "registry.example/app",
        policy_uri: "https://example.test/policy",
        at: &at,
    };
    let summary = |policy: &Policy, evidence: Vec<Verified>| {
        let verdict = evaluate(policy, &Evidence::about(&app, evidence)).unwrap();
        let summary = verdict.summary(&judge);
        assert!(summary.is_about(&app.digest));
        assert_eq!(
            summary.predicate().policy.digest["sha256"],
            policy.digest().hex()
        );
        let vsa = summary.predicate();
        (
            vsa.verification_result,
            vsa.verified_levels.clone(),
            vsa.input_attestations.len(),
        )
    };
    // Without the provenance by the key that is not bound to a builder.
    let mut without = all.clone();
    without.remove(3);
    assert_eq!(
        summary(&strict, without),
        (VsaResult::Passed, vec!["SLSA_BUILD_LEVEL_2".to_owned()], 6)
    );
    assert_eq!(
        summary(&strict, all.clone()),
        (VsaResult::Passed, vec!["SLSA_BUILD_LEVEL_1".to_owned()], 7)
    );
    assert_eq!(
        summary(&strict, Vec::new()),
        (VsaResult::Failed, vec!["FAILED".to_owned()], 0)
    );
    let require = ["provenance".to_owned()];
    let lenient = policy(&[], None, &[keys.identity("a")], &require, Map::new());
    let (result, levels, _) = summary(&lenient, all);
    assert_eq!(
        (result, levels),
        (VsaResult::Passed, vec!["SEALPACK_POLICY_PASSED".to_owned()])
    );
}

#[test]
fn a_verdict_is_a_documented_type() {
    let mut keys = Keys::default();
    let app = image("app");
    let policy = strict(&mut keys);
    let verdict = evaluate(&policy, &Evidence::about(&app, [])).unwrap();
    let value = serde_json::to_value(&verdict).unwrap();
    assert_eq!(value["accepted"], false);
    assert_eq!(value["image"]["digest"], app.digest.as_str());
    assert_eq!(value["policy"], policy.digest().as_str());
    assert_eq!(value["findings"][0]["rule"], "require");
    assert_eq!(value["evidence"], json!([]));
}

#[test]
fn taking_evidence_away_never_helps() {
    let mut keys = Keys::default();
    let app = image("app");
    let policy = strict(&mut keys);
    let all = verified(&mut keys, &app);
    let accepted: Vec<bool> = (0..1_usize << all.len())
        .map(|subset| {
            let some = (0..).zip(&all).filter(|(bit, _)| subset >> bit & 1 == 1);
            let evidence = Evidence::about(&app, some.map(|(_, it)| it.clone()));
            evaluate(&policy, &evidence).unwrap().accepted()
        })
        .collect();
    assert_eq!(accepted.iter().filter(|it| **it).count(), 12);
    for subset in 0..accepted.len() {
        for less in (0..all.len()).map(|bit| subset & !(1 << bit)) {
            assert!(accepted[subset] || !accepted[less], "{subset:b} {less:b}");
        }
    }
}

#[test]
fn large_names_are_judged_in_time() {
    let mut keys = Keys::default();
    let app = image("app");
    let parameters = json!({
        "denied-licenses": ["AGPL-3.0"],
        "denied-purls": ["pkg:npm/left-pad", "pkg:npm/@*/b"],
    });
    let policy = policy(
        &["sbom"],
        None,
        &[keys.identity("a")],
        &[],
        parameters.as_object().unwrap().clone(),
    );
    let name = format!("pkg:npm/{}@1", "a%21".repeat(1000));
    let components: Vec<_> = (0..15)
        .map(|it| json!({ "type": "library", "name": "x", "purl": format!("{name}{it}") }))
        .collect();
    let bom = |components: Value| json!({ "metadata": { "component": { "version": app.digest.as_str() } }, "components": components });
    let long = format!("pkg:npm/{}@1", "a%21".repeat(20_000));
    let denied = format!("pkg:npm/left-pad@1{}", "a".repeat(80_000));
    let described = json!({ "SPDXID": "i", "name": "i", "versionInfo": app.digest.as_str() });
    let packages = (0..400).map(
        |it| json!({ "name": format!("p{it}"), "licenseDeclared": format!("LicenseRef-{it}") }),
    );
    let packages: Vec<_> = std::iter::once(described).chain(packages).collect();
    let infos: Vec<_> = (0..400)
        .map(|it| json!({ "licenseId": format!("LicenseRef-{it}"), "name": "AGPL-3.0-only" }))
        .collect();
    let spdx = json!({
        "documentDescribes": ["i"],
        "packages": packages,
        "hasExtractedLicensingInfos": infos,
    });
    for (kind, predicate, count, first) in [
        (PredicateType::CYCLONEDX, bom(components.into()), 0, ""),
        (
            PredicateType::CYCLONEDX,
            bom(json!([{ "type": "library", "name": "x", "purl": long }])),
            1,
            "purl of more than 4096 characters: `pkg:npm/a%21a%21",
        ),
        // Not compared, though it is denied.
        (
            PredicateType::CYCLONEDX,
            bom(json!([{ "type": "library", "name": "x", "purl": denied }])),
            1,
            "purl of more than 4096 characters: `pkg:npm/left-pad@1aaaa",
        ),
        (
            PredicateType::SPDX,
            spdx,
            400,
            "`p0@?` has the denied licence `AGPL-3.0-only` (`LicenseRef-0`)",
        ),
    ] {
        let claim = keys.claim(&app, "a", &kind, predicate);
        // Rules that run for too long are an error.
        let verdict = evaluate(&policy, &Evidence::about(&app, [claim])).unwrap();
        let said = messages(&verdict);
        assert_eq!(said.len(), count, "{:?}", said.first());
        assert!(
            said.first().is_none_or(|it| it.starts_with(first)),
            "{said:?}"
        );
    }
}
