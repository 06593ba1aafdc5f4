//! Errors of files in the words of Go's standard library: platforms and their tests match them.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// An error with its causes, as programs in Go print one that wraps another: `a: b: c`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        text.push_str(": ");
        text.push_str(&it.to_string());
        cause = it.source();
    }
    text
}

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

/// A number as `fmt` prints it with `%v`: as `strconv.FormatFloat(value, 'g', -1, 64)` does.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    // Go's rule where it seeks the shortest form: six digits for a plain number.
    if (-4..6).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A signal as Go calls it on Linux.
pub fn signal_name(signal: i32) -> Cow<'static, str> {
    const NAMES: [&str; 31] = [
        "hangup",
        "interrupt",
        "quit",
        "illegal instruction",
        "trace/breakpoint trap",
        "aborted",
        "bus error",
        "floating point exception",
        "killed",
        "user defined signal 1",
        "segmentation fault",
        "user defined signal 2",
        "broken pipe",
        "alarm clock",
        "terminated",
        "stack fault",
        "child exited",
        "continued",
        "stopped (signal)",
        "stopped",
        "stopped (tty input)",
        "stopped (tty output)",
        "urgent I/O condition",
        "CPU time limit exceeded",
        "file size limit exceeded",
        "virtual timer expired",
        "profiling timer expired",
        "window changed",
        "I/O possible",
        "power failure",
        "bad system call",
    ];
    let name = usize::try_from(signal)
        .ok()
        .and_then(|it| NAMES.get(it.checked_sub(1)?));
    match name {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(format!("signal {signal}")),
    }
}

/// The text of an I/O error as Go prints it: that of the GNU C library, from which Go's table was made,
/// in lower case. The standard library prints that, too, with the number after it.
pub fn io_cause(error: &io::Error) -> String {
    let text = error.to_string();
    let Some(number) = error.raw_os_error() else {
        // A NUL byte, which the system does not get to see.
        let is_nul = error.kind() == io::ErrorKind::InvalidInput && text.contains("NUL byte");
        return if is_nul {
            "invalid argument".to_owned()
        } else {
            text
        };
    };
    let text = text
        .strip_suffix(&format!(" (os error {number})"))
        .unwrap_or(&text);
    if let Some(unknown) = text.strip_prefix("Unknown error ") {
        return format!("errno {unknown}");
    }
    let mut letters = text.chars();
    match letters.next() {
        // Some begin with an abbreviation: `RFS specific error`.
        Some(first) if letters.clone().next().is_none_or(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// Bytes as Go's `%q` prints them: what is no UTF-8 as `\xff`.
pub fn quoted(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_quoted(&mut out, c, '"');
        }
        for byte in chunk.invalid() {
            let escape = format!("\\x{byte:02x}");
            out.push_str(&escape);
        }
    }
    out.push('"');
    out
}

/// One character as Go's `%q` prints it.
pub fn quoted_char(c: char) -> String {
    let mut out = String::from("'");
    push_quoted(&mut out, c, '\'');
    out.push('\'');
    out
}

fn push_quoted(out: &mut String, c: char, quote: char) {
    let code = u32::from(c);
    match c {
        '\\' => out.push_str("\\\\"),
        c if c == quote => {
            out.push('\\');
            out.push(c);
        }
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        _ if code >= 0x20 && code != 0x7f && is_printable(c) => out.push(c),
        _ => {
            let escape = match code {
                ..0x20 | 0x7f => format!("\\x{code:02x}"),
                ..0x1_0000 => format!("\\u{code:04x}"),
                _ => format!("\\U{code:08x}"),
            };
            out.push_str(&escape);
        }
    }
}

/// About Go's `strconv.IsPrint`: no controls, no spaces but the plain one, nothing invisible.
fn is_printable(c: char) -> bool {
    let code = u32::from(c);
    let is_invisible = matches!(code, 0xad | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb)
        || matches!(code, 0xe000..=0xf8ff | 0xf_0000..)
        || code & 0xfffe == 0xfffe;
    c == ' ' || !(c.is_control() || c.is_whitespace() || is_invisible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_go_does() {
        for (text, expected) in [
            (&b"a b"[..], r#""a b""#),
            (b"a\0\x07\x1b\x7f\n", r#""a\x00\a\x1b\x7f\n""#),
            (b"\"'\\", r#""\"'\\""#),
            (b"\xff\xc3\xa9", "\"\\xff\u{e9}\""),
            ("\u{200b}\u{feff}".as_bytes(), r#""\u200b\ufeff""#),
        ] {
            assert_eq!(quoted(text), expected);
        }
        assert_eq!(quoted_char('\''), r"'\''");
    }

    #[test]
    fn an_error_is_followed_by_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("failed to look")]
        struct Outer(#[source] PathError);

        let missing = io::Error::from_raw_os_error(nix::libc::ENOENT);
        let error = Outer(PathError::new("open", Path::new("/x"), &missing));
        let text = "failed to look: open /x: no such file or directory";
        assert_eq!(chain(&error), text);
    }

    #[test]
    fn io_errors_are_worded_as_go_does() {
        let missing = io::Error::from_raw_os_error(nix::libc::ENOENT);
        let error = PathError::new("open", Path::new("/x"), &missing);
        assert_eq!(error.to_string(), "open /x: no such file or directory");
        for (number, text) in [
            (nix::libc::ENOEXEC, "exec format error"),
            (nix::libc::EIO, "input/output error"),
            (nix::libc::EAGAIN, "resource temporarily unavailable"),
            (nix::libc::ENOMEM, "cannot allocate memory"),
            (nix::libc::EXDEV, "invalid cross-device link"),
            (nix::libc::ENFILE, "too many open files in system"),
            (nix::libc::ENOTTY, "inappropriate ioctl for device"),
            (nix::libc::EDQUOT, "disk quota exceeded"),
            (nix::libc::ELOOP, "too many levels of symbolic links"),
            (nix::libc::EBADMSG, "bad message"),
            (nix::libc::EDOTDOT, "RFS specific error"),
            (nix::libc::EOPNOTSUPP, "operation not supported"),
            (9999, "errno 9999"),
        ] {
            assert_eq!(io_cause(&io::Error::from_raw_os_error(number)), text);
        }
        let nul = std::fs::metadata("a\0b").unwrap_err();
        assert_eq!(io_cause(&nul), "invalid argument");
    }
}
