//! The restorer.

use std::path::Path;

use lifecycle_core::cache::Cache;
use lifecycle_core::files::analyzed::{Analyzed, ImageIdentifier};
use lifecycle_core::files::group::Group;
use lifecycle_core::files::run::Run;
use lifecycle_core::images::Images;
use lifecycle_core::restore::{self, RestoreContext};
use lifecycle_core::{Level, Log as _};
use oci::{Image, spans};
use tracing::info_span;

use super::{analyze, cache, export, extend};
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
        Ok(analyzed) => confirmed(inputs, &group, analyzed, session, console)?,
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
    console: Console,
) -> Result<Analyzed, Failure> {
    let api = inputs.platform_api;
    let images = session.images();
    let mut analyzed = analyzed;
    if api.has_extensions() && !inputs.build_image.is_empty() {
        let name = &inputs.build_image;
        let text = format!("Pulling builder image metadata for {name}...");
        console.line(Level::Debug, &text);
        let (reference, _image) = pull(session.registries(), name, session)?;
        analyzed.build_image = Some(ImageIdentifier { reference });
    }
    if api.restores_launch_layers_from_cache() {
        // What it says does not matter here, but it has to be readable.
        read_or_default::<Run>(&inputs.run, "run", Level::Info, console).map_err(|text| {
            Failure {
                code: GENERIC,
                text,
            }
        })?;
    }
    let confirm = restore::confirm_run_image(images, api, group, analyzed, &session.limits);
    let mut analyzed = session
        .wait(confirm)
        .map_err(|error| Failure::new(error.exit_code(), error.action(), &error))?;
    if api.has_targets()
        && !inputs.layout
        && let Some(run_image) = analyzed.run_image.as_mut().filter(|it| it.extend)
    {
        let name = if run_image.image.is_empty() {
            &run_image.reference
        } else {
            &run_image.image
        };
        let text = format!("Pulling run image metadata for {name}...");
        console.line(Level::Debug, &text);
        // A daemon's image has no digest that the extender could go by.
        let (reference, image) = pull(session.registries(), name, session)?;
        let target = lifecycle_core::analyze::target(&image);
        let target =
            target.map_err(|error| Failure::new(GENERIC, "update analyzed metadata", &error))?;
        run_image.reference = reference;
        run_image.target = Some(target);
    }
    analyze::write(inputs, &analyzed, console).map_err(|failure| Failure {
        text: format!("failed to write analyzed metadata: {}", failure.text),
        ..failure
    })?;
    Ok(analyzed)
}

/// Leaves for the extender what it needs of an image.
fn pull(images: &dyn Images, name: &str, session: &Session) -> Result<(String, Image), Failure> {
    let folder = extend::bases();
    let pulled = session.wait(restore::pull_base(images, name, &folder, &session.limits));
    pulled.map_err(|error| Failure::new(GENERIC, &format!("pull image {name}"), &error))
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
        exec_env: &inputs.exec_env(),
        skip_layers: inputs.skip_layers,
    };
    console
        .time("Restorer", || {
            let span = info_span!("restore");
            let restored = restore::restore(&context, cache, &console);
            session.wait(spans::within(span, restored))
        })
        .map_err(|error| Failure::new(error.exit_code(), error.action(), &error))
}
