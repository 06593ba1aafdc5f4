//! PEM, as key files have it (RFC 7468), read as tolerantly as OpenSSL and Go do: blanks, any line length,
//! headers, and text before and after a document do not matter, whatever its encoding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::pkcs8::der::pem;
use zeroize::Zeroizing;

use super::KeyError;

/// No key file is larger.
const MAX_BYTES: usize = 64 << 10;

/// A PEM document: its label and its bytes.
pub(super) type Document<'t> = (&'t str, Zeroizing<Vec<u8>>);

/// Decodes the PEM document in `text` that has one of the labels `wanted`; without one, the first there is.
///
/// Where there are several, others take the first. But then which key is meant hangs on the order in a
/// file, and who appended one for a change of keys would go on with the old one alone: so several are
/// refused, but the same one again.
pub(super) fn decode<'t>(text: &'t [u8], wanted: &[&str]) -> Result<Document<'t>, KeyError> {
    if text.len() > MAX_BYTES {
        return Err(KeyError::NotPem);
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // What is not text is around the document, or is refused in it.
    let mut lines = text
        .split(|it| matches!(it, b'\n' | b'\r'))
        .map(|it| std::str::from_utf8(it).unwrap_or("?").trim());
    let (mut found, mut other) = (None::<Document<'t>>, None::<&str>);
    let mut next = lines.next();
    while let Some(line) = next {
        let Some(label) = begins(line) else {
            next = lines.next();
            continue;
        };
        let mut body = Zeroizing::new(String::new());
        let end = loop {
            match lines.next() {
                // Never closed.
                None => return Err(KeyError::NotPem),
                Some(line) if begins(line).is_some() || line.starts_with("-----END ") => {
                    break line;
                }
                // A header, as RFC 1421 has them. Base64 has no colon.
                Some(line) if body.is_empty() && line.contains(':') => {}
                Some(line) => body.extend(line.split_whitespace()),
            }
        };
        next = Some(end);
        if begins(end).is_some() {
            // What was not closed before another begins is text around it.
            continue;
        }
        next = lines.next();
        let closed = end.strip_prefix("-----END ");
        if closed.and_then(|it| it.strip_suffix("-----")) != Some(label) {
            return Err(KeyError::NotPem);
        }
        if !wanted.contains(&label) {
            other.get_or_insert(label);
            continue;
        }
        let bytes = STANDARD.decode(body.as_bytes());
        let bytes = Zeroizing::new(bytes.map_err(|_invalid| KeyError::NotPem)?);
        if bytes.is_empty() {
            return Err(KeyError::NotPem);
        }
        let document = (label, bytes);
        match &found {
            Some(found) if *found != document => return Err(KeyError::Several),
            _ => found = Some(document),
        }
    }
    match (found, other) {
        (Some(found), _) => Ok(found),
        (None, Some(label)) => Ok((label, Zeroizing::default())),
        (None, None) => Err(KeyError::NotPem),
    }
}

/// The label of the document that begins with this line.
fn begins(line: &str) -> Option<&str> {
    line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")
}

/// Encodes one PEM document, 64 characters a line.
pub(super) fn encode(label: &'static str, bytes: &[u8]) -> String {
    pem::encode_string(label, pem::LineEnding::LF, bytes)
        .expect("our labels are well formed and our keys are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: &[&str] = &["PUBLIC KEY"];

    #[test]
    fn what_does_not_matter_is_passed_over() {
        let plain = "-----BEGIN PUBLIC KEY-----\nAAECAwQF\n-----END PUBLIC KEY-----\n";
        let spaced =
            "\n-----BEGIN PUBLIC KEY-----  \n\n AAEC \t\nAwQF \n-----END PUBLIC KEY----- \n \n";
        let other = "-----BEGIN CERTIFICATE-----\nBgA=\n-----END CERTIFICATE-----\n";
        let headers = "KEY-----\nProc-Type: 4,CLEAR\nComment: of 2024\n\nAA";
        for text in [
            plain.to_owned(),
            plain.replace('\n', "\r\n"),
            plain.replace('\n', "\r"),
            format!("a comment\n{plain}another"),
            format!("\u{feff}{plain}"),
            spaced.to_owned(),
            format!("{other}{plain}"),
            format!("{plain}{other}"),
            plain.repeat(2),
            format!("-----BEGIN X-----\n{plain}"),
            plain.replace("KEY-----\nAA", headers),
            plain.replace("KEY-----\nAA", &headers.replace("\n\n", "\n")),
            plain.trim_end().to_owned(),
        ] {
            let (label, bytes) =
                decode(text.as_bytes(), WANTED).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(
                (label, bytes.as_slice()),
                ("PUBLIC KEY", &[0, 1, 2, 3, 4, 5][..])
            );
        }
        let latin = [b"\xe9t\xe9\n", plain.as_bytes()].concat();
        assert!(decode(&latin, WANTED).is_ok());
    }

    #[test]
    fn what_is_no_document_or_two_is_refused() {
        let one = "-----BEGIN PUBLIC KEY-----\nAAEC\n-----END PUBLIC KEY-----\n";
        for text in [
            String::new(),
            "AAEC".to_owned(),
            one.replace("END PUBLIC", "END OTHER"),
            one.replace("-----END PUBLIC KEY-----", ""),
            one.replace("AAEC", "AA:C"),
            one.replace("AAEC", "AAEC\nAA: C"),
            one.replace("AAEC", ""),
            one.replace("AAEC", "AAE"),
            one.replace("AAEC", "_AEC"),
        ] {
            assert!(decode(text.as_bytes(), WANTED).is_err(), "{text}");
        }
        let two = format!("{one}{}", one.replace("AAEC", "AAED"));
        assert!(matches!(
            decode(two.as_bytes(), WANTED),
            Err(KeyError::Several)
        ));
        let other = one.replace("PUBLIC", "ODD");
        let (label, _) = decode(other.as_bytes(), WANTED).unwrap();
        assert_eq!(label, "ODD KEY");
    }
}
