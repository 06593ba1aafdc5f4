//! Writes TOML as the Go lifecycle does, byte for byte.
//!
//! Its encoder puts plain values before tables, indents by the depth of the table, sorts the keys of
//! maps and keeps the order of struct fields. A value that [`serde`] hands over as a struct is a
//! struct there, a map is a map.

use std::fmt;

use serde::ser::{self, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct};

use crate::{json, words};

/// The name by which a text is known that is to be escaped as JSON: that of a newtype struct.
pub const JSON_TEXT: &str = "$json-text";

/// The TOML text of `value`.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, EncodeError> {
    match value.serialize(ToNode { json: false })? {
        Some(Node::Table(entries)) => {
            let mut text = String::new();
            write_table(&mut text, &mut Vec::new(), &entries);
            Ok(text)
        }
        _ => Err(EncodeError::NotATable),
    }
}

/// Why a value has no form in TOML.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A document has to be a table.
    #[error("the value is not a table")]
    NotATable,
    /// A type that TOML does not have.
    #[error("TOML has no {kind}")]
    Unsupported {
        /// Which.
        kind: &'static str,
    },
    /// What the value's own serializer said.
    #[error("{message}")]
    Custom {
        /// Its words.
        message: String,
    },
}

impl ser::Error for EncodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom {
            message: message.to_string(),
        }
    }
}

enum Node {
    /// A value, as it is written.
    Plain(String),
    Array(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Node {
    fn is_table(&self) -> bool {
        matches!(self, Self::Table(_))
    }

    /// An array that is written as `[[name]]`.
    fn is_array_of_tables(&self) -> bool {
        matches!(self, Self::Array(items) if !items.is_empty() && items.iter().all(Self::is_table))
    }
}

fn write_table(out: &mut String, path: &mut Vec<String>, entries: &[(String, Node)]) {
    let is_sub = |node: &Node| node.is_table() || node.is_array_of_tables();
    for (key, node) in entries.iter().filter(|(_, node)| !is_sub(node)) {
        out.push_str(&"  ".repeat(path.len().saturating_sub(1)));
        if !path.is_empty() {
            out.push_str("  ");
        }
        out.push_str(&quoted_key(key));
        out.push_str(" = ");
        write_inline(out, node);
        out.push('\n');
    }
    for (key, node) in entries.iter().filter(|(_, node)| is_sub(node)) {
        path.push(quoted_key(key));
        match node {
            Node::Table(entries) => {
                if path.len() == 1 && !out.is_empty() {
                    out.push('\n');
                }
                write_header(out, path, "[", "]");
                write_table(out, path, entries);
            }
            Node::Array(items) => {
                for item in items {
                    if !out.is_empty() {
                        out.push('\n');
                    }
                    write_header(out, path, "[[", "]]");
                    if let Node::Table(entries) = item {
                        write_table(out, path, entries);
                    }
                }
            }
            Node::Plain(_) => {}
        }
        path.pop();
    }
}

fn write_header(out: &mut String, path: &[String], open: &str, close: &str) {
    out.push_str(&"  ".repeat(path.len().saturating_sub(1)));
    out.push_str(open);
    out.push_str(&path.join("."));
    out.push_str(close);
    out.push('\n');
}

fn write_inline(out: &mut String, node: &Node) {
    match node {
        Node::Plain(text) => out.push_str(text),
        Node::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                write_inline(out, item);
            }
            out.push(']');
        }
        Node::Table(entries) => {
            out.push('{');
            // Plain values first, as outside of inline tables.
            let is_below = |node: &Node| node.is_table() || node.is_array_of_tables();
            let plain = entries.iter().filter(|(_, node)| !is_below(node));
            let below = entries.iter().filter(|(_, node)| is_below(node));
            for (at, (key, item)) in plain.chain(below).enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                out.push_str(&quoted_key(key));
                out.push_str(" = ");
                write_inline(out, item);
            }
            out.push('}');
        }
    }
}

fn quoted_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        quoted(key)
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' | '\u{7f}' => push_escape(&mut out, c),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn push_escape(out: &mut String, c: char) {
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        out.extend(char::from_digit(u32::from(c) >> shift & 0xf, 16));
    }
}

/// As `strconv.FormatFloat(value, 'g', -1, 64)` does, and never without a sign that it is no integer.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = words::float(value);
    if text.contains(['.', 'e']) {
        text
    } else {
        text + ".0"
    }
}

/// A value that has to be a text, as keys are.
fn text_of<T: Serialize + ?Sized>(value: &T) -> Result<String, EncodeError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        _ => unsupported("keys that are not strings"),
    }
}

/// Turns a value into a [`Node`], or nothing for an absent one.
#[derive(Clone, Copy)]
struct ToNode {
    json: bool,
}

type MaybeNode = Option<Node>;

fn plain(text: impl Into<String>) -> Node {
    Node::Plain(text.into())
}

fn unsupported<T>(kind: &'static str) -> Result<T, EncodeError> {
    Err(EncodeError::Unsupported { kind })
}

impl ser::Serializer for ToNode {
    type Ok = MaybeNode;
    type Error = EncodeError;
    type SerializeSeq = ArrayNode;
    type SerializeTuple = Impossible<MaybeNode, EncodeError>;
    type SerializeTupleStruct = Impossible<MaybeNode, EncodeError>;
    type SerializeTupleVariant = Impossible<MaybeNode, EncodeError>;
    type SerializeMap = MapNode;
    type SerializeStruct = StructNode;
    type SerializeStructVariant = Impossible<MaybeNode, EncodeError>;

    fn serialize_bool(self, value: bool) -> Result<MaybeNode, EncodeError> {
        Ok(Some(plain(value.to_string())))
    }

    fn serialize_i8(self, value: i8) -> Result<MaybeNode, EncodeError> {
        Ok(Some(plain(value.to_string())))
    }

    fn serialize_i16(self, value: i16) -> Result<MaybeNode, EncodeError> {
        Ok(Some(plain(value.to_string())))
    }

    fn serialize_i32(self, value: i32) -> Result<MaybeNode, EncodeError> {
        Ok(Some(plain(value.to_string())))
    }

    fn serialize_i64(self, value: i64) -> Result<MaybeNode, EncodeError> {
        Ok(Some(plain(value.to_string())))
    }

    fn serialize_u8(self, value: u8) -> Result<MaybeNode, EncodeError> {
        Ok(Some(plain(value.to_string())))
    }

    fn serialize_u16(self, value: u16) -> Result<MaybeNode, EncodeError> {
        Ok(Some(plain(value.to_string())))
    }

    fn serialize_u32(self, value: u32) -> Result<MaybeNode, EncodeError> {
        Ok(Some(plain(value.to_string())))
    }

    fn serialize_u64(self, value: u64) -> Result<MaybeNode, EncodeError> {
        Ok(Some(plain(value.to_string())))
    }

    fn serialize_f32(self, value: f32) -> Result<MaybeNode, EncodeError> {
        Ok(Some(plain(float(f64::from(value)))))
    }

    fn serialize_f64(self, value: f64) -> Result<MaybeNode, EncodeError> {
        Ok(Some(plain(float(value))))
    }

    fn serialize_char(self, value: char) -> Result<MaybeNode, EncodeError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<MaybeNode, EncodeError> {
        if self.json {
            return json::to_string(value)
                .map(plain)
                .map(Some)
                .map_err(ser::Error::custom);
        }
        Ok(Some(plain(quoted(value))))
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result<MaybeNode, EncodeError> {
        unsupported("bytes")
    }

    fn serialize_none(self) -> Result<MaybeNode, EncodeError> {
        Ok(None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<MaybeNode, EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<MaybeNode, EncodeError> {
        Ok(None)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<MaybeNode, EncodeError> {
        Ok(None)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<MaybeNode, EncodeError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<MaybeNode, EncodeError> {
        let json = name == JSON_TEXT;
        value.serialize(Self { json })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<MaybeNode, EncodeError> {
        unsupported("variants")
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<ArrayNode, EncodeError> {
        Ok(ArrayNode(Vec::new()))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple, EncodeError> {
        unsupported("tuples")
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct, EncodeError> {
        unsupported("tuples")
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, EncodeError> {
        unsupported("variants")
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<MapNode, EncodeError> {
        Ok(MapNode {
            entries: Vec::new(),
            key: String::new(),
        })
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<StructNode, EncodeError> {
        Ok(StructNode {
            entries: Vec::new(),
            datetime: None,
        })
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, EncodeError> {
        unsupported("variants")
    }
}

struct ArrayNode(Vec<Node>);

impl SerializeSeq for ArrayNode {
    type Ok = MaybeNode;
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.0.extend(value.serialize(ToNode { json: false })?);
        Ok(())
    }

    fn end(self) -> Result<MaybeNode, EncodeError> {
        Ok(Some(Node::Array(self.0)))
    }
}

struct MapNode {
    entries: Vec<(String, Node)>,
    key: String,
}

impl SerializeMap for MapNode {
    type Ok = MaybeNode;
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.key = text_of(key)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        if let Some(node) = value.serialize(ToNode { json: false })? {
            self.entries.push((std::mem::take(&mut self.key), node));
        }
        Ok(())
    }

    fn end(mut self) -> Result<MaybeNode, EncodeError> {
        self.entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Some(Node::Table(self.entries)))
    }
}

/// The field in which the `toml` crate hands over a date or time.
const DATETIME: &str = "$__toml_private_datetime";

struct StructNode {
    entries: Vec<(String, Node)>,
    datetime: Option<String>,
}

impl SerializeStruct for StructNode {
    type Ok = MaybeNode;
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        if key == DATETIME {
            self.datetime = Some(text_of(value)?);
        } else if let Some(node) = value.serialize(ToNode { json: false })? {
            self.entries.push((key.to_owned(), node));
        }
        Ok(())
    }

    fn end(self) -> Result<MaybeNode, EncodeError> {
        match self.datetime {
            Some(text) => Ok(Some(plain(text))),
            None => Ok(Some(Node::Table(self.entries))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_document_has_no_bytes() {
        assert_eq!(to_string(&toml::Table::new()).unwrap(), "");
    }

    #[test]
    fn tables_follow_values_and_are_indented() {
        let table: toml::Table = toml::from_str(
            "[metadata]\nz = 1\n\"odd key\" = \"a\\\"<\\u00e9\\u0001\"\nwhen = 1979-05-27\n\
             none = []\nmixed = [1, {b = 2, a = [true]}]\n[metadata.hollow]\n\
             [[metadata.a]]\nname = 1\n[[metadata.a]]\n[metadata.a.deep]\nx = 1\n",
        )
        .unwrap();
        assert_eq!(
            to_string(&table).unwrap(),
            "[metadata]\n  mixed = [1, {a = [true], b = 2}]\n  none = []\n  \
             \"odd key\" = \"a\\\"<é\\u0001\"\n  when = 1979-05-27\n  z = 1\n\n  \
             [[metadata.a]]\n    name = 1\n\n  [[metadata.a]]\n    [metadata.a.deep]\n      \
             x = 1\n  [metadata.hollow]\n"
        );
        let again: toml::Table = toml::from_str(&to_string(&table).unwrap()).unwrap();
        assert_eq!(again, table);
    }

    #[test]
    fn a_text_of_that_name_is_escaped_as_json() {
        #[derive(serde::Serialize)]
        #[serde(rename = "$json-text")]
        struct Json(&'static str);

        let text = "a<b>&'\u{7f}\u{2028}\u{1}\u{8}\n";
        let table = std::collections::BTreeMap::from([("x", vec![Json(text)])]);
        assert_eq!(
            to_string(&table).unwrap(),
            "x = [\"a\\u003cb\\u003e\\u0026'\u{7f}\\u2028\\u0001\\b\\n\"]\n"
        );
    }

    #[test]
    fn floats_stay_floats() {
        for (value, text) in [
            (3.0, "3.0"),
            (-0.5, "-0.5"),
            (0.0, "0.0"),
            (3_735_928_559.0, "3.735928559e+09"),
            (123_456.5, "123456.5"),
            (1e6, "1e+06"),
            (6.02e23, "6.02e+23"),
            (1e-7, "1e-07"),
            (0.0001, "0.0001"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(float(value), text);
        }
    }
}
