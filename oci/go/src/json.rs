//! JSON as Go's `encoding/json` writes it, byte for byte, and reads it.
//!
//! Images and labels that other tools made are named by the digest of such bytes. Against what
//! `serde_json` writes: `<`, `>`, `&`, U+2028 and U+2029 are escaped, and numbers have Go's form.

mod decode;
mod literal;
mod syntax;
mod types;

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

pub use decode::{Problem, decode, decode_known, unambiguous, unmarshal};
pub use syntax::problem;
pub use types::{Field, Struct, Type, is_folded};

/// The JSON of `value`.
///
/// # Errors
///
/// If `value` has infinity or not-a-number in it, or a map with keys that are no strings.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Go);
    value.serialize(&mut serializer)?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

struct Go;

impl Formatter for Go {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(number(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = fragment;
        while let Some((start, special)) = plain
            .char_indices()
            .find(|(_, c)| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'))
        {
            let (before, rest) = plain.split_at(start);
            writer.write_all(before.as_bytes())?;
            write!(writer, "\\u{:04x}", u32::from(special))?;
            plain = rest.strip_prefix(special).unwrap_or_default();
        }
        writer.write_all(plain.as_bytes())
    }
}

/// As `strconv.FormatFloat` with the shortest digits: plain between 1e-6 and 1e21, else with an
/// exponent of no leading zeros.
fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            _ => text,
        }
    } else {
        format!("{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_does() {
        let json = to_string("a<b>&\"\\\u{2028}\u{2029}\u{7f}\u{1}\u{8}\té🦀").unwrap();
        assert_eq!(
            json,
            "\"a\\u003cb\\u003e\\u0026\\\"\\\\\\u2028\\u2029\u{7f}\\u0001\\b\\té🦀\""
        );
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (7.0, "7"),
            (-0.5, "-0.5"),
            (6.02e23, "6.02e+23"),
            (1e-7, "1e-7"),
            (1e-6, "0.000001"),
            (1e21, "1e+21"),
            (9_223_372_036_854_775_807.0, "9223372036854776000"),
        ] {
            assert_eq!(to_string(&value).unwrap(), text);
        }
        assert_eq!(to_string(&i64::MAX).unwrap(), i64::MAX.to_string());
    }
}
