//! What the claim is about.

use intoto::Statement;
use oci::Descriptor;

use crate::rejection::Rejection;

/// It is about `artifact`: one of its subjects has that digest, whole and by the same algorithm.
pub(super) fn about(statement: &Statement, artifact: &Descriptor) -> Result<(), Rejection> {
    if statement.is_about(&artifact.digest) {
        Ok(())
    } else {
        Err(Rejection::OtherSubject {
            artifact: artifact.digest.clone(),
        })
    }
}
