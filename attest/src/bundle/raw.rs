//! The JSON of bundles: protocol buffers in their JSON form.
//!
//! Its readers take a field by the name in the schema, too (`dsse_envelope`), and `null` for one that is
//! not set: <https://protobuf.dev/programming-guides/json/>. One that is there by both names is there twice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use intoto::json::Object;
use oci::MediaType;
use serde::{Deserialize, Serialize};

use super::proof::{RawEntry, RawTimestamp};
use super::{Content, Material, MessageSignature, VerificationMaterial};
use crate::dsse::{self, EnvelopeError, RawEnvelope};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Raw {
    #[serde(alias = "media_type")]
    pub(super) media_type: String,
    #[serde(alias = "verification_material")]
    pub(super) verification_material: Object<RawMaterial>,
    #[serde(alias = "dsse_envelope")]
    pub(super) dsse_envelope: Option<Object<RawEnvelope>>,
    #[serde(alias = "message_signature")]
    pub(super) message_signature: Option<Object<RawMessage>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawMaterial {
    #[serde(alias = "public_key")]
    pub(super) public_key: Option<Object<RawKey>>,
    pub(super) certificate: Option<Object<RawBytes>>,
    #[serde(alias = "x509_certificate_chain")]
    pub(super) x509_certificate_chain: Option<Object<RawChain>>,
    #[serde(alias = "tlog_entries")]
    pub(super) tlog_entries: Option<Vec<Object<RawEntry>>>,
    #[serde(alias = "timestamp_verification_data")]
    pub(super) timestamp_verification_data: Option<Object<RawTimestamps>>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct RawKey {
    pub(super) hint: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawBytes {
    #[serde(alias = "raw_bytes")]
    raw_bytes: String,
}

impl RawBytes {
    pub(super) fn decode(&self) -> Result<Vec<u8>, EnvelopeError> {
        dsse::decode("certificate", &self.raw_bytes)
    }

    fn of(bytes: &[u8]) -> Self {
        Self {
            raw_bytes: STANDARD.encode(bytes),
        }
    }
}

#[derive(Deserialize, Serialize)]
pub(super) struct RawChain {
    certificates: Vec<Object<RawBytes>>,
}

impl RawChain {
    pub(super) fn decode(&self) -> Result<Vec<Vec<u8>>, EnvelopeError> {
        self.certificates
            .iter()
            .map(|Object(it)| it.decode())
            .collect()
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawTimestamps {
    #[serde(alias = "rfc3161_timestamps")]
    pub(super) rfc3161_timestamps: Option<Vec<Object<RawTimestamp>>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawMessage {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(alias = "message_digest")]
    message_digest: Option<Object<RawDigest>>,
    signature: String,
}

impl RawMessage {
    pub(super) fn decode(self) -> Result<MessageSignature, EnvelopeError> {
        // An absent value is how protocol buffers write an empty one.
        let digest = match self.message_digest {
            Some(Object(RawDigest {
                algorithm,
                digest: Some(digest),
            })) if !digest.is_empty() => Some((
                algorithm.unwrap_or_default(),
                dsse::decode("message digest", &digest)?,
            )),
            _ => None,
        };
        Ok(MessageSignature {
            digest,
            signature: dsse::decode("signature", &self.signature)?,
        })
    }

    fn of(message: &MessageSignature) -> Self {
        Self {
            message_digest: message.digest.as_ref().map(|(algorithm, digest)| {
                Object(RawDigest {
                    algorithm: Some(algorithm.clone()),
                    digest: Some(STANDARD.encode(digest)),
                })
            }),
            signature: STANDARD.encode(&message.signature),
        }
    }
}

#[derive(Deserialize, Serialize)]
struct RawDigest {
    algorithm: Option<String>,
    digest: Option<String>,
}

/// A bundle as cosign writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    media_type: MediaType,
    verification_material: WrittenMaterial,
    #[serde(skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<RawEnvelope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_signature: Option<RawMessage>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMaterial {
    #[serde(flatten)]
    signer: WrittenSigner,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tlog_entries: Vec<RawEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_verification_data: Option<RawTimestamps>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum WrittenSigner {
    PublicKey(RawKey),
    Certificate(RawBytes),
}

impl Written {
    pub(super) fn of(material: &VerificationMaterial, content: &Content) -> Self {
        let (dsse_envelope, message_signature) = match content {
            Content::Envelope(envelope) => (Some(envelope.to_raw()), None),
            Content::Message(message) => (None, Some(RawMessage::of(message))),
        };
        Self {
            media_type: MediaType::SIGSTORE_BUNDLE,
            verification_material: WrittenMaterial {
                signer: match &material.signer {
                    Material::PublicKey { hint } => WrittenSigner::PublicKey(RawKey {
                        hint: Some(hint.clone()),
                    }),
                    Material::Certificate(der) => WrittenSigner::Certificate(RawBytes::of(der)),
                    // v0.3 has room for the signer's own alone; who verifies has those above it.
                    Material::CertificateChain(chain) => WrittenSigner::Certificate(RawBytes::of(
                        chain.first().map(Vec::as_slice).unwrap_or_default(),
                    )),
                },
                tlog_entries: material.log_entries.iter().map(RawEntry::of).collect(),
                timestamp_verification_data: (!material.timestamps.is_empty()).then(|| {
                    RawTimestamps {
                        rfc3161_timestamps: Some(
                            material
                                .timestamps
                                .iter()
                                .map(|it| Object(RawTimestamp::of(it)))
                                .collect(),
                        ),
                    }
                }),
            },
            dsse_envelope,
            message_signature,
        }
    }
}
