//! The creator: all phases in one process.

use lifecycle_core::exec::Cancel;

use super::{analyze, build, cache, detect, export, restore};
use crate::console::Console;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::phase::Phase;
use crate::session::Session;

/// The creator: all phases, one after the other.
pub(super) fn run(
    inputs: &Inputs,
    session: &Session,
    cancel: &Cancel,
    console: Console,
) -> Result<(), Failure> {
    let cache = cache::open(inputs, session, console)?;

    console.banner("ANALYZING");
    let analyzed = analyze::analyze(inputs, session, console)?;

    console.banner("DETECTING");
    let detected = detect::detect(Phase::Create, inputs, &analyzed, cancel, console)?;
    if !detected.group.group_extensions.is_empty() {
        return Err(Failure::because(
            Phase::Detect.failure(),
            "detect",
            "detected order contains extensions which is not supported by the creator",
        ));
    }

    // What buildpacks stored comes back even so, where there is a phase for that alone.
    if !inputs.skip_layers || inputs.platform_api.has_extensions() {
        console.banner("RESTORING");
        restore::restore(
            inputs,
            &detected.group,
            &analyzed,
            cache.as_ref(),
            session,
            console,
        )?;
    }

    console.banner("BUILDING");
    let group = detected.group.clone();
    build::build(inputs, group, detected.plan, &analyzed, cancel, console)?;

    console.banner("EXPORTING");
    export::export(inputs, &detected.group, &analyzed, cache, session, console)
}
