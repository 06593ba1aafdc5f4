//! Traces of the phases, if the platform asks for them: RFC 0131, which upstream has not.
//!
//! Off, unless `-telemetry` or `CNB_TELEMETRY` is given, or `CNB_OTEL_LOG_PATH`, by which the newer drafts
//! of the specification have the platform ask.
//!
//! <https://github.com/buildpacks/rfcs/blob/main/text/0131-build-observability.md>

use std::path::Path;
use std::sync::Arc;

use lifecycle_core::buildpack::Telemetry;
use lifecycle_core::{Level, Log as _};
use otlp::{Attribute, PhaseFiles, Recorder, Resource, Sink, TraceContext};

use crate::console::Console;
use crate::inputs::Inputs;
use crate::phase::Phase;
use crate::version;

/// The folder of traces below the layers.
pub(crate) const FOLDER: &str = "tracing";

/// The phases that have a file: by the RFC, and where a rebaser has layers the same for it.
const PHASES: &[&str] = &[
    "analyze", "detect", "restore", "extend", "build", "export", "rebase",
];

/// Records from now on, if that was asked for.
pub(crate) fn start(phase: Phase, inputs: &Inputs, console: Console) -> Option<Arc<PhaseFiles>> {
    if !inputs.has_telemetry() {
        return None;
    }
    let otherwise = match phase {
        Phase::Analyze | Phase::Create => "analyze",
        Phase::Detect => "detect",
        Phase::Restore => "restore",
        Phase::Extend => "extend",
        Phase::Build => "build",
        Phase::Export => "export",
        Phase::Rebase => "rebase",
    };
    let files = Arc::new(files(phase, inputs, otherwise)?);
    let warn = |text: &str| console.line(Level::Warn, text);
    let given = inputs.environment.text("CNB_OTEL_TRACEPARENT");
    let context = given.map(|it| it.parse::<TraceContext>());
    let context = match context {
        Some(Ok(context)) => context,
        Some(Err(error)) => {
            warn(&format!("Ignoring CNB_OTEL_TRACEPARENT: {error}"));
            TraceContext::begin()
        }
        None => TraceContext::begin(),
    };
    let resource = Resource {
        attributes: vec![
            Attribute::text("service.name", "lifecycle"),
            Attribute::text("lifecycle.version", version::VERSION),
        ],
    };
    let sink = Arc::clone(&files) as Arc<dyn Sink>;
    if let Err(error) = Recorder::new(context, resource, sink).start() {
        warn(&format!("Failed to trace: {error}"));
        return None;
    }
    Some(files)
}

/// Where the spans go. A rebaser has no layers unless the platform says where some are, and no modules to
/// which another file would belong.
fn files(phase: Phase, inputs: &Inputs, otherwise: &'static str) -> Option<PhaseFiles> {
    let said = |name: &str| inputs.environment.text(name).filter(|it| !it.is_empty());
    if phase != Phase::Rebase || said("CNB_LAYERS_DIR").is_some() {
        return Some(PhaseFiles::new(&inputs.layers, PHASES, otherwise));
    }
    let path = said("CNB_OTEL_LOG_PATH")?;
    Some(PhaseFiles::all_to(Path::new(&path), otherwise))
}

/// Says what could not be written. No build fails for its trace.
pub(crate) fn finish(files: Option<&PhaseFiles>, console: Console) {
    if let Some(problem) = files.and_then(PhaseFiles::problem) {
        let text = format!("Failed to write all of the trace: {problem}");
        console.line(Level::Warn, &text);
    }
}

/// What modules are told.
pub(crate) fn of_modules(inputs: &Inputs) -> Option<Telemetry> {
    inputs.has_telemetry().then(|| Telemetry {
        folder: inputs.layers.join(FOLDER),
        traceparent: otlp::traceparent,
    })
}
