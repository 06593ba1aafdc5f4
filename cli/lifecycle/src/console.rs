//! The log: all of it goes to stdout, in upstream's form.

use std::io::{self, Write as _};
use std::time::Instant;

use go::flag::format_duration;
use lifecycle_core::{Level, Log};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The standard output of a phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    pub(crate) least: Least,
    pub(crate) is_colored: bool,
}

/// What is said: this and what matters more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Least {
    /// Lines of this level.
    Level(Level),
    /// No line at all: errors are the highest level that anything has.
    Fatal,
}

impl Least {
    /// The level that `text` names, as upstream reads it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "debug" => Some(Self::Level(Level::Debug)),
            "info" => Some(Self::Level(Level::Info)),
            "warn" | "warning" => Some(Self::Level(Level::Warn)),
            "error" => Some(Self::Level(Level::Error)),
            "fatal" => Some(Self::Fatal),
            _ => None,
        }
    }
}

impl Console {
    /// The banner that the creator puts before each phase.
    pub(crate) fn banner(self, name: &str) {
        if self.is_colored {
            self.line(Level::Info, &format!("\x1b[36m===> {name}\x1b[0m"));
        } else {
            self.line(Level::Info, &format!("===> {name}"));
        }
    }

    /// Says at the level `debug` when something begins and ends, and how long it takes.
    pub(crate) fn time<T>(self, name: &str, action: impl FnOnce() -> T) -> T {
        let started = self.started(name);
        let result = action();
        if let Some(started) = started {
            self.ended(name, started);
        }
        result
    }
}

impl Log for Console {
    fn started(&self, what: &str) -> Option<Instant> {
        let (started, clock) = now();
        self.line(Level::Debug, &format!("Timer: {what} started at {started}"));
        Some(clock)
    }

    fn ended(&self, what: &str, started: Instant) {
        let (ended, _) = now();
        let took = started.elapsed().as_nanos();
        let took = format_duration(took.try_into().unwrap_or(i64::MAX));
        let text = format!("Timer: {what} ran for {took} and ended at {ended}");
        self.line(Level::Debug, &text);
    }

    fn line(&self, level: Level, text: &str) {
        self.printed(level, text.as_bytes());
    }

    fn printed(&self, level: Level, bytes: &[u8]) {
        match self.least {
            Least::Level(least) if level >= least => {}
            _ => return,
        }
        let label = match (level, self.is_colored) {
            (Level::Error, true) => "\x1b[31;1mERROR: \x1b[0m",
            (Level::Error, false) => "ERROR: ",
            (Level::Warn, true) => "\x1b[33;1mWarning: \x1b[0m",
            (Level::Warn, false) => "Warning: ",
            (Level::Info | Level::Debug, _) => "",
        };
        let feed: &[u8] = if bytes.ends_with(b"\n") { b"" } else { b"\n" };
        self.output(&[label.as_bytes(), bytes, feed].concat());
    }

    fn output(&self, bytes: &[u8]) {
        if self.is_colored {
            write(bytes);
        } else {
            write(&without_colors(bytes));
        }
    }
}

/// The bytes without sequences of a terminal, of programs too.
fn without_colors(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(&byte) = rest.next() {
        if byte != 0x1b {
            out.push(byte);
        } else if rest.next() == Some(&b'[') {
            rest.find(|it| it.is_ascii_alphabetic() || **it == b'@');
        }
    }
    out
}

/// When nobody listens there is nobody to tell.
fn write(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).ok();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the log says when something happened"
)]
fn now() -> (String, Instant) {
    let wall = OffsetDateTime::now_utc().replace_nanosecond(0);
    let text = wall
        .ok()
        .and_then(|it| it.format(&Rfc3339).ok())
        .unwrap_or_default();
    (text, Instant::now())
}
