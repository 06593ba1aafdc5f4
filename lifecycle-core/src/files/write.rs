//! Writes files whole: the old one is there, or the new one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

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
    let open = |source| FileError::Open {
        path: path.to_owned(),
        source: OsError(source),
    };
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir).map_err(|source| FileError::Mkdir {
        path: dir.to_owned(),
        source: OsError(source),
    })?;
    match temporary(dir) {
        Ok(file) => replace(file, path, bytes).map_err(|source| FileError::Write {
            path: path.to_owned(),
            source: OsError(source),
        }),
        Err(error) => fs::write(path, bytes).map_err(|_second| open(error)),
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

fn replace(mut file: NamedTempFile, path: &Path, bytes: &[u8]) -> io::Result<()> {
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    match file.persist(path) {
        Ok(_file) => Ok(()),
        Err(error) => fs::write(path, bytes).map_err(|_second| error.error),
    }
}

#[cfg(test)]
mod tests {
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
        let error = write_bytes(Path::new("/proc/nowhere/x"), b"").unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(
            format!("{error}: {source}"),
            "mkdir /proc/nowhere: no such file or directory"
        );
    }
}
