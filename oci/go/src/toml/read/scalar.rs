//! Numbers, dates and texts of TOML, once it is known where they begin and end.

use super::lexer::LexError;
use super::value::Value;
use super::{dates, quoted};

/// An integer.
pub(super) fn integer(text: &str, line: usize) -> Result<Value, LexError> {
    let error = |text| LexError { line, text };
    let told = quoted(text);
    if !are_underscores_good(text) {
        return Err(error(format!(
            "Invalid integer {told}: underscores must be surrounded by digits"
        )));
    }
    if has_leading_zero(text) {
        return Err(error(format!(
            "Invalid integer {told}: cannot have leading zeroes"
        )));
    }
    let digits = text.replace('_', "");
    let radix = match digits.get(..2) {
        Some("0x") => Some(16),
        Some("0o") => Some(8),
        Some("0b") => Some(2),
        _ => None,
    };
    let parsed = match radix {
        Some(radix) => i64::from_str_radix(digits.get(2..).unwrap_or_default(), radix),
        None => digits.parse(),
    };
    parsed
        .map(Value::Integer)
        .map_err(|_range| error(format!("{text} is out of range for int64")))
}

/// A date, a time, or both.
pub(super) fn date(text: &str, line: usize) -> Result<Value, LexError> {
    let text = text.replace('z', "Z").replace(['t', ' '], "T");
    dates::canonical(&text)
        .map(Value::Date)
        .ok_or_else(|| LexError {
            line,
            text: format!("invalid datetime: {}", quoted(&text)),
        })
}

/// A float.
pub(super) fn float(text: &str, line: usize) -> Result<Value, LexError> {
    let error = |text| LexError { line, text };
    let told = quoted(text);
    let mut parts = text.split(['.', 'e', 'E']).filter(|part| !part.is_empty());
    if !parts.clone().all(are_underscores_good) {
        return Err(error(format!(
            "Invalid float {told}: underscores must be surrounded by digits"
        )));
    }
    if parts.next().is_some_and(has_leading_zero) {
        return Err(error(format!(
            "Invalid float {told}: cannot have leading zeroes"
        )));
    }
    let mut after_periods = text.split('.').skip(1);
    if !after_periods.all(|part| part.starts_with(|c: char| c.is_ascii_digit())) {
        return Err(error(format!(
            "Invalid float {told}: '.' must be followed by one or more digits"
        )));
    }
    let value: f64 = text
        .replace('_', "")
        .parse()
        .map_err(|_malformed| error(format!("Invalid float value: {told}")))?;
    if value.is_infinite() && !text.ends_with("inf") {
        return Err(error(format!("{text} is out of range for float64")));
    }
    Ok(Value::Float(value))
}

/// Undoes escapes.
pub(super) fn unescape(text: &str, line: usize) -> Result<String, LexError> {
    let error = |text| LexError { line, text };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        let Some(code) = rest.chars().next() else {
            break;
        };
        rest = rest.get(code.len_utf8()..).unwrap_or_default();
        let count = match code {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        out.push(match code {
            'b' => '\u{8}',
            't' => '\t',
            'n' => '\n',
            'f' => '\u{c}',
            'r' => '\r',
            'e' => '\u{1b}',
            '"' | '\\' => code,
            'x' | 'u' | 'U' => {
                let digits = rest.get(..count).unwrap_or_default();
                rest = rest.get(count..).unwrap_or_default();
                let code = u32::from_str_radix(digits, 16).ok();
                code.and_then(char::from_u32).ok_or_else(|| {
                    error(format!(
                        "Escaped character '\\u{digits}' is not valid UTF-8."
                    ))
                })?
            }
            other => return Err(error(format!("invalid escape: '\\{other}'"))),
        });
    }
    out.push_str(rest);
    Ok(out)
}

fn has_leading_zero(text: &str) -> bool {
    let bytes = text.as_bytes();
    match bytes {
        [b'0', second, ..] => !matches!(second, b'b' | b'o' | b'x'),
        [b'-' | b'+', b'0', _, ..] => true,
        _ => false,
    }
}

fn are_underscores_good(text: &str) -> bool {
    if matches!(text.trim_start_matches(['+', '-']), "nan" | "inf") {
        return true;
    }
    let mut is_after_digit = false;
    for c in text.chars() {
        if c == '_' && !is_after_digit {
            return false;
        }
        is_after_digit = c.is_ascii_hexdigit();
    }
    is_after_digit
}

/// A text of several lines without what a backslash at the end of a line takes away.
pub(super) fn joined(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let behind = after.get(1..).unwrap_or_default();
        let next = behind.trim_start_matches([' ', '\t', '\r', '\n']);
        let blank = behind.get(..behind.len() - next.len()).unwrap_or_default();
        out.push_str(before);
        if blank.contains('\n') {
            rest = next;
            continue;
        }
        // An escape of two characters goes through as it is.
        let width = 1 + behind.chars().next().map_or(0, char::len_utf8);
        out.push_str(after.get(..width).unwrap_or(after));
        rest = after.get(width..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}
