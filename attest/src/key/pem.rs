use p256::pkcs8::der::pem;
use zeroize::Zeroizing;

use super::KeyError;

/// No key file is larger.
const MAX_BYTES: usize = 64 << 10;

/// Decodes one PEM document: its label and its bytes.
pub(super) fn decode(text: &[u8]) -> Result<(&str, Zeroizing<Vec<u8>>), KeyError> {
    if text.len() > MAX_BYTES {
        return Err(KeyError::NotPem);
    }
    match pem::decode_vec(text) {
        Ok((label, bytes)) => Ok((label, Zeroizing::new(bytes))),
        Err(_) => Err(KeyError::NotPem),
    }
}

/// Encodes one PEM document, 64 characters a line.
pub(super) fn encode(label: &'static str, bytes: &[u8]) -> String {
    pem::encode_string(label, pem::LineEnding::LF, bytes)
        .expect("our labels are well formed and our keys are short")
}
