//! From spans to elements of `resourceSpans`, each handed on when its span ends.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context as LayerContext, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::TraceContext;
use crate::context::random;
use crate::wire::{self, Attribute, INTERNAL, Resource, Status, Value};

/// More than any span of ours has: what would be told of a loop is dropped, and counted.
const MAX_EVENTS: usize = 128;

/// The crates whose spans are told. Libraries of others have some, too, that tell of addresses.
const OURS: [&str; 7] = [
    "lifecycle",
    "lifecycle_core",
    "net",
    "oci",
    "otlp",
    "platform",
    "sealpack",
];

/// Takes what is told of spans.
pub trait Sink: fmt::Debug + Send + Sync {
    /// A span has ended. `root` is the name of the outermost span around it, or its own; `element` is
    /// what stands for it in `resourceSpans`.
    fn span(&self, root: &'static str, element: &str);
}

/// Records the spans of this process.
#[derive(Clone, Debug)]
pub struct Recorder {
    context: TraceContext,
    resource: Resource,
    sink: Arc<dyn Sink>,
    clock: Clock,
}

/// By which the times of one process are in order, whatever happens to the clock on the wall.
#[derive(Clone, Copy, Debug)]
struct Clock {
    wall: SystemTime,
    steady: Instant,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "a span is nothing but when something began and ended"
    )]
    fn new() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// Nanoseconds since 1970.
    fn now(self) -> u128 {
        let since = self.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        (since + self.steady.elapsed()).as_nanos()
    }
}

/// What is known of a span that has not ended.
struct Open {
    id: u64,
    parent: Option<u64>,
    root: &'static str,
    began: u128,
    attributes: Vec<Attribute>,
    events: Vec<wire::Event>,
    dropped: u32,
    has_failed: bool,
    /// What programs are told that are started in it.
    traceparent: String,
}

impl Recorder {
    /// Of spans in `context`, by `resource`.
    pub fn new(context: TraceContext, resource: Resource, sink: Arc<dyn Sink>) -> Self {
        Self {
            context,
            resource,
            sink,
            clock: Clock::new(),
        }
    }

    /// Records from now on, to the end of the process.
    pub fn start(self) -> Result<(), AlreadyStarted> {
        let subscriber = Registry::default().with(self);
        tracing::subscriber::set_global_default(subscriber).map_err(|_same| AlreadyStarted)
    }

    /// Records what `work` does on this thread.
    pub fn during<T>(self, work: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(Registry::default().with(self), work)
    }
}

/// Something else records the spans of this process.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("spans are recorded already")]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct AlreadyStarted;

/// What a program is told that is started now: the parent that the platform gave, unmodified, else
/// the span around. `None` if nothing is recorded.
pub fn traceparent() -> Option<String> {
    let found = tracing::Span::current().with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        let extensions = span.extensions();
        extensions.get::<Open>().map(|it| it.traceparent.clone())
    });
    found.flatten()
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let name = metadata.target().split("::").next().unwrap_or_default();
    OURS.contains(&name)
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_ours(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _context: LayerContext<'_, S>) -> bool {
        is_ours(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: LayerContext<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parent = span.parent();
        let (parent, root) = match &parent {
            None => (self.context.parent_id(), None),
            Some(parent) => {
                let extensions = parent.extensions();
                let open = extensions.get::<Open>();
                (open.map(|it| it.id), open.map(|it| it.root))
            }
        };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let own = random();
        span.extensions_mut().insert(Open {
            id: own,
            parent,
            root: root.unwrap_or(span.name()),
            began: self.clock.now(),
            attributes: fields.attributes,
            events: Vec::new(),
            dropped: 0,
            has_failed: false,
            traceparent: match self.context.given() {
                Some(given) => given.to_owned(),
                None => self.context.below(own),
            },
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: LayerContext<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            open.attributes.extend(fields.attributes);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: LayerContext<'_, S>) {
        let Some(span) = context.event_span(event) else {
            return;
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = self.clock.now();
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            open.has_failed |= *event.metadata().level() == Level::ERROR;
            if open.events.len() == MAX_EVENTS {
                open.dropped = open.dropped.saturating_add(1);
                return;
            }
            open.events.push(wire::Event {
                time_unix_nano: now.to_string(),
                name: fields.message,
                attributes: fields.attributes,
            });
        }
    }

    fn on_close(&self, id: Id, context: LayerContext<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let Some(open) = span.extensions_mut().remove::<Open>() else {
            return;
        };
        let hex = |it: u64| format!("{it:016x}");
        let told = wire::Span {
            trace: self.context.trace_id(),
            id: hex(open.id),
            parent: open.parent.map(hex).unwrap_or_default(),
            name: span.name(),
            kind: INTERNAL,
            start_time_unix_nano: open.began.to_string(),
            end_time_unix_nano: self.clock.now().to_string(),
            attributes: open.attributes,
            events: open.events,
            dropped_events_count: open.dropped,
            status: if open.has_failed {
                Status::ERROR
            } else {
                Status::default()
            },
        };
        let element = wire::element(&self.resource, &told);
        self.sink.span(open.root, &element);
    }
}

/// The fields of a span or an event.
#[derive(Default)]
struct Fields {
    message: String,
    attributes: Vec<Attribute>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text)) => self.message = text,
            (name, value) => self.attributes.push(Attribute {
                key: name.to_owned(),
                value,
            }),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Number(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Number(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::Fraction(value));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::Value as Json;
    use tracing::{error, info, info_span};

    use super::*;

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<(&'static str, Json)>>);

    impl Sink for Kept {
        fn span(&self, root: &'static str, element: &str) {
            let element: Json = serde_json::from_str(element).unwrap();
            let span = element["scopeSpans"][0]["spans"][0].clone();
            assert_eq!(element["resource"]["attributes"][0]["key"], "service.name");
            self.0.lock().unwrap().push((root, span));
        }
    }

    fn record(context: TraceContext, work: impl FnOnce()) -> Vec<(&'static str, Json)> {
        let kept = Arc::new(Kept::default());
        let resource = Resource {
            attributes: vec![Attribute::text("service.name", "test")],
        };
        let sink: Arc<dyn Sink> = Arc::clone(&kept) as Arc<dyn Sink>;
        Recorder::new(context, resource, sink).during(work);
        std::mem::take(&mut *kept.0.lock().unwrap())
    }

    #[test]
    fn spans_are_told_with_their_parents_when_they_end() {
        let spans = record(TraceContext::begin(), || {
            let outer = info_span!(
                "outer",
                count = 2_u64,
                is = true,
                later = tracing::field::Empty
            );
            let _outer = outer.enter();
            outer.record("later", "text");
            info!(number = -1, "happened");
            info_span!("inner").in_scope(|| error!("failed"));
            // Another's is not told, nor do those in it lose their parent.
            let other = info_span!(target: "hyper::proto", "other", url = "https://secret.example");
            let _other = other.enter();
            info_span!("in other").in_scope(|| ());
        });
        let names: Vec<_> = spans
            .iter()
            .map(|it| it.1["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["inner", "in other", "outer"]);
        assert!(spans.iter().all(|it| it.0 == "outer"));
        let outer = &spans[2].1;
        for (_, inner) in &spans[..2] {
            assert_eq!(inner["parentSpanId"], outer["spanId"]);
            assert_eq!(inner["traceId"], outer["traceId"]);
        }
        assert_eq!(outer.get("parentSpanId"), None);
        assert_eq!(spans[0].1["status"]["code"], 2);
        assert_eq!(outer["status"], serde_json::json!({}));
        assert_eq!(
            outer["attributes"],
            serde_json::json!([
                {"key": "count", "value": {"intValue": "2"}},
                {"key": "is", "value": {"boolValue": true}},
                {"key": "later", "value": {"stringValue": "text"}},
            ])
        );
        let event = &outer["events"][0];
        assert_eq!(event["name"], "happened");
        assert_eq!(event["attributes"][0]["value"]["intValue"], "-1");
        let time = |it: &Json| it.as_str().unwrap().parse::<u128>().unwrap();
        let (began, ended) = (&outer["startTimeUnixNano"], &outer["endTimeUnixNano"]);
        assert!(time(began) <= time(&event["timeUnixNano"]));
        assert!(time(&event["timeUnixNano"]) <= time(ended));
    }

    #[test]
    fn the_parent_of_all_is_the_one_that_was_given() {
        const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let spans = record(GIVEN.parse().unwrap(), || {
            info_span!("ours").in_scope(|| {
                assert_eq!(traceparent().as_deref(), Some(GIVEN));
            });
        });
        assert_eq!(spans[0].1["parentSpanId"], "00f067aa0ba902b7");
        assert_eq!(spans[0].1["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn who_is_started_is_below_the_span_around() {
        let mut told = None;
        let spans = record(TraceContext::begin(), || {
            info_span!("ours").in_scope(|| told = traceparent());
        });
        let ours = &spans[0].1;
        let expected = format!(
            "00-{}-{}-01",
            ours["traceId"].as_str().unwrap(),
            ours["spanId"].as_str().unwrap()
        );
        assert_eq!(told, Some(expected));
        assert_eq!(traceparent(), None);
    }

    #[test]
    fn events_have_a_limit() {
        let spans = record(TraceContext::begin(), || {
            info_span!("ours").in_scope(|| {
                for _ in 0..MAX_EVENTS + 3 {
                    info!("again");
                }
            });
        });
        let ours = &spans[0].1;
        assert_eq!(ours["events"].as_array().unwrap().len(), MAX_EVENTS);
        assert_eq!(ours["droppedEventsCount"], 3);
    }
}
