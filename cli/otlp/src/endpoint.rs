//! To a collector, by OTLP over HTTP, in JSON.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::fmt;
use std::str::FromStr;

use net::{Question, ServiceError, Services, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::wire::message;

/// The most spans of one request.
const MAX_ELEMENTS: usize = 512;
/// What one request holds at most, unless one element is larger.
const MAX_BYTES: usize = 1 << 20;
/// Where traces go, if only the server is named.
const PATH: &str = "/v1/traces";

/// A collector.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    url: Url,
}

impl FromStr for Endpoint {
    type Err = MalformedEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut url = Url::parse(text).map_err(|_why| MalformedEndpoint::Url)?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(MalformedEndpoint::Url);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(MalformedEndpoint::Password);
        }
        if url.path() == "/" {
            url.set_path(PATH);
        }
        Ok(Self { url })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is asked of it may be a secret.
        write!(
            f,
            "{}{}",
            self.url.origin().ascii_serialization(),
            self.url.path()
        )
    }
}

/// What was given is not where a collector is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum MalformedEndpoint {
    /// Not a URL, or not of HTTP.
    #[error(
        "malformed URL of a collector: it has the form `http://HOST:4318` or `https://HOST/v1/traces`"
    )]
    Url,
    /// A password would end in logs.
    #[error("a user name or password is not allowed in the URL of a collector")]
    Password,
}

impl Endpoint {
    /// Sends elements of `resourceSpans`, several requests if need be; says how many spans the
    /// collector did not take.
    pub async fn send(&self, elements: &[String], services: &Services) -> Result<u64, SendError> {
        let mut rejected = 0_u64;
        let mut rest = elements;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(portion(rest));
            rest = later;
            let body = message(now.iter().map(String::as_str));
            let question = Question::post(self.url.clone(), "application/json", body);
            let failed = |source| SendError::NotAsked { source };
            let answer = services
                .ask(&question.in_the_open())
                .await
                .map_err(failed)?;
            if answer.status != StatusCode::OK {
                let words = answer.words(&[]);
                return Err(SendError::Refused { words });
            }
            rejected = rejected.saturating_add(rejected_spans(&answer.body));
        }
        Ok(rejected)
    }
}

/// How many of these go together; at least one.
fn portion(elements: &[String]) -> usize {
    let mut bytes = 0_usize;
    let fits = elements.iter().take(MAX_ELEMENTS).take_while(|it| {
        bytes = bytes.saturating_add(it.len());
        bytes <= MAX_BYTES
    });
    fits.count().max(1)
}

/// What an answer says of spans that were not taken. It need not say anything.
fn rejected_spans(body: &[u8]) -> u64 {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Response {
        partial_success: Partial,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Partial {
        rejected_spans: Count,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Count {
        Text(String),
        Number(u64),
    }
    impl Default for Count {
        fn default() -> Self {
            Self::Number(0)
        }
    }
    let response: Response = serde_json::from_slice(body).unwrap_or_default();
    match response.partial_success.rejected_spans {
        Count::Number(count) => count,
        Count::Text(text) => text.parse().unwrap_or_default(),
    }
}

/// Why a collector did not take what was sent.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum SendError {
    /// It was not reached, or did not answer.
    #[error("the collector did not answer")]
    NotAsked {
        /// Why.
        source: ServiceError,
    },
    /// It said no.
    #[error("the collector answered {words}")]
    Refused {
        /// What it said.
        words: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_alone_has_the_usual_path() {
        for (text, expected) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("https://c.example/", "https://c.example/v1/traces"),
            (
                "https://c.example/otlp?key=secret",
                "https://c.example/otlp",
            ),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), expected);
        }
        for text in ["ftp://c.example", "c.example:4318", "http://", ""] {
            assert_eq!(
                text.parse::<Endpoint>(),
                Err(MalformedEndpoint::Url),
                "{text}"
            );
        }
        assert_eq!(
            "http://me:pass@c.example".parse::<Endpoint>(),
            Err(MalformedEndpoint::Password)
        );
    }

    #[test]
    fn requests_have_a_limit() {
        let small = vec![String::from("{}"); MAX_ELEMENTS + 1];
        assert_eq!(portion(&small), MAX_ELEMENTS);
        let large = vec!["x".repeat(MAX_BYTES / 2); 3];
        assert_eq!(portion(&large), 2);
        assert_eq!(portion(&["x".repeat(2 * MAX_BYTES)]), 1);
    }

    #[test]
    fn what_was_not_taken_is_counted() {
        for (body, expected) in [
            ("", 0),
            ("{}", 0),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":{"rejectedSpans":"3"}}"#, 3),
            (
                r#"{"partialSuccess":{"rejectedSpans":4,"errorMessage":"x"}}"#,
                4,
            ),
        ] {
            assert_eq!(rejected_spans(body.as_bytes()), expected, "{body}");
        }
    }
}
