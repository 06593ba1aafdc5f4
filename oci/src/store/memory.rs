//! A store in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::{check, listed};
use crate::Upload;
use crate::{Content, Descriptor, Digest, Limits, Manifest, Selector, Store, StoreError, Tag};

/// A [`Store`] that forgets all when it is dropped: for tests, and for what is too small for a
/// disk.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    content: BTreeMap<Digest, Bytes>,
    manifests: BTreeMap<Digest, Descriptor>,
    tags: BTreeMap<Tag, Descriptor>,
    /// By subject, then by digest.
    referrers: BTreeMap<Digest, BTreeMap<Digest, Descriptor>>,
}

impl MemoryStore {
    /// Holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one insertion, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        let state = self.state();
        match selector {
            Selector::Tag(tag) => state.tags.get(tag).cloned(),
            Selector::Digest(digest) => state.manifests.get(digest).cloned(),
        }
        .ok_or_else(|| {
            not_found(match selector {
                Selector::Tag(tag) => tag.as_str(),
                Selector::Digest(digest) => digest.as_str(),
            })
        })
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        Ok(self.state().content.contains_key(&target.digest))
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        let content = self.state().content.get(&target.digest).cloned();
        let content = content.ok_or_else(|| not_found(target.digest.as_str()))?;
        check(target, &content)?;
        Ok(Content::checked(target, stream::iter([Ok(content)])))
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        if self.contains(target).await? {
            return Ok(());
        }
        let content = match upload {
            Upload::Bytes(bytes) => bytes,
            Upload::File(path) => read_file(target, &path).await?,
            Upload::Layer(layer) => read_file(target, &layer.file).await?,
            Upload::Stream(stream) => gather(target, stream).await?,
        };
        check(target, &content)?;
        self.state().content.insert(target.digest.clone(), content);
        Ok(())
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        check(target, &content)?;
        let manifest = parse(target, &content)?;
        let mut state = self.state();
        state.content.insert(target.digest.clone(), content);
        state.manifests.insert(target.digest.clone(), target.bare());
        if let Some(subject) = manifest.subject() {
            state
                .referrers
                .entry(subject.digest.clone())
                .or_default()
                .insert(target.digest.clone(), listed(target, &manifest));
        }
        Ok(())
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        let mut state = self.state();
        let Some(known) = state.manifests.get(&target.digest).cloned() else {
            return Err(not_found(target.digest.as_str()));
        };
        state.tags.insert(tag.clone(), known);
        Ok(())
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        Ok(self.state().tags.keys().cloned().collect())
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        let state = self.state();
        let found = state.referrers.get(subject);
        Ok(found.map_or_else(Vec::new, |them| them.values().cloned().collect()))
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.manifests.remove(&target.digest).is_some() {
            state.content.remove(&target.digest);
        }
        state.tags.retain(|_, it| it.digest != target.digest);
        for them in state.referrers.values_mut() {
            them.remove(&target.digest);
        }
        Ok(())
    }
}

const PLACE: &str = "memory";

async fn read_file(target: &Descriptor, path: &Path) -> Result<Bytes, StoreError> {
    let content = fs_err::tokio::read(path).await;
    let failed = |source| StoreError::io(PLACE, format!("add {}", target.digest), source);
    content.map(Bytes::from).map_err(failed)
}

fn not_found(what: &str) -> StoreError {
    StoreError::NotFound {
        what: what.to_owned(),
        place: PLACE.to_owned(),
        answer: None,
    }
}

fn parse(target: &Descriptor, content: &[u8]) -> Result<Manifest, StoreError> {
    Manifest::parse(&target.media_type, content, &Limits::default()).map_err(|source| {
        StoreError::Manifest {
            digest: target.digest.clone(),
            source,
        }
    })
}

/// Reads no more than `target` says there is.
async fn gather(target: &Descriptor, mut stream: Content) -> Result<Bytes, StoreError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() as u64 > target.size {
            break;
        }
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MediaType;

    #[tokio::test]
    async fn what_is_not_as_described_is_not_taken() {
        let store = MemoryStore::new();
        let mut target = Descriptor::of(MediaType::LAYER_TAR, b"good");
        let pushed = store.push_blob(&target, Upload::Bytes(Bytes::from_static(b"evil")));
        assert!(matches!(
            pushed.await,
            Err(StoreError::DigestMismatch { .. })
        ));
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(b"good")));
        let pushed = store.push_blob(&target, Upload::Stream(Content::new(endless)));
        assert!(matches!(pushed.await, Err(StoreError::SizeMismatch { .. })));
        assert_eq!(store.contains(&target).await.ok(), Some(false));

        let pushed = store.push_blob(&target, Upload::Bytes(Bytes::from_static(b"good")));
        pushed.await.unwrap();
        target.size = 5;
        assert!(matches!(
            store.fetch(&target).await,
            Err(StoreError::SizeMismatch { .. })
        ));
    }

    /// A manifest is checked, too, and names are for manifests that are there.
    #[tokio::test]
    async fn what_is_no_manifest_is_not_taken() {
        let store = MemoryStore::new();
        let good = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
        let target = Descriptor::of(MediaType::IMAGE_INDEX, &good);
        let evil = Bytes::from_static(br#"{"schemaVersion":2,"manifests":{}}"#);
        let pushed = store.push_manifest(&target, evil).await;
        assert!(matches!(pushed, Err(StoreError::DigestMismatch { .. })));
        let large = Bytes::from(vec![b' '; (4 << 20) + 1]);
        let large_target = Descriptor::of(MediaType::IMAGE_INDEX, &large);
        let pushed = store.push_manifest(&large_target, large).await;
        assert!(matches!(
            pushed,
            Err(StoreError::Manifest {
                source: crate::ManifestError::TooLarge { .. },
                ..
            })
        ));
        let v1: Tag = "v1".parse().unwrap();
        assert!(store.tag(&target, &v1).await.unwrap_err().is_not_found());
        store.push_manifest(&target, good).await.unwrap();
        store.tag(&target, &v1).await.unwrap();
        assert_eq!(store.tags().await.unwrap(), [v1]);
    }

    #[tokio::test]
    async fn what_is_deleted_is_gone_with_its_name() {
        let store = MemoryStore::new();
        let blob = Descriptor::of(MediaType::LAYER_TAR, b"blob");
        let upload = Upload::Bytes(Bytes::from_static(b"blob"));
        store.push_blob(&blob, upload).await.unwrap();
        let subject = Descriptor::of(MediaType::IMAGE_INDEX, b"subject");
        let content = format!(
            r#"{{"schemaVersion":2,"manifests":[],"subject":{}}}"#,
            serde_json::to_string(&subject).unwrap()
        );
        let target = Descriptor::of(MediaType::IMAGE_INDEX, content.as_bytes());
        store.push_manifest(&target, content.into()).await.unwrap();
        store.tag(&target, &"v1".parse().unwrap()).await.unwrap();
        let referrers = store.referrers(&subject.digest).await;
        assert_eq!(referrers.unwrap().len(), 1);
        store.delete(&target).await.unwrap();
        store.delete(&blob).await.unwrap();
        assert_eq!(store.contains(&target).await.ok(), Some(false));
        assert_eq!(store.tags().await.unwrap(), []);
        assert_eq!(store.referrers(&subject.digest).await.unwrap(), []);
        // Only manifests are deleted.
        assert_eq!(store.contains(&blob).await.ok(), Some(true));
    }

    #[tokio::test]
    async fn content_that_breaks_off_is_not_taken() {
        let store = MemoryStore::new();
        let target = Descriptor::of(MediaType::LAYER_TAR, b"good");
        let broken = StoreError::io("source", "go on", std::io::ErrorKind::BrokenPipe.into());
        let chunks = [Ok(Bytes::from_static(b"good")), Err(broken)];
        let upload = Upload::Stream(Content::new(stream::iter(chunks)));
        let pushed = store.push_blob(&target, upload).await;
        assert!(matches!(pushed, Err(StoreError::Unavailable { .. })));
        assert_eq!(store.contains(&target).await.ok(), Some(false));
    }
}
