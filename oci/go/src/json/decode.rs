//! JSON as Go's `encoding/json` reads it into a type of Go's.
//!
//! What is read is given as JSON again, of which any reader makes the same: its keys are those of the
//! type, each once, its texts are Unicode, and what Go leaves at its zero value is not there. Else it is
//! an error, in Go's words.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::literal::{base64, mended, to_base64, unquoted};
use super::syntax;
use super::types::{Struct, Type};

/// How deep values may lie in each other that a type takes whatever they are; Go has 10,000. Whoever
/// holds such values goes through them on the stack, and files of the phases have 100 at most.
const MAX_KEPT: usize = 80;

/// How many values there may be in one document. A million of them are held in some hundred megabytes.
const MAX_VALUES: usize = 1_000_000;

/// Why text cannot be read, in Go's words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct Problem {
    text: String,
    go_reads_on: bool,
}

impl Problem {
    fn of(text: String) -> Self {
        Self {
            text,
            go_reads_on: false,
        }
    }

    /// Whether Go takes the text, and only the value that it was to become does not: it has a field that
    /// may be missing there, or a number that is out of range here.
    pub fn go_reads_on(&self) -> bool {
        self.go_reads_on
    }

    /// Whether a stream has come to its end before a value: `io.EOF`.
    pub fn is_end(&self) -> bool {
        self.text == "EOF"
    }
}

/// Reads `text` as `json.Unmarshal` does.
///
/// # Errors
///
/// If it is no JSON, or another than `of` takes.
pub fn unmarshal<T: DeserializeOwned>(text: &[u8], of: &Type) -> Result<T, Problem> {
    match syntax::problem(text) {
        Some(problem) => Err(Problem::of(problem)),
        None => Ok(read(text, of, Fields::Any)?.0),
    }
}

/// The same where it matters that whoever reads `text` finds the same in it: a field that is there twice,
/// of which other readers take the first or none, is an error.
///
/// # Errors
///
/// If it is no JSON, or another than `of` takes, or has a field twice.
pub fn unambiguous<T: DeserializeOwned>(text: &[u8], of: &Type) -> Result<T, Problem> {
    match syntax::problem(text) {
        Some(problem) => Err(Problem::of(problem)),
        None => Ok(read(text, of, Fields::Once)?.0),
    }
}

/// Reads the first value of `text` as `json.Decoder` does: what follows is not looked at.
///
/// # Errors
///
/// If it does not begin with a value, or with another than `of` takes.
pub fn decode<T: DeserializeOwned>(text: &[u8], of: &Type) -> Result<T, Problem> {
    match syntax::stream_problem(text) {
        Some(problem) => Err(Problem::of(problem)),
        None => Ok(read(text, of, Fields::Any)?.0),
    }
}

/// The same after `DisallowUnknownFields`; and what follows the value.
///
/// # Errors
///
/// If it does not begin with a value, or with another than `of` takes, or one with fields that `of` does
/// not have.
pub fn decode_known<'a, T: DeserializeOwned>(
    text: &'a [u8],
    of: &Type,
) -> Result<(T, &'a [u8]), Problem> {
    match syntax::stream_problem(text) {
        Some(problem) => Err(Problem::of(problem)),
        None => read(text, of, Fields::Known),
    }
}

/// Which fields a struct may have.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Fields {
    /// Any. Of one that is there twice the last value counts.
    Any,
    /// Those of its type.
    Known,
    /// Any, but each once.
    Once,
}

/// Reads the first value of `text`, which is JSON up to its end; and what follows it.
fn read<'a, T: DeserializeOwned>(
    text: &'a [u8],
    of: &Type,
    allowed: Fields,
) -> Result<(T, &'a [u8]), Problem> {
    let mut reader = Reader {
        rest: text,
        context: Context::default(),
        saved: None,
        allowed,
        values: 0,
    };
    let mut value = of.zero();
    reader.value(of, &mut value)?;
    if let Some(problem) = reader.saved {
        return Err(problem);
    }
    let value = serde_json::from_value(value).map_err(|error| Problem {
        text: error.to_string(),
        go_reads_on: true,
    })?;
    Ok((value, reader.rest))
}

struct Reader<'a> {
    rest: &'a [u8],
    context: Context,
    /// What is told at the end: the first value that has another type.
    saved: Option<Problem>,
    allowed: Fields,
    /// How many values were read.
    values: usize,
}

/// In which field of which struct the reader is.
#[derive(Clone, Copy, Default)]
struct Depth {
    name: &'static str,
    len: usize,
}

#[derive(Default)]
struct Context {
    name: &'static str,
    path: Vec<&'static str>,
}

impl Context {
    fn mark(&self) -> Depth {
        Depth {
            name: self.name,
            len: self.path.len(),
        }
    }

    fn go_back(&mut self, to: Depth) {
        self.name = to.name;
        self.path.truncate(to.len);
    }

    /// That a value is a `found`, where one of type `wanted` belongs.
    fn mismatch(&self, found: &str, wanted: &str) -> Problem {
        let place = if self.path.is_empty() {
            "Go value".to_owned()
        } else {
            format!("Go struct field {}.{}", self.name, self.path.join("."))
        };
        Problem::of(format!(
            "json: cannot unmarshal {found} into {place} of type {wanted}"
        ))
    }
}

/// What a value begins with.
#[derive(Clone, Copy)]
enum Kind {
    Array,
    Bool(bool),
    Null,
    Number,
    Object,
    Text,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Bool(_) => "bool",
            Self::Null => "null",
            Self::Number => "number",
            Self::Object => "object",
            Self::Text => "string",
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads a value of type `of` into `place`, which holds what was read before. An error of a type that
    /// reads itself ends everything; others are told at the end.
    fn value(&mut self, of: &Type, place: &mut Value) -> Result<(), Problem> {
        self.count()?;
        let kind = self.kind();
        match (of, kind) {
            (Type::Pointer(_) | Type::List(_) | Type::Map(_) | Type::Bytes, Kind::Null) => {
                self.skip();
                *place = Value::Null;
            }
            (Type::Pointer(to), _) => {
                if place.is_null() {
                    *place = to.zero();
                }
                self.value(to, place)?;
            }
            (Type::Time(_), _) => self.time(kind, place)?,
            (Type::Own(_, check), _) => {
                let text = match kind {
                    Kind::Text => unquoted(self.text()),
                    Kind::Null => {
                        self.skip();
                        String::new()
                    }
                    _ => return Err(self.context.mismatch(kind.name(), "string")),
                };
                check(&text).map_err(Problem::of)?;
                *place = Value::String(text);
            }
            (Type::Any, _) => *place = self.any(0)?,
            (Type::Raw, _) => {
                let before = self.rest;
                self.skip();
                let len = before.len() - self.rest.len();
                let text = before.get(..len).unwrap_or_default();
                *place = Value::String(mended(text));
            }
            (_, Kind::Null) => self.skip(),
            (Type::Presence, _) => {
                self.skip();
                *place = Value::Bool(true);
            }
            (Type::Bool, Kind::Bool(truth)) => {
                self.skip();
                *place = Value::Bool(truth);
            }
            (Type::Text(_), Kind::Text) => *place = Value::String(unquoted(self.text())),
            (Type::Bytes, Kind::Text) => {
                let text = unquoted(self.text());
                match base64(text.as_bytes()) {
                    Ok(bytes) => *place = Value::String(to_base64(&bytes)),
                    Err(problem) => self.save(Problem::of(problem)),
                }
            }
            (Type::Bytes, Kind::Array) => self.bytes(place),
            (Type::Integer(name), Kind::Number) => {
                let number = self.raw();
                match str::from_utf8(number)
                    .ok()
                    .and_then(|it| it.parse::<i64>().ok())
                {
                    Some(number) => *place = Value::from(number),
                    None => self.wrong_number(number, name),
                }
            }
            (Type::List(of), Kind::Array) => {
                if !place.is_array() {
                    *place = Value::Array(Vec::new());
                }
                if let Value::Array(items) = place {
                    self.list(of, items)?;
                }
            }
            (Type::Map(of), Kind::Object) => {
                if let Some(entries) = object(place) {
                    self.entries(of, entries)?;
                }
            }
            (Type::Struct(of), Kind::Object) => {
                if let Some(entries) = object(place) {
                    self.fields(of, entries)?;
                }
            }
            _ => {
                self.save(self.context.mismatch(kind.name(), &of.name()));
                self.skip();
            }
        }
        Ok(())
    }

    /// What is read again into a list lies over what was there.
    fn list(&mut self, of: &Type, items: &mut Vec<Value>) -> Result<(), Problem> {
        let mut count = 0;
        while self.item() {
            if let Some(item) = items.get_mut(count) {
                self.value(of, item)?;
            } else {
                let mut item = of.zero();
                self.value(of, &mut item)?;
                items.push(item);
            }
            count += 1;
        }
        items.truncate(count);
        Ok(())
    }

    /// What is read again into a map is put beside what was there; a key has its last value.
    fn entries(&mut self, of: &Type, entries: &mut Map<String, Value>) -> Result<(), Problem> {
        while let Some(key) = self.key() {
            let mut value = of.zero();
            self.value(of, &mut value)?;
            entries.insert(key, value);
        }
        Ok(())
    }

    fn fields(&mut self, of: &Struct, entries: &mut Map<String, Value>) -> Result<(), Problem> {
        let before = self.context.mark();
        let mut seen = Vec::new();
        while let Some(key) = self.key() {
            let Some(field) = of.field(&key) else {
                if self.allowed == Fields::Known {
                    let key = crate::words::quoted(key.as_bytes());
                    self.save(Problem::of(format!("json: unknown field {key}")));
                }
                self.skip();
                continue;
            };
            if self.allowed == Fields::Once {
                if seen.contains(&field.key) {
                    return Err(Problem::of(format!("`{}` is there twice", field.key)));
                }
                seen.push(field.key);
            }
            self.context.name = of.name;
            self.context.path.extend(field.within);
            self.context.path.push(field.key);
            let known = entries.remove(field.key);
            // `null` is as if there were no such key.
            let is_said = known.is_some() || !matches!(self.kind(), Kind::Null);
            let mut value = known.unwrap_or_else(|| field.of.zero());
            self.value(field.of, &mut value)?;
            if is_said && !value.is_null() {
                entries.insert(field.key.to_owned(), value);
            }
            self.context.go_back(before);
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Problem> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Problem::of(format!("more than {MAX_VALUES} values")));
        }
        Ok(())
    }

    /// As `Time.UnmarshalJSON`.
    fn time(&mut self, kind: Kind, place: &mut Value) -> Result<(), Problem> {
        match kind {
            Kind::Null => self.skip(),
            Kind::Text => {
                let time = crate::time::normal(self.text()).map_err(Problem::of)?;
                *place = Value::String(time);
            }
            _ => {
                let problem = "Time.UnmarshalJSON: input is not a JSON string";
                return Err(Problem::of(problem.to_owned()));
            }
        }
        Ok(())
    }

    /// Bytes as a list of numbers.
    fn bytes(&mut self, place: &mut Value) {
        let mut bytes = Vec::new();
        while self.item() {
            match self.kind() {
                Kind::Number => {
                    let number = self.raw();
                    match str::from_utf8(number)
                        .ok()
                        .and_then(|it| it.parse::<u8>().ok())
                    {
                        Some(byte) => bytes.push(byte),
                        None => self.wrong_number(number, "uint8"),
                    }
                }
                Kind::Null => {
                    self.skip();
                    bytes.push(0);
                }
                kind => {
                    self.save(self.context.mismatch(kind.name(), "uint8"));
                    self.skip();
                }
            }
        }
        *place = Value::String(to_base64(&bytes));
    }

    /// A value of whatever kind.
    fn any(&mut self, depth: usize) -> Result<Value, Problem> {
        self.count()?;
        if depth > MAX_KEPT {
            return Err(Problem::of(format!(
                "values lie in each other more than {MAX_KEPT} deep"
            )));
        }
        Ok(match self.kind() {
            Kind::Null => {
                self.skip();
                Value::Null
            }
            Kind::Bool(truth) => {
                self.skip();
                Value::Bool(truth)
            }
            Kind::Text => Value::String(unquoted(self.text())),
            Kind::Number => {
                let raw = self.raw();
                let number = str::from_utf8(raw).ok().and_then(|it| it.parse().ok());
                if let Some(number) = number.and_then(serde_json::Number::from_f64) {
                    Value::Number(number)
                } else {
                    self.wrong_number(raw, "float64");
                    Value::Null
                }
            }
            Kind::Array => {
                let mut items = Vec::new();
                while self.item() {
                    items.push(self.any(depth + 1)?);
                }
                Value::Array(items)
            }
            Kind::Object => {
                let mut entries = Map::new();
                while let Some(key) = self.key() {
                    let value = self.any(depth + 1)?;
                    entries.insert(key, value);
                }
                Value::Object(entries)
            }
        })
    }

    fn wrong_number(&mut self, number: &[u8], wanted: &str) {
        let found = format!("number {}", String::from_utf8_lossy(number));
        self.save(self.context.mismatch(&found, wanted));
    }

    fn save(&mut self, problem: Problem) {
        self.saved.get_or_insert(problem);
    }

    /// What is next, of which nothing is read.
    fn kind(&mut self) -> Kind {
        self.blank();
        match self.rest.first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::Text,
            Some(b't') => Kind::Bool(true),
            Some(b'f') => Kind::Bool(false),
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn advance(&mut self, count: usize) -> &'a [u8] {
        let (passed, rest) = self
            .rest
            .split_at_checked(count)
            .unwrap_or((self.rest, &[]));
        self.rest = rest;
        passed
    }

    /// The next key of an object that was begun; nothing at its end. The value follows.
    fn key(&mut self) -> Option<String> {
        // What is before a key is the opening brace or a comma.
        self.blank();
        if !matches!(self.rest.first(), Some(b'{' | b',')) {
            self.advance(1);
            return None;
        }
        self.advance(1);
        self.blank();
        if self.rest.first() != Some(&b'"') {
            self.advance(1);
            return None;
        }
        let key = unquoted(self.text());
        self.blank();
        self.advance(1);
        Some(key)
    }

    /// Whether there is a next item of a list that was begun.
    fn item(&mut self) -> bool {
        self.blank();
        if !matches!(self.rest.first(), Some(b'[' | b',')) {
            self.advance(1);
            return false;
        }
        self.advance(1);
        self.blank();
        if matches!(self.rest.first(), Some(b']') | None) {
            self.advance(1);
            return false;
        }
        true
    }

    /// What is between the quotes of the text that is next.
    fn text(&mut self) -> &'a [u8] {
        self.advance(1);
        let mut is_escaped = false;
        let end = self.rest.iter().position(|it| match it {
            _ if is_escaped => {
                is_escaped = false;
                false
            }
            b'\\' => {
                is_escaped = true;
                false
            }
            it => *it == b'"',
        });
        let text = self.advance(end.unwrap_or(self.rest.len()));
        self.advance(1);
        text
    }

    /// A number or a word.
    fn raw(&mut self) -> &'a [u8] {
        let is_part = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'-' | b'.');
        let len = self.rest.iter().take_while(|it| is_part(it)).count();
        self.advance(len)
    }

    /// Passes the value that is next, however deep it is.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        loop {
            self.blank();
            match self.rest.first() {
                Some(b'"') => {
                    self.text();
                }
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.advance(1);
                }
                Some(b'}' | b']') => {
                    depth = depth.saturating_sub(1);
                    self.advance(1);
                }
                Some(b',' | b':') => {
                    self.advance(1);
                    continue;
                }
                Some(_) if !self.raw().is_empty() => {}
                // There is no such value in JSON.
                _ => self.rest = &[],
            }
            if depth == 0 || self.rest.is_empty() {
                return;
            }
        }
    }
}

/// The entries of `place`, which becomes an object if it is none.
fn object(place: &mut Value) -> Option<&mut Map<String, Value>> {
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    place.as_object_mut()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::types::Field;
    use super::*;

    const INNER: Type = Type::Struct(&Struct {
        package: "p",
        name: "Inner",
        fields: &[Field::new("a", &Type::STRING), Field::new("b", &Type::Bool)],
    });
    const OUTER: Type = Type::Struct(&Struct {
        package: "p",
        name: "Outer",
        fields: &[
            Field::new("any", &Type::Any),
            Field::new("bytes", &Type::Bytes),
            Field::new("inner", &INNER),
            Field::new("list", &Type::List(&INNER)),
            Field::new("map", &Type::Map(&INNER)),
            Field::new("pointer", &Type::Pointer(&INNER)),
            Field::new("time", &Type::Time("p.Time")),
        ],
    });

    fn read(text: &str) -> Result<Value, String> {
        unmarshal(text.as_bytes(), &OUTER).map_err(|it| it.to_string())
    }

    #[test]
    fn what_is_said_twice_is_laid_over_what_was_said() {
        for (text, value) in [
            (
                r#"{"inner":{"a":"x"},"INNER":{"b":true},"inner":null}"#,
                json!({"inner": {"a": "x", "b": true}}),
            ),
            (
                r#"{"list":[{"a":"x"},{"a":"y"}],"list":[{"b":true}]}"#,
                json!({"list": [{"a": "x", "b": true}]}),
            ),
            (r#"{"list":[{}],"list":null}"#, json!({})),
            (
                r#"{"map":{"k":{"a":"x"},"l":{}},"map":{"k":{"b":true},"m":null}}"#,
                json!({"map": {"k": {"b": true}, "l": {}, "m": {}}}),
            ),
            (
                r#"{"pointer":{"a":"x"},"pointer":{"b":true}}"#,
                json!({"pointer": {"a": "x", "b": true}}),
            ),
            (r#"{"pointer":{"a":"x"},"pointer":null}"#, json!({})),
            (
                r#"{"any":{"a":1},"any":{"b":[null,2]}}"#,
                json!({"any": {"b": [null, 2.0]}}),
            ),
            (r#"{"bytes":[104,null]}"#, json!({"bytes": "aAA="})),
            (
                r#"{"time":"2020-01-01T0:00:00Z","time":null,"x":[{"y":"]"}]}"#,
                json!({"time": "2020-01-01T00:00:00Z"}),
            ),
        ] {
            assert_eq!(read(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn the_first_value_of_another_type_is_told_unless_a_type_reads_itself() {
        for (text, words) in [
            (
                r#"{"map":{"k":{"a":1}},"list":1}"#,
                "json: cannot unmarshal number into Go struct field Inner.map.a of type string",
            ),
            (
                r#"{"list":1,"time":1}"#,
                "Time.UnmarshalJSON: input is not a JSON string",
            ),
            (
                r#"{"any":[1e999]}"#,
                "json: cannot unmarshal number 1e999 into Go struct field Outer.any of type float64",
            ),
            (
                r#"{"bytes":["x",256]}"#,
                "json: cannot unmarshal string into Go struct field Outer.bytes of type uint8",
            ),
            (
                "[]",
                "json: cannot unmarshal array into Go value of type p.Outer",
            ),
            ("{} x", "invalid character 'x' after top-level value"),
        ] {
            assert_eq!(read(text), Err(words.to_owned()), "{text}");
        }
        assert!(decode::<Value>(b"{} x", &OUTER).is_ok());
        assert!(decode::<Value>(b" ", &OUTER).unwrap_err().is_end());
    }

    #[test]
    fn unknown_fields_are_told_if_that_is_wanted_and_what_follows_is_given() {
        let known = |text: &'static str| {
            let read = decode_known::<Value>(text.as_bytes(), &OUTER);
            read.map_err(|it| it.to_string())
        };
        assert_eq!(
            known(r#"{"INNER":{"b":true}} x"#),
            Ok((json!({"inner": {"b": true}}), &b" x"[..]))
        );
        // Of what is wrong the first is told.
        for (text, words) in [
            (
                r#"{"in\"ner":1,"list":1}"#,
                r#"json: unknown field "in\"ner""#,
            ),
            (r#"{"inner":{"x":[]}}"#, r#"json: unknown field "x""#),
            (
                r#"{"list":1,"x":1}"#,
                "json: cannot unmarshal number into Go struct field Outer.list of type []p.Inner",
            ),
        ] {
            assert_eq!(known(text), Err(words.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_raw_is_given_as_it_stands() {
        const RAW: Type = Type::Map(&Type::Raw);
        let text = br#"{"a": [1, {"x" :"]\""} ] , "b":null,"a2":"x","n":-1e5 }"#;
        let read: Value = unmarshal(text, &RAW).unwrap();
        assert_eq!(
            read,
            json!({"a": r#"[1, {"x" :"]\""} ]"#, "a2": r#""x""#, "b": "null", "n": "-1e5"})
        );
    }

    #[test]
    fn depth_is_passed_over_where_nothing_is_kept() {
        let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(read(&format!(r#"{{"x":{}}}"#, deep(9_999))), Ok(json!({})));
        assert_eq!(
            read(&format!(r#"{{"inner":1,"x":{}}}"#, deep(10_000))),
            Err("invalid character '[' exceeded max depth".to_owned())
        );
        assert!(read(&format!(r#"{{"any":{}}}"#, deep(MAX_KEPT))).is_ok());
        assert!(read(&format!(r#"{{"any":{}}}"#, deep(MAX_KEPT + 2))).is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_is_json_is_read_whole(text in r#"[\[\]{}:, "\\u0-9a-f.eE+nul-]{0,16}"#) {
            let kept = unmarshal::<Value>(text.as_bytes(), &Type::Any);
            let is_json = serde_json::from_str::<Value>(&text).is_ok();
            proptest::prop_assert!(kept.is_ok() || !is_json, "{}", text);
        }
    }
}
