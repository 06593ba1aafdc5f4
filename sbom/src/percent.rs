//! Percent encoding, as package URLs want it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The same without the colon, which the specification of package URLs leaves alone.
const IN_PURL: &AsciiSet = &RESERVED.remove(b':');

/// Encodes all but what RFC 3986 calls unreserved.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Encodes a part of a package URL.
pub(crate) fn encode_in_purl(text: &str) -> String {
    utf8_percent_encode(text, IN_PURL).to_string()
}

/// Undoes it; what is not encoded, or would not be text, stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map_or_else(|_| text.to_owned(), Into::into)
}
