//! `index.json` on disk: read when it changed, replaced under a lock.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, OFlags};

use super::blobs::{ALGORITHMS, Opened, TEMPORARY};
use super::index::IndexFile;
use super::place;
use crate::StoreError;

/// More than 100,000 entries have.
const INDEX_BYTES: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct Snapshots {
    root: PathBuf,
    last: Mutex<Option<Arc<Snapshot>>>,
}

/// `index.json` as it was at one time.
#[derive(Clone, Debug)]
pub(in crate::store) struct Snapshot {
    pub(in crate::store) stamp: Stamp,
    pub(in crate::store) index: IndexFile,
}

/// Tells one `index.json` from another without reading it: each is a new file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::store) struct Stamp {
    file: u64,
    length: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// The right to change `index.json`. Leaves no file behind.
pub(super) struct Lock {
    path: PathBuf,
    /// What is locked as long as it is open.
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // One that stays is a file too many, and locks as well as a new one.
        if is_at(&self.file, &self.path).unwrap_or_default() {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// The file at `path`, made where it is missing, when no one else holds it.
fn locked(path: &Path) -> io::Result<File> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    loop {
        match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether `path` still names `file`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok(there.dev() == opened.dev() && there.ino() == opened.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Snapshots {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            last: Mutex::new(None),
        }
    }

    /// `index.json` as it is now.
    pub(super) fn current(&self) -> Result<Arc<Snapshot>, StoreError> {
        let path = self.root.join("index.json");
        let Some((file, stamp)) = open_plain(&self.root, &path)? else {
            return Err(self.malformed("it has no `index.json` file".to_owned()));
        };
        let mut last = self.last();
        if let Some(known) = last.as_ref().filter(|it| it.stamp == stamp) {
            return Ok(Arc::clone(known));
        }
        let text = read_at_most(&self.root, file, INDEX_BYTES)?;
        let index = serde_json::from_str(&crate::json::text(&text))
            .map_err(|error| self.malformed(format!("`index.json` cannot be read: {error}")))?;
        let snapshot = Arc::new(Snapshot { stamp, index });
        *last = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// Changes `index.json`, alone. `change` says whether it did.
    pub(super) fn update(
        &self,
        change: impl FnOnce(&mut IndexFile) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let mut snapshot = self.current()?;
        // Changed in place unless someone still looks at it: there may be thousands of entries.
        // After a failure it is read again.
        self.last().take();
        let index = &mut Arc::make_mut(&mut snapshot).index;
        if change(index)? {
            let stamp = self.replace(index)?;
            Arc::make_mut(&mut snapshot).stamp = stamp;
        }
        *self.last() = Some(snapshot);
        Ok(())
    }

    /// Waits until no one else changes `index.json`. The lock ends with the value, or the process.
    pub(super) fn lock(&self) -> Result<Lock, StoreError> {
        let failed = |source| StoreError::io(place(&self.root), "lock `index.json`", source);
        let path = self.root.join(".lock");
        loop {
            let file = locked(&path).map_err(failed)?;
            // Whoever had the lock has taken the file away, so another one may be locked by now.
            if is_at(&file, &path).map_err(failed)? {
                return Ok(Lock { path, file });
            }
        }
    }

    /// Replaces `index.json`; only to be called under the lock.
    pub(super) fn write(&self, index: IndexFile) -> Result<(), StoreError> {
        let stamp = self.replace(&index)?;
        *self.last() = Some(Arc::new(Snapshot { stamp, index }));
        Ok(())
    }

    fn replace(&self, index: &IndexFile) -> Result<Stamp, StoreError> {
        let failed = |source| StoreError::io(place(&self.root), "write `index.json`", source);
        // The names of the blobs must be on disk before that which refers to them.
        for algorithm in ALGORITHMS {
            let folder = self.root.join("blobs").join(algorithm.name());
            match sync_folder(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(failed)?,
            }
        }
        let file = replace(&self.root, "index.json", |file| {
            let mut file = BufWriter::new(file);
            serde_json::to_writer(&mut file, index)?;
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            if file.metadata()?.len() > INDEX_BYTES {
                return Err(io::Error::other("it would be larger than 64 MiB"));
            }
            Ok(())
        });
        Stamp::of(&file.map_err(failed)?).map_err(failed)
    }

    fn last(&self) -> MutexGuard<'_, Option<Arc<Snapshot>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn malformed(&self, problem: String) -> StoreError {
        StoreError::Malformed {
            place: place(&self.root),
            problem,
        }
    }
}

impl Stamp {
    /// Of the `number`th index that is in memory alone.
    pub(in crate::store) fn numbered(number: u64) -> Self {
        Self {
            file: number,
            length: 0,
            seconds: 0,
            nanoseconds: 0,
        }
    }

    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            file: metadata.ino(),
            length: metadata.len(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        })
    }
}

/// Puts what `write` writes into the file `name` of `folder`: all of it, or nothing changes.
pub(super) fn replace(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<File> {
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    let file = file.persist(folder.join(name))?;
    sync_folder(folder)?;
    Ok(file)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Reads `path`, of the layout at `root`, if it is there.
pub(super) fn read_small(
    root: &Path,
    path: &Path,
    limit: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    open_plain(root, path)?
        .map(|(file, _)| read_at_most(root, file, limit))
        .transpose()
}

fn open_plain(root: &Path, path: &Path) -> Result<Option<(File, Stamp)>, StoreError> {
    let failed = |error| StoreError::io(place(root), "open it", error);
    let file = match Opened::at(path) {
        Ok(opened) => opened.file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(StoreError::Malformed {
            place: place(root),
            problem: format!("`{}` is not a plain file", path.display()),
        });
    }
    let stamp = Stamp::of(&file).map_err(failed)?;
    Ok(Some((file, stamp)))
}

fn read_at_most(root: &Path, file: File, limit: u64) -> Result<Vec<u8>, StoreError> {
    crate::read_at_most(file, limit)
        .map_err(|error| StoreError::io(place(root), "read it", error))?
        .ok_or_else(|| StoreError::Malformed {
            place: place(root),
            problem: format!("a file of it is larger than {limit} bytes"),
        })
}
