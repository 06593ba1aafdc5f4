//! When a signature was seen: timestamp authorities of RFC 3161.

use attest::bundle::SignedTimestamp;
use net::{Question, Services};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::error::KeylessError;

/// More than any timestamp with its certificates.
const MAX_BYTES: u64 = 64 << 10;

/// Asks for a timestamp of `signature`. What comes back is looked at for its form; whether it is about
/// this signature and by a known authority, whoever verifies the bundle finds out.
pub(crate) async fn timestamp(
    services: &Services,
    authority: &Url,
    signature: &[u8],
) -> Result<SignedTimestamp, KeylessError> {
    let body = request(signature);
    let question =
        Question::post(authority.clone(), "application/timestamp-query", body).limit(MAX_BYTES);
    let answer = services.ask(&question).await;
    let answer = answer.map_err(|source| KeylessError::Service {
        action: "get a timestamp",
        source,
    })?;
    if !answer.status.is_success() {
        let action = "give a timestamp";
        return Err(KeylessError::refused(authority, action, &answer, &[]));
    }
    match status(&answer.body) {
        Some(0 | 1) => Ok(SignedTimestamp(answer.body.to_vec())),
        Some(_) => Err(KeylessError::malformed(
            authority,
            "the timestamp is refused",
        )),
        None => Err(KeylessError::malformed(authority, "no timestamp")),
    }
}

/// A `TimeStampReq` with SHA-256, that asks for the authority's certificates. It needs no nonce: the
/// signature itself is new, or else as old as the answer.
fn request(signature: &[u8]) -> Vec<u8> {
    const BEFORE: &[u8] = &[
        0x30, 0x39, // SEQUENCE
        0x02, 0x01, 0x01, // version 1
        0x30, 0x31, // MessageImprint
        0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
        0x01, // id-sha256
        0x05, 0x00, // no parameters
        0x04, // OCTET STRING
    ];
    let mut request = BEFORE.to_vec();
    request.push(0x20);
    request.extend_from_slice(&Sha256::digest(signature));
    // certReq
    request.extend_from_slice(&[0x01, 0x01, 0xff]);
    request
}

/// The status of a `TimeStampResp` that fills `der`.
fn status(der: &[u8]) -> Option<u8> {
    let (0x30, response, []) = element(der)? else {
        return None;
    };
    let (0x30, info, _) = element(response)? else {
        return None;
    };
    match element(info)? {
        (0x02, [status], _) => Some(*status),
        _ => None,
    }
}

/// The first element of some DER: its tag, its content and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
            let len = digits.iter().fold(0, |len, it| len << 8 | usize::from(*it));
            (len, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_as_long_as_it_says() {
        let request = request(b"signature");
        let (tag, content, rest) = element(&request).unwrap();
        assert_eq!((tag, content.len(), rest.len()), (0x30, 57, 0));
        let (_, imprint) = (element(content).unwrap(), element(content).unwrap().2);
        let (tag, imprint, rest) = element(imprint).unwrap();
        assert_eq!((tag, rest), (0x30, &[0x01, 0x01, 0xff][..]));
        let (_, digest) = (element(imprint).unwrap(), element(imprint).unwrap().2);
        assert_eq!(
            element(digest).unwrap().1,
            &Sha256::digest(b"signature")[..]
        );
    }

    #[test]
    fn the_status_of_an_answer_is_read() {
        assert_eq!(status(&[0x30, 5, 0x30, 3, 2, 1, 0]), Some(0));
        assert_eq!(status(&[0x30, 5, 0x30, 3, 2, 1, 2]), Some(2));
        for garbage in [
            &b""[..],
            b"<html>",
            &[0x30, 5, 0x30, 3, 2, 1, 0, 0],
            &[0x30, 5, 0x30, 3, 2, 2, 0],
            &[0x30, 0x84, 0, 0, 0, 5, 0x30, 3, 2, 1, 0],
        ] {
            assert_eq!(status(garbage), None, "{garbage:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes: Vec<u8>) {
            status(&bytes);
        }
    }
}
