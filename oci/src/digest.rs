//! Digests of content, and how they are computed.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// The digest of content as stored, e.g. of a *compressed* layer.
///
/// Always well formed, so it can safely become part of a path or a URL: the only ways to get one
/// are to parse it or to hash bytes.
///
/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests>
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest(
    // Shared, because one graph names the same content in many places.
    Arc<str>,
);

/// The digest of a layer's *uncompressed* tar. Not interchangeable with its [`Digest`].
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// A hash function that content may be named by.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256: what we write, always.
    Sha256,
    /// SHA-512: read, where others wrote it.
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name, as it stands before the colon and in in-toto's `DigestSet`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl Digest {
    /// Hashes `bytes` with SHA-256.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::ALL
            .into_iter()
            .find(|it| self.0.starts_with(it.name()))
            .unwrap_or(Algorithm::Sha256)
    }

    /// The hex part, as in-toto's `DigestSet` wants it.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The whole text: `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').unwrap_or((text, ""));
        let Some(algorithm) = Algorithm::ALL.into_iter().find(|it| it.name() == name) else {
            return Err(DigestError::UnsupportedAlgorithm {
                text: text.to_owned(),
            });
        };
        if hex.len() == algorithm.hex_len()
            && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            Ok(Self(text.into()))
        } else {
            Err(DigestError::Malformed {
                text: text.to_owned(),
            })
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.as_ref().to_owned()
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a digest")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hashes bytes as they come.
#[derive(Clone, Debug)]
pub struct Hasher(State);

#[derive(Clone, Debug)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Starts with no bytes.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        let (algorithm, bytes) = match self.0 {
            State::Sha256(state) => (Algorithm::Sha256, state.finalize().to_vec()),
            State::Sha512(state) => (Algorithm::Sha512, state.finalize().to_vec()),
        };
        let mut text = String::with_capacity(7 + algorithm.hex_len());
        text.push_str(algorithm.name());
        text.push(':');
        for byte in bytes {
            text.extend(
                [byte >> 4, byte & 0xf]
                    .map(|nibble| char::from_digit(nibble.into(), 16).unwrap_or('0')),
            );
        }
        Digest(text.into())
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new(Algorithm::Sha256)
    }
}

/// Hashes what is read through it, by SHA-256.
#[derive(Debug)]
pub struct HashReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: io::Read> HashReader<R> {
    /// Nothing is read of `inner` yet.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Hasher::default(),
        }
    }

    /// Reads the rest, and returns the digest of all that was read.
    pub fn finish(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.hasher.finish())
    }
}

impl<R: io::Read> io::Read for HashReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Why a text is not a [`Digest`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The text names an algorithm but is not as many lower-case hex digits as it has.
    #[error("malformed digest `{text}`: `sha256:` and 64 lower-case hex digits are expected")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// The text names no algorithm that we accept.
    #[error("unsupported digest algorithm in `{text}`")]
    UnsupportedAlgorithm {
        /// What was given.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_digests_parse() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string().parse(), Ok(digest.clone()));
        assert_eq!(
            digest.hex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for bad in [
            "sha256:00".to_owned(),
            "sha256:../../etc/passwd".to_owned(),
            digest.to_string().to_uppercase().replace("SHA", "sha"),
            format!("{digest}0"),
            "sha512:00".to_owned(),
        ] {
            assert!(matches!(
                bad.parse::<Digest>(),
                Err(DigestError::Malformed { .. })
            ));
        }
        for bad in ["md5:00", "", ":", "sha256"] {
            assert!(bad.parse::<Digest>().is_err());
        }
        for bad in [
            digest.to_string().replace("sha256", "md5"),
            digest.to_string().replace("sha256", "SHA256"),
            digest.to_string().replace("sha256", "sha512"),
            digest.hex().to_owned(),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        // Nor is one read from JSON that is not well formed.
        let read = |text: &str| serde_json::from_value::<DiffId>(text.into());
        assert_eq!(read(digest.as_str()).unwrap(), DiffId(digest));
        assert!(read("sha256:../../etc/passwd").is_err());
    }
}
