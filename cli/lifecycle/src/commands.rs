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

pub(crate) use self::analyze::offered;

use std::path::Path;

use lifecycle_core::Level;
use lifecycle_core::Log as _;
use lifecycle_core::exec::Cancel;
use tracing::info_span;

use crate::console::Console;
use crate::experimental::guard;
use crate::failure::{Failure, GENERIC};
use crate::inputs::Inputs;
use crate::phase::Phase;
use crate::privileges::{self, User};
use crate::resolve;
use crate::session::{Session, in_registries};

/// Runs a phase from its inputs to its end. What it starts ends with `cancel`.
pub(crate) fn run(
    phase: Phase,
    mut inputs: Inputs,
    cancel: &Cancel,
    console: Console,
) -> Result<(), Failure> {
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
        Phase::Analyze | Phase::Create => {
            let session = resolve::analyze(phase, &mut inputs, console)?;
            guard_layout(&inputs, console)?;
            let session = ensure_privileges(phase, &mut inputs, session, console)?;
            if phase == Phase::Analyze {
                analyze::run(&inputs, &session, console)
            } else {
                create::run(&inputs, &session, cancel, console)
            }
        }
        Phase::Export => {
            let analyzed = resolve::export(&mut inputs, console)?;
            guard_layout(&inputs, console)?;
            let session = ensure_privileges(phase, &mut inputs, None, console)?;
            export::run(&inputs, &analyzed, &session, console)
        }
        Phase::Restore => {
            resolve::check_cache(&inputs, console);
            let session = ensure_privileges(phase, &mut inputs, None, console)?;
            restore::run(&inputs, &session, console)
        }
        Phase::Rebase => {
            resolve::rebase(&mut inputs)?;
            let span = info_span!("rebase");
            // A daemon is connected to later.
            let (session, app) = if inputs.daemon {
                (None, None)
            } else {
                let session = Session::open(&inputs, |cause| {
                    Failure::because(phase.failure(), "set app image", cause)
                })?;
                session.look_up(in_registries(&inputs));
                let app = rebase::open(&inputs, &session, &span)?;
                (Some(session), Some(app))
            };
            let session = ensure_privileges(phase, &mut inputs, session, console)?;
            let app = app.map_or_else(|| rebase::open(&inputs, &session, &span), Ok)?;
            rebase::run(&inputs, app, &session, &span, console)
        }
        Phase::Extend => {
            console.line(Level::Debug, "Ensuring privileges...");
            console.line(Level::Debug, "Executing command...");
            extend::run(&mut inputs, cancel, console)
        }
    }
}

/// Layouts have to be asked for.
fn guard_layout(inputs: &Inputs, console: Console) -> Result<(), Failure> {
    if inputs.layout {
        guard("export to OCI layout format", &inputs.environment, console)?;
    }
    Ok(())
}

/// Looks up credentials and connects to a daemon, if that is not done; lets the user of the build use
/// its folders, and becomes that user.
fn ensure_privileges(
    phase: Phase,
    inputs: &mut Inputs,
    session: Option<Session>,
    console: Console,
) -> Result<Session, Failure> {
    console.line(Level::Debug, "Ensuring privileges...");
    let is_open = session.is_some();
    let mut session = match session {
        Some(session) => session,
        None => Session::open(inputs, |cause| {
            Failure::because(GENERIC, "resolve keychain", cause)
        })?,
    };
    if !is_open || phase != Phase::Rebase {
        session.look_up(in_registries(inputs));
    }
    session.connect(inputs)?;
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
    Ok(session)
}
