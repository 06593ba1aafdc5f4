//! Who made the signature, by its bytes.

use std::collections::BTreeSet;

use super::material::Claimant;
use super::message::Message;
use crate::accept::SignerPattern;
use crate::key::PublicKey;
use crate::rejection::Rejection;

/// The key that signed `message`: one of `accepted`, or the certificate's. A hint only says where to
/// look first.
pub(super) fn key<'a>(
    claimant: &Claimant<'_>,
    message: &Message<'_>,
    signature: &[u8],
    accepted: impl IntoIterator<Item = &'a SignerPattern>,
) -> Result<PublicKey, Rejection> {
    let hint = match claimant {
        Claimant::Certificate(certificate) => {
            let key = certificate
                .public_key()
                .map_err(|source| Rejection::MalformedCertificate { source })?;
            return if message.is_signed_by(&key, signature) {
                Ok(key)
            } else {
                Err(Rejection::NotSignedByCertificate)
            };
        }
        Claimant::Key { hint } => hint,
    };
    let keys: BTreeSet<&PublicKey> = accepted
        .into_iter()
        .filter_map(SignerPattern::key)
        .collect();
    let (likely, others): (Vec<&PublicKey>, Vec<&PublicKey>) =
        keys.iter().partition(|it| it.hint() == *hint);
    likely
        .into_iter()
        .chain(others)
        .find(|key| message.is_signed_by(key, signature))
        .cloned()
        .ok_or(Rejection::SignatureInvalid { keys: keys.len() })
}
