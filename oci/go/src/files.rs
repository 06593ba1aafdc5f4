//! Folders made and removed as Go's package `os` does it, with its words for what goes wrong: they name
//! the folder or file at which it stopped, not the one that was asked for.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use crate::words::PathError;

/// How deep folders may lie in each other to be removed: each takes two file descriptors.
const MAX_DEPTH: usize = 256;

/// Makes the folder `path` and those above it, as `os.MkdirAll`.
///
/// # Errors
///
/// Names the folder that cannot be made.
pub fn create_dir_all(path: &Path) -> Result<(), PathError> {
    let mut missing = Vec::new();
    let named = |it: &&Path| !it.as_os_str().is_empty() || path.as_os_str().is_empty();
    // No recursion: a path may have more names than a stack has room for.
    for folder in path.ancestors().filter(named) {
        match fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => break,
            Ok(_) => return Err(PathError::new("mkdir", folder, &Errno::NOTDIR.into())),
            Err(_) => missing.push(folder),
        }
    }
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Err(error) if !fs::symlink_metadata(folder).is_ok_and(|it| it.is_dir()) => {
                return Err(PathError::new("mkdir", folder, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes `path` and all below it, as `os.RemoveAll`: as much as can be removed. Nothing there is
/// nothing to do. No link is followed.
///
/// # Errors
///
/// Names the first that cannot be removed.
pub fn remove_all(path: &Path) -> Result<(), PathError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    // Go refuses the first. The second would be the folder above, which nobody means.
    let last = path.as_os_str().as_bytes().rsplit(|it| *it == b'/').next();
    if matches!(last, Some(b"." | b"..")) {
        return Err(PathError::new("RemoveAll", path, &Errno::INVAL.into()));
    }
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match fs::remove_file(path).or_else(|_is_folder| fs::remove_dir(path)) {
        Ok(()) => return Ok(()),
        Err(error) if is_gone(&error) => return Ok(()),
        Err(_) => {}
    }
    let (above, name) = split(path);
    let parent = match fs::File::open(&above) {
        Ok(parent) => parent,
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) => return Err(PathError::new("open", &above, &error)),
    };
    remove_from(parent.as_fd(), &name, 0).map_err(|error| error.below(&above))
}

/// `path` below `base`, as `filepath.Join`: the shortest path that means the same, without `.` and `..`
/// within it. An absolute `path` lies below `base`, too.
pub fn join(base: &Path, path: impl AsRef<OsStr>) -> PathBuf {
    let parts = [base.as_os_str(), path.as_ref()];
    let whole = parts
        .map(OsStr::as_bytes)
        .into_iter()
        .filter(|it| !it.is_empty());
    let whole = whole.collect::<Vec<_>>().join(&b'/');
    if whole.is_empty() {
        return PathBuf::new();
    }
    let is_rooted = whole.starts_with(b"/");
    let mut kept: Vec<&[u8]> = Vec::new();
    for part in whole.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if kept.last().is_some_and(|last| *last != b"..") => {
                kept.pop();
            }
            b".." if is_rooted => {}
            part => kept.push(part),
        }
    }
    let mut joined = kept.join(&b'/');
    if is_rooted {
        joined.insert(0, b'/');
    } else if joined.is_empty() {
        joined.push(b'.');
    }
    OsString::from_vec(joined).into()
}

/// The folder that `path` lies in, and its name there.
fn split(path: &Path) -> (PathBuf, OsString) {
    let mut bytes = path.as_os_str().as_bytes();
    while let Some(shorter) = bytes.strip_suffix(b"/").filter(|it| !it.is_empty()) {
        bytes = shorter;
    }
    let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    match bytes.iter().rposition(|it| *it == b'/') {
        None => (PathBuf::from("."), owned(bytes)),
        Some(at) => {
            let above = bytes.get(..at.max(1)).unwrap_or_default();
            let name = bytes.get(at + 1..).unwrap_or_default();
            (owned(above).into(), owned(name))
        }
    }
}

/// Removes `name`, which lies in the folder `parent`.
fn remove_from(parent: BorrowedFd<'_>, name: &OsStr, depth: usize) -> Result<(), PathError> {
    let failed = |operation, error: Errno| {
        let error = io::Error::from(error);
        Err(PathError::new(operation, Path::new(name), &error))
    };
    let not_unlinked = match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // A folder, or it cannot be said yet whether it is one.
        Err(error @ (Errno::ISDIR | Errno::PERM | Errno::ACCESS)) => error,
        Err(error) => return failed("unlinkat", error),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = if depth < MAX_DEPTH {
        openat(parent, name, flags, Mode::empty())
    } else {
        Err(Errno::MFILE)
    };
    let mut first = match opened {
        Ok(folder) => match Dir::read_from(&folder) {
            Ok(entries) => remove_entries(folder.as_fd(), entries, name, depth)?,
            Err(error) => return failed("readdirnames", error),
        },
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return failed("unlinkat", not_unlinked),
        Err(error) => failed("openfdat", error).err(),
    };
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => match first.take() {
            Some(error) => Err(error),
            None => failed("unlinkat", error),
        },
    }
}

/// Removes what is in the folder `name`; returns the first failure.
fn remove_entries(
    folder: BorrowedFd<'_>,
    entries: Dir,
    name: &OsStr,
    depth: usize,
) -> Result<Option<PathError>, PathError> {
    let mut first = None;
    for entry in entries {
        let entry = entry.map_err(|error| {
            let error = io::Error::from(error);
            PathError::new("readdirnames", Path::new(name), &error)
        })?;
        let below = OsStr::from_bytes(entry.file_name().to_bytes());
        if below == "." || below == ".." {
            continue;
        }
        if let Err(error) = remove_from(folder, below, depth + 1) {
            first.get_or_insert(error.below(Path::new(name)));
        }
    }
    Ok(first)
}

impl PathError {
    /// The same, of a path that is relative to `folder`.
    fn below(mut self, folder: &Path) -> Self {
        let mut path = folder.as_os_str().to_owned();
        path.push("/");
        path.push(&self.path);
        self.path = path.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_are_joined_as_go_does() {
        for (base, path, joined) in [
            ("/layers", "a", "/layers/a"),
            ("../layers/.", "a/b", "../layers/a/b"),
            ("/x/../layers//", "/a", "/layers/a"),
            ("//", "bin", "/bin"),
            ("/a", "../..", "/"),
            (".", "a", "a"),
            ("a", "..", "."),
            ("", "..", ".."),
            ("", "", ""),
        ] {
            assert_eq!(
                join(Path::new(base), path).as_os_str(),
                joined,
                "{base} {path}"
            );
        }
    }

    #[test]
    fn all_below_a_folder_is_removed_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        create_dir_all(&at("gone/a/b")).unwrap();
        fs::write(at("gone/a/b/file"), "").unwrap();
        fs::create_dir(at("kept")).unwrap();
        fs::write(at("kept/file"), "").unwrap();
        symlink(at("kept"), at("gone/a/link")).unwrap();
        remove_all(&at("gone")).unwrap();
        assert!(!at("gone").exists() && at("kept/file").exists());
        remove_all(&at("gone")).unwrap();
        remove_all(&at("kept/file/below")).unwrap_err();
    }

    #[test]
    fn a_folder_is_removed_by_its_name_only() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        create_dir_all(&at("x/y")).unwrap();
        remove_all(&at("x/.")).unwrap_err();
        remove_all(&at("x/y/..")).unwrap_err();
        assert!(at("x/y").exists());
    }

    #[test]
    fn a_path_may_have_any_number_of_names() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("a/".repeat(60_000));
        let error = create_dir_all(&long).unwrap_err();
        assert_eq!(error.cause, "file name too long");
    }

    #[test]
    fn an_error_names_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let text = format!("mkdir {}: not a directory", file.display());
        assert_eq!(
            create_dir_all(&file.join("a/b")).unwrap_err().to_string(),
            text
        );
        let text = format!("unlinkat {}/x: not a directory", file.display());
        assert_eq!(remove_all(&file.join("x")).unwrap_err().to_string(), text);
        assert_eq!(split(Path::new("/cache")), ("/".into(), "cache".into()));
        assert_eq!(split(Path::new("a/b/")), ("a".into(), "b".into()));
        assert_eq!(split(Path::new("a")), (".".into(), "a".into()));
    }

    #[test]
    fn what_is_nested_deeper_than_any_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut handle = fs::File::open(folder.path()).unwrap();
        for _ in 0..MAX_DEPTH + 2 {
            rustix::fs::mkdirat(&handle, "d", Mode::RWXU).unwrap();
            handle = openat(&handle, "d", OFlags::RDONLY, Mode::empty())
                .unwrap()
                .into();
        }
        let error = remove_all(&folder.path().join("d")).unwrap_err();
        assert_eq!(error.cause, "too many open files");
    }
}
