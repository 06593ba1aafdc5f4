//! SLSA verification summaries, as plain data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::null_is_unset;
use crate::{DigestSet, Predicate, PredicateType, ResourceDescriptor, Timestamp};

/// A verification summary: someone judged an artifact, and says with what result.
///
/// <https://slsa.dev/spec/v1.2/verification_summary>
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vsa {
    /// Who judged.
    pub verifier: SummaryVerifier,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_verified: Option<Timestamp>,
    /// Under which name the artifact was judged.
    pub resource_uri: String,
    /// By which policy.
    pub policy: SummaryPolicy,
    /// On what evidence.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub input_attestations: Vec<InputAttestation>,
    /// With what result.
    pub verification_result: VsaResult,
    /// Which levels were met: `SLSA_BUILD_LEVEL_2`, …, or a verifier's own, or `FAILED`.
    pub verified_levels: Vec<String>,
    /// How many dependencies met each level.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub dependency_levels: BTreeMap<String, u64>,
    /// The version of SLSA that the levels are from, e.g. `1.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slsa_version: Option<String>,
}

impl Predicate for Vsa {
    const TYPE: PredicateType = PredicateType::SLSA_VSA_V1;
}

/// Who judged. Believe it only from a signer who may speak for this `id`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SummaryVerifier {
    /// A URI.
    pub id: String,
    /// The verifier's components and their versions.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub version: BTreeMap<String, String>,
}

/// By which policy it was judged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SummaryPolicy {
    /// Its name.
    pub uri: String,
    /// Which version of it.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub digest: DigestSet,
}

/// An attestation that the judgement rests on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InputAttestation {
    /// Where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Which it is.
    pub digest: DigestSet,
}

impl From<&oci::Digest> for InputAttestation {
    fn from(digest: &oci::Digest) -> Self {
        Self {
            uri: None,
            digest: ResourceDescriptor::of(digest).digest,
        }
    }
}

/// What came of it. A [`Vsa`] that says `Failed` proves nothing good.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(clippy::exhaustive_enums, reason = "the specification knows these two")]
pub enum VsaResult {
    /// The artifact meets the policy.
    Passed,
    /// It does not.
    Failed,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_written_as_the_specification_has_it() {
        let value = json!({
            "verifier": {"id": "https://example.test/v", "version": {"v": "1"}},
            "timeVerified": "2026-01-01T00:00:00Z",
            "resourceUri": "registry.example/app",
            "policy": {"uri": "https://example.test/p", "digest": {"sha256": "00"}},
            "inputAttestations": [{"digest": {"sha256": "01"}}],
            "verificationResult": "PASSED",
            "verifiedLevels": ["SLSA_BUILD_LEVEL_2"],
            "slsaVersion": "1.2",
        });
        let vsa = Vsa::deserialize(&value).unwrap();
        assert_eq!(serde_json::to_value(&vsa).unwrap(), value);
        let other = value.to_string().replace("PASSED", "passed");
        assert!(serde_json::from_str::<Vsa>(&other).is_err());
    }
}
