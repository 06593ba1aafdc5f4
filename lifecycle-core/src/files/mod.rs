//! The files that phases, platforms and buildpacks tell each other by.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub mod analyzed;
pub mod project_metadata;
pub mod report;
pub mod run;
pub mod store;

/// The most of a file that is read: 64 MiB. Real ones have a few kilobytes.
const LIMIT: u64 = 64 << 20;

/// Reads the TOML file at `path`; `None` if there is none.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let read = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    match fs_err::metadata(path) {
        Ok(metadata) if metadata.len() > LIMIT => {
            return Err(FileError::TooLarge {
                path: path.to_owned(),
                limit: LIMIT,
            });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error)),
    }
    let text = fs_err::read_to_string(path).map_err(read)?;
    toml::from_str(&text)
        .map(Some)
        .map_err(|source| FileError::Malformed {
            path: path.to_owned(),
            source: Box::new(source),
        })
}

/// Writes `value` as TOML to `path`, and the folders above; whole, or not at all.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let text = toml::to_string(value).map_err(|source| FileError::Unwritable {
        path: path.to_owned(),
        source,
    })?;
    write_bytes(path, text.as_bytes())
}

/// Writes `bytes` to `path`, and the folders above; whole, or not at all.
///
/// Where `path` can be written but not replaced (a file that is a mount of its own, say), it is
/// overwritten.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = |source| FileError::Write {
        path: path.to_owned(),
        source,
    };
    fs_err::create_dir_all(folder).map_err(write)?;
    replace(folder, path, bytes)
        .or_else(|_| fs_err::write(path, bytes))
        .map_err(write)
}

fn replace(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is no TOML, or not of its form.
    #[error("failed to decode `{}`", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// The file system failed.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has more bytes than we read.
    #[error("`{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// It cannot be said in TOML.
    #[error("failed to encode `{}`", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: toml::ser::Error,
    },
    /// The file system failed.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::analyzed::Analyzed;
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/analyzed.toml");
        assert!(read::<Analyzed>(&path).unwrap().is_none());
        let text = "[image]\nreference = \"r\"\n[metadata.run-image]\ntop-layer = \"t\"\nimage = \"i\"\n\
                    [[metadata.buildpacks]]\nkey = \"k\"\nversion = \"1\"\n[metadata.buildpacks.layers.l]\n\
                    sha = \"s\"\nlaunch = true\n[metadata.buildpacks.layers.l.metadata]\nn = 3.0\n";
        let analyzed: Analyzed = toml::from_str(text).unwrap();
        assert_eq!(analyzed.previous_image(), Some("r"));
        assert_eq!(analyzed.metadata.run_image.images.image, "i");
        write(&path, &analyzed).unwrap();
        assert_eq!(read(&path).unwrap(), Some(analyzed));
        write_bytes(&path, b"not toml").unwrap();
        assert!(matches!(
            read::<Analyzed>(&path),
            Err(FileError::Malformed { .. })
        ));
    }
}
