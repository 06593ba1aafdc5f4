//! That an authority saw a signature at a time: RFC 3161 timestamps.
//!
//! | step | asks | stops |
//! |---|---|---|
//! | a | Is it a timestamp, and granted? | an answer that says no |
//! | b | Is it over this signature? | a time of something else |
//! | c | Did its signer sign it, in the CMS way: type, digest, then attributes? | a changed time |
//! | d | Did an authority of the trusted root certify that signer for timestamps alone, at that time? | a stranger's clock; a certificate that had expired |

mod token;

use der::Encode as _;
use time::OffsetDateTime;

use super::chain::{self, ChainError, TIME_STAMPING};
use crate::bundle::SignedTimestamp;
use crate::certificate::Certificate;
use crate::trust::{Authority, TrustedRoot};
use token::Token;

/// The word of one authority.
pub(super) struct Vote<'a> {
    pub(super) authority: &'a Authority,
    pub(super) time: OffsetDateTime,
}

/// Verifies one timestamp over `signature`.
pub(super) fn vote<'a>(
    timestamp: &SignedTimestamp,
    signature: &[u8],
    root: &'a TrustedRoot,
) -> Result<Vote<'a>, TimestampError> {
    // a. It is a timestamp.
    let token = Token::parse(&timestamp.0)?;
    // b. It is over this signature.
    token.is_over(signature)?;
    let mut problem = TimestampError::UnknownAuthority;
    for authority in &root.timestamp_authorities {
        for signer in candidates(&token, authority) {
            // c. This certificate's holder signed it.
            if let Err(error) = token.is_signed_by(signer) {
                problem = error;
                continue;
            }
            // d. This authority certified them.
            match certified(signer, authority, token.time) {
                Ok(()) => {
                    return Ok(Vote {
                        authority,
                        time: token.time,
                    });
                }
                Err(source) => problem = TimestampError::Chain { source },
            }
        }
    }
    Err(problem)
}

/// The certificates that may be the signer's. If the trusted root names the authority's own, it is
/// that one; else it is one that the timestamp carries.
fn candidates<'a>(token: &'a Token, authority: &'a Authority) -> Vec<&'a Certificate> {
    let named = authority.chain.iter().find(|it| !it.is_authority());
    match named {
        Some(one) => [one].into_iter().filter(|it| token.names(it)).collect(),
        None => token
            .certificates
            .iter()
            .filter(|it| token.names(it))
            .collect(),
    }
}

/// `signer` may sign timestamps, and nothing else, by the word of `authority`.
fn certified(
    signer: &Certificate,
    authority: &Authority,
    time: OffsetDateTime,
) -> Result<(), ChainError> {
    let (purposes, is_critical) = signer.purposes();
    if purposes.len() != 1 || !is_critical {
        return Err(ChainError::Purpose {
            wanted: "time stamping alone",
        });
    }
    chain::issuer(signer, authority, &[time], &TIME_STAMPING).map(|_| ())
}

/// Whether two names are the same, byte for byte.
fn is_same_name(a: &x509_cert::name::Name, b: &x509_cert::name::Name) -> bool {
    matches!((a.to_der(), b.to_der()), (Ok(a), Ok(b)) if a == b)
}

/// Why a timestamp gives no vote.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// No RFC 3161 timestamp, or not DER.
    #[error("malformed timestamp: {problem}")]
    Malformed {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The authority did not grant it.
    #[error("timestamp was not granted: status {status}")]
    NotGranted {
        /// What it said instead.
        status: u8,
    },
    /// A hash that is too weak, or that we do not know.
    #[error("timestamp is by a hash function that is not allowed: {id}")]
    Hash {
        /// Its object identifier.
        id: String,
    },
    /// It is over something else.
    #[error("timestamp is over another signature")]
    OtherSignature,
    /// Whoever signed it is nobody whom the trusted root knows.
    #[error("timestamp is by no authority of the trusted root")]
    UnknownAuthority,
    /// It was not signed by whom it names.
    #[error("timestamp was not signed by the authority that it names")]
    Signature,
    /// The authority was not certified to sign it then.
    #[error("timestamp authority was not certified at that time")]
    Chain {
        /// Why.
        source: ChainError,
    },
}
