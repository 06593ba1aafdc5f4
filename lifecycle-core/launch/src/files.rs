//! Files of the CNB specification, as types, and how they are read.
//!
//! Who reads one of these reads what a buildpack or a platform wrote, so [`read`] has a limit and
//! names the file and the line.

pub mod group;
pub mod metadata;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use go::bounded::read_at_most;
pub use go::toml::TomlError;
use go::words::{PathError, io_cause};
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer};

/// The most bytes that a TOML file may have.
pub const MAX_TOML: u64 = 16 * 1024 * 1024;

/// Reads the TOML file at `path`; `None` if there is none.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    match read_required(path) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a `T` from the bytes of a TOML file, as upstream reads it.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, TomlError> {
    go::toml::from_bytes(bytes)
}

/// Reads the TOML file at `path`, which has to be there.
pub fn read_required<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let bytes = read_bytes(path)?;
    parse(&bytes).map_err(|cause| FileError::Malformed {
        path: path.to_owned(),
        cause,
    })
}

/// Reads a table, as `deserialize_with`; any other value counts as absent, as upstream has it.
pub fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<toml::Table>, D::Error> {
    Ok(match toml::Value::deserialize(deserializer)? {
        toml::Value::Table(table) => Some(table),
        _ => None,
    })
}

/// The content of a file of at most [`MAX_TOML`] bytes.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let open = |source| FileError::Open {
        path: path.to_owned(),
        source: OsError(source),
    };
    let file = File::open(path).map_err(open)?;
    let read = read_at_most(file, MAX_TOML).map_err(|source| FileError::Read {
        path: path.to_owned(),
        source: OsError(source),
    });
    read?.ok_or_else(|| FileError::TooLarge {
        path: path.to_owned(),
        limit: MAX_TOML,
    })
}

/// Why a file could not be read or written.
///
/// The texts are those of Go programs where platforms match them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is not TOML, or not of its form. Upstream's text has no path.
    #[error("{cause}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where and why.
        cause: TomlError,
    },
    /// The folder that it shall lie in cannot be made.
    #[error(transparent)]
    Mkdir(PathError),
    /// It is not said where it lies.
    #[error("missing {of} directory")]
    NoFolder {
        /// Of what.
        of: &'static str,
    },
    /// It cannot be opened; most often there is none.
    #[error("open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: OsError,
    },
    /// It cannot be read to its end.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: OsError,
    },
    /// It has more bytes than we read.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// It cannot be said in TOML.
    #[error("{source}")]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file system failed.
    #[error("write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: OsError,
    },
}

impl FileError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.0.kind() == io::ErrorKind::NotFound)
    }
}

/// What the system said, in the words that Go programs use: `no such file or directory`.
///
/// Platforms match these.
#[derive(Debug)]
pub struct OsError(pub io::Error);

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&io_cause(&self.0))
    }
}

impl std::error::Error for OsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_told_as_in_go() {
        let error = read_required::<toml::Table>(Path::new("/nowhere/group.toml")).unwrap_err();
        assert!(error.is_missing());
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(
            format!("{error}: {source}"),
            "open /nowhere/group.toml: no such file or directory"
        );
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big.toml");
        let file = File::create(&path).unwrap();
        file.set_len(MAX_TOML + 1).unwrap();
        assert!(matches!(
            read_required::<toml::Table>(&path),
            Err(FileError::TooLarge { .. })
        ));
    }
}
