//! Statements that have been proven.

use std::error::Error as _;
use std::fmt;

use bytes::Bytes;
use intoto::{PredicateType, Statement};
use oci::{Descriptor, Digest};
use time::OffsetDateTime;

use crate::signed_by::SignedBy;
use crate::verify::{LogError, TimestampError};

/// A statement whose signature, subject and signer have been checked.
///
/// Only [`Verifier::verify`](crate::Verifier::verify) makes one, so to hold one is proof. Its fields
/// can be read:
///
/// ```
/// # fn some(verified: attest::Verified) {
/// let statement: &intoto::Statement = verified.statement();
/// # }
/// ```
/// but not written:
/// ```compile_fail
/// # fn some(mut verified: attest::Verified, other: intoto::Statement) {
/// verified.statement = other;
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    pub(crate) artifact: Descriptor,
    pub(crate) statement: Statement,
    pub(crate) payload: Bytes,
    pub(crate) proof: VerifiedSignature,
    pub(crate) bundle: Digest,
    pub(crate) manifest: Option<Descriptor>,
}

impl Verified {
    /// What was asked about: media type, digest, size. Proof for it is none for anything else.
    pub fn artifact(&self) -> &Descriptor {
        &self.artifact
    }

    /// What was claimed: parsed from [`payload`](Self::payload).
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// What kind of claim it is.
    pub fn predicate_type(&self) -> &PredicateType {
        self.statement.predicate_type()
    }

    /// The bytes that were signed.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Who claimed it.
    pub fn signer(&self) -> &SignedBy {
        &self.proof.signer
    }

    /// Who signed, and who else saw it.
    pub fn proof(&self) -> &VerifiedSignature {
        &self.proof
    }

    /// The digest of the bundle.
    pub fn bundle(&self) -> &Digest {
        &self.bundle
    }

    /// The referrer that held the bundle, if it was found beside the artifact.
    pub fn manifest(&self) -> Option<&Descriptor> {
        self.manifest.as_ref()
    }

    /// What was asked and answered with yes, in this order.
    pub fn checked(&self) -> &'static [Check] {
        &[Check::Signature, Check::Subject, Check::Signer]
    }

    /// What the bundle carries besides, and nobody looked at.
    pub fn unchecked(&self) -> &[Unchecked] {
        &self.proof.unchecked
    }
}

/// Who signed something, and who else saw it. Only verification makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedSignature {
    pub(crate) signer: SignedBy,
    pub(crate) logs: Vec<LogRecord>,
    pub(crate) times: Vec<SeenAt>,
    pub(crate) unchecked: Vec<Unchecked>,
}

impl VerifiedSignature {
    /// Who signed.
    pub fn signer(&self) -> &SignedBy {
        &self.signer
    }

    /// Where it was logged.
    pub fn logs(&self) -> &[LogRecord] {
        &self.logs
    }

    /// When it was seen, and by whom.
    pub fn times(&self) -> &[SeenAt] {
        &self.times
    }

    /// What the bundle carries besides, and is not believed.
    pub fn unchecked(&self) -> &[Unchecked] {
        &self.unchecked
    }
}

/// That a log has a signature.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogRecord {
    /// The log's URL.
    pub log: String,
    /// The entry's number.
    pub index: u64,
}

/// That somebody saw a signature at a time.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SeenAt {
    /// When.
    pub time: OffsetDateTime,
    /// By whose word.
    pub witness: Witness,
}

/// Whose clock says when something was signed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "who prints has to name each")]
pub enum Witness {
    /// An RFC 3161 authority, by its URI.
    TimestampAuthority(String),
    /// A log that promised to include it then, by its URL.
    Log(String),
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimestampAuthority(uri) => write!(f, "timestamp authority `{uri}`"),
            Self::Log(url) => write!(f, "log `{url}`"),
        }
    }
}

/// Whether `verified` holds a signature of `image`: an accepted statement of cosign's own type. Any
/// other statement, an SBOM say, names an image but does not stand for it.
pub fn is_signed(verified: &[Verified], image: &Digest) -> bool {
    verified.iter().any(|it| {
        it.artifact.digest == *image && *it.predicate_type() == PredicateType::COSIGN_SIGN
    })
}

/// What was checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "who prints has to name each")]
pub enum Check {
    /// An accepted signer made the signature over the statement's bytes.
    Signature,
    /// The statement names the artifact's digest.
    Subject,
    /// The signer is accepted for this kind of claim.
    Signer,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "signature",
            Self::Subject => "subject",
            Self::Signer => "signer",
        })
    }
}

/// What a bundle carries and nobody believes: there was no trusted root to check it against, or it
/// did not stand the check. It gave no vote.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "who prints has to name each")]
pub enum Unchecked {
    /// Entries of transparency logs.
    LogEntries {
        /// How many.
        count: usize,
    },
    /// RFC 3161 timestamps.
    Timestamps {
        /// How many.
        count: usize,
    },
    /// An entry of a transparency log that did not stand the check.
    LogEntry {
        /// Its number.
        index: u64,
        /// Why not.
        reason: LogError,
    },
    /// An RFC 3161 timestamp that did not stand the check.
    Timestamp {
        /// Why not.
        reason: TimestampError,
    },
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogEntries { count } => write!(f, "{count} transparency log entries"),
            Self::Timestamps { count } => write!(f, "{count} timestamps"),
            Self::LogEntry { index, reason } => write!(f, "log entry {index}: {reason}"),
            Self::Timestamp { reason } => match reason.source() {
                Some(source) => write!(f, "a timestamp: {reason}: {source}"),
                None => write!(f, "a timestamp: {reason}"),
            },
        }
    }
}
