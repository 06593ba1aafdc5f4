//! The environment of this process, read once.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lifecycle_core::env::Env;

/// Environment variables, as they were when the program started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    pub(crate) variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// That of this process.
    pub(crate) fn of_process() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let variables = env::vars_os();
        Self {
            variables: Env::of_process(variables).into_vars(),
        }
    }

    /// The value of `name`, if it is set and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let value = self
            .variables
            .get(OsStr::new(name))
            .filter(|it| !it.is_empty())?;
        Some(value.to_string_lossy().into_owned())
    }

    /// The value of `name` as a path, if it is set and not empty.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables
            .get(OsStr::new(name))
            .filter(|it| !it.is_empty())
            .map(PathBuf::from)
    }

    /// Sets `name`.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.insert(name.into(), value.into());
    }
}
