//! The HTTP of a Docker daemon that tests have.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::{DaemonFault, State};

/// The connection breaks: by a fault that was asked for.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for Broken {}

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Serves until `stopped`.
pub(super) fn run(
    listener: std::os::unix::net::UnixListener,
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
        let listener = tokio::net::UnixListener::from_std(listener).expect("it is a socket");
        let accept = async {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let state = state.clone();
                tokio::spawn(async move {
                    let keeps = !state.switches.closes;
                    let service = service_fn(|request| serve(state.clone(), request));
                    // The client sees how a connection ends, and nobody else has to.
                    drop(
                        http1::Builder::new()
                            .keep_alive(keeps)
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

async fn serve(state: Arc<State>, request: Request<Incoming>) -> Result<Answer, Broken> {
    let (parts, mut incoming) = request.into_parts();
    let path = parts.uri.path();
    // `/v1.41/…`, or without a version.
    let path = match path.strip_prefix("/v").and_then(|it| it.split_once('/')) {
        Some((version, rest)) if version.contains('.') => format!("/{rest}"),
        _ => path.to_owned(),
    };
    let query = parts.uri.query().map(|it| format!("?{it}"));
    let line = format!("{} {path}{}", parts.method, query.unwrap_or_default());
    state.inner().log.push(line.clone());
    let fault = state.fault(&line);
    let limit = match fault {
        Some(DaemonFault::Drop(at)) => Some(at),
        _ => None,
    };
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        // An archive that breaks off is none.
        let frame = frame.ok().ok_or(Broken)?;
        body.extend_from_slice(frame.data_ref().map_or(&[], |it| it));
        if limit.is_some_and(|at| body.len() >= at) {
            return Err(Broken);
        }
    }
    match fault {
        None => Ok(route(
            &state,
            &parts.method,
            &path,
            parts.uri.query(),
            &body,
        )),
        Some(DaemonFault::Drop(_)) => Err(Broken),
        Some(DaemonFault::Lie) => Ok(whole(StatusCode::OK, Bytes::new())),
        Some(DaemonFault::Status(status, words)) => {
            let status = StatusCode::from_u16(status).expect("tests name valid statuses");
            Ok(json_answer(status, &json!({"message": words})))
        }
        Some(DaemonFault::ErrorLine(words)) => Ok(error_line(words)),
        Some(DaemonFault::Endless(text)) => {
            let chunk = Bytes::from_static(text.as_bytes());
            let chunks = stream::repeat_with(move || Ok(Frame::data(chunk.clone())));
            let body = BoxBody::new(StreamBody::new(chunks));
            Ok(Response::new(body))
        }
        Some(DaemonFault::Gives(bytes)) => Ok(whole(StatusCode::OK, bytes.into())),
        Some(DaemonFault::Stalls(text)) => {
            let start = stream::iter([Ok(Frame::data(Bytes::from_static(text.as_bytes())))]);
            let body = BoxBody::new(StreamBody::new(start.chain(stream::pending())));
            Ok(Response::new(body))
        }
        Some(DaemonFault::Silent) => std::future::pending().await,
    }
}

fn route(state: &State, method: &Method, path: &str, query: Option<&str>, body: &[u8]) -> Answer {
    let containerd = state.switches.containerd;
    if path == "/version" {
        let version = json!({"ApiVersion": state.switches.api, "Os": "linux", "Arch": "amd64"});
        return json_answer(StatusCode::OK, &version);
    }
    if path == "/info" {
        let driver = ["driver-type", "io.containerd.snapshotter.v1"];
        let status = if containerd {
            json!([driver])
        } else {
            Value::Null
        };
        return json_answer(StatusCode::OK, &json!({"DriverStatus": status}));
    }
    if path == "/images/load" {
        return match state.load(body) {
            Ok(words) => json_answer(StatusCode::OK, &json!({"stream": words})),
            Err(words) => error_line(&words),
        };
    }
    let mut inner = state.inner();
    if path == "/images/json" {
        return json_answer(StatusCode::OK, &inner.list());
    }
    let Some((name, action)) = path
        .strip_prefix("/images/")
        .and_then(|it| it.rsplit_once('/'))
    else {
        return missing(path);
    };
    match action {
        "json" => inner.inspect(name).map_or_else(
            || missing(name),
            |shown| json_answer(StatusCode::OK, &shown),
        ),
        "history" => inner
            .history(name)
            .map_or_else(|| missing(name), |told| json_answer(StatusCode::OK, &told)),
        "get" => match inner.save(name) {
            Some(archive) => whole(StatusCode::OK, archive.into()),
            None => missing(name),
        },
        "tag" if *method == Method::POST => {
            let query = crate::registry::query_of(query.unwrap_or_default());
            let (Some(repo), Some(tag)) = (query.get("repo"), query.get("tag")) else {
                return missing("repo and tag");
            };
            let Some(id) = inner.find(name).map(|(id, _)| id.clone()) else {
                return missing(name);
            };
            inner.names.insert(format!("{repo}:{tag}"), id);
            whole(StatusCode::CREATED, Bytes::new())
        }
        _ => missing(path),
    }
}

fn missing(what: &str) -> Answer {
    let message = format!("No such image: {what}");
    json_answer(StatusCode::NOT_FOUND, &json!({ "message": message }))
}

fn error_line(words: &str) -> Answer {
    let line = json!({"errorDetail": {"message": words}, "error": words});
    whole(
        StatusCode::OK,
        format!("{{\"status\":\"Loading\"}}\r\n{line}\r\n").into(),
    )
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    whole(status, value.to_string().into())
}

fn whole(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body).boxed());
    *answer.status_mut() = status;
    answer
}
