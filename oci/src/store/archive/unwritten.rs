//! Where content is until the archive is written: in one file without a name, so that a process that
//! is killed leaves nothing behind.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::section::Section;
use crate::store::joined;
use crate::{Content, Descriptor, Hasher, StoreError};

/// How many chunks may wait to be written.
const CHUNKS: usize = 8;

#[derive(Debug)]
pub(super) struct Unwritten {
    /// None: wherever temporary files are.
    folder: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Made when it is needed.
    file: Option<Arc<File>>,
    /// Where the next content goes.
    end: u64,
}

impl Unwritten {
    pub(super) fn anywhere() -> Self {
        Self {
            folder: None,
            state: Mutex::default(),
        }
    }

    /// On the disk of `folder`, which has room for the archive anyway.
    pub(super) fn beside(folder: PathBuf) -> Self {
        Self {
            folder: Some(folder),
            state: Mutex::default(),
        }
    }

    /// Starts to write `target`.
    pub(super) fn start(
        &self,
        target: &Descriptor,
        place: String,
    ) -> Result<UnwrittenBlob, StoreError> {
        let failed = |error| StoreError::io(&place, "make a temporary file", error);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match state.file.take() {
            Some(file) => file,
            None => Arc::new(self.unnamed().map_err(failed)?),
        };
        state.file = Some(Arc::clone(&file));
        let start = state.end;
        let end = start.checked_add(target.size);
        state.end = end.ok_or_else(|| failed(io::ErrorKind::FileTooLarge.into()))?;
        Ok(UnwrittenBlob {
            section: Section {
                file,
                start,
                size: target.size,
            },
            hasher: Some(Hasher::new(target.digest.algorithm())),
            written: 0,
            target: target.bare(),
            place,
        })
    }

    fn unnamed(&self) -> io::Result<File> {
        match &self.folder {
            Some(folder) if folder.as_os_str().is_empty() => tempfile::tempfile_in("."),
            Some(folder) => tempfile::tempfile_in(folder),
            None => tempfile::tempfile(),
        }
    }
}

/// Content being written.
#[derive(Debug)]
pub(super) struct UnwrittenBlob {
    section: Section,
    /// None if whoever gives it has checked it.
    hasher: Option<Hasher>,
    written: u64,
    target: Descriptor,
    place: String,
}

impl UnwrittenBlob {
    /// The same, for content that was found to be what was described before.
    pub(super) fn without_hashing(self) -> Self {
        Self {
            hasher: None,
            ..self
        }
    }

    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        let at = self.section.start + self.written;
        self.written += chunk.len() as u64;
        // What is next to it belongs to other content.
        if self.written > self.target.size {
            return Err(self.wrong_size());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(chunk);
        }
        let written = self.section.file.write_all_at(chunk, at);
        written.map_err(|error| {
            let action = format!("write {}", self.target.digest);
            StoreError::io(&self.place, action, error)
        })
    }

    /// Where it is, if it is what was described.
    pub(super) fn finish(self) -> Result<Section, StoreError> {
        if self.written != self.target.size {
            return Err(self.wrong_size());
        }
        match self.hasher.map(Hasher::finish) {
            Some(presented) if presented != self.target.digest => Err(StoreError::DigestMismatch {
                expected: self.target.digest,
                presented,
                came: None,
            }),
            _ => Ok(self.section),
        }
    }

    /// Writes all that `content` gives; by another thread, while more of it comes.
    pub(super) async fn receive(mut self, mut content: Content) -> Result<Section, StoreError> {
        let place = self.place.clone();
        if content.is_checked(&self.target) {
            self = self.without_hashing();
        }
        let (sender, mut receiver) = mpsc::channel::<Bytes>(CHUNKS);
        let writing = spawn_blocking(move || {
            let mut staged = self;
            while let Some(chunk) = receiver.blocking_recv() {
                staged.write(&chunk)?;
            }
            Ok::<_, StoreError>(staged)
        });
        let received = loop {
            match content.next().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(error),
                // If no one takes it, then writing has failed and says why.
                Some(Ok(chunk)) => {
                    if sender.send(chunk).await.is_err() {
                        break Ok(());
                    }
                }
            }
        };
        drop(sender);
        let staged = joined(&place, writing).await??;
        received?;
        staged.finish()
    }

    fn wrong_size(&self) -> StoreError {
        StoreError::SizeMismatch {
            digest: self.target.digest.clone(),
            expected: self.target.size,
            presented: self.written,
            came: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::MediaType;

    fn start(unwritten: &Unwritten, target: &Descriptor) -> Result<UnwrittenBlob, StoreError> {
        unwritten.start(target, "here".to_owned())
    }

    /// Whoever has checked the bytes says nothing about how many there are.
    #[tokio::test]
    async fn content_that_was_checked_may_break_off() {
        let target = Descriptor::of(MediaType::LAYER_TAR, b"good");
        let unwritten = Unwritten::anywhere();
        for (chunk, is_whole) in [(b"goo".as_slice(), false), (b"good", true)] {
            let chunks = stream::iter([Ok(Bytes::from_static(chunk))]);
            let content = Content::checked(&target, chunks);
            let received = start(&unwritten, &target).unwrap().receive(content).await;
            match received {
                Ok(_) => assert!(is_whole),
                Err(StoreError::SizeMismatch { .. }) => assert!(!is_whole),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn there_is_an_end_to_what_can_be_kept() {
        let unwritten = Unwritten::anywhere();
        let target = Descriptor::of(MediaType::LAYER_TAR, b"good");
        let huge = Descriptor {
            size: u64::MAX - 3,
            ..target.clone()
        };
        start(&unwritten, &huge).unwrap();
        let refused = start(&unwritten, &target);
        assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
    }
}
