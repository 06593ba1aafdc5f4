//! Content by digest: `blobs/<algorithm>/<hex>`.
//!
//! A file, or a folder of them, may be a symbolic link: so Bazel and Nix make layouts, and all tools of the
//! field read through them. What is read has a digest, wherever it lies. Nothing is written through a link,
//! not even a time: what is behind one is somebody else's. So a blob that is a link is not counted on where
//! it is pushed, and becomes a file of the layout; and where a folder is a link, nothing is pushed, deleted
//! or collected.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use tempfile::NamedTempFile;

use super::{kind_behind, kind_of, place};
use crate::store::check;
use crate::{Algorithm, Descriptor, Digest, Hasher, StoreError};

/// How the names of files begin that are not whole yet.
pub(super) const TEMPORARY: &str = ".tmp-";

/// Bytes that are read at once.
const CHUNK: u64 = 512 << 10;

pub(super) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

#[derive(Debug)]
pub(super) struct Blobs {
    root: PathBuf,
}

impl Blobs {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(super) fn folder(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("blobs").join(algorithm.name())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder(digest.algorithm()).join(digest.hex())
    }

    /// The folders are folders, or links to some.
    pub(super) fn check_folders(&self) -> Result<(), StoreError> {
        let malformed = |problem: &str| StoreError::Malformed {
            place: place(&self.root),
            problem: problem.to_owned(),
        };
        match kind_behind(&self.root, &self.root.join("blobs"))? {
            Some(it) if it.is_dir() => {}
            Some(_) => return Err(malformed("`blobs` is not a folder")),
            None => return Err(malformed("it has no folder `blobs`")),
        }
        for algorithm in ALGORITHMS {
            if kind_behind(&self.root, &self.folder(algorithm))?.is_some_and(|it| !it.is_dir()) {
                return Err(malformed("a folder in `blobs` is not a folder"));
            }
        }
        Ok(())
    }

    /// The folder of this algorithm, which is the layout's own, to change what is in it. It may be missing.
    pub(super) fn own_folder(&self, algorithm: Algorithm) -> Result<PathBuf, StoreError> {
        let folder = self.folder(algorithm);
        for path in [&self.root.join("blobs"), &folder] {
            if kind_of(&self.root, path)?.is_some_and(|it| it.is_symlink()) {
                return Err(StoreError::Malformed {
                    place: place(&self.root),
                    problem: format!(
                        "`{}` is a link, and nothing is written through one",
                        path.strip_prefix(&self.root).unwrap_or(path).display()
                    ),
                });
            }
        }
        Ok(folder)
    }

    pub(super) fn create_folders(&self) -> Result<(), StoreError> {
        fs_err::create_dir_all(self.own_folder(Algorithm::Sha256)?)
            .map_err(|source| StoreError::io(place(&self.root), "make `blobs`", source))
    }

    /// Whether there is a file of the right size.
    pub(super) fn has(&self, target: &Descriptor) -> Result<bool, StoreError> {
        Ok(kind_behind(&self.root, &self.path(&target.digest))?
            .is_some_and(|it| it.is_file() && it.len() == target.size))
    }

    /// As [`has`](Self::has), but not if it was condemned or lies behind a link; and makes the file look new, so that a
    /// collection of garbage leaves it to whoever asked because they are about to refer to it. Where
    /// that may not be written, there is no such collection either.
    pub(super) fn freshen(&self, target: &Descriptor) -> Result<bool, StoreError> {
        if !self.has(target)? || self.own_folder(target.digest.algorithm()).is_err() {
            return Ok(false);
        }
        match self.open_file(&target.digest) {
            Ok(Some(found)) if found.is_link || is_condemned(&found.file) => Ok(false),
            Ok(Some(found)) => {
                set_modified(&found.file, UTIME_NOW);
                Ok(true)
            }
            // What we cannot open here is not ours to write; what a link leads to is not counted on.
            Ok(None) | Err(_) => {
                let found = kind_of(&self.root, &self.path(&target.digest))?;
                Ok(found.is_some_and(|it| it.is_file()))
            }
        }
    }

    /// Whether its file was last written or pushed before that, or is not there.
    pub(super) fn is_older(&self, digest: &Digest, before: SystemTime) -> Result<bool, StoreError> {
        let Some(metadata) = kind_of(&self.root, &self.path(digest))? else {
            return Ok(true);
        };
        let modified = metadata.modified();
        Ok(modified.map_err(|error| self.failed("look at", digest, error))? < before)
    }

    /// None if there is nothing. A link that leads nowhere is not nothing: what it names was meant to be
    /// there, and what that refers to is still needed.
    fn open_file(&self, digest: &Digest) -> Result<Option<Opened>, StoreError> {
        let malformed = |problem: &str| StoreError::Malformed {
            place: place(&self.root),
            problem: format!("{digest} is {problem}"),
        };
        let mut found = match Opened::at(&self.path(digest)) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let there = kind_of(&self.root, &self.path(digest))?;
                if there.is_some_and(|it| it.is_symlink()) {
                    return Err(malformed("a link that leads nowhere"));
                }
                return Ok(None);
            }
            Err(error) => return Err(self.failed("open", digest, error)),
        };
        let metadata = found.file.metadata();
        let metadata = metadata.map_err(|error| self.failed("open", digest, error))?;
        if !metadata.is_file() {
            return Err(malformed("not a plain file"));
        }
        found.is_link |= self.own_folder(digest.algorithm()).is_err();
        Ok(Some(found))
    }

    /// Opens `target`; it is hashed as it is read. What is found to be wrong is condemned.
    pub(super) fn open(&self, target: &Descriptor) -> Result<Reader, StoreError> {
        let digest = &target.digest;
        let found = self
            .open_file(digest)?
            .ok_or_else(|| StoreError::NotFound {
                what: digest.to_string(),
                place: place(&self.root),
                answer: None,
            })?;
        let reader = self.reader(found.file, target, Hashed::Never)?;
        Ok(Reader {
            is_ours: !found.is_link,
            ..reader
        })
    }

    /// Reads `target` from a file that lies elsewhere; unless it was before, it is hashed as it is
    /// read.
    pub(super) fn open_other(
        &self,
        path: &Path,
        target: &Descriptor,
        hashed: Hashed,
    ) -> Result<Reader, StoreError> {
        let file =
            fs_err::File::open(path).map_err(|error| self.failed("add", &target.digest, error))?;
        self.reader(file.into_parts().0, target, hashed)
    }

    fn reader(
        &self,
        file: File,
        target: &Descriptor,
        hashed: Hashed,
    ) -> Result<Reader, StoreError> {
        let size = file
            .metadata()
            .map_err(|error| self.failed("open", &target.digest, error))?
            .len();
        if size != target.size {
            return Err(StoreError::SizeMismatch {
                digest: target.digest.clone(),
                expected: target.size,
                presented: size,
                came: None,
            });
        }
        Ok(Reader {
            file,
            hasher: match hashed {
                Hashed::Before => None,
                Hashed::Never => Some(Hasher::new(target.digest.algorithm())),
            },
            remaining: size,
            is_done: false,
            is_ours: false,
            target: target.clone(),
            place: place(&self.root),
        })
    }

    /// Reads the content of `digest`, of whatever size up to `limit`, checked.
    pub(super) fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(found) = self.open_file(digest)? else {
            return Ok(None);
        };
        let content = crate::read_at_most(&found.file, limit)
            .map_err(|error| self.failed("read", digest, error))?
            .ok_or_else(|| StoreError::TooLarge {
                digest: digest.clone(),
                limit,
            })?;
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&content);
        let presented = hasher.finish();
        if presented != *digest {
            if !found.is_link {
                condemn(&found.file);
            }
            return Err(StoreError::DigestMismatch {
                expected: digest.clone(),
                presented,
                came: None,
            });
        }
        Ok(Some(content.into()))
    }

    /// Gives the file at `path`, which was hashed when it was written and is `target`, another name
    /// here. False if that cannot be done, as between disks: then it has to be copied.
    pub(super) fn adopt(&self, path: &Path, target: &Descriptor) -> Result<bool, StoreError> {
        let folder = self.own_folder(target.digest.algorithm())?;
        let linked = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .make_in(&folder, |name| {
                std::fs::hard_link(path, name)?;
                // Of what cannot be opened, nobody else takes the name away.
                File::options()
                    .read(true)
                    .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                    .open(name)
                    .inspect_err(|_| std::fs::remove_file(name).unwrap_or_default())
            });
        let Ok(file) = linked else {
            return Ok(false);
        };
        let failed = |error| self.failed("write", &target.digest, error);
        let metadata = file.as_file().metadata().map_err(failed)?;
        if !metadata.is_file() || metadata.len() != target.size {
            return Ok(false);
        }
        file.as_file()
            .set_permissions(Permissions::from_mode(0o644))
            .map_err(failed)?;
        set_modified(file.as_file(), UTIME_NOW);
        file.as_file().sync_all().map_err(failed)?;
        file.persist(self.path(&target.digest))
            .map_err(|error| failed(error.error))?;
        Ok(true)
    }

    /// Starts to write `target`, whose bytes are checked by whom they come from.
    pub(super) fn writer(&self, target: &Descriptor) -> Result<Writer, StoreError> {
        let folder = self.own_folder(target.digest.algorithm())?;
        let failed = |error| self.failed("write", &target.digest, error);
        if target.digest.algorithm() != Algorithm::Sha256 {
            fs_err::create_dir_all(&folder).map_err(failed)?;
        }
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(&folder)
            .map_err(failed)?;
        Ok(Writer {
            file,
            written: 0,
            path: self.path(&target.digest),
            target: target.clone(),
            place: place(&self.root),
        })
    }

    pub(super) fn write(&self, target: &Descriptor, content: &[u8]) -> Result<(), StoreError> {
        check(target, content)?;
        self.write_checked(target, content)
    }

    /// The same of content that was found to be `target` before.
    pub(super) fn write_checked(
        &self,
        target: &Descriptor,
        content: &[u8],
    ) -> Result<(), StoreError> {
        let mut writer = self.writer(target)?;
        writer.write(content)?;
        writer.finish()
    }

    /// Removes the file of `digest`, if there is one.
    pub(super) fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        let folder = self.own_folder(digest.algorithm())?;
        match fs_err::remove_file(folder.join(digest.hex())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("delete", digest, error))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, action: &str, digest: &Digest, source: io::Error) -> StoreError {
        StoreError::io(place(&self.root), format!("{action} {digest}"), source)
    }
}

/// A file that was opened to be read.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    /// Whether it lies behind a link, and so may be anybody's. [`at`](Self::at) looks at the last part of
    /// the path only.
    pub(super) is_link: bool,
}

impl Opened {
    /// Opens what is at `path`, also a file behind a link: a device there is not even touched.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        // Not to hang on a pipe is why it is opened without blocking.
        let open = |flags: OFlags| {
            File::options()
                .read(true)
                .custom_flags((flags | OFlags::NONBLOCK).bits().cast_signed())
                .open(path)
        };
        let (file, is_link) = match open(OFlags::NOFOLLOW) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                if !std::fs::metadata(path)?.is_file() {
                    return Err(io::Error::other("a link to what is not a plain file"));
                }
                (open(OFlags::empty())?, true)
            }
            opened => (opened?, false),
        };
        Ok(Self { file, is_link })
    }
}

/// Nanoseconds after 1970 at which no file was written: when one was that is not what its name says.
const CONDEMNED: i64 = 401;

/// Notes that a file is not what its name says. It stays, for others to find out too; but it does not
/// count as there when it is pushed again, and is written anew. Best effort, as we may only read.
fn condemn(file: &File) {
    set_modified(file, CONDEMNED);
}

fn is_condemned(file: &File) -> bool {
    file.metadata()
        .is_ok_and(|it| (it.mtime(), it.mtime_nsec()) == (0, CONDEMNED))
}

fn set_modified(file: &File, nanoseconds: i64) {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps {
        last_access: time(UTIME_OMIT),
        last_modification: time(nanoseconds),
    };
    rustix::fs::futimens(file, &times).ok();
}

/// Whether a file was hashed when it was written, by us and into a place that only we write to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hashed {
    Before,
    Never,
}

/// A blob being read.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    /// None if it was hashed before.
    hasher: Option<Hasher>,
    remaining: u64,
    /// Whether all was read and found good.
    is_done: bool,
    /// Whether the file is one of the layout.
    is_ours: bool,
    target: Descriptor,
    place: String,
}

impl Reader {
    /// The next chunk, if there is one. The last comes only when all of the content has been
    /// found to be what was described.
    pub(super) fn step(mut self) -> Result<(Option<Bytes>, Self), StoreError> {
        if self.is_done {
            return Ok((None, self));
        }
        let wanted = self.remaining.min(CHUNK);
        let mut chunk = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        let failed = |error| {
            let action = format!("read {}", self.target.digest);
            StoreError::io(&self.place, action, error)
        };
        (&self.file)
            .take(wanted)
            .read_to_end(&mut chunk)
            .map_err(failed)?;
        let read = chunk.len() as u64;
        if read < wanted {
            return Err(StoreError::SizeMismatch {
                digest: self.target.digest,
                expected: self.target.size,
                presented: self.target.size - self.remaining + read,
                came: None,
            });
        }
        self.remaining -= read;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        self.is_done = self.remaining == 0;
        if self.is_done
            && let Some(hasher) = self.hasher.take()
        {
            let presented = hasher.finish();
            if presented != self.target.digest {
                if self.is_ours {
                    condemn(&self.file);
                }
                return Err(StoreError::DigestMismatch {
                    expected: self.target.digest,
                    presented,
                    came: None,
                });
            }
        }
        let chunk = Some(chunk).filter(|it| !it.is_empty()).map(Bytes::from);
        Ok((chunk, self))
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }
}

/// A blob being written; dropped before its end, it leaves nothing.
#[derive(Debug)]
pub(super) struct Writer {
    file: NamedTempFile,
    written: u64,
    path: PathBuf,
    target: Descriptor,
    place: String,
}

impl Writer {
    pub(super) fn target(&self) -> &Descriptor {
        &self.target
    }

    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        self.written += chunk.len() as u64;
        // Endless content must not fill the disk before it is found to be too long.
        if self.written > self.target.size {
            return Err(self.wrong_size());
        }
        let written = self.file.write_all(chunk);
        written.map_err(|error| self.failed(error))
    }

    pub(super) fn write_all(&mut self, chunks: &[Bytes]) -> Result<(), StoreError> {
        chunks.iter().try_for_each(|it| self.write(it))
    }

    /// Gives the file its name, if it is as long as was described.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        if self.written != self.target.size {
            return Err(self.wrong_size());
        }
        if let Err(error) = self.file.as_file().sync_all() {
            return Err(self.failed(error));
        }
        let action = format!("write {}", self.target.digest);
        match self.file.persist(&self.path) {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::io(self.place, action, error.error)),
        }
    }

    fn wrong_size(&self) -> StoreError {
        StoreError::SizeMismatch {
            digest: self.target.digest.clone(),
            expected: self.target.size,
            presented: self.written,
            came: None,
        }
    }

    fn failed(&self, source: io::Error) -> StoreError {
        let action = format!("write {}", self.target.digest);
        StoreError::io(&self.place, action, source)
    }
}
