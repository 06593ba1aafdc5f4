//! The root of an image without namespaces and mounts: a copy of its files, by `chroot`.
//!
//! What would be mounted read-only is copied into it once. What a build writes to is moved into it while
//! a program runs, and moved back afterwards: to the phases outside it never was elsewhere. Links of the
//! image are followed as if its root were `/`. There is no `/proc`, and of `/dev` what one may make.

use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, mknodat, openat2};
use rustix::io::Errno;

use super::failed::Failed;
use super::image::{folder, open, opened};
use super::root::DEVICES;
use super::users::UserMap;
use super::{Mount, Root, RootFiles};

/// The folder that a build without namespaces has as its root, if it may: where all files are had with
/// the numbers of the machine.
pub(super) fn folder_of(root: &Root) -> Option<&Path> {
    match root {
        Root::Image(image) if image.map == UserMap::Real => match &image.files {
            RootFiles::Copy(folder) => Some(folder),
            RootFiles::Layers(_) => None,
        },
        _ => None,
    }
}

/// Folders of ours that are in the root, each with where it belongs.
#[derive(Debug)]
#[must_use]
pub(super) struct MovedFolders(Vec<(PathBuf, PathBuf)>);

impl MovedFolders {
    /// Brings them back.
    pub(super) fn take_back(self) -> io::Result<()> {
        // Those in others first.
        for (inside, outside) in self.0.into_iter().rev() {
            fs_err::rename(inside, outside)?;
        }
        Ok(())
    }
}

/// Copies into the root what is only read there, and makes devices.
pub(super) fn copy_in(root: &Path, mounts: &[Mount]) -> io::Result<()> {
    let opened_root = open(root).map_err(failed)?;
    devices(&opened_root)?;
    let temporary = Path::new("/tmp");
    let made = folder(&opened_root, temporary).map_err(failed)?;
    let sticky = Permissions::from_mode(0o1777);
    fs_err::set_permissions(opened(&made), sticky)?;
    for mount in mounts.iter().filter(|it| !it.writable) {
        let target = place(&opened_root, &mount.target)?;
        remove(&target)?;
        copy(&mount.source, &target)?;
    }
    Ok(())
}

/// Moves into the root what is written to there.
pub(super) fn move_in(root: &Path, mounts: &[Mount]) -> io::Result<MovedFolders> {
    let root_file = open(root).map_err(failed)?;
    let mut put = MovedFolders(Vec::new());
    let mut sorted: Vec<_> = mounts.iter().filter(|it| it.writable).collect();
    sorted.sort_by_key(|it| &it.target);
    for mount in sorted {
        let target = place(&root_file, &mount.target);
        let moved = target.and_then(|target| {
            remove(&target)?;
            fs_err::rename(&mount.source, &target)?;
            Ok(target)
        });
        match moved {
            Ok(inside) => put.0.push((inside, mount.source.clone())),
            Err(error) => {
                put.take_back()?;
                return Err(error);
            }
        }
    }
    Ok(put)
}

/// The path outside of `target`, whose folder is made if it is not there.
fn place(root: &OwnedFd, target: &Path) -> io::Result<PathBuf> {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = folder(root, parent).map_err(failed)?;
    let path = std::fs::read_link(opened(&parent))?;
    Ok(path.join(name))
}

fn failed(failed: Failed) -> io::Error {
    let reply = super::Reply::from(failed);
    io::Error::other(reply.to_string())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs_err::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs_err::remove_dir_all(path),
        Ok(_) => fs_err::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Copies a file or a folder, with its modes; links stay links.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs_err::symlink_metadata(from)?;
    if found.is_symlink() {
        return fs_err::os::unix::fs::symlink(fs_err::read_link(from)?, to);
    }
    if found.is_file() {
        return fs_err::copy(from, to).map(drop);
    }
    if !found.is_dir() {
        // A pipe could wait forever.
        let problem = format!("`{}` is neither file, folder nor link", from.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    fs_err::create_dir(to)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    fs_err::set_permissions(to, found.permissions())
}

/// Makes the devices that no program can do without, as far as one may.
fn devices(root: &OwnedFd) -> io::Result<()> {
    let at = folder(root, Path::new("/dev")).map_err(failed)?;
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let at = openat2(
        &at,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY,
        Mode::empty(),
        how,
    )?;
    for device in DEVICES {
        let Ok(found) = std::fs::metadata(Path::new("/dev").join(device)) else {
            continue;
        };
        let mode = Mode::from_raw_mode(0o666);
        match mknodat(&at, device, FileType::CharacterDevice, mode, found.rdev()) {
            Ok(()) => {
                let path = opened(&at).join(device);
                fs_err::set_permissions(path, Permissions::from_mode(0o666))?;
            }
            // Nothing starts without one: so a file stands in for it, that is as empty at first. Who
            // needs another device says so.
            Err(Errno::PERM) if device == "null" => {
                let path = opened(&at).join(device);
                fs_err::write(&path, "")?;
                fs_err::set_permissions(path, Permissions::from_mode(0o666))?;
            }
            Err(Errno::EXIST | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs_err::create_dir_all(from.join("sub")).unwrap();
        fs_err::write(from.join("sub/file"), "text").unwrap();
        std::os::unix::fs::symlink("file", from.join("sub/link")).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs_err::read(to.join("sub/link")).unwrap(), b"text");
        let pipe = from.join("sub/pipe");
        let mode = Mode::from_raw_mode(0o600);
        mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
        remove(&to).unwrap();
        let error = copy(&from, &to).unwrap_err();
        assert!(error.to_string().contains("neither file"), "{error}");
    }
}
