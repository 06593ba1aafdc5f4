//! A timestamp's parts: the answer of the authority, CMS, and what it says.
//!
//! <https://www.rfc-editor.org/rfc/rfc3161#section-2.4.2>

use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use der::asn1::{AnyRef, ObjectIdentifier, OctetString, OctetStringRef};
use der::{Decode as _, Encode as _, Reader as _, Tag, Tagged as _};
use time::{Date, Month, OffsetDateTime, Time};
use x509_cert::ext::pkix::SubjectKeyIdentifier;

use super::{TimestampError, is_same_name};
use crate::certificate::Certificate;
use crate::key::Hash;

/// No timestamp is larger.
const MAX_BYTES: usize = 128 << 10;

/// As many certificates as one may carry.
const MAX_CERTIFICATES: usize = 16;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// Algorithms of signatures that name their hash, which then has to be the signer's.
const NAMED: [(&str, Hash); 6] = [
    ("1.2.840.10045.4.3.2", Hash::Sha256),
    ("1.2.840.10045.4.3.3", Hash::Sha384),
    ("1.2.840.10045.4.3.4", Hash::Sha512),
    ("1.2.840.113549.1.1.11", Hash::Sha256),
    ("1.2.840.113549.1.1.12", Hash::Sha384),
    ("1.2.840.113549.1.1.13", Hash::Sha512),
];

/// Algorithms of signatures that leave the hash to the signer's digest.
const UNNAMED: [&str; 3] = ["1.2.840.113549.1.1.1", "1.2.840.10045.2.1", "1.3.101.112"];

/// A timestamp. Parsed, not trusted.
pub(super) struct Token {
    pub(super) time: OffsetDateTime,
    pub(super) certificates: Vec<Certificate>,
    imprint: (Hash, Vec<u8>),
    content: Vec<u8>,
    signer: SignerInfo,
}

fn malformed(problem: &'static str) -> TimestampError {
    TimestampError::Malformed { problem }
}

impl Token {
    /// Parses an authority's answer, DER.
    pub(super) fn parse(der: &[u8]) -> Result<Self, TimestampError> {
        if der.len() > MAX_BYTES {
            return Err(malformed("it is too large"));
        }
        let token = granted(der)?;
        if token.content_type != SIGNED_DATA {
            return Err(malformed("it is not signed data"));
        }
        let data: SignedData = token
            .content
            .decode_as()
            .ok()
            .ok_or_else(|| malformed("it is not signed data"))?;
        if data.encap_content_info.econtent_type != TST_INFO {
            return Err(malformed("what was signed is not a time"));
        }
        let content: OctetString = data
            .encap_content_info
            .econtent
            .and_then(|it| it.decode_as().ok())
            .ok_or_else(|| malformed("what was signed is missing"))?;
        let [signer] = data.signer_infos.0.as_slice() else {
            return Err(malformed("it has not exactly one signature"));
        };
        let digest = signer.digest_alg.oid;
        if !data.digest_algorithms.iter().any(|it| it.oid == digest) {
            return Err(malformed("its digest algorithm is not one that it lists"));
        }
        let choices = data.certificates.map(|it| it.0.into_vec());
        let mut certificates = Vec::new();
        for choice in choices
            .unwrap_or_default()
            .into_iter()
            .take(MAX_CERTIFICATES)
        {
            let CertificateChoices::Certificate(it) = choice else {
                continue;
            };
            let der = it.to_der().ok();
            certificates.extend(der.and_then(|it| Certificate::parse(&it).ok()));
        }
        let (imprint, time) = info(content.as_bytes())?;
        Ok(Self {
            time,
            certificates,
            imprint,
            content: content.into_bytes(),
            signer: signer.clone(),
        })
    }

    /// It is over `signature`.
    pub(super) fn is_over(&self, signature: &[u8]) -> Result<(), TimestampError> {
        let (hash, digest) = &self.imprint;
        if hash.of(signature) == *digest {
            Ok(())
        } else {
            Err(TimestampError::OtherSignature)
        }
    }

    /// Whether it says to be signed by the holder of `certificate`.
    pub(super) fn names(&self, certificate: &Certificate) -> bool {
        let (issuer, serial) = certificate.issuer_and_serial();
        match &self.signer.sid {
            SignerIdentifier::IssuerAndSerialNumber(it) => {
                it.serial_number == *serial && is_same_name(&it.issuer, issuer)
            }
            SignerIdentifier::SubjectKeyIdentifier(SubjectKeyIdentifier(wanted)) => certificate
                .key_identifier()
                .is_some_and(|it| it == wanted.as_bytes()),
        }
    }

    /// The holder of `certificate` signed it.
    pub(super) fn is_signed_by(&self, certificate: &Certificate) -> Result<(), TimestampError> {
        let key = certificate
            .public_key()
            .ok()
            .ok_or(TimestampError::Signature)?;
        let hash = hash(self.signer.digest_alg.oid)?;
        let algorithm = self.signer.signature_algorithm.oid.to_string();
        let is_known = UNNAMED.contains(&algorithm.as_str()) || NAMED.contains(&(&algorithm, hash));
        let attributes = self
            .signer
            .signed_attrs
            .as_ref()
            .ok_or_else(|| malformed("it has no signed attributes"))?;
        let value = |id: ObjectIdentifier| {
            let mut all = attributes.iter().filter(|it| it.oid == id);
            match (all.next(), all.next()) {
                (Some(one), None) => match one.values.as_slice() {
                    [value] => Some(value),
                    _ => None,
                },
                _ => None,
            }
        };
        let content_type = value(CONTENT_TYPE).and_then(|it| it.decode_as().ok());
        let digest = value(MESSAGE_DIGEST).and_then(|it| it.decode_as().ok());
        let is_of_content = content_type == Some(TST_INFO)
            && digest.is_some_and(|it: OctetStringRef<'_>| it.as_bytes() == hash.of(&self.content));
        // What is signed is the set, not the optional field that holds it.
        let signed = attributes.to_der().ok().ok_or(TimestampError::Signature)?;
        if is_known
            && is_of_content
            && key.has_signed_with(hash, &signed, self.signer.signature.as_bytes())
        {
            Ok(())
        } else {
            Err(TimestampError::Signature)
        }
    }
}

fn hash(id: ObjectIdentifier) -> Result<Hash, TimestampError> {
    match id {
        SHA256 => Ok(Hash::Sha256),
        SHA384 => Ok(Hash::Sha384),
        SHA512 => Ok(Hash::Sha512),
        other => Err(TimestampError::Hash {
            id: other.to_string(),
        }),
    }
}

/// What the authority granted.
fn granted(der: &[u8]) -> Result<ContentInfo, TimestampError> {
    let parts: Option<(u8, Option<ContentInfo>)> = AnyRef::from_der(der)
        .and_then(|response| {
            response.sequence(|reader| {
                let status = AnyRef::decode(reader)?.sequence(|reader| {
                    let status = u8::decode(reader)?;
                    // Words about it, and bits, which only a refusal has.
                    reader.read_slice(reader.remaining_len())?;
                    Ok(status)
                })?;
                Ok((status, Option::<ContentInfo>::decode(reader)?))
            })
        })
        .ok();
    match parts {
        // Granted, with modifications or without.
        Some((0 | 1, Some(token))) => Ok(token),
        Some((0 | 1, None)) => Err(malformed("it has no token")),
        Some((status, _)) => Err(TimestampError::NotGranted { status }),
        None => Err(malformed("it is not an answer of an authority")),
    }
}

/// What was stamped, and when.
fn info(der: &[u8]) -> Result<((Hash, Vec<u8>), OffsetDateTime), TimestampError> {
    let parts = AnyRef::from_der(der).and_then(|info| {
        info.sequence(|reader| {
            let version = u8::decode(reader)?;
            let _policy = ObjectIdentifier::decode(reader)?;
            let imprint = AnyRef::decode(reader)?.sequence(|reader| {
                let algorithm = AnyRef::decode(reader)?.sequence(|reader| {
                    let algorithm = ObjectIdentifier::decode(reader)?;
                    reader.read_slice(reader.remaining_len())?;
                    Ok(algorithm)
                })?;
                let digest = OctetStringRef::decode(reader)?;
                Ok((algorithm, digest.as_bytes().to_owned()))
            })?;
            // Its number says nothing to us, whatever its size.
            let _number = AnyRef::decode(reader)?;
            let time = AnyRef::decode(reader)?;
            if time.tag() != Tag::GeneralizedTime {
                return Err(time.tag().value_error());
            }
            let time = time.value().to_owned();
            // How exact the clock is, a nonce, names: signed, and of no use here.
            reader.read_slice(reader.remaining_len())?;
            Ok((version, imprint, time))
        })
    });
    match parts {
        Ok((1, (algorithm, digest), time)) => Ok((
            (hash(algorithm)?, digest),
            generalized_time(&time).ok_or_else(|| malformed("its time is not a time"))?,
        )),
        _ => Err(malformed("what was signed is not a time")),
    }
}

/// `YYYYMMDDhhmmss[.f…]Z`: of a certificate's times only whole seconds are allowed, here not.
fn generalized_time(text: &[u8]) -> Option<OffsetDateTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (text, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
    if text.len() != 14 || !is_digits(text) || !is_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<u16> { text.get(range)?.parse().ok() };
    let small = |range| number(range).and_then(|it| u8::try_from(it).ok());
    let month = Month::try_from(small(4..6)?).ok()?;
    let date = Date::from_calendar_date(number(0..4)?.into(), month, small(6..8)?).ok()?;
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    let time =
        Time::from_hms_nano(small(8..10)?, small(10..12)?, small(12..14)?, nanoseconds).ok()?;
    Some(date.with_time(time).assume_utc())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_have_seconds_and_may_have_parts_of_them() {
        for (text, expected) in [
            ("20250612120220Z", Some(datetime!(2025-06-12 12:02:20 UTC))),
            (
                "20250612120220.5Z",
                Some(datetime!(2025-06-12 12:02:20.5 UTC)),
            ),
            ("20250612120220", None),
            ("202506121202Z", None),
            ("20251312120220Z", None),
            ("20250612120220.1234567890Z", None),
            ("2025061212022+Z", None),
            ("20250612120220+0100", None),
            ("", None),
        ] {
            assert_eq!(generalized_time(text.as_bytes()), expected, "{text}");
        }
    }
}
