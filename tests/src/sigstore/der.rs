//! As much of DER as certificates and timestamps are made of.

use time::OffsetDateTime;
use time::macros::format_description;

/// Object identifiers, whole.
pub(super) mod oid {
    pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[6, 3, 0x55, 0x1d, 19];
    pub(crate) const KEY_USAGE: &[u8] = &[6, 3, 0x55, 0x1d, 15];
    pub(crate) const EXTENDED_KEY_USAGE: &[u8] = &[6, 3, 0x55, 0x1d, 37];
    pub(crate) const SUBJECT_ALT_NAME: &[u8] = &[6, 3, 0x55, 0x1d, 17];
    pub(crate) const COMMON_NAME: &[u8] = &[6, 3, 0x55, 4, 3];
    pub(crate) const CODE_SIGNING: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 3];
    pub(crate) const TIME_STAMPING: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8];
    pub(crate) const FULCIO_ISSUER: &[u8] = &[6, 10, 0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1, 8];
    pub(crate) const SCT_LIST: &[u8] = &[6, 10, 0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2];
    pub(crate) const ECDSA_SHA256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    pub(crate) const SHA256: &[u8] = &[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
    pub(crate) const SIGNED_DATA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
    pub(crate) const CONTENT_TYPE: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
    pub(crate) const MESSAGE_DIGEST: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
    pub(crate) const TST_INFO: &[u8] = &[6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 4];
    pub(crate) const POLICY: &[u8] = &[6, 3, 0x2a, 3, 4];
}

/// A value under its tag.
pub(super) fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let mut der = vec![tag];
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => der.push(short),
        Ok(byte) => der.extend([0x81, byte]),
        Err(_) => {
            let len = u16::try_from(len).expect("what tests make is short");
            der.push(0x82);
            der.extend(len.to_be_bytes());
        }
    }
    der.extend_from_slice(content);
    der
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, &parts.concat())
}

pub(super) fn set(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x31, &parts.concat())
}

pub(super) fn explicit(number: u8, content: &[u8]) -> Vec<u8> {
    tagged(0xa0 | number, content)
}

pub(super) fn integer(number: u8) -> Vec<u8> {
    tagged(2, &[number])
}

pub(super) fn octets(bytes: &[u8]) -> Vec<u8> {
    tagged(4, bytes)
}

pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    tagged(3, &[&[0], bytes].concat())
}

pub(super) fn utf8(text: &str) -> Vec<u8> {
    tagged(12, text.as_bytes())
}

/// The bits of a key usage, the first highest; as many as are needed.
pub(super) fn key_usage(usage: u8) -> Vec<u8> {
    let unused = u8::try_from(usage.trailing_zeros()).expect("it has eight bits");
    tagged(3, &[unused, usage])
}

pub(super) fn name(common_name: &str) -> Vec<u8> {
    sequence(&[&set(&[&sequence(&[oid::COMMON_NAME, &utf8(common_name)])])])
}

/// `GeneralizedTime`, which years up to 2049 should not have in a certificate; readers take it.
pub(super) fn time(at: OffsetDateTime) -> Vec<u8> {
    let format = format_description!("[year][month][day][hour][minute][second]Z");
    let text = at.format(&format).expect("it is a time");
    tagged(24, text.as_bytes())
}

pub(super) fn extension(id: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical {
        tagged(1, &[0xff])
    } else {
        Vec::new()
    };
    sequence(&[id, &critical, &octets(value)])
}
