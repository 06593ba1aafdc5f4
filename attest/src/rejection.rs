//! Why bundles prove nothing.

use intoto::{PredicateType, StatementError};
use oci::{Descriptor, Digest};

use crate::bundle::BundleError;
use crate::signed_by::SignedBy;

/// A bundle that proves nothing, and where it lies.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rejected {
    /// The referrer that held the bundle.
    pub manifest: Descriptor,
    /// Why it proves nothing.
    pub reason: Rejection,
}

/// Why a bundle proves nothing about an artifact. A verdict, never a mishap.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// It is no bundle that we read.
    #[error("not a Sigstore bundle that can be read")]
    Bundle(#[source] BundleError),
    /// It was signed with a certificate.
    #[error("keyless signatures cannot be verified yet: there is no trusted root")]
    Keyless,
    /// It signs a message that lies elsewhere.
    #[error("signs a message, not a statement")]
    NotAnEnvelope,
    /// It holds a statement, where a signature over a message was asked for.
    #[error("signs a statement, not a message")]
    NotAMessage,
    /// Its payload says to be something else than a statement.
    #[error("signed payload is `{presented}`, not a statement")]
    PayloadType {
        /// What it says to be.
        presented: String,
    },
    /// None of the keys made the signature.
    #[error("signature is by none of the {keys} trusted keys")]
    SignatureInvalid {
        /// How many were tried.
        keys: usize,
    },
    /// What was signed is no statement.
    #[error("signed payload is not an in-toto statement that can be read")]
    Statement(#[source] StatementError),
    /// It is about something else.
    #[error("statement is not about {artifact}")]
    OtherSubject {
        /// What we asked about.
        artifact: Digest,
    },
    /// It is a signature over another message.
    #[error("signature is over another message")]
    OtherMessage,
    /// We do not believe this signer about this kind of claim.
    #[error("{signer} is not accepted for `{predicate_type}`")]
    NotAccepted {
        /// Who signed.
        signer: SignedBy,
        /// What kind of claim.
        predicate_type: PredicateType,
    },
}
