//! What a signature is over.

use std::borrow::Cow;

use oci::{Algorithm, Digest};

use crate::hex;
use crate::key::{Hash, PublicKey};

/// A message, or what is known of one.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "made by callers, who have the one or the other"
)]
pub enum Message<'a> {
    /// The whole of it.
    Bytes(Cow<'a, [u8]>),
    /// Its digest alone: enough for ECDSA, where it was signed over that digest.
    Digest(Digest),
}

impl Message<'_> {
    /// Its digest by `hash`, if it is known.
    pub(crate) fn digest(&self, hash: Hash) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(hash.of(bytes)),
            Self::Digest(digest) => {
                let known = match digest.algorithm() {
                    Algorithm::Sha256 => Hash::Sha256,
                    Algorithm::Sha512 => Hash::Sha512,
                    _ => return None,
                };
                (known == hash).then(|| hex::decode(digest.hex())).flatten()
            }
        }
    }

    /// Whether `signature` was made over it with `key`.
    pub(crate) fn is_signed_by(&self, key: &PublicKey, signature: &[u8]) -> bool {
        match self {
            Self::Bytes(bytes) => key.has_signed(bytes, signature),
            Self::Digest(_) => [Hash::Sha256, Hash::Sha384, Hash::Sha512]
                .into_iter()
                .filter_map(|hash| Some((hash, self.digest(hash)?)))
                .any(|(hash, digest)| key.has_signed_digest(hash, &digest, signature)),
        }
    }
}
