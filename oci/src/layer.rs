//! Layers: from entries to a file that is hashed, compressed and ready to be pushed.
//!
//! ```text
//! fill ─▶ tar ─▶ SHA-256 (diff ID) ─▶ │ ─▶ matches ─▶ │ ─▶ codes ─▶ SHA-256 (digest) ─▶ file
//!            the caller's thread      │   a thread    │             a thread
//! ```
//!
//! Every byte is hashed once as tar and once as stored, and read and compressed once; a few
//! megabytes are in memory at a time, however large the layer is. [`write()`] does all of it.
//! Who wants to know first whether the layer is new keeps the plain tar instead, with
//! [`Compression::None`], or keeps nothing, with [`hash`], and calls [`compress`] later. Layers do
//! not know of each other: several may be built at once.

mod blocks;
mod plain;

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Read, Write};
use std::mem;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use fs_err::File;
use tempfile::NamedTempFile;

use self::blocks::{Codec, compress_blocks};
pub use self::plain::{Plain, PlainTar};
use crate::tar::{self, TarError};
use crate::{Algorithm, Descriptor, DiffId, Hasher, MediaType};

/// What passes from thread to thread at once.
const CHUNK: usize = 256 << 10;
/// How many chunks may wait.
const CHUNKS: usize = 4;

/// A layer in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layer {
    /// Of the file: what a manifest says of the layer.
    pub descriptor: Descriptor,
    /// Of the tar: what a config says of the layer.
    pub diff_id: DiffId,
    /// The size of the tar, in bytes.
    pub uncompressed_size: u64,
    /// Where it lies.
    pub file: PathBuf,
}

impl Layer {
    /// Whether its file is what `target` describes, by what was hashed when it was written.
    pub(crate) fn is(&self, target: &Descriptor) -> bool {
        self.descriptor.digest == target.digest && self.descriptor.size == target.size
    }
}

/// What is known of a layer that was hashed, but not kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hashed {
    /// Of the tar.
    pub diff_id: DiffId,
    /// The size of the tar, in bytes.
    pub uncompressed_size: u64,
}

impl Hashed {
    /// What the tar is as a blob, stored as it is.
    fn plain(&self) -> Descriptor {
        let media_type = Compression::None.media_type();
        Descriptor::new(media_type, self.diff_id.0.clone(), self.uncompressed_size)
    }
}

/// How a layer is stored. The bytes depend on nothing but the tar and this: not on the machine, nor
/// on the number of its cores.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Compression {
    /// As Go's `compress/gzip` at level 1, which all other CNB tools use: the same layer has the
    /// same digest there and here.
    #[default]
    GoGzip,
    /// Not at all.
    None,
    /// As gzip, in blocks of 1 MiB that are compressed on all cores.
    Gzip {
        /// 1 (fast) to 9 (small).
        level: u32,
    },
    /// As zstd, in frames of 4 MiB that are compressed on all cores.
    Zstd {
        /// 1 (fast) to 19 (small).
        level: i32,
    },
}

impl Compression {
    /// What a layer is that is stored so.
    pub fn media_type(self) -> MediaType {
        match self {
            Self::None => MediaType::LAYER_TAR,
            Self::GoGzip | Self::Gzip { .. } => MediaType::LAYER_GZIP,
            Self::Zstd { .. } => MediaType::LAYER_ZSTD,
        }
    }
}

/// Writes the layer that `fill` makes to `target`, which appears when it is whole, or not at all.
///
/// The file is not synced: whoever keeps it (a store) does that.
pub fn write<E: Error + 'static>(
    target: &Path,
    compression: Compression,
    fill: impl FnOnce(&mut tar::Writer<Sink>) -> Result<(), E>,
) -> Result<Layer, LayerError<E>> {
    write_beside(target, compression, None, fill).map(|(layer, _)| layer)
}

/// The same as [`write()`], and keeps the plain tar besides; `None` if that is not asked for or fails.
pub fn write_beside<E: Error + 'static>(
    target: &Path,
    compression: Compression,
    plain: Option<Plain>,
    fill: impl FnOnce(&mut tar::Writer<Sink>) -> Result<(), E>,
) -> Result<(Layer, Option<PlainTar>), LayerError<E>> {
    store(target, compression, plain, |sink| archive(sink, fill))
}

/// Hashes the layer that `fill` makes, and keeps nothing.
pub fn hash<E: Error + 'static>(
    fill: impl FnOnce(&mut tar::Writer<Sink>) -> Result<(), E>,
) -> Result<Hashed, LayerError<E>> {
    hash_beside(None, fill).map(|(hashed, _)| hashed)
}

/// The same as [`hash`], and keeps the plain tar; `None` if that is not asked for or fails.
pub fn hash_beside<E: Error + 'static>(
    plain: Option<Plain>,
    fill: impl FnOnce(&mut tar::Writer<Sink>) -> Result<(), E>,
) -> Result<(Hashed, Option<PlainTar>), LayerError<E>> {
    let (hashed, plain) = archive(Sink::new(None, plain), fill)?;
    Ok((hashed, plain.and_then(Plain::finish)))
}

/// Compresses `plain`, which [`write()`] made with [`Compression::None`], to `target`: the same bytes
/// that [`write()`] would have made at once.
pub fn compress(
    plain: &Layer,
    target: &Path,
    compression: Compression,
) -> Result<Layer, LayerError<Infallible>> {
    let unreadable = |source| LayerError::Read {
        file: plain.file.clone(),
        source,
    };
    let mut file = File::open(&plain.file).map_err(unreadable)?;
    let stored = store(target, compression, None, |mut sink| {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = file.read(&mut buffer).map_err(unreadable)?;
            if count == 0 {
                break;
            }
            sink.write_all(buffer.get(..count).unwrap_or_default())
                .map_err(LayerError::Pass)?;
        }
        let (hashed, _) = sink.finish().map_err(LayerError::Pass)?;
        if hashed.diff_id == plain.diff_id {
            Ok((hashed, None))
        } else {
            Err(LayerError::Changed {
                file: plain.file.clone(),
                expected: plain.diff_id.clone(),
                presented: hashed.diff_id,
            })
        }
    });
    stored.map(|(layer, _)| layer)
}

/// Stores the tar that `tar` gives, all of it, in `file`: what [`write()`] does with entries.
pub(crate) fn pack(
    tar: impl Read,
    file: &mut std::fs::File,
    compression: Compression,
) -> io::Result<(Descriptor, DiffId)> {
    // The sink must be gone before the other thread is waited for.
    let pass = |mut tar, mut sink| io::copy(&mut tar, &mut sink).and_then(|_| Sink::finish(sink));
    let (sender, receiver) = sync_channel(CHUNKS);
    let (passed, stored) = thread::scope(|scope| {
        let storing = scope.spawn(move || consume(&receiver, file, compression));
        (pass(tar, Sink::new(Some(sender), None)), storing.join())
    });
    // A full disk stops the passing too; the disk is the cause that helps.
    let compressed = stored.unwrap_or_else(|panic| resume_unwind(panic))?;
    let (hashed, _) = passed?;
    let descriptor = compressed.unwrap_or_else(|| hashed.plain());
    Ok((descriptor, hashed.diff_id))
}

/// Bytes on their way to another thread. When they are no longer needed there, what held them goes
/// back and is filled again, as the kernel would have to clear new memory each time.
struct Chunk {
    bytes: Vec<u8>,
    back: Sender<Vec<u8>>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // When all has been passed on, nobody wants it back.
        self.back
            .send(mem::take(&mut self.bytes))
            .unwrap_or_default();
    }
}

/// Where the tar of a layer goes: it is hashed, and passed on.
#[derive(Debug)]
pub struct Sink {
    hasher: Hasher,
    size: u64,
    chunk: Vec<u8>,
    next: Option<Next>,
    plain: Option<Plain>,
}

/// The thread that chunks are passed on to.
#[derive(Debug)]
struct Next {
    chunks: SyncSender<Chunk>,
    used: Receiver<Vec<u8>>,
    back: Sender<Vec<u8>>,
}

impl Sink {
    fn new(next: Option<SyncSender<Chunk>>, plain: Option<Plain>) -> Self {
        let next = next.map(|chunks| {
            let (back, used) = channel();
            Next { chunks, used, back }
        });
        Self {
            hasher: Hasher::new(Algorithm::Sha256),
            size: 0,
            chunk: Vec::with_capacity(CHUNK),
            next,
            plain,
        }
    }

    fn pass(&mut self) -> io::Result<()> {
        self.hasher.update(&self.chunk);
        if let Some(plain) = &mut self.plain {
            plain.pass(&self.chunk);
        }
        if let Some(next) = &self.next {
            let used = next.used.try_recv();
            let empty = used.unwrap_or_else(|_none| Vec::with_capacity(CHUNK));
            let chunk = Chunk {
                bytes: mem::replace(&mut self.chunk, empty),
                back: next.back.clone(),
            };
            next.chunks
                .send(chunk)
                .map_err(|_unsent| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        self.chunk.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<(Hashed, Option<Plain>)> {
        self.pass()?;
        let hashed = Hashed {
            diff_id: DiffId(self.hasher.finish()),
            uncompressed_size: self.size,
        };
        Ok((hashed, self.plain))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK - self.chunk.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.chunk.extend_from_slice(taken);
        self.size += taken.len() as u64;
        if self.chunk.len() == CHUNK {
            self.pass()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a layer could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError<E: Error + 'static> {
    /// What fills the layer failed.
    #[error(transparent)]
    Fill(E),
    /// The archive could not be ended.
    #[error("failed to end the layer")]
    End(#[source] TarError),
    /// The tar could not be passed on to what stores it, which does not say why.
    #[error("failed to pass on the layer")]
    Pass(#[source] io::Error),
    /// A plain layer could not be read.
    #[error("failed to read layer `{}`", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A plain layer is not what it was when it was written.
    #[error("layer `{}` has changed: expected diff ID {expected}, got {presented}", file.display())]
    Changed {
        /// Which.
        file: PathBuf,
        /// What was written.
        expected: DiffId,
        /// What was read.
        presented: DiffId,
    },
    /// The file could not be written.
    #[error("failed to write layer `{}`", file.display())]
    Write {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Runs `fill` between the start and the end of an archive.
fn archive<E: Error + 'static>(
    sink: Sink,
    fill: impl FnOnce(&mut tar::Writer<Sink>) -> Result<(), E>,
) -> Result<(Hashed, Option<Plain>), LayerError<E>> {
    let mut archive = tar::Writer::new(sink);
    fill(&mut archive).map_err(LayerError::Fill)?;
    let sink = archive.finish().map_err(LayerError::End)?;
    sink.finish().map_err(LayerError::Pass)
}

/// Stores what `produce` writes, in a temporary file that gets its name when all is well.
fn store<E: Error + 'static>(
    target: &Path,
    compression: Compression,
    plain: Option<Plain>,
    produce: impl FnOnce(Sink) -> Result<(Hashed, Option<Plain>), LayerError<E>>,
) -> Result<(Layer, Option<PlainTar>), LayerError<E>> {
    let unwritable = |source| LayerError::Write {
        file: target.to_owned(),
        source,
    };
    let folder = target.parent().unwrap_or(Path::new("."));
    let mut temporary = NamedTempFile::new_in(folder).map_err(unwritable)?;
    let (sender, receiver) = sync_channel(CHUNKS);
    let (produced, stored) = thread::scope(|scope| {
        let file = temporary.as_file_mut();
        let storing = scope.spawn(move || consume(&receiver, file, compression));
        let produced = produce(Sink::new(Some(sender), plain));
        (produced, storing.join())
    });
    let stored = stored.unwrap_or_else(|panic| resume_unwind(panic));
    // A full disk stops `produce` too; the disk is the cause that helps.
    let compressed = stored.map_err(unwritable)?;
    let (hashed, plain) = produced?;
    let descriptor = compressed.unwrap_or_else(|| hashed.plain());
    let Hashed {
        diff_id,
        uncompressed_size,
    } = hashed;
    temporary
        .persist(target)
        .map_err(|error| unwritable(error.error))?;
    let layer = Layer {
        descriptor,
        diff_id,
        uncompressed_size,
        file: target.to_owned(),
    };
    Ok((layer, plain.and_then(Plain::finish)))
}

/// Compresses all that comes. `None` if it is not to be compressed: then it is hashed already.
fn consume(
    receiver: &Receiver<Chunk>,
    file: &mut std::fs::File,
    compression: Compression,
) -> io::Result<Option<Descriptor>> {
    let mut output = Counted {
        inner: file,
        hasher: Hasher::new(Algorithm::Sha256),
        size: 0,
    };
    match compression {
        Compression::None => {
            for chunk in receiver {
                output.inner.write_all(chunk.as_ref())?;
            }
            return Ok(None);
        }
        Compression::GoGzip => {
            go::gzip::compress(receiver, &mut output)?;
        }
        Compression::Gzip { level } => {
            compress_blocks(Codec::Gzip { level }, receiver, &mut output)?;
        }
        Compression::Zstd { level } => {
            compress_blocks(Codec::Zstd { level }, receiver, &mut output)?;
        }
    }
    Ok(Some(Descriptor::new(
        compression.media_type(),
        output.hasher.finish(),
        output.size,
    )))
}

/// Hashes and counts what passes.
struct Counted<W> {
    inner: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
