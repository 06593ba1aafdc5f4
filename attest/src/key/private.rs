//! Private keys: reading them, and signing.

use std::fmt;

use p256::ecdsa::signature::Signer as _;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::pkcs8::der::asn1::{AnyRef, OctetStringRef};
use p256::pkcs8::der::{Decode as _, Encode as _};
use p256::pkcs8::spki::AlgorithmIdentifier;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, PrivateKeyInfoRef};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use zeroize::Zeroizing;

use super::public::{EC, ED25519, P256, P384, RSA};
use super::{KeyAlgorithm, KeyError, PublicKey, encrypted, random};
use crate::sign::{SignError, Signature, Signer};

/// A private key. Signs with the algorithm that belongs to its kind.
pub struct PrivateKey {
    secret: Secret,
    public: PublicKey,
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Secret {
    /// Deterministic (RFC 6979): the same statement gets the same signature.
    P256(Box<p256::ecdsa::SigningKey>),
    /// ring's, with random numbers.
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

const MALFORMED: KeyError = KeyError::Malformed {
    what: "private key",
};

impl PrivateKey {
    /// Makes a new P-256 key.
    pub fn generate() -> Result<Self, KeyError> {
        loop {
            // All but one in 2^32 draws are keys.
            if let Ok(key) = p256::SecretKey::from_slice(&*random::<32>()?) {
                let pkcs8 = key.to_pkcs8_der().ok().ok_or(MALFORMED)?;
                return Self::from_pkcs8(pkcs8.as_bytes());
            }
        }
    }

    /// Reads PKCS#8, DER.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfoRef::from_der(der).ok().ok_or(MALFORMED)?;
        let curve = info.algorithm.parameters.and_then(|it| it.decode_as().ok());
        let (secret, public) = match (info.algorithm.oid, curve) {
            (EC, Some(P256)) => p256(der),
            (EC, Some(P384)) => p384(der),
            (ED25519, None) => ed25519(der),
            (RSA, None) => rsa(der),
            (EC, Some(curve)) => {
                return Err(KeyError::Unsupported {
                    kind: format!("elliptic curve {curve}"),
                });
            }
            (other, _) => {
                return Err(KeyError::Unsupported {
                    kind: other.to_string(),
                });
            }
        }?;
        Ok(Self {
            secret,
            public,
            pkcs8: Zeroizing::new(der.to_owned()),
        })
    }

    /// Reads SEC1, DER, of one of our two curves.
    pub(super) fn from_sec1(der: &[u8]) -> Result<Self, KeyError> {
        [P256, P384]
            .iter()
            .find_map(|curve| {
                let der = wrap(EC, AnyRef::from(curve), der)?;
                Self::from_pkcs8(&der).ok()
            })
            .ok_or(MALFORMED)
    }

    /// Reads PKCS#1, DER.
    pub(super) fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        Self::from_pkcs8(&wrap(RSA, AnyRef::NULL, der).ok_or(MALFORMED)?)
    }

    /// The other half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The text of a private key file, encrypted with `password` as cosign does it.
    pub fn encrypt(&self, password: &[u8]) -> Result<String, KeyError> {
        encrypted::encrypt(&self.pkcs8, password)
    }

    /// Signs any message.
    pub fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.secret {
            Secret::P256(key) => {
                let signature: p256::ecdsa::DerSignature = key.sign(message);
                Ok(signature.as_bytes().to_owned())
            }
            Secret::P384(key) => key
                .sign(&random, message)
                .map(|it| it.as_ref().to_owned())
                .ok()
                .ok_or(KeyError::NoRandom),
            Secret::Ed25519(key) => Ok(key.sign(message).as_ref().to_owned()),
            Secret::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .ok()
                    .ok_or(KeyError::NoRandom)?;
                Ok(signature)
            }
        }
    }
}

impl Signer for PrivateKey {
    fn sign(&self, pae: &[u8]) -> Result<Signature, SignError> {
        match self.sign_message(pae) {
            Ok(bytes) => Ok(Signature::by_key(bytes, self.public.hint())),
            Err(source) => Err(SignError::Signer {
                signer: self.name(),
                source: source.into(),
            }),
        }
    }

    fn name(&self) -> String {
        format!("key {}", self.public)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {:?})", self.public)
    }
}

fn p256(pkcs8: &[u8]) -> Result<(Secret, PublicKey), KeyError> {
    let key = p256::SecretKey::from_pkcs8_der(pkcs8)
        .ok()
        .ok_or(MALFORMED)?;
    let point = key.public_key().to_sec1_point(false);
    Ok((
        Secret::P256(Box::new(key.into())),
        PublicKey::from_raw(KeyAlgorithm::EcdsaP256, point.as_bytes())?,
    ))
}

fn p384(pkcs8: &[u8]) -> Result<(Secret, PublicKey), KeyError> {
    let algorithm = &ECDSA_P384_SHA384_ASN1_SIGNING;
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &SystemRandom::new())
        .ok()
        .ok_or(MALFORMED)?;
    let public = PublicKey::from_raw(KeyAlgorithm::EcdsaP384, key.public_key().as_ref())?;
    Ok((Secret::P384(key), public))
}

fn ed25519(pkcs8: &[u8]) -> Result<(Secret, PublicKey), KeyError> {
    // Most tools write the seed alone; where the public key is there, it is compared.
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
        .ok()
        .ok_or(MALFORMED)?;
    let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, key.public_key().as_ref())?;
    Ok((Secret::Ed25519(key), public))
}

fn rsa(pkcs8: &[u8]) -> Result<(Secret, PublicKey), KeyError> {
    // ring says in its own words what is wrong with an RSA key, e.g. that it is too small.
    let key = RsaKeyPair::from_pkcs8(pkcs8).map_err(|rejected| KeyError::Unsupported {
        kind: format!("RSA ({rejected})"),
    })?;
    let public = PublicKey::from_raw(KeyAlgorithm::Rsa, key.public_key().as_ref())?;
    Ok((Secret::Rsa(key), public))
}

/// Makes PKCS#8 of what SEC1 and PKCS#1 have.
fn wrap(
    oid: p256::pkcs8::ObjectIdentifier,
    parameters: AnyRef<'_>,
    key: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let algorithm = AlgorithmIdentifier {
        oid,
        parameters: Some(parameters),
    };
    let key = OctetStringRef::new(key).ok()?;
    PrivateKeyInfoRef::new(algorithm, key)
        .to_der()
        .ok()
        .map(Zeroizing::new)
}
