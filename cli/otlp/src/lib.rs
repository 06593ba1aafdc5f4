//! Spans as OpenTelemetry's JSON: to files, to a collector.
//!
//! Libraries emit spans by the crate `tracing` and know nothing of where they go. Programs that are
//! asked for a trace [start](Recorder::start) a recorder; where none was started a span costs one look
//! at a static.
//!
//! | what | where |
//! |---|---|
//! | the trace that others began, and who is whose parent | [`TraceContext`] |
//! | from spans to lines | [`Recorder`] |
//! | a file for each phase, as RFC 0131 has them | [`PhaseFiles`] |
//! | what phases and modules wrote, by whomever they run as | [`collect`] |
//! | to a collector | [`Endpoint`] |
//!
//! A line is one `ExportTraceServiceRequest` in the JSON of OTLP 1.x, as OpenTelemetry's file exporter
//! writes it. Nothing here may know of images, phases or buildpacks: names and attributes come with the
//! spans.
//!
//! - <https://github.com/buildpacks/rfcs/blob/main/text/0131-build-observability.md>
//! - <https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/>
//! - <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>

mod collect;
mod context;
mod endpoint;
mod files;
mod recorder;
mod wire;

pub use self::collect::{Collected, collect};
pub use self::context::{MalformedTraceparent, TraceContext};
pub use self::endpoint::{Endpoint, MalformedEndpoint, SendError};
pub use self::files::{AppendFile, PhaseFiles};
pub use self::recorder::{AlreadyStarted, Recorder, Sink, traceparent};
pub use self::wire::{Attribute, Resource, Value};
