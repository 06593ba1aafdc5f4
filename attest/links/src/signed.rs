//! What is said, and who signed it: the two wrappers of in-toto.

use attest::dsse::{PAYLOAD_TYPE, pae};
use attest::key::PrivateKey;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::canonical;
use crate::key::{hexadecimal, to_hexadecimal};
use crate::{Key, Limits, SignLinkError, UnsupportedKey};

/// A link or a layout with its signatures, none of which has been checked.
///
/// In in-toto's own wrapper (`signed` and `signatures`) the canonical JSON of all that `signed` holds
/// is what is signed: a field that we do not know is signed, too, or the signature is none. In a DSSE
/// envelope it is the payload's bytes.
#[derive(Clone, Debug)]
pub struct Signed {
    content: Value,
    message: Vec<u8>,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug)]
struct Signature {
    key_id: String,
    bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Wire {
    signed: Option<Value>,
    payload: Option<String>,
    #[serde(rename = "payloadType")]
    payload_type: Option<String>,
    signatures: Vec<WireSignature>,
}

#[derive(Deserialize)]
struct WireSignature {
    keyid: String,
    /// Those of `GnuPG` have `signature` and `other_headers` instead.
    sig: Option<String>,
}

impl Signed {
    /// Parses a file.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, SignedError> {
        if bytes.len() as u64 > limits.file_bytes {
            return Err(SignedError::TooLong {
                limit: limits.file_bytes,
            });
        }
        let wire: Wire = intoto::json::from_slice(bytes).map_err(SignedError::Json)?;
        let decode: fn(&str) -> Option<Vec<u8>>;
        let (content, message) = match (wire.signed, wire.payload) {
            (Some(content), None) => {
                let message = canonical::to_vec(&content).ok_or(SignedError::Fraction)?;
                decode = hexadecimal;
                (content, message)
            }
            (None, Some(payload)) => {
                let payload_type = wire.payload_type.unwrap_or_default();
                if payload_type != PAYLOAD_TYPE {
                    return Err(SignedError::PayloadType { payload_type });
                }
                let payload = base64(&payload).ok_or(SignedError::Base64)?;
                let content = intoto::json::from_slice(&payload).map_err(SignedError::Payload)?;
                decode = base64;
                (content, pae(PAYLOAD_TYPE, &payload))
            }
            (Some(_), Some(_)) | (None, None) => return Err(SignedError::Wrapper),
        };
        Ok(Self {
            content,
            message,
            signatures: wire
                .signatures
                .into_iter()
                .filter_map(|it| {
                    let bytes = decode(&it.sig?)?;
                    let key_id = it.keyid;
                    Some(Signature { key_id, bytes })
                })
                .collect(),
        })
    }

    /// Signs `content` by each of `keys`, in in-toto's own wrapper: the bytes of a file.
    ///
    /// The same content and P-256 or Ed25519 keys give the same bytes.
    pub fn sign(content: &Value, keys: &[&PrivateKey]) -> Result<Vec<u8>, SignLinkError> {
        let message = canonical::to_vec(content).ok_or(SignLinkError::Fraction)?;
        let mut signatures = Vec::new();
        for key in keys {
            let by = Key::of(key.public_key().clone()).map_err(SignLinkError::Key)?;
            let signature = key.sign_message(&message).map_err(SignLinkError::Sign)?;
            // What we write, we can read: an RSA key is one for PSS here, which we do not sign with.
            if !by.has_signed(&message, &signature) {
                return Err(SignLinkError::Key(UnsupportedKey {
                    kind: format!("{:?}, to sign links", key.public_key().algorithm()),
                }));
            }
            signatures.push(json!({
                "keyid": by.id().as_str(),
                "sig": to_hexadecimal(&signature),
            }));
        }
        let file = json!({"signatures": signatures, "signed": content});
        let mut bytes = serde_json::to_vec_pretty(&file).map_err(SignLinkError::Serialize)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Whether one of the signatures under the key's name is by the key.
    pub fn is_signed_by(&self, key: &Key) -> bool {
        self.signatures
            .iter()
            .filter(|it| it.key_id == key.id().as_str())
            .any(|it| key.has_signed(&self.message, &it.bytes))
    }

    /// What is said. Proves nothing before [`Signed::is_signed_by`].
    pub(crate) fn content(&self) -> &Value {
        &self.content
    }

    /// `link` or `layout`, if it says so.
    pub(crate) fn kind(&self) -> &str {
        self.content
            .get("_type")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// Standard or URL-safe, with or without padding, as DSSE allows.
fn base64(text: &str) -> Option<Vec<u8>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [alphabet::STANDARD, alphabet::URL_SAFE]
        .iter()
        .find_map(|it| GeneralPurpose::new(it, config).decode(text).ok())
}

/// Why a file says nothing.
#[derive(Debug, thiserror::Error)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever asks for a reason handles all"
)]
pub enum SignedError {
    /// More bytes than are read.
    #[error("more than {limit} bytes")]
    TooLong {
        /// How many are.
        limit: u64,
    },
    /// The file.
    #[error("malformed metadata of in-toto")]
    Json(#[source] serde_json::Error),
    /// Which of the two it is cannot be said.
    #[error("malformed metadata of in-toto: either `signed` or `payload` must be there")]
    Wrapper,
    /// An envelope around something else.
    #[error("payload of type `{payload_type}`, not `{PAYLOAD_TYPE}`")]
    PayloadType {
        /// What it says.
        payload_type: String,
    },
    /// The payload cannot be decoded.
    #[error("malformed base64 of the payload")]
    Base64,
    /// The payload cannot be read.
    #[error("malformed payload")]
    Payload(#[source] serde_json::Error),
    /// Canonical JSON has none.
    #[error("malformed metadata of in-toto: a number is not an integer")]
    Fraction,
}
