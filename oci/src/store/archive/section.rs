//! A part of a file, and how it is read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::{Content, Descriptor, Hasher, StoreError};

/// Bytes that are read at once.
const CHUNK: u64 = 512 << 10;
/// How many chunks may wait to be used.
const CHUNKS: usize = 2;

/// Bytes of a file that lie one after the other.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) file: Arc<File>,
    pub(super) start: u64,
    pub(super) size: u64,
}

impl Section {
    pub(super) fn reader(&self) -> SectionReader {
        SectionReader {
            section: self.clone(),
            read: 0,
        }
    }

    /// Its first bytes.
    pub(super) fn head<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut head = [0; N];
        let mut reader = self.reader().take(N as u64);
        let mut filled = 0;
        while let Some(rest) = head.get_mut(filled..).filter(|it| !it.is_empty()) {
            match reader.read(rest)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(head)
    }

    /// Its bytes as they are read, by another thread; the last ones come only when all of them were
    /// found to be `target`.
    pub(super) fn stream(self, target: Descriptor, place: String) -> Content {
        let (sender, receiver) = mpsc::channel::<Result<Step, StoreError>>(CHUNKS);
        let checked = target.clone();
        spawn_blocking(move || {
            let failed = match self.send(&target, &place, &sender) {
                Ok(()) => Ok(Step::End),
                Err(error) => Err(error),
            };
            // Nobody listens any more: then nobody has to know.
            sender.blocking_send(failed).unwrap_or_default();
        });
        let chunks = stream::try_unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Some(Ok(Step::Chunk(chunk))) => Ok(Some((chunk, receiver))),
                Some(Ok(Step::End)) => Ok(None),
                Some(Err(error)) => Err(error),
                None => Err(StoreError::io(
                    "archive",
                    "go on reading",
                    io::ErrorKind::BrokenPipe.into(),
                )),
            }
        });
        Content::checked(&checked, chunks)
    }

    fn send(
        &self,
        target: &Descriptor,
        place: &str,
        sender: &mpsc::Sender<Result<Step, StoreError>>,
    ) -> Result<(), StoreError> {
        let mut hasher = Hasher::new(target.digest.algorithm());
        let mut reader = self.reader();
        loop {
            let rest = (self.size - reader.read).min(CHUNK);
            let mut chunk = Vec::with_capacity(usize::try_from(rest).unwrap_or(0));
            let taken = reader.by_ref().take(rest).read_to_end(&mut chunk);
            taken.map_err(|it| StoreError::io(place, format!("read {}", target.digest), it))?;
            if reader.read < self.size && chunk.is_empty() {
                return Err(StoreError::SizeMismatch {
                    digest: target.digest.clone(),
                    expected: target.size,
                    presented: reader.read,
                    came: None,
                });
            }
            hasher.update(&chunk);
            if reader.read == self.size {
                let presented = hasher.finish();
                if presented != target.digest {
                    return Err(StoreError::DigestMismatch {
                        expected: target.digest.clone(),
                        presented,
                        came: None,
                    });
                }
                if !chunk.is_empty() {
                    sender.blocking_send(Ok(Step::Chunk(chunk.into()))).ok();
                }
                return Ok(());
            }
            if sender.blocking_send(Ok(Step::Chunk(chunk.into()))).is_err() {
                return Ok(());
            }
        }
    }
}

enum Step {
    Chunk(Bytes),
    /// All came, and was good.
    End,
}

/// Reads a [`Section`].
#[derive(Debug)]
pub(super) struct SectionReader {
    section: Section,
    read: u64,
}

impl SectionReader {
    /// Where in the section the next byte is.
    pub(super) fn position(&self) -> u64 {
        self.read
    }

    /// Leaves out `size` bytes, or what there is of them.
    pub(super) fn skip(&mut self, size: u64) {
        self.read = self.read.saturating_add(size).min(self.section.size);
    }
}

impl Read for SectionReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.section.size - self.read;
        let wanted = usize::try_from(rest).map_or(buffer.len(), |it| it.min(buffer.len()));
        let Some(buffer) = buffer.get_mut(..wanted) else {
            return Ok(0);
        };
        let read = self
            .section
            .file
            .read_at(buffer, self.section.start + self.read)?;
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt as _;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::MediaType;

    /// Whoever asked for it has gone.
    #[test]
    fn what_nobody_waits_for_is_not_read() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        // Takes no room, and hours to read.
        let size = 1 << 40;
        file.set_len(size).unwrap();
        let section = Section {
            file: Arc::clone(&file),
            start: 0,
            size,
        };
        let target = Descriptor {
            size,
            ..Descriptor::of(MediaType::LAYER_TAR, b"something else")
        };
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let mut content = section.stream(target, "here".to_owned());
            content.next().await.unwrap().unwrap();
        });
        let is_left_alone = (0..60_000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            Arc::strong_count(&file) == 1
        });
        runtime.shutdown_background();
        assert!(is_left_alone, "it is read on and on");
    }
}
