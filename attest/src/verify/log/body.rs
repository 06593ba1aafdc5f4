//! What was logged, compared with the bundle: its signer, its signature, and what is signed.
//!
//! Of Rekor v2 it is rebuilt from the bundle, so that there is nothing to compare wrongly; of v1
//! each part is compared.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use intoto::json::{self, Object};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Generation, LogError, Logged, base64};
use crate::bundle::LogEntry;
use crate::dsse::Envelope;
use crate::hex;
use crate::key::Hash;

/// The entry is of this signature by this signer over this.
pub(super) fn compare(entry: &LogEntry, logged: &Logged<'_>) -> Result<Generation, LogError> {
    match (entry.kind.as_str(), entry.version.as_str()) {
        ("hashedrekord", "0.0.2") => rebuilt(entry, logged).map(|()| Generation::V2),
        ("hashedrekord", "0.0.1") => hashedrekord(entry, logged).map(|()| Generation::V1),
        ("dsse", "0.0.1") => dsse(entry, logged).map(|()| Generation::V1),
        ("intoto", "0.0.2") => intoto(entry, logged).map(|()| Generation::V1),
        (kind, version) => Err(LogError::Kind {
            kind: kind.to_owned(),
            version: version.to_owned(),
        }),
    }
}

fn other(what: &'static str) -> LogError {
    LogError::Other { what }
}

/// Reads what was logged, which has to be of the kind that the entry says.
fn spec<T: DeserializeOwned>(entry: &LogEntry) -> Result<T, LogError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<T> {
        api_version: String,
        kind: String,
        spec: Object<T>,
    }

    let body: Body<T> = json::from_slice(&entry.body).ok().ok_or(LogError::Body {
        problem: "its body is not of its kind",
    })?;
    if body.kind != entry.kind || body.api_version != entry.version {
        return Err(LogError::Body {
            problem: "its body is of another kind than it says",
        });
    }
    let Object(spec) = body.spec;
    Ok(spec)
}

fn decoded(text: &str) -> Result<Vec<u8>, LogError> {
    STANDARD.decode(text).ok().ok_or(LogError::Body {
        problem: "a part of it is not base64",
    })
}

/// `signature` is the bundle's.
fn same_signature(signature: &str, logged: &Logged<'_>) -> Result<(), LogError> {
    if decoded(signature)? == logged.signature {
        Ok(())
    } else {
        Err(other("signature"))
    }
}

/// `verifier`, PEM in base64, is the bundle's certificate or key.
fn same_signer(verifier: &str, logged: &Logged<'_>) -> Result<(), LogError> {
    let text = decoded(verifier)?;
    let (label, expected) = match logged.certificate {
        Some(certificate) => ("CERTIFICATE", certificate.der()),
        None => ("PUBLIC KEY", logged.key.spki()),
    };
    let is_same = unwrapped(&text, label).ok_or(LogError::Body {
        problem: "its signer is not PEM",
    })? == expected;
    if is_same {
        Ok(())
    } else {
        Err(other("signer"))
    }
}

/// What is in one PEM document. Lines may have any length: logs keep what they were sent.
fn unwrapped(text: &[u8], label: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    let body = text
        .strip_prefix(&format!("-----BEGIN {label}-----"))?
        .strip_suffix(&format!("-----END {label}-----"))?;
    let body: String = body
        .chars()
        .filter(|it| !it.is_ascii_whitespace())
        .collect();
    STANDARD.decode(body).ok()
}

#[derive(Deserialize)]
struct RawHash {
    algorithm: String,
    value: String,
}

impl RawHash {
    fn algorithm(&self) -> Option<Hash> {
        match self.algorithm.as_str() {
            "sha256" => Some(Hash::Sha256),
            "sha384" => Some(Hash::Sha384),
            "sha512" => Some(Hash::Sha512),
            _ => None,
        }
    }

    fn is(&self, digest: &[u8]) -> bool {
        self.value == hex::encode(digest)
    }
}

fn hashedrekord(entry: &LogEntry, logged: &Logged<'_>) -> Result<(), LogError> {
    #[derive(Deserialize)]
    struct Spec {
        data: Object<Data>,
        signature: Object<RawSignature>,
    }

    #[derive(Deserialize)]
    struct Data {
        hash: Object<RawHash>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct RawSignature {
        content: String,
        public_key: Object<RawKey>,
    }

    #[derive(Deserialize)]
    struct RawKey {
        content: String,
    }

    let Spec {
        data: Object(Data { hash: Object(hash) }),
        signature: Object(signature),
    } = spec(entry)?;
    let Object(RawKey { content: verifier }) = signature.public_key;
    same_signature(&signature.content, logged)?;
    same_signer(&verifier, logged)?;
    // It has no way to say what an envelope holds, and logs take none.
    if logged.envelope.is_some() {
        return Err(other("kind of signature"));
    }
    let digest = hash.algorithm().and_then(|it| logged.message.digest(it));
    match digest {
        Some(digest) if hash.is(&digest) => Ok(()),
        _ => Err(other("message")),
    }
}

fn dsse(entry: &LogEntry, logged: &Logged<'_>) -> Result<(), LogError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        payload_hash: Object<RawHash>,
        signatures: Vec<Object<RawSignature>>,
    }

    #[derive(Deserialize)]
    struct RawSignature {
        signature: String,
        verifier: String,
    }

    let spec: Spec = spec(entry)?;
    let [Object(signature)] = spec.signatures.as_slice() else {
        return Err(LogError::Body {
            problem: "it has not exactly one signature",
        });
    };
    same_signature(&signature.signature, logged)?;
    same_signer(&signature.verifier, logged)?;
    same_payload(&spec.payload_hash, logged)
}

fn intoto(entry: &LogEntry, logged: &Logged<'_>) -> Result<(), LogError> {
    #[derive(Deserialize)]
    struct Spec {
        content: Object<Content>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Content {
        envelope: Object<RawEnvelope>,
        payload_hash: Object<RawHash>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct RawEnvelope {
        payload_type: String,
        signatures: Vec<Object<RawSignature>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct RawSignature {
        sig: String,
        public_key: String,
    }

    let Spec {
        content: Object(content),
    } = spec(entry)?;
    let Object(envelope) = content.envelope;
    let [Object(signature)] = envelope.signatures.as_slice() else {
        return Err(LogError::Body {
            problem: "it has not exactly one signature",
        });
    };
    // Twice in base64: that is how this kind is.
    let text = decoded(&signature.sig)?;
    let text = std::str::from_utf8(&text).ok().ok_or(LogError::Body {
        problem: "its signature is not base64",
    })?;
    same_signature(text, logged)?;
    same_signer(&signature.public_key, logged)?;
    if logged.envelope.map(Envelope::payload_type) != Some(envelope.payload_type.as_str()) {
        return Err(other("type of payload"));
    }
    same_payload(&content.payload_hash, logged)
}

/// `hash` is of the bundle's payload.
fn same_payload(hash: &Object<RawHash>, logged: &Logged<'_>) -> Result<(), LogError> {
    let Object(hash) = hash;
    let Some(envelope) = logged.envelope else {
        return Err(other("kind of signature"));
    };
    let digest = hash.algorithm().map(|it| it.of(envelope.payload()));
    match digest {
        Some(digest) if hash.is(&digest) => Ok(()),
        _ => Err(other("payload")),
    }
}

/// What was logged is what would be logged of this bundle, byte for byte.
fn rebuilt(entry: &LogEntry, logged: &Logged<'_>) -> Result<(), LogError> {
    let (details, hash) = logged.key.details().ok_or(LogError::Body {
        problem: "signatures of this kind of key are not logged",
    })?;
    let digest = logged.message.digest(hash).ok_or(other("message"))?;
    let verifier = match logged.certificate {
        Some(certificate) => Verifier {
            key_details: details,
            public_key: None,
            x509_certificate: Some(RawBytes {
                raw_bytes: base64(certificate.der()),
            }),
        },
        None => Verifier {
            key_details: details,
            public_key: Some(RawBytes {
                raw_bytes: base64(logged.key.spki()),
            }),
            x509_certificate: None,
        },
    };
    let expected = serde_json::to_vec(&Rebuilt {
        api_version: "0.0.2",
        kind: "hashedrekord",
        spec: RebuiltSpec {
            hashed_rekord_v002: HashedRekord {
                data: Data {
                    algorithm: hash.proto_name(),
                    digest: base64(&digest),
                },
                signature: Signature {
                    content: base64(logged.signature),
                    verifier,
                },
            },
        },
    })
    .expect("strings have a JSON form");
    if expected == entry.body {
        Ok(())
    } else {
        Err(other("signature, signer or message"))
    }
}

/// Canonical JSON (RFC 8785): fields in the order of their names; no text of it needs escaping.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rebuilt {
    api_version: &'static str,
    kind: &'static str,
    spec: RebuiltSpec,
}

#[derive(Serialize)]
struct RebuiltSpec {
    #[serde(rename = "hashedRekordV002")]
    hashed_rekord_v002: HashedRekord,
}

#[derive(Serialize)]
struct HashedRekord {
    data: Data,
    signature: Signature,
}

#[derive(Serialize)]
struct Data {
    algorithm: &'static str,
    digest: String,
}

#[derive(Serialize)]
struct Signature {
    content: String,
    verifier: Verifier,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verifier {
    key_details: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<RawBytes>,
    #[serde(rename = "x509Certificate", skip_serializing_if = "Option::is_none")]
    x509_certificate: Option<RawBytes>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RawBytes {
    raw_bytes: String,
}
