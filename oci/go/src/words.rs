//! Errors of files in the words of Go's standard library: platforms and their tests match them.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

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

#[cfg(test)]
mod tests {
    use super::*;

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
        let format = io::Error::from_raw_os_error(nix::libc::ENOEXEC);
        assert_eq!(io_cause(&format), "exec format error");
    }
}
