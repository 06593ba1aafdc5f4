//! Images whose layers stay where they are until someone wants them: those that a build begins with,
//! and the one that it makes of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use oci::{
    Content, Descriptor, Digest, Image, Repository, Selector, Store, StoreError, Tag, Upload,
};

/// A store of our own, and layers that other stores lend to it.
#[derive(Clone, Debug)]
pub struct Borrowing {
    own: Arc<dyn Store>,
    /// Layers that are not in our own, and who has them.
    lent: Arc<Mutex<BTreeMap<Digest, Arc<dyn Store>>>>,
    /// Who lends the layers that are asked for now.
    lender: Option<Arc<dyn Store>>,
}

impl Borrowing {
    /// A store that nobody has lent anything to yet.
    pub fn new(own: Arc<dyn Store>) -> Self {
        Self {
            own,
            lent: Arc::default(),
            lender: None,
        }
    }

    /// Puts `image` of `lender` into our own store, but for its layers.
    pub async fn borrow(&self, image: &Image, lender: &Arc<dyn Store>) -> Result<(), StoreError> {
        for (layer, _) in image.layers() {
            self.lend(layer, lender);
        }
        let config = Upload::Bytes(image.config_bytes().clone());
        let manifest = image.manifest_bytes().clone();
        self.own.push_blob(&image.manifest().config, config).await?;
        self.own.push_manifest(image.descriptor(), manifest).await
    }

    /// The same store, for who puts an image into it that has layers of `lender`'s.
    pub(super) fn lent_by(&self, lender: Arc<dyn Store>) -> Self {
        Self {
            lender: Some(lender),
            ..self.clone()
        }
    }

    /// Brings all layers of `image` into our own store.
    pub(super) async fn complete(&self, image: &Image) -> Result<(), StoreError> {
        for (layer, _) in image.layers() {
            if let Some(lender) = self.lender_of(&layer.digest) {
                let content = lender.fetch(layer).await?;
                let upload = Upload::Stream(content);
                self.own.push_blob(layer, upload).await?;
                self.lent().remove(&layer.digest);
            }
        }
        Ok(())
    }

    fn lent(&self) -> MutexGuard<'_, BTreeMap<Digest, Arc<dyn Store>>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lender_of(&self, digest: &Digest) -> Option<Arc<dyn Store>> {
        self.lent().get(digest).cloned()
    }

    fn lend(&self, layer: &Descriptor, lender: &Arc<dyn Store>) {
        let mut lent = self.lent();
        lent.entry(layer.digest.clone())
            .or_insert_with(|| Arc::clone(lender));
    }
}

#[async_trait]
impl Store for Borrowing {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        self.own.resolve(selector).await
    }

    /// Whoever exports asks only for layers that an image of the lender's names: these it has.
    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        if self.own.contains(target).await? || self.lender_of(&target.digest).is_some() {
            return Ok(true);
        }
        let lender = self.lender.as_ref();
        let lender = lender.filter(|_| !target.media_type.is_manifest());
        if let Some(lender) = lender {
            self.lend(target, lender);
        }
        Ok(lender.is_some())
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        match self.lender_of(&target.digest) {
            Some(lender) => lender.fetch(target).await,
            None => self.own.fetch(target).await,
        }
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        self.own.push_blob(target, upload).await
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.own.push_manifest(target, content).await
    }

    /// A registry may take a layer over from where it lies.
    fn repository_of(&self, target: &Descriptor) -> Option<Repository> {
        self.lender_of(&target.digest)?.repository_of(target)
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        self.own.tag(target, tag).await
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.own.tags().await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        self.own.referrers(subject).await
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        self.own.delete(target).await
    }
}
