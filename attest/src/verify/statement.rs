//! What was claimed.

use intoto::Statement;

use crate::dsse::Envelope;
use crate::rejection::Rejection;

/// The statement, read from the bytes that were signed.
pub(super) fn parsed(envelope: &Envelope) -> Result<Statement, Rejection> {
    Statement::parse(envelope.payload()).map_err(Rejection::Statement)
}
