//! The builder.

use lifecycle_core::Level;
use lifecycle_core::building::{self, BuildContext, Built};
use lifecycle_core::exec::{Cancel, Host};
use lifecycle_core::files::analyzed::Analyzed;
use lifecycle_core::files::group::Group;
use lifecycle_core::files::plan::BuildPlan;
use oci::spans;
use tracing::info_span;

use super::detect::modules;
use super::export::verify_apis;
use crate::console::Console;
use crate::failure::{Failure, GENERIC};
use crate::files::{read, read_or_default};
use crate::inputs::Inputs;

/// The variable that names the file in which it is to stand which buildpack builds. Ours: upstream's says
/// that in its debug lines alone.
const BUILDING: &str = "SEALPACK_BUILDING_PATH";

/// The builder.
pub(super) fn run(inputs: &Inputs, cancel: &Cancel, console: Console) -> Result<(), Failure> {
    let group: Group = read(&inputs.group, "group", GENERIC)?;
    let plan: BuildPlan = read(&inputs.plan, "plan", GENERIC)?;
    verify_apis(&group)?;
    let analyzed: Analyzed = read_or_default(&inputs.analyzed, "analyzed", Level::Warn, console)
        .map_err(|cause| Failure::because(GENERIC, "reading analyzed.toml", &cause))?;
    build(inputs, group, plan, &analyzed, cancel, console)?;
    Ok(())
}

/// What the buildpacks leave.
pub(super) fn build(
    inputs: &Inputs,
    group: Group,
    plan: BuildPlan,
    analyzed: &Analyzed,
    cancel: &Cancel,
    console: Console,
) -> Result<Built, Failure> {
    let host = Host {
        user: None,
        cancel: cancel.clone(),
    };
    let modules = modules(inputs, analyzed, &host);
    let context = BuildContext {
        modules: &modules,
        layers_dir: inputs.layers.clone(),
        group,
        plan,
        building: inputs.environment.text(BUILDING).map(Into::into),
    };
    console
        .time("Builder", || {
            spans::inside(&info_span!("build"), || building::build(&context, &console))
        })
        .map_err(|error| Failure {
            code: error.exit_code(),
            text: go::words::chain(&error),
        })
}
