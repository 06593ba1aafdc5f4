//! Repositories of registries, by the OCI distribution protocol, version 1.1.
//!
//! The parts, from the outside in: [`RegistryStore`] is what one repository can do;
//! `manifests`, `referrers`, `download` and `upload` are the requests that this takes;
//! `transport` sends them: by the right scheme (`scheme`), with credentials (`host`, `challenge`, `token`), to where they may go
//! (`net::address`, `link`), again where that helps, over [`net::Connections`]. A [`MirroredStore`] reads from
//! other places with the same content first, as [`Mirrors`] say.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>

pub(crate) mod challenge;
mod client;
mod download;
mod host;
pub(crate) mod link;
mod manifests;
mod mirrored;
pub(crate) mod mirrors;
mod options;
mod problem;
mod referrers;
mod scheme;
mod settings;
mod token;
mod token_server;
mod transport;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use net::header::HeaderMap;

use self::manifests::{Found, Recent};
use self::referrers::Change;
use self::token::Access;
use self::transport::Endpoint;
use super::{check, listed};
use crate::{
    Content, Descriptor, Digest, Manifest, Repository, Selector, Store, StoreError, Tag, Upload,
};

pub use net::{
    ClientCertificate, NameError, NoName, ProxySettings, Retries, TlsProblem, TrustSettings,
};

pub use client::{LoginCheck, RegistryClient};
pub use mirrored::MirroredStore;
pub use mirrors::{Mirrors, MirrorsError};
pub use options::RegistryOptions;
pub use problem::{RegistryContent, RegistryRefusal, RegistryRequest, RegistrySilence};
pub use settings::{MirrorSettings, RegistryOptionsError, RegistrySettings};

/// See [`StoreError::answer`].
pub(super) fn answer_of<'e>(
    cause: &'e (dyn Error + Send + Sync + 'static),
) -> Option<&'e RegistryRefusal> {
    problem::answer_of(mirrored::cause_of(cause))
}

/// See [`StoreError::silence`].
pub(super) fn silence_of<'e>(
    cause: &'e (dyn Error + Send + Sync + 'static),
) -> Option<&'e RegistrySilence> {
    mirrored::cause_of(cause).downcast_ref()
}

/// One repository of a registry. Made by [`RegistryClient::repository`]; cheap to make and to clone.
#[derive(Clone)]
pub struct RegistryStore {
    endpoint: Endpoint,
    recent: Arc<Recent>,
    /// What names were resolved to. It is apart from what was pushed: who looks at that again wants to
    /// know what the registry has.
    resolved: Arc<Recent>,
}

impl RegistryStore {
    fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            recent: Arc::default(),
            resolved: Arc::default(),
        }
    }

    /// Whether we may read: what `selector` names, if it is there. Refused if we may not.
    pub async fn check_read(&self, selector: &Selector) -> Result<Option<Descriptor>, StoreError> {
        match self.resolve(selector).await {
            Ok(descriptor) => Ok(Some(descriptor)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is what `selector` names, by a request for its head alone.
    pub async fn has(&self, selector: &Selector) -> Result<bool, StoreError> {
        self.endpoint.has(selector).await
    }

    /// Whether we may write: begins an upload, and cancels it. Refused if we may not.
    pub async fn check_write(&self) -> Result<(), StoreError> {
        self.endpoint.try_upload().await
    }

    /// Whether the registry is there, and takes our credentials.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.endpoint.ping().await
    }

    fn parse(&self, target: &Descriptor, content: &[u8]) -> Result<Manifest, StoreError> {
        check(target, content)?;
        let limits = self.endpoint.shared.options.limits;
        Manifest::parse(&target.media_type, content, &limits).map_err(|source| {
            StoreError::Manifest {
                digest: target.digest.clone(),
                source,
            }
        })
    }

    /// Pushes a manifest; the registry says in its answer whether it lists the manifest among the
    /// referrers of its subject.
    async fn push(
        &self,
        target: &Descriptor,
        manifest: &Manifest,
        content: Bytes,
    ) -> Result<Listing, StoreError> {
        let selector = Selector::Digest(target.digest.clone());
        let answer = self
            .endpoint
            .put_manifest(
                &selector,
                &target.media_type,
                content.clone(),
                HeaderMap::new(),
            )
            .await?;
        self.recent.keep(&target.digest, content);
        let Some(subject) = manifest.subject() else {
            return Ok(Listing::None);
        };
        let kept = answer.headers.get("oci-subject");
        if kept.is_some_and(|it| it.as_bytes() == subject.digest.as_str().as_bytes()) {
            let path = self.endpoint.repository.path();
            self.endpoint.host.learn_referrers(path);
            Ok(Listing::Theirs(subject.digest.clone()))
        } else {
            Ok(Listing::Ours(subject.digest.clone()))
        }
    }

    /// Registries that list referrers themselves lose some that come at the same time: those are pushed
    /// again, one after the other. One that has lost some from its list may have lost others that it
    /// still lists.
    async fn push_lost(&self, subject: &Digest, pushed: &[&Pushed]) -> Result<(), StoreError> {
        const ROUNDS: usize = 3;
        for round in 0..ROUNDS {
            let listed = match self.endpoint.referrers(subject).await {
                Ok(listed) => listed,
                // More than we read, of which ours are some.
                Err(StoreError::TooMany { .. }) => return Ok(()),
                Err(error) => return Err(error),
            };
            let listed: BTreeSet<_> = listed.iter().map(|it| &it.digest).collect();
            let is_listed = |it: &&Pushed| listed.contains(&it.target.digest);
            let (there, mut lost): (Vec<&Pushed>, Vec<&Pushed>) =
                pushed.iter().copied().partition(is_listed);
            if round > 0 || !lost.is_empty() {
                lost.extend(self.missing(there).await?);
            }
            if lost.is_empty() {
                return Ok(());
            }
            for it in lost {
                self.push(&it.target, &it.manifest, it.content.clone())
                    .await?;
            }
        }
        Err(self.endpoint.malformed(format!(
            "it does not keep all referrers of {subject} that it took"
        )))
    }

    /// Those that cannot be found.
    async fn missing<'p>(&self, pushed: Vec<&'p Pushed>) -> Result<Vec<&'p Pushed>, StoreError> {
        let look = |it: &&'p Pushed| self.endpoint.contains(&it.target, Access::Push).boxed();
        let asked: Vec<BoxFuture<'_, _>> = pushed.iter().map(look).collect();
        let asked = stream::iter(asked).buffered(self.endpoint.shared.options.concurrency.max(1));
        let found: Vec<bool> = asked.try_collect().await?;
        let missing = pushed.into_iter().zip(found).filter(|(_, found)| !found);
        Ok(missing.map(|(it, _)| it).collect())
    }
}

/// A manifest, about to be pushed among others.
struct Pushed {
    target: Descriptor,
    manifest: Manifest,
    content: Bytes,
}

/// Who lists a manifest among the referrers of its subject.
enum Listing {
    /// It has no subject.
    None,
    /// The registry.
    Theirs(Digest),
    /// We, in the fallback index.
    Ours(Digest),
}

#[async_trait]
impl Store for RegistryStore {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        let (descriptor, content) = self.endpoint.resolve(selector).await?;
        self.resolved.keep(&descriptor.digest, content);
        Ok(descriptor)
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        self.endpoint.contains(target, Access::Pull).await
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        if target.media_type.is_manifest() {
            let resolved = self.resolved.find(&target.digest);
            let content = match resolved.filter(|it| it.len() as u64 == target.size) {
                Some(content) => content,
                None => self.endpoint.fetch_manifest(target).await?,
            };
            let once = async { Ok(content) };
            return Ok(Content::checked(target, stream::once(once)));
        }
        self.endpoint.fetch_blob(target).await
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        let other = match self.endpoint.look(target, Access::Push).await? {
            Found::Same => return Ok(()),
            Found::Other(other) => Some(other),
            Found::Nothing => None,
        };
        let pushed = self.endpoint.push_blob(target, upload).await;
        match (pushed, other) {
            // The content is not at hand: then it is the length that keeps what is there from being it.
            (Err(StoreError::Unavailable { source, .. }), Some(other))
                if source.is::<std::io::Error>() =>
            {
                let mismatch = StoreError::SizeMismatch {
                    digest: target.digest.clone(),
                    expected: target.size,
                    presented: other.size,
                    came: None,
                };
                Err(other.came_so(mismatch))
            }
            (pushed, _) => pushed,
        }
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        let manifest = self.parse(target, &content)?;
        let listing = match manifest.subject() {
            Some(subject) => {
                let turn = self.endpoint.turn(&subject.digest);
                let _turn = turn.lock().await;
                self.push(target, &manifest, content).await?
            }
            None => self.push(target, &manifest, content).await?,
        };
        match listing {
            Listing::Ours(subject) => {
                let change = Change::Add(Box::new(listed(target, &manifest)));
                self.endpoint.change_fallback(&subject, [change]).await
            }
            Listing::Theirs(_) | Listing::None => Ok(()),
        }
    }

    async fn push_manifests(&self, manifests: Vec<(Descriptor, Bytes)>) -> Result<(), StoreError> {
        let concurrency = self.endpoint.shared.options.concurrency.max(1);
        let results: Vec<_> = stream::iter(manifests)
            .map(|(target, content)| async move {
                let manifest = self.parse(&target, &content)?;
                let listing = self.push(&target, &manifest, content.clone()).await?;
                let pushed = Pushed {
                    target,
                    manifest,
                    content,
                };
                Ok((listing, pushed))
            })
            .buffer_unordered(concurrency)
            .collect()
            .await;
        let mut ours: BTreeMap<&Digest, Vec<Change>> = BTreeMap::new();
        let mut theirs: BTreeMap<&Digest, Vec<&Pushed>> = BTreeMap::new();
        for (listing, pushed) in results.iter().flatten() {
            match listing {
                Listing::Ours(subject) => {
                    let entry = listed(&pushed.target, &pushed.manifest);
                    let changes = ours.entry(subject).or_default();
                    changes.push(Change::Add(Box::new(entry)));
                }
                Listing::Theirs(subject) => theirs.entry(subject).or_default().push(pushed),
                Listing::None => {}
            }
        }
        // What did arrive is listed even where something else failed.
        for (subject, changes) in ours {
            self.endpoint.change_fallback(subject, changes).await?;
        }
        for (subject, pushed) in theirs.into_iter().filter(|(_, it)| it.len() > 1) {
            self.push_lost(subject, &pushed).await?;
        }
        results
            .into_iter()
            .find_map(Result::err)
            .map_or(Ok(()), Err)
    }

    async fn mount(&self, target: &Descriptor, from: &Repository) -> Result<bool, StoreError> {
        if from.registry() != self.endpoint.repository.registry() {
            return Ok(false);
        }
        self.endpoint.mount(target, from).await
    }

    fn repository(&self) -> Option<&Repository> {
        Some(&self.endpoint.repository)
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        let content = match self.recent.find(&target.digest) {
            Some(content) => content,
            None => self.endpoint.fetch_manifest(target).await?,
        };
        let selector = Selector::Tag(tag.clone());
        self.endpoint
            .put_manifest(&selector, &target.media_type, content, HeaderMap::new())
            .await?;
        Ok(())
    }

    async fn push_tagged(
        &self,
        target: &Descriptor,
        content: Bytes,
        tag: &Tag,
    ) -> Result<(), StoreError> {
        if self.parse(target, &content)?.subject().is_some() {
            self.push_manifest(target, content).await?;
            return self.tag(target, tag).await;
        }
        let selector = Selector::Tag(tag.clone());
        self.endpoint
            .put_manifest(&selector, &target.media_type, content, HeaderMap::new())
            .await?;
        Ok(())
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.endpoint.tags().await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        self.endpoint.referrers(subject).await
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        let content = match self.endpoint.fetch_manifest(target).await {
            Ok(content) => Some(content),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(
                StoreError::DigestMismatch { .. }
                | StoreError::SizeMismatch { .. }
                | StoreError::TooLarge { .. },
            ) => None,
            Err(error) => return Err(error),
        };
        let limits = self.endpoint.shared.options.limits;
        self.endpoint.delete_manifest(&target.digest).await?;
        // One that cannot be read is in nobody's list either.
        let manifest =
            content.and_then(|it| Manifest::parse(&target.media_type, &it, &limits).ok());
        match manifest.as_ref().and_then(Manifest::subject) {
            Some(subject) => {
                let change = Change::Remove(target.digest.clone());
                self.endpoint
                    .change_fallback(&subject.digest, [change])
                    .await
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for RegistryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RegistryStore")
            .field(&self.endpoint.repository)
            .finish()
    }
}
