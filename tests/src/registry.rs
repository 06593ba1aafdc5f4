//! A registry of our own, in this process, on loopback: right by the OCI distribution protocol 1.1,
//! but for the faults and quirks that its [`Switches`] turn on. It logs what it is asked.

mod access;
mod blobs;
mod manifests;
mod server;
mod storage;

pub(crate) use server::query_of;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use oci::Digest;

pub use access::Login;
pub(crate) use server::pairs_of;

/// What is wrong with a [`TestRegistry`], or special. All off: nothing is.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::exhaustive_structs,
    clippy::struct_excessive_bools,
    reason = "each is a switch, set by name with `..Switches::default()`"
)]
pub struct Switches {
    /// Who may do what.
    pub login: Login,
    /// No referrers API, and no `OCI-Subject`.
    pub no_referrers_api: bool,
    /// The referrers API answers with this media type, and a text that is no listing.
    pub referrers_media_type: Option<&'static str>,
    /// `?artifactType=` changes nothing.
    pub ignore_filter: bool,
    /// Listings give each referrer this artifact type.
    pub wrong_artifact_type: Option<&'static str>,
    /// Entries of a listing on one page, at most.
    pub page_size: Option<usize>,
    /// Each page of a listing says that it has a next one: itself.
    pub endless_pages: bool,
    /// The next page of a listing is said to be at this server.
    pub next_page_at: Option<String>,
    /// Blobs are not taken over from other repositories.
    pub decline_mounts: bool,
    /// Blobs are sent whole, whatever part is asked for.
    pub no_ranges: bool,
    /// HEAD is not allowed on manifests.
    pub no_head: bool,
    /// `Docker-Content-Digest` is missing.
    pub no_digest_header: bool,
    /// The first byte of all content that is sent is another one.
    pub wrong_content: bool,
    /// So many bytes more than there are in blobs are sent, without saying how many.
    pub excess: Option<usize>,
    /// Blobs do not end.
    pub endless: bool,
    /// Blobs and uploads are redirected to this server (`http://HOST`), under `/elsewhere/`.
    pub elsewhere: Option<String>,
    /// `If-Match` is kept, and manifests have an `ETag`.
    pub conditional: bool,
    /// So many times, whoever writes a fallback tag is overwritten at once by another client, that
    /// had not seen it.
    pub lost_races: usize,
    /// So many times, a manifest that is pushed is not listed among the referrers of its subject.
    pub lost_referrers: usize,
    /// So many times, a manifest with a subject that is pushed is listed, but cannot be found.
    pub lost_manifests: usize,
    /// `OCI-Subject` names another manifest than the subject.
    pub wrong_subject: bool,
    /// What goes wrong some of the time.
    pub faults: Vec<Fault>,
}

/// What goes wrong some of the time.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Fault {
    /// The requests that this is about: those in whose log line this stands.
    pub on: &'static str,
    /// So many of these pass.
    pub after: usize,
    /// So many fail, then.
    pub times: usize,
    /// How.
    pub kind: FaultKind,
}

/// How a request fails.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum FaultKind {
    /// By this status, and with this `Retry-After`.
    Status(u16, Option<&'static str>),
    /// The connection breaks after so many bytes of what is sent, or received.
    Drop(usize),
    /// The answer comes after so long.
    Slow(Duration),
    /// It is served, but the connection breaks in place of the answer.
    Lost,
}

impl Fault {
    /// The first `times` requests in whose log line `on` stands fail.
    pub fn first(times: usize, on: &'static str, kind: FaultKind) -> Self {
        Self {
            on,
            after: 0,
            times,
            kind,
        }
    }
}

/// A running registry. Ends when it is dropped.
#[derive(Debug)]
pub struct TestRegistry {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestRegistry {
    /// Starts on a free port of 127.0.0.1, on a thread of its own: for tests with and without an
    /// asynchronous runtime.
    ///
    /// # Panics
    /// If there is no loopback.
    pub fn start(switches: Switches) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State::new(address, switches));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let served = state.clone();
        let thread = std::thread::spawn(move || server::run(listener, &served, stopped));
        Self {
            address,
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What it was asked so far, in order: `METHOD PATH?QUERY`.
    pub fn requests(&self) -> Vec<String> {
        let log = self.state.log();
        log.iter().map(|it| it.line.clone()).collect()
    }

    /// What it was asked since it was last asked this.
    pub fn take_requests(&self) -> Vec<String> {
        let log = std::mem::take(&mut *self.state.log());
        log.into_iter().map(|it| it.line).collect()
    }

    /// The `Authorization` of each request so far.
    pub fn authorizations(&self) -> Vec<Option<String>> {
        let log = self.state.log();
        log.iter().map(|it| it.authorization.clone()).collect()
    }

    /// The most requests that were served at the same time so far.
    pub fn most_at_once(&self) -> usize {
        self.state.most_at_once.load(Ordering::Relaxed)
    }

    /// Turns switches while it runs.
    pub fn set(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.state.switches());
    }

    /// Puts a blob there, past the protocol.
    pub fn put_blob(&self, repository: &str, content: impl Into<Bytes>) -> Digest {
        let content = content.into();
        let digest = Digest::of(&content);
        self.state
            .storage()
            .repository(repository)
            .blobs
            .insert(digest.to_string(), content);
        digest
    }

    /// Puts a manifest there, past the protocol and unchecked; under a tag, if there is one.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        content: impl Into<Bytes>,
    ) -> Digest {
        let content = content.into();
        let digest = Digest::of(&content);
        self.state
            .storage()
            .repository(repository)
            .put(tag, &digest, media_type, content);
        digest
    }

    /// The manifest that a tag names, past the protocol.
    pub fn tagged(&self, repository: &str, tag: &str) -> Option<Bytes> {
        let mut storage = self.state.storage();
        let repository = storage.repository(repository);
        let digest = repository.tags.get(tag)?;
        Some(repository.manifests.get(digest)?.content.clone())
    }

    /// How many manifests a repository holds.
    pub fn manifests(&self, repository: &str) -> usize {
        let mut storage = self.state.storage();
        storage.repository(repository).manifests.len()
    }

    /// Uploads that were begun, and neither ended nor cancelled.
    pub fn open_uploads(&self) -> usize {
        self.state.storage().uploads.len()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has failed the test by its broken connection already.
            drop(thread.join());
        }
    }
}

/// What all connections share.
#[derive(Debug)]
struct State {
    address: SocketAddr,
    switches: Mutex<Switches>,
    storage: Mutex<storage::Storage>,
    log: Mutex<Vec<Logged>>,
    tokens: Mutex<BTreeMap<String, access::Token>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[derive(Debug)]
struct Logged {
    line: String,
    authorization: Option<String>,
}

impl State {
    fn new(address: SocketAddr, switches: Switches) -> Self {
        Self {
            address,
            switches: Mutex::new(switches),
            storage: Mutex::default(),
            log: Mutex::default(),
            tokens: Mutex::default(),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        }
    }

    fn switches(&self) -> MutexGuard<'_, Switches> {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn storage(&self) -> MutexGuard<'_, storage::Storage> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Vec<Logged>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tokens(&self) -> MutexGuard<'_, BTreeMap<String, access::Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that this request meets, if any.
    fn fault(&self, line: &str) -> Option<FaultKind> {
        let mut switches = self.switches();
        let fault = switches
            .faults
            .iter_mut()
            .find(|it| it.times > 0 && line.contains(it.on))?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times -= 1;
        Some(fault.kind.clone())
    }
}
