//! Folders that builds left behind because they were killed: the next build takes them away.
//!
//! A build holds a lock on its folders, which the kernel releases with its last breath. A layout that
//! was kept for the user has lost its mark, and stays.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// What the names of folders begin with that buildpacks saw.
pub(super) const BUILD: &str = "sealpack-build-";
/// What the names of staged layouts begin with.
pub(super) const STAGED: &str = "sealpack-staged-";
/// In a layout that is not to be kept.
const MARK: &str = ".unfinished";
/// Between the making of a folder and its lock there is a moment.
const AGE: Duration = Duration::from_mins(1);

/// The folders in `temporary` that nobody uses any more, of whoever runs us.
pub fn stale(temporary: &Path) -> Vec<PathBuf> {
    found(temporary).into_iter().map(|(path, _)| path).collect()
}

fn found(temporary: &Path) -> Vec<(PathBuf, fs_err::File)> {
    let entries = fs_err::read_dir(temporary).into_iter().flatten().flatten();
    let ours = rustix::process::geteuid().as_raw();
    entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?;
            let path = entry.path();
            let is_one =
                name.starts_with(BUILD) || name.starts_with(STAGED) && path.join(MARK).exists();
            let metadata = fs_err::symlink_metadata(&path).ok()?;
            // A future time is no age: the clock was set.
            let is_old = metadata
                .modified()
                .ok()?
                .elapsed()
                .is_ok_and(|it| it >= AGE);
            if !is_one || !metadata.is_dir() || metadata.uid() != ours || !is_old {
                return None;
            }
            let lock = lock(&path)?;
            // Names are used again: it may have been made anew since it was looked at.
            let locked = lock.metadata().ok()?;
            let is_same = (locked.dev(), locked.ino()) == (metadata.dev(), metadata.ino());
            is_same.then_some((path, lock))
        })
        .collect()
}

/// Removes them. What cannot be removed stays, and does no harm.
pub(super) fn remove(temporary: &Path) {
    for (path, _lock) in found(temporary) {
        make_removable(&path);
        fs_err::remove_dir_all(&path).unwrap_or_default();
    }
}

/// Holds `folder`; nothing if somebody else does, or if it cannot be held at all.
pub(super) fn lock(folder: &Path) -> Option<fs_err::File> {
    let file = fs_err::File::open(folder).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

/// Says that a layout is not to be kept. Without the mark it would stay.
pub(super) fn mark(layout: &Path) {
    fs_err::write(layout.join(MARK), []).unwrap_or_default();
}

/// Says that a layout is to be kept.
pub(super) fn unmark(layout: &Path) {
    fs_err::remove_file(layout.join(MARK)).unwrap_or_default();
}

/// Lets all of a folder be removed, whatever modes buildpacks gave to folders in it.
pub(super) fn make_removable(folder: &Path) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // What cannot be opened is left behind.
        let private = std::fs::Permissions::from_mode(0o700);
        fs_err::set_permissions(&folder, private).unwrap_or_default();
        let entries = fs_err::read_dir(&folder).into_iter().flatten().flatten();
        let inner = entries.filter(|it| it.file_type().is_ok_and(|it| it.is_dir()));
        folders.extend(inner.map(|it| it.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_is_taken_away_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let make = |name: &str, is_old: bool| {
            let path = temporary.path().join(name);
            std::fs::create_dir_all(path.join("layers")).unwrap();
            let sealed = std::fs::Permissions::from_mode(0o500);
            std::fs::set_permissions(path.join("layers"), sealed).unwrap();
            if is_old {
                let file = std::fs::File::open(&path).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            }
            path
        };
        let killed = make("sealpack-build-killed", true);
        let held = make("sealpack-build-held", true);
        let new = make("sealpack-build-new", false);
        let kept = make("sealpack-staged-kept", true);
        let other = make("other", true);
        let unfinished = make("sealpack-staged-killed", false);
        mark(&unfinished);
        let file = std::fs::File::open(&unfinished).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let _lock = lock(&held).unwrap();
        assert_eq!(stale(temporary.path()).len(), 2);
        remove(temporary.path());
        let left = [&killed, &unfinished, &held, &new, &kept, &other].map(|it| it.exists());
        assert_eq!(left, [false, false, true, true, true, true]);
    }
}
