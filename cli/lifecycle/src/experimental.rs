//! Features that platforms have to ask for.

use lifecycle_core::Level;
use lifecycle_core::Log as _;

use crate::console::Console;
use crate::environment::Environment;
use crate::failure::{Failure, GENERIC};

/// Whether `feature` may be used, by `CNB_EXPERIMENTAL_MODE`: `error` (the default), `warn`, `quiet`.
///
/// # Errors
///
/// When it may not.
pub(crate) fn guard(
    feature: &str,
    environment: &Environment,
    console: Console,
) -> Result<(), Failure> {
    let requested = format!("Platform requested experimental feature '{feature}'");
    match environment.text("CNB_EXPERIMENTAL_MODE").as_deref() {
        // The specification says `silent`, upstream `quiet`.
        Some("quiet" | "silent") => Ok(()),
        None | Some("error") => {
            console.line(Level::Error, &requested);
            Err(Failure {
                code: GENERIC,
                text: "experimental features are disabled by CNB_EXPERIMENTAL_MODE=error"
                    .to_owned(),
            })
        }
        // Also any other word, as upstream has it.
        Some(_) => {
            console.line(Level::Warn, &requested);
            Ok(())
        }
    }
}
