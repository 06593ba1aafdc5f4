//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::respond::{Served, SharedRef, respond, text};
use crate::server::Phase;

/// Serves a connection until it ends. `number` tells it from others, so that not all end at once.
pub(crate) async fn serve(
    shared: SharedRef,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    number: u64,
    phase: watch::Receiver<Phase>,
) {
    // Without it each answer waits for an acknowledgement. A socket that refuses is closed already.
    stream.set_nodelay(true).unwrap_or_default();
    let age = age(shared.limits.age, number);
    match tls {
        None => http_1(shared, Served::Health, stream, age, phase).await,
        Some(tls) => {
            let handshake = tokio::time::timeout(shared.limits.handshake, tls.accept(stream));
            let Ok(Ok(stream)) = handshake.await else {
                let labels = [("reason", "handshake")];
                shared
                    .metrics
                    .count("sealpack_refused_requests_total", &labels);
                return;
            };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                http_2(shared, stream, age, phase).await;
            } else {
                http_1(shared, Served::All, stream, age, phase).await;
            }
        }
    }
}

/// Less than `most` by up to a quarter.
fn age(most: Duration, number: u64) -> Duration {
    // A prime, so that neighbours are far from each other.
    let part = u32::try_from(number.wrapping_mul(37) % 100).unwrap_or_default();
    most.saturating_sub(most / 4 * part / 100)
}

async fn http_1(
    shared: SharedRef,
    served: Served,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    age: Duration,
    phase: watch::Receiver<Phase>,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.idle)
        .max_buf_size(usize::try_from(shared.limits.header_bytes).unwrap_or(usize::MAX));
    let service = service_fn(move |request| answer(shared.clone(), served, request));
    drive(
        pin!(builder.serve_connection(TokioIo::new(stream), service)),
        age,
        phase,
    )
    .await;
}

async fn http_2(
    shared: SharedRef,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    age: Duration,
    phase: watch::Receiver<Phase>,
) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(shared.limits.streams)
        .max_header_list_size(shared.limits.header_bytes)
        // Who does not answer is gone.
        .keep_alive_interval(shared.limits.idle)
        .keep_alive_timeout(shared.limits.handshake);
    let service = service_fn(move |request| answer(shared.clone(), Served::All, request));
    drive(
        pin!(builder.serve_connection(TokioIo::new(stream), service)),
        age,
        phase,
    )
    .await;
}

/// Lets a connection work until it ends by itself, is too old, or has to go.
async fn drive<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    age: Duration,
    mut phase: watch::Receiver<Phase>,
) {
    tokio::select! {
        // How a connection ends is seen by who is at its other end.
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(age) => {}
        // An error means that the server is gone.
        _ = phase.wait_for(|it| *it == Phase::Draining) => {}
    }
    connection.as_mut().graceful_shutdown();
    drop(connection.await);
}

/// In a task of its own: if it panics, the other requests of the connection go on.
async fn answer(
    shared: SharedRef,
    served: Served,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let log = shared.log.clone();
    let task = tokio::spawn(async move { respond(&shared, served, request).await });
    Ok(task.await.unwrap_or_else(|error| {
        log.error(
            "a request was not answered",
            [("reason", error.to_string().into())],
        );
        text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a bug: the request was not answered\n",
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_do_not_end_at_once() {
        let most = Duration::from_mins(5);
        let ages: Vec<_> = (0..100).map(|it| age(most, it)).collect();
        assert!(ages.iter().all(|it| *it <= most && *it > most / 4 * 3));
        let mut distinct = ages.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 100);
    }
}
