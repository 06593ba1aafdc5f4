use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;
use tokio::sync::Semaphore;
use url::Url;

use super::RegistryStore;
use super::connections::Connections;
use super::host::Host;
use super::options::RegistryOptions;
use super::referrers::Merges;
use super::transport::{Endpoint, TransportError};
use crate::{Registry, Repository, StoreError};

/// A client of registries: connections, tokens and bounds, shared by all the stores it makes. One is
/// enough for a process.
#[derive(Clone, Debug)]
pub struct RegistryClient {
    shared: Arc<Shared>,
}

impl RegistryClient {
    /// Connects to nothing, and loads nothing, before the first request.
    pub fn new(options: RegistryOptions) -> Self {
        let concurrency = options.concurrency.max(1);
        Self {
            shared: Arc::new(Shared {
                options,
                connections: Connections::default(),
                hosts: Mutex::default(),
                requests: Semaphore::new(concurrency),
                downloads: Arc::new(Semaphore::new(concurrency)),
                merges: Merges::default(),
            }),
        }
    }

    /// The store that `repository` is.
    pub fn repository(&self, repository: &Repository) -> RegistryStore {
        RegistryStore::new(Endpoint {
            shared: self.shared.clone(),
            host: self.shared.host(repository.registry()),
            repository: repository.clone(),
        })
    }
}

/// What all requests of a client share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: RegistryOptions,
    connections: Connections,
    hosts: Mutex<BTreeMap<Registry, Arc<Host>>>,
    pub(super) requests: Semaphore,
    /// Apart from the rest, or an upload of what is being downloaded could wait for itself.
    pub(super) downloads: Arc<Semaphore>,
    pub(super) merges: Merges,
}

impl Shared {
    fn host(&self, registry: &Registry) -> Arc<Host> {
        self.hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(registry.clone())
            .or_insert_with(|| Arc::new(Host::new(registry, self.options.is_insecure(registry))))
            .clone()
    }

    /// Whether a server, `host[:port]`, was named as insecure.
    pub(super) fn is_insecure(&self, authority: &str) -> bool {
        authority
            .parse()
            .is_ok_and(|it| self.options.is_insecure(&it))
    }

    pub(super) fn client(&self, url: &Url, insecure: bool) -> Result<&Client, StoreError> {
        self.connections
            .client(url, insecure, &self.options)
            .map_err(|error| StoreError::Unavailable {
                place: url.origin().ascii_serialization(),
                action: "connect".to_owned(),
                source: error.into(),
            })
    }

    /// Waits before try number `attempt` + 1.
    pub(super) async fn pause(&self, attempt: u32, asked: Option<Duration>) {
        let delay = self.options.retries.delay(attempt, asked, random());
        tokio::time::sleep(delay).await;
    }

    /// Gives up on a document that takes too long in all.
    pub(super) async fn within_document_timeout<T>(
        &self,
        work: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        tokio::time::timeout(self.options.document_timeout, work)
            .await
            .unwrap_or(Err(TransportError::Slow))
    }
}

/// At least 0 and less than 1. Good enough to keep clients from trying in step.
#[expect(
    clippy::cast_precision_loss,
    reason = "a fraction need not have all its bits"
)]
fn random() -> f64 {
    // Each state is keyed anew by the standard library.
    (RandomState::new().hash_one(()) >> 11) as f64 / (1_u64 << 53) as f64
}
