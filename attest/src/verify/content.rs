//! What was signed: a statement in an envelope, or a message that lies elsewhere. The one is never
//! taken for the other.

use super::message::Message;
use crate::bundle::{Bundle, Content};
use crate::dsse::{Envelope, PAYLOAD_TYPE};
use crate::key::Hash;
use crate::rejection::Rejection;

/// The envelope, if it says to hold a statement.
pub(super) fn statement_envelope(bundle: &Bundle) -> Result<&Envelope, Rejection> {
    match bundle.content() {
        Content::Envelope(envelope) if envelope.payload_type() == PAYLOAD_TYPE => Ok(envelope),
        Content::Envelope(envelope) => Err(Rejection::PayloadType {
            presented: envelope.payload_type().to_owned(),
        }),
        Content::Message(_) => Err(Rejection::NotAnEnvelope),
    }
}

/// A signature over a message. Its digest is a hint; one that is wrong says that another message
/// was meant.
pub(super) fn message(bundle: &Bundle, blob: &Message<'_>) -> Result<(), Rejection> {
    let Content::Message(message) = bundle.content() else {
        return Err(Rejection::NotAMessage);
    };
    match &message.digest {
        Some((algorithm, digest)) if !is_digest_of(algorithm, digest, blob) => {
            Err(Rejection::OtherMessage)
        }
        _ => Ok(()),
    }
}

/// Whether `digest` is that of `blob` by the algorithm of this name. One that we do not know is
/// not.
fn is_digest_of(algorithm: &str, digest: &[u8], blob: &Message<'_>) -> bool {
    Hash::by_proto_name(algorithm)
        .and_then(|hash| blob.digest(hash))
        .is_some_and(|it| it == digest)
}
