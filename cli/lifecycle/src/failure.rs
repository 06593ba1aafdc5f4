//! How a phase ends when it fails: a line and an exit code.

use std::error::Error;

/// Why the program ends, and with which code.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// What is logged; nothing when all has been said.
    pub(crate) text: String,
}

/// Something failed for which there is no code of its own.
pub(crate) const GENERIC: u8 = 1;

/// The command line, or what it refers to, makes no sense.
pub(crate) const INVALID_ARGUMENTS: u8 = 3;

/// The platform speaks an API that we do not.
pub(crate) const PLATFORM_API: u8 = 11;

/// A buildpack or extension speaks an API that we do not.
pub(crate) const BUILDPACK_API: u8 = 12;

impl Failure {
    /// `failed to <action>: <error and its causes>`.
    pub(crate) fn new(code: u8, action: &str, error: &(dyn Error + 'static)) -> Self {
        Self::because(code, action, &lifecycle_core::words::chain(error))
    }

    /// `failed to <action>: <cause>`.
    pub(crate) fn because(code: u8, action: &str, cause: &str) -> Self {
        Self {
            code,
            text: format!("failed to {action}: {cause}"),
        }
    }
}
