//! Errors of files and of TOML in the words of Go's standard library and of BurntSushi/toml:
//! platforms and their tests match them.

use std::fmt::Write as _;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use toml::de::{DeTable, DeValue};

/// A failed system call on a path, as Go's `fs.PathError` puts it: `open /x: permission denied`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{operation} {}: {cause}", path.display())]
#[non_exhaustive]
pub struct PathError {
    /// The system call: `open`, `stat`, `chdir`.
    pub operation: &'static str,
    /// What it was called on.
    pub path: PathBuf,
    /// Why it failed, as [`io_cause`] words it.
    pub cause: String,
}

impl PathError {
    /// What went wrong when `operation` was called on `path`.
    pub fn new(operation: &'static str, path: &Path, error: &io::Error) -> Self {
        Self {
            operation,
            path: path.to_owned(),
            cause: io_cause(error),
        }
    }
}

/// The text of an I/O error as Go prints it: the C library's, in lower case, without a number.
pub fn io_cause(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else {
        return error.to_string();
    };
    let text = Errno::from_raw(number).desc();
    let mut letters = text.chars();
    match letters.next() {
        // Some begin with an abbreviation: `RPC version wrong`.
        Some(first) if letters.clone().next().is_none_or(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// A TOML error as BurntSushi/toml words it: `toml: line 1: expected '.' or '=', but got 'a' instead`.
///
/// Word for word for the mistakes that are usual in syntax and for values of a wrong type; for the
/// others the line is the same and the words are our parser's.
pub fn toml_cause(text: &str, error: &toml::de::Error) -> String {
    let span = error.span().unwrap_or(0..0);
    if let Ok(table) = DeTable::parse(text) {
        let mut path = Vec::new();
        find(table.get_ref(), &span, &mut path);
        let cause = type_mismatch(error.message()).unwrap_or_else(|| error.message().to_owned());
        let line = line_of(text, span.start);
        return if path.is_empty() {
            format!("toml: line {line}: {cause}")
        } else {
            format!(
                "toml: line {line} (last key \"{}\"): {cause}",
                path.join(".")
            )
        };
    }
    syntax(text, span.start).unwrap_or_else(|| {
        let message = error.message().lines().next().unwrap_or_default();
        format!("toml: line {}: {message}", line_of(text, span.start))
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
}

/// The usual mistakes, found by reading the line again as BurntSushi/toml does.
fn syntax(text: &str, offset: usize) -> Option<String> {
    let mut line = line_of(text, offset);
    // An unfinished line is sometimes reported where the next one begins.
    let mut start = text.get(..offset)?.rfind('\n').map_or(0, |at| at + 1);
    if start == offset && start > 0 {
        let previous = text.get(..start - 1)?.rfind('\n').map_or(0, |at| at + 1);
        if syntax_at(text, previous, line - 1).is_some() {
            start = previous;
            line -= 1;
        }
    }
    syntax_at(text, start, line)
}

fn syntax_at(text: &str, start: usize, line: usize) -> Option<String> {
    let rest = text.get(start..)?.trim_start_matches([' ', '\t']);
    if let Some(header) = rest.strip_prefix('[') {
        let header = header.strip_prefix('[').unwrap_or(header);
        let after =
            header.trim_start_matches(|c: char| is_bare(c) || matches!(c, '.' | ' ' | '\t'));
        return match after.chars().next() {
            None => Some(format!(
                "toml: line {line}: unexpected EOF; expected '.' or ']' to end table name"
            )),
            Some(']' | '"' | '\'') => None,
            Some(other) => {
                let line = line + usize::from(other == '\n');
                let other = quoted(other);
                Some(format!(
                    "toml: line {line}: expected '.' or ']' to end table name, but got {other} instead"
                ))
            }
        };
    }
    if rest.starts_with('=') {
        return Some(format!(
            "toml: line {line}: unexpected '=': key name appears blank"
        ));
    }
    let after = rest.trim_start_matches(|c: char| is_bare(c) || c == '.');
    if after.len() == rest.len() {
        return None;
    }
    let after = after.trim_start_matches([' ', '\t']);
    match after.chars().next() {
        Some('.' | '=' | '"' | '\'') | None => None,
        Some(other) => {
            let other = quoted(other);
            Some(format!(
                "toml: line {line}: expected '.' or '=', but got {other} instead"
            ))
        }
    }
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Go's `%q` of one character.
fn quoted(c: char) -> String {
    let mut text = String::from("'");
    match c {
        '\'' => text.push_str("\\'"),
        '\\' | '\n' | '\r' | '\t' => text.extend(c.escape_default()),
        c if c.is_control() && u32::from(c) < 0x80 => {
            // Writing to a string cannot fail.
            write!(text, "\\x{:02x}", u32::from(c)).ok();
        }
        c => text.push(c),
    }
    text.push('\'');
    text
}

/// serde's `invalid type: string "x", expected a sequence` as BurntSushi/toml puts it.
fn type_mismatch(message: &str) -> Option<String> {
    let (found, expected) = message
        .strip_prefix("invalid type: ")?
        .split_once(", expected ")?;
    let found = match found.split([' ', '`']).next()? {
        "integer" => "int64",
        "floating" => "float64",
        "boolean" => "bool",
        "sequence" => "[]any",
        "map" => "map[string]any",
        "datetime" => "time.Time",
        other => other,
    };
    let expected = match expected {
        "a sequence" => "slice",
        "a string" => "string",
        "a boolean" => "boolean",
        "a map" => "map",
        other if other.starts_with("struct") => "struct",
        other => other,
    };
    Some(format!(
        "incompatible types: TOML value has type {found}; destination has type {expected}"
    ))
}

/// The keys that lead to the value at `span`; array indexes do not count.
fn find(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        if value.span() == *span || find_in(value.get_ref(), span, path) {
            return true;
        }
        path.pop();
    }
    false
}

fn find_in(value: &DeValue<'_>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    match value {
        DeValue::Table(table) => find(table, span, path),
        DeValue::Array(items) => items
            .iter()
            .any(|it| it.span() == *span || find_in(it.get_ref(), span, path)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn cause(text: &str) -> String {
        let error = toml::from_str::<BTreeMap<String, String>>(text).unwrap_err();
        toml_cause(text, &error)
    }

    #[test]
    fn io_errors_are_worded_as_go_does() {
        let missing = io::Error::from_raw_os_error(nix::libc::ENOENT);
        let error = PathError::new("open", Path::new("/x"), &missing);
        assert_eq!(error.to_string(), "open /x: no such file or directory");
        let format = io::Error::from_raw_os_error(nix::libc::ENOEXEC);
        assert_eq!(io_cause(&format), "exec format error");
    }

    #[test]
    fn toml_errors_are_worded_as_upstream_does() {
        for (text, expected) in [
            (
                "I am a",
                "toml: line 1: expected '.' or '=', but got 'a' instead",
            ),
            (
                "x = \"1\"\nbad\n",
                "toml: line 2: expected '.' or '=', but got '\\n' instead",
            ),
            (
                "[[x\n",
                "toml: line 2: expected '.' or ']' to end table name, but got '\\n' instead",
            ),
            (
                "= 1\n",
                "toml: line 1: unexpected '=': key name appears blank",
            ),
            (
                "A = 1\n",
                "toml: line 1 (last key \"A\"): incompatible types: TOML value has type int64; \
                 destination has type string",
            ),
            (
                "B = \"\"\n[t]\nA = \"1\"\n",
                "toml: line 2 (last key \"t\"): incompatible types: TOML value has type \
                 map[string]any; destination has type string",
            ),
        ] {
            assert_eq!(cause(text), expected, "{text:?}");
        }
    }

    #[test]
    fn hostile_text_does_not_panic() {
        for text in [
            "\u{e9}", "[\u{e9}", "\n\n=", "[[", "a", "a.", "\"", "\n", "a = \n", "a =", "x\u{1}y",
        ] {
            if let Err(error) = toml::from_str::<BTreeMap<String, String>>(text) {
                assert!(toml_cause(text, &error).starts_with("toml: line "));
            }
        }
    }
}
