//! A log's promise that an entry will be in its tree, and the time of it: the signed entry
//! timestamp of Rekor v1.

use time::OffsetDateTime;

use super::{LogError, base64};
use crate::bundle::LogEntry;
use crate::hex;
use crate::key::{Hash, PublicKey};
use crate::trust::Log;

/// When `log` promised it.
pub(super) fn time(
    entry: &LogEntry,
    signature: &[u8],
    log: &Log,
    key: &PublicKey,
) -> Result<OffsetDateTime, LogError> {
    let not_signed = || LogError::Promise {
        log: log.base_url.clone(),
    };
    let seconds = entry.integrated_time.ok_or_else(not_signed)?;
    if !key.has_signed_with(Hash::Sha256, signed(entry, seconds).as_bytes(), signature) {
        return Err(not_signed());
    }
    let time = OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .ok_or_else(not_signed)?;
    if log.validity.contains(time) {
        Ok(time)
    } else {
        Err(LogError::OutsideLog {
            log: log.base_url.clone(),
            time,
        })
    }
}

/// The text that the log signed: canonical JSON (RFC 8785). Nothing in it needs escaping.
fn signed(entry: &LogEntry, seconds: i64) -> String {
    format!(
        r#"{{"body":"{}","integratedTime":{seconds},"logID":"{}","logIndex":{}}}"#,
        base64(&entry.body),
        hex::encode(&entry.log_id),
        entry.log_index
    )
}
