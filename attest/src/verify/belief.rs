//! Whether we believe it.

use intoto::Statement;

use crate::accept::Accept;
use crate::rejection::Rejection;
use crate::signed_by::SignedBy;

/// One of `accepted` covers this signer and this kind of claim.
pub(super) fn believed(
    statement: &Statement,
    signer: &SignedBy,
    accepted: &[Accept],
) -> Result<(), Rejection> {
    let predicate_type = statement.predicate_type();
    if accepted.iter().any(|it| it.covers(predicate_type, signer)) {
        Ok(())
    } else {
        Err(Rejection::NotAccepted {
            signer: signer.clone(),
            predicate_type: predicate_type.clone(),
        })
    }
}
