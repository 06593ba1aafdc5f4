//! What a server tells whoever runs it: JSON, one object a line.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Where lines go, and what time it is.
#[derive(Clone)]
pub struct Log {
    write: Arc<dyn Fn(&str) + Send + Sync>,
    clock: fn() -> SystemTime,
}

impl Log {
    /// Gives lines to `write`, each with the time by `clock`.
    pub fn new(write: impl Fn(&str) + Send + Sync + 'static, clock: fn() -> SystemTime) -> Self {
        Self {
            write: Arc::new(write),
            clock,
        }
    }

    /// Something happened as it should.
    pub(crate) fn info(
        &self,
        message: &str,
        fields: impl IntoIterator<Item = (&'static str, Value)>,
    ) {
        self.line("info", message, fields);
    }

    /// Something is wrong that somebody has to see to.
    pub(crate) fn error(
        &self,
        message: &str,
        fields: impl IntoIterator<Item = (&'static str, Value)>,
    ) {
        self.line("error", message, fields);
    }

    fn line(
        &self,
        level: &str,
        message: &str,
        fields: impl IntoIterator<Item = (&'static str, Value)>,
    ) {
        let time = OffsetDateTime::from((self.clock)());
        let mut line = Map::new();
        line.insert(
            "time".to_owned(),
            time.format(&Rfc3339).unwrap_or_default().into(),
        );
        line.insert("level".to_owned(), level.into());
        line.insert("message".to_owned(), message.into());
        line.extend(
            fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
        (self.write)(&Value::Object(line).to_string());
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        let said = it.to_string();
        // Some libraries repeat their cause.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = it.source();
    }
    text
}
