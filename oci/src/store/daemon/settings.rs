//! The small files in which Docker says where a daemon is, and what can be wrong with them.

use std::io;
use std::path::{Path, PathBuf};

use crate::read_at_most;

/// Bytes that are read of a file with settings or certificates.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// Why it is not known where the daemon is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonAddressError {
    /// No address.
    #[error("`{text}` is not an address of a Docker daemon")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// An address of a kind that is not known.
    #[error("a Docker daemon cannot be reached by `{scheme}://`")]
    Scheme {
        /// The kind.
        scheme: String,
    },
    /// A context is named that is not there.
    #[error("the Docker context `{name}` is missing")]
    NoContext {
        /// Its name.
        name: String,
    },
    /// A file of Docker's settings has an unexpected form.
    #[error("`{path}` cannot be read", path = path.display())]
    Settings {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A file cannot be read.
    #[error("failed to read `{path}`", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificates do not fit together, or are none.
    #[error("the certificates in `{folder}` cannot be used", folder = folder.display())]
    Certificates {
        /// Where they lie.
        folder: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A small file, if it is there.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, DaemonAddressError> {
    let failed = |source| DaemonAddressError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match read_at_most(file, MAX_BYTES).map_err(failed)? {
        Some(text) => Ok(Some(text)),
        None => Err(failed(io::Error::other("it is too long"))),
    }
}
