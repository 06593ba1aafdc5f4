//! What is proven about an image, and what a policy says of it: the one way that building, checking
//! and copying judge.

use attest::{Accept, Discovered, Rejected, Verified, Verifier, discover};
use oci::{Descriptor, Limits, Store};
use policies::{Evidence, Policy, Verdict};
use serde::Serialize;

use crate::error::{CommandError, Context as _, chain};

/// What was found attached to an image, sorted into what proves something and what does not.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) verified: Vec<Verified>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) discovered: Discovered,
}

/// What was attached but proves nothing, as commands print it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unproven {
    /// The referrer.
    manifest: String,
    /// Why it proves nothing.
    reason: String,
}

/// Reads what is attached to `image`, and verifies it.
pub(crate) async fn prove(
    store: &dyn Store,
    image: &Descriptor,
    accepted: &[Accept],
) -> Result<Proof, CommandError> {
    let discovered = discover(store, image, &Limits::default())
        .await
        .map_err(CommandError::undecided)?;
    let verifier = Verifier::of_keys();
    let (verified, rejected) = verifier.verify_all(&discovered.attached, image, accepted);
    Ok(Proof {
        verified,
        rejected,
        discovered,
    })
}

/// Lets `policy` judge what is proven about `image`.
pub(crate) fn judge(
    policy: &Policy,
    image: &Descriptor,
    verified: Vec<Verified>,
) -> Result<Verdict, CommandError> {
    policies::evaluate(policy, &Evidence::about(image, verified))
        .context(|| "the policy could not be evaluated".to_owned())
}

impl Proof {
    /// What was attached but proves nothing. Sorted by reason: digests say nothing to a reader.
    pub(crate) fn unproven(&self) -> Vec<Unproven> {
        let rejected = self.rejected.iter().map(|it| Unproven {
            manifest: it.manifest.digest.to_string(),
            reason: chain(&it.reason),
        });
        let ignored = self.discovered.ignored.iter().map(|it| Unproven {
            manifest: it.manifest.digest.to_string(),
            reason: chain(&it.reason),
        });
        let mut all: Vec<_> = rejected.chain(ignored).collect();
        all.sort_by(|a, b| (&a.reason, &a.manifest).cmp(&(&b.reason, &b.manifest)));
        all
    }
}

impl Unproven {
    /// One line for people.
    pub(crate) fn line(&self) -> String {
        format!("{}: {}", self.manifest, self.reason)
    }
}
