//! What each phase does with its inputs: become the right user, call the phase, write its files.

mod analyze;
mod build;
mod cache;
mod create;
mod detect;
mod export;
mod extend;
mod rebase;
mod restore;

use std::path::Path;

use lifecycle_core::Level;
use lifecycle_core::Log as _;
use lifecycle_core::exec::Cancel;

use crate::console::Console;
use crate::experimental::guard;
use crate::failure::{Failure, GENERIC, INVALID_ARGUMENTS};
use crate::inputs::Inputs;
use crate::phase::Phase;
use crate::privileges::{self, User};
use crate::session::Session;

/// Runs a phase from its inputs to its end. What it starts ends with `cancel`.
pub(crate) fn run(
    phase: Phase,
    mut inputs: Inputs,
    cancel: &Cancel,
    console: Console,
) -> Result<(), Failure> {
    inputs.validate(phase)?;
    match phase {
        Phase::Detect | Phase::Build => {
            console.line(Level::Debug, "Ensuring privileges...");
            if privileges::is_root() {
                return Err(Failure::because(
                    GENERIC,
                    phase.name(),
                    "refusing to run as root",
                ));
            }
            console.line(Level::Debug, "Executing command...");
            if phase == Phase::Detect {
                detect::run(&inputs, cancel, console)
            } else {
                build::run(&inputs, cancel, console)
            }
        }
        Phase::Analyze => {
            let session = settled(phase, &mut inputs, console)?;
            ensure_privileges(phase, &mut inputs, console)?;
            analyze::run(&inputs, &session, console)
        }
        Phase::Export => {
            let analyzed = export::read_analyzed(&inputs, console)?;
            inputs.settle(phase, console)?;
            let session = Session::open(&inputs, GENERIC)?;
            ensure_privileges(phase, &mut inputs, console)?;
            export::run(&inputs, &analyzed, &session, console)
        }
        Phase::Create => {
            let session = settled(phase, &mut inputs, console)?;
            ensure_privileges(phase, &mut inputs, console)?;
            create::run(&inputs, &session, cancel, console)
        }
        Phase::Restore => {
            inputs.settle(phase, console)?;
            let session = Session::open(&inputs, GENERIC)?;
            ensure_privileges(phase, &mut inputs, console)?;
            restore::run(&inputs, &session, console)
        }
        Phase::Rebase => {
            inputs.settle(phase, console)?;
            let session = Session::open(&inputs, GENERIC)?;
            ensure_privileges(phase, &mut inputs, console)?;
            rebase::run(&inputs, &session, console)
        }
        Phase::Extend => {
            console.line(Level::Debug, "Ensuring privileges...");
            console.line(Level::Debug, "Executing command...");
            extend::run(&mut inputs, cancel, console)
        }
    }
}

/// Chooses the run image, and says what of the inputs will not count, in upstream's order. Only a
/// daemon has to know that before it is connected to.
fn settled(phase: Phase, inputs: &mut Inputs, console: Console) -> Result<Session, Failure> {
    if inputs.daemon {
        inputs.settle(phase, console)?;
    }
    let session = Session::open(inputs, INVALID_ARGUMENTS)?;
    inputs.run_image = analyze::choose_run_image(inputs, &session, console)?;
    if !inputs.daemon {
        inputs.settle(phase, console)?;
    }
    Ok(session)
}

/// Lets the user of the build use its folders, and becomes that user.
fn ensure_privileges(phase: Phase, inputs: &mut Inputs, console: Console) -> Result<(), Failure> {
    console.line(Level::Debug, "Ensuring privileges...");
    if inputs.layout && matches!(phase, Phase::Analyze | Phase::Export | Phase::Create) {
        guard("export to OCI layout format", &inputs.environment, console)?;
    }
    let kaniko = Path::new(extend::KANIKO);
    let folders: &[&Path] = match phase {
        Phase::Analyze => &[&inputs.layers, &inputs.cache_dir, &inputs.launch_cache],
        Phase::Restore => &[&inputs.layers, &inputs.cache_dir, kaniko],
        Phase::Export => &[&inputs.cache_dir, &inputs.launch_cache],
        Phase::Create => &[&inputs.cache_dir, &inputs.launch_cache, &inputs.layers],
        Phase::Detect | Phase::Build | Phase::Extend | Phase::Rebase => &[],
    };
    let user = User::new(inputs.uid, inputs.gid)?;
    privileges::own(user, folders)?;
    privileges::become_user(user)?;
    if phase == Phase::Create {
        privileges::set_home(user, &mut inputs.environment)?;
    }
    console.line(Level::Debug, "Executing command...");
    Ok(())
}
