//! What a TOML text holds, and where.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Tables by their keys.
pub(super) type Table = BTreeMap<String, Value>;

/// A value of TOML. Upstream tells arrays from arrays of tables, so we do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// In the form of RFC 3339, or the part of it that was given.
    Date(String),
    Array(Vec<Value>),
    Table(Table),
    /// An array of tables: each is a [`Value::Table`].
    Tables(Vec<Value>),
}

impl Value {
    /// The name of its type in Go, with `any` for the empty interface.
    pub(super) fn go_type(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Integer(_) => "int64",
            Self::Float(_) => "float64",
            Self::Boolean(_) => "bool",
            Self::Date(_) => "time.Time",
            Self::Array(_) => "[]any",
            Self::Table(_) => "map[string]any",
            Self::Tables(_) => "[]map[string]any",
        }
    }
}

/// A text that was read: the values, and the line of each key, by [`key_text`].
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) root: Table,
    pub(super) lines: BTreeMap<String, usize>,
}

/// A key as it is told: its parts with dots between, quoted where they have to be.
pub(super) fn key_text<S: AsRef<str>>(parts: &[S]) -> String {
    let mut out = String::new();
    for (index, part) in parts.iter().map(AsRef::as_ref).enumerate() {
        if index > 0 {
            out.push('.');
        }
        let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if !part.is_empty() && part.chars().all(is_bare) {
            out.push_str(part);
            continue;
        }
        out.push('"');
        for c in part.chars() {
            match c {
                '"' | '\\' => {
                    out.push('\\');
                    out.push(c);
                }
                '\u{8}' => out.push_str("\\b"),
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                '\u{c}' => out.push_str("\\f"),
                '\r' => out.push_str("\\r"),
                c if c < ' ' || c == '\u{7f}' => {
                    // Writing to a string cannot fail.
                    write!(out, "\\u{:04x}", u32::from(c)).ok();
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
    out
}
