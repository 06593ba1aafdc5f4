//! Sigstore bundles: a signature with all that is needed to check it offline.
//!
//! <https://github.com/sigstore/protobuf-specs/blob/v0.5.0/protos/sigstore_bundle.proto>

mod proof;
mod raw;

use bytes::Bytes;
use intoto::json::{self, Object};
use oci::Digest;

use crate::dsse::{Envelope, EnvelopeError};
use crate::sign::{Payload, Signature};
pub use proof::{InclusionProof, LogEntry, SignedTimestamp};
use raw::{Raw, RawMaterial, Written};

/// How many log entries, and how many timestamps, a bundle may have, as other verifiers have it.
const MAX_PROOFS: usize = 32;

/// What the media types of all bundles begin with.
pub(crate) const MEDIA_TYPE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";

/// A Sigstore bundle. Parsed, not trusted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bundle {
    json: Bytes,
    version: u8,
    material: VerificationMaterial,
    content: Content,
}

/// All that a bundle says of who signed, and what proves when.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "signers make it, and have to say all of it"
)]
pub struct VerificationMaterial {
    /// Who signed.
    pub signer: Material,
    /// Where it was logged.
    pub log_entries: Vec<LogEntry>,
    /// Who saw it when.
    pub timestamps: Vec<SignedTimestamp>,
}

/// Who signed, by the bundle's own word.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "who verifies has to handle each kind"
)]
pub enum Material {
    /// Somebody with a key that the verifier has to have already.
    PublicKey {
        /// Which key it may be. Not signed.
        hint: String,
    },
    /// Somebody whom this certificate names: DER.
    Certificate(Vec<u8>),
    /// The same, with the certificates above it, the signer's own first. Only up to v0.2.
    CertificateChain(Vec<Vec<u8>>),
}

/// What was signed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "who verifies has to handle each kind"
)]
pub enum Content {
    /// The payload of an envelope.
    Envelope(Envelope),
    /// A message that is not in the bundle.
    Message(MessageSignature),
}

impl Content {
    /// The signature, whatever it is over.
    pub fn signature(&self) -> &[u8] {
        match self {
            Self::Envelope(envelope) => envelope.signature(),
            Self::Message(message) => &message.signature,
        }
    }
}

/// A signature over a message that lies elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "signers make it, and have to say all of it"
)]
pub struct MessageSignature {
    /// The message's digest: algorithm (`SHA2_256`, …) and value. Not signed.
    pub digest: Option<(String, Vec<u8>)>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Bundle {
    /// Wraps a statement and the signature over its [`Payload::pae`]: v0.3, as cosign writes it.
    pub fn of_statement(payload: Payload, signature: Signature) -> Self {
        let envelope = Envelope::of_statement(payload.into_bytes(), signature.bytes);
        Self::written(signature.material, Content::Envelope(envelope))
    }

    /// Wraps the signature over a message with this SHA-256.
    pub fn of_message(digest: &[u8; 32], signature: Signature) -> Self {
        let message = MessageSignature {
            digest: Some(("SHA2_256".to_owned(), digest.to_vec())),
            signature: signature.bytes,
        };
        Self::written(signature.material, Content::Message(message))
    }

    fn written(material: VerificationMaterial, content: Content) -> Self {
        let json = serde_json::to_vec(&Written::of(&material, &content))
            .expect("strings have a JSON form");
        Self {
            json: json.into(),
            version: 3,
            material,
            content,
        }
    }

    /// Parses the JSON of a bundle v0.1, v0.2 or v0.3.
    ///
    /// Strict where two readers could differ: no repeated keys, one kind of material, one kind of
    /// content, one signature. Unknown fields are ignored.
    pub fn parse(json: impl Into<Bytes>) -> Result<Self, BundleError> {
        let json = json.into();
        let raw: Raw = json::from_slice(&json).map_err(BundleError::Malformed)?;
        let version = version(&raw.media_type)?;
        let content = match (raw.dsse_envelope, raw.message_signature) {
            (Some(Object(envelope)), None) => Content::Envelope(Envelope::parse(envelope)?),
            (None, Some(Object(message))) => Content::Message(message.decode()?),
            _ => return Err(BundleError::NotOne { what: "content" }),
        };
        let Object(material) = raw.verification_material;
        Ok(Self {
            json,
            version,
            material: read_material(material, version)?,
            content,
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

    /// The minor version of its format: 1 for v0.1.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Who signed, by its own word.
    pub fn material(&self) -> &Material {
        &self.material.signer
    }

    /// What was signed.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Where it was logged, by its own word.
    pub fn log_entries(&self) -> &[LogEntry] {
        &self.material.log_entries
    }

    /// Who saw it when, by its own word.
    pub fn timestamps(&self) -> &[SignedTimestamp] {
        &self.material.timestamps
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
    // A patch changes nothing that is read: `v0.3.2`.
    let patched = media_type
        .strip_prefix("application/vnd.dev.sigstore.bundle.v0.3.")
        .and_then(|it| it.strip_suffix("+json"));
    if patched.is_some_and(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit())) {
        return Ok(3);
    }
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

fn read_material(raw: RawMaterial, version: u8) -> Result<VerificationMaterial, BundleError> {
    let signer = match (raw.public_key, raw.certificate, raw.x509_certificate_chain) {
        (Some(Object(key)), None, None) => Material::PublicKey {
            hint: key.hint.unwrap_or_default(),
        },
        (None, Some(Object(certificate)), None) => Material::Certificate(certificate.decode()?),
        (None, None, Some(_)) if version >= 3 => return Err(BundleError::ChainInV03),
        (None, None, Some(Object(chain))) => Material::CertificateChain(chain.decode()?),
        _ => return Err(BundleError::NotOne { what: "material" }),
    };
    let log_entries = raw.tlog_entries.unwrap_or_default();
    bounded("log entries", &log_entries)?;
    let timestamps = raw
        .timestamp_verification_data
        .and_then(|Object(it)| it.rfc3161_timestamps)
        .unwrap_or_default();
    bounded("timestamps", &timestamps)?;
    Ok(VerificationMaterial {
        signer,
        log_entries: log_entries
            .into_iter()
            .map(|Object(it)| it.decode())
            .collect::<Result<_, _>>()?,
        timestamps: timestamps
            .into_iter()
            .map(|Object(it)| it.decode())
            .collect::<Result<_, _>>()?,
    })
}

fn bounded<T>(what: &'static str, list: &[T]) -> Result<(), BundleError> {
    if list.len() > MAX_PROOFS {
        return Err(BundleError::TooMany {
            what,
            limit: MAX_PROOFS,
        });
    }
    Ok(())
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
    fn log_entries_and_timestamps_are_kept_and_bounded() {
        for (count, fits) in [(1, true), (MAX_PROOFS, true), (MAX_PROOFS + 1, false)] {
            let mut entries = good();
            entries["verificationMaterial"]["tlogEntries"] = json!(vec![json!({}); count]);
            let parsed = parse(&entries).map(|it| it.log_entries().len());
            assert_eq!(parsed.ok(), fits.then_some(count));
            let mut timestamps = good();
            timestamps["verificationMaterial"]["timestampVerificationData"] =
                json!({"rfc3161Timestamps": vec![json!({}); count]});
            let parsed = parse(&timestamps).map(|it| it.timestamps().len());
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
        let written = Bundle::of_statement(Payload::of(&json!({})).unwrap(), signature);
        assert_eq!(Bundle::parse(written.json().clone()).unwrap(), written);
        assert_eq!(
            written.json(),
            &br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"h"}},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AQ=="}]}}"#[..]
        );
        let spaced = good().to_string().replace(',', ", ");
        assert_eq!(*Bundle::parse(spaced.clone()).unwrap().json(), spaced);
    }
}
