//! Writes files whole: the old one is there, or the new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::{Builder, NamedTempFile};

use super::{FileError, OsError};

/// Writes `value` as TOML to `path`, with the folders above it; mode 0644.
pub fn write<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), FileError> {
    let text = go::toml::to_string(value).map_err(|source| FileError::Unwritable {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    write_bytes(path, text.as_bytes())
}

/// Writes `bytes` to `path`, with the folders above it; mode 0644.
///
/// Whoever looks sees the old file or the new one, also after a crash. Where `path` can be written
/// but not replaced (a file that is a mount of its own, say), it is overwritten.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let dir = folder(path);
    go::files::create_dir_all(&dir).map_err(FileError::Mkdir)?;
    match temporary(&dir) {
        Ok(file) => replace(file, path, bytes),
        Err(_) => overwrite(path, bytes),
    }
}

/// The folder that `path` lies in, by its text alone, as Go's `filepath.Dir` has it.
fn folder(path: &Path) -> PathBuf {
    let above = || path.parent().unwrap_or(path).to_owned();
    match path.to_str().map(|it| it.rsplit_once('/')) {
        None => above(),
        Some(None) => PathBuf::from("."),
        Some(Some(("", _))) => PathBuf::from("/"),
        Some(Some((folder, _))) => go::glob::clean(folder).into(),
    }
}

/// A new file beside the old one. It has the mode that a file has which is created in its place.
fn temporary(dir: &Path) -> io::Result<NamedTempFile> {
    Builder::new().prefix(".lifecycle.").make_in(dir, |path| {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o666)
            .open(path)
    })
}

fn replace(mut file: NamedTempFile, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let written = file.as_file_mut().write_all(bytes);
    written
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed(path))?;
    match file.persist(path) {
        Ok(_file) => Ok(()),
        Err(_) => overwrite(path, bytes),
    }
}

/// Writes in place. What is wrong with that is what is told.
fn overwrite(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = File::create(path).map_err(|source| FileError::Open {
        path: path.to_owned(),
        source: OsError(source),
    })?;
    file.write_all(bytes).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> FileError + '_ {
    move |source| FileError::Write {
        path: path.to_owned(),
        source: OsError(source),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn replaces_the_whole_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config").join("metadata.toml");
        write_bytes(&path, b"a longer text").unwrap();
        write_bytes(&path, b"short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o600, 0o600);
    }

    #[test]
    fn says_which_file_and_why() {
        let told = |path: &str| go::words::chain(&write_bytes(Path::new(path), b"").unwrap_err());
        assert_eq!(
            told("/proc/nowhere/x"),
            "mkdir /proc/nowhere: no such file or directory"
        );
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().display().to_string();
        assert_eq!(told(&folder), format!("open {folder}: is a directory"));
        assert_eq!(told(""), "open : no such file or directory");
    }
}
