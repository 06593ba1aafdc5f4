//! What the exporter puts into layers: folders and files, normalised so that the same content
//! gives the same layer anywhere.
//!
//! | what | how |
//! |---|---|
//! | names | absolute; folders without a slash at the end |
//! | times | 1980-01-01T00:00:01Z |
//! | owners | the app's user; but folders above a layer as they are |
//! | order | each folder before what is in it, siblings by name |
//! | hard links | files of their own |
//! | sockets | left out |

use std::fs::{DirEntry, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use oci::layer::Sink;
use oci::tar::{Entry, EntryKind, TarError, Writer};
use rustix::fs::{Mode, OFlags};

use crate::files::OsError;
use crate::files::metadata::Process;

/// The time of everything in a layer: 1980-01-01T00:00:01Z, which every tool can represent.
pub(super) const MTIME: i64 = 315_532_801;

/// Who owns what is in the image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a user and a group")]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// How files of this machine appear in the image.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The folder that the image calls `/`.
    pub(crate) root: PathBuf,
    /// Who owns what is in a layer.
    pub(crate) owner: Owner,
}

impl View {
    /// What the image calls `path`.
    pub(crate) fn name(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(&self.root).unwrap_or(path))
    }
}

/// What a layer is made of.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A folder with all in it, and the folders above it.
    Folder(PathBuf),
    /// These files of the app; the second are the folders above, which come first.
    Files(Vec<PathBuf>, Vec<PathBuf>),
    /// The launcher, which lies here.
    Launcher(PathBuf),
    /// Links to the launcher, named for these process types.
    ProcessTypes(Vec<String>),
}

impl Content {
    /// The links for `processes`.
    pub(super) fn process_types(processes: &[Process]) -> Result<Self, TreeError> {
        const FORBIDDEN: &[char] = &['/', '>', '<', ':', '|', '&', '\\'];
        for process in processes {
            if process.r#type.is_empty() {
                return Err(TreeError::NoProcessType);
            }
            if process.r#type.contains(FORBIDDEN) {
                return Err(TreeError::ProcessType {
                    name: process.r#type.clone(),
                });
            }
        }
        let types = processes.iter().map(|it| it.r#type.clone());
        Ok(Self::ProcessTypes(types.collect()))
    }

    /// The folder that it is, if it is one.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            _ => None,
        }
    }

    /// Puts it into `layer`.
    pub(crate) fn write(&self, layer: &mut Writer<Sink>, view: &View) -> Result<(), TreeError> {
        match self {
            Self::Folder(folder) => {
                for parent in parents(folder) {
                    put_parent(layer, &parent, view)?;
                }
                put_all(layer, folder, view)
            }
            Self::Files(files, above) => {
                // A layer without files is an empty archive.
                for parent in above.iter().filter(|_| !files.is_empty()) {
                    put_parent(layer, parent, view)?;
                }
                for file in files {
                    let metadata = look(file)?;
                    put(layer, file, &view.name(file), &metadata, Some(view.owner)).map_err(
                        |source| TreeError::Add {
                            path: file.clone(),
                            source: Box::new(source),
                        },
                    )?;
                }
                Ok(())
            }
            Self::Launcher(launcher) => {
                put_made(layer, "/cnb", EntryKind::Directory)?;
                put_made(layer, "/cnb/lifecycle", EntryKind::Directory)?;
                put_launcher(layer, launcher)
            }
            Self::ProcessTypes(types) => {
                put_made(layer, "/cnb", EntryKind::Directory)?;
                put_made(layer, "/cnb/process", EntryKind::Directory)?;
                for name in types {
                    let target = LAUNCHER.into();
                    put_made(
                        layer,
                        super::process_path(name),
                        EntryKind::Symlink { target },
                    )?;
                }
                Ok(())
            }
        }
    }
}

/// Where the launcher is in an image.
pub(super) const LAUNCHER: &str = "/cnb/lifecycle/launcher";

/// The folders above `path`, but for the root, topmost first.
pub(super) fn parents(path: &Path) -> Vec<PathBuf> {
    let mut parents: Vec<_> = path
        .ancestors()
        .skip(1)
        .filter(|it| it.parent().is_some())
        .map(Path::to_owned)
        .collect();
    parents.reverse();
    parents
}

/// What is in `folder`, sorted by name.
pub(super) fn children(folder: &Path) -> Result<Vec<PathBuf>, TreeError> {
    let entries = entries(folder)?;
    Ok(entries.into_iter().map(|it| it.path()).collect())
}

/// The same, with what the folder says of each.
fn entries(folder: &Path) -> Result<Vec<DirEntry>, TreeError> {
    let failed = |source| TreeError::system("open", folder, source);
    let mut entries = std::fs::read_dir(folder)
        .map_err(failed)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    entries.sort_by_cached_key(DirEntry::file_name);
    Ok(entries)
}

/// What `path` is; links are not followed.
pub(super) fn look(path: &Path) -> Result<Metadata, TreeError> {
    std::fs::symlink_metadata(path).map_err(|source| TreeError::system("lstat", path, source))
}

/// A folder above a layer: as it is here. Below another root it is made up, or the layer would tell
/// who built it: as builders have it, it belongs to who builds. What is not below that root is not in
/// the image.
fn put_parent(layer: &mut Writer<Sink>, path: &Path, view: &View) -> Result<(), TreeError> {
    if view.root != Path::new("/") {
        return match path.strip_prefix(&view.root) {
            Ok(below) if below != Path::new("") => {
                let entry = Entry {
                    uid: view.owner.uid.into(),
                    gid: view.owner.gid.into(),
                    ..made(view.name(path), EntryKind::Directory)
                };
                layer.write(&entry, io::empty()).map_err(TreeError::Tar)
            }
            _ => Ok(()),
        };
    }
    let metadata =
        std::fs::metadata(path).map_err(|source| TreeError::system("stat", path, source))?;
    put(layer, path, path, &metadata, None)
}

fn put_all(layer: &mut Writer<Sink>, path: &Path, view: &View) -> Result<(), TreeError> {
    let mut waiting = vec![(path.to_owned(), false)];
    while let Some((path, is_file)) = waiting.pop() {
        let name = view.name(&path);
        if is_file {
            // It is looked at when it is open.
            put_file(layer, &path, name, Some(view.owner))?;
            continue;
        }
        let metadata = look(&path)?;
        put(layer, &path, &name, &metadata, Some(view.owner))?;
        if metadata.is_dir() {
            let entries = entries(&path)?.into_iter().rev();
            waiting.extend(entries.map(|it| {
                let is_file = it.file_type().is_ok_and(|it| it.is_file());
                (it.path(), is_file)
            }));
        }
    }
    Ok(())
}

/// Adds the file at `path` under `name`; owned by `owner`, or by whom it is.
fn put(
    layer: &mut Writer<Sink>,
    path: &Path,
    name: &Path,
    metadata: &Metadata,
    owner: Option<Owner>,
) -> Result<(), TreeError> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return put_file(layer, path, name.to_owned(), owner);
    }
    let mut entry = found(name.to_owned(), EntryKind::Fifo, metadata, owner);
    if kind.is_socket() {
        return Ok(());
    }
    if kind.is_dir() {
        entry.kind = EntryKind::Directory;
    } else if kind.is_symlink() {
        let target = std::fs::read_link(path)
            .map_err(|source| TreeError::system("readlink", path, source))?;
        entry.kind = EntryKind::Symlink { target };
    } else if kind.is_char_device() || kind.is_block_device() {
        let number = |it: u64| u32::try_from(it).unwrap_or(u32::MAX);
        let (major, minor) = (
            number(major(metadata.rdev())),
            number(minor(metadata.rdev())),
        );
        entry.kind = if kind.is_char_device() {
            EntryKind::Char { major, minor }
        } else {
            EntryKind::Block { major, minor }
        };
    }
    layer.write(&entry, io::empty()).map_err(TreeError::Tar)
}

/// Adds the file at `path`, which is one with content.
fn put_file(
    layer: &mut Writer<Sink>,
    path: &Path,
    name: PathBuf,
    owner: Option<Owner>,
) -> Result<(), TreeError> {
    let (file, metadata) = open(path)?;
    let size = metadata.len();
    let entry = found(name, EntryKind::File { size }, &metadata, owner);
    layer.write(&entry, &file).map_err(TreeError::Tar)
}

/// All that is said of a file comes from the open one: what is swapped or grows meanwhile cannot break
/// the archive, and what shrinks is an error.
fn open(path: &Path) -> Result<(File, Metadata), TreeError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| {
        // Upstream looks first: it does not get as far where the folder is closed.
        let looked = look(path).err();
        looked.unwrap_or_else(|| TreeError::system("open", path, error.into()))
    })?;
    let file = File::from(file);
    let metadata = file
        .metadata()
        .map_err(|source| TreeError::system("stat", path, source))?;
    if !metadata.is_file() {
        return Err(TreeError::Swapped {
            path: path.to_owned(),
        });
    }
    Ok((file, metadata))
}

/// A file of this machine; owned by `owner`, or by whom it is.
fn found(name: PathBuf, kind: EntryKind, metadata: &Metadata, owner: Option<Owner>) -> Entry {
    Entry {
        path: name,
        kind,
        mode: metadata.mode() & 0o7777,
        uid: owner.map_or(metadata.uid(), |it| it.uid).into(),
        gid: owner.map_or(metadata.gid(), |it| it.gid).into(),
        mtime: MTIME,
    }
}

fn put_launcher(layer: &mut Writer<Sink>, launcher: &Path) -> Result<(), TreeError> {
    // Links are followed: a distribution may keep it elsewhere.
    let real = std::fs::canonicalize(launcher).map_err(|source| TreeError::Launcher {
        path: launcher.to_owned(),
        source: OsError(source),
    })?;
    let (file, metadata) = match open(&real) {
        Err(TreeError::Swapped { .. }) if real.is_dir() => {
            return Err(TreeError::LauncherFolder {
                path: launcher.to_owned(),
            });
        }
        Err(TreeError::System { source, .. }) => {
            return Err(TreeError::LauncherClosed {
                path: launcher.to_owned(),
                source,
            });
        }
        opened => opened?,
    };
    let size = metadata.len();
    let entry = made(LAUNCHER, EntryKind::File { size });
    layer.write(&entry, &file).map_err(TreeError::Tar)
}

fn put_made(
    layer: &mut Writer<Sink>,
    name: impl Into<PathBuf>,
    kind: EntryKind,
) -> Result<(), TreeError> {
    layer
        .write(&made(name, kind), io::empty())
        .map_err(TreeError::Tar)
}

/// Something that is no file of this machine: root's, for all to run.
fn made(name: impl Into<PathBuf>, kind: EntryKind) -> Entry {
    Entry {
        path: name.into(),
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: MTIME,
    }
}

/// Why files could not be put into a layer. The texts are upstream's where it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// There is no launcher.
    #[error("failed to stat launcher at path '{}': stat {}", path.display(), path.display())]
    Launcher {
        /// Where it was sought.
        path: PathBuf,
        /// Why.
        source: OsError,
    },
    /// The launcher cannot be read.
    #[error("failed to open launcher at path '{}': open {}", path.display(), path.display())]
    LauncherClosed {
        /// Where it was sought.
        path: PathBuf,
        /// Why.
        source: OsError,
    },
    /// A file of the app could not be put into its layer.
    #[error("failed to add file {} to archive", path.display())]
    Add {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<TreeError>,
    },
    /// The launcher is a folder.
    #[error("failed to write launcher to layer: read {}: is a directory", path.display())]
    LauncherFolder {
        /// Where it was sought.
        path: PathBuf,
    },
    /// A slice's pattern is none.
    #[error("failed to check if '{path}' matches '{pattern}': syntax error in pattern")]
    Pattern {
        /// What was to be matched.
        path: String,
        /// The pattern.
        pattern: String,
    },
    /// A process without a type.
    #[error("type is required for all processes")]
    NoProcessType,
    /// A process type that would leave the folder of process types, or that no shell takes.
    #[error("invalid process type '{name}': type may not contain characters '/><:|&\\'")]
    ProcessType {
        /// The type.
        name: String,
    },
    /// A file became something else while it was looked at.
    #[error("{} was replaced while it was read", path.display())]
    Swapped {
        /// Which.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("{operation} {}", path.display())]
    System {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        source: OsError,
    },
    /// The archive could not be written, or not all of a file be read.
    #[error(transparent)]
    Tar(TarError),
}

impl TreeError {
    pub(super) fn system(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::System {
            operation,
            path: path.to_owned(),
            source: OsError(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_needs_a_type_that_is_a_file_name() {
        let made = |name: &str| {
            let process = Process {
                r#type: name.to_owned(),
                ..Process::default()
            };
            Content::process_types(&[process]).map(drop)
        };
        made("web").unwrap();
        let missing = made("").unwrap_err().to_string();
        assert_eq!(missing, "type is required for all processes");
        assert!(made("a/b").is_err());
    }

    /// The names in the layer of `layers/x` below a root, seen from `root`.
    fn names(root: &Path, folder: &Path) -> Vec<String> {
        let view = View {
            root: root.to_owned(),
            owner: Owner { uid: 1, gid: 1 },
        };
        let target = tempfile::tempdir().unwrap();
        let layer = oci::layer::write(
            &target.path().join("layer"),
            oci::layer::Compression::None,
            |layer| Content::Folder(folder.to_owned()).write(layer, &view),
        )
        .unwrap();
        let mut archive = tar::Archive::new(File::open(layer.file).unwrap());
        archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn what_lies_below_another_root_keeps_its_path_there() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("layers/x");
        std::fs::create_dir_all(folder.join("y")).unwrap();
        assert_eq!(
            names(root.path(), &folder),
            ["/layers", "/layers/x", "/layers/x/y"]
        );
        let here = names(Path::new("/"), &folder);
        assert!(
            here.iter()
                .all(|it| root.path().starts_with(it) || Path::new(it).starts_with(root.path()))
        );
    }
}
