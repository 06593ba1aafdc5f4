//! Public keys: reading them, and checking signatures.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::Digest;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::pkcs8::ObjectIdentifier;
use p256::pkcs8::der::asn1::{AnyRef, BitStringRef, UintRef};
use p256::pkcs8::der::{self, Decode as _, Encode as _, Reader as _, SliceReader};
use p256::pkcs8::spki::AlgorithmIdentifier;
use p256::pkcs8::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use super::{Hash, KeyAlgorithm, KeyError, pem};

pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

const LABEL: &str = "PUBLIC KEY";

/// Of PKCS#1: what older programs write for RSA, and cosign reads.
const PKCS1: &str = "RSA PUBLIC KEY";

/// Whether these are a modulus and an exponent, and nothing else.
fn is_pkcs1(text: &[u8]) -> Result<(), der::Error> {
    let mut reader = SliceReader::new(text)?;
    reader.sequence(|inner| {
        UintRef::decode(inner)?;
        UintRef::decode(inner).map(drop)
    })?;
    reader.finish()
}

/// A public key. Two are equal if they are the same key of the same kind.
///
/// The kind comes with the key, so no bundle can choose how its signature is checked.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    /// As ring has it: the point, the 32 bytes, or PKCS#1.
    raw: Vec<u8>,
    /// The whole, as X.509's `SubjectPublicKeyInfo`.
    spki: Vec<u8>,
}

impl PublicKey {
    /// Parses the text of a public key file: PEM, `SubjectPublicKeyInfo` or, for RSA, PKCS#1.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let (label, body) = pem::decode(text, &[LABEL, PKCS1])?;
        if label == LABEL {
            Self::from_spki(&body)
        } else if label == PKCS1 {
            is_pkcs1(&body).map_err(|_error| KeyError::Malformed { what: "public key" })?;
            Self::from_raw(KeyAlgorithm::Rsa, &body)
        } else {
            Err(KeyError::OtherLabel {
                expected: "public key",
                presented: label.to_owned(),
            })
        }
    }

    /// Parses a DER `SubjectPublicKeyInfo`.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed { what: "public key" };
        let Ok(spki) = SubjectPublicKeyInfoRef::from_der(der) else {
            return Err(malformed());
        };
        let raw = spki.subject_public_key.as_bytes().ok_or_else(malformed)?;
        let (algorithm, raw_len) = kind(&spki.algorithm)?;
        if raw_len.is_some_and(|len| len != raw.len()) {
            return Err(malformed());
        }
        Ok(Self {
            algorithm,
            raw: raw.to_owned(),
            spki: der.to_owned(),
        })
    }

    /// Builds the key from what ring says of a private key.
    pub(super) fn from_raw(algorithm: KeyAlgorithm, raw: &[u8]) -> Result<Self, KeyError> {
        let (oid, parameters) = match algorithm {
            KeyAlgorithm::EcdsaP256 => (EC, Some(AnyRef::from(&P256))),
            KeyAlgorithm::EcdsaP384 => (EC, Some(AnyRef::from(&P384))),
            KeyAlgorithm::Ed25519 => (ED25519, None),
            KeyAlgorithm::Rsa => (RSA, Some(AnyRef::NULL)),
        };
        let malformed = || KeyError::Malformed { what: "public key" };
        let subject_public_key = BitStringRef::from_bytes(raw).ok().ok_or_else(malformed)?;
        let spki = SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifier { oid, parameters },
            subject_public_key,
        };
        Self::from_spki(&spki.to_der().ok().ok_or_else(malformed)?)
    }

    /// What it is for.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The whole key: a DER `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Names it: the digest of its `SubjectPublicKeyInfo`.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.spki)
    }

    /// What bundles say of it, as cosign does: the fingerprint in base64. A hint, no more.
    pub fn hint(&self) -> String {
        STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, &self.spki))
    }

    /// The text of a public key file.
    pub fn to_pem(&self) -> String {
        pem::encode(LABEL, &self.spki)
    }

    /// Whether `signature` was made over `message` by this key.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithms: &[&'static dyn VerificationAlgorithm] = match self.algorithm {
            KeyAlgorithm::EcdsaP256 => &[&signature::ECDSA_P256_SHA256_ASN1],
            // Signers of bundles up to v0.3 used SHA-256 with every curve.
            KeyAlgorithm::EcdsaP384 => &[
                &signature::ECDSA_P384_SHA384_ASN1,
                &signature::ECDSA_P384_SHA256_ASN1,
            ],
            KeyAlgorithm::Ed25519 => &[&signature::ED25519],
            KeyAlgorithm::Rsa => &[&signature::RSA_PKCS1_2048_8192_SHA256],
        };
        algorithms
            .iter()
            .any(|algorithm| self.verifies(*algorithm, message, signature))
    }

    /// Whether `signature` was made over `message` by this key with `hash`, whatever is usual for
    /// its kind. Ed25519 has a hash of its own.
    pub(crate) fn has_signed_with(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match (self.algorithm, hash) {
            (KeyAlgorithm::EcdsaP256, Hash::Sha256) => &signature::ECDSA_P256_SHA256_ASN1,
            (KeyAlgorithm::EcdsaP256, Hash::Sha384) => &signature::ECDSA_P256_SHA384_ASN1,
            (KeyAlgorithm::EcdsaP384, Hash::Sha256) => &signature::ECDSA_P384_SHA256_ASN1,
            (KeyAlgorithm::EcdsaP384, Hash::Sha384) => &signature::ECDSA_P384_SHA384_ASN1,
            (KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384, Hash::Sha512) => {
                return self.has_signed_digest(hash, &hash.of(message), signature);
            }
            (KeyAlgorithm::Ed25519, _) => &signature::ED25519,
            (KeyAlgorithm::Rsa, Hash::Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (KeyAlgorithm::Rsa, Hash::Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (KeyAlgorithm::Rsa, Hash::Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
        };
        self.verifies(algorithm, message, signature)
    }

    /// Whether `signature` was made by this key over the message with this digest. Of keys that sign
    /// by no digest, or by none that we can check, it was not.
    pub(crate) fn has_signed_digest(&self, hash: Hash, digest: &[u8], signature: &[u8]) -> bool {
        if digest.len() != hash.len() {
            return false;
        }
        match self.algorithm {
            KeyAlgorithm::EcdsaP256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(&self.raw)
                .is_ok_and(|key| {
                    p256::ecdsa::DerSignature::try_from(signature)
                        .is_ok_and(|it| key.verify_prehash(digest, &it).is_ok())
                }),
            KeyAlgorithm::EcdsaP384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(&self.raw)
                .is_ok_and(|key| {
                    p384::ecdsa::DerSignature::try_from(signature)
                        .is_ok_and(|it| key.verify_prehash(digest, &it).is_ok())
                }),
            KeyAlgorithm::Ed25519 | KeyAlgorithm::Rsa => false,
        }
    }

    fn verifies(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        UnparsedPublicKey::new(algorithm, &self.raw)
            .verify(message, signature)
            .is_ok()
    }

    /// What logs call such a key, and the hash that it signs with there. None for keys that they do
    /// not take.
    pub(crate) fn details(&self) -> Option<(&'static str, Hash)> {
        match self.algorithm {
            KeyAlgorithm::EcdsaP256 => Some(("PKIX_ECDSA_P256_SHA_256", Hash::Sha256)),
            KeyAlgorithm::EcdsaP384 => Some(("PKIX_ECDSA_P384_SHA_384", Hash::Sha384)),
            // The modulus, without what else PKCS#1 has: 270, 398 and 526 bytes in all.
            KeyAlgorithm::Rsa => match self.raw.len() {
                260..=300 => Some(("PKIX_RSA_PKCS1V15_2048_SHA256", Hash::Sha256)),
                388..=420 => Some(("PKIX_RSA_PKCS1V15_3072_SHA256", Hash::Sha256)),
                516..=560 => Some(("PKIX_RSA_PKCS1V15_4096_SHA256", Hash::Sha256)),
                _ => None,
            },
            KeyAlgorithm::Ed25519 => None,
        }
    }

    /// The point, the 32 bytes, or PKCS#1.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Whether `signature` was made over `message` by this key, with RSA-PSS and SHA-256: what
    /// in-toto means by an RSA key. Only an RSA key can have.
    pub fn has_signed_pss(&self, message: &[u8], signature: &[u8]) -> bool {
        self.algorithm == KeyAlgorithm::Rsa
            && UnparsedPublicKey::new(&signature::RSA_PSS_2048_8192_SHA256, &self.raw)
                .verify(message, signature)
                .is_ok()
    }
}

/// What kind of key it is, and how many bytes such a key has if they are always as many.
fn kind(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<(KeyAlgorithm, Option<usize>), KeyError> {
    let curve = algorithm
        .parameters
        .and_then(|it| it.decode_as::<ObjectIdentifier>().ok());
    match (algorithm.oid, curve) {
        (EC, Some(P256)) => Ok((KeyAlgorithm::EcdsaP256, Some(65))),
        (EC, Some(P384)) => Ok((KeyAlgorithm::EcdsaP384, Some(97))),
        (ED25519, None) => Ok((KeyAlgorithm::Ed25519, Some(32))),
        (RSA, None) => Ok((KeyAlgorithm::Rsa, None)),
        (EC, Some(curve)) => Err(KeyError::Unsupported {
            kind: format!("elliptic curve {curve}"),
        }),
        (other, _) => Err(KeyError::Unsupported {
            kind: other.to_string(),
        }),
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fingerprint().fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.algorithm, self.fingerprint())
    }
}
