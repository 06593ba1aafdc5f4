//! From what an instruction changed to a layer.
//!
//! What was removed comes first, then all else by its path, each after the folders above it. Names
//! begin at the root without a `/`, folders end in one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use oci::layer::{self, Compression, Layer, LayerError};
use oci::tar::{self, EntryKind, Manner, TarError};
use thiserror::Error;

use super::root::{Changes, Found};

/// When what is not made by a command is said to be made, in seconds since 1970: 1980-01-01T00:00:01Z,
/// as in all layers of the lifecycle.
pub(super) const FIXED: i64 = 315_532_801;

/// Which times of modification a layer has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a choice of two")]
pub enum Times {
    /// At most this one, in seconds since 1970: what a build makes does not depend on when it does.
    AtMost(i64),
    /// Those of the files.
    #[default]
    Kept,
}

impl Times {
    pub(super) fn limit(self) -> Option<i64> {
        match self {
            Self::AtMost(time) => Some(time),
            Self::Kept => None,
        }
    }

    pub(super) fn of(self, mtime: i64) -> i64 {
        match self {
            Self::AtMost(time) => mtime.min(time),
            Self::Kept => mtime,
        }
    }
}

/// Something that a layer has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Item {
    /// Where, from the root on, without a `/`.
    pub(super) path: PathBuf,
    pub(super) content: Content,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    /// What it may, if it is a program.
    pub(super) capability: Option<Vec<u8>>,
}

/// What it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Content {
    Block {
        major: u32,
        minor: u32,
    },
    Bytes(Vec<u8>),
    Char {
        major: u32,
        minor: u32,
    },
    Directory,
    Fifo,
    /// The content of a file elsewhere.
    File {
        from: PathBuf,
        size: u64,
    },
    Hardlink(PathBuf),
    /// It is no more there.
    Removed,
    Symlink(PathBuf),
}

/// Writes a layer to `target`.
pub(super) fn write(items: &[Item], target: &Path) -> Result<Layer, LayerError<FillError>> {
    layer::write(target, Compression::GoGzip, |archive| {
        for item in items {
            add(archive, item)?;
        }
        Ok(())
    })
}

fn add(archive: &mut tar::Writer<layer::Sink>, item: &Item) -> Result<(), FillError> {
    let kind = match &item.content {
        Content::Block { major, minor } => EntryKind::Block {
            major: *major,
            minor: *minor,
        },
        Content::Bytes(bytes) => EntryKind::File {
            size: bytes.len() as u64,
        },
        Content::Char { major, minor } => EntryKind::Char {
            major: *major,
            minor: *minor,
        },
        Content::Directory => EntryKind::Directory,
        Content::Fifo => EntryKind::Fifo,
        Content::File { size, .. } => EntryKind::File { size: *size },
        Content::Hardlink(target) => EntryKind::Hardlink {
            target: target.clone(),
        },
        Content::Removed => EntryKind::File { size: 0 },
        Content::Symlink(target) => EntryKind::Symlink {
            target: target.clone(),
        },
    };
    let mut path = item.path.clone();
    match item.content {
        Content::Directory => path.as_mut_os_string().push("/"),
        Content::Removed => {
            let mut name = OsString::from(".wh.");
            name.push(item.path.file_name().unwrap_or_default());
            path.set_file_name(name);
        }
        _ => {}
    }
    let entry = tar::Entry {
        path,
        kind,
        mode: item.mode,
        uid: item.uid.into(),
        gid: item.gid.into(),
        mtime: item.mtime,
    };
    let manner = Manner {
        capability: item.capability.clone(),
        ..Manner::default()
    };
    match &item.content {
        Content::Bytes(bytes) => archive.write(&entry, bytes.as_slice())?,
        Content::File { from, .. } => {
            let file = fs::File::open(from).map_err(|source| FillError::Open {
                path: from.clone(),
                source,
            })?;
            archive.write_as(&entry, &manner, file)?;
        }
        _ => archive.write(&entry, io::empty())?,
    }
    Ok(())
}

/// What a layer with these changes has; nothing if nothing was changed.
pub(super) fn items(changes: &Changes, times: Times) -> io::Result<Vec<Item>> {
    let mut items = Items {
        changes,
        times,
        found: Vec::new(),
        folders: BTreeSet::new(),
        links: BTreeMap::new(),
    };
    for path in &changes.removed {
        items.parents(path)?;
        items.found.push(Item {
            path: path.clone(),
            content: Content::Removed,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: 0,
            capability: None,
        });
    }
    for path in &changes.changed {
        items.parents(path)?;
        if !items.folders.contains(path) {
            items.add(path)?;
        }
    }
    Ok(items.found)
}

struct Items<'a> {
    changes: &'a Changes,
    times: Times,
    found: Vec<Item>,
    /// Folders that are there already.
    folders: BTreeSet<PathBuf>,
    /// The first name of each file that has several.
    links: BTreeMap<(u64, u64), PathBuf>,
}

impl Item {
    /// A folder.
    pub(super) fn folder(path: PathBuf, found: &Found, times: Times) -> Self {
        Self {
            path,
            content: Content::Directory,
            mode: found.mode,
            uid: found.uid,
            gid: found.gid,
            mtime: times.of(found.mtime),
            capability: None,
        }
    }
}

impl Items<'_> {
    /// The folders above `path`.
    fn parents(&mut self, path: &Path) -> io::Result<()> {
        let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
        parents.pop();
        for parent in parents.into_iter().rev() {
            if !self.folders.contains(parent) {
                self.add(parent)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path) -> io::Result<()> {
        let file = self.changes.folder.join(path);
        let metadata = fs::symlink_metadata(&file)?;
        let Some(mut item) = item(&file, path, &metadata, self.times)? else {
            return Ok(());
        };
        if item.content == Content::Directory {
            self.folders.insert(path.to_owned());
        } else if metadata.nlink() > 1 {
            let file = (metadata.dev(), metadata.ino());
            if let Some(first) = self.links.get(&file) {
                item.content = Content::Hardlink(first.clone());
                item.capability = None;
            } else {
                self.links.insert(file, path.to_owned());
            }
        }
        self.found.push(item);
        Ok(())
    }
}

/// What a layer says of `file`, called `path`. Sockets have no place in a layer.
pub(super) fn item(
    file: &Path,
    path: &Path,
    metadata: &fs::Metadata,
    times: Times,
) -> io::Result<Option<Item>> {
    let kind = metadata.file_type();
    let device = metadata.rdev();
    let major = rustix::fs::major(device);
    let minor = rustix::fs::minor(device);
    let content = if kind.is_dir() {
        Content::Directory
    } else if kind.is_symlink() {
        Content::Symlink(fs::read_link(file)?)
    } else if kind.is_file() {
        Content::File {
            from: file.to_owned(),
            size: metadata.len(),
        }
    } else if kind.is_fifo() {
        Content::Fifo
    } else if kind.is_char_device() {
        Content::Char { major, minor }
    } else if kind.is_block_device() {
        Content::Block { major, minor }
    } else {
        return Ok(None);
    };
    let capability = if kind.is_file() {
        capability(file)?
    } else {
        None
    };
    Ok(Some(Item {
        path: path.to_owned(),
        content,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: times.of(metadata.mtime()),
        capability,
    }))
}

/// What the program `file` may, if it may something.
pub(super) fn capability(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = [0; 64];
    match rustix::fs::lgetxattr(file, "security.capability", &mut buffer) {
        Ok(size) => Ok(buffer.get(..size).map(<[u8]>::to_vec)),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Why a layer could not be filled.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FillError {
    /// A file cannot be read.
    #[error("failed to open `{}`", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It has no place in an archive.
    #[error(transparent)]
    Tar(#[from] TarError),
}
