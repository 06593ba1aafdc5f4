//! What Sigstore's crates sign and verify with: ring, as everywhere here, and `RustCrypto` for digests.

use std::sync::Once;

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use p256::ecdsa::{DerSignature, SigningKey};
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use sigstore_verify::crypto::{
    CryptoProvider, Error, HashContext, KeyAlgorithm, Result, SigningKeyPair, SigningScheme,
    install_default_provider,
};
use sigstore_verify::types::HashAlgorithm;

/// Installs it once in this process.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        assert!(
            install_default_provider(&Ring).is_ok(),
            "another provider is installed"
        );
    });
}

#[derive(Debug)]
struct Ring;

struct Context(digest::Context);

impl HashContext for Context {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

/// A key on P-256, and its public half as an uncompressed point.
struct Pair {
    key: SigningKey,
    point: Vec<u8>,
}

impl SigningKeyPair for Pair {
    fn algorithm(&self) -> KeyAlgorithm {
        KeyAlgorithm::EcdsaP256
    }

    fn public_key_bytes(&self) -> &[u8] {
        &self.point
    }

    fn sign_raw(&self, data: &[u8]) -> Result<Vec<u8>> {
        let signature: DerSignature = self.key.sign(data);
        Ok(signature.as_bytes().to_vec())
    }

    fn sign_prehashed(&self, digest: &[u8]) -> Result<Vec<u8>> {
        let signature: DerSignature = self.key.sign_prehash(digest).map_err(|_opaque| refused())?;
        Ok(signature.as_bytes().to_vec())
    }
}

fn refused() -> Error {
    Error::Verification("signature does not verify".to_owned())
}

impl CryptoProvider for Ring {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        let algorithm = match algorithm {
            HashAlgorithm::Sha2256 => &digest::SHA256,
            HashAlgorithm::Sha2384 => &digest::SHA384,
            HashAlgorithm::Sha2512 => &digest::SHA512,
            _ => return Err(Error::UnsupportedAlgorithm("hash".to_owned())),
        };
        Ok(Box::new(Context(digest::Context::new(algorithm))))
    }

    fn verify_raw(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        data: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let algorithm: &'static dyn VerificationAlgorithm = match scheme {
            SigningScheme::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
            SigningScheme::EcdsaP256Sha384 => &signature::ECDSA_P256_SHA384_ASN1,
            SigningScheme::EcdsaP384Sha256 => &signature::ECDSA_P384_SHA256_ASN1,
            SigningScheme::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
            SigningScheme::Ed25519 => &signature::ED25519,
            SigningScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            _ => return Err(Error::UnsupportedAlgorithm(format!("{scheme:?}"))),
        };
        UnparsedPublicKey::new(algorithm, key)
            .verify(data, signature)
            .map_err(|_unspecified| refused())
    }

    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let is_good = match scheme {
            SigningScheme::EcdsaP256Sha256 | SigningScheme::EcdsaP256Sha384 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key);
                let signature = DerSignature::try_from(signature);
                matches!((key, signature), (Ok(key), Ok(it)) if key.verify_prehash(digest, &it).is_ok())
            }
            SigningScheme::EcdsaP384Sha256 | SigningScheme::EcdsaP384Sha384 => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key);
                let signature = p384::ecdsa::DerSignature::try_from(signature);
                matches!((key, signature), (Ok(key), Ok(it)) if key.verify_prehash(digest, &it).is_ok())
            }
            _ => return Err(Error::UnsupportedAlgorithm(format!("{scheme:?}"))),
        };
        if is_good { Ok(()) } else { Err(refused()) }
    }

    fn generate_key_pair(&self, algorithm: KeyAlgorithm) -> Result<Box<dyn SigningKeyPair>> {
        let unsupported = || Error::UnsupportedAlgorithm(format!("{algorithm:?}"));
        if algorithm != KeyAlgorithm::EcdsaP256 {
            return Err(unsupported());
        }
        let mut secret = [0; 32];
        SystemRandom::new()
            .fill(&mut secret)
            .map_err(|_unspecified| unsupported())?;
        let key = SigningKey::from_slice(&secret).map_err(|_opaque| unsupported())?;
        let point = key.verifying_key().to_sec1_point(false);
        let point = point.as_bytes().to_vec();
        Ok(Box::new(Pair { key, point }))
    }
}
