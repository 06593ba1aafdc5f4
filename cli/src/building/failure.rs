//! What a user reads where the phases failed.

use platform::run::{PhaseFailure, RunError};
use platform::sandbox::SandboxError;

use crate::error::CommandError;
use crate::machine;

impl From<RunError> for CommandError {
    fn from(error: RunError) -> Self {
        let (output, hint) = match &error {
            RunError::Phase {
                failure, output, ..
            } => (
                Some(output.clone()).filter(|it| !it.is_empty()),
                (*failure == PhaseFailure::NoGroup)
                    .then_some("the builder's `[[order]]` says which groups there are"),
            ),
            RunError::Sandbox(SandboxError::Refused { .. }) => (
                None,
                Some(machine::remedy().unwrap_or("`--isolation auto` goes on with what there is")),
            ),
            RunError::Sandbox(SandboxError::NoRoot { .. }) => (
                None,
                Some(machine::remedy().unwrap_or("build as root, or with a `builder.toml`")),
            ),
            RunError::LayoutIsThere { .. } => (
                None,
                Some("name a folder that is not there: what is staged is judged as a whole"),
            ),
            RunError::Previous { .. } => (None, Some("`--no-cache` builds without it")),
            _ => (None, None),
        };
        let error = Self::undecided(error);
        let error = output.into_iter().fold(error, Self::note);
        hint.into_iter().fold(error, Self::hint)
    }
}
