//! Folders below a root, that cannot be left: neither by `..` nor through a symbolic link.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path};
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Links that are followed on the way to one file, as the kernel has it.
const LINKS: usize = 40;

pub(super) const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What to do about a name that is no folder on the way, be it that it is missing, or something else.
pub(super) type Missing<'a> = &'a mut dyn FnMut(&OwnedFd, &OsStr, Errno) -> io::Result<()>;

/// Whatever is missing is the error.
pub(super) fn nothing_missing(_folder: &OwnedFd, _name: &OsStr, error: Errno) -> io::Result<()> {
    Err(error.into())
}

/// Opens the folder `path`, as it would be if `root` were the root of all. No link is followed unless
/// `follow`.
///
/// Each step opens one name in a folder that is held open, following no link; a link is read, and
/// its text walked in the same way; `..` goes back to the folder that the walk came from. So no
/// step ever leads to what is not below `root`.
pub(super) fn open_folder(
    root: &Rc<OwnedFd>,
    path: &Path,
    follow: bool,
    missing: Missing<'_>,
) -> io::Result<Rc<OwnedFd>> {
    let mut way: Vec<Rc<OwnedFd>> = vec![Rc::clone(root)];
    let mut names: Vec<OsString> = Vec::new();
    push(&mut names, path);
    let mut links = 0;
    while let Some(name) = names.pop() {
        if name == ".." {
            if way.len() > 1 {
                way.pop();
            }
            continue;
        }
        let here = Rc::clone(way.last().unwrap_or(root));
        let next = match rustix::fs::openat(&*here, &name, FOLDER, Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOENT) => {
                missing(&here, &name, Errno::NOENT)?;
                rustix::fs::openat(&*here, &name, FOLDER, Mode::empty())?
            }
            // Linux says either for a link, depending on the order of its checks.
            Err(error @ (Errno::LOOP | Errno::NOTDIR)) => {
                let Ok(link) = rustix::fs::readlinkat(&*here, &name, Vec::new()) else {
                    missing(&here, &name, error)?;
                    way.push(Rc::new(rustix::fs::openat(
                        &*here,
                        &name,
                        FOLDER,
                        Mode::empty(),
                    )?));
                    continue;
                };
                if !follow {
                    return Err(Errno::NOTDIR.into());
                }
                links += 1;
                if links > LINKS {
                    return Err(Errno::LOOP.into());
                }
                let link = OsString::from_vec(link.into_bytes());
                if link.as_bytes().starts_with(b"/") {
                    way.truncate(1);
                }
                push(&mut names, Path::new(&link));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        way.push(Rc::new(next));
    }
    Ok(way.pop().unwrap_or_else(|| Rc::clone(root)))
}

/// Puts the names of `path` on top of `names`, the first one last.
fn push(names: &mut Vec<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir => names.push("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}

/// What `name` in `folder` is, if there is anything.
pub(super) fn stat(folder: &OwnedFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether it is what overlayfs has in the place of what is not there any more.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Removes `name` in `folder`, with all that is in it, if it is there.
pub(super) fn remove(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let Some(found) = stat(folder, name)? else {
        return Ok(());
    };
    if !is_folder(&found) {
        return Ok(rustix::fs::unlinkat(folder, name, AtFlags::empty())?);
    }
    let inner = rustix::fs::openat(folder, name, FOLDER, Mode::empty())?;
    for entry in entries(&inner)? {
        remove(&inner, &entry)?;
    }
    Ok(rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}

/// The names in `folder`.
pub(super) fn entries(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
