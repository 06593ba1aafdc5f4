//! PEM, as key files have it (RFC 7468), read as tolerantly as OpenSSL does: blanks, any line length,
//! and text before and after the document do not matter.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::pkcs8::der::pem;
use zeroize::Zeroizing;

use super::KeyError;

/// No key file is larger.
const MAX_BYTES: usize = 64 << 10;

/// What OpenSSL writes before a key, which says it all again.
const PARAMETERS: &str = "EC PARAMETERS";

/// Decodes the one PEM document in `text`: its label and its bytes.
pub(super) fn decode(text: &[u8]) -> Result<(&str, Zeroizing<Vec<u8>>), KeyError> {
    if text.len() > MAX_BYTES {
        return Err(KeyError::NotPem);
    }
    let text = std::str::from_utf8(text).map_err(|_invalid| KeyError::NotPem)?;
    let mut lines = text.lines().map(str::trim);
    let mut found = None;
    while let Some(line) = lines.next() {
        let Some(label) = line
            .strip_prefix("-----BEGIN ")
            .and_then(|it| it.strip_suffix("-----"))
        else {
            continue;
        };
        let mut body = Zeroizing::new(String::new());
        loop {
            let line = lines.next().ok_or(KeyError::NotPem)?;
            if let Some(end) = line.strip_prefix("-----END ") {
                if end.strip_suffix("-----") != Some(label) {
                    return Err(KeyError::NotPem);
                }
                break;
            }
            body.extend(line.split_whitespace());
        }
        if label == PARAMETERS {
            continue;
        }
        let bytes = STANDARD.decode(body.as_bytes());
        let bytes = Zeroizing::new(bytes.map_err(|_invalid| KeyError::NotPem)?);
        // With two keys it would be open which one is meant.
        if bytes.is_empty() || found.replace((label, bytes)).is_some() {
            return Err(KeyError::NotPem);
        }
    }
    found.ok_or(KeyError::NotPem)
}

/// Encodes one PEM document, 64 characters a line.
pub(super) fn encode(label: &'static str, bytes: &[u8]) -> String {
    pem::encode_string(label, pem::LineEnding::LF, bytes)
        .expect("our labels are well formed and our keys are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_line_lengths_and_text_around_do_not_matter() {
        let plain = "-----BEGIN PUBLIC KEY-----\nAAECAwQF\n-----END PUBLIC KEY-----\n";
        let spaced =
            "\n-----BEGIN PUBLIC KEY-----  \n\n AAEC \t\nAwQF \n-----END PUBLIC KEY----- \n \n";
        for text in [
            plain.to_owned(),
            plain.replace('\n', "\r\n"),
            format!("a comment\n{plain}another"),
            spaced.to_owned(),
            format!("-----BEGIN EC PARAMETERS-----\nBgA=\n-----END EC PARAMETERS-----\n{plain}"),
            plain.trim_end().to_owned(),
        ] {
            let (label, bytes) = decode(text.as_bytes()).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(
                (label, bytes.as_slice()),
                ("PUBLIC KEY", &[0, 1, 2, 3, 4, 5][..])
            );
        }
    }

    #[test]
    fn what_is_no_document_or_two_is_refused() {
        let one = "-----BEGIN A-----\nAAEC\n-----END A-----\n";
        for text in [
            String::new(),
            "AAEC".to_owned(),
            one.repeat(2),
            one.replace("END A", "END B"),
            one.replace("-----END A-----", ""),
            one.replace("AAEC", "AA:C"),
            one.replace("AAEC", ""),
            one.replace("AAEC", "AAE"),
        ] {
            assert!(decode(text.as_bytes()).is_err(), "{text}");
        }
    }
}
