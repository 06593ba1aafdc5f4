//! Unpacks archives into a folder.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;

use self::archive::{Archive, Entry, Kind};
use self::place::Place;
use crate::{Descriptor, DiffId, Hasher, Store, StoreError};

pub(crate) mod archive;
mod beneath;
mod options;
mod place;

pub use self::options::{IdMap, IdRange, Links, OverlayXattrs, Owners, Whiteouts};

/// How to unpack.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExtractOptions {
    /// What the entries mean.
    pub rules: ExtractRules,
    /// Who gets the files. Under the lifecycle's rules always whoever runs this.
    pub owners: Owners,
    /// What becomes of whiteouts. They mean nothing under the lifecycle's rules.
    pub whiteouts: Whiteouts,
    /// Whether symbolic links are followed on the way to an entry.
    pub links: Links,
    /// Only what lies below this absolute path is unpacked, and the path itself is the directory.
    pub below: Option<PathBuf>,
    /// What the archive has to be, uncompressed. If it is something else, that is the error,
    /// whatever else may be wrong with it.
    pub diff_id: Option<DiffId>,
    /// How many entries are read.
    pub entries: u64,
    /// How many bytes are read, uncompressed.
    pub bytes: u64,
    /// How long a path or the target of a link may be, in bytes.
    pub path: usize,
}

/// What the entries of an archive mean where there is something already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExtractRules {
    /// As layers of an image have it: what comes replaces what is there, `.wh.` files remove.
    /// Devices are left out.
    ///
    /// <https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md>
    Layer,
    /// As the CNB lifecycle unpacks its own layers: folders that are there keep their mode, files
    /// are overwritten, a link over anything is an error, as is all that is no folder, file or
    /// symbolic link. Neither owners nor times are set, modes are, and `.wh.` means nothing.
    Lifecycle,
}

impl Default for ExtractOptions {
    fn default() -> Self {
        Self {
            rules: ExtractRules::Layer,
            owners: Owners::Drop,
            whiteouts: Whiteouts::Apply,
            links: Links::Followed,
            below: None,
            diff_id: None,
            entries: 2_000_000,
            bytes: 64 << 30,
            path: 4096,
        }
    }
}

/// What was unpacked.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExtractSummary {
    /// The digest of the archive, uncompressed: what an image config names a layer by.
    pub diff_id: DiffId,
    /// How many entries the archive has.
    pub entries: u64,
    /// How many bytes it is, uncompressed.
    pub bytes: u64,
    /// How many devices were left out.
    pub devices: u64,
    /// Folders that had to be made because something lies in them, and that the archive does not
    /// have; known only if whiteouts are kept for [overlayfs](Whiteouts::Overlay). In the layers
    /// below they may have other modes and owners, which then are theirs.
    pub implied: Vec<PathBuf>,
    /// Whose things are that are not root's, by [`Owners::Record`]; the last one of a path counts.
    pub recorded: Vec<RecordedOwner>,
}

/// Whose something is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RecordedOwner {
    /// What, below the directory.
    pub path: PathBuf,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Unpacks a tar archive, plain or compressed with gzip or zstd, into `directory`, which must be
/// there.
///
/// Nothing outside `directory` is ever touched, whatever the archive says: each path is walked
/// from `directory` on, one folder after the other, and a symbolic link on the way, be it from the
/// archive or there before, is read as if `directory` were the root. `..` in a path is refused, or
/// under the lifecycle's rules goes no further up than `directory`. That no one else changes
/// `directory` meanwhile is up to the caller.
///
/// After an error, what is in `directory` is of no use.
pub fn extract(
    reader: impl Read,
    directory: &Path,
    options: &ExtractOptions,
) -> Result<ExtractSummary, ExtractError> {
    let counted = Counted {
        inner: decompressed(reader)?,
        hasher: Hasher::default(),
        read: 0,
        limit: options.bytes,
    };
    let buffered = BufReader::with_capacity(BUFFER, counted);
    let mut archive = Archive::new(buffered, options.path);
    let unpacked = unpack(&mut archive, directory, options);
    let unpacked = match unpacked {
        // There may be no end to what is too large.
        Err(error @ ExtractError::TooManyBytes { .. }) => return Err(error),
        unpacked => unpacked,
    };
    // The digest says more than the error that it explains.
    if unpacked.is_err() && options.diff_id.is_none() {
        return unpacked;
    }
    let counted = match archive.into_inner() {
        Ok(buffered) => buffered.into_inner(),
        Err(error) => return Err(unpacked.err().unwrap_or(error)),
    };
    let presented = DiffId(counted.hasher.finish());
    if let Some(expected) = options.diff_id.as_ref().filter(|it| **it != presented) {
        return Err(ExtractError::OtherContent {
            expected: expected.clone(),
            presented,
        });
    }
    let mut summary = unpacked?;
    summary.bytes = counted.read;
    summary.diff_id = presented;
    Ok(summary)
}

/// How many bytes are read and hashed at once: more than the buffer below holds, so that nothing is
/// copied through that one.
const BUFFER: usize = 256 << 10;

/// What was unpacked, but for the digest: that is known at the end of what is read.
fn unpack<R: Read>(
    archive: &mut Archive<BufReader<Counted<R>>>,
    directory: &Path,
    options: &ExtractOptions,
) -> Result<ExtractSummary, ExtractError> {
    let mut place = Place::new(directory, options.clone())?;
    let mut entries = 0;
    while let Some(entry) = archive.next_entry()? {
        entries += 1;
        if entries > options.entries {
            return Err(ExtractError::TooManyEntries {
                limit: options.entries,
            });
        }
        place.add(&entry, archive)?;
    }
    place.finish(entries)
}

/// [Extracts](extract) the blob `layer` of `store` while it is read. If the content turns out to be
/// not what `layer` says, that is the error.
pub async fn extract_layer(
    store: &dyn Store,
    layer: &Descriptor,
    directory: &Path,
    options: &ExtractOptions,
) -> Result<ExtractSummary, ExtractError> {
    extract_layer_telling(store, layer, directory, options, &|_| {}).await
}

/// The same; `moved` hears of all bytes of the layer, as they come.
pub async fn extract_layer_telling(
    store: &dyn Store,
    layer: &Descriptor,
    directory: &Path,
    options: &ExtractOptions,
    moved: &(dyn Fn(u64) + Sync),
) -> Result<ExtractSummary, ExtractError> {
    let content = store.fetch(layer).await.map_err(ExtractError::Store)?;
    let content = content.inspect(|chunk| {
        let count = chunk.as_ref().map_or(0, Bytes::len);
        moved(u64::try_from(count).unwrap_or(u64::MAX));
    });
    let (directory, options) = (directory.to_owned(), options.clone());
    // Dropped behind what feeds it.
    let (working, ended) = std::sync::mpsc::channel();
    let _awaited = Awaited(ended);
    let fed = feed(content.boxed(), move |incoming| {
        let _working: std::sync::mpsc::Sender<()> = working;
        extract(incoming, &directory, &options)
    });
    match fed.await {
        Feed::Done(outcome) => outcome,
        Feed::Failed(error) => Err(ExtractError::Store(error)),
        Feed::Cancelled(error) => Err(ExtractError::Read(error)),
    }
}

/// Waits, when it is dropped, until the thread that writes has ended: whoever gave up what it writes
/// may want to remove that. It has little left to write, since it is fed no more.
struct Awaited(std::sync::mpsc::Receiver<()>);

impl Drop for Awaited {
    fn drop(&mut self) {
        /// A thread that never began would be waited for in vain.
        const PATIENCE: Duration = Duration::from_secs(5);
        // Nothing is ever sent.
        self.0.recv_timeout(PATIENCE).unwrap_or_default();
    }
}

/// How feeding a reader on another thread ended.
pub(crate) enum Feed<T> {
    /// All of the content came; what the reader made of it.
    Done(T),
    /// The content is not what it should be, so what the reader made of it is of no use.
    Failed(StoreError),
    /// Nobody knows what became of the reader.
    Cancelled(io::Error),
}

/// Lets `take` read `content` on a thread that may block.
pub(crate) async fn feed<T: Send + 'static>(
    mut content: BoxStream<'_, Result<Bytes, StoreError>>,
    take: impl FnOnce(&mut Incoming) -> T + Send + 'static,
) -> Feed<T> {
    let (sender, receiver) = mpsc::channel(4);
    let task = tokio::task::spawn_blocking(move || {
        let mut incoming = Incoming {
            receiver,
            chunk: Bytes::new(),
        };
        take(&mut incoming)
    });
    let mut failed = None;
    while let Some(chunk) = content.next().await {
        match chunk {
            // Bad content may be why it could not be read, so what nobody takes is read all the
            // same.
            Ok(chunk) => sender.send(chunk).await.unwrap_or_default(),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    drop(sender);
    let outcome = match task.await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => return Feed::Cancelled(io::Error::other(cancelled)),
        },
    };
    match failed {
        Some(error) => Feed::Failed(error),
        None => Feed::Done(outcome),
    }
}

/// The chunks of a blob, as they come from another task, which knows whether these are all.
pub(crate) struct Incoming {
    receiver: mpsc::Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let Some(chunk) = self.receiver.blocking_recv() else {
                return Ok(0);
            };
            self.chunk = chunk;
        }
        let size = buffer.len().min(self.chunk.len());
        let head = self.chunk.split_to(size);
        (&*head).read(buffer)
    }
}

/// The largest window of zstd that is accepted, as a power of two: 128 MiB, as its own tool has it.
const WINDOW: u32 = 27;

/// What `reader` has, decompressed if it is compressed with gzip or zstd.
pub(crate) fn decompressed<'a>(reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>, ExtractError> {
    let mut reader = BufReader::with_capacity(128 << 10, reader);
    let head = loop {
        match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            head => break head.map_err(ExtractError::Read)?,
        }
    };
    if head.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(flate2::bufread::MultiGzDecoder::new(reader)))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder =
            zstd::stream::read::Decoder::with_buffer(reader).map_err(ExtractError::Read)?;
        decoder.window_log_max(WINDOW).map_err(ExtractError::Read)?;
        Ok(Box::new(decoder))
    } else {
        Ok(Box::new(reader))
    }
}

/// Counts and hashes what is read, and reads no more than a limit.
pub(crate) struct Counted<R> {
    pub(crate) inner: R,
    pub(crate) hasher: Hasher,
    pub(crate) read: u64,
    pub(crate) limit: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        if self.read > self.limit {
            return Err(io::Error::other(ExtractError::TooManyBytes {
                limit: self.limit,
            }));
        }
        if let Some(chunk) = buffer.get(..read) {
            self.hasher.update(chunk);
        }
        Ok(read)
    }
}

/// Why an archive could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// It is no tar archive, or broken, or made to look so.
    #[error("the archive is malformed: {problem}")]
    Malformed {
        /// What is wrong.
        problem: String,
    },
    /// It is not what it has to be.
    #[error("expected content with digest {expected}, found {presented}")]
    OtherContent {
        /// What was asked for.
        expected: DiffId,
        /// What was read.
        presented: DiffId,
    },
    /// A path leads out of the directory.
    #[error("`{path}` in the archive leads out of the directory")]
    Outside {
        /// Which, as the archive has it.
        path: PathBuf,
    },
    /// More entries than we read.
    #[error("the archive has more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// More bytes than we read.
    #[error("the archive is larger than {limit} bytes")]
    TooManyBytes {
        /// The limit.
        limit: u64,
    },
    /// A path that is longer than we follow.
    #[error("the archive has a path of more than {limit} bytes")]
    PathTooLong {
        /// The limit.
        limit: usize,
    },
    /// An entry that these rules do not know, in upstream's words.
    #[error("unknown file type in tar {flag}")]
    UnknownType {
        /// Which entry.
        path: PathBuf,
        /// Its type flag.
        flag: u8,
    },
    /// A file could not be made.
    #[error("failed to {action} `{path}` of the archive")]
    File {
        /// What was tried.
        action: &'static str,
        /// Which, as the archive has it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive could not be read.
    #[error("failed to read the archive")]
    Read(#[source] io::Error),
    /// The store failed, or its content is not what it should be.
    #[error("failed to read the layer")]
    Store(#[source] StoreError),
}

impl ExtractError {
    /// What `error`, which came from reading the archive, is about.
    pub(crate) fn read(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => Self::Read(error),
        }
    }
}
