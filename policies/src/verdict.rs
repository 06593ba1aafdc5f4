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
