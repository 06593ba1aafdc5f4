//! What Go's `encoding/json` says of text that is no JSON.

/// Why `text` is no JSON document, in the words of `json.Unmarshal`; nothing if it is one.
pub fn problem(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner::default();
    for &byte in text {
        if let Err(problem) = scanner.step(byte) {
            return Some(problem);
        }
    }
    if scanner.is_complete() {
        return None;
    }
    // The end is looked at as a blank would be.
    let problem = scanner.step(b' ').err();
    Some(problem.unwrap_or_else(|| "unexpected end of JSON input".to_owned()))
}

/// Why `text` does not begin with a JSON value, in the words of `json.Decoder`, which reads no further.
pub(super) fn stream_problem(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner::default();
    for &byte in text {
        // A number ends where something else begins.
        if scanner.is_complete() {
            return None;
        }
        if let Err(problem) = scanner.step(byte) {
            return Some(problem);
        }
    }
    if scanner.is_complete() {
        None
    } else if text.iter().all(|it| is_space(*it)) {
        Some("EOF".to_owned())
    } else {
        Some("unexpected EOF".to_owned())
    }
}

/// How deep values may lie in each other.
const MAX_DEPTH: usize = 10_000;

#[derive(Debug, Default)]
struct Scanner {
    state: State,
    around: Vec<Around>,
}

/// What a value lies in, and where.
#[derive(Clone, Copy, Debug)]
enum Around {
    Array,
    ObjectKey,
    ObjectValue,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Value,
    ValueOrEmpty,
    Key,
    KeyOrEmpty,
    /// After a value, at whose end nothing is left open.
    After,
    Text,
    Escape,
    /// How many digits are to come.
    Hex(u8),
    /// A word, and how much of it is read.
    Word(&'static str, usize),
    Minus,
    /// Digits that may go on.
    Digits,
    /// A zero, or the whole of an integer.
    Zero,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Scanner {
    /// Whether what is read so far is a value.
    fn is_complete(&self) -> bool {
        use State::{After, Digits, ExponentDigits, Fraction, Zero};
        self.around.is_empty()
            && matches!(
                self.state,
                After | Digits | Zero | Fraction | ExponentDigits
            )
    }

    fn step(&mut self, byte: u8) -> Result<(), String> {
        use State::{
            After, Digits, Escape, Exponent, ExponentDigits, ExponentSign, Fraction, Hex, Key,
            KeyOrEmpty, Minus, Point, Text, Value, ValueOrEmpty, Word, Zero,
        };
        self.state = match (self.state, byte) {
            (Value | ValueOrEmpty | Key | KeyOrEmpty | After, _) if is_space(byte) => return Ok(()),
            (ValueOrEmpty, b']') | (KeyOrEmpty, b'}') => self.close(),
            (Value | ValueOrEmpty, _) => self.value(byte)?,
            (Key | KeyOrEmpty, b'"')
            | (Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Text,
            (Key | KeyOrEmpty, _) => {
                return wrong(byte, "looking for beginning of object key string");
            }
            (Text, b'"') => After,
            (Text, b'\\') => Escape,
            (Text, 0..0x20) => return wrong(byte, "in string literal"),
            (Text, _) => Text,
            (Escape, b'u') => Hex(4),
            (Escape, _) => return wrong(byte, "in string escape code"),
            (Hex(left), _) if byte.is_ascii_hexdigit() => match left.saturating_sub(1) {
                0 => Text,
                left => Hex(left),
            },
            (Hex(_), _) => return wrong(byte, "in \\u hexadecimal character escape"),
            (Word(word, read), _) => {
                let expected = word.as_bytes().get(read).copied().unwrap_or_default();
                if byte != expected {
                    let place = format!("in literal {word} (expecting '{}')", char::from(expected));
                    return wrong(byte, &place);
                }
                match read + 1 {
                    read if read == word.len() => After,
                    read => Word(word, read),
                }
            }
            (Minus, b'0') => Zero,
            (Minus, b'1'..=b'9') | (Digits, b'0'..=b'9') => Digits,
            (Minus, _) => return wrong(byte, "in numeric literal"),
            (Zero | Digits, b'.') => Point,
            (Zero | Digits | Fraction, b'e' | b'E') => Exponent,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Point, _) => return wrong(byte, "after decimal point in numeric literal"),
            (Exponent, b'+' | b'-') => ExponentSign,
            (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => ExponentDigits,
            (Exponent | ExponentSign, _) => return wrong(byte, "in exponent of numeric literal"),
            (Zero | Digits | Fraction | ExponentDigits, _) if is_space(byte) => After,
            (After | Zero | Digits | Fraction | ExponentDigits, _) => self.after(byte)?,
        };
        Ok(())
    }

    /// The first byte of a value.
    fn value(&mut self, byte: u8) -> Result<State, String> {
        Ok(match byte {
            b'{' => self.open(byte, Around::ObjectKey, State::KeyOrEmpty)?,
            b'[' => self.open(byte, Around::Array, State::ValueOrEmpty)?,
            b'"' => State::Text,
            b'-' => State::Minus,
            b'0' => State::Zero,
            b'1'..=b'9' => State::Digits,
            b't' => State::Word("true", 1),
            b'f' => State::Word("false", 1),
            b'n' => State::Word("null", 1),
            _ => return wrong(byte, "looking for beginning of value"),
        })
    }

    /// What follows a value.
    fn after(&mut self, byte: u8) -> Result<State, String> {
        match (self.around.last_mut(), byte) {
            (None, _) => wrong(byte, "after top-level value"),
            (Some(around @ Around::ObjectKey), b':') => {
                *around = Around::ObjectValue;
                Ok(State::Value)
            }
            (Some(Around::ObjectKey), _) => wrong(byte, "after object key"),
            (Some(around @ Around::ObjectValue), b',') => {
                *around = Around::ObjectKey;
                Ok(State::Key)
            }
            (Some(Around::ObjectValue), b'}') | (Some(Around::Array), b']') => Ok(self.close()),
            (Some(Around::ObjectValue), _) => wrong(byte, "after object key:value pair"),
            (Some(Around::Array), b',') => Ok(State::Value),
            (Some(Around::Array), _) => wrong(byte, "after array element"),
        }
    }

    fn open(&mut self, byte: u8, around: Around, state: State) -> Result<State, String> {
        if self.around.len() == MAX_DEPTH {
            return wrong(byte, "exceeded max depth");
        }
        self.around.push(around);
        Ok(state)
    }

    fn close(&mut self) -> State {
        self.around.pop();
        State::After
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn wrong<T>(byte: u8, place: &str) -> Result<T, String> {
    let shown = match byte {
        b'\'' => "\\'".to_owned(),
        b'\\' => "\\\\".to_owned(),
        0x07 => "\\a".to_owned(),
        0x08 => "\\b".to_owned(),
        0x0b => "\\v".to_owned(),
        0x0c => "\\f".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        0..0x20 | 0x7f => format!("\\x{byte:02x}"),
        0x80..=0xa0 | 0xad => format!("\\u{byte:04x}"),
        // Each byte by itself is taken for a letter.
        _ => char::from(byte).to_string(),
    };
    Err(format!("invalid character '{shown}' {place}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Go 1.26 said it.
    #[test]
    fn what_is_no_json_is_told_as_go_tells_it() {
        for (text, words) in [
            ("", "unexpected end of JSON input"),
            (" ", "unexpected end of JSON input"),
            ("{\"a\":", "unexpected end of JSON input"),
            ("\"", "unexpected end of JSON input"),
            ("-", "invalid character ' ' in numeric literal"),
            (
                "1.",
                "invalid character ' ' after decimal point in numeric literal",
            ),
            (
                "not json",
                "invalid character 'o' in literal null (expecting 'u')",
            ),
            (
                "<html>",
                "invalid character '<' looking for beginning of value",
            ),
            (
                "a\nb",
                "invalid character 'a' looking for beginning of value",
            ),
            (
                "{a",
                "invalid character 'a' looking for beginning of object key string",
            ),
            ("{\"a\" 1", "invalid character '1' after object key"),
            (
                "{\"a\":1 x",
                "invalid character 'x' after object key:value pair",
            ),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            ("[1 2", "invalid character '2' after array element"),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            ("{} '", "invalid character '\\'' after top-level value"),
            ("01", "invalid character '1' after top-level value"),
            ("-x", "invalid character 'x' in numeric literal"),
            (
                "1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            (
                "1e+x",
                "invalid character 'x' in exponent of numeric literal",
            ),
            ("\"\n", "invalid character '\\n' in string literal"),
            ("\"\\x", "invalid character 'x' in string escape code"),
            (
                "\"\\u12g",
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
            (
                "tru\u{1}",
                "invalid character '\\x01' in literal true (expecting 'e')",
            ),
            ("é", "invalid character 'Ã' looking for beginning of value"),
            (
                "\u{80}",
                "invalid character 'Â' looking for beginning of value",
            ),
        ] {
            assert_eq!(problem(text.as_bytes()).as_deref(), Some(words), "{text}");
        }
        assert_eq!(problem(b"[1, -2.5e-3, 0, {\"a\\u00e9\": null}] "), None);
        let deep = "[".repeat(MAX_DEPTH + 1);
        assert_eq!(
            problem(deep.as_bytes()).as_deref(),
            Some("invalid character '[' exceeded max depth")
        );
    }

    #[test]
    fn a_stream_is_read_as_far_as_its_first_value() {
        for (text, words) in [
            ("", Some("EOF")),
            (" \n", Some("EOF")),
            ("{\"a\":", Some("unexpected EOF")),
            ("{} x", None),
            ("12", None),
            (
                "x",
                Some("invalid character 'x' looking for beginning of value"),
            ),
        ] {
            assert_eq!(stream_problem(text.as_bytes()).as_deref(), words, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_json_to_serde_is_json_here(text in r#"[\[\]{}:, "\\u0-9a-f.eE+nul-]{0,12}"#) {
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(problem(text.as_bytes()).is_none(), is_json, "{}", text);
        }
    }
}
