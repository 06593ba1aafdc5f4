//! Names and filters, as parts of a URL.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What may stand in a query as it is.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b':')
    .remove(b'.')
    .remove(b'_')
    .remove(b'-');
/// The same in a path.
const IN_PATH: &AsciiSet = &IN_QUERY.remove(b'@');

/// A name as part of a path.
pub(super) fn in_path(name: &str) -> String {
    utf8_percent_encode(name, IN_PATH).to_string()
}

/// Text as a value of a query.
pub(super) fn in_query(text: &str) -> String {
    utf8_percent_encode(text, IN_QUERY).to_string()
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
