//! Judges evidence by a policy.

use attest::Verified;
use intoto::{PredicateType, Provenance};
use serde_json::{Value, json};

use crate::engine::EvaluateError;
use crate::evidence::{self, Evidence, statement};
use crate::policy::Policy;
use crate::verdict::{Finding, Ground, Satisfied, Verdict};

/// Judges an image: looks for all claims that `policy` requires and applies every rule; does not
/// stop at the first finding.
///
/// Evidence that the policy does not accept is as if it were not there, whoever verified it.
pub fn evaluate(policy: &Policy, evidence: &Evidence) -> Result<Verdict, EvaluateError> {
    let accepted: Vec<&Verified> = evidence.accepted(policy.accepts()).collect();
    let mut findings = Vec::new();
    let mut satisfied = Vec::new();
    for claim in policy.required() {
        if accepted.iter().any(|it| it.predicate_type() == claim) {
            satisfied.push(Satisfied {
                rule: REQUIRE.to_owned(),
                claim: Some(claim.clone()),
            });
        } else {
            findings.push(missing(claim));
        }
    }
    let judged = policy
        .rules()
        .evaluate(input(policy, evidence, &accepted), evidence.now())?;
    let is_slsa = judged.get("slsa").is_some_and(Vec::is_empty);
    for (package, found) in judged {
        if found.is_empty() {
            satisfied.push(Satisfied {
                rule: package.to_owned(),
                claim: None,
            });
        }
        findings.extend(found);
    }
    let proofs = accepted
        .iter()
        .map(|it| Ground {
            predicate_type: it.predicate_type().clone(),
            signer: it.signer().to_string(),
            digest: it.bundle().clone(),
        })
        .collect();
    let build_level = is_slsa.then(|| build_level(policy, &accepted)).flatten();
    Ok(Verdict::new(
        evidence.image().clone(),
        policy.digest().clone(),
        findings,
        satisfied,
        proofs,
        build_level,
    ))
}

/// The rule that asks for claims.
const REQUIRE: &str = "require";

fn missing(claim: &PredicateType) -> Finding {
    let what = match claim {
        it if *it == PredicateType::COSIGN_SIGN => "signature".to_owned(),
        it if *it == PredicateType::SLSA_PROVENANCE_V1 => "provenance".to_owned(),
        it => it
            .short_name()
            .map_or_else(|| format!("claim of type `{it}`"), str::to_owned),
    };
    Finding {
        rule: REQUIRE.to_owned(),
        message: format!("no {what} by an accepted signer"),
        solution: Some("attach one, or accept its signer in the policy".to_owned()),
    }
}

/// What the rules see.
fn input(policy: &Policy, evidence: &Evidence, accepted: &[&Verified]) -> Value {
    let accept: Vec<Value> = policy.accepts().iter().map(evidence::accept).collect();
    let image = evidence.image();
    let mut input = json!({
        "image": { "mediaType": image.media_type, "digest": image.digest, "size": image.size },
        "statements": accepted.iter().map(|it| statement(it)).collect::<Vec<_>>(),
        "policy": { "accept": accept, "require": policy.required() },
        "parameters": policy.parameters(),
    });
    if let (Some(now), Some(input)) = (evidence.now(), input.as_object_mut()) {
        input.insert("now".to_owned(), now.as_str().into());
    }
    input
}

/// The level that the policy trusts the builders to reach that are in the accepted provenance: of
/// several, the lowest. The `slsa` rules have bound them to their signers.
fn build_level(policy: &Policy, accepted: &[&Verified]) -> Option<u8> {
    let levels = policy.parameters().get("builder-levels");
    accepted
        .iter()
        .filter_map(|it| it.statement().predicate_as::<Provenance>().ok())
        .map(|it| {
            let level = levels
                .and_then(|levels| levels.get(&it.run_details.builder.id)?.as_u64())
                .and_then(|level| u8::try_from(level).ok());
            level.unwrap_or(1).clamp(1, 3)
        })
        .min()
}

#[cfg(test)]
mod tests;
