//! The JSON of trusted roots.

use intoto::json::Object;
use serde::Deserialize;

use super::{Authority, Log, LogKey, MAX_ENTRIES, TrustedRoot, TrustedRootError, Validity};
use crate::certificate::Certificate;
use crate::dsse;
use crate::key::PublicKey;

const MEDIA_TYPES: [&str; 3] = [
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot.v0.1+json",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Root {
    #[serde(alias = "media_type")]
    media_type: String,
    tlogs: Option<Vec<Object<RawLog>>>,
    ctlogs: Option<Vec<Object<RawLog>>>,
    #[serde(alias = "certificate_authorities")]
    certificate_authorities: Option<Vec<Object<RawAuthority>>>,
    #[serde(alias = "timestamp_authorities")]
    timestamp_authorities: Option<Vec<Object<RawAuthority>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLog {
    #[serde(alias = "base_url")]
    base_url: Option<String>,
    #[serde(alias = "public_key")]
    public_key: Option<Object<RawKey>>,
    #[serde(alias = "log_id")]
    log_id: Option<Object<RawLogId>>,
    /// Since v0.2; then it is what entries name the log by.
    #[serde(alias = "checkpoint_key_id")]
    checkpoint_key_id: Option<Object<RawLogId>>,
    operator: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawKey {
    #[serde(alias = "raw_bytes")]
    raw_bytes: Option<String>,
    #[serde(alias = "valid_for")]
    valid_for: Option<Object<RawValidity>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLogId {
    #[serde(alias = "key_id")]
    key_id: Option<String>,
}

#[derive(Deserialize)]
struct RawValidity {
    start: Option<String>,
    end: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAuthority {
    uri: Option<String>,
    #[serde(alias = "cert_chain")]
    cert_chain: Option<Object<RawChain>>,
    #[serde(alias = "valid_for")]
    valid_for: Option<Object<RawValidity>>,
    operator: Option<String>,
}

#[derive(Deserialize)]
struct RawChain {
    certificates: Option<Vec<Object<RawCertificate>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCertificate {
    #[serde(alias = "raw_bytes")]
    raw_bytes: Option<String>,
}

impl Root {
    pub(super) fn decode(self) -> Result<TrustedRoot, TrustedRootError> {
        if !MEDIA_TYPES.contains(&self.media_type.as_str()) {
            return Err(TrustedRootError::UnknownVersion {
                media_type: self.media_type,
            });
        }
        Ok(TrustedRoot {
            logs: all("logs", self.tlogs, |it| it.decode("log"))?,
            ct_logs: all("certificate transparency logs", self.ctlogs, |it| {
                it.decode("certificate transparency log")
            })?,
            certificate_authorities: all(
                "certificate authorities",
                self.certificate_authorities,
                |it| it.decode("certificate authority"),
            )?,
            timestamp_authorities: all(
                "timestamp authorities",
                self.timestamp_authorities,
                |it| it.decode("timestamp authority"),
            )?,
        })
    }
}

fn all<R, T>(
    what: &'static str,
    list: Option<Vec<Object<R>>>,
    decode: impl Fn(R) -> Result<T, TrustedRootError>,
) -> Result<Vec<T>, TrustedRootError> {
    let list = list.unwrap_or_default();
    if list.len() > MAX_ENTRIES {
        return Err(TrustedRootError::TooMany {
            what,
            limit: MAX_ENTRIES,
        });
    }
    list.into_iter().map(|Object(it)| decode(it)).collect()
}

impl RawLog {
    fn decode(self, what: &'static str) -> Result<Log, TrustedRootError> {
        let base_url = self.base_url.unwrap_or_default();
        let malformed = |problem| TrustedRootError::Entry {
            what,
            name: base_url.clone(),
            problem,
        };
        let Some(Object(key)) = self.public_key else {
            return Err(malformed("it has no key"));
        };
        let raw = dsse::decode("key", &key.raw_bytes.unwrap_or_default())
            .ok()
            .ok_or_else(|| malformed("its key is not base64"))?;
        let validity =
            validity(key.valid_for).ok_or_else(|| malformed("its times are no times"))?;
        // A log without a beginning would count for all time before it was there.
        if validity.start.is_none() {
            return Err(malformed("it does not say since when its key counts"));
        }
        let id = self.log_id.and_then(|Object(it)| it.key_id);
        let checkpoint_id = self.checkpoint_key_id.and_then(|Object(it)| it.key_id);
        let id = dsse::decode("log ID", &id.or(checkpoint_id).unwrap_or_default())
            .ok()
            .filter(|it| !it.is_empty())
            .ok_or_else(|| malformed("its ID is missing or not base64"))?;
        Ok(Log {
            id,
            key: PublicKey::from_spki(&raw).map_or(LogKey::Unknown, LogKey::Known),
            validity,
            operator: self.operator.unwrap_or_default(),
            base_url,
        })
    }
}

impl RawAuthority {
    fn decode(self, what: &'static str) -> Result<Authority, TrustedRootError> {
        let uri = self.uri.unwrap_or_default();
        let malformed = |problem| TrustedRootError::Entry {
            what,
            name: uri.clone(),
            problem,
        };
        let certificates = self
            .cert_chain
            .and_then(|Object(it)| it.certificates)
            .unwrap_or_default();
        if certificates.is_empty() {
            return Err(malformed("it has no certificate"));
        }
        let chain = certificates
            .into_iter()
            .map(|Object(it)| {
                let der = dsse::decode("certificate", &it.raw_bytes.unwrap_or_default())
                    .ok()
                    .ok_or_else(|| malformed("its certificate is not base64"))?;
                Certificate::parse(&der).map_err(|source| TrustedRootError::Certificate {
                    name: uri.clone(),
                    source,
                })
            })
            .collect::<Result<_, _>>()?;
        let validity =
            validity(self.valid_for).ok_or_else(|| malformed("its times are no times"))?;
        Ok(Authority {
            chain,
            validity,
            operator: self.operator.unwrap_or_default(),
            uri,
        })
    }
}

fn validity(raw: Option<Object<RawValidity>>) -> Option<Validity> {
    match raw {
        None => Some(Validity::default()),
        Some(Object(it)) => Validity::parse(it.start.as_deref(), it.end.as_deref()),
    }
}
