//! Local keys: read, made, and used to sign and to check signatures.
//!
//! Files are as cosign has them: an encrypted private key (scrypt, `NaCl`'s secretbox) beside a PEM
//! public key. Plain PKCS#8, SEC1 and PKCS#1 files are read too. Secrets are wiped when dropped
//! and never printed.

mod encrypted;
mod hash;
mod pem;
mod private;
mod public;
#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

pub use encrypted::EncryptedKey;
pub(crate) use hash::Hash;
pub use private::PrivateKey;
pub use public::PublicKey;

/// What a private key file holds, so that a password is asked for only where there is one.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a file is encrypted or it is not")]
pub enum KeyFile {
    /// Needs a password.
    Encrypted(EncryptedKey),
    /// Needs none.
    Plain(Box<PrivateKey>),
}

/// The labels of private keys.
const PRIVATE: &[&str] = &[
    encrypted::LABEL,
    encrypted::OLD_LABEL,
    "PRIVATE KEY",
    "EC PRIVATE KEY",
    "RSA PRIVATE KEY",
];

impl KeyFile {
    /// Parses the text of a private key file.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let (label, body) = pem::decode(text, PRIVATE)?;
        match label {
            encrypted::LABEL | encrypted::OLD_LABEL => {
                EncryptedKey::parse(&body).map(Self::Encrypted)
            }
            "PRIVATE KEY" => PrivateKey::from_pkcs8(&body).map(Self::plain),
            "EC PRIVATE KEY" => PrivateKey::from_sec1(&body).map(Self::plain),
            "RSA PRIVATE KEY" => PrivateKey::from_pkcs1(&body).map(Self::plain),
            other => Err(KeyError::OtherLabel {
                expected: "private key",
                presented: other.to_owned(),
            }),
        }
    }

    fn plain(key: PrivateKey) -> Self {
        Self::Plain(Box::new(key))
    }
}

/// A new pair of keys, as the texts of the two files.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyPair {
    /// For `cosign.key`: encrypted.
    pub private: String,
    /// For `cosign.pub`.
    pub public: String,
}

/// Makes a new P-256 key, encrypted with `password`. An empty password is one that anybody has.
pub fn generate(password: &[u8]) -> Result<KeyPair, KeyError> {
    let key = PrivateKey::generate()?;
    Ok(KeyPair {
        private: key.encrypt(password)?,
        public: key.public_key().to_pem(),
    })
}

/// What a key is for, and with which hash it signs.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_enums,
    reason = "who signs or verifies has to handle each kind"
)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256, SHA-256.
    EcdsaP256,
    /// ECDSA on P-384, SHA-384.
    EcdsaP384,
    /// Ed25519, of the message itself.
    Ed25519,
    /// RSA of at least 2048 bits, PKCS#1 v1.5, SHA-256.
    Rsa,
}

/// Why a key cannot be read, made or used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No PEM.
    #[error("not a PEM file")]
    NotPem,
    /// More than one key: it would be open which one is meant.
    #[error("more than one key is in the file: each needs a file of its own")]
    Several,
    /// PEM of something else.
    #[error("PEM file holds a `{presented}`, not a {expected}")]
    OtherLabel {
        /// What was looked for.
        expected: &'static str,
        /// Its label.
        presented: String,
    },
    /// The label says a key, the content does not.
    #[error("malformed {what}")]
    Malformed {
        /// Which part.
        what: &'static str,
    },
    /// A kind of key, or a size, that we do not use.
    #[error("unsupported kind of key: {kind}")]
    Unsupported {
        /// Which.
        kind: String,
    },
    /// Parameters of the encryption that are too weak or would take too long.
    #[error("encrypted key has parameters that are not accepted: {parameters}")]
    Parameters {
        /// Which.
        parameters: String,
    },
    /// The password is not the one, or the file was damaged.
    #[error("wrong password")]
    WrongPassword,
    /// The system has no random numbers.
    #[error("no random numbers are to be had")]
    NoRandom,
}

/// Fills `N` bytes with random numbers of the system.
fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut bytes = Zeroizing::new([0; N]);
    match ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), bytes.as_mut()) {
        Ok(()) => Ok(bytes),
        Err(ring::error::Unspecified) => Err(KeyError::NoRandom),
    }
}
