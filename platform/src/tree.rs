//! The digest of a folder: what is in it, and nothing of where and when it lies.
//!
//! It is the SHA-256 of a tar of the folder, as Go's `archive/tar` would write it:
//! entries by path relative to the folder (without `./`, the folder itself left out), sorted
//! bytewise by whole path; folders without `/` at the end; owner, group and time 0; mode 0755 for
//! folders, links and what anybody may execute, else 0644; links as links; sockets left out.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use oci::Digest;
use oci::layer::{self, LayerError};
use oci::tar::{Entry, EntryKind, TarError};

/// More files than any source has: what a walk ends at, rather than eat all memory.
const MAX_FILES: usize = 5_000_000;

/// The digest of `folder`. Whatever is called `except` in the folder itself is left out.
pub fn digest(folder: &Path, except: &[&str]) -> Result<Digest, TreeError> {
    let paths = walk(folder, except)?;
    let hashed = layer::hash(|tar| {
        for path in &paths {
            let file = folder.join(path);
            let unreadable = |source| TreeError::Read {
                path: file.clone(),
                source,
            };
            let metadata = fs::symlink_metadata(&file).map_err(unreadable)?;
            let kind = kind(&file, &metadata).map_err(unreadable)?;
            let executable = !metadata.is_file() || metadata.permissions().mode() & 0o111 != 0;
            let entry = Entry {
                path: path.clone(),
                mode: if executable { 0o755 } else { 0o644 },
                uid: 0,
                gid: 0,
                mtime: 0,
                kind,
            };
            if metadata.is_file() {
                tar.write(&entry, fs::File::open(&file).map_err(unreadable)?)?;
            } else {
                tar.write(&entry, io::empty())?;
            }
        }
        Ok::<(), TreeError>(())
    });
    match hashed {
        Ok(hashed) => Ok(hashed.diff_id.0),
        Err(LayerError::Fill(error)) => Err(error),
        Err(LayerError::End(error)) => Err(TreeError::Tar(error)),
        Err(error) => Err(TreeError::Read {
            path: folder.to_owned(),
            source: io::Error::other(error),
        }),
    }
}

/// Copies `folder` to `target`, which is new, with links as links and modes as they are. What is no
/// file, folder or link is left out.
pub fn copy(folder: &Path, target: &Path) -> Result<(), TreeError> {
    let unwritable = |path: &Path, source| TreeError::Write {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(target).map_err(|source| unwritable(target, source))?;
    for path in walk(folder, &[])? {
        let (from, to) = (folder.join(&path), target.join(&path));
        let unreadable = |source| TreeError::Read {
            path: from.clone(),
            source,
        };
        let metadata = fs::symlink_metadata(&from).map_err(unreadable)?;
        if metadata.is_dir() {
            fs::create_dir(&to).map_err(|source| unwritable(&to, source))?;
        } else if metadata.is_symlink() {
            let link = fs::read_link(&from).map_err(unreadable)?;
            fs_err::os::unix::fs::symlink(link, &to).map_err(|source| unwritable(&to, source))?;
        } else if metadata.is_file() {
            fs::copy(&from, &to).map_err(|source| unwritable(&to, source))?;
        }
    }
    Ok(())
}

/// All paths in `folder`, relative to it, sorted bytewise.
fn walk(folder: &Path, except: &[&str]) -> Result<Vec<PathBuf>, TreeError> {
    let (mut paths, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(relative) = open.pop() {
        let path = folder.join(&relative);
        let unreadable = |source| TreeError::Read {
            path: path.clone(),
            source,
        };
        for entry in fs::read_dir(&path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            if relative.as_os_str().is_empty() && except.iter().any(|it| OsStr::new(it) == name) {
                continue;
            }
            let file_type = entry.file_type().map_err(unreadable)?;
            if file_type.is_socket() {
                continue;
            }
            let child = relative.join(name);
            if file_type.is_dir() {
                open.push(child.clone());
            }
            paths.push(child);
            if paths.len() > MAX_FILES {
                return Err(TreeError::TooMany {
                    path: folder.to_owned(),
                    limit: MAX_FILES,
                });
            }
        }
    }
    paths.sort_by(|one, other| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
    Ok(paths)
}

fn kind(path: &Path, metadata: &std::fs::Metadata) -> io::Result<EntryKind> {
    let file_type = metadata.file_type();
    let device = metadata.rdev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    Ok(if file_type.is_dir() {
        EntryKind::Directory
    } else if file_type.is_symlink() {
        EntryKind::Symlink {
            target: fs::read_link(path)?,
        }
    } else if file_type.is_fifo() {
        EntryKind::Fifo
    } else if file_type.is_char_device() {
        EntryKind::Char { major, minor }
    } else if file_type.is_block_device() {
        EntryKind::Block { major, minor }
    } else {
        EntryKind::File {
            size: metadata.len(),
        }
    })
}

/// Why a folder could not be hashed or copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Something in it could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in it changed while it was read, or has no place in a tar.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// It has more files than we look at.
    #[error("`{}` has more than {limit} files", path.display())]
    TooMany {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// The copy could not be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use tempfile::TempDir;

    use super::*;

    fn example() -> TempDir {
        let folder = TempDir::new().unwrap();
        let path = folder.path();
        fs::create_dir_all(path.join("a/empty")).unwrap();
        fs::create_dir(path.join(".git")).unwrap();
        fs::write(path.join("a/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(path.join("a/run"), Permissions::from_mode(0o744)).unwrap();
        fs::write(path.join("a-b"), "text").unwrap();
        fs_err::os::unix::fs::symlink("../nowhere", path.join("a/link")).unwrap();
        folder
    }

    /// The digest is of what Go's `archive/tar` writes for the same.
    #[test]
    fn a_digest_is_that_of_a_tar() {
        let folder = example();
        let digest = digest(folder.path(), &[".git"]).unwrap();
        assert_eq!(
            digest.to_string(),
            "sha256:8520c6de2b8847e0ca9f84b2e30c3c2e75a3e3eb0b8e5ac696bf769f0772e53f"
        );
    }

    #[test]
    fn each_change_changes_the_digest_and_a_copy_does_not() {
        let folder = example();
        let path = folder.path();
        let of = |path: &Path| digest(path, &[".git"]).unwrap();
        let copied = TempDir::new().unwrap();
        copy(path, &copied.path().join("copy")).unwrap();
        let mut seen = vec![of(path)];
        assert_eq!(of(&copied.path().join("copy")), seen[0]);
        let mut changed = || {
            let digest = of(path);
            assert!(!seen.contains(&digest));
            seen.push(digest);
        };
        fs::write(path.join("a-b"), "texT").unwrap();
        changed();
        fs::set_permissions(path.join("a/run"), Permissions::from_mode(0o644)).unwrap();
        changed();
        fs::remove_dir(path.join("a/empty")).unwrap();
        changed();
        fs::rename(path.join("a/link"), path.join("a/other")).unwrap();
        changed();
        fs::write(path.join(".git/HEAD"), "x").unwrap();
        assert_eq!(of(path), seen[seen.len() - 1]);
    }
}
