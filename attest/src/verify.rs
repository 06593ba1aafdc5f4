//! Verification: from untrusted bytes to a [`Verified`] statement, or to the reason why not.
//!
//! | step | asks | stops |
//! |---|---|---|
//! | 1 | Is it a bundle, with one meaning? | repeated keys, two signatures, spare bits, oversize |
//! | 2 | Does it name a key, or one certificate that can be read? | a certificate that nobody can check; a root that it brings itself |
//! | 3 | Does it hold an envelope of a statement (or a signature over a message)? | a signature over one kind of thing, read as another |
//! | 4 | Did an accepted key, or the certificate's, sign these bytes? | forgery; payloads changed after signing |
//! | 5 | Do enough known logs have it? (`verify/log.rs`, steps a–d) | a signature that nobody could have seen; a log entry of something else |
//! | 6 | Did enough known clocks see it? (`verify/timestamp.rs`, steps a–d) | a key that was used after its certificate had expired |
//! | 7 | Was the certificate's whole chain valid, for signing, at each of these times? | an expired or foreign authority; a certificate for something else |
//! | 8 | Did a known log promise to publish the certificate? | a certificate that its authority issued in secret |
//! | 9 | Are these bytes a statement? | nothing is parsed before it is known who signed it |
//! | 10 | Is it about this artifact? | a statement moved from another image |
//! | 11 | Do we believe this signer about this kind of claim? | an SBOM taken for a signature; one signer's word on another's matter |
//!
//! Steps 5 to 8 are for certificates. Who pins a key has decided whom to believe, so there logs and
//! clocks are asked only as far as a threshold says; what they say is kept.

mod belief;
mod chain;
mod content;
mod log;
mod material;
mod message;
mod sct;
mod signature;
mod statement;
mod subject;
mod timestamp;
mod witnesses;

use std::borrow::Cow;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use oci::Descriptor;

use crate::accept::{Accept, SignerPattern};
use crate::bundle::Bundle;
use crate::dsse::Envelope;
use crate::referrer::Attached;
use crate::rejection::{Rejected, Rejection};
use crate::trust::TrustedRoot;
use crate::verified::{Verified, VerifiedSignature};
pub use chain::ChainError;
pub use log::LogError;
use log::Logged;
use material::Claimant;
pub use message::Message;
pub use sct::SctError;
pub use timestamp::TimestampError;

/// Checks bundles. What the deployment trusts is given once; what is asked of one artifact, with
/// each call. Make one, use it for many bundles.
#[derive(Clone, Debug)]
pub struct Verifier {
    root: Option<Arc<TrustedRoot>>,
    thresholds: Thresholds,
}

/// How many independent witnesses a signature needs. Unsaid, it follows from who signed: one log
/// and one clock for a certificate, none for a key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by callers, of just these two"
)]
pub struct Thresholds {
    /// Logs that have it. Entries of one log, or of one operator, are one.
    pub logs: Option<usize>,
    /// Clocks that saw it: timestamp authorities, and logs that promised at a time. Those of one
    /// operator are one.
    pub times: Option<usize>,
}

impl Verifier {
    /// Trusts no certificate authority and no log: signatures by the keys that are accepted count,
    /// and nothing else does.
    pub fn of_keys() -> Self {
        Self {
            root: None,
            thresholds: Thresholds::default(),
        }
    }

    /// Trusts `root`: certificates by its authorities count too, with its logs and its clocks as
    /// witnesses.
    pub fn trusting(root: impl Into<Arc<TrustedRoot>>) -> Self {
        Self {
            root: Some(root.into()),
            thresholds: Thresholds::default(),
        }
    }

    /// The same, asking for so many witnesses.
    pub fn requiring(self, thresholds: Thresholds) -> Self {
        Self { thresholds, ..self }
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

    fn verified(
        &self,
        bundle: Bytes,
        artifact: &Descriptor,
        accepted: &[Accept],
    ) -> Result<Verified, Rejection> {
        // 1. It is a bundle, with one meaning.
        let bundle = parsed(bundle)?;
        // 2. It names a key, or a certificate that can be read.
        let claimant = material::claimant(&bundle)?;
        // 3. It holds an envelope of a statement.
        let envelope = content::statement_envelope(&bundle)?;
        let message = Message::Bytes(Cow::Owned(envelope.pae()));
        // 4 to 8. Somebody signed these bytes, and enough others saw it.
        let patterns = accepted.iter().map(|it| &it.signer);
        let proof = self.proof(&bundle, &claimant, &message, Some(envelope), patterns)?;
        // 9. These bytes are a statement. Hostile until here, so not parsed before.
        let statement = statement::parsed(envelope)?;
        // 10. It is about this artifact.
        subject::about(&statement, artifact)?;
        // 11. We believe this signer about this kind of claim.
        belief::believed(&statement, &proof.signer, accepted)?;
        Ok(Verified {
            artifact: artifact.bare(),
            statement,
            payload: envelope.payload().clone(),
            proof,
            bundle: bundle.digest(),
            manifest: None,
        })
    }

    /// Verifies each of `attached`, on all cores. One that is rejected neither helps nor harms the
    /// others: anyone who may push to a repository may attach a bundle.
    pub fn verify_all(
        &self,
        attached: &[Attached],
        artifact: &Descriptor,
        accepted: &[Accept],
    ) -> (Vec<Verified>, Vec<Rejected>) {
        let judge = |it: &Attached| {
            let judged = self.verified(it.bundle.clone(), artifact, accepted);
            (it.manifest.clone(), judged)
        };
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        let share = attached.len().div_ceil(workers).max(1);
        let mut shares = attached.chunks(share);
        let own = shares.next().unwrap_or_default();
        let judged = thread::scope(|scope| {
            let judge = &judge;
            let others: Vec<_> = shares
                .map(|share| {
                    let work = move || share.iter().map(judge).collect::<Vec<_>>();
                    let started = thread::Builder::new().spawn_scoped(scope, work);
                    // A machine may have no thread left.
                    started.map_err(|_refused| share)
                })
                .collect();
            let mut judged: Vec<_> = own.iter().map(judge).collect();
            for other in others {
                judged.extend(match other {
                    Ok(other) => other.join().unwrap_or_else(|panic| resume_unwind(panic)),
                    Err(share) => share.iter().map(judge).collect(),
                });
            }
            judged
        });
        let mut verified = Vec::new();
        let mut rejected = Vec::new();
        for (manifest, judged) in judged {
            match judged {
                Ok(one) => verified.push(Verified {
                    manifest: Some(manifest),
                    ..one
                }),
                Err(reason) => rejected.push(Rejected { manifest, reason }),
            }
        }
        (verified, rejected)
    }

    /// Verifies that `bundle` is a signature over `blob` itself by one of `accepted`.
    pub fn verify_blob(
        &self,
        bundle: &[u8],
        blob: &Message<'_>,
        accepted: &[SignerPattern],
    ) -> Result<VerifiedSignature, Rejection> {
        // 1 and 2, as above.
        let bundle = parsed(Bytes::copy_from_slice(bundle))?;
        let claimant = material::claimant(&bundle)?;
        // 3. It holds a signature over a message, and not over another one by its own word.
        content::message(&bundle, blob)?;
        // 4 to 8, as above.
        let proof = self.proof(&bundle, &claimant, blob, None, accepted)?;
        // 11. We believe this signer.
        belief::believed_about_blobs(&proof.signer, accepted)?;
        Ok(proof)
    }

    /// Steps 4 to 8.
    fn proof<'a>(
        &self,
        bundle: &Bundle,
        claimant: &Claimant<'_>,
        message: &Message<'_>,
        envelope: Option<&Envelope>,
        accepted: impl IntoIterator<Item = &'a SignerPattern>,
    ) -> Result<VerifiedSignature, Rejection> {
        // A certificate is worth what the trusted root says of it.
        if let (Claimant::Certificate(_), None) = (claimant, &self.root) {
            return Err(Rejection::NoTrustedRoot);
        }
        // 4. An accepted key, or the certificate's, signed these bytes.
        let signature = bundle.content().signature();
        let key = signature::key(claimant, message, signature, accepted)?;
        let logged = Logged {
            message,
            envelope,
            signature,
            key: &key,
            certificate: claimant.certificate(),
        };
        // 5 and 6. Logs and clocks.
        let seen = witnesses::seen(bundle, &logged, self.root.as_deref());
        seen.suffice(self.thresholds, claimant)?;
        // 7 and 8. Authorities.
        let signer = match (claimant, &self.root) {
            (Claimant::Certificate(certificate), Some(root)) => {
                material::certified(certificate, &seen.times(), root)?
            }
            _ => crate::signed_by::SignedBy::Key(key),
        };
        Ok(seen.proof(signer))
    }
}

fn parsed(bundle: Bytes) -> Result<Bundle, Rejection> {
    Bundle::parse(bundle).map_err(Rejection::Bundle)
}
