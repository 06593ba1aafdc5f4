//! JSON of files with credentials, read as programs in Go read it: the first value of a file, keys in any
//! letters, broken text mended.
//!
//! `go::json` reads into types, of which the first wrong entry fails all. Here it is looked at entry by
//! entry, since our own commands pass over the odd ones. What is too deep is refused.

/// How deep values may lie in each other. Those of Docker lie three deep.
const MAX_DEPTH: usize = 64;

/// A value, of which only texts are kept. It may hold secrets, so it cannot be printed.
pub(super) enum Value {
    Null,
    Bool,
    Number,
    Text(String),
    Array(Vec<Value>),
    /// In the order of the file; a key may be there twice.
    Object(Vec<(String, Value)>),
}

/// The first value of `text`, and what follows it; none if there is nothing but blanks. Why not is said
/// as Go says it, with one letter of the text at most.
pub(super) fn read(text: &[u8]) -> Result<Option<(Value, &[u8])>, String> {
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    if let Some(problem) = go::json::stream_problem(text) {
        return Err(problem);
    }
    let mut reader = Reader { rest: text };
    let value = reader.value(0).ok_or("exceeded max depth")?;
    Ok(Some((value, reader.rest)))
}

/// Whether `key` means the field `name`, in whatever letters.
pub(super) fn is_field(key: &str, name: &str) -> bool {
    go::json::is_folded(name, key)
}

impl Value {
    /// What Go calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Number => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Puts a text into `field`, where `null` leaves what is there; whether it is one of both.
    pub(super) fn put(self, field: &mut String) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => {
                *field = text;
                true
            }
            _ => false,
        }
    }
}

/// Over text that begins with a value: that it does is known.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        Some(match self.peek()? {
            b'{' => {
                let mut entries = Vec::new();
                self.skip(1);
                while self.peek()? != b'}' {
                    let key = self.text()?;
                    self.peek()?;
                    self.skip(1);
                    entries.push((key, self.value(depth + 1)?));
                    if self.peek()? == b',' {
                        self.skip(1);
                    }
                }
                self.skip(1);
                Value::Object(entries)
            }
            b'[' => {
                let mut values = Vec::new();
                self.skip(1);
                while self.peek()? != b']' {
                    values.push(self.value(depth + 1)?);
                    if self.peek()? == b',' {
                        self.skip(1);
                    }
                }
                self.skip(1);
                Value::Array(values)
            }
            b'"' => Value::Text(self.text()?),
            b'n' => self.word(4, Value::Null),
            b't' => self.word(4, Value::Bool),
            b'f' => self.word(5, Value::Bool),
            _ => {
                let is_part =
                    |it: &u8| matches!(it, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let length = self.rest.iter().take_while(|it| is_part(it)).count();
                self.word(length, Value::Number)
            }
        })
    }

    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    fn word(&mut self, length: usize, value: Value) -> Value {
        self.skip(length);
        value
    }

    /// A text.
    fn text(&mut self) -> Option<String> {
        self.peek()?;
        self.skip(1);
        let mut end = 0;
        while *self.rest.get(end)? != b'"' {
            end += if self.rest.get(end) == Some(&b'\\') {
                2
            } else {
                1
            };
        }
        let text = go::json::unquoted(self.rest.get(..end)?);
        self.skip(end + 1);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts_and_text_that_is_none_is_mended() {
        let text = b"{\"a\":[1,-2e5,true,null,{}],\"\\ud800\\u0041\xff\":\"\\ud83e\\udd80\\n\"} x";
        let (value, rest) = read(text).unwrap().unwrap();
        assert_eq!(rest, b" x");
        let Value::Object(entries) = value else {
            panic!("{}", value.kind())
        };
        let keys: Vec<_> = entries.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["a", "\u{fffd}A\u{fffd}"]);
        assert!(matches!(&entries[1].1, Value::Text(it) if it == "🦀\n"));
        assert!(matches!(&entries[0].1, Value::Array(it) if it.len() == 5));
        // As Go mends it: each byte that is none, by itself.
        let cut = read(b"\"\xe2\x82\"").unwrap().unwrap().0;
        assert!(matches!(cut, Value::Text(it) if it == "\u{fffd}\u{fffd}"));
        assert!(read(b" \n").unwrap().is_none());
        assert_eq!(read(b"{").err().unwrap(), "unexpected EOF");
        assert!(read("[".repeat(5000).as_bytes()).is_err());
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(read(deep.as_bytes()).err().unwrap(), "exceeded max depth");
    }

    #[test]
    fn keys_are_the_same_in_all_letters() {
        for key in ["auths", "AUTHS", "Auth\u{17f}"] {
            assert!(is_field(key, "auths"), "{key}");
        }
        assert!(!is_field("auth", "auths"));
    }
}
