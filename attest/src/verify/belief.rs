//! Whether we believe it.

use intoto::Statement;

use crate::accept::{Accept, SignerPattern};
use crate::rejection::{Rejection, Wanted};
use crate::signed_by::SignedBy;

/// One of `accepted` covers this signer and this kind of claim.
pub(super) fn believed(
    statement: &Statement,
    signer: &SignedBy,
    accepted: &[Accept],
) -> Result<(), Rejection> {
    let predicate_type = statement.predicate_type();
    if accepted.iter().any(|it| it.covers(predicate_type, signer)) {
        return Ok(());
    }
    let wanted = accepted
        .iter()
        .filter(|it| it.predicate_type == *predicate_type)
        .map(|it| it.signer.clone());
    Err(Rejection::NotAccepted {
        signer: signer.clone(),
        predicate_type: predicate_type.clone(),
        wanted: Wanted::of(wanted, signer),
    })
}

/// One of `accepted` means this signer.
pub(super) fn believed_about_blobs(
    signer: &SignedBy,
    accepted: &[SignerPattern],
) -> Result<(), Rejection> {
    if accepted.iter().any(|it| it.matches(signer)) {
        return Ok(());
    }
    Err(Rejection::BlobSignerNotAccepted {
        signer: signer.clone(),
        wanted: Wanted::of(accepted.iter().cloned(), signer),
    })
}
