//! From a request to a response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::budget::budget;
use crate::limits::Limits;
use crate::log::{Log, chain};
use crate::metrics::Metrics;
use crate::review::{Path, Reviewer};
use crate::verify::verify;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) reviewer: Reviewer,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
    /// Told to end: not ready any more.
    pub(crate) ending: AtomicBool,
    /// A right to work on a request.
    pub(crate) permits: Semaphore,
    pub(crate) waiting: AtomicUsize,
}

/// What is asked for on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Served {
    All,
    /// Without TLS: nothing that is decided by.
    Health,
}

type Answer = Response<Full<Bytes>>;

/// Answers one request.
pub(crate) async fn respond(shared: &Shared, served: Served, request: Request<Incoming>) -> Answer {
    let started = Instant::now();
    let path = request.uri().path();
    let decides = served == Served::All;
    match (request.method().clone(), path) {
        (Method::GET | Method::HEAD, "/healthz") => text(StatusCode::OK, "ok\n"),
        (Method::GET | Method::HEAD, "/readyz") => {
            if shared.ending.load(Ordering::Relaxed) {
                text(StatusCode::SERVICE_UNAVAILABLE, "told to end\n")
            } else {
                text(StatusCode::OK, "ok\n")
            }
        }
        (Method::GET | Method::HEAD, "/metrics") => {
            let figures = shared.reviewer.judge.figures();
            let mut response = text(StatusCode::OK, &shared.metrics.text(&figures));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        (Method::POST, "/validate") if decides => {
            work(shared, started, request, Work::Review(Path::Validate)).await
        }
        (Method::POST, "/mutate") if decides => {
            work(shared, started, request, Work::Review(Path::Mutate)).await
        }
        (Method::POST, "/v1/verify") if decides => {
            work(shared, started, request, Work::Verify).await
        }
        (_, "/validate" | "/mutate" | "/v1/verify") if decides => not_allowed("POST"),
        (_, "/healthz" | "/readyz" | "/metrics") => not_allowed("GET, HEAD"),
        _ => text(StatusCode::NOT_FOUND, "there is nothing here\n"),
    }
}

#[derive(Clone, Copy)]
enum Work {
    Review(Path),
    Verify,
}

/// Reads the body, waits for its turn, and answers, all within the time that the query says.
async fn work(shared: &Shared, started: Instant, request: Request<Incoming>, work: Work) -> Answer {
    let limits = &shared.limits;
    let budget = budget(request.uri().query(), limits.time_limit);
    let deadline = started + budget;
    let refused = |reason, status, words: &str| {
        shared
            .metrics
            .count("sealpack_refused_requests_total", &[("reason", reason)]);
        text(status, words)
    };
    let busy = || {
        let words = "busy: more requests at once than are worked on; try again\n";
        refused("busy", StatusCode::SERVICE_UNAVAILABLE, words)
    };
    let Ok(_turn) = Turn::wait(shared, deadline).await else {
        return busy();
    };
    let too_large = |limit| {
        let words = format!("the request is larger than {limit} bytes\n");
        refused("too-large", StatusCode::PAYLOAD_TOO_LARGE, &words)
    };
    let said = request.body().size_hint().lower();
    if usize::try_from(said).map_or(true, |it| it > limits.body_bytes) {
        return too_large(limits.body_bytes);
    }
    let reading = Limited::new(request.into_body(), limits.body_bytes).collect();
    let body = match tokio::time::timeout_at(deadline, reading).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return too_large(limits.body_bytes);
        }
        Ok(Err(_gone)) => {
            return refused("broken", StatusCode::BAD_REQUEST, "the request broke off\n");
        }
        Err(_elapsed) => {
            let words = "the request came too slowly\n";
            return refused("slow", StatusCode::REQUEST_TIMEOUT, words);
        }
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let malformed = |words: &str| {
        shared
            .log
            .error("a request was not understood", [("reason", words.into())]);
        refused("malformed", StatusCode::BAD_REQUEST, &format!("{words}\n"))
    };
    match work {
        Work::Review(path) => review(shared, started, path, body, left)
            .await
            .unwrap_or_else(|words| malformed(&words)),
        Work::Verify => match verify(&shared.reviewer, &body, left).await {
            Ok(verdicts) => json(verdicts.to_string().into_bytes()),
            Err(words) => malformed(&words),
        },
    }
}

async fn review(
    shared: &Shared,
    started: Instant,
    path: Path,
    body: Bytes,
    left: Duration,
) -> Result<Answer, String> {
    let answering = shared.reviewer.answer(path, body, left, &shared.metrics);
    let answered = answering.await.map_err(|error| chain(&error))?;
    let took = started.elapsed();
    shared.metrics.took(path.as_str(), took);
    let labels = [
        ("path", path.as_str()),
        ("operation", answered.operation),
        ("verdict", answered.verdict),
    ];
    shared.metrics.count("sealpack_answers_total", &labels);
    let milliseconds = took.as_secs_f64() * 1e3;
    let mut fields = vec![
        ("path", Value::from(path.as_str())),
        ("verdict", answered.verdict.into()),
        ("milliseconds", ((milliseconds * 1e3).round() / 1e3).into()),
    ];
    fields.extend(answered.fields);
    shared.log.info("answered", fields);
    Ok(json(answered.body))
}

/// The right to work on a request, for as long as it lives.
struct Turn<'a> {
    shared: &'a Shared,
    _permit: tokio::sync::SemaphorePermit<'a>,
}

/// There are too many others.
struct Busy;

impl<'a> Turn<'a> {
    async fn wait(shared: &'a Shared, deadline: Instant) -> Result<Self, Busy> {
        /// One that waits, also if it stops waiting.
        struct Waits<'a>(&'a AtomicUsize);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }

        let others = shared.waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Waits(&shared.waiting);
        if shared.permits.available_permits() == 0 && others >= shared.limits.waiting {
            return Err(Busy);
        }
        let waited = tokio::time::timeout_at(deadline, shared.permits.acquire()).await;
        drop(waits);
        match waited {
            Ok(Ok(permit)) => {
                shared.metrics.change("sealpack_requests", 1);
                Ok(Self {
                    shared,
                    _permit: permit,
                })
            }
            _ => Err(Busy),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.shared.metrics.change("sealpack_requests", -1);
    }
}

pub(crate) fn text(status: StatusCode, words: &str) -> Answer {
    let mut response = Response::new(Full::from(words.to_owned()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn json(body: Vec<u8>) -> Answer {
    let mut response = Response::new(Full::from(body));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn not_allowed(allowed: &'static str) -> Answer {
    let mut response = text(
        StatusCode::METHOD_NOT_ALLOWED,
        "this method is not allowed here\n",
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Keeps the type of what is shared in one place.
pub(crate) type SharedRef = Arc<Shared>;
