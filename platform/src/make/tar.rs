//! Layers of builders and packages, entry by entry as pack writes them: times are of 1980, owners are
//! root, modes are 0755 or 0644, names begin with a slash, and folders end in none.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use oci::ExtractError;
use oci::layer::Sink;
use oci::tar::{Entry, EntryKind, Manner, Reader, TarError, Writer};

use crate::builder::{Content, Module};

/// 1980-01-01T00:00:01Z, the time of all that CNB tools make.
pub(crate) const TIME: i64 = 315_532_801;
/// What a folder or an archive may hold.
const MAX_ENTRIES: u64 = 1_000_000;
const MAX_PATH: usize = 4096;
const MAX_DEPTH: usize = 128;

/// Where layers are written.
pub(crate) type Tar = Writer<Sink>;

/// A folder with an owner.
pub(crate) fn folder(tar: &mut Tar, path: &str, (uid, gid): (u32, u32)) -> Result<(), FillError> {
    let entry = Entry {
        path: path.into(),
        kind: EntryKind::Directory,
        mode: 0o755,
        uid: uid.into(),
        gid: gid.into(),
        mtime: TIME,
    };
    Ok(tar.write(&entry, io::empty())?)
}

/// A file of root's that all may read.
pub(crate) fn file(tar: &mut Tar, path: &str, content: &[u8]) -> Result<(), FillError> {
    let size = content.len() as u64;
    Ok(tar.write(
        &plain(path.into(), EntryKind::File { size }, 0o644),
        content,
    )?)
}

/// What takes the place of a module of a lower layer away.
pub(crate) fn whiteout(tar: &mut Tar, place: &Path) -> Result<(), FillError> {
    let mut name = OsString::from(".wh.");
    name.push(place.file_name().unwrap_or_default());
    let path = Path::new("/").join(place).with_file_name(name);
    // Pack sets no time, and Go writes that as the first second of 1970.
    let entry = Entry {
        mtime: 0,
        ..plain(path, EntryKind::File { size: 0 }, 0o644)
    };
    Ok(tar.write(&entry, io::empty())?)
}

pub(crate) fn plain(path: PathBuf, kind: EntryKind, mode: u32) -> Entry {
    Entry {
        path,
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: TIME,
    }
}

/// The folders that are in a layer already: of two versions of a module, the second needs none.
pub(crate) type Parents = BTreeSet<PathBuf>;

/// Writes all files of `module`, which lies in a folder or in an archive of one.
pub(crate) fn module(
    tar: &mut Tar,
    module: &Module,
    parents: &mut Parents,
) -> Result<(), FillError> {
    let base = Path::new("/").join(module.place());
    if let Some(parent) = base.parent()
        && parents.insert(parent.to_owned())
    {
        let entry = plain(parent.to_owned(), EntryKind::Directory, 0o755);
        tar.write(&entry, io::empty())?;
    }
    let entry = plain(base.clone(), EntryKind::Directory, 0o755);
    tar.write(&entry, io::empty())?;
    match &module.content {
        Content::Folder(path) => Walk::new(path, None, &base).run(tar),
        Content::PlatformFolder { folder, descriptor } => {
            Walk::new(folder, Some(descriptor), &base).run(tar)
        }
        Content::Archive(path) => from_archive(tar, path, &base),
        Content::Layer(_) | Content::Builder => Err(FillError::Elsewhere {
            module: module.name().to_string(),
        }),
    }
}

/// A folder that is written to a layer, names in the order of their bytes.
struct Walk<'a> {
    root: &'a Path,
    /// A file from elsewhere that is put at the root.
    descriptor: Option<&'a Path>,
    base: &'a Path,
    /// Files with several names, by device and inode: which name was first.
    names: BTreeMap<(u64, u64), PathBuf>,
    entries: u64,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Path, descriptor: Option<&'a Path>, base: &'a Path) -> Self {
        Self {
            root,
            descriptor,
            base,
            names: BTreeMap::new(),
            entries: 0,
        }
    }

    fn run(mut self, tar: &mut Tar) -> Result<(), FillError> {
        self.folder(tar, Path::new(""), 0)
    }

    fn folder(&mut self, tar: &mut Tar, at: &Path, depth: usize) -> Result<(), FillError> {
        let here = self.root.join(at);
        if depth > MAX_DEPTH {
            return Err(FillError::TooDeep { path: here });
        }
        let mut all: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for entry in fs::read_dir(&here).map_err(FillError::Read)? {
            let entry = entry.map_err(FillError::Read)?;
            all.insert(entry.file_name(), entry.path());
        }
        if let (0, Some(descriptor)) = (depth, self.descriptor) {
            let name = descriptor.file_name().unwrap_or_default();
            all.insert(name.to_owned(), descriptor.to_owned());
        }
        for (name, source) in all {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(FillError::TooMany {
                    path: self.root.to_owned(),
                });
            }
            let path = at.join(name);
            self.entry(tar, &path, &source)?;
            if fs::symlink_metadata(&source).is_ok_and(|it| it.is_dir()) {
                self.folder(tar, &path, depth + 1)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, tar: &mut Tar, path: &Path, source: &Path) -> Result<(), FillError> {
        use std::os::unix::fs::FileTypeExt as _;

        let metadata = fs::symlink_metadata(source).map_err(FillError::Read)?;
        let kind = metadata.file_type();
        let mode = mode_of(path, kind.is_dir(), metadata.mode());
        let place = self.base.join(path);
        if kind.is_dir() {
            tar.write(&plain(place, EntryKind::Directory, mode), io::empty())?;
        } else if kind.is_symlink() {
            let target = fs::read_link(source).map_err(FillError::Read)?;
            tar.write(
                &plain(place, EntryKind::Symlink { target }, mode),
                io::empty(),
            )?;
        } else if kind.is_file() {
            if metadata.nlink() > 1 {
                let inode = (metadata.dev(), metadata.ino());
                if let Some(first) = self.names.get(&inode) {
                    let target = first.clone();
                    let entry = plain(place, EntryKind::Hardlink { target }, mode);
                    return Ok(tar.write(&entry, io::empty())?);
                }
                self.names.insert(inode, place.clone());
            }
            let file = fs::File::open(source).map_err(FillError::Read)?;
            let size = file.metadata().map_err(FillError::Read)?.len();
            tar.write(&plain(place, EntryKind::File { size }, mode), file)?;
        } else if !kind.is_socket() {
            return Err(FillError::Special {
                path: source.to_owned(),
            });
        }
        Ok(())
    }
}

/// Who may run it may do so everywhere.
fn mode_of(path: &Path, is_folder: bool, mode: u32) -> u32 {
    let program = ["bin/build", "bin/detect", "bin/generate"];
    if is_folder || mode & 0o111 != 0 || program.iter().any(|it| path == Path::new(it)) {
        0o755
    } else {
        0o644
    }
}

/// The entries of an archive of a folder, in its order and manner.
fn from_archive(tar: &mut Tar, archive: &Path, base: &Path) -> Result<(), FillError> {
    let bad = |source| FillError::Archive {
        path: archive.to_owned(),
        source,
    };
    let file = fs::File::open(archive).map_err(FillError::Read)?;
    let mut reader = Reader::new(file, MAX_ENTRIES, MAX_PATH).map_err(bad)?;
    while let Some(seen) = reader.next_entry().map_err(bad)? {
        let inside = inside(&seen.entry.path).ok_or_else(|| {
            bad(ExtractError::Outside {
                path: seen.entry.path.clone(),
            })
        })?;
        if inside.as_os_str().is_empty() {
            continue;
        }
        let kind = match seen.entry.kind {
            EntryKind::Hardlink { target } => {
                let target = self::inside(&target);
                let target = target.ok_or_else(|| {
                    bad(ExtractError::Outside {
                        path: seen.entry.path.clone(),
                    })
                })?;
                EntryKind::Hardlink {
                    target: base.join(target),
                }
            }
            kind @ (EntryKind::File { .. } | EntryKind::Directory | EntryKind::Symlink { .. }) => {
                kind
            }
            _ => {
                return Err(FillError::Special {
                    path: archive.join(&inside),
                });
            }
        };
        let is_folder = kind == EntryKind::Directory;
        let mode = mode_of(&inside, is_folder, seen.entry.mode);
        let entry = plain(base.join(&inside), kind, mode);
        let manner = Manner {
            gnu: seen.manner.gnu,
            ..Manner::default()
        };
        tar.write_as(&entry, &manner, &mut reader)?;
    }
    Ok(())
}

/// `path` as names below a folder; none, if it leads out of it.
pub(crate) fn inside(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

/// The entries of the layer in the file `layer` that are of the module at `place`, as they are.
pub(crate) fn from_layer(
    tar: &mut Tar,
    layer: &Path,
    place: &Path,
    parents: &mut Parents,
) -> Result<(), FillError> {
    let bad = |source| FillError::Archive {
        path: layer.to_owned(),
        source,
    };
    let parent = place.parent().unwrap_or(place);
    let file = fs::File::open(layer).map_err(FillError::Read)?;
    let mut reader = Reader::new(file, MAX_ENTRIES, MAX_PATH).map_err(bad)?;
    let mut found = false;
    while let Some(seen) = reader.next_entry().map_err(bad)? {
        let outside = || {
            bad(ExtractError::Outside {
                path: seen.entry.path.clone(),
            })
        };
        let inside = inside(&seen.entry.path).ok_or_else(outside)?;
        let absolute = Path::new("/").join(parent);
        if inside == parent {
            if parents.insert(absolute) {
                tar.write_as(&seen.entry, &seen.manner, io::empty())?;
            }
        } else if inside.starts_with(place) {
            if parents.insert(absolute.clone()) {
                // In a layer of several, the folder of one id stands before the first version only.
                let entry = Entry {
                    path: absolute,
                    ..seen.entry.clone()
                };
                tar.write_as(&entry, &seen.manner, io::empty())?;
            }
            found = true;
            tar.write_as(&seen.entry, &seen.manner, &mut reader)?;
        }
    }
    if found {
        Ok(())
    } else {
        Err(FillError::NotThere {
            place: place.to_owned(),
        })
    }
}

/// Why a layer could not be filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// An archive is broken.
    #[error("`{}` cannot be read as an archive", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ExtractError,
    },
    /// The files of a module are not on this machine.
    #[error("the files of `{module}` are not on this machine")]
    Elsewhere {
        /// Which.
        module: String,
    },
    /// A layer does not hold what its label says.
    #[error("there is nothing at `/{}` in the layer that should hold it", place.display())]
    NotThere {
        /// Where it should be.
        place: PathBuf,
    },
    /// A file could not be read; the error says which.
    #[error(transparent)]
    Read(io::Error),
    /// A pipe or device.
    #[error("`{}` is neither a file nor a folder nor a link", path.display())]
    Special {
        /// Which.
        path: PathBuf,
    },
    /// An entry could not be written.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// Folders in folders.
    #[error("`{}` is too deep", path.display())]
    TooDeep {
        /// Which.
        path: PathBuf,
    },
    /// More than is read.
    #[error("`{}` holds more than a million entries", path.display())]
    TooMany {
        /// Which.
        path: PathBuf,
    },
}
