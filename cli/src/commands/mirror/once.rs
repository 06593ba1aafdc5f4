//! Nothing is sent twice, however many images of one run have it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use oci::{
    Content, Descriptor, Digest, Location, Repository, Selector, Store, StoreError, Tag, Upload,
};
use tokio::sync::OnceCell;

/// What one run has brought where.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Blobs that a repository has been sent: others of its registry take them over from there.
    lies_in: BTreeMap<Digest, Repository>,
    /// The tags of sources: of each repository they are asked for once, not for each image.
    tags: BTreeMap<Location, Arc<OnceCell<Vec<Tag>>>>,
    /// Who sends a blob to a place holds its lock.
    under_way: BTreeMap<(String, Digest), Arc<tokio::sync::Mutex<()>>>,
}

impl Sent {
    /// A source of images.
    pub(super) fn from(&self, location: &Location, store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Watched {
            store,
            sent: self.clone(),
            location: location.clone(),
            way: Way::From,
        })
    }

    /// A destination.
    pub(super) fn to(&self, location: &Location, store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Watched {
            store,
            sent: self.clone(),
            location: location.clone(),
            way: Way::To,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Watched {
    store: Arc<dyn Store>,
    sent: Sent,
    location: Location,
    way: Way,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    From,
    To,
}

impl Watched {
    /// Another repository of this registry that was sent it meanwhile.
    fn lender(&self, target: &Descriptor) -> Option<Repository> {
        let own = self.store.repository()?;
        let state = self.sent.state();
        let from = state.lies_in.get(&target.digest)?;
        (from.registry() == own.registry() && from != own).then(|| from.clone())
    }
}

#[async_trait]
impl Store for Watched {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        self.store.resolve(selector).await
    }

    async fn only(&self) -> Result<Descriptor, StoreError> {
        self.store.only().await
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        self.store.contains(target).await
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        self.store.fetch(target).await
    }

    /// One after the other: who comes second finds what the first has sent, or takes it over.
    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        let place = match self.store.repository() {
            Some(repository) => repository.registry().to_string(),
            None => format!("{:?}", self.location),
        };
        let key = (place, target.digest.clone());
        let lock = Arc::clone(self.sent.state().under_way.entry(key.clone()).or_default());
        let pushed = {
            let _guard = lock.lock().await;
            match self.lender(target) {
                Some(from) if self.mount(target, &from).await? => Ok(()),
                _ => self.store.push_blob(target, upload).await,
            }
        };
        let mut state = self.sent.state();
        state.under_way.remove(&key);
        if pushed.is_ok()
            && let Some(repository) = self.store.repository()
        {
            let digest = target.digest.clone();
            state.lies_in.insert(digest, repository.clone());
        }
        pushed
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.store.push_manifest(target, content).await
    }

    async fn push_manifests(&self, manifests: Vec<(Descriptor, Bytes)>) -> Result<(), StoreError> {
        self.store.push_manifests(manifests).await
    }

    /// Only what is missing.
    async fn mount(&self, target: &Descriptor, from: &Repository) -> Result<bool, StoreError> {
        if self.store.contains(target).await? {
            return Ok(false);
        }
        self.store.mount(target, from).await
    }

    fn repository(&self) -> Option<&Repository> {
        self.store.repository()
    }

    /// A blob that was sent to another repository of the destination is taken over from there.
    fn repository_of(&self, target: &Descriptor) -> Option<Repository> {
        let known = self.sent.state().lies_in.get(&target.digest).cloned();
        known.or_else(|| self.store.repository_of(target))
    }

    /// Unless it names that already: registries keep a record of changes, and this would be none.
    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        match self.store.resolve(&Selector::Tag(tag.clone())).await {
            Ok(there) if there.digest == target.digest => Ok(()),
            // What cannot be resolved is replaced.
            _ => self.store.tag(target, tag).await,
        }
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        if self.way == Way::To {
            return self.store.tags().await;
        }
        let tags = {
            let mut state = self.sent.state();
            Arc::clone(state.tags.entry(self.location.clone()).or_default())
        };
        tags.get_or_try_init(|| self.store.tags()).await.cloned()
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        self.store.referrers(subject).await
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        self.store.delete(target).await
    }

    async fn finish(&self) -> Result<(), StoreError> {
        self.store.finish().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use oci::{MediaType, MemoryStore};

    use super::*;

    #[tokio::test]
    async fn a_blob_that_is_under_way_is_waited_for() {
        let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let location = "oci:x".parse::<oci::Reference>().unwrap().location;
        let sent = Sent::default();
        let store = sent.to(&location, memory);
        let blob = Descriptor::of(MediaType::LAYER_TAR, b"blob");
        let reads = Arc::new(AtomicUsize::new(0));
        let (go, wait) = tokio::sync::watch::channel(false);
        let upload = || {
            let (reads, mut wait) = (Arc::clone(&reads), wait.clone());
            let chunks = async move {
                reads.fetch_add(1, Ordering::Relaxed);
                wait.wait_for(|it| *it).await.unwrap();
                Ok(Bytes::from_static(b"blob"))
            };
            Upload::Stream(Content::new(chunks.into_stream()))
        };
        let release = async {
            tokio::task::yield_now().await;
            go.send(true).unwrap();
        };
        let (one, two, ()) = tokio::join!(
            store.push_blob(&blob, upload()),
            store.push_blob(&blob, upload()),
            release
        );
        one.unwrap();
        two.unwrap();
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        assert!(sent.state().under_way.is_empty());
    }
}
