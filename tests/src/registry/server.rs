//! Its HTTP.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::{FaultKind, Logged, State, access, blobs, manifests};

/// What is sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Whole(Bytes),
    /// Of a HEAD: the length, but nothing else.
    Length(usize),
    /// Without a length: the bytes, and then more of them, so many or without end.
    Longer(Bytes, Option<usize>),
}

/// A request, as far as it is needed.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: Bytes,
    /// The body broke off here, on purpose.
    pub(super) broken: bool,
}

/// The connection breaks: by a fault that was asked for.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for Broken {}

/// Serves until `stopped`.
pub(super) fn run(
    listener: std::net::TcpListener,
    state: &Arc<State>,
    stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        listener
            .set_nonblocking(true)
            .expect("a socket can be asked not to block");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it is a socket");
        let accept = async {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let state = state.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| serve(state.clone(), request));
                    // The client sees how a connection ends, and nobody else has to.
                    drop(
                        http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        };
        tokio::select! {
            () = accept => {}
            // An error means that the sender is gone, which is how we are told.
            _ = stopped => {}
        }
    });
}

async fn serve(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Broken>>, Broken> {
    let now = state.at_once.fetch_add(1, Ordering::Relaxed) + 1;
    state.most_at_once.fetch_max(now, Ordering::Relaxed);
    let answer = serve_one(&state, request).await;
    state.at_once.fetch_sub(1, Ordering::Relaxed);
    answer
}

async fn serve_one(
    state: &State,
    mut request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Broken>>, Broken> {
    let line = format!("{} {}", request.method(), request.uri());
    let authorization = request
        .headers()
        .get(hyper::header::AUTHORIZATION)
        .map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    state.log().push(Logged {
        line: line.clone(),
        authorization,
    });
    let fault = state.fault(&line);
    let mut drop_answer_at = None;
    let mut drop_body_at = None;
    let mut lost = false;
    match fault {
        Some(FaultKind::Status(status, retry_after)) => {
            let status = StatusCode::from_u16(status).expect("tests name valid statuses");
            // Whoever is still sending might miss the answer.
            while let Some(Ok(_)) = request.body_mut().frame().await {}
            let mut answer = error(status, "TOOMANYREQUESTS", "a fault that was asked for");
            if let Some(text) = retry_after {
                answer
                    .headers
                    .push((hyper::header::RETRY_AFTER, text.to_owned()));
            }
            return Ok(send(answer, None));
        }
        Some(FaultKind::Drop(at)) => {
            if matches!(*request.method(), Method::GET | Method::HEAD) {
                drop_answer_at = Some(at);
            } else {
                drop_body_at = Some(at);
            }
        }
        Some(FaultKind::Slow(duration)) => tokio::time::sleep(duration).await,
        Some(FaultKind::Lost) => lost = true,
        None => {}
    }
    let (parts, mut incoming) = request.into_parts();
    let mut body = Vec::new();
    let mut broken = false;
    while let Some(frame) = incoming.frame().await {
        let Ok(frame) = frame else {
            broken = true;
            break;
        };
        body.extend_from_slice(frame.data_ref().map_or(&[], |it| it));
        if let Some(at) = drop_body_at.filter(|at| body.len() >= *at) {
            body.truncate(at);
            broken = true;
            break;
        }
    }
    let asked = Asked {
        query: query_of(parts.uri.query().unwrap_or("")),
        path: parts.uri.path().to_owned(),
        method: parts.method,
        headers: parts.headers,
        body: body.into(),
        broken,
    };
    let answer = route(state, &asked, &line);
    if broken || lost {
        return Err(Broken);
    }
    Ok(send(answer, drop_answer_at))
}

fn route(state: &State, asked: &Asked, line: &str) -> Answer {
    if asked.path == "/token" {
        return access::token(state, &asked.method, line, &asked.headers, &asked.body);
    }
    if let Some(rest) = asked.path.strip_prefix("/elsewhere/") {
        return blobs::elsewhere(state, asked, rest);
    }
    if let Err(answer) = access::check(
        state,
        &asked.method,
        &asked.path,
        &asked.query,
        &asked.headers,
    ) {
        return answer;
    }
    if asked.path == "/v2/" {
        return json_answer(StatusCode::OK, &json!({}));
    }
    match split(&asked.path) {
        Some((name, "manifests", reference)) => manifests::manifest(state, asked, name, reference),
        Some((name, "tags", "list")) => manifests::tags(state, asked, name),
        Some((name, "referrers", digest)) => manifests::referrers(state, asked, name, digest),
        Some((name, "blobs", digest)) => blobs::blob(state, asked, name, digest),
        Some((name, "uploads", id)) => blobs::upload(state, asked, name, id),
        _ => error(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such address"),
    }
}

/// Splits `/v2/NAME/KIND/REFERENCE`.
pub(super) fn split(path: &str) -> Option<(&str, &str, &str)> {
    let rest = path.strip_prefix("/v2/")?;
    if let Some((name, id)) = rest.split_once("/blobs/uploads/") {
        return Some((name, "uploads", id));
    }
    let (rest, reference) = rest.rsplit_once('/')?;
    let (name, kind) = rest.rsplit_once('/')?;
    Some((name, kind, reference))
}

fn send(answer: Answer, drop_at: Option<usize>) -> Response<BoxBody<Bytes, Broken>> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        let value = HeaderValue::try_from(value).expect("headers are made of plain text");
        response = response.header(name, value);
    }
    let body = match (answer.body, drop_at) {
        (Body::Whole(bytes) | Body::Longer(bytes, _), Some(at)) => {
            response = response.header(CONTENT_LENGTH, bytes.len());
            let start = bytes.slice(..at.min(bytes.len()));
            broken_after(start)
        }
        (Body::Whole(bytes), None) => Full::new(bytes).map_err(never).boxed(),
        (Body::Length(_), Some(_)) => broken_after(Bytes::new()),
        (Body::Length(len), None) => {
            response = response.header(CONTENT_LENGTH, len);
            Full::new(Bytes::new()).map_err(never).boxed()
        }
        (Body::Longer(bytes, more), None) => {
            let chunk = |bytes| Ok(Frame::data(bytes));
            let start = stream::iter([chunk(bytes)]);
            if let Some(count) = more {
                let end = stream::iter([chunk(vec![0; count].into())]);
                BoxBody::new(StreamBody::new(start.chain(end)))
            } else {
                let end = stream::repeat_with(move || chunk(vec![0; 1 << 16].into()));
                BoxBody::new(StreamBody::new(start.chain(end)))
            }
        }
    };
    response.body(body).expect("the headers are valid")
}

/// The bytes, and then the end of the connection.
fn broken_after(start: Bytes) -> BoxBody<Bytes, Broken> {
    BoxBody::new(StreamBody::new(stream::iter([
        Ok(Frame::data(start)),
        Err(Broken),
    ])))
}

fn never(never: Infallible) -> Broken {
    match never {}
}

pub(super) fn answer(status: StatusCode) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: Body::Whole(Bytes::new()),
    }
}

pub(super) fn json_answer(status: StatusCode, value: &serde_json::Value) -> Answer {
    Answer {
        status,
        headers: vec![(CONTENT_TYPE, "application/json".to_owned())],
        body: Body::Whole(value.to_string().into()),
    }
}

/// An error as the specification has it.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    json_answer(
        status,
        &json!({ "errors": [{ "code": code, "message": message }] }),
    )
}

pub(crate) fn query_of(query: &str) -> BTreeMap<String, String> {
    pairs_of(query).collect()
}

/// The decoded pairs of a query or a form.
pub(crate) fn pairs_of(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|it| !it.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                let hex = String::from_utf8_lossy(&hex).into_owned();
                u8::from_str_radix(&hex, 16).unwrap_or(b'?')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
