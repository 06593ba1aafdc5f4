//! Traces of the phases, if the platform asks for them: RFC 0131, which upstream has not.
//!
//! Off, unless `-telemetry` or `CNB_TELEMETRY` is given, or `CNB_OTEL_LOG_PATH`, by which the newer drafts
//! of the specification have the platform ask.
//!
//! <https://github.com/buildpacks/rfcs/blob/main/text/0131-build-observability.md>

use std::sync::Arc;

use lifecycle_core::buildpack::Telemetry;
use lifecycle_core::{Level, Log as _};
use otlp::{Attribute, Context, PhaseFiles, Recorder, Resource, Sink};

use crate::console::Console;
use crate::inputs::Inputs;
use crate::phase::Phase;
use crate::version;

/// The folder of traces below the layers.
pub(crate) const FOLDER: &str = "tracing";

/// The phases that have a file, by the RFC.
const PHASES: &[&str] = &["analyze", "detect", "restore", "extend", "build", "export"];

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
        // It has no layers, below which a file could be.
        Phase::Rebase => return None,
    };
    let warn = |text: &str| console.line(Level::Warn, text);
    let given = inputs.environment.text("CNB_OTEL_TRACEPARENT");
    let context = given.map(|it| it.parse::<Context>());
    let context = match context {
        Some(Ok(context)) => context,
        Some(Err(error)) => {
            warn(&format!("Ignoring CNB_OTEL_TRACEPARENT: {error}"));
            Context::begin()
        }
        None => Context::begin(),
    };
    let resource = Resource {
        attributes: vec![
            Attribute::text("service.name", "lifecycle"),
            Attribute::text("lifecycle.version", version::VERSION),
        ],
    };
    let files = Arc::new(PhaseFiles::new(&inputs.layers, PHASES, otherwise));
    let sink = Arc::clone(&files) as Arc<dyn Sink>;
    if let Err(error) = Recorder::new(context, resource, sink).start() {
        warn(&format!("Failed to trace: {error}"));
        return None;
    }
    Some(files)
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
