//! A folder of this machine, seen as the root of a file system.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::pick::Missed;
use super::{FileInfo, HEAD, Pick, View, ViewError, What, name_of};

/// What of the root of a running system is no file system of files.
const PSEUDO: &[&str] = &["dev", "proc", "sys"];

impl<K: Send + Sync> View<K> {
    /// Takes what is in `folder`, as a layer without a diff ID. No symbolic link is followed; what
    /// cannot be read is missed; sockets and the like are passed by.
    pub fn add_folder<P: Pick<Kept = K>>(
        &mut self,
        folder: &Path,
        pick: &mut P,
    ) -> Result<(), ViewError> {
        let unreadable = |path: &Path, source| ViewError::Folder {
            path: path.to_owned(),
            source,
        };
        let layer = self.begin(None);
        let is_root = folder.canonicalize().is_ok_and(|it| it == Path::new("/"));
        let mut todo: Vec<(PathBuf, String)> = vec![(folder.to_owned(), String::new())];
        let mut is_first = true;
        while let Some((folder, below)) = todo.pop() {
            let entries = match fs_err::read_dir(&folder) {
                Ok(entries) => entries,
                Err(source) if is_first => return Err(unreadable(&folder, source)),
                Err(_) => {
                    self.unread += 1;
                    continue;
                }
            };
            is_first = false;
            let mut found = Vec::new();
            for entry in entries {
                let Ok(entry) = entry else {
                    self.unread += 1;
                    continue;
                };
                self.count()?;
                let name = entry.file_name();
                let path = name_of(&below, &name.to_string_lossy());
                if path.len() > self.limits.path {
                    return Err(ViewError::PathTooLong {
                        limit: self.limits.path,
                    });
                }
                found.push((path, entry.path()));
            }
            found.sort();
            // What is on top of the pile comes first.
            let mut folders = Vec::new();
            for (path, here) in found {
                let Ok(metadata) = fs_err::symlink_metadata(&here) else {
                    self.unread += 1;
                    continue;
                };
                let kind = metadata.file_type();
                if kind.is_dir() {
                    if !(is_root && PSEUDO.contains(&path.as_str())) {
                        folders.push((here, path));
                    }
                } else if kind.is_symlink() {
                    let target = fs_err::read_link(&here).map_err(|it| unreadable(&here, it))?;
                    let target = target.to_string_lossy().into();
                    self.tree.insert(&path, layer, What::Symlink(target))?;
                } else if kind.is_file() {
                    let info = FileInfo {
                        path: &path,
                        size: metadata.len(),
                        mode: metadata.mode() & 0o7777,
                        head: &[],
                    };
                    self.add_here(&here, info, layer, pick)?;
                }
            }
            todo.extend(folders.into_iter().rev());
        }
        Ok(())
    }

    /// Takes the one file at `path`, as if it were at `name` in an image.
    pub fn add_file<P: Pick<Kept = K>>(
        &mut self,
        path: &Path,
        name: &str,
        pick: &mut P,
    ) -> Result<(), ViewError> {
        let layer = self.begin(None);
        let metadata = fs_err::metadata(path).map_err(|source| ViewError::Folder {
            path: path.to_owned(),
            source,
        })?;
        let info = FileInfo {
            path: name,
            size: metadata.len(),
            mode: metadata.mode() & 0o7777,
            head: &[],
        };
        let before = self.unread;
        self.add_here(path, info, layer, pick)?;
        if self.unread > before {
            return Err(ViewError::Folder {
                path: path.to_owned(),
                source: io::ErrorKind::PermissionDenied.into(),
            });
        }
        Ok(())
    }

    fn add_here<P: Pick<Kept = K>>(
        &mut self,
        here: &Path,
        info: FileInfo<'_>,
        layer: usize,
        pick: &mut P,
    ) -> Result<(), ViewError> {
        let mut head = [0; HEAD];
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = rustix::fs::open(here, flags, Mode::empty()).map(File::from);
        let read = opened.map_err(io::Error::from).and_then(|mut file| {
            let read = read_head(&mut file, &mut head)?;
            Ok((file, read))
        });
        let Ok((file, read)) = read else {
            self.unread += 1;
            if pick.wants(&info)
                && let Some(kept) = pick.miss(&info, Missed::Unreadable)
            {
                self.put(info.path, layer, kept)?;
            }
            return Ok(());
        };
        let info = FileInfo {
            head: head.get(..read).unwrap_or_default(),
            ..info
        };
        // What grows meanwhile is cut off where it ended.
        let mut rest = file.take(info.size.saturating_sub(read as u64));
        self.offer(info, &mut rest, layer, pick)
    }
}

/// Fills `head` as far as `reader` goes.
pub(super) fn read_head(reader: &mut impl io::Read, head: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|it| !it.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
