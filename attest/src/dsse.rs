//! The Dead Simple Signing Envelope: a payload, what it is, and one signature over both.
//!
//! <https://github.com/secure-systems-lab/dsse/blob/v1.0.2/envelope.md>

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{Engine as _, alphabet};
use bytes::Bytes;
use intoto::json::Object;
use serde::{Deserialize, Serialize};

/// The only payload that we sign and read: an in-toto statement, JSON.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// What is signed: the payload and its type, so that neither can be taken for something else.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut pae = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    pae.extend_from_slice(payload);
    pae
}

/// A payload with one signature over it. Parsed, not trusted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    payload_type: String,
    payload: Bytes,
    signature: Vec<u8>,
}

impl Envelope {
    /// Around the bytes of a statement and the signature over their [`pae`].
    pub(crate) fn of_statement(payload: Vec<u8>, signature: Vec<u8>) -> Self {
        Self {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: payload.into(),
            signature,
        }
    }

    /// What the payload is, by the signer's word.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The bytes that were signed. What is signed is what is read: they are never written anew.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// What the signature is over.
    pub fn pae(&self) -> Vec<u8> {
        pae(&self.payload_type, &self.payload)
    }

    pub(crate) fn parse(raw: RawEnvelope) -> Result<Self, EnvelopeError> {
        let count = raw.signatures.len();
        let Ok([Object(signature)]) = <[Object<RawSignature>; 1]>::try_from(raw.signatures) else {
            return Err(EnvelopeError::Signatures { count });
        };
        Ok(Self {
            payload_type: raw.payload_type,
            payload: decode("payload", &raw.payload)?.into(),
            signature: decode("signature", &signature.sig)?,
        })
    }

    pub(crate) fn to_raw(&self) -> RawEnvelope {
        RawEnvelope {
            payload: STANDARD.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: vec![Object(RawSignature {
                sig: STANDARD.encode(&self.signature),
            })],
        }
    }
}

/// Decodes base64, of the standard or the URL-safe alphabet, padded or not, with line breaks in it or not:
/// DSSE allows both alphabets, bundles are protobuf JSON, which allows all four, and whose readers in Go
/// pass over line breaks. Nothing rests on the text: what is signed, and
/// what has a digest, are the bytes that it stands for.
pub(crate) fn decode(what: &'static str, text: &str) -> Result<Vec<u8>, EnvelopeError> {
    const TOLERANT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let unbroken: String;
    let text = if text.contains(['\r', '\n']) {
        unbroken = text.replace(['\r', '\n'], "");
        &unbroken
    } else {
        text
    };
    let alphabet = if text.contains(['-', '_']) {
        &alphabet::URL_SAFE
    } else {
        &alphabet::STANDARD
    };
    GeneralPurpose::new(alphabet, TOLERANT)
        .decode(text)
        .map_err(|source| EnvelopeError::Base64 { what, source })
}

/// As JSON has it. A key id is read by nobody: it is not signed.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawEnvelope {
    payload: String,
    #[serde(alias = "payload_type")]
    payload_type: String,
    signatures: Vec<Object<RawSignature>>,
}

#[derive(Deserialize, Serialize)]
struct RawSignature {
    sig: String,
}

/// Why an envelope is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// With several, it would be open which of them was checked.
    #[error("envelope has {count} signatures, not one")]
    Signatures {
        /// How many.
        count: usize,
    },
    /// A field is not base64.
    #[error("{what} is not base64")]
    Base64 {
        /// Which field.
        what: &'static str,
        /// Why.
        source: base64::DecodeError,
    },
    /// A number, or a count, is out of range.
    #[error("{what} is out of range")]
    Number {
        /// Which.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pae_is_as_the_specification_shows_it() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        // Lengths are of bytes, and no two pairs have the same encoding.
        assert_eq!(pae("ä", b""), "DSSEv1 2 ä 0 ".as_bytes());
        assert_ne!(pae("a 1 b", b"c"), pae("a", b"b 1 c"));
    }

    fn parse(json: &str) -> Result<Envelope, EnvelopeError> {
        Envelope::parse(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn there_is_exactly_one_signature() {
        for (count, list) in [(0, ""), (2, r#"{"sig":"AA=="},{"sig":"AA=="}"#)] {
            let json = format!(r#"{{"payload":"","payloadType":"t","signatures":[{list}]}}"#);
            let error = parse(&json).unwrap_err();
            assert!(matches!(error, EnvelopeError::Signatures { count: it } if it == count));
        }
    }

    #[test]
    fn base64_is_of_either_alphabet_padded_or_not() {
        for (payload, bytes) in [
            ("+/+/", &[0xfb, 0xff, 0xbf][..]),
            ("-_-_", &[0xfb, 0xff, 0xbf]),
            ("-w==", &[0xfb]),
            ("-w", &[0xfb]),
            ("AA", &[0]),
            ("+/\\r\\n+/\\n", &[0xfb, 0xff, 0xbf]),
        ] {
            let json = format!(
                r#"{{"payload":"{payload}","payloadType":"t","signatures":[{{"sig":"AA"}}]}}"#
            );
            assert_eq!(parse(&json).unwrap().payload(), bytes, "{payload}");
        }
        // Of both alphabets, with spare bits, with a blank, with something behind.
        for payload in ["-/+_", "AB==", "AA== ", "AA==AA==", "A"] {
            let json = format!(
                r#"{{"payload":"{payload}","payloadType":"t","signatures":[{{"sig":"AA=="}}]}}"#
            );
            assert!(parse(&json).is_err(), "{payload}");
        }
    }
}
