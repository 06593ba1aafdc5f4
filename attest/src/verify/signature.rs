//! Who made the signature, by its bytes.

use std::collections::BTreeSet;

use crate::accept::SignerPattern;
use crate::key::PublicKey;
use crate::rejection::Rejection;
use crate::signed_by::SignedBy;

/// The key among `accepted` that signed `message`. The hint only says where to look first.
pub(super) fn by_key<'a>(
    message: &[u8],
    signature: &[u8],
    hint: &str,
    accepted: impl IntoIterator<Item = &'a SignerPattern>,
) -> Result<SignedBy, Rejection> {
    let keys: BTreeSet<&PublicKey> = accepted
        .into_iter()
        .filter_map(SignerPattern::key)
        .collect();
    let (likely, others): (Vec<&PublicKey>, Vec<&PublicKey>) =
        keys.iter().partition(|it| it.hint() == hint);
    likely
        .into_iter()
        .chain(others)
        .find(|key| key.has_signed(message, signature))
        .map(|key| SignedBy::Key(key.clone()))
        .ok_or(Rejection::SignatureInvalid { keys: keys.len() })
}
