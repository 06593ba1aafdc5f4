use std::path::Path;

use lifecycle_core::cache::Cache;
use lifecycle_core::files::analyzed::Analyzed;
use lifecycle_core::files::group::Group;
use lifecycle_core::restore::{self, RestoreContext};
use lifecycle_core::{Level, Log as _};

use super::{analyze, cache, export};
use crate::console::Console;
use crate::failure::{Failure, GENERIC};
use crate::files::{read, read_or_default};
use crate::inputs::Inputs;
use crate::session::Session;

/// The restorer.
pub(super) fn run(inputs: &Inputs, session: &Session, console: Console) -> Result<(), Failure> {
    let group: Group = read(&inputs.group, "group", GENERIC)?;
    export::verify_apis(&group)?;
    // Without what the analyzer left the cache alone has to do.
    let read = read_or_default(&inputs.analyzed, "analyzed", Level::Warn, console);
    let analyzed: Analyzed = match read {
        Ok(analyzed) => confirmed(inputs, &group, analyzed, session)?,
        Err(cause) => {
            let text = format!("Not using analyzed data, usable file not found: {cause}");
            console.line(Level::Warn, &text);
            Analyzed::default()
        }
    };
    let cache = cache::open(inputs, session, console)?;
    restore(inputs, &group, &analyzed, cache.as_ref(), session, console)
}

/// What the analyzer found, with what extensions made of the run image; its file is written anew.
fn confirmed(
    inputs: &Inputs,
    group: &Group,
    analyzed: Analyzed,
    session: &Session,
) -> Result<Analyzed, Failure> {
    let api = inputs.platform_api;
    let images = session.images();
    let confirm = restore::confirm_run_image(images, api, group, analyzed, &session.limits);
    let analyzed = session
        .wait(confirm)
        .map_err(|error| Failure::new(error.exit_code(), error.action(), &error))?;
    analyze::write(inputs, &analyzed)?;
    Ok(analyzed)
}

/// Brings back what buildpacks want to see again.
pub(super) fn restore(
    inputs: &Inputs,
    group: &Group,
    analyzed: &Analyzed,
    cache: Option<&Cache>,
    session: &Session,
    console: Console,
) -> Result<(), Failure> {
    let context = RestoreContext {
        api: inputs.platform_api,
        group,
        metadata: &analyzed.metadata,
        layers_dir: &inputs.layers,
        root: Path::new("/"),
        skip_layers: inputs.skip_layers,
    };
    console
        .time("Restorer", || {
            session.wait(restore::restore(&context, cache, &console))
        })
        .map_err(|error| Failure::new(error.exit_code(), error.action(), &error))
}
