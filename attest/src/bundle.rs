//! Sigstore bundles: a signature with all that is needed to check it offline.
//!
//! <https://github.com/sigstore/protobuf-specs/blob/v0.5.0/protos/sigstore_bundle.proto>

use bytes::Bytes;
use intoto::json::{self, Object};
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
        let raw: Raw = json::from_slice(&json).map_err(BundleError::Malformed)?;
        let version = version(&raw.media_type)?;
        let Object(RawMaterial {
            public_key,
            certificate,
            x509_certificate_chain,
            tlog_entries,
            timestamp_verification_data,
        }) = raw.verification_material;
        let material = match (public_key, certificate, x509_certificate_chain) {
            (Some(Object(key)), None, None) => Material::PublicKey { hint: key.hint },
            (None, Some(Object(certificate)), None) => Material::Certificate(certificate.decode()?),
            (None, None, Some(_)) if version >= 3 => return Err(BundleError::ChainInV03),
            (None, None, Some(Object(chain))) => Material::CertificateChain(
                chain
                    .certificates
                    .iter()
                    .map(|Object(it)| it.decode())
                    .collect::<Result<_, _>>()?,
            ),
            _ => return Err(BundleError::NotOne { what: "material" }),
        };
        let content = match (raw.dsse_envelope, raw.message_signature) {
            (Some(Object(envelope)), None) => Content::Envelope(Envelope::parse(envelope)?),
            (None, Some(Object(message))) => Content::Message(message.decode()?),
            _ => return Err(BundleError::NotOne { what: "content" }),
        };
        let log_entries = bounded("log entries", tlog_entries)?;
        let timestamps = bounded(
            "timestamps",
            timestamp_verification_data.and_then(|Object(it)| it.rfc3161_timestamps),
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
    verification_material: Object<RawMaterial>,
    dsse_envelope: Option<Object<RawEnvelope>>,
    message_signature: Option<Object<RawMessage>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMaterial {
    public_key: Option<Object<RawKey>>,
    certificate: Option<Object<RawCertificate>>,
    x509_certificate_chain: Option<Object<RawChain>>,
    tlog_entries: Option<Vec<IgnoredAny>>,
    timestamp_verification_data: Option<Object<RawTimestamps>>,
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
    certificates: Vec<Object<RawCertificate>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTimestamps {
    rfc3161_timestamps: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMessage {
    message_digest: Option<Object<RawDigest>>,
    signature: String,
}

impl RawMessage {
    fn decode(self) -> Result<MessageSignature, EnvelopeError> {
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
}

#[derive(Deserialize)]
struct RawDigest {
    #[serde(default)]
    algorithm: String,
    #[serde(default)]
    digest: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn good() -> Value {
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "h"}},
            "dsseEnvelope": {
                "payload": "AA==",
                "payloadType": "t",
                "signatures": [{"sig": "AA=="}],
            },
        })
    }

    fn parse(value: &Value) -> Result<Bundle, BundleError> {
        Bundle::parse(value.to_string())
    }

    #[test]
    fn each_known_version_is_read_and_no_other() {
        for media_type in [
            "application/vnd.dev.sigstore.bundle+json;version=0.1",
            "application/vnd.dev.sigstore.bundle+json;version=0.2",
            "application/vnd.dev.sigstore.bundle+json;version=0.3",
            "application/vnd.dev.sigstore.bundle.v0.3+json",
        ] {
            let mut value = good();
            value["mediaType"] = media_type.into();
            parse(&value).unwrap();
        }
        for media_type in ["application/vnd.dev.sigstore.bundle.v0.4+json", "", "x"] {
            let mut value = good();
            value["mediaType"] = media_type.into();
            assert!(matches!(
                parse(&value),
                Err(BundleError::UnknownVersion { .. })
            ));
        }
    }

    #[test]
    fn there_is_one_material_and_one_content() {
        let mut both = good();
        both["verificationMaterial"]["certificate"] = json!({"rawBytes": "AA=="});
        assert!(matches!(parse(&both), Err(BundleError::NotOne { .. })));
        let mut none = good();
        none["verificationMaterial"] = json!({});
        assert!(matches!(parse(&none), Err(BundleError::NotOne { .. })));
        let mut both = good();
        both["messageSignature"] = json!({"signature": "AA=="});
        assert!(matches!(parse(&both), Err(BundleError::NotOne { .. })));
        let mut none = good();
        none["dsseEnvelope"] = Value::Null;
        assert!(matches!(parse(&none), Err(BundleError::NotOne { .. })));
    }

    #[test]
    fn a_chain_is_read_up_to_v02_only() {
        let mut value = good();
        value["verificationMaterial"] =
            json!({"x509CertificateChain": {"certificates": [{"rawBytes": "AA=="}]}});
        assert!(matches!(parse(&value), Err(BundleError::ChainInV03)));
        value["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2".into();
        let bundle = parse(&value).unwrap();
        assert_eq!(
            *bundle.material(),
            Material::CertificateChain(vec![vec![0]])
        );
    }

    #[test]
    fn log_entries_and_timestamps_are_counted_and_bounded() {
        for (count, fits) in [(1, true), (MAX_PROOFS, true), (MAX_PROOFS + 1, false)] {
            let mut entries = good();
            entries["verificationMaterial"]["tlogEntries"] = json!(vec![json!({}); count]);
            let parsed = parse(&entries).map(|it| it.log_entries());
            assert_eq!(parsed.ok(), fits.then_some(count));
            let mut timestamps = good();
            timestamps["verificationMaterial"]["timestampVerificationData"] =
                json!({"rfc3161Timestamps": vec![json!({}); count]});
            let parsed = parse(&timestamps).map(|it| it.timestamps());
            assert_eq!(parsed.ok(), fits.then_some(count));
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let good = good().to_string();
        Bundle::parse(good.clone()).unwrap();
        for (from, to) in [
            (r#""payload":"#, r#""payload":"AQ==","payload":"#),
            (r#""mediaType""#, r#""mediatype""#),
            (r#""hint":"#, r#""x":{"a":1,"a":2},"hint":"#),
            (r#"{"hint":"h"}"#, r#"["h"]"#),
            (r#"{"sig":"AA=="}"#, r#"["AA=="]"#),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(Bundle::parse(bad).is_err(), "{to}");
        }
        assert!(Bundle::parse(format!("{good}{good}")).is_err());
    }

    #[test]
    fn what_is_written_is_read_and_kept_to_the_byte() {
        let signature = Signature::by_key(vec![1], "h".to_owned());
        let written = Bundle::of_statement(b"{}".to_vec(), signature);
        assert_eq!(Bundle::parse(written.json().clone()).unwrap(), written);
        assert_eq!(
            written.json(),
            &br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"h"}},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AQ=="}]}}"#[..]
        );
        let spaced = good().to_string().replace(',', ", ");
        assert_eq!(*Bundle::parse(spaced.clone()).unwrap().json(), spaced);
    }
}
