//! Writes files whole: the old one is there, or the new one.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
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

/// Writes `bytes` to `path`, with the folders above it; mode 0644, or that of the file that is there.
///
/// Whoever looks sees the old file or the new one, also after a crash. It fails where the old file could
/// not be written to, as upstream's does, which opens it. What a link leads to is overwritten, but not by
/// root, where the link is somebody else's: a buildpack may have made it. A file that can be written but
/// not replaced (a mount of its own, say) is overwritten, too.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let dir = folder(path);
    go::files::create_dir_all(&dir).map_err(FileError::Mkdir)?;
    let old = match fs::symlink_metadata(path) {
        Ok(old) if old.is_file() && old.nlink() == 1 => {
            let opened = OpenOptions::new().write(true).open(path);
            opened.map_err(not_opened(path))?;
            Some(old)
        }
        Ok(link) if link.is_symlink() && link.uid() != 0 && geteuid().is_root() => None,
        // Nor another name of a file, in a folder of somebody else's.
        Ok(old) if old.is_file() && geteuid().is_root() && is_strange(&dir) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        _ => return overwrite(path, bytes),
    };
    match temporary(&dir) {
        Ok(file) => replace(file, path, old.as_ref(), bytes),
        Err(_) => overwrite(path, bytes),
    }
}

/// Whether the folder is somebody's who is not root.
fn is_strange(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|it| it.uid() != 0)
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

/// A new file beside `path`. It has the mode that a file has which is created in its place.
fn temporary(dir: &Path) -> io::Result<NamedTempFile> {
    Builder::new().prefix(".lifecycle.").make_in(dir, |path| {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o666)
            .open(path)
    })
}

fn replace(
    mut file: NamedTempFile,
    path: &Path,
    old: Option<&Metadata>,
    bytes: &[u8],
) -> Result<(), FileError> {
    if old.is_some_and(|old| !like(file.as_file(), old)) {
        return overwrite(path, bytes);
    }
    let written = file.as_file_mut().write_all(bytes);
    written
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed(path))?;
    match file.persist(path) {
        Ok(_file) => Ok(()),
        Err(_) => overwrite(path, bytes),
    }
}

/// Gives `file` the owner and the mode of the old one; returns whether it has them then.
fn like(file: &File, old: &Metadata) -> bool {
    let owned = |it: &Metadata| (it.uid(), it.gid());
    let Ok(new) = file.metadata() else {
        return false;
    };
    let chowned =
        owned(&new) == owned(old) || fchown(file, Some(old.uid()), Some(old.gid())).is_ok();
    chowned && (new.mode() == old.mode() || file.set_permissions(old.permissions()).is_ok())
}

/// Writes in place. What is wrong with that is what is told.
fn overwrite(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = File::create(path).map_err(not_opened(path))?;
    file.write_all(bytes).map_err(failed(path))
}

fn not_opened(path: &Path) -> impl Fn(io::Error) -> FileError + '_ {
    move |source| FileError::Open {
        path: path.to_owned(),
        source: OsError(source),
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> FileError + '_ {
    move |source| FileError::Write {
        path: path.to_owned(),
        source: OsError(source),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, lchown, symlink};

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
    fn keeps_the_mode_and_the_links_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("old"), "").unwrap();
        fs::set_permissions(at("old"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::hard_link(at("old"), at("twin")).unwrap();
        write_bytes(&at("old"), b"1").unwrap();
        assert_eq!(fs::read(at("twin")).unwrap(), b"1");
        fs::remove_file(at("twin")).unwrap();
        write_bytes(&at("old"), b"2").unwrap();
        assert_eq!(fs::metadata(at("old")).unwrap().mode() & 0o777, 0o600);

        symlink("old", at("link")).unwrap();
        symlink("new", at("dangling")).unwrap();
        write_bytes(&at("link"), b"3").unwrap();
        write_bytes(&at("dangling"), b"4").unwrap();
        assert_eq!(fs::read(at("old")).unwrap(), b"3");
        assert_eq!(fs::read(at("new")).unwrap(), b"4");
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        write_bytes(Path::new("/dev/null"), b"5").unwrap();
        let null = fs::metadata("/dev/null").unwrap();
        assert!(null.file_type().is_char_device());

        if geteuid().is_root() {
            lchown(at("link"), Some(1000), None).unwrap();
            write_bytes(&at("link"), b"6").unwrap();
            assert_eq!(fs::read(at("old")).unwrap(), b"3");
            assert_eq!(fs::read(at("link")).unwrap(), b"6");
        }
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
