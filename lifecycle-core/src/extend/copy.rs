//! `COPY` and `ADD`: from files of the context to what a layer has.
//!
//! <https://docs.docker.com/reference/dockerfile/#copy>

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use go::glob;
use oci::{ExtractOptions, Owners, extract};
use tempfile::TempDir;
use thiserror::Error;

use super::layer::{Content, FIXED, Item, Times, item};
use super::paths::{outside, resolve};
use super::root::{Found, Look, Root};
use crate::dockerfile::ignore::Ignore;

/// The most files of one instruction.
const MAX_FILES: usize = 1_000_000;

/// Where sources are.
#[derive(Debug)]
pub(super) struct Context {
    /// The folder.
    pub(super) folder: PathBuf,
    /// What of it does not count.
    pub(super) ignore: Ignore,
}

/// What is copied, with all variables replaced.
#[derive(Debug)]
pub(super) struct Request {
    /// Paths in the context, with wildcards.
    pub(super) sources: Vec<String>,
    /// Files that stand in the Dockerfile.
    pub(super) inline: Vec<(String, String)>,
    /// Where to; absolute. Ends in `/` if it is a folder for sure.
    pub(super) target: String,
    /// Whose it is to be; that of an archive's files is theirs.
    pub(super) owner: Option<(u32, u32)>,
    /// Permissions of all.
    pub(super) mode: Option<u32>,
    /// What of the sources is left out.
    pub(super) excludes: Ignore,
    /// Whether the folders above the sources are copied too.
    pub(super) keeps_parents: bool,
    /// Whether archives are unpacked.
    pub(super) unpacks: bool,
}

/// What is to be in the layer; its files lie where they were found.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) items: Vec<Item>,
    /// What archives were unpacked to.
    _unpacked: Vec<TempDir>,
}

/// Finds out what is copied where.
pub(super) fn copy(
    request: &Request,
    context: &Context,
    root: &dyn Root,
    times: Times,
    temporary: &Path,
) -> Result<Copied, CopyError> {
    let mut sources = Vec::new();
    for pattern in &request.sources {
        let found = find(context, pattern)?;
        if found.is_empty() {
            return Err(CopyError::NotThere {
                pattern: pattern.clone(),
            });
        }
        sources.extend(found);
    }
    let look = root.look(Path::new(&request.target));
    let look = look.map_err(CopyError::at(&request.target))?;
    let is_folder = request.target.ends_with('/') || look.found.is_some_and(|it| it.is_dir);
    let several = sources.len() + request.inline.len() > 1;
    if several && !is_folder {
        return Err(CopyError::NoFolder {
            target: request.target.clone(),
        });
    }
    let mut copying = Copying {
        request,
        context,
        root,
        times,
        items: BTreeMap::new(),
        unpacked: Vec::new(),
    };
    for source in &sources {
        let from = resolve(&context.folder, source).map_err(CopyError::at(source))?;
        let from = outside(&context.folder, &from);
        let metadata = fs::metadata(&from).map_err(CopyError::at(&from))?;
        let below = if request.keeps_parents {
            look.path.join(source)
        } else {
            look.path.clone()
        };
        if metadata.is_dir() {
            copying.contents(&from, Some(source), &below, request.owner.or(Some((0, 0))))?;
        } else if request.unpacks && is_archive(&from)? {
            let unpacked = unpack(&from, temporary)?;
            let folder = unpacked.path().to_owned();
            copying.unpacked.push(unpacked);
            copying.contents(&folder, None, &look.path, request.owner)?;
        } else {
            let target = match source.file_name() {
                Some(name) if is_folder && !request.keeps_parents => below.join(name),
                _ => below,
            };
            copying.file(&from, source, &target)?;
        }
    }
    for (name, content) in &request.inline {
        let target = if is_folder {
            look.path.join(name)
        } else {
            look.path.clone()
        };
        copying.inline(content, &target)?;
    }
    Ok(Copied {
        items: copying.items.into_values().collect(),
        _unpacked: copying.unpacked,
    })
}

struct Copying<'a> {
    request: &'a Request,
    context: &'a Context,
    root: &'a dyn Root,
    times: Times,
    /// By path, so that folders come before what is in them.
    items: BTreeMap<PathBuf, Item>,
    unpacked: Vec<TempDir>,
}

impl Copying<'_> {
    /// What is in the folder `from`, to the folder `target`. `name` is what the context calls it; the
    /// content of an archive has no name there, and all of it counts.
    fn contents(
        &mut self,
        from: &Path,
        name: Option<&Path>,
        target: &Path,
        owner: Option<(u32, u32)>,
    ) -> Result<(), CopyError> {
        self.folders(target)?;
        let mut pending = vec![PathBuf::new()];
        while let Some(folder) = pending.pop() {
            let path = from.join(&folder);
            let entries = fs::read_dir(&path).map_err(CopyError::at(&path))?;
            for entry in entries {
                let entry = entry.map_err(CopyError::at(&path))?;
                let relative = folder.join(entry.file_name());
                let metadata = entry.metadata().map_err(CopyError::at(entry.path()))?;
                let is_dir = metadata.is_dir();
                if is_dir {
                    pending.push(relative.clone());
                }
                let is_left_out = name.is_some_and(|name| {
                    ignores(&self.context.ignore, &name.join(&relative))
                        || ignores(&self.request.excludes, &relative)
                });
                if is_left_out {
                    continue;
                }
                let found = item(&entry.path(), Path::new(""), &metadata, self.times);
                let Some(mut item) = found.map_err(CopyError::at(entry.path()))? else {
                    continue;
                };
                if let Some((uid, gid)) = owner {
                    (item.uid, item.gid) = (uid, gid);
                }
                self.put(&target.join(&relative), item)?;
            }
        }
        Ok(())
    }

    /// One file.
    fn file(&mut self, from: &Path, name: &Path, target: &Path) -> Result<(), CopyError> {
        let base = Path::new(name.file_name().unwrap_or_default());
        if ignores(&self.request.excludes, base) {
            return Ok(());
        }
        let metadata = fs::symlink_metadata(from).map_err(CopyError::at(from))?;
        let found = item(from, Path::new(""), &metadata, self.times);
        let Some(mut item) = found.map_err(CopyError::at(from))? else {
            return Ok(());
        };
        (item.uid, item.gid) = self.request.owner.unwrap_or_default();
        self.put(target, item)
    }

    /// A file that stands in the Dockerfile.
    fn inline(&mut self, content: &str, target: &Path) -> Result<(), CopyError> {
        let (uid, gid) = self.request.owner.unwrap_or_default();
        let item = Item {
            path: PathBuf::new(),
            content: Content::Bytes(content.as_bytes().to_owned()),
            mode: 0o644,
            uid,
            gid,
            mtime: FIXED,
            capability: None,
        };
        self.put(target, item)
    }

    /// Puts something at `target`, below folders that are there or are made.
    fn put(&mut self, target: &Path, mut item: Item) -> Result<(), CopyError> {
        let folder = target.parent().unwrap_or(target);
        let mut place = self.folders(folder)?;
        place.push(target.file_name().unwrap_or_default());
        let absolute = Path::new("/").join(&place);
        let look = self.root.look(&absolute).map_err(CopyError::at(target))?;
        let is_dir = item.content == Content::Directory;
        let is_link = look.path != absolute;
        match look.found {
            // A link to a folder stays one.
            Some(found) if is_dir && found.is_dir => place = relative(&look.path),
            Some(found) if !is_link && found.is_dir != is_dir => {
                return Err(CopyError::Conflict {
                    path: target.to_owned(),
                });
            }
            _ => {}
        }
        if let Some(mode) = self.request.mode
            && !matches!(item.content, Content::Symlink(_))
        {
            item.mode = mode;
        }
        item.path.clone_from(&place);
        self.items.insert(place, item);
        if self.items.len() > MAX_FILES {
            return Err(CopyError::TooMany);
        }
        Ok(())
    }

    /// The folder at `path` and those above it, as they are, or new; returns where it really is.
    fn folders(&mut self, path: &Path) -> Result<PathBuf, CopyError> {
        let Look { path: real, .. } = self.root.look(path).map_err(CopyError::at(path))?;
        let place = relative(&real);
        let mut folder = PathBuf::new();
        for part in &place {
            folder.push(part);
            if let Some(item) = self.items.get(&folder) {
                if item.content != Content::Directory {
                    return Err(CopyError::Conflict { path: real });
                }
                continue;
            }
            let look = self.root.look(&Path::new("/").join(&folder));
            let look = look.map_err(CopyError::at(&folder))?;
            let found = match look.found {
                Some(found) if !found.is_dir => return Err(CopyError::Conflict { path: real }),
                Some(found) => found,
                None => {
                    let (uid, gid) = self.request.owner.unwrap_or_default();
                    Found {
                        is_dir: true,
                        mode: 0o755,
                        uid,
                        gid,
                        mtime: FIXED,
                    }
                }
            };
            self.items.insert(
                folder.clone(),
                Item::folder(folder.clone(), &found, self.times),
            );
        }
        Ok(place)
    }
}

fn ignores(ignore: &Ignore, path: &Path) -> bool {
    !ignore.is_empty() && ignore.ignores(path.as_os_str().as_bytes())
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

/// What `pattern` names in the context, in order.
fn find(context: &Context, pattern: &str) -> Result<Vec<PathBuf>, CopyError> {
    let illegal = || CopyError::Pattern {
        pattern: pattern.to_owned(),
    };
    let clean = glob::clean(&format!("/{pattern}"));
    let mut found = vec![PathBuf::new()];
    for part in clean.split('/').filter(|it| !it.is_empty()) {
        let mut next = Vec::new();
        let is_pattern = part.contains(['*', '?', '[', '\\']);
        for folder in &found {
            if !is_pattern {
                next.push(folder.join(part));
                continue;
            }
            let real = resolve(&context.folder, folder).map_err(CopyError::at(folder))?;
            let Ok(entries) = fs::read_dir(outside(&context.folder, &real)) else {
                continue;
            };
            for entry in entries {
                let name = entry.map_err(CopyError::at(folder))?.file_name();
                if glob::matches(part.as_bytes(), name.as_bytes()).map_err(|_bad| illegal())? {
                    next.push(folder.join(name));
                }
            }
            if next.len() > MAX_FILES {
                return Err(CopyError::TooMany);
            }
        }
        found = next;
    }
    found.sort();
    let mut there = Vec::new();
    for path in found {
        let real = resolve(&context.folder, &path).map_err(CopyError::at(&path))?;
        let is_dir = match fs::symlink_metadata(outside(&context.folder, &real)) {
            Ok(metadata) => metadata.is_dir(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(CopyError::at(&path)(error)),
        };
        // Of a folder that does not count something may.
        let counts = !context.ignore.ignores(path.as_os_str().as_bytes())
            || (is_dir && context.ignore.takes_back());
        if counts {
            there.push(path);
        }
    }
    Ok(there)
}

/// Whether a file is an archive that is unpacked.
fn is_archive(path: &Path) -> Result<bool, CopyError> {
    let mut file = fs::File::open(path).map_err(CopyError::at(path))?;
    let mut start = Vec::new();
    let read = file.by_ref().take(512).read_to_end(&mut start);
    read.map_err(CopyError::at(path))?;
    let is_tar = |block: &[u8]| block.get(257..262) == Some(b"ustar");
    if start.starts_with(b"BZh") || start.starts_with(b"\xfd7zXZ\0") {
        return Err(CopyError::Compression {
            path: path.to_owned(),
        });
    }
    if start.starts_with(b"\x1f\x8b") {
        let file = fs::File::open(path).map_err(CopyError::at(path))?;
        let mut block = Vec::new();
        let unpacked = flate2::read::GzDecoder::new(file)
            .take(512)
            .read_to_end(&mut block);
        return Ok(unpacked.is_ok() && is_tar(&block));
    }
    let is_zstd = start.starts_with(b"\x28\xb5\x2f\xfd");
    Ok(is_tar(&start) || (is_zstd && path.to_string_lossy().contains(".tar")))
}

fn unpack(path: &Path, temporary: &Path) -> Result<TempDir, CopyError> {
    let folder = tempfile::tempdir_in(temporary).map_err(CopyError::at(temporary))?;
    let file = fs::File::open(path).map_err(CopyError::at(path))?;
    let options = ExtractOptions {
        owners: if rustix::process::geteuid().is_root() {
            Owners::Keep
        } else {
            Owners::Drop
        },
        ..ExtractOptions::default()
    };
    extract(file, folder.path(), &options).map_err(|source| CopyError::Unpack {
        path: path.to_owned(),
        source,
    })?;
    Ok(folder)
}

/// Why nothing is copied.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CopyError {
    /// An archive is compressed in a way that is not read.
    #[error("`{}` is an archive in a format that is not unpacked: only tar, plain or with gzip or zstd, is", path.display())]
    Compression {
        /// Which.
        path: PathBuf,
    },
    /// A folder would be put over a file, or a file over a folder.
    #[error("`{}` is there already, and cannot be replaced: only one of the two is a folder", path.display())]
    Conflict {
        /// What.
        path: PathBuf,
    },
    /// A file cannot be used.
    #[error("failed to use `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Several files are copied to what is no folder.
    #[error(
        "several files are copied to `{target}`, which does not end in `/` and is not a folder"
    )]
    NoFolder {
        /// Where to.
        target: String,
    },
    /// A source is not in the context.
    #[error("`{pattern}` is not in the build context, or excluded by .dockerignore")]
    NotThere {
        /// Which.
        pattern: String,
    },
    /// A malformed wildcard.
    #[error("the pattern `{pattern}` is malformed")]
    Pattern {
        /// Which.
        pattern: String,
    },
    /// More files than one instruction may copy.
    #[error("more than {MAX_FILES} files are copied")]
    TooMany,
    /// An archive cannot be unpacked.
    #[error("failed to unpack `{}`", path.display())]
    Unpack {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: oci::ExtractError,
    },
}

impl CopyError {
    fn at(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::File { path, source }
    }
}
