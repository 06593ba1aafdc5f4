//! The restorer.

use std::path::Path;

use lifecycle_core::cache::Cache;
use lifecycle_core::files::analyzed::{Analyzed, ImageIdentifier};
use lifecycle_core::files::group::Group;
use lifecycle_core::files::run::Run;
use lifecycle_core::restore::{self, RestoreContext};
use lifecycle_core::{Level, Log as _};
use oci::{Image, spans};
use tracing::info_span;

use super::{analyze, cache, export, extend};
use crate::console::Console;
use crate::failure::{Failure, GENERIC};
use crate::files::{read, read_or_default};
use crate::inputs::Inputs;
use crate::phase::Phase;
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
    mut analyzed: Analyzed,
    session: &Session,
    console: Console,
) -> Result<Analyzed, Failure> {
    let debug = |text: &str| console.line(Level::Debug, text);
    let api = inputs.platform_api;
    if api.has_extensions() && !inputs.build_image.is_empty() {
        let name = &inputs.build_image;
        debug(&format!("Pulling builder image metadata for {name}..."));
        let (reference, _image) = pull("builder", name, session, console)?;
        debug("Adding build image info to analyzed metadata: ");
        debug(&format!("{{\"Reference\":{}}}", json(&reference)));
        analyzed.build_image = Some(ImageIdentifier { reference });
    }
    if api.restores_launch_layers_from_cache() {
        let generic = |text| Failure {
            code: GENERIC,
            text,
        };
        let offered: Run =
            read_or_default(&inputs.run, "run", Level::Info, console).map_err(generic)?;
        let readable = async |name: &str| session.may_read(inputs, name).await;
        let confirming = restore::confirm_run_image(api, &analyzed, &offered, readable);
        let confirmed = session.wait(confirming);
        confirmed.map_err(|error| generic(error.to_string()))?;
    }
    if analyzed.run_image.is_some() {
        complete(inputs, group, &mut analyzed, session, console)?;
    }
    analyze::write(inputs, &analyzed, console).map_err(|failure| Failure {
        text: format!("failed to write analyzed metadata: {}", failure.text),
        ..failure
    })?;
    Ok(analyzed)
}

/// Finds what the next phases need to know of the run image: to extend it, or what runs on it.
fn complete(
    inputs: &Inputs,
    group: &Group,
    analyzed: &mut Analyzed,
    session: &Session,
    console: Console,
) -> Result<(), Failure> {
    let debug = |text: &str| console.line(Level::Debug, text);
    let api = inputs.platform_api;
    let Some(run_image) = &analyzed.run_image else {
        return Ok(());
    };
    let name = &run_image.image;
    let is_known = run_image
        .target
        .as_ref()
        .is_some_and(|it| !it.os.is_empty());
    let (reference, target) = if api.has_targets() && !inputs.layout && run_image.extend {
        debug(&format!("Pulling run image metadata for {name}..."));
        // A daemon's image has no digest that the extender could go by.
        let (reference, image) = pull("run", name, session, console)?;
        let target = lifecycle_core::analyze::target(&image);
        (reference, Some(target))
    } else if api.has_extensions() && !group.group_extensions.is_empty() && !is_known {
        debug("Updating run image info in analyzed metadata...");
        // Before Platform API 0.12 the analyzer leaves no name.
        let name = if name.is_empty() {
            &run_image.reference
        } else {
            name
        };
        let images = session.images();
        let found = restore::inspect_run_image(images, api, name, &session.limits);
        let found = session
            .wait(found)
            .map_err(|error| Failure::new(GENERIC, &format!("get run image {name}"), &error))?;
        found.ok_or_else(|| Failure {
            code: GENERIC,
            text: format!("failed to get run image {name}"),
        })?
    } else {
        return Ok(());
    };
    debug("Run image info in analyzed metadata was: ");
    debug(&analyzed.run_image_text());
    if let Some(run_image) = &mut analyzed.run_image {
        run_image.reference = reference;
        run_image.target = target;
    }
    debug("Run image info in analyzed metadata is: ");
    debug(&analyzed.run_image_text());
    Ok(())
}

fn json(text: &str) -> String {
    go::json::to_string(text).unwrap_or_default()
}

/// Leaves for the extender what it needs of an image, which is called `what`.
fn pull(
    what: &str,
    name: &str,
    session: &Session,
    console: Console,
) -> Result<(String, Image), Failure> {
    let folder = extend::bases();
    let images = session.registries();
    let pulled = session.wait(restore::pull_base(
        images,
        name,
        &folder,
        &session.limits,
        &console,
    ));
    pulled.map_err(|error| Failure::new(GENERIC, &format!("pull {what} image {name}"), &error))
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
        .map_err(|error| Failure::new(Phase::Restore.failure(), "restore", &error))
}
