//! That a certificate was published: signed certificate timestamps (RFC 6962), embedded in it.
//!
//! Without it, an authority that was broken into could issue certificates that nobody ever sees.

use time::OffsetDateTime;

use crate::certificate::Certificate;
use crate::hex;
use crate::key::{Hash, KeyAlgorithm};
use crate::trust::{LogKey, TrustedRoot};

/// As many as are looked at.
const MAX_SCTS: usize = 32;

/// How many known logs promised to publish `leaf`, whom `issuer` certified. Those by others, or
/// broken ones, give no vote.
pub(super) fn promises(
    leaf: &Certificate,
    issuer: &Certificate,
    root: &TrustedRoot,
) -> Result<usize, SctError> {
    let list = leaf.sct_list().ok_or(SctError::Missing)?;
    let scts = parse_list(list).ok_or(SctError::Malformed)?;
    let tbs = leaf.precertificate().ok().ok_or(SctError::Malformed)?;
    let issuer_key = issuer.spki().ok().ok_or(SctError::Malformed)?;
    let issuer_hash = Hash::Sha256.of(&issuer_key);
    let mut voters = Vec::new();
    let mut problem = SctError::Malformed;
    for sct in scts {
        match promised(&sct, &tbs, &issuer_hash, root) {
            Ok(voter) if !voters.contains(&voter) => voters.push(voter),
            Ok(_) => {}
            Err(error) => problem = error,
        }
    }
    if voters.is_empty() {
        return Err(problem);
    }
    Ok(voters.len())
}

/// Whether this is a list of promises that can be read.
pub(super) fn is_list(bytes: &[u8]) -> bool {
    parse_list(bytes).is_some()
}

fn promised<'a>(
    sct: &Sct<'_>,
    tbs: &[u8],
    issuer_hash: &[u8],
    root: &'a TrustedRoot,
) -> Result<&'a str, SctError> {
    let log = root
        .ct_log(sct.log_id)
        .ok_or_else(|| SctError::UnknownLog {
            id: hex::encode(sct.log_id),
        })?;
    let time = i64::try_from(sct.timestamp / 1000)
        .ok()
        .and_then(|it| OffsetDateTime::from_unix_timestamp(it).ok())
        .ok_or(SctError::Malformed)?;
    if !log.validity.contains(time) {
        return Err(SctError::OutsideLog {
            log: log.base_url.clone(),
        });
    }
    let LogKey::Known(key) = &log.key else {
        return Err(SctError::UnknownLog {
            id: hex::encode(sct.log_id),
        });
    };
    let is_signed = sct.is_algorithm_of(key.algorithm())
        && sct
            .signed(tbs, issuer_hash)
            .is_some_and(|it| key.has_signed_with(Hash::Sha256, &it, sct.signature));
    if is_signed {
        Ok(log.voter())
    } else {
        Err(SctError::Signature {
            log: log.base_url.clone(),
        })
    }
}

/// One signed certificate timestamp, v1.
struct Sct<'a> {
    log_id: &'a [u8],
    /// Milliseconds since 1970.
    timestamp: u64,
    extensions: &'a [u8],
    hash: u8,
    scheme: u8,
    signature: &'a [u8],
}

impl Sct<'_> {
    /// Whether it says to be signed as such a key signs, by SHA-256 but for Ed25519.
    fn is_algorithm_of(&self, key: KeyAlgorithm) -> bool {
        match key {
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 => (self.hash, self.scheme) == (4, 3),
            KeyAlgorithm::Rsa => (self.hash, self.scheme) == (4, 1),
            KeyAlgorithm::Ed25519 => (self.hash, self.scheme) == (8, 7),
        }
    }

    /// The bytes that the log signed.
    fn signed(&self, tbs: &[u8], issuer_hash: &[u8]) -> Option<Vec<u8>> {
        let tbs_len = u32::try_from(tbs.len()).ok()?.to_be_bytes();
        let (0, tbs_len) = tbs_len.split_first().map(|(first, rest)| (*first, rest))? else {
            return None;
        };
        let extensions_len = u16::try_from(self.extensions.len()).ok()?.to_be_bytes();
        // Version 1, a certificate's timestamp.
        let mut signed = vec![0, 0];
        signed.extend_from_slice(&self.timestamp.to_be_bytes());
        // Of a precertificate.
        signed.extend_from_slice(&[0, 1]);
        signed.extend_from_slice(issuer_hash);
        signed.extend_from_slice(tbs_len);
        signed.extend_from_slice(tbs);
        signed.extend_from_slice(&extensions_len);
        signed.extend_from_slice(self.extensions);
        Some(signed)
    }
}

/// Reads a list, all of it. Of versions that we do not know nothing can be said.
fn parse_list(bytes: &[u8]) -> Option<Vec<Sct<'_>>> {
    let mut outer = Reader(bytes);
    let mut list = Reader(outer.vector()?);
    let mut scts = Vec::new();
    while !list.0.is_empty() {
        if scts.len() == MAX_SCTS {
            return None;
        }
        let mut one = Reader(list.vector()?);
        if one.take(1)? != [0] {
            return None;
        }
        let sct = Sct {
            log_id: one.take(32)?,
            timestamp: u64::from_be_bytes(one.take(8)?.try_into().ok()?),
            extensions: one.vector()?,
            hash: *one.take(1)?.first()?,
            scheme: *one.take(1)?.first()?,
            signature: one.vector()?,
        };
        if !one.0.is_empty() {
            return None;
        }
        scts.push(sct);
    }
    outer.0.is_empty().then_some(scts)
}

/// Reads TLS's encoding.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Bytes, after how many there are in two.
    fn vector(&mut self) -> Option<&'a [u8]> {
        let len = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(usize::from(len))
    }
}

/// Why nobody promised to publish a certificate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SctError {
    /// It has no such promise.
    #[error("certificate has no signed certificate timestamp")]
    Missing,
    /// It has something that is none.
    #[error("malformed signed certificate timestamp")]
    Malformed,
    /// By a log that nobody trusts.
    #[error("signed certificate timestamp is by log {id}, which the trusted root does not know")]
    UnknownLog {
        /// Which.
        id: String,
    },
    /// When the log's word did not count.
    #[error("signed certificate timestamp is of a time at which `{log}` is not trusted")]
    OutsideLog {
        /// Which.
        log: String,
    },
    /// The log did not sign it.
    #[error("signed certificate timestamp was not signed by `{log}`")]
    Signature {
        /// Which.
        log: String,
    },
}
