//! A store that knows what it is waited for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use oci::{Content, Descriptor, Digest, Repository, Selector, Store, StoreError, Tag, Upload};

/// What a question waits for, told to whoever gives up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    what: String,
    /// Content that was asked for and has not begun to come, and how much has.
    open: usize,
    done: usize,
}

impl Waiting {
    pub(crate) fn says(&self, what: impl Into<String>) {
        let mut state = self.state();
        *state = State {
            what: what.into(),
            ..State::default()
        };
    }

    fn begins(&self) {
        self.state().open += 1;
    }

    fn ends(&self) {
        let mut state = self.state();
        state.open = state.open.saturating_sub(1);
        state.done += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.write_str(&state.what)?;
        match (state.done, state.open) {
            (0, 0) => Ok(()),
            (done, open) => write!(f, ": {done} parts of it came, {open} more were asked for"),
        }
    }
}

/// Reads from another store, lists what is attached once, and says what is waited for.
#[derive(Debug)]
pub(crate) struct Watched {
    store: Arc<dyn Store>,
    waiting: Waiting,
    listed: Mutex<BTreeMap<Digest, Vec<Descriptor>>>,
}

impl Watched {
    pub(crate) fn new(store: Arc<dyn Store>, waiting: Waiting) -> Self {
        Self {
            store,
            waiting,
            listed: Mutex::default(),
        }
    }
}

#[async_trait]
impl Store for Watched {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        self.store.resolve(selector).await
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        self.store.contains(target).await
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        self.waiting.begins();
        let content = self.store.fetch(target).await;
        self.waiting.ends();
        content
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        self.store.push_blob(target, upload).await
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.store.push_manifest(target, content).await
    }

    fn repository(&self) -> Option<&Repository> {
        self.store.repository()
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        self.store.tag(target, tag).await
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.store.tags().await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        let known = || self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listed) = known().get(subject) {
            return Ok(listed.clone());
        }
        let listed = self.store.referrers(subject).await?;
        known().insert(subject.clone(), listed.clone());
        Ok(listed)
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        self.store.delete(target).await
    }
}
