//! Bytes on their way from one place to another, and whether they were hashed yet.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinHandle;

use super::{StoreError, joined};
use crate::{Descriptor, Digest, Hasher};

/// Bytes as they come. See [`Store::fetch`](super::Store::fetch).
pub struct Content {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>,
    /// What it is for certain when all of it has come.
    checked: Option<(Digest, u64)>,
}

impl Content {
    /// Whoever stores it has to hash it.
    pub fn new(stream: impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static) -> Self {
        Self {
            stream: Box::pin(stream),
            checked: None,
        }
    }

    /// The same, whose errors are what `change` makes of them.
    pub(crate) fn map_errors(
        self,
        change: impl FnMut(StoreError) -> StoreError + Send + 'static,
    ) -> Self {
        Self {
            stream: Box::pin(self.stream.map_err(change)),
            checked: self.checked,
        }
    }

    /// Need not be hashed again, because `stream` gives its last byte only after all of it was found
    /// to be `target`. So what is as long as `target` is `target`, even if the stream breaks off.
    pub(crate) fn checked(
        target: &Descriptor,
        stream: impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static,
    ) -> Self {
        Self {
            // Of nothing there is no last byte.
            checked: (target.size > 0).then(|| (target.digest.clone(), target.size)),
            ..Self::new(stream)
        }
    }

    /// Whether it is `target` as soon as it is as long.
    pub(crate) fn is_checked(&self, target: &Descriptor) -> bool {
        self.checked
            .as_ref()
            .is_some_and(|(digest, size)| *digest == target.digest && *size == target.size)
    }

    /// The same, which ends with an error if it is not `target`.
    pub(crate) fn check(self, target: &Descriptor) -> Self {
        if self.is_checked(target) {
            return self;
        }
        let check = Check {
            content: self,
            hashing: Hashing::new(target),
            batch: Vec::new(),
            batched: 0,
            received: 0,
            target: target.clone(),
        };
        let chunks = stream::try_unfold(Some(check), |check| async {
            match check {
                Some(check) => check.next().await,
                None => Ok(None),
            }
        });
        Self::checked(target, chunks)
    }
}

impl Stream for Content {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("checked", &self.checked)
            .finish_non_exhaustive()
    }
}

/// Bytes that are hashed at once: enough to be worth waking a thread.
const BATCH: usize = 1 << 20;

/// Hashes on another thread while the next bytes come and those before are being used.
struct Check {
    content: Content,
    hashing: Hashing,
    /// What was given out and not hashed.
    batch: Vec<Bytes>,
    batched: usize,
    received: u64,
    target: Descriptor,
}

enum Hashing {
    Idle(Box<Hasher>),
    Busy(JoinHandle<Box<Hasher>>),
}

impl Hashing {
    fn new(target: &Descriptor) -> Self {
        Self::Idle(Box::new(Hasher::new(target.digest.algorithm())))
    }
}

impl Check {
    /// The next chunk, and what comes after it.
    async fn next(mut self) -> Result<Option<(Bytes, Option<Self>)>, StoreError> {
        let Some(chunk) = self.receive().await? else {
            self.finish().await?;
            return Ok(None);
        };
        if self.received < self.target.size {
            if self.batched >= BATCH {
                self.hash_batch().await?;
            }
            return Ok(Some((chunk, Some(self))));
        }
        // It may go on.
        self.receive().await?;
        self.finish().await?;
        Ok(Some((chunk, None)))
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, StoreError> {
        while let Some(chunk) = self.content.next().await.transpose()? {
            if chunk.is_empty() {
                continue;
            }
            self.received += chunk.len() as u64;
            // Who sends too much may say nothing more.
            if self.received > self.target.size {
                return Err(self.wrong_size());
            }
            self.batched += chunk.len();
            self.batch.push(chunk.clone());
            return Ok(Some(chunk));
        }
        Ok(None)
    }

    /// Waits for the batch before, and leaves this one to another thread.
    async fn hash_batch(&mut self) -> Result<(), StoreError> {
        let mut hasher = self.hasher().await?;
        let batch = mem::take(&mut self.batch);
        self.batched = 0;
        self.hashing = Hashing::Busy(tokio::task::spawn_blocking(move || {
            for chunk in batch {
                hasher.update(&chunk);
            }
            hasher
        }));
        Ok(())
    }

    async fn finish(mut self) -> Result<(), StoreError> {
        if self.received != self.target.size {
            return Err(self.wrong_size());
        }
        let mut hasher = self.hasher().await?;
        for chunk in &self.batch {
            hasher.update(chunk);
        }
        let presented = hasher.finish();
        if presented == self.target.digest {
            Ok(())
        } else {
            Err(StoreError::DigestMismatch {
                expected: self.target.digest,
                presented,
                came: None,
            })
        }
    }

    /// Has seen all but what is in the batch.
    async fn hasher(&mut self) -> Result<Box<Hasher>, StoreError> {
        let idle = Hashing::new(&self.target);
        match mem::replace(&mut self.hashing, idle) {
            Hashing::Idle(hasher) => Ok(hasher),
            Hashing::Busy(task) => joined(&self.target.digest, task).await,
        }
    }

    fn wrong_size(&self) -> StoreError {
        StoreError::SizeMismatch {
            digest: self.target.digest.clone(),
            expected: self.target.size,
            presented: self.received,
            came: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::MediaType;

    fn target(content: &[u8]) -> Descriptor {
        Descriptor::of(MediaType::LAYER_TAR, content)
    }

    fn content(chunks: &[&'static [u8]]) -> Content {
        let chunks: Vec<_> = chunks.iter().map(|it| Ok(Bytes::from_static(it))).collect();
        Content::new(stream::iter(chunks))
    }

    /// What comes of `content`, and the error at its end, if any.
    async fn read(mut content: Content) -> (Vec<u8>, Option<StoreError>) {
        let mut bytes = Vec::new();
        while let Some(chunk) = content.next().await {
            match chunk {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(error) => return (bytes, Some(error)),
            }
        }
        (bytes, None)
    }

    #[tokio::test]
    async fn what_is_wrong_never_gets_as_long_as_it_should_be() {
        let target = target(b"good content");
        let good = content(&[b"good", b"", b" content", b""]).check(&target);
        assert!(good.is_checked(&target));
        let (bytes, error) = read(good).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(bytes, b"good content");

        let wrong: [&[&'static [u8]]; 3] = [
            &[b"evil", b" content"],
            &[b"evil content"],
            &[b"evil conten", b"t"],
        ];
        for chunks in wrong {
            let (bytes, error) = read(content(chunks).check(&target)).await;
            assert!(matches!(error, Some(StoreError::DigestMismatch { .. })));
            assert!((bytes.len() as u64) < target.size);
        }
        let wrong: [&[&'static [u8]]; 4] = [
            &[b"good"],
            &[],
            &[b"good content", b"", b"!"],
            &[b"good content!"],
        ];
        for chunks in wrong {
            let (bytes, error) = read(content(chunks).check(&target)).await;
            assert!(matches!(error, Some(StoreError::SizeMismatch { .. })));
            assert!((bytes.len() as u64) < target.size);
        }
    }

    /// What comes after it is waited for in vain.
    #[tokio::test]
    async fn content_that_is_too_long_is_wrong_at_once() {
        let target = target(b"good");
        let too_long = stream::iter([Ok(Bytes::from_static(b"good!"))]);
        let mut content = Content::new(too_long.chain(stream::pending())).check(&target);
        let first = content.next().now_or_never();
        assert!(matches!(
            first,
            Some(Some(Err(StoreError::SizeMismatch { .. })))
        ));
    }

    #[tokio::test]
    async fn many_batches_are_hashed_in_order() {
        static CHUNK: [u8; 100_000] = [7; 100_000];
        let mut chunks: Vec<&'static [u8]> = vec![&CHUNK; 40];
        chunks.push(b"end");
        let whole = chunks.concat();
        let (bytes, error) = read(content(&chunks).check(&target(&whole))).await;
        assert!(error.is_none() && bytes == whole);
        chunks.swap(0, 40);
        let (_, error) = read(content(&chunks).check(&target(&whole))).await;
        assert!(matches!(error, Some(StoreError::DigestMismatch { .. })));
    }

    /// Of large content, little is in memory.
    #[tokio::test]
    async fn what_was_given_out_is_not_kept() {
        struct Counted(Arc<Vec<u8>>);

        impl AsRef<[u8]> for Counted {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        let held = Arc::new(vec![7; BATCH / 4]);
        let count = 100;
        let target = target(&held.repeat(count));
        let source = Arc::clone(&held);
        let chunks = (0..count).map(move |_| Ok(Bytes::from_owner(Counted(Arc::clone(&source)))));
        let mut content = Content::new(stream::iter(chunks)).check(&target);
        while let Some(chunk) = content.next().await {
            drop(chunk.unwrap());
            // One batch is being hashed, and one is coming.
            let kept = Arc::strong_count(&held);
            assert!(kept < 20, "{kept} of {count}");
        }
    }

    #[tokio::test]
    async fn content_is_checked_for_one_target_only() {
        let (one, other) = (target(b"one"), target(b"two"));
        let checked = content(&[b"one"]).check(&one);
        assert!(checked.is_checked(&one) && !checked.is_checked(&other));
        let longer = Descriptor {
            size: 4,
            ..one.clone()
        };
        assert!(!checked.is_checked(&longer));
        assert!(!content(&[b"one"]).is_checked(&one));
        let (_, error) = read(checked.check(&other)).await;
        assert!(matches!(error, Some(StoreError::DigestMismatch { .. })));

        // Nothing is as long as nothing from the start.
        let nothing = Descriptor {
            size: 0,
            ..one.clone()
        };
        let empty = content(&[]).check(&nothing);
        assert!(!empty.is_checked(&nothing));
        let (_, error) = read(empty).await;
        assert!(matches!(error, Some(StoreError::DigestMismatch { .. })));
    }
}
