//! The server: takes connections, looks at files, and ends in order.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::connection;
use crate::files;
use crate::judge::Judge;
use crate::limits::Limits;
use crate::log::{Log, chain};
use crate::metrics::Metrics;
use crate::respond::{Shared, SharedRef};
use crate::review::{Reviewer, Settings};
use crate::tls::{Certificate, CertificateError};

/// A server that is to be run.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Server {
    /// Where it is asked, by TLS.
    pub listener: TcpListener,
    /// Where it is asked for its health alone, without TLS.
    pub health: Option<TcpListener>,
    /// Who it is.
    pub certificate: Certificate,
    /// Who judges.
    pub judge: Arc<dyn Judge>,
    /// What to ask about, and what follows.
    pub settings: Settings,
    /// What clients can take of it.
    pub limits: Limits,
    /// Where it tells what it does.
    pub log: Log,
}

/// Tells a running server what to do.
#[derive(Clone, Debug)]
pub struct Control {
    reload: mpsc::Sender<()>,
    stop: watch::Sender<Option<Stop>>,
}

/// The other end of it: what a server is told.
#[derive(Debug)]
pub struct Told {
    reload: mpsc::Receiver<()>,
    stop: watch::Receiver<Option<Stop>>,
}

/// How to end.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum Stop {
    /// In order: what is in flight ends first.
    InOrder,
    /// At once.
    Now,
}

/// How far the end is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Running,
    /// Connections are told to go.
    Draining,
}

impl Control {
    /// Both ends.
    pub fn new() -> (Self, Told) {
        let (reload, reloads) = mpsc::channel(1);
        let (stop, stops) = watch::channel(None);
        let told = Told {
            reload: reloads,
            stop: stops,
        };
        (Self { reload, stop }, told)
    }

    /// Reads all files again, whether they look changed or not.
    pub fn reload(&self) {
        // One that waits is enough.
        self.reload.try_send(()).unwrap_or_default();
    }

    /// Ends the server: the first time in order, then at once.
    pub fn stop(&self) {
        self.stop.send_modify(|it| {
            *it = Some(match it {
                None => Stop::InOrder,
                Some(_) => Stop::Now,
            });
        });
    }
}

impl Server {
    /// Serves until it is told to end.
    pub async fn run(self, mut told: Told) -> Result<(), ServeError> {
        let config = self.certificate.config().map_err(ServeError::Certificate)?;
        let tls = TlsAcceptor::from(config);
        let shared = Arc::new(Shared {
            reviewer: Reviewer {
                judge: Arc::clone(&self.judge),
                settings: self.settings,
                images: self.limits.images,
            },
            limits: self.limits,
            metrics: Metrics::default(),
            log: self.log,
            ending: AtomicBool::new(false),
            permits: Semaphore::new(self.limits.requests),
            waiting: AtomicUsize::new(0),
        });
        let address = |it: &TcpListener| it.local_addr().map_or(String::new(), |it| it.to_string());
        let mut fields = vec![("listen", address(&self.listener).into())];
        if let Some(health) = &self.health {
            fields.push(("health", address(health).into()));
        }
        shared.log.info("serving", fields);

        let (phase, phases) = watch::channel(Phase::Running);
        let mut tasks = JoinSet::new();
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        tasks.spawn(accept(
            Arc::clone(&shared),
            self.listener,
            Some(tls),
            Arc::clone(&slots),
            phases.clone(),
        ));
        if let Some(health) = self.health {
            // Not in the way of the others, nor they in its.
            let own = Arc::new(Semaphore::new(HEALTH_CONNECTIONS));
            tasks.spawn(accept(Arc::clone(&shared), health, None, own, phases));
        }
        let mut stop = told.stop.clone();
        let looking = look(&shared, &self.judge, &self.certificate, &mut told.reload);
        tokio::select! {
            () = looking => {}
            // An error means that nobody can tell it any more.
            _ = stop.wait_for(Option::is_some) => {}
        }
        end(&shared, &phase, &slots, &mut stop).await;
        tasks.shutdown().await;
        shared.log.info("ended", []);
        Ok(())
    }
}

/// Connections for health alone.
const HEALTH_CONNECTIONS: usize = 32;

/// Takes connections for as long as the task lives, as many at once as there are `slots`. A connection
/// outlives it: who ends the server waits for all slots.
async fn accept(
    shared: SharedRef,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    slots: Arc<Semaphore>,
    phase: watch::Receiver<Phase>,
) {
    let mut number = 0;
    let mut draining = phase.clone();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // An error means that the server is gone.
            _ = draining.wait_for(|it| *it == Phase::Draining) => return,
        };
        let stream: TcpStream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, say. It may pass.
                shared.log.error(
                    "no connection could be taken",
                    [("reason", chain(&error).into())],
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        number += 1;
        shared.metrics.count("sealpack_connections_total", &[]);
        let (shared, tls, phase) = (Arc::clone(&shared), tls.clone(), phase.clone());
        tokio::spawn(async move {
            let _open = Open::new(&shared);
            connection::serve(Arc::clone(&shared), stream, tls, number, phase).await;
            drop(slot);
        });
    }
}

/// A connection that is counted for as long as it is there.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.metrics.change("sealpack_connections", 1);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics.change("sealpack_connections", -1);
    }
}

/// Looks at the files, and reads those again that changed. Does not end.
async fn look(
    shared: &Shared,
    judge: &Arc<dyn Judge>,
    certificate: &Certificate,
    told: &mut mpsc::Receiver<()>,
) {
    let certificates = certificate.watched();
    let mut of_judge = files::stamp(&judge.watched());
    let mut of_certificate = files::stamp(&certificates);
    loop {
        let asked = tokio::select! {
            () = tokio::time::sleep(shared.limits.look_every) => false,
            asked = told.recv() => match asked {
                Some(()) => true,
                None => pending().await,
            },
        };
        // Before they are read: what changes meanwhile is seen the next time.
        let stamp = files::stamp(&certificates);
        if asked || stamp != of_certificate {
            of_certificate = stamp;
            let outcome = certificate.reload();
            let outcome = outcome.as_ref().map(|()| String::new());
            report(shared, "certificate", outcome.map_err(|it| it as _));
        }
        let stamp = files::stamp(&judge.watched());
        if asked || stamp != of_judge {
            of_judge = stamp;
            let (worker, judge) = (tokio::task::spawn_blocking, Arc::clone(judge));
            let outcome = worker(move || judge.reload()).await;
            match &outcome {
                Ok(Ok(now)) => report(shared, "policies", Ok(now.clone())),
                Ok(Err(error)) => report(shared, "policies", Err(error)),
                Err(error) => report(shared, "policies", Err(error)),
            }
        }
    }
}

/// Says what became of a reload: loudly where the old stays in force.
fn report(shared: &Shared, what: &'static str, outcome: Result<String, &dyn std::error::Error>) {
    let word = if outcome.is_ok() {
        "reloaded"
    } else {
        "refused"
    };
    let labels = [("what", what), ("outcome", word)];
    shared.metrics.count("sealpack_reloads_total", &labels);
    match outcome {
        Ok(now) => {
            let fields = [("what", what.into()), ("now", now.into())];
            shared.log.info("reloaded", fields);
        }
        Err(error) => {
            let fields = [("what", what.into()), ("reason", chain(error).into())];
            shared
                .log
                .error("not reloaded: what was in force stays in force", fields);
        }
    }
}

/// Not ready, still answering for a while, then connections are told to go and what is in flight ends.
async fn end(
    shared: &Shared,
    phase: &watch::Sender<Phase>,
    slots: &Semaphore,
    stop: &mut watch::Receiver<Option<Stop>>,
) {
    shared.ending.store(true, Ordering::Relaxed);
    shared.log.info("told to end", []);
    let in_order = async {
        tokio::time::sleep(shared.limits.lame_duck).await;
        phase.send_replace(Phase::Draining);
        let all = u32::try_from(shared.limits.connections).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(shared.limits.drain, slots.acquire_many(all)).await;
        if drained.is_err() {
            shared
                .log
                .error("connections are still open, and are cut off", []);
        }
    };
    tokio::select! {
        () = in_order => {}
        _ = stop.wait_for(|it| *it == Some(Stop::Now)) => {}
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Its certificate cannot be used.
    #[error(transparent)]
    Certificate(CertificateError),
}
