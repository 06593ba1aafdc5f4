//! A client of registries, that makes stores.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use net::{Client, Connections, Peer, TransportError};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::RegistryStore;
use super::host::Host;
use super::mirrored::{MirroredStore, Notes};
use super::options::RegistryOptions;
use super::referrers::Merges;
use super::transport::Endpoint;
use crate::{Registry, Repository, StoreError};

/// A client of registries: connections, tokens and bounds, shared by all the stores it makes. One is
/// enough for a process.
#[derive(Clone, Debug)]
pub struct RegistryClient {
    shared: Arc<Shared>,
    /// Mirrors are not waited for as long: there is always somebody else to ask.
    hasty: Arc<Shared>,
    notes: Notes,
}

impl RegistryClient {
    /// Connects to nothing, and loads nothing, before the first request.
    pub fn new(options: RegistryOptions) -> Self {
        let notes = options.credentials.notes().to_vec();
        let mut hasty = options.clone();
        hasty.retries.count = hasty.retries.count.min(1);
        Self {
            shared: Arc::new(Shared::new(options)),
            hasty: Arc::new(Shared::new(hasty)),
            notes: Arc::new(Mutex::new(notes)),
        }
    }

    /// Whether `registry` takes the credential that we have for it as a whole. Refused if it does
    /// not.
    pub async fn check_login(&self, registry: &Registry) -> Result<LoginCheck, StoreError> {
        let host = self.shared.host(registry, false);
        let endpoint = Endpoint {
            shared: self.shared.clone(),
            host: host.clone(),
            repository: Repository::root(registry.clone()),
        };
        endpoint.log_in().await?;
        Ok(if host.has_asked() {
            LoginCheck::Taken
        } else {
            LoginCheck::NotAsked
        })
    }

    /// The store that `repository` is.
    pub fn repository(&self, repository: &Repository) -> RegistryStore {
        let insecure = self.shared.is_insecure_below(repository);
        store(&self.shared, repository, insecure)
    }

    /// Until when the registry of `repository` wants to be left alone (`Retry-After`), for who cannot
    /// wait so long. Requests wait for it by themselves.
    pub fn throttled(&self, repository: &Repository) -> watch::Receiver<Option<Instant>> {
        let insecure = self.shared.is_insecure_below(repository);
        let host = self.shared.host(repository.registry(), insecure);
        host.throttled()
    }

    /// The same, to read from: from its mirrors first, if it has any.
    pub fn mirrored(&self, repository: &Repository) -> Result<MirroredStore, StoreError> {
        let options = &self.shared.options;
        let (mirrors, located) =
            options
                .mirrors
                .sources(repository)
                .map_err(|problem| StoreError::Malformed {
                    place: repository.to_string(),
                    problem,
                })?;
        let mirrors = mirrors.into_iter().map(|it| {
            let mirror = store(&self.hasty, &it.repository, it.insecure);
            (mirror, it.serves)
        });
        Ok(MirroredStore::new(
            mirrors.collect(),
            store(
                &self.shared,
                &located.repository,
                located.insecure || options.is_insecure_below(&located.repository),
            ),
            self.repository(repository),
            self.notes.clone(),
            &options.temporary,
        ))
    }

    /// Whether `repository` is not to be used at all, as a file says.
    pub fn is_blocked(&self, repository: &Repository) -> bool {
        self.shared.options.mirrors.is_blocked(repository)
    }

    /// What was odd about mirrors since this was last asked.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn store(shared: &Arc<Shared>, repository: &Repository, insecure: bool) -> RegistryStore {
    RegistryStore::new(Endpoint {
        shared: shared.clone(),
        host: shared.host(repository.registry(), insecure),
        repository: repository.clone(),
    })
}

/// What a registry says to a login.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum LoginCheck {
    /// It asked for a credential, and took ours.
    Taken,
    /// It lets anybody in, so ours was never sent.
    NotAsked,
}

/// What all requests of a client share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: RegistryOptions,
    net: net::Options,
    connections: Connections,
    /// By name, and whether it is insecure for what is asked.
    hosts: Mutex<BTreeMap<(Registry, bool), Arc<Host>>>,
    pub(super) requests: Semaphore,
    /// Apart from the rest, or an upload of what is being downloaded could wait for itself.
    pub(super) downloads: Arc<Semaphore>,
    pub(super) merges: Merges,
}

impl Shared {
    fn new(options: RegistryOptions) -> Self {
        let concurrency = options.concurrency.max(1);
        Self {
            net: options.net(),
            options,
            connections: Connections::default(),
            hosts: Mutex::default(),
            requests: Semaphore::new(concurrency),
            downloads: Arc::new(Semaphore::new(concurrency)),
            merges: Merges::default(),
        }
    }

    fn host(&self, registry: &Registry, insecure: bool) -> Arc<Host> {
        let insecure = insecure || self.options.is_insecure(registry);
        self.hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry((registry.clone(), insecure))
            .or_insert_with(|| {
                let plain = self.options.plain_in_private && registry.is_private();
                Arc::new(Host::new(registry, insecure, plain))
            })
            .clone()
    }

    /// Whether `repository` was named as insecure, here or in a file.
    fn is_insecure_below(&self, repository: &Repository) -> bool {
        self.options.mirrors.is_insecure(repository) || self.options.is_insecure_below(repository)
    }

    /// Whether a server, `host[:port]`, was named as insecure.
    pub(super) fn is_insecure(&self, authority: &str) -> bool {
        authority
            .parse()
            .is_ok_and(|it| self.options.is_insecure(&it))
    }

    pub(super) fn client(&self, peer: Peer<'_>) -> Result<Client, StoreError> {
        self.connections
            .client(peer, &self.net)
            .map_err(|error| StoreError::Unavailable {
                place: peer.url.origin().ascii_serialization(),
                action: "connect".to_owned(),
                source: error.into(),
            })
    }

    /// Waits before try number `attempt` + 1.
    pub(super) async fn pause(&self, attempt: u32, asked: Option<Duration>) {
        self.net.retries.pause(attempt, asked).await;
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::Mirrors;

    #[test]
    fn a_registry_is_insecure_for_what_it_is_said_to_be_insecure_for() {
        let registry = "r.example".parse().unwrap();
        let shared = Shared::new(RegistryOptions::default());
        assert!(shared.host(&registry, true).insecure);
        assert!(!shared.host(&registry, false).insecure);
        assert!(!shared.is_insecure("r.example"));
        let shared = Shared::new(RegistryOptions {
            insecure: vec!["r.example".to_owned()],
            ..RegistryOptions::default()
        });
        assert!(shared.host(&registry, false).insecure);
        assert!(shared.is_insecure("r.example:5000"));
        assert!(!shared.is_insecure("other.example"));
    }

    #[test]
    fn a_file_says_what_is_insecure() {
        let text = "[[registry]]\nlocation = 'r.example/plain'\ninsecure = true";
        let mirrors = Mirrors::default().with_conf(Path::new("registries.conf"), text);
        let client = RegistryClient::new(RegistryOptions {
            mirrors: mirrors.unwrap(),
            ..RegistryOptions::default()
        });
        let is_insecure = |name: &str| {
            let store = client.repository(&name.parse().unwrap());
            store.endpoint.host.insecure
        };
        assert!(is_insecure("r.example/plain/app"));
        assert!(!is_insecure("r.example/app"));
    }
}
