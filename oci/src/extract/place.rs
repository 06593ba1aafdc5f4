//! Makes the files of an archive, each below the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::beneath::{self, FOLDER, is_folder, is_whiteout, nothing_missing, open_folder, stat};
use super::{
    Entry, ExtractError, ExtractOptions, ExtractRules, ExtractSummary, Kind, Links, OverlayXattrs,
    Owners, RecordedOwner, Whiteouts,
};
use crate::{DiffId, Digest};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const CAPABILITY: &str = "security.capability";

pub(super) struct Place {
    root: Rc<OwnedFd>,
    options: ExtractOptions,
    /// The folder of the last entry, as most entries are in the same one as that before.
    last: Option<(PathBuf, Folder)>,
    /// What this archive brought, as inode of the folder and name: an opaque whiteout leaves it.
    brought: BTreeSet<(u64, OsString)>,
    /// Folders whose mode, owner and time are set at the end: nothing could be put into some then.
    folders: Vec<(PathBuf, Entry)>,
    /// Folders that were made for what is in them.
    implied: BTreeSet<PathBuf>,
    recorded: Vec<RecordedOwner>,
    devices: u64,
}

/// A folder that is open, and its inode.
#[derive(Clone)]
struct Folder {
    file: Rc<OwnedFd>,
    inode: u64,
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
            implied: BTreeSet::new(),
            recorded: Vec::new(),
            devices: 0,
        })
    }

    pub(super) fn add(
        &mut self,
        entry: &Entry,
        content: &mut impl BufRead,
    ) -> Result<(), ExtractError> {
        let is_lifecycle = self.options.rules == ExtractRules::Lifecycle;
        let Some(path) = self.wanted(&entry.path)? else {
            return Ok(());
        };
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
        let Folder {
            file: folder,
            inode,
        } = self
            .folder(parent)
            .map_err(failed("find the folder of", entry))?;
        if self.implied.len() as u64 > self.options.entries {
            return Err(ExtractError::TooManyEntries {
                limit: self.options.entries,
            });
        }
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
        if !is_lifecycle && self.overlay().is_none() {
            self.brought.insert((inode, name.to_owned()));
        }
        if self.options.owners == Owners::Record && !is_lifecycle {
            self.record(entry, path)?;
        }
        Ok(())
    }

    fn record(&mut self, entry: &Entry, path: PathBuf) -> Result<(), ExtractError> {
        let (uid, gid) = owner(entry).map_err(failed("record the owner of", entry))?;
        self.recorded.push(RecordedOwner {
            path,
            uid: uid.as_raw(),
            gid: gid.as_raw(),
        });
        Ok(())
    }

    /// Sets what was left for the end. What the archive is as a whole is for the caller to fill in.
    pub(super) fn finish(mut self, entries: u64) -> Result<ExtractSummary, ExtractError> {
        let explicit: BTreeSet<&PathBuf> = self.folders.iter().map(|(path, _)| path).collect();
        let implied = std::mem::take(&mut self.implied);
        let implied = implied.into_iter().filter(|it| !explicit.contains(it));
        let implied = implied.collect();
        // What is inside comes before what it is in.
        for (path, entry) in std::mem::take(&mut self.folders).into_iter().rev() {
            // A later entry may have put something else there, even a link to another folder.
            let Ok(folder) = self.reopen(&path) else {
                continue;
            };
            self.set_attributes(&entry, &folder)
                .map_err(failed("set the mode of", &entry))?;
        }
        let mut recorded: BTreeMap<_, _> = BTreeMap::new();
        for it in self.recorded {
            recorded.insert(it.path.clone(), it);
        }
        recorded.retain(|_, it| (it.uid, it.gid) != (0, 0));
        Ok(ExtractSummary {
            diff_id: DiffId(Digest::of(b"")),
            entries,
            bytes: 0,
            devices: self.devices,
            implied,
            recorded: recorded.into_values().collect(),
        })
    }

    fn reopen(&self, path: &Path) -> io::Result<OwnedFd> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let parent = open_folder(&self.root, parent, self.follow(), &mut nothing_missing)?;
        Ok(rustix::fs::openat(&*parent, name, FOLDER, Mode::empty())?)
    }

    fn follow(&self) -> bool {
        self.options.links == Links::Followed
    }

    fn overlay(&self) -> Option<OverlayXattrs> {
        match self.options.whiteouts {
            Whiteouts::Overlay(xattrs) if self.options.rules == ExtractRules::Layer => Some(xattrs),
            _ => None,
        }
    }

    /// `path` as names below the directory, if it is to be there.
    fn wanted(&self, path: &Path) -> Result<Option<PathBuf>, ExtractError> {
        let cleaned = self.cleaned(path)?;
        let Some(below) = &self.options.below else {
            return Ok(Some(cleaned));
        };
        let below = below.strip_prefix("/").unwrap_or(below);
        Ok(cleaned.strip_prefix(below).ok().map(Path::to_owned))
    }

    /// `path` as names below the root of the archive.
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

    fn folder(&mut self, path: &Path) -> io::Result<Folder> {
        if let Some((last, folder)) = &self.last
            && last == path
        {
            return Ok(folder.clone());
        }
        let is_lifecycle = self.options.rules == ExtractRules::Lifecycle;
        let mode = if is_lifecycle { 0o777 } else { 0o755 };
        let overlay = self.overlay();
        let root = match &self.options.owners {
            Owners::Map { users, groups } if !is_lifecycle => {
                users.outside(0).zip(groups.outside(0))
            }
            _ => None,
        };
        let mut made = Vec::new();
        let folder = open_folder(
            &self.root,
            path,
            self.follow(),
            &mut |folder, name, error| {
                let mut hides = None;
                if error != Errno::NOENT {
                    hides = overlay.filter(|_| {
                        stat(folder, name).is_ok_and(|it| it.as_ref().is_some_and(is_whiteout))
                    });
                    if hides.is_none() {
                        return Err(error.into());
                    }
                    rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
                }
                rustix::fs::mkdirat(folder, name, Mode::RWXU)?;
                let new = rustix::fs::openat(folder, name, FOLDER, Mode::empty())?;
                if let Some(xattrs) = hides {
                    make_opaque(&new, xattrs)?;
                }
                if let Some((uid, gid)) = root {
                    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                    rustix::fs::fchown(&new, Some(uid), Some(gid))?;
                }
                rustix::fs::fchmod(new, Mode::from_raw_mode(mode))?;
                made.push((inode(folder)?, name.to_owned()));
                Ok(())
            },
        )?;
        if overlay.is_some() {
            // The last ones, as what is above was there.
            let ancestors = path.ancestors().take(made.len());
            self.implied.extend(ancestors.map(Path::to_owned));
        } else {
            self.brought.extend(made);
        }
        let folder = Folder {
            inode: inode(&folder)?,
            file: folder,
        };
        self.last = Some((path.to_owned(), folder.clone()));
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
            if let Some(xattrs) = self.overlay() {
                return make_opaque(folder, xattrs).map_err(failed);
            }
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
        let hidden = OsStr::from_bytes(hidden);
        if let Some(xattrs) = self.overlay() {
            return keep_whiteout(folder, hidden, xattrs).map_err(failed);
        }
        self.last = None;
        let pruned = self.prune_entry(folder, hidden);
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
        let found = stat(folder, name)?;
        if let (Some(xattrs), Some(found)) = (self.overlay(), &found)
            && is_whiteout(found)
        {
            // What is below stays hidden.
            self.clear(folder, name)?;
            rustix::fs::mkdirat(folder, name, Mode::RWXU)?;
            let new = rustix::fs::openat(folder, name, FOLDER, Mode::empty())?;
            make_opaque(&new, xattrs)?;
            return Ok(true);
        }
        match found {
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
        let create = || {
            let flags = flags | OFlags::CREATE | OFlags::EXCL;
            rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)
        };
        let file = match create() {
            Err(Errno::EXIST) if self.options.rules == ExtractRules::Lifecycle => {
                let file = rustix::fs::openat(folder, name, flags | OFlags::TRUNC, Mode::empty())?;
                return Ok(file.into());
            }
            Err(Errno::EXIST) => {
                self.clear(folder, name)?;
                create()?
            }
            created => created?,
        };
        self.set_attributes(entry, &file)?;
        Ok(file.into())
    }

    fn fill(
        &self,
        entry: &Entry,
        file: &mut std::fs::File,
        content: &mut impl BufRead,
    ) -> Result<(), ExtractError> {
        loop {
            let filled = match content.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                filled => filled.map_err(ExtractError::read)?,
            };
            if filled.is_empty() {
                break;
            }
            file.write_all(filled).map_err(failed("write", entry))?;
            let written = filled.len();
            content.consume(written);
        }
        self.set_capability(entry, file)
            .map_err(failed("set the capabilities of", entry))?;
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
        let failed = failed("make the hard link", entry);
        match self.wanted(&entry.link)? {
            Some(target) => self.link(&target, folder, name).map_err(failed),
            None => Err(failed(io::ErrorKind::NotFound.into())),
        }
    }

    fn link(&mut self, target: &Path, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let (Some(parent), Some(target)) = (target.parent(), target.file_name()) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let from = open_folder(&self.root, parent, self.follow(), &mut nothing_missing)?;
        let found = stat(&from, target)?.filter(|it| !is_whiteout(it));
        let found = found.ok_or(io::ErrorKind::NotFound)?;
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

    /// Owner first: setting it takes set-user-id and capabilities away.
    fn set_attributes(&self, entry: &Entry, file: &OwnedFd) -> io::Result<()> {
        let is_layer = self.options.rules == ExtractRules::Layer;
        let mut mode = entry.mode;
        if is_layer {
            match self.owner(entry)? {
                Some((uid, gid)) => rustix::fs::fchown(file, Some(uid), Some(gid))?,
                None => mode &= 0o1777,
            }
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
        if is_layer && entry.kind == Kind::Folder {
            rustix::fs::futimens(file, &times(entry.mtime))?;
        }
        Ok(())
    }

    /// Sets what a program may do; writing to the file would take it away again.
    fn set_capability(&self, entry: &Entry, file: &std::fs::File) -> io::Result<()> {
        let Some(capability) = &entry.manner.capability else {
            return Ok(());
        };
        let value = match &self.options.owners {
            _ if self.options.rules == ExtractRules::Lifecycle => return Ok(()),
            Owners::Drop | Owners::Record => return Ok(()),
            Owners::Keep => capability.clone(),
            Owners::Map { users, .. } => {
                let root = users.outside(0).ok_or(io::ErrorKind::InvalidInput)?;
                of_root(capability, root)
            }
        };
        match rustix::fs::fsetxattr(file, CAPABILITY, &value, XattrFlags::empty()) {
            // There are file systems without, and images that run without.
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_owner_at(&self, entry: &Entry, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        if let Some((uid, gid)) = self.owner(entry)? {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(folder, name, Some(uid), Some(gid), flags)?;
        }
        Ok(())
    }

    /// Who gets it, if not whoever runs this.
    fn owner(&self, entry: &Entry) -> io::Result<Option<(Uid, Gid)>> {
        match &self.options.owners {
            Owners::Drop | Owners::Record => Ok(None),
            Owners::Keep => owner(entry).map(Some),
            Owners::Map { users, groups } => {
                let (uid, gid) = owner(entry)?;
                let uid = users.outside(uid.as_raw());
                let gid = groups.outside(gid.as_raw());
                match (uid, gid) {
                    (Some(uid), Some(gid)) => Ok(Some((Uid::from_raw(uid), Gid::from_raw(gid)))),
                    _ => Err(io::ErrorKind::InvalidInput.into()),
                }
            }
        }
    }
}

/// Says that nothing is there, as overlayfs has it.
fn keep_whiteout(folder: &OwnedFd, name: &OsStr, xattrs: OverlayXattrs) -> io::Result<()> {
    match stat(folder, name)? {
        // It is about the layers below: a folder that this one has stands alone, a file does so
        // anyway.
        Some(found) if is_folder(&found) => {
            let found = rustix::fs::openat(folder, name, FOLDER, Mode::empty())?;
            make_opaque(&found, xattrs)
        }
        Some(_) => Ok(()),
        None => Ok(rustix::fs::mknodat(
            folder,
            name,
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        )?),
    }
}

fn make_opaque(folder: &OwnedFd, xattrs: OverlayXattrs) -> io::Result<()> {
    let flags = XattrFlags::empty();
    Ok(rustix::fs::fsetxattr(folder, xattrs.opaque(), b"y", flags)?)
}

/// The capabilities `value`, so that they count where the root of a user namespace is `root`.
///
/// <https://man7.org/linux/man-pages/man7/capabilities.7.html>, "File capability extended attribute
/// versioning".
fn of_root(value: &[u8], root: u32) -> Vec<u8> {
    const REVISION_2: u8 = 2;
    const REVISION_3: u8 = 3;
    const SIZE_2: usize = 20;

    let mut value = value.to_vec();
    if value.len() == SIZE_2
        && let Some(revision) = value.get_mut(3).filter(|it| **it == REVISION_2)
    {
        *revision = REVISION_3;
        value.extend(root.to_le_bytes());
    }
    value
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
