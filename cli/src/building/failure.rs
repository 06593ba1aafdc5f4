//! What a user reads where the phases failed.

use lifecycle_core::export::ExportError;
use platform::run::{PhaseFailure, RunError};
use platform::sandbox::SandboxError;

use crate::error::{CommandError, Message};
use crate::machine::{self, Lacks};

impl From<RunError> for CommandError {
    fn from(error: RunError) -> Self {
        if let RunError::Export(cause) = &error
            && let ExportError::NoSuchProcess { name, known } = &**cause
        {
            return no_process(name, known);
        }
        let (output, hint) = match &error {
            RunError::Phase {
                failure, output, ..
            } => (
                Some(telling(output, *failure)).filter(|it| !it.is_empty()),
                (*failure == PhaseFailure::NoGroup)
                    .then_some("the builder's `[[order]]` says which groups there are"),
            ),
            RunError::Sandbox(SandboxError::Refused { .. }) => (
                None,
                Some(
                    machine::remedy(Lacks::ALL)
                        .unwrap_or("`--isolation auto` goes on with what there is"),
                ),
            ),
            RunError::Sandbox(SandboxError::NoRoot { .. }) => (
                None,
                Some(
                    machine::remedy(Lacks::ALL)
                        .unwrap_or("build as root, or with a `builder.toml`"),
                ),
            ),
            RunError::CannotExtend { hint, .. } => (None, Some(*hint)),
            RunError::LayoutIsThere { .. } => (
                None,
                Some("name a folder that is not there: what is staged is judged as a whole"),
            ),
            RunError::OtherApi { .. } => (
                None,
                Some("leave out `--platform-api`: then the newest that both know is spoken"),
            ),
            RunError::Temporary { .. } => (
                None,
                Some("set `TMPDIR` to a folder that is there and can be written"),
            ),
            RunError::NoCommonApi => (None, Some(OLD_BUILDER)),
            RunError::Previous { .. } => (None, Some("`--no-cache` builds without it")),
            _ => (None, None),
        };
        let error = Self::undecided(error);
        let error = output.into_iter().fold(error, Self::note);
        hint.into_iter().fold(error, Self::hint)
    }
}

/// What to do with a builder whose lifecycle is of another time.
pub(super) const OLD_BUILDER: &str = "take a builder with a newer lifecycle, or make it anew of the same \
                                      `builder.toml`: `sealpack builder create`";

/// What a phase printed, without what its failure says already.
fn telling(output: &str, failure: PhaseFailure) -> String {
    let is_said = |line: &str| match failure {
        PhaseFailure::NoGroup => line.starts_with("ERROR: ") || line.starts_with(RESULTS),
        PhaseFailure::Detect => SAID_OF_DETECT.contains(&line) || line.starts_with(RESULTS),
        _ => false,
    };
    let lines = output.lines().filter(|it| !is_said(it));
    lines.collect::<Vec<_>>().join("\n")
}

/// The heading above what each buildpack answered.
const RESULTS: &str = "======== Results";

/// What the lifecycle says whenever a buildpack failed to detect.
const SAID_OF_DETECT: [&str; 2] = [
    "ERROR: No buildpack groups passed detection.",
    "ERROR: failed to detect: buildpack(s) failed with err",
];

/// The image was to start with a process that there is not.
fn no_process(name: &str, known: &[String]) -> CommandError {
    let problem = Message(format!("process type `{name}` does not exist"));
    CommandError::undecided(problem).hint(match known {
        [] => "the buildpacks defined none".to_owned(),
        known => format!("the buildpacks defined: {}", known.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_already_is_not_said_again() {
        let output = "======== Results ========\nfail: a@1\nERROR: No buildpack groups passed detection.\nERROR: other";
        assert_eq!(telling(output, PhaseFailure::NoGroup), "fail: a@1");
        assert_eq!(
            telling(output, PhaseFailure::Detect),
            "fail: a@1\nERROR: other"
        );
        assert_eq!(telling(output, PhaseFailure::Build), output);
    }
}
