//! Files of the CNB specification, as types, and how they are read.
//!
//! Who reads one of these reads what a buildpack or a platform wrote, so [`read`] has a limit and
//! names the file and the line.

pub mod group;
pub mod metadata;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::go_words::{io_cause, toml_cause};

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

/// Reads the TOML file at `path`, which has to be there.
pub fn read_required<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let text = read_text(path)?;
    toml::from_str(&text).map_err(|error| FileError::Malformed {
        path: path.to_owned(),
        cause: TomlError::new(&error, &text),
    })
}

/// The text of a file of at most [`MAX_TOML`] bytes.
fn read_text(path: &Path) -> Result<String, FileError> {
    let open = |source| FileError::Open {
        path: path.to_owned(),
        source: OsError(source),
    };
    let file = File::open(path).map_err(open)?;
    let mut bytes = Vec::new();
    file.take(MAX_TOML + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| FileError::Read {
            path: path.to_owned(),
            source: OsError(source),
        })?;
    if bytes.len() as u64 > MAX_TOML {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
            limit: MAX_TOML,
        });
    }
    String::from_utf8(bytes).map_err(|_error| FileError::NotUtf8 {
        path: path.to_owned(),
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
    /// It is no text.
    #[error("{} is not UTF-8", path.display())]
    NotUtf8 {
        /// Which.
        path: PathBuf,
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
    #[error("encode {}", path.display())]
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

/// What is wrong with a TOML text, and where, in upstream's words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
#[non_exhaustive]
pub struct TomlError {
    /// Line, key and cause.
    pub text: String,
}

impl TomlError {
    /// The error that parsing `text` gave.
    pub fn new(error: &toml::de::Error, text: &str) -> Self {
        Self {
            text: toml_cause(text, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let error = toml::from_str::<toml::Table>(text).expect_err("the text is bad");
        TomlError::new(&error, text).to_string()
    }

    #[test]
    fn a_bare_word_is_told_in_upstreams_words() {
        assert_eq!(
            error("I am a bad group.toml"),
            "toml: line 1: expected '.' or '=', but got 'a' instead"
        );
        assert_eq!(
            error("x = 1\na\n"),
            r"toml: line 2: expected '.' or '=', but got '\n' instead"
        );
    }

    #[test]
    fn other_errors_name_their_line() {
        assert!(error("x = 1\ny = [\n").starts_with("toml: line "));
        assert!(error("x = 1\nx = 2\n").starts_with("toml: line 2: duplicate key"));
    }

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
