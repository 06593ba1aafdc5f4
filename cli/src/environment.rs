//! What surrounds the program. Read here, once, and passed down.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

/// The environment at the start of the program.
#[derive(Debug)]
pub(crate) struct Environment {
    /// What was typed, with the name of the program.
    pub(crate) arguments: Vec<OsString>,
    /// The environment variables.
    pub(crate) variables: BTreeMap<OsString, OsString>,
    /// The working directory.
    pub(crate) directory: PathBuf,
    /// Whether someone reads what goes to standard output.
    pub(crate) stdout_is_terminal: bool,
    /// Whether someone reads what goes to standard error.
    pub(crate) stderr_is_terminal: bool,
    /// Whether someone can answer.
    pub(crate) stdin_is_terminal: bool,
}

impl Environment {
    /// Reads it.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub(crate) fn read() -> io::Result<Self> {
        Ok(Self {
            arguments: std::env::args_os().collect(),
            variables: std::env::vars_os().collect(),
            directory: std::env::current_dir()?,
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            stdin_is_terminal: io::stdin().is_terminal(),
        })
    }

    /// A variable, if it is set and is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.variables
            .get(&OsString::from(name))
            .and_then(|it| it.to_str())
    }

    /// All variables that are text.
    pub(crate) fn texts(&self) -> BTreeMap<String, String> {
        self.variables
            .iter()
            .filter_map(|(name, value)| {
                Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
            })
            .collect()
    }

    /// A variable that names a folder, if it is set to an absolute path.
    fn folder(&self, name: &str) -> Option<PathBuf> {
        self.variables
            .get(&OsString::from(name))
            .map(PathBuf::from)
            .filter(|it| it.is_absolute())
    }

    /// The user's home.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.folder("HOME")
    }

    /// Where this user's programs keep what they can make again.
    pub(crate) fn cache(&self) -> Option<PathBuf> {
        self.folder("XDG_CACHE_HOME")
            .or_else(|| Some(self.home()?.join(".cache")))
            .map(|it| it.join("sealpack"))
    }

    /// Where the layers of builder images are kept.
    pub(crate) fn root_store(&self) -> Option<PathBuf> {
        Some(self.cache()?.join("roots"))
    }

    /// Where temporary files go.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.folder("TMPDIR").unwrap_or_else(|| "/tmp".into())
    }
}

/// The time, for what records it.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// A time to measure from, for what is shown to people.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
