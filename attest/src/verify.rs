//! Verification: from untrusted bytes to a [`Verified`] statement, or to the reason why not.
//!
//! | step | asks | stops |
//! |---|---|---|
//! | 1 | Is it a bundle, with one meaning? | repeated keys, two signatures, spare bits, oversize |
//! | 2 | Does it name a key? | a certificate that nobody checked |
//! | 3 | Does it hold an envelope of a statement? | a signature over one kind of thing, read as another |
//! | 4 | Did an accepted key sign these bytes? | forgery; payloads changed after signing |
//! | 5 | Are these bytes a statement? | nothing is parsed before it is known who signed it |
//! | 6 | Is it about this artifact? | a statement moved from another image |
//! | 7 | Do we believe this signer about this kind of claim? | an SBOM taken for a signature; one signer's word on another's matter |

mod belief;
mod content;
mod material;
mod signature;
mod statement;
mod subject;

use bytes::Bytes;
use oci::Descriptor;

use crate::accept::{Accept, SignerPattern};
use crate::bundle::Bundle;
use crate::referrer::Attached;
use crate::rejection::{Rejected, Rejection};
use crate::signed_by::SignedBy;
use crate::verified::{Unchecked, Verified};

/// Checks bundles. What the deployment trusts is given once; what is asked of one artifact, with
/// each call. Make one, use it for many bundles.
#[derive(Clone, Debug)]
pub struct Verifier {}

impl Verifier {
    /// Trusts no certificate authority and no log: signatures by the keys that are accepted count,
    /// and nothing else does.
    pub fn of_keys() -> Self {
        Self {}
    }

    /// Verifies that `bundle` is a claim about `artifact`, of a kind and by a signer in `accepted`.
    ///
    /// The module's table says what each step is for.
    pub fn verify(
        &self,
        bundle: &[u8],
        artifact: &Descriptor,
        accepted: &[Accept],
    ) -> Result<Verified, Rejection> {
        self.verified(Bytes::copy_from_slice(bundle), artifact, accepted)
    }

    #[expect(
        clippy::unused_self,
        reason = "the trusted root comes with the next step"
    )]
    fn verified(
        &self,
        bundle: Bytes,
        artifact: &Descriptor,
        accepted: &[Accept],
    ) -> Result<Verified, Rejection> {
        // 1. It is a bundle, with one meaning.
        let bundle = parsed(bundle)?;
        // 2. It names a key. Certificates need a trusted root, which there is none of yet.
        let hint = material::key_hint(&bundle)?;
        // 3. It holds an envelope of a statement.
        let envelope = content::statement_envelope(&bundle)?;
        // 4. An accepted key signed these bytes.
        let keys = accepted.iter().map(|it| &it.signer);
        let signer = signature::by_key(&envelope.pae(), envelope.signature(), hint, keys)?;
        // 5. These bytes are a statement. Hostile until here, so not parsed before.
        let statement = statement::parsed(envelope)?;
        // 6. It is about this artifact.
        subject::about(&statement, artifact)?;
        // 7. We believe this signer about this kind of claim.
        belief::believed(&statement, &signer, accepted)?;
        Ok(Verified {
            artifact: artifact.bare(),
            statement,
            payload: envelope.payload().clone(),
            signer,
            bundle: bundle.digest(),
            manifest: None,
            unchecked: unchecked(&bundle),
        })
    }

    /// Verifies each of `attached`. One that is rejected neither helps nor harms the others: anyone
    /// who may push to a repository may attach a bundle.
    pub fn verify_all(
        &self,
        attached: &[Attached],
        artifact: &Descriptor,
        accepted: &[Accept],
    ) -> (Vec<Verified>, Vec<Rejected>) {
        let mut verified = Vec::new();
        let mut rejected = Vec::new();
        for it in attached {
            match self.verified(it.bundle.clone(), artifact, accepted) {
                Ok(one) => verified.push(Verified {
                    manifest: Some(it.manifest.clone()),
                    ..one
                }),
                Err(reason) => rejected.push(Rejected {
                    manifest: it.manifest.clone(),
                    reason,
                }),
            }
        }
        (verified, rejected)
    }

    /// Verifies that `bundle` is a signature over `blob` itself by one of `accepted`.
    pub fn verify_blob(
        &self,
        bundle: &[u8],
        blob: &[u8],
        accepted: &[SignerPattern],
    ) -> Result<SignedBy, Rejection> {
        // 1 and 2, as above.
        let bundle = parsed(Bytes::copy_from_slice(bundle))?;
        let hint = material::key_hint(&bundle)?;
        // 3. It holds a signature over a message, and not over another one by its own word.
        let message = content::message(&bundle, blob)?;
        // 4 and 7. One of the accepted keys signed the blob.
        signature::by_key(blob, &message.signature, hint, accepted)
    }
}

fn parsed(bundle: Bytes) -> Result<Bundle, Rejection> {
    Bundle::parse(bundle).map_err(Rejection::Bundle)
}

fn unchecked(bundle: &Bundle) -> Vec<Unchecked> {
    let (entries, timestamps) = (bundle.log_entries().len(), bundle.timestamps().len());
    [
        (entries > 0).then_some(Unchecked::LogEntries { count: entries }),
        (timestamps > 0).then_some(Unchecked::Timestamps { count: timestamps }),
    ]
    .into_iter()
    .flatten()
    .collect()
}
