use std::path::Path;

use lifecycle_core::cache::Cache;
use lifecycle_core::files;
use lifecycle_core::files::analyzed::Analyzed;
use lifecycle_core::files::group::Group;
use lifecycle_core::restore::{self, RestoreContext};
use lifecycle_core::{Level, Log as _};

use super::{cache, export};
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
    let analyzed: Analyzed = read.unwrap_or_else(|cause| {
        let text = format!("Not using analyzed data, usable file not found: {cause}");
        console.line(Level::Warn, &text);
        Analyzed::default()
    });
    let before = analyzed.clone();
    let images = session.images();
    let analyzed = session
        .wait(restore::confirm_run_image(
            images,
            inputs.platform_api,
            &group,
            analyzed,
            &session.limits,
        ))
        .map_err(|error| Failure::new(error.exit_code(), error.action(), &error))?;
    if analyzed != before {
        files::write(&inputs.analyzed, &analyzed)
            .map_err(|error| Failure::new(GENERIC, "write analyzed metadata", &error))?;
    }
    let cache = cache::open(inputs, session, console)?;
    restore(inputs, &group, &analyzed, cache.as_ref(), session, console)
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
