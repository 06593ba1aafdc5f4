//! A store that does as a test says.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use oci::{
    Content, Descriptor, Digest, MemoryStore, Repository, Selector, Store, StoreError, Tag, Upload,
};

type Hook<A, T> = Box<dyn Fn(&A) -> Option<Result<T, StoreError>> + Send + Sync>;

/// What is none is as in memory.
#[derive(Default)]
pub(super) struct Hooked {
    pub(super) inner: MemoryStore,
    /// In place of what is in memory.
    pub(super) fetch: Option<Hook<Descriptor, Content>>,
    pub(super) resolve: Option<Hook<Selector, Descriptor>>,
    pub(super) referrers: Option<Hook<Digest, Vec<Descriptor>>>,
    /// Called when the first bytes of a blob have come that is pushed, and no more was asked for.
    pub(super) look: Option<Box<dyn Fn() + Send + Sync>>,
    pub(super) repository: Option<Repository>,
    /// How many blobs it was to take over from others; how many uploads broke off; how many manifests
    /// were pushed.
    pub(super) mounts: AtomicUsize,
    pub(super) broken: AtomicUsize,
    pub(super) manifests: AtomicUsize,
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

#[async_trait]
impl Store for Hooked {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        match self.resolve.as_ref().and_then(|it| it(selector)) {
            Some(hooked) => hooked,
            None => self.inner.resolve(selector).await,
        }
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        self.inner.contains(target).await
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        match self.fetch.as_ref().and_then(|it| it(target)) {
            Some(hooked) => hooked,
            None => self.inner.fetch(target).await,
        }
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        if self.inner.contains(target).await? {
            return Ok(());
        }
        let mut content = match upload {
            Upload::Stream(content) => content,
            other => return self.inner.push_blob(target, other).await,
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = content.next().await {
            if let Some(look) = &self.look
                && bytes.is_empty()
            {
                // Time enough for whoever would read ahead.
                for _ in 0..1000 {
                    tokio::task::yield_now().await;
                }
                look();
            }
            if chunk.is_err() {
                self.broken.fetch_add(1, Ordering::Relaxed);
            }
            bytes.extend_from_slice(&chunk?);
        }
        let upload = Upload::Bytes(bytes.into());
        self.inner.push_blob(target, upload).await
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.manifests.fetch_add(1, Ordering::Relaxed);
        self.inner.push_manifest(target, content).await
    }

    async fn mount(&self, _: &Descriptor, _: &Repository) -> Result<bool, StoreError> {
        self.mounts.fetch_add(1, Ordering::Relaxed);
        Ok(false)
    }

    fn repository(&self) -> Option<&Repository> {
        self.repository.as_ref()
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        self.inner.tag(target, tag).await
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.inner.tags().await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        match self.referrers.as_ref().and_then(|it| it(subject)) {
            Some(hooked) => hooked,
            None => self.inner.referrers(subject).await,
        }
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        self.inner.delete(target).await
    }
}
