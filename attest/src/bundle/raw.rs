//! The JSON of bundles: protocol buffers in their JSON form.

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
    pub(super) media_type: String,
    pub(super) verification_material: Object<RawMaterial>,
    pub(super) dsse_envelope: Option<Object<RawEnvelope>>,
    pub(super) message_signature: Option<Object<RawMessage>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawMaterial {
    pub(super) public_key: Option<Object<RawKey>>,
    pub(super) certificate: Option<Object<RawBytes>>,
    pub(super) x509_certificate_chain: Option<Object<RawChain>>,
    pub(super) tlog_entries: Option<Vec<Object<RawEntry>>>,
    pub(super) timestamp_verification_data: Option<Object<RawTimestamps>>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct RawKey {
    #[serde(default)]
    pub(super) hint: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawBytes {
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
    pub(super) rfc3161_timestamps: Option<Vec<Object<RawTimestamp>>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawMessage {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_digest: Option<Object<RawDigest>>,
    signature: String,
}

impl RawMessage {
    pub(super) fn decode(self) -> Result<MessageSignature, EnvelopeError> {
        // An absent value is how protocol buffers write an empty one.
        let digest = match self.message_digest {
            Some(Object(RawDigest { algorithm, digest })) if !digest.is_empty() => {
                Some((algorithm, dsse::decode("message digest", &digest)?))
            }
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
                    algorithm: algorithm.clone(),
                    digest: STANDARD.encode(digest),
                })
            }),
            signature: STANDARD.encode(&message.signature),
        }
    }
}

#[derive(Deserialize, Serialize)]
struct RawDigest {
    #[serde(default)]
    algorithm: String,
    #[serde(default)]
    digest: String,
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
                    Material::PublicKey { hint } => {
                        WrittenSigner::PublicKey(RawKey { hint: hint.clone() })
                    }
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
