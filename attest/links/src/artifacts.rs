//! What a step took and made.

use std::collections::BTreeMap;

use oci::Digest;
use serde::{Deserialize, Serialize};

/// Artifacts by name. A name is most often a path.
pub type Artifacts = BTreeMap<String, Hashes>;

/// What an artifact is: hashes in hexadecimal, by the name of the algorithm. At least one.
///
/// Two artifacts are the same if all their hashes are: as in the reference implementation, what is
/// named by SHA-256 alone is not what is named by SHA-256 and SHA-512.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Hashes(BTreeMap<String, String>);

impl Hashes {
    /// The one hash that a digest is.
    pub fn of(digest: &Digest) -> Self {
        let algorithm = digest.algorithm().name().to_owned();
        Self(BTreeMap::from([(algorithm, digest.hex().to_owned())]))
    }

    /// Whether `digest` is one of them.
    pub fn has(&self, digest: &Digest) -> bool {
        self.0
            .get(digest.algorithm().name())
            .is_some_and(|it| it.eq_ignore_ascii_case(digest.hex()))
    }
}

impl TryFrom<BTreeMap<String, String>> for Hashes {
    type Error = HashesError;

    fn try_from(hashes: BTreeMap<String, String>) -> Result<Self, HashesError> {
        if hashes.is_empty() {
            return Err(HashesError::None);
        }
        for (algorithm, hash) in &hashes {
            if hash.is_empty() || !hash.bytes().all(|it| it.is_ascii_hexdigit()) {
                return Err(HashesError::NotHexadecimal {
                    algorithm: algorithm.clone(),
                });
            }
        }
        Ok(Self(hashes))
    }
}

/// What cannot name an artifact.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "whoever names one handles all")]
pub enum HashesError {
    /// Two artifacts without hashes would be the same.
    #[error("artifact without a hash")]
    None,
    /// No hash.
    #[error("malformed {algorithm} hash of an artifact")]
    NotHexadecimal {
        /// By its name.
        algorithm: String,
    },
}
