//! Transparency logs: Rekor.

mod v1;
mod v2;

use attest::bundle::LogEntry;
use net::Services;

use crate::error::KeylessError;
use crate::plan::{Log, LogVersion};

/// More than any entry with its proof.
const MAX_BYTES: u64 = 4 << 20;
/// What a log is asked to do.
const ACTION: &str = "log the signature";

/// What is logged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    /// What was signed: a statement, as an envelope has it.
    pub(crate) payload: &'a attest::Payload,
    /// By whom.
    pub(crate) verifier: Verifier<'a>,
    /// The signature over the payload's encoding.
    pub(crate) signature: &'a [u8],
}

/// What proves a signature.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verifier<'a> {
    /// A certificate: DER.
    Certificate(&'a [u8]),
    /// A key.
    Key(&'a attest::key::PublicKey),
}

/// Logs it. An answer comes when it is in the log's tree, or promised to be.
pub(crate) async fn log(
    services: &Services,
    log: &Log,
    entry: Entry<'_>,
) -> Result<LogEntry, KeylessError> {
    match log.version {
        LogVersion::V1 => v1::log(services, &log.url, entry).await,
        LogVersion::V2 => v2::log(services, &log.url, entry).await,
    }
}
