//! Writes an archive: the same content gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::contents::Archive;
use super::members::{Members, blob_name};
use super::section::Section;
use super::{ArchiveForm, docker, names};
use crate::store::layout::source::Source as _;
use crate::store::layout::source::media_type_of;
use crate::store::layout::version;
use crate::tar::{Entry, EntryKind, TarError, Writer};
use crate::{Descriptor, Digest, StoreError};

/// Tells one file from another that has the same path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Identity {
    device: u64,
    file: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            file: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

impl Archive {
    /// Writes all that is in it and was added, if anything was.
    pub(super) fn write(&self) -> Result<(), StoreError> {
        let expected = {
            let state = self.state();
            if state.is_written {
                return Ok(());
            }
            state.on_disk
        };
        self.make(|_| true)?;
        let snapshot = self.snapshot();
        let mut files = vec![("oci-layout", Bytes::from_static(version::TEXT.as_bytes()))];
        match self.form {
            ArchiveForm::Oci => files.push(("index.json", self.json(&snapshot.index)?)),
            ArchiveForm::Docker => {
                let images = self.images(&snapshot.index);
                files.push(("index.json", self.json(&names::annotated(&snapshot.index))?));
                files.push((docker::MANIFEST, self.json(&docker::listing(&images))?));
            }
        }
        let mut digests: BTreeSet<Digest> = self.state().added.keys().cloned().collect();
        digests.extend(self.members.iter().flat_map(Members::blobs));
        let blobs: BTreeMap<String, Section> = digests
            .difference(&self.dead())
            .filter_map(|it| Some((blob_name(it), self.locate(it)?)))
            .collect();
        let written = replace(&self.path, expected, &files, &blobs, &self.place())?;
        let mut state = self.state();
        state.on_disk = Some(written);
        state.is_written = true;
        Ok(())
    }

    /// What only `dropped` needs.
    fn dead(&self) -> BTreeSet<Digest> {
        let dropped = self.state().dropped.clone();
        let snapshot = self.snapshot();
        if dropped.is_empty() {
            return BTreeSet::new();
        }
        let listed = snapshot.index.manifests.iter();
        let live = self.reach(listed.map(|it| it.digest.clone()).collect());
        let dead = self.reach(dropped.into_iter().collect());
        dead.difference(&live).cloned().collect()
    }

    /// What can be reached from `waiting`.
    fn reach(&self, mut waiting: Vec<Digest>) -> BTreeSet<Digest> {
        let mut reached = BTreeSet::new();
        while let Some(digest) = waiting.pop() {
            if reached.contains(&digest) {
                continue;
            }
            if let Ok(Some(content)) = self.read(&digest, self.limits.manifest_bytes)
                && let Some(media_type) = media_type_of(&content)
            {
                let target = Descriptor::new(media_type, digest.clone(), content.len() as u64);
                if let Ok(manifest) = self.parse(&target, &content) {
                    for successor in manifest.successors() {
                        if successor.media_type.is_manifest() {
                            waiting.push(successor.digest.clone());
                        } else {
                            reached.insert(successor.digest.clone());
                        }
                    }
                }
            }
            reached.insert(digest);
        }
        reached
    }

    fn json(&self, value: &impl Serialize) -> Result<Bytes, StoreError> {
        match serde_json::to_vec(value) {
            Ok(text) => Ok(text.into()),
            Err(error) => Err(StoreError::io(self.place(), "write it", error.into())),
        }
    }
}

/// Puts `files`, in this order, and then `blobs` into the archive at `path`: all of them, or nothing
/// changes. What is at `path` must still be `expected`.
pub(super) fn replace(
    path: &Path,
    expected: Option<Identity>,
    files: &[(&str, Bytes)],
    blobs: &BTreeMap<String, Section>,
    place: &str,
) -> Result<Identity, StoreError> {
    let failed = |error| StoreError::io(place, "write it", error);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // One that may be read by few may be so afterwards.
    let mode = fs_err::metadata(path).map_or(0o644, |it| it.permissions().mode() & 0o777);
    let prefix = format!("{name}.tmp-");
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(&prefix)
        .permissions(Permissions::from_mode(mode));
    let (mut file, named) = if let Some(file) = unnamed(folder, mode).map_err(failed)? {
        (file, None)
    } else {
        let (file, named) = builder.tempfile_in(folder).map_err(failed)?.into_parts();
        (file, Some(named))
    };
    write(&mut file, files, blobs).map_err(|error| match error {
        TarError::Write(error) => failed(error),
        other => failed(io::Error::other(other)),
    })?;
    file.sync_all().map_err(failed)?;
    let _lock = lock(path, expected, place)?;
    let written = match (named, expected) {
        (Some(named), Some(_)) => named.persist(path).map_err(io::Error::from),
        (Some(named), None) => named.persist_noclobber(path).map_err(io::Error::from),
        (None, Some(_)) => link_over(&file, path, &folder.join(format!(".{name}.sealpack-new"))),
        (None, None) => link(&file, path),
    };
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => changed(place),
        _ => failed(error),
    })?;
    File::open(folder)
        .and_then(|it| it.sync_all())
        .map_err(failed)?;
    Identity::of(&file).map_err(failed)
}

/// Where a process names its open files.
const OPEN_FILES: &str = "/proc/self/fd";

/// A file in `folder` that has no name yet, so that nothing of it stays if this process is killed.
/// None where that cannot be.
fn unnamed(folder: &Path, mode: u32) -> io::Result<Option<File>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    if !Path::new(OPEN_FILES).exists() {
        return Ok(None);
    }
    match rustix::fs::open(folder, flags, Mode::from_raw_mode(mode)) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives `file` the name `path`.
fn link(file: &File, path: &Path) -> io::Result<()> {
    let open = format!("{OPEN_FILES}/{}", file.as_raw_fd());
    let linked = rustix::fs::linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW);
    linked.map_err(io::Error::from)
}

/// Gives `file` the name `path` in place of what has it. For a moment it is called `waiting`: a
/// process that is killed then leaves that, and the next one, which has the lock, takes it away.
fn link_over(file: &File, path: &Path, waiting: &Path) -> io::Result<()> {
    match fs_err::remove_file(waiting) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    link(file, waiting)?;
    fs_err::rename(waiting, path).inspect_err(|_| {
        // The first error says what is wrong.
        fs_err::remove_file(waiting).unwrap_or_default();
    })
}

fn write(
    file: &mut File,
    files: &[(&str, Bytes)],
    blobs: &BTreeMap<String, Section>,
) -> Result<(), TarError> {
    let mut tar = Writer::new(BufWriter::with_capacity(1 << 20, file));
    for (name, content) in files {
        tar.write(&plain(name, content.len() as u64), &**content)?;
    }
    let mut folders = BTreeSet::new();
    for (name, section) in blobs {
        for (end, _) in name.match_indices('/') {
            let folder = name.get(..=end).unwrap_or_default();
            if folders.insert(folder) {
                tar.write(&directory(folder), io::empty())?;
            }
        }
        tar.write(&plain(name, section.size), section.reader())?;
    }
    tar.finish()?.flush().map_err(TarError::Write)
}

fn plain(name: &str, size: u64) -> Entry {
    Entry {
        path: PathBuf::from(name),
        kind: EntryKind::File { size },
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 0,
    }
}

fn directory(name: &str) -> Entry {
    Entry {
        kind: EntryKind::Directory,
        mode: 0o755,
        ..plain(name, 0)
    }
}

/// Waits until no one else replaces the file at `path`, and makes sure that it is `expected`: what
/// another has put into it meanwhile would be lost.
fn lock(path: &Path, expected: Option<Identity>, place: &str) -> Result<Option<File>, StoreError> {
    let Some(expected) = expected else {
        return Ok(None);
    };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => changed(place),
        _ => StoreError::io(place, "write it", error),
    };
    let file = File::open(path).map_err(failed)?;
    loop {
        match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    // Another may have replaced it while we waited: then the lock is on a file that is gone.
    let current = File::open(path).and_then(|it| Identity::of(&it));
    if current.map_err(failed)? == expected && Identity::of(&file).map_err(failed)? == expected {
        Ok(Some(file))
    } else {
        Err(changed(place))
    }
}

fn changed(place: &str) -> StoreError {
    StoreError::io(
        place,
        "write it",
        io::Error::other("someone else has changed it meanwhile; do it again"),
    )
}
