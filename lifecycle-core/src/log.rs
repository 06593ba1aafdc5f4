//! Where a phase says what it does.

use std::fmt;
use std::time::Instant;

/// Where a phase says what it does, in upstream's words: platforms match these lines.
pub trait Log: fmt::Debug + Send + Sync {
    /// One line, or several with line feeds between.
    fn line(&self, level: Level, text: &str);

    /// What a buildpack printed, as one line or several, for whom such lines are.
    fn printed(&self, level: Level, bytes: &[u8]) {
        self.line(level, &String::from_utf8_lossy(bytes));
    }

    /// What a buildpack printed, as it came.
    fn output(&self, bytes: &[u8]);

    /// Says when something begins, if that is said; what is returned is for [`ended`](Self::ended).
    fn started(&self, _what: &str) -> Option<Instant> {
        None
    }

    /// Says when it ended, and how long it took.
    fn ended(&self, _what: &str, _started: Instant) {}
}

/// Says nothing: what is said once is not said again.
#[derive(Debug)]
pub(crate) struct Silent;

impl Log for Silent {
    fn line(&self, _level: Level, _text: &str) {}

    fn output(&self, _bytes: &[u8]) {}
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "the specification lists them all")]
pub enum Level {
    /// For who looks for a fault.
    Debug,
    /// For everyone.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}
