//! Verdicts as verification summaries.

use std::collections::BTreeMap;

use intoto::{
    InputAttestation, ResourceDescriptor, Statement, SummaryPolicy, SummaryVerifier, Timestamp,
    Vsa, VsaResult,
};

use crate::verdict::Verdict;

/// Who judged what under which name: what a verification summary says besides the verdict.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever judges has to say all of it"
)]
pub struct Judge<'a> {
    /// The verifier's URI. Others will bind it to the key that signs the summary.
    pub verifier_id: &'a str,
    /// The name under which the image was judged.
    pub resource_uri: &'a str,
    /// The policy's URI.
    pub policy_uri: &'a str,
    /// When.
    pub at: &'a Timestamp,
}

/// The level of an image that passed a policy which shows no SLSA level.
const POLICY_PASSED: &str = "SEALPACK_POLICY_PASSED";

impl Verdict {
    /// Says it as a SLSA verification summary, so that a later gate needs one check, not all.
    ///
    /// `verifiedLevels` claims a SLSA build level only if the `slsa` rules hold for an accepted
    /// provenance, and then the one that the policy trusts its builder to reach; else it has a
    /// level of our own.
    ///
    /// <https://slsa.dev/spec/v1.2/verification_summary>
    pub fn summary(&self, judge: &Judge<'_>) -> Statement<Vsa> {
        let (result, levels) = match (self.accepted(), self.build_level()) {
            (false, _) => (VsaResult::Failed, "FAILED".to_owned()),
            (true, Some(level)) => (VsaResult::Passed, format!("SLSA_BUILD_LEVEL_{level}")),
            (true, None) => (VsaResult::Passed, POLICY_PASSED.to_owned()),
        };
        let vsa = Vsa {
            verifier: SummaryVerifier {
                id: judge.verifier_id.to_owned(),
                version: BTreeMap::from([(
                    "sealpack".to_owned(),
                    env!("CARGO_PKG_VERSION").to_owned(),
                )]),
            },
            time_verified: Some(judge.at.clone()),
            resource_uri: judge.resource_uri.to_owned(),
            policy: SummaryPolicy {
                uri: judge.policy_uri.to_owned(),
                digest: ResourceDescriptor::of(self.policy()).digest,
            },
            input_attestations: self
                .evidence()
                .iter()
                .map(|it| InputAttestation::from(&it.digest))
                .collect(),
            verification_result: result,
            verified_levels: vec![levels],
            dependency_levels: BTreeMap::new(),
            slsa_version: Some("1.2".to_owned()),
        };
        Statement::about(self.image(), vsa)
    }
}
