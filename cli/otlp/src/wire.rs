//! OTLP's JSON: keys in lower camel case, numbers of 64 bits as text, identifiers as hexadecimal.
//!
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/v1.3.2/opentelemetry/proto/trace/v1/trace.proto>

use serde::Serialize;

/// What emits spans, and its version.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Resource {
    /// What is known of it, e.g. `service.name`.
    pub attributes: Vec<Attribute>,
}

/// A named value.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Attribute {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Value,
}

impl Attribute {
    /// A text.
    pub fn text(key: &str, value: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            value: Value::Text(value.into()),
        }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum Value {
    /// A text.
    #[serde(rename = "stringValue")]
    Text(String),
    /// A number, as text.
    #[serde(rename = "intValue")]
    Number(String),
    /// A yes or no.
    #[serde(rename = "boolValue")]
    Bool(bool),
    /// A fraction.
    #[serde(rename = "doubleValue")]
    Fraction(f64),
}

/// One span.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Span {
    #[serde(rename = "traceId")]
    pub(crate) trace: String,
    #[serde(rename = "spanId")]
    pub(crate) id: String,
    #[serde(rename = "parentSpanId", skip_serializing_if = "String::is_empty")]
    pub(crate) parent: String,
    pub(crate) name: &'static str,
    pub(crate) kind: u8,
    pub(crate) start_time_unix_nano: String,
    pub(crate) end_time_unix_nano: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) attributes: Vec<Attribute>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) events: Vec<Event>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) dropped_events_count: u32,
    pub(crate) status: Status,
}

/// `SPAN_KIND_INTERNAL`.
pub(crate) const INTERNAL: u8 = 1;

/// What happened during a span.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    pub(crate) time_unix_nano: String,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) attributes: Vec<Attribute>,
}

/// How a span ended.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<u8>,
}

impl Status {
    /// `STATUS_CODE_ERROR`.
    pub(crate) const ERROR: Self = Self { code: Some(2) };
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// An element of `resourceSpans` with one span in it.
pub(crate) fn element(resource: &Resource, span: &Span) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ResourceSpans<'a> {
        resource: &'a Resource,
        scope_spans: [ScopeSpans<'a>; 1],
    }
    #[derive(Serialize)]
    struct ScopeSpans<'a> {
        scope: Scope,
        spans: [&'a Span; 1],
    }
    #[derive(Serialize)]
    struct Scope {
        name: &'static str,
    }
    let element = ResourceSpans {
        resource,
        scope_spans: [ScopeSpans {
            scope: Scope { name: "sealpack" },
            spans: [span],
        }],
    };
    // Nothing in it can fail: no map has a key that is not text.
    serde_json::to_string(&element).unwrap_or_default()
}

/// A whole message of these elements.
pub(crate) fn message<'a>(elements: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = r#"{"resourceSpans":["#.to_owned();
    for (index, element) in elements.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(element);
    }
    text.push_str("]}");
    text
}
