//! What proves when something was signed: entries of transparency logs, and timestamps.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use intoto::json::{self, Object};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::BundleError;
use crate::dsse::{self, EnvelopeError};

/// As many hashes as a proof of inclusion in any tree can have.
const MAX_HASHES: usize = 64;

/// An entry of a transparency log (Rekor), and what proves that it is there. Parsed, not trusted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "signers make it of a log's answer, and have to say all of it"
)]
pub struct LogEntry {
    /// Its number, over all shards of the log.
    pub log_index: u64,
    /// Which log: the digest of its key in most cases.
    pub log_id: Vec<u8>,
    /// What kind of entry: `hashedrekord`, `dsse`, `intoto`.
    pub kind: String,
    /// The version of that kind: `0.0.1`, …
    pub version: String,
    /// When the log took it, in seconds since 1970. Worth something with a promise only.
    pub integrated_time: Option<i64>,
    /// The log's signature over all of this: its promise that it will be in the tree.
    pub promise: Option<Vec<u8>>,
    /// That it is in the tree.
    pub proof: Option<InclusionProof>,
    /// What was logged: JSON.
    pub body: Vec<u8>,
}

/// That an entry is in a log's tree, and that the log signed that tree. Parsed, not trusted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "signers make it of a log's answer, and have to say all of it"
)]
pub struct InclusionProof {
    /// The entry's number in this tree.
    pub log_index: u64,
    /// The root of the tree.
    pub root_hash: Vec<u8>,
    /// How many entries it has.
    pub tree_size: u64,
    /// The hashes beside the way from the entry to the root.
    pub hashes: Vec<Vec<u8>>,
    /// The tree, as the log signed it: a signed note.
    pub checkpoint: String,
}

impl LogEntry {
    /// Parses the JSON of a `TransparencyLogEntry`, as Rekor v2 answers it.
    pub fn parse(json: &[u8]) -> Result<Self, BundleError> {
        let raw: RawEntry = json::from_slice(json).map_err(BundleError::Malformed)?;
        Ok(raw.decode()?)
    }
}

/// An RFC 3161 timestamp: the answer of an authority, DER. Not trusted.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it is what is in it")]
pub struct SignedTimestamp(pub Vec<u8>);

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawEntry {
    #[serde(alias = "log_index")]
    log_index: Option<Int64>,
    #[serde(alias = "log_id")]
    log_id: Option<Object<RawLogId>>,
    #[serde(alias = "kind_version")]
    kind_version: Option<Object<RawKind>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(alias = "integrated_time")]
    integrated_time: Option<Int64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(alias = "inclusion_promise")]
    inclusion_promise: Option<Object<RawPromise>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(alias = "inclusion_proof")]
    inclusion_proof: Option<Object<RawProof>>,
    #[serde(alias = "canonicalized_body")]
    canonicalized_body: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct RawLogId {
    #[serde(alias = "key_id")]
    key_id: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct RawKind {
    kind: Option<String>,
    version: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct RawPromise {
    #[serde(alias = "signed_entry_timestamp")]
    signed_entry_timestamp: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct RawProof {
    #[serde(alias = "log_index")]
    log_index: Option<Int64>,
    #[serde(alias = "root_hash")]
    root_hash: Option<String>,
    #[serde(alias = "tree_size")]
    tree_size: Option<Int64>,
    hashes: Option<Vec<String>>,
    checkpoint: Option<Object<RawCheckpoint>>,
}

#[derive(Deserialize, Serialize)]
struct RawCheckpoint {
    envelope: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawTimestamp {
    #[serde(alias = "signed_timestamp")]
    signed_timestamp: Option<String>,
}

impl RawEntry {
    pub(super) fn decode(self) -> Result<LogEntry, EnvelopeError> {
        let Object(kind) = self.kind_version.unwrap_or(Object(RawKind {
            kind: None,
            version: None,
        }));
        Ok(LogEntry {
            log_index: index("log index", self.log_index)?,
            log_id: bytes("log ID", self.log_id.and_then(|Object(it)| it.key_id))?,
            kind: kind.kind.unwrap_or_default(),
            version: kind.version.unwrap_or_default(),
            integrated_time: self.integrated_time.map(|it| it.0).filter(|it| *it != 0),
            promise: self
                .inclusion_promise
                .and_then(|Object(it)| it.signed_entry_timestamp)
                .filter(|it| !it.is_empty())
                .map(|it| dsse::decode("inclusion promise", &it))
                .transpose()?,
            proof: self
                .inclusion_proof
                .map(|Object(it)| it.decode())
                .transpose()?,
            body: bytes("log entry's body", self.canonicalized_body)?,
        })
    }

    pub(super) fn of(entry: &LogEntry) -> Self {
        Self {
            log_index: Some(Int64::of(entry.log_index)),
            log_id: Some(Object(RawLogId {
                key_id: Some(STANDARD.encode(&entry.log_id)),
            })),
            kind_version: Some(Object(RawKind {
                kind: Some(entry.kind.clone()),
                version: Some(entry.version.clone()),
            })),
            integrated_time: entry.integrated_time.map(Int64),
            inclusion_promise: entry.promise.as_ref().map(|it| {
                Object(RawPromise {
                    signed_entry_timestamp: Some(STANDARD.encode(it)),
                })
            }),
            inclusion_proof: entry.proof.as_ref().map(|it| Object(RawProof::of(it))),
            canonicalized_body: Some(STANDARD.encode(&entry.body)),
        }
    }
}

impl RawProof {
    fn decode(self) -> Result<InclusionProof, EnvelopeError> {
        let hashes = self.hashes.unwrap_or_default();
        if hashes.len() > MAX_HASHES {
            return Err(EnvelopeError::Number {
                what: "proof of inclusion",
            });
        }
        Ok(InclusionProof {
            log_index: index("log index", self.log_index)?,
            root_hash: bytes("root hash", self.root_hash)?,
            tree_size: index("tree size", self.tree_size)?,
            hashes: hashes
                .iter()
                .map(|it| dsse::decode("proof of inclusion", it))
                .collect::<Result<_, _>>()?,
            checkpoint: self
                .checkpoint
                .and_then(|Object(it)| it.envelope)
                .unwrap_or_default(),
        })
    }

    fn of(proof: &InclusionProof) -> Self {
        Self {
            log_index: Some(Int64::of(proof.log_index)),
            root_hash: Some(STANDARD.encode(&proof.root_hash)),
            tree_size: Some(Int64::of(proof.tree_size)),
            hashes: Some(proof.hashes.iter().map(|it| STANDARD.encode(it)).collect()),
            checkpoint: Some(Object(RawCheckpoint {
                envelope: Some(proof.checkpoint.clone()),
            })),
        }
    }
}

impl RawTimestamp {
    pub(super) fn decode(self) -> Result<SignedTimestamp, EnvelopeError> {
        bytes("timestamp", self.signed_timestamp).map(SignedTimestamp)
    }

    pub(super) fn of(timestamp: &SignedTimestamp) -> Self {
        Self {
            signed_timestamp: Some(STANDARD.encode(&timestamp.0)),
        }
    }
}

/// Nothing is how protocol buffers write no bytes.
fn bytes(what: &'static str, text: Option<String>) -> Result<Vec<u8>, EnvelopeError> {
    dsse::decode(what, &text.unwrap_or_default())
}

/// Nothing is how protocol buffers write zero.
fn index(what: &'static str, number: Option<Int64>) -> Result<u64, EnvelopeError> {
    u64::try_from(number.map_or(0, |it| it.0))
        .ok()
        .ok_or(EnvelopeError::Number { what })
}

/// An `int64` in JSON: decimal in a string, or a number.
#[derive(Clone, Copy)]
struct Int64(i64);

impl Int64 {
    /// What we write was read as one, so it fits.
    fn of(number: u64) -> Self {
        Self(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl Serialize for Int64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Decimal;

        impl Visitor<'_> for Decimal {
            type Value = Int64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number of 64 bits")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Int64, E> {
                Ok(Int64(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Int64, E> {
                i64::try_from(number).map(Int64).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Int64, E> {
                let number: i64 = text.parse().map_err(E::custom)?;
                // One text for each number: no plus, no leading zeros.
                if number.to_string() == text {
                    Ok(Int64(number))
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }
        }

        deserializer.deserialize_any(Decimal)
    }
}
