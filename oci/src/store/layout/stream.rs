//! Blobs on their way into and out of files: a file is read or written by another thread while the
//! bytes before or after are being used.

use std::mem;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::task::{JoinHandle, spawn_blocking};

use super::blobs::{Reader, Writer};
use crate::store::joined;
use crate::{Content, Descriptor, StoreError};

type Step = (Option<Bytes>, Reader);

/// The content of `target`, from its first chunk on.
pub(super) fn content(target: &Descriptor, first: Step, place: String) -> Content {
    let (chunk, reader) = first;
    let chunks = stream::try_unfold(Next::Ready(chunk, Box::new(reader)), move |next| {
        let place = place.clone();
        async move {
            let (chunk, reader) = match next {
                Next::Ready(chunk, reader) => (chunk, reader),
                Next::Reading(task) => {
                    let (chunk, reader) = joined(&place, task).await??;
                    (chunk, Box::new(reader))
                }
            };
            Ok(chunk.map(|chunk| {
                let next = if reader.is_done() {
                    Next::Ready(None, reader)
                } else {
                    Next::Reading(spawn_blocking(move || reader.step()))
                };
                (chunk, next)
            }))
        }
    });
    Content::checked(target, chunks)
}

/// Where the next chunk of a blob is.
enum Next {
    Ready(Option<Bytes>, Box<Reader>),
    Reading(JoinHandle<Result<Step, StoreError>>),
}

/// Bytes that are written at once.
const BATCH: usize = 1 << 20;

/// Writes all of `content`, checked. Small chunks, as they come from a network, are written together.
pub(super) async fn write(writer: Writer, content: Content, place: &str) -> Result<(), StoreError> {
    let mut content = content.check(writer.target());
    let mut writing = Writing::Idle(Box::new(writer));
    let (mut batch, mut size) = (Vec::new(), 0);
    while let Some(chunk) = content.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                // Leaves nothing, and no thread that writes on.
                drop(writing.writer(place).await);
                return Err(error);
            }
        };
        size += chunk.len();
        batch.push(chunk);
        if size >= BATCH {
            let writer = writing.writer(place).await?;
            writing = Writing::start(writer, mem::take(&mut batch));
            size = 0;
        }
    }
    let mut writer = writing.writer(place).await?;
    let finished = spawn_blocking(move || {
        writer.write_all(&batch)?;
        writer.finish()
    });
    joined(place, finished).await?
}

enum Writing {
    Idle(Box<Writer>),
    Busy(JoinHandle<Result<Box<Writer>, StoreError>>),
}

impl Writing {
    fn start(mut writer: Box<Writer>, batch: Vec<Bytes>) -> Self {
        Self::Busy(spawn_blocking(move || {
            writer.write_all(&batch)?;
            Ok(writer)
        }))
    }

    /// Waits for what was started.
    async fn writer(self, place: &str) -> Result<Box<Writer>, StoreError> {
        match self {
            Self::Idle(writer) => Ok(writer),
            Self::Busy(task) => joined(place, task).await?,
        }
    }
}
