//! That a signature was logged: entries of transparency logs (Rekor v1 and v2).
//!
//! | step | asks | stops |
//! |---|---|---|
//! | a | Is the log, by the entry's log ID, in the trusted root? | an entry of a log that nobody watches, or that is not there |
//! | b | Is what was logged this signature, by this signer, over this? | a valid entry of something else (CVE-2022-36056, CVE-2026-22703) |
//! | c | Did the log promise it (v1), and is that in its time? | a time that nobody signed |
//! | d | Is it in the tree, and did *that* log sign the tree? | a tree by another log's key; an entry that was never there |

mod body;
mod checkpoint;
mod inclusion;
mod promise;

use time::OffsetDateTime;

use crate::bundle::LogEntry;
use crate::certificate::Certificate;
use crate::dsse::Envelope;
use crate::key::PublicKey;
use crate::trust::{Log, LogKey, TrustedRoot};
use crate::verify::message::Message;

/// What has to have been logged.
pub(super) struct Logged<'a> {
    pub(super) message: &'a Message<'a>,
    /// The envelope, if the message is one's encoding.
    pub(super) envelope: Option<&'a Envelope>,
    pub(super) signature: &'a [u8],
    pub(super) key: &'a PublicKey,
    /// Of who signed with a certificate.
    pub(super) certificate: Option<&'a Certificate>,
}

/// The word of one log.
pub(super) struct Vote<'a> {
    pub(super) log: &'a Log,
    /// When, if the log promised it.
    pub(super) time: Option<OffsetDateTime>,
}

/// Which form an entry has.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Generation {
    /// With a promise and the time of it.
    V1,
    /// Tiles: what is logged can be rebuilt.
    V2,
}

/// Verifies one entry.
pub(super) fn vote<'a>(
    entry: &LogEntry,
    logged: &Logged<'_>,
    root: &'a TrustedRoot,
    bundle_version: u8,
) -> Result<Vote<'a>, LogError> {
    // a. The log is in the trusted root.
    let log = root
        .log(&entry.log_id)
        .ok_or_else(|| LogError::UnknownLog {
            id: base64(&entry.log_id),
        })?;
    let LogKey::Known(key) = &log.key else {
        return Err(LogError::UnknownKey {
            log: log.base_url.clone(),
        });
    };
    // b. What was logged is this.
    let generation = body::compare(entry, logged)?;
    // c. The log promised it, at a time in which its word counts.
    let time = match (&entry.promise, generation) {
        (Some(signature), Generation::V1) => Some(promise::time(entry, signature, log, key)?),
        (Some(_), Generation::V2) | (None, _) => None,
    };
    // d. It is in a tree that this log signed. Bundles of v0.1 were content with a promise.
    match &entry.proof {
        Some(proof) if !(bundle_version == 1 && proof.checkpoint.is_empty()) => {
            let tree = checkpoint::signed(&proof.checkpoint, log, key, generation)?;
            inclusion::included(entry, proof, &tree, generation)?;
        }
        _ if bundle_version == 1 && time.is_some() => {}
        _ => return Err(LogError::NoProof),
    }
    Ok(Vote { log, time })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Why a log entry gives no vote.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The trusted root does not know the log.
    #[error("signed by another instance: log {id} is not in this trusted root")]
    UnknownLog {
        /// Its ID, base64.
        id: String,
    },
    /// The log has a key of a kind that we do not know.
    #[error("log `{log}` has a key of a kind that is not supported")]
    UnknownKey {
        /// Which.
        log: String,
    },
    /// What was logged cannot be read.
    #[error("malformed log entry: {problem}")]
    Body {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A kind of entry that we do not know.
    #[error("log entry is of kind `{kind}` {version}, which is not supported")]
    Kind {
        /// Which.
        kind: String,
        /// Its version.
        version: String,
    },
    /// Something else was logged.
    #[error("log entry is of another {what}")]
    Other {
        /// What differs.
        what: &'static str,
    },
    /// The log did not sign its promise.
    #[error("promise of inclusion was not signed by `{log}`")]
    Promise {
        /// Which.
        log: String,
    },
    /// At that time the log's word does not count.
    #[error("log `{log}` is not trusted at {}", intoto::rfc3339(*time))]
    OutsideLog {
        /// Which.
        log: String,
        /// When.
        time: OffsetDateTime,
    },
    /// There is nothing that proves that it is in the log.
    #[error("log entry has no proof of inclusion")]
    NoProof,
    /// The tree is no tree.
    #[error("malformed checkpoint: {problem}")]
    Checkpoint {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The log did not sign the tree.
    #[error("checkpoint was not signed by `{log}`")]
    CheckpointSignature {
        /// Which.
        log: String,
    },
    /// It is not in the tree.
    #[error("log entry is not in the tree that the log signed")]
    NotIncluded,
}
