//! Sigstore bundles: a signature with all that is needed to check it offline.
//!
//! <https://github.com/sigstore/protobuf-specs/blob/v0.5.0/protos/sigstore_bundle.proto>

use bytes::Bytes;
use oci::{Digest, MediaType};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::dsse::{self, Envelope, EnvelopeError, RawEnvelope};
use crate::sign::Signature;

/// How many log entries, and how many timestamps, a bundle may have, as other verifiers have it.
const MAX_PROOFS: usize = 32;

/// What the media types of all bundles begin with.
pub(crate) const MEDIA_TYPE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";

/// A Sigstore bundle. Parsed, not trusted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bundle {
    json: Bytes,
    material: Material,
    content: Content,
    log_entries: usize,
    timestamps: usize,
}

/// Who signed, by the bundle's own word.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Material {
    /// Somebody with a key that the verifier has to have already.
    PublicKey {
        /// Which key it may be. Not signed.
        hint: String,
    },
    /// Somebody whom this certificate names: DER.
    Certificate(Vec<u8>),
    /// The same, with the certificates above it. Only up to v0.2.
    CertificateChain(Vec<Vec<u8>>),
}

/// What was signed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// The payload of an envelope.
    Envelope(Envelope),
    /// A message that is not in the bundle.
    Message(MessageSignature),
}

/// A signature over a message that lies elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MessageSignature {
    /// The message's digest: algorithm and value. Not signed.
    pub digest: Option<(String, Vec<u8>)>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Bundle {
    /// Wraps the bytes of a statement and the signature over them: v0.3, as cosign writes it.
    pub(crate) fn of_statement(payload: Vec<u8>, signature: Signature) -> Self {
        let envelope = Envelope::of_statement(payload, signature.bytes);
        let written = Written {
            media_type: MediaType::SIGSTORE_BUNDLE,
            verification_material: WrittenMaterial {
                public_key: RawKey {
                    hint: signature.key_hint.clone(),
                },
            },
            dsse_envelope: envelope.to_raw(),
        };
        let json = serde_json::to_vec(&written).expect("strings have a JSON form");
        Self {
            json: json.into(),
            material: Material::PublicKey {
                hint: signature.key_hint,
            },
            content: Content::Envelope(envelope),
            log_entries: 0,
            timestamps: 0,
        }
    }

    /// Parses the JSON of a bundle v0.1, v0.2 or v0.3.
    ///
    /// Strict where two readers could differ: no repeated keys, one kind of material, one kind of
    /// content, standard base64 only. Unknown fields are ignored.
    pub fn parse(json: impl Into<Bytes>) -> Result<Self, BundleError> {
        let json = json.into();
        let raw: Raw = intoto::json::from_slice(&json).map_err(BundleError::Malformed)?;
        let version = version(&raw.media_type)?;
        let RawMaterial {
            public_key,
            certificate,
            x509_certificate_chain,
            tlog_entries,
            timestamp_verification_data,
        } = raw.verification_material;
        let material = match (public_key, certificate, x509_certificate_chain) {
            (Some(key), None, None) => Material::PublicKey { hint: key.hint },
            (None, Some(certificate), None) => Material::Certificate(certificate.decode()?),
            (None, None, Some(_)) if version >= 3 => return Err(BundleError::ChainInV03),
            (None, None, Some(chain)) => Material::CertificateChain(
                chain
                    .certificates
                    .iter()
                    .map(RawCertificate::decode)
                    .collect::<Result<_, _>>()?,
            ),
            _ => return Err(BundleError::NotOne { what: "material" }),
        };
        let content = match (raw.dsse_envelope, raw.message_signature) {
            (Some(envelope), None) => Content::Envelope(Envelope::parse(envelope)?),
            (None, Some(message)) => Content::Message(message.decode()?),
            _ => return Err(BundleError::NotOne { what: "content" }),
        };
        let log_entries = bounded("log entries", tlog_entries)?;
        let timestamps = bounded(
            "timestamps",
            timestamp_verification_data.and_then(|it| it.rfc3161_timestamps),
        )?;
        Ok(Self {
            json,
            material,
            content,
            log_entries,
            timestamps,
        })
    }

    /// The JSON, byte for byte as it was parsed or first written.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The digest of the JSON.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.json)
    }

    /// Who signed, by its own word.
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// What was signed.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// How many entries of transparency logs it carries.
    pub fn log_entries(&self) -> usize {
        self.log_entries
    }

    /// How many RFC 3161 timestamps it carries.
    pub fn timestamps(&self) -> usize {
        self.timestamps
    }
}

/// Why bytes are no bundle that we read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// No JSON, or not of this shape.
    #[error("malformed bundle")]
    Malformed(#[source] serde_json::Error),
    /// A version that we do not know, or no bundle at all.
    #[error("`{media_type}` is not the media type of a bundle that is known")]
    UnknownVersion {
        /// What it says to be.
        media_type: String,
    },
    /// None, or several: it would be open which one counts.
    #[error("bundle has not exactly one {what}")]
    NotOne {
        /// Of what.
        what: &'static str,
    },
    /// Since v0.3, only the signer's own certificate may be in a bundle.
    #[error("bundle v0.3 carries a chain of certificates")]
    ChainInV03,
    /// More than we check.
    #[error("bundle has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Its envelope, or something in base64, cannot be read.
    #[error("bundle has content that cannot be read")]
    Content(#[from] EnvelopeError),
}

fn version(media_type: &str) -> Result<u8, BundleError> {
    match media_type {
        "application/vnd.dev.sigstore.bundle+json;version=0.1" => Ok(1),
        "application/vnd.dev.sigstore.bundle+json;version=0.2" => Ok(2),
        "application/vnd.dev.sigstore.bundle+json;version=0.3"
        | "application/vnd.dev.sigstore.bundle.v0.3+json" => Ok(3),
        other => Err(BundleError::UnknownVersion {
            media_type: other.to_owned(),
        }),
    }
}

fn bounded(what: &'static str, list: Option<Vec<IgnoredAny>>) -> Result<usize, BundleError> {
    let count = list.map_or(0, |it| it.len());
    if count > MAX_PROOFS {
        return Err(BundleError::TooMany {
            what,
            limit: MAX_PROOFS,
        });
    }
    Ok(count)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    media_type: MediaType,
    verification_material: WrittenMaterial,
    dsse_envelope: RawEnvelope,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMaterial {
    public_key: RawKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    media_type: String,
    verification_material: RawMaterial,
    dsse_envelope: Option<RawEnvelope>,
    message_signature: Option<RawMessage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMaterial {
    public_key: Option<RawKey>,
    certificate: Option<RawCertificate>,
    x509_certificate_chain: Option<RawChain>,
    tlog_entries: Option<Vec<IgnoredAny>>,
    timestamp_verification_data: Option<RawTimestamps>,
}

#[derive(Deserialize, Serialize)]
struct RawKey {
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCertificate {
    raw_bytes: String,
}

impl RawCertificate {
    fn decode(&self) -> Result<Vec<u8>, EnvelopeError> {
        dsse::decode("certificate", &self.raw_bytes)
    }
}

#[derive(Deserialize)]
struct RawChain {
    certificates: Vec<RawCertificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTimestamps {
    rfc3161_timestamps: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMessage {
    message_digest: Option<RawDigest>,
    signature: String,
}

impl RawMessage {
    fn decode(self) -> Result<MessageSignature, EnvelopeError> {
        // An absent value is how protocol buffers write an empty one.
        let digest = match self.message_digest {
            Some(RawDigest { algorithm, digest }) if !digest.is_empty() => {
                Some((algorithm, dsse::decode("message digest", &digest)?))
            }
            _ => None,
        };
        Ok(MessageSignature {
            digest,
            signature: dsse::decode("signature", &self.signature)?,
        })
    }
}

#[derive(Deserialize)]
struct RawDigest {
    #[serde(default)]
    algorithm: String,
    #[serde(default)]
    digest: String,
}
