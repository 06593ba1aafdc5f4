//! What is attached to an image, sorted into what proves something and what does not.

use attest::{
    Accept, AttachError, Discovered, Rejected, Rejection, SignerPattern, Verified, discover,
};
use intoto::PredicateType;
use oci::{Descriptor, Limits, Store};
use serde::Serialize;

use crate::trust::Trust;

/// What was found attached to an image.
#[derive(Debug)]
#[non_exhaustive]
pub struct Proof {
    /// What proves something, by an accepted signer.
    pub verified: Vec<Verified>,
    /// Bundles that prove nothing.
    pub rejected: Vec<Rejected>,
    /// All that was found.
    pub discovered: Discovered,
    /// Who is believed about something.
    signers: Vec<SignerPattern>,
}

/// What was attached but proves nothing. Serialises in `camelCase`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub struct Unproven {
    /// Why it proves nothing.
    pub reason: String,
    /// The digest of the referrer.
    pub manifest: String,
    /// What it claims, if it is by somebody who is believed, but not about that.
    #[serde(skip)]
    pub claim: Option<OtherClaim>,
}

/// A claim by somebody who is believed about others only.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct OtherClaim {
    /// Who signed it, for people.
    pub signer: String,
    /// What kind of claim it is.
    pub predicate_type: PredicateType,
}

/// Why it is not known what is proven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The store could not be asked.
    #[error(transparent)]
    Attached(#[from] AttachError),
}

/// Reads what is attached to `image`, and verifies what is by one of `accepted`.
pub async fn prove(
    store: &dyn Store,
    image: &Descriptor,
    accepted: &[Accept],
    trust: &Trust,
    limits: &Limits,
) -> Result<Proof, ProofError> {
    let discovered = discover(store, image, limits).await?;
    Ok(Proof::of(discovered, image, accepted, trust))
}

impl Proof {
    /// Verifies what was found. Works hard, and waits for nothing.
    pub(crate) fn of(
        discovered: Discovered,
        image: &Descriptor,
        accepted: &[Accept],
        trust: &Trust,
    ) -> Self {
        let verifier = trust.verifier();
        let (verified, rejected) = verifier.verify_all(&discovered.attached, image, accepted);
        Self {
            verified,
            rejected,
            discovered,
            signers: accepted.iter().map(|it| it.signer.clone()).collect(),
        }
    }

    /// What was attached but proves nothing. Sorted by reason: digests say nothing to a reader.
    pub fn unproven(&self) -> Vec<Unproven> {
        let rejected = self.rejected.iter().map(|it| Unproven {
            manifest: it.manifest.digest.to_string(),
            reason: go::words::chain(&it.reason),
            claim: self.other_claim(&it.reason),
        });
        let ignored = self.discovered.ignored.iter().map(|it| Unproven {
            manifest: it.manifest.digest.to_string(),
            reason: go::words::chain(&it.reason),
            claim: None,
        });
        let mut all: Vec<_> = rejected.chain(ignored).collect();
        all.sort();
        all
    }

    /// What was claimed by somebody who is believed, but not about that.
    fn other_claim(&self, reason: &Rejection) -> Option<OtherClaim> {
        let Rejection::NotAccepted {
            signer,
            predicate_type,
            ..
        } = reason
        else {
            return None;
        };
        let is_believed = self.signers.iter().any(|it| it.matches(signer));
        is_believed.then(|| OtherClaim {
            signer: signer.to_string(),
            predicate_type: predicate_type.clone(),
        })
    }
}

impl Unproven {
    /// One line for people.
    pub fn line(&self) -> String {
        format!("{}: {}", self.manifest, self.reason)
    }
}
