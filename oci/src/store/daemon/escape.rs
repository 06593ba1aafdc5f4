//! Names and filters, as parts of a URL.

use std::fmt::Write as _;

/// A name as part of a path.
pub(super) fn in_path(name: &str) -> String {
    encode(name, b"/:@._-")
}

/// Text as a value of a query.
pub(super) fn in_query(text: &str) -> String {
    encode(text, b"/:._-")
}

fn encode(text: &str, plain: &[u8]) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").unwrap_or_default();
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_escaped() {
        assert_eq!(in_path("[::1]:5000/app:v1"), "%5B::1%5D:5000/app:v1");
        assert_eq!(
            in_query(r#"{"a b":["c&d"]}"#),
            "%7B%22a%20b%22%3A%5B%22c%26d%22%5D%7D".replace("%3A", ":")
        );
    }
}
