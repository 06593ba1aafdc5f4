//! Makes the files of an archive, each below the directory.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};

use super::beneath::{self, FOLDER, is_folder, open_folder, stat};
use super::{Entry, ExtractError, ExtractOptions, ExtractRules, Kind};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

pub(super) struct Place {
    root: Rc<OwnedFd>,
    options: ExtractOptions,
    /// The folder of the last entry, as most entries are in the same one as that before.
    last: Option<(PathBuf, Rc<OwnedFd>)>,
    /// What this archive brought, as inode of the folder and name: an opaque whiteout leaves it.
    brought: BTreeSet<(u64, OsString)>,
    /// Folders whose mode, owner and time are set at the end: nothing could be put into some then.
    folders: Vec<(PathBuf, Entry)>,
    devices: u64,
}

impl Place {
    pub(super) fn new(directory: &Path, options: ExtractOptions) -> Result<Self, ExtractError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, Mode::empty());
        let root = root.map_err(|error| ExtractError::File {
            action: "open the directory",
            path: directory.to_owned(),
            source: error.into(),
        })?;
        Ok(Self {
            root: Rc::new(root),
            options,
            last: None,
            brought: BTreeSet::new(),
            folders: Vec::new(),
            devices: 0,
        })
    }

    pub(super) fn add(
        &mut self,
        entry: &Entry,
        content: &mut impl Read,
    ) -> Result<(), ExtractError> {
        let is_lifecycle = self.options.rules == ExtractRules::Lifecycle;
        let path = self.cleaned(&entry.path)?;
        if let Kind::Unknown(flag) = entry.kind {
            return Err(unknown(entry, flag));
        }
        if is_lifecycle {
            match entry.kind {
                Kind::HardLink => return Err(unknown(entry, b'1')),
                Kind::Fifo => return Err(unknown(entry, b'6')),
                Kind::Device(flag) => return Err(unknown(entry, flag)),
                _ => {}
            }
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(());
        };
        let folder = self
            .folder(parent)
            .map_err(failed("find the folder of", entry))?;
        if !is_lifecycle && name.as_bytes().starts_with(WHITEOUT) {
            return self.white_out(entry, &folder, name);
        }
        match entry.kind {
            Kind::Folder => self.make_folder(entry, &path, &folder, name),
            Kind::File => self
                .make_file(entry, &folder, name)
                .map_err(failed("make", entry))
                .and_then(|mut file| self.fill(entry, &mut file, content)),
            Kind::Symlink => self
                .make_symlink(entry, &folder, name)
                .map_err(failed("make the link", entry)),
            Kind::HardLink => self.make_hard_link(entry, &folder, name),
            Kind::Fifo => self
                .make_fifo(entry, &folder, name)
                .map_err(failed("make the pipe", entry)),
            Kind::Device(_) | Kind::Unknown(_) => {
                self.devices += 1;
                return Ok(());
            }
        }?;
        if !is_lifecycle {
            let inode = inode(&folder).map_err(failed("look at the folder of", entry))?;
            self.brought.insert((inode, name.to_owned()));
        }
        Ok(())
    }

    /// Sets what was left for the end. Returns how many devices were left out.
    pub(super) fn finish(mut self) -> Result<u64, ExtractError> {
        // What is inside comes before what it is in.
        for (path, entry) in std::mem::take(&mut self.folders).into_iter().rev() {
            // A later entry may have put something else there, even a link to another folder.
            let Ok(folder) = self.reopen(&path) else {
                continue;
            };
            self.set_attributes(&entry, &folder)
                .map_err(failed("set the mode of", &entry))?;
        }
        Ok(self.devices)
    }

    fn reopen(&self, path: &Path) -> io::Result<OwnedFd> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let parent = open_folder(&self.root, parent, &mut |_, _| {
            Err(io::ErrorKind::NotFound.into())
        })?;
        Ok(rustix::fs::openat(&*parent, name, FOLDER, Mode::empty())?)
    }

    /// `path` as names below the directory.
    fn cleaned(&self, path: &Path) -> Result<PathBuf, ExtractError> {
        let mut cleaned = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => cleaned.push(name),
                Component::ParentDir if self.options.rules == ExtractRules::Lifecycle => {
                    cleaned.pop();
                }
                Component::ParentDir => {
                    return Err(ExtractError::Outside {
                        path: path.to_owned(),
                    });
                }
                _ => {}
            }
        }
        Ok(cleaned)
    }

    fn folder(&mut self, path: &Path) -> io::Result<Rc<OwnedFd>> {
        if let Some((last, folder)) = &self.last
            && last == path
        {
            return Ok(Rc::clone(folder));
        }
        let is_lifecycle = self.options.rules == ExtractRules::Lifecycle;
        let mode = if is_lifecycle { 0o777 } else { 0o755 };
        let mut made = Vec::new();
        let folder = open_folder(&self.root, path, &mut |folder, name| {
            rustix::fs::mkdirat(folder, name, Mode::RWXU)?;
            let new = rustix::fs::openat(folder, name, FOLDER, Mode::empty())?;
            rustix::fs::fchmod(new, Mode::from_raw_mode(mode))?;
            made.push((inode(folder)?, name.to_owned()));
            Ok(())
        })?;
        self.brought.extend(made);
        self.last = Some((path.to_owned(), Rc::clone(&folder)));
        Ok(folder)
    }

    /// Removes what is at `name`. Paths may lead elsewhere from then on.
    fn clear(&mut self, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.last = None;
        beneath::remove(folder, name)
    }

    fn white_out(
        &mut self,
        entry: &Entry,
        folder: &OwnedFd,
        name: &OsStr,
    ) -> Result<(), ExtractError> {
        let failed = failed("white out", entry);
        if name.as_bytes() == OPAQUE {
            self.last = None;
            return self.prune(folder).map(|_| ()).map_err(failed);
        }
        let hidden = name.as_bytes().get(WHITEOUT.len()..).unwrap_or_default();
        // `.wh..wh.…` are notes of aufs to itself.
        if hidden.starts_with(WHITEOUT) {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(ExtractError::Outside {
                path: entry.path.clone(),
            });
        }
        self.last = None;
        let pruned = self.prune_entry(folder, OsStr::from_bytes(hidden));
        pruned.map(|_| ()).map_err(failed)
    }

    /// Removes what other layers brought into `folder`. Whether anything is left.
    ///
    /// A whiteout is about the layers below only, wherever in its own layer it stands.
    fn prune(&self, folder: &OwnedFd) -> io::Result<bool> {
        let mut is_left = false;
        for name in beneath::entries(folder)? {
            is_left |= self.prune_entry(folder, &name)?;
        }
        Ok(is_left)
    }

    fn prune_entry(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
        let Some(found) = stat(folder, name)? else {
            return Ok(false);
        };
        let mut is_left = self.brought.contains(&(inode(folder)?, name.to_owned()));
        if is_folder(&found) {
            let inner = rustix::fs::openat(folder, name, FOLDER, Mode::empty())?;
            is_left |= self.prune(&inner)?;
        }
        if !is_left {
            beneath::remove(folder, name)?;
        }
        Ok(is_left)
    }

    fn make_folder(
        &mut self,
        entry: &Entry,
        path: &Path,
        folder: &OwnedFd,
        name: &OsStr,
    ) -> Result<(), ExtractError> {
        let is_new = self
            .ensure_folder(folder, name)
            .map_err(failed("make the folder", entry))?;
        if is_new || self.options.rules == ExtractRules::Layer {
            self.folders.push((path.to_owned(), entry.clone()));
        }
        Ok(())
    }

    /// Whether it had to be made.
    fn ensure_folder(&mut self, folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
        match stat(folder, name)? {
            Some(found) if is_folder(&found) => return Ok(false),
            Some(_) if self.options.rules == ExtractRules::Lifecycle => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Some(_) => self.clear(folder, name)?,
            None => {}
        }
        rustix::fs::mkdirat(folder, name, Mode::RWXU)?;
        Ok(true)
    }

    fn make_file(
        &mut self,
        entry: &Entry,
        folder: &OwnedFd,
        name: &OsStr,
    ) -> io::Result<std::fs::File> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let found = stat(folder, name)?;
        if self.options.rules == ExtractRules::Lifecycle && found.is_some() {
            let file = rustix::fs::openat(folder, name, flags | OFlags::TRUNC, Mode::empty())?;
            return Ok(file.into());
        }
        if found.is_some() {
            self.clear(folder, name)?;
        }
        let flags = flags | OFlags::CREATE | OFlags::EXCL;
        let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
        self.set_attributes(entry, &file)?;
        Ok(file.into())
    }

    fn fill(
        &self,
        entry: &Entry,
        file: &mut std::fs::File,
        content: &mut impl Read,
    ) -> Result<(), ExtractError> {
        let mut chunk = vec![0; usize::try_from(entry.size.min(256 << 10)).unwrap_or(0)];
        loop {
            let read = match content.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(ExtractError::read)?,
            };
            let Some(filled) = chunk.get(..read).filter(|it| !it.is_empty()) else {
                break;
            };
            file.write_all(filled).map_err(failed("write", entry))?;
        }
        if self.options.rules == ExtractRules::Layer {
            let times = times(entry.mtime);
            let set = rustix::fs::futimens(&*file, &times);
            set.map_err(|error| failed("set the time of", entry)(error.into()))?;
        }
        Ok(())
    }

    fn make_symlink(&mut self, entry: &Entry, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        if self.options.rules == ExtractRules::Layer {
            self.clear(folder, name)?;
        }
        rustix::fs::symlinkat(&entry.link, folder, name)?;
        if self.options.rules == ExtractRules::Layer {
            self.set_owner_at(entry, folder, name)?;
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(folder, name, &times(entry.mtime), flags)?;
        }
        Ok(())
    }

    fn make_hard_link(
        &mut self,
        entry: &Entry,
        folder: &OwnedFd,
        name: &OsStr,
    ) -> Result<(), ExtractError> {
        let target = self.cleaned(&entry.link)?;
        self.link(&target, folder, name)
            .map_err(failed("make the hard link", entry))
    }

    fn link(&mut self, target: &Path, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let (Some(parent), Some(target)) = (target.parent(), target.file_name()) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let from = open_folder(&self.root, parent, &mut |_, _| {
            Err(io::ErrorKind::NotFound.into())
        })?;
        let found = stat(&from, target)?.ok_or(io::ErrorKind::NotFound)?;
        if is_folder(&found) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if let Some(there) = stat(folder, name)? {
            if (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino) {
                return Ok(());
            }
            self.clear(folder, name)?;
        }
        // Where the target is a link, the link is linked to, never what it leads to.
        Ok(rustix::fs::linkat(
            &*from,
            target,
            folder,
            name,
            AtFlags::empty(),
        )?)
    }

    fn make_fifo(&mut self, entry: &Entry, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.clear(folder, name)?;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        rustix::fs::mknodat(folder, name, FileType::Fifo, mode, 0)?;
        self.set_owner_at(entry, folder, name)
    }

    /// Owner first: setting it takes set-user-id away.
    fn set_attributes(&self, entry: &Entry, file: &OwnedFd) -> io::Result<()> {
        let is_layer = self.options.rules == ExtractRules::Layer;
        let mut mode = entry.mode;
        if is_layer && self.options.ownership {
            let (uid, gid) = owner(entry)?;
            rustix::fs::fchown(file, Some(uid), Some(gid))?;
        } else {
            mode &= 0o1777;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
        if is_layer && entry.kind == Kind::Folder {
            rustix::fs::futimens(file, &times(entry.mtime))?;
        }
        Ok(())
    }

    fn set_owner_at(&self, entry: &Entry, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        if self.options.ownership {
            let (uid, gid) = owner(entry)?;
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(folder, name, Some(uid), Some(gid), flags)?;
        }
        Ok(())
    }
}

fn owner(entry: &Entry) -> io::Result<(Uid, Gid)> {
    // The highest number means "no change" to the kernel.
    let id = |number: u64| u32::try_from(number).ok().filter(|it| *it != u32::MAX);
    let (Some(uid), Some(gid)) = (id(entry.uid), id(entry.gid)) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn inode(folder: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(folder)?.st_ino)
}

fn unknown(entry: &Entry, flag: u8) -> ExtractError {
    ExtractError::UnknownType {
        path: entry.path.clone(),
        flag,
    }
}

fn failed(action: &'static str, entry: &Entry) -> impl Fn(io::Error) -> ExtractError + use<> {
    let path = entry.path.clone();
    move |source| ExtractError::File {
        action,
        path: path.clone(),
        source,
    }
}
