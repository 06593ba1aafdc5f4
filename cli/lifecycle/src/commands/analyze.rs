//! The analyzer, and the choice of a run image.

use std::path::Path;

use lifecycle_core::analyze::{self, AnalyzeContext, AnalyzeError};
use lifecycle_core::files;
use lifecycle_core::files::analyzed::Analyzed;
use lifecycle_core::files::run::{Run, Stack};
use lifecycle_core::{Level, Log as _};
use oci::spans;
use tracing::info_span;

use crate::console::Console;
use crate::failure::{Failure, GENERIC};
use crate::files::read_or_default;
use crate::inputs::Inputs;
use crate::session::Session;

/// The run images that the platform offers, by `run.toml` or `stack.toml`.
pub(crate) fn offered(inputs: &Inputs, console: Console) -> Result<Run, String> {
    if inputs.platform_api.has_targets() {
        return read_or_default(&inputs.run, "run", Level::Info, console);
    }
    let stack: Stack = read_or_default(&inputs.stack, "stack", Level::Info, console)?;
    let mut run = Run::default();
    run.images.push(stack.run_image);
    Ok(run)
}

/// The analyzer.
pub(super) fn run(inputs: &Inputs, session: &Session, console: Console) -> Result<(), Failure> {
    analyze(inputs, session, console)?;
    Ok(())
}

/// What the analyzer finds; its file is written.
pub(super) fn analyze(
    inputs: &Inputs,
    session: &Session,
    console: Console,
) -> Result<Analyzed, Failure> {
    let context = AnalyzeContext {
        api: inputs.platform_api,
        images: session.images(),
        cache_images: session.registries(),
        output: &inputs.image,
        tags: &inputs.tags,
        previous: &inputs.previous_image,
        cache_image: Some(inputs.cache_image.as_str()).filter(|it| !it.is_empty()),
        run_image: &inputs.run_image,
        layers_dir: &inputs.layers,
        skip_layers: inputs.skip_layers || inputs.skip_sbom,
        root: Path::new("/"),
        limits: &session.limits,
    };
    let span = info_span!("analyze");
    let failed = |error: AnalyzeError| Failure::new(error.exit_code(), error.action(), &error);
    let opening = spans::within(span.clone(), analyze::open(&context, &console));
    let opened = session.wait(opening).map_err(failed)?;
    let analyzed = console.time("Analyzer", || {
        let analyzing = analyze::analyze(&context, opened, &console);
        session.wait(spans::within(span, analyzing))
    });
    let analyzed = analyzed.map_err(failed)?;
    write(inputs, &analyzed, console)?;
    Ok(analyzed)
}

/// Writes `analyzed.toml`.
pub(super) fn write(inputs: &Inputs, analyzed: &Analyzed, console: Console) -> Result<(), Failure> {
    console.line(Level::Debug, "Run image info in analyzed metadata is: ");
    console.line(Level::Debug, &analyzed.run_image_text());
    files::write(&inputs.analyzed, analyzed)
        .map_err(|error| Failure::new(GENERIC, "write analyzed file", &error))
}
