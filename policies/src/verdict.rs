//! What a policy says of an image.

use intoto::PredicateType;
use oci::{Descriptor, Digest};
use serde::Serialize;

/// What a policy says of an image. Serialises in `camelCase`; lists are sorted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    accepted: bool,
    image: Descriptor,
    policy: Digest,
    findings: Vec<Finding>,
    satisfied: Vec<Satisfied>,
    evidence: Vec<Ground>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_level: Option<u8>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Which rule says so: `require`, or a package of rules without the leading `sealpack.`.
    pub rule: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
}

/// One thing that was asked for and is there.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub struct Satisfied {
    /// Which rule asked: `require`, or a package of rules.
    pub rule: String,
    /// Of `require`: which claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<PredicateType>,
}

/// A statement that the verdict rests on.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Ground {
    /// What kind of claim.
    pub predicate_type: PredicateType,
    /// Who made it, for people.
    pub signer: String,
    /// The digest of the bundle.
    pub digest: Digest,
}

/// What shipped rules say where there is no claim to look at: the rule, how that begins, and what is said
/// where the policy asks for the claim as well.
const ABSENT: [(&str, &str, &str); 5] = [
    (
        "health",
        "no statement about the health",
        "no health by an accepted signer",
    ),
    (
        "sbom",
        "no SBOM (cyclonedx) by",
        "no cyclonedx by an accepted signer",
    ),
    ("sbom", "no SBOM (spdx) by", "no spdx by an accepted signer"),
    ("signature", "0 of ", "no signature by an accepted signer"),
    (
        "slsa",
        "no SLSA provenance by",
        "no provenance by an accepted signer",
    ),
];

impl Verdict {
    /// Accepted is what has no finding.
    pub(crate) fn new(
        image: Descriptor,
        policy: Digest,
        mut findings: Vec<Finding>,
        mut satisfied: Vec<Satisfied>,
        evidence: Vec<Ground>,
        build_level: Option<u8>,
    ) -> Self {
        findings.sort();
        findings.dedup();
        satisfied.sort();
        Self {
            accepted: findings.is_empty(),
            image,
            policy,
            findings,
            satisfied,
            evidence,
            build_level,
        }
    }

    /// Whether the image may be used.
    pub fn accepted(&self) -> bool {
        self.accepted
    }

    /// Which image it is about.
    pub fn image(&self) -> &Descriptor {
        &self.image
    }

    /// The digest of the policy: its file, its rules, and whom it accepts.
    pub fn policy(&self) -> &Digest {
        &self.policy
    }

    /// All that is wrong, by rule.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What is wrong, each cause once: that a claim is missing which has to be there is said by the policy,
    /// and again by the rules about such claims.
    pub fn causes(&self) -> Vec<&Finding> {
        let is_said = |message: &str| self.findings.iter().any(|it| it.message == message);
        let is_repeated = |it: &&Finding| {
            ABSENT.iter().any(|(rule, begin, said)| {
                it.rule == *rule && it.message.starts_with(begin) && is_said(said)
            })
        };
        self.findings.iter().filter(|it| !is_repeated(it)).collect()
    }

    /// All that was asked for and is there, by rule.
    pub fn satisfied(&self) -> &[Satisfied] {
        &self.satisfied
    }

    /// The statements that were judged, by digest.
    pub fn evidence(&self) -> &[Ground] {
        &self.evidence
    }

    /// The SLSA build level that is shown, if any: what the policy trusts the builder to reach.
    pub fn build_level(&self) -> Option<u8> {
        self.build_level
    }
}
