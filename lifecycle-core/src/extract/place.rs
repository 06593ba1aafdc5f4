//! Puts what was unpacked where it belongs, over what lies there already.
//!
//! As upstream's lifecycle unpacks: a folder that is there keeps its mode and all else that is in it, a
//! file that is there keeps its mode and gets new content, and what is of another kind is in the way.
//! But no link is followed: upstream's writes to where one leads, which may be anywhere, ours replaces
//! it.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use go::words::{PathError, io_cause, quoted};
use rustix::io::Errno;

/// Puts `from`, a file, a link or a folder with all that is in it, to `to`.
pub(super) fn put(from: &Path, to: &Path) -> Result<(), PutError> {
    let failed = |source: io::Error| PutError::Other(PathError::new("lstat", from, &source));
    let new = fs::symlink_metadata(from).map_err(failed)?;
    let old = match fs::symlink_metadata(to) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return move_there(from, &new, to),
        Err(error) => return Err(PutError::at(from, &new, to, &error)),
    };
    if old.is_symlink() || is_special(&old) {
        fs::remove_file(to).map_err(|error| PutError::at(from, &new, to, &error))?;
        return move_there(from, &new, to);
    }
    let in_the_way = |error: Errno| PutError::at(from, &new, to, &error.into());
    match (new.is_dir(), old.is_dir()) {
        (true, true) => {
            open_mode(from).map_err(failed)?;
            for inner in list(from).map_err(failed)? {
                put(&inner, &to.join(inner.file_name().unwrap_or_default()))?;
            }
            Ok(())
        }
        (true, false) => Err(in_the_way(Errno::NOTDIR)),
        _ if new.is_symlink() => Err(in_the_way(Errno::EXIST)),
        (false, true) => Err(in_the_way(Errno::ISDIR)),
        (false, false) => {
            overwrite(from, &old, to).map_err(|error| PutError::at(from, &new, to, &error))
        }
    }
}

/// Whether it is neither file nor folder nor link: to open it could take for ever.
fn is_special(metadata: &Metadata) -> bool {
    let kind = metadata.file_type();
    kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device()
}

fn move_there(from: &Path, new: &Metadata, to: &Path) -> Result<(), PutError> {
    // A folder that forbids to write into it could not be moved.
    let moved = open_mode(from).and_then(|had| {
        fs::rename(from, to)?;
        had.map_or(Ok(()), |had| fs::set_permissions(to, had))
    });
    moved.map_err(|error| PutError::at(from, new, to, &error))
}

/// Gives the file `to`, of which `old` is known, the content of `from`.
fn overwrite(from: &Path, old: &Metadata, to: &Path) -> io::Result<()> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let opened = OpenOptions::new().write(true).custom_flags(flags).open(to);
    let mut file = opened?;
    let opened = file.metadata()?;
    if (opened.dev(), opened.ino()) != (old.dev(), old.ino()) || opened.nlink() > 1 {
        // Its other names may be anywhere, and what was put there meanwhile may be anything.
        fs::set_permissions(from, old.permissions())?;
        return fs::rename(from, to);
    }
    fs::set_permissions(from, Permissions::from_mode(0o600))?;
    let mut content = File::open(from)?;
    file.set_len(0)?;
    io::copy(&mut content, &mut file).map(drop)
}

/// What is in `folder`, sorted: as it was packed.
pub(super) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|it| it.path()));
    let mut entries: Vec<_> = entries.collect::<io::Result<_>>()?;
    entries.sort_unstable();
    Ok(entries)
}

/// Lets us write into `path` if it is a folder, and returns the mode that it had.
pub(super) fn open_mode(path: &Path) -> io::Result<Option<Permissions>> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(None);
    }
    let had = metadata.permissions();
    fs::set_permissions(path, Permissions::from_mode(had.mode() | 0o700))?;
    Ok(Some(had))
}

/// Why something could not be put in its place, in upstream's words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// A file.
    #[error("failed to write file {path}: {0}", path = name(&.0.path))]
    File(PathError),
    /// A folder.
    #[error("failed to create directory {path}: {0}", path = name(&.0.path))]
    Folder(PathError),
    /// A link.
    #[error("failed to create symlink {} with target {}: symlink {} {}: {cause}",
        name(path), name(target), target.display(), path.display())]
    Link {
        /// Which.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
        /// Why.
        cause: String,
    },
    /// What was unpacked could not be read.
    #[error(transparent)]
    Other(PathError),
}

fn name(path: &Path) -> String {
    quoted(path.as_os_str().as_bytes())
}

impl PutError {
    /// What went wrong where `from` was to be put to `to`; of `from` it is known what it is.
    fn at(from: &Path, new: &Metadata, to: &Path, error: &io::Error) -> Self {
        if new.is_symlink() {
            return Self::Link {
                path: to.to_owned(),
                target: fs::read_link(from).unwrap_or_default(),
                cause: io_cause(error),
            };
        }
        if new.is_dir() {
            Self::Folder(PathError::new("mkdir", to, error))
        } else {
            Self::File(PathError::new("open", to, error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts a file, a link, or a folder with a file over what `make` makes of a path.
    fn over(make: impl Fn(&Path, &Path)) -> Vec<(Result<(), String>, PathBuf, tempfile::TempDir)> {
        let mut outcomes = Vec::new();
        for kind in ["file", "link", "folder"] {
            let room = tempfile::tempdir().unwrap();
            let (from, to) = (room.path().join("from"), room.path().join("to"));
            match kind {
                "file" => {
                    fs::write(&from, "new").unwrap();
                    fs::set_permissions(&from, Permissions::from_mode(0o400)).unwrap();
                }
                "link" => std::os::unix::fs::symlink("new", &from).unwrap(),
                _ => {
                    fs::create_dir(&from).unwrap();
                    fs::write(from.join("f"), "new").unwrap();
                    fs::set_permissions(&from, Permissions::from_mode(0o555)).unwrap();
                }
            }
            make(&to, room.path());
            let put = put(&from, &to).map_err(|error| {
                let room = room.path().display().to_string();
                error.to_string().replace(&room, "")
            });
            outcomes.push((put, to, room));
        }
        outcomes
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn where_nothing_is_it_lies_as_it_was_packed() {
        let outcomes = over(|_to, _room| {});
        assert!(outcomes.iter().all(|it| it.0.is_ok()));
        assert_eq!(mode(&outcomes[0].1), 0o400);
        assert_eq!(fs::read_link(&outcomes[1].1).unwrap(), Path::new("new"));
        assert_eq!(mode(&outcomes[2].1), 0o555);
        assert_eq!(fs::read(outcomes[2].1.join("f")).unwrap(), b"new");
    }

    #[test]
    fn a_file_gets_new_content_and_stays_in_the_way_of_all_else() {
        let outcomes = over(|to, _room| {
            fs::write(to, "old and longer").unwrap();
            fs::set_permissions(to, Permissions::from_mode(0o640)).unwrap();
        });
        assert_eq!(outcomes[0].0, Ok(()));
        assert_eq!(fs::read(&outcomes[0].1).unwrap(), b"new");
        assert_eq!(mode(&outcomes[0].1), 0o640);
        let said = |n: usize| outcomes[n].0.clone().unwrap_err();
        assert_eq!(
            said(1),
            "failed to create symlink \"/to\" with target \"new\": symlink new /to: file exists"
        );
        assert_eq!(
            said(2),
            "failed to create directory \"/to\": mkdir /to: not a directory"
        );
    }

    #[test]
    fn a_folder_keeps_what_it_has_and_stays_in_the_way_of_all_else() {
        let outcomes = over(|to, _room| {
            fs::create_dir(to).unwrap();
            fs::write(to.join("old"), "").unwrap();
            fs::set_permissions(to, Permissions::from_mode(0o700)).unwrap();
        });
        assert_eq!(outcomes[2].0, Ok(()));
        assert_eq!(mode(&outcomes[2].1), 0o700);
        assert!(outcomes[2].1.join("old").exists() && outcomes[2].1.join("f").exists());
        let said = |n: usize| outcomes[n].0.clone().unwrap_err();
        assert_eq!(
            said(0),
            "failed to write file \"/to\": open /to: is a directory"
        );
        assert!(said(1).ends_with("symlink new /to: file exists"));
    }

    #[test]
    fn a_link_is_replaced_and_what_it_leads_to_stays() {
        for target in ["elsewhere", "gone"] {
            let outcomes = over(|to, room| {
                fs::create_dir_all(room.join("elsewhere")).unwrap();
                std::os::unix::fs::symlink(room.join(target), to).unwrap();
            });
            for (put, to, room) in &outcomes {
                assert_eq!(*put, Ok(()));
                assert_ne!(fs::read_link(to).ok(), Some(room.path().join(target)));
                assert_eq!(list(&room.path().join("elsewhere")).unwrap().len(), 0);
                assert!(!room.path().join("gone").exists());
            }
        }
    }

    #[test]
    fn what_would_be_waited_for_is_replaced() {
        let outcomes = over(|to, _room| {
            nix::unistd::mkfifo(to, nix::sys::stat::Mode::S_IRWXU).unwrap();
        });
        assert!(outcomes.iter().all(|it| it.0 == Ok(())));
        assert_eq!(fs::read(&outcomes[0].1).unwrap(), b"new");
    }

    #[test]
    fn other_names_of_a_file_keep_their_content() {
        let outcomes = over(|to, room| {
            fs::write(to, "old").unwrap();
            fs::set_permissions(to, Permissions::from_mode(0o640)).unwrap();
            fs::hard_link(to, room.join("other")).unwrap();
        });
        let (put, to, room) = &outcomes[0];
        assert_eq!(*put, Ok(()));
        assert_eq!(fs::read(to).unwrap(), b"new");
        assert_eq!(mode(to), 0o640);
        assert_eq!(fs::read(room.path().join("other")).unwrap(), b"old");
    }
}
