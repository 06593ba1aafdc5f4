//! A step on the way into a sandbox that failed.

use std::io;

/// A step on the way in that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) step: String,
    pub(super) errno: i32,
}

impl Failed {
    /// For use with `map_err`.
    pub(super) fn new<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> Self {
        let step = step.into();
        move |error| Self {
            step,
            errno: error.into().raw_os_error().unwrap_or_default(),
        }
    }

    /// What the kernel said.
    pub(super) fn errno(&self) -> i32 {
        self.errno
    }
}
