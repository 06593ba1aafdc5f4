//! What each phase does with its inputs: become the right user, call the phase, write its files.

use std::path::Path;

use lifecycle_core::Level;
use lifecycle_core::Log as _;

use crate::console::Console;
use crate::failure::{Failure, GENERIC};
use crate::inputs::Inputs;
use crate::phase::Phase;
use crate::privileges::{self, User};

/// Runs a phase from its inputs to its end.
pub(crate) fn run(phase: Phase, mut inputs: Inputs, console: Console) -> Result<(), Failure> {
    inputs.validate(phase, console)?;
    console.line(Level::Debug, "Ensuring privileges...");
    ensure_privileges(phase, &mut inputs)?;
    console.line(Level::Debug, "Executing command...");
    Err(Failure::because(
        phase.failure(),
        phase.name(),
        "this lifecycle cannot do that yet",
    ))
}

/// Lets the user of the build use its folders, and becomes that user. Who runs programs of others
/// does not do so as root.
fn ensure_privileges(phase: Phase, inputs: &mut Inputs) -> Result<(), Failure> {
    let kaniko = Path::new("/kaniko");
    let folders: &[&Path] = match phase {
        Phase::Detect | Phase::Build => {
            if privileges::is_root() {
                return Err(Failure::because(
                    GENERIC,
                    phase.name(),
                    "refusing to run as root",
                ));
            }
            return Ok(());
        }
        Phase::Analyze => &[&inputs.layers, &inputs.cache_dir, &inputs.launch_cache],
        Phase::Restore => &[&inputs.layers, &inputs.cache_dir, kaniko],
        Phase::Export => &[&inputs.cache_dir, &inputs.launch_cache],
        Phase::Create => &[&inputs.cache_dir, &inputs.launch_cache, &inputs.layers],
        // Containers of the platform's own are extended as root.
        Phase::Extend if inputs.kind == "run" => return Ok(()),
        Phase::Rebase | Phase::Extend => &[],
    };
    let user = User::new(inputs.uid, inputs.gid)?;
    privileges::own(user, folders)?;
    privileges::become_user(user)?;
    if matches!(phase, Phase::Create | Phase::Extend) {
        privileges::set_home(user, &mut inputs.environment);
    }
    Ok(())
}
