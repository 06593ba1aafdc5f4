//! What a deployment trusts: certificate authorities, logs and timestamp authorities, each with the
//! time in which its word counts.
//!
//! Read from a file, or embedded; never fetched while something is verified.
//!
//! <https://github.com/sigstore/protobuf-specs/blob/v0.5.0/protos/sigstore_trustroot.proto>

mod raw;

use std::fmt;

use intoto::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::certificate::{Certificate, CertificateError};
use crate::key::PublicKey;

/// How large a trusted root may be. The public one has 7 KiB.
const MAX_BYTES: usize = 4 << 20;

/// How many authorities, or logs, of each kind one may have.
const MAX_ENTRIES: usize = 256;

/// Certificate authorities, logs and timestamp authorities that are trusted. Parsed, not signed:
/// whoever gives it says whom to trust.
#[derive(Clone, Debug)]
pub struct TrustedRoot {
    pub(crate) logs: Vec<Log>,
    pub(crate) ct_logs: Vec<Log>,
    pub(crate) certificate_authorities: Vec<Authority>,
    pub(crate) timestamp_authorities: Vec<Authority>,
}

impl TrustedRoot {
    /// Parses the JSON of a `trusted_root.json`, v0.1 or v0.2.
    pub fn parse(json: &[u8]) -> Result<Self, TrustedRootError> {
        if json.len() > MAX_BYTES {
            return Err(TrustedRootError::TooLarge { limit: MAX_BYTES });
        }
        let raw: raw::Root = json::from_slice(json).map_err(TrustedRootError::Malformed)?;
        raw.decode()
    }

    /// Sigstore's public instance, as it was when this program was built.
    pub fn public_good() -> Result<Self, TrustedRootError> {
        Self::parse(sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
    }

    /// Sigstore's public staging instance, for tests of services.
    pub fn staging() -> Result<Self, TrustedRootError> {
        Self::parse(sigstore_trust_root::SIGSTORE_STAGING_TRUSTED_ROOT.as_bytes())
    }

    /// GitHub's own instance, which signs the attestations of private repositories.
    pub fn github() -> Result<Self, TrustedRootError> {
        Self::parse(sigstore_trust_root::SIGSTORE_GITHUB_TRUSTED_ROOT.as_bytes())
    }

    /// The newest beginning of anything in it: it is not older than that.
    pub fn newest(&self) -> Option<OffsetDateTime> {
        let logs = self.logs.iter().chain(&self.ct_logs).map(|it| it.validity);
        let authorities = self
            .certificate_authorities
            .iter()
            .chain(&self.timestamp_authorities)
            .map(|it| it.validity);
        logs.chain(authorities).filter_map(|it| it.start).max()
    }

    /// The log with this ID.
    pub(crate) fn log(&self, id: &[u8]) -> Option<&Log> {
        self.logs.iter().find(|it| it.id == id)
    }

    /// The certificate transparency log with this ID.
    pub(crate) fn ct_log(&self, id: &[u8]) -> Option<&Log> {
        self.ct_logs.iter().find(|it| it.id == id)
    }
}

/// A log: of signatures (Rekor), or of certificates.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) id: Vec<u8>,
    pub(crate) base_url: String,
    pub(crate) key: LogKey,
    pub(crate) validity: Validity,
    pub(crate) operator: String,
}

/// The key of a log. One of a kind that we do not know makes its log one whose word does not count,
/// not a trusted root that cannot be read.
#[derive(Clone, Debug)]
pub(crate) enum LogKey {
    Known(PublicKey),
    Unknown,
}

impl Log {
    /// The host of its URL: the name that it signs its trees with.
    pub(crate) fn host(&self) -> Option<&str> {
        let (_, rest) = self.base_url.split_once("://")?;
        let host = rest.split(['/', '?', '#']).next()?;
        // Ports are no part of the name.
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
            _ => host,
        };
        (!name.is_empty()).then_some(name)
    }

    /// Who runs it, so that nobody has two votes.
    pub(crate) fn voter(&self) -> &str {
        if self.operator.is_empty() {
            &self.base_url
        } else {
            &self.operator
        }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base_url)
    }
}

/// An authority for certificates or timestamps.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    pub(crate) uri: String,
    /// All of its certificates, the root last.
    pub(crate) chain: Vec<Certificate>,
    pub(crate) validity: Validity,
    pub(crate) operator: String,
}

impl Authority {
    /// The only one of its certificates that is believed because it is there.
    pub(crate) fn root(&self) -> Option<&Certificate> {
        self.chain.last()
    }

    /// The certificates that are believed because the root signed them, or one below it.
    pub(crate) fn below_root(&self) -> &[Certificate] {
        self.chain.split_last().map_or(&[], |(_, below)| below)
    }

    /// Who runs it, so that nobody has two votes.
    pub(crate) fn voter(&self) -> &str {
        if self.operator.is_empty() {
            &self.uri
        } else {
            &self.operator
        }
    }
}

/// From when to when something counts. Both ends are in it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Validity {
    pub(crate) start: Option<OffsetDateTime>,
    pub(crate) end: Option<OffsetDateTime>,
}

impl Validity {
    pub(crate) fn contains(&self, time: OffsetDateTime) -> bool {
        self.start.is_none_or(|start| start <= time) && self.end.is_none_or(|end| time <= end)
    }

    fn parse(start: Option<&str>, end: Option<&str>) -> Option<Self> {
        let time = |text: Option<&str>| match text {
            None | Some("") => Some(None),
            Some(text) => OffsetDateTime::parse(text, &Rfc3339).ok().map(Some),
        };
        Some(Self {
            start: time(start)?,
            end: time(end)?,
        })
    }
}

/// Why a trusted root cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustedRootError {
    /// More than is read.
    #[error("trusted root is larger than {limit} bytes")]
    TooLarge {
        /// How much is read.
        limit: usize,
    },
    /// No JSON, or not of this shape.
    #[error("malformed trusted root")]
    Malformed(#[source] serde_json::Error),
    /// A version that we do not know, or no trusted root at all.
    #[error("`{media_type}` is not the media type of a trusted root that is known")]
    UnknownVersion {
        /// What it says to be.
        media_type: String,
    },
    /// More than we look at.
    #[error("trusted root has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// An entry that cannot be used as it is.
    #[error("trusted root has a malformed {what} `{name}`: {problem}")]
    Entry {
        /// What kind of entry.
        what: &'static str,
        /// Its URL.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A certificate cannot be read.
    #[error("trusted root has a malformed certificate of `{name}`")]
    Certificate {
        /// Whose.
        name: String,
        /// What is wrong with it.
        source: CertificateError,
    },
}

#[cfg(test)]
mod tests;
