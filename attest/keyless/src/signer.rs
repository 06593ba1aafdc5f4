//! Signing: a certificate for some minutes, and for each signature those who saw it.

use std::time::SystemTime;

use attest::key::{PrivateKey, PublicKey};
use attest::{Material, Payload, Signature, VerificationMaterial};
use futures_util::future::try_join_all;
use net::Services;

use crate::error::KeylessError;
use crate::fulcio;
use crate::plan::Plan;
use crate::rekor::{self, Entry, Verifier};
use crate::timestamp;
use crate::token::IdentityToken;

/// Signs with the services of a plan.
#[derive(Debug)]
pub struct Keyless {
    services: Services,
    plan: Plan,
}

/// A key that nobody keeps, and the certificate that says whose it is for some minutes.
#[derive(Debug)]
pub struct Certified {
    key: PrivateKey,
    certificate: Vec<u8>,
    subject: String,
    issuer: String,
}

impl Certified {
    /// Whom the token named. The certificate may say it in other words.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// By whose word.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The certificate: DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The key that it is for.
    pub fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }
}

impl Keyless {
    /// Asks nobody yet.
    pub fn new(services: Services, plan: Plan) -> Self {
        Self { services, plan }
    }

    /// Makes a key and asks for a certificate for it. It is good for any number of signatures, as long
    /// as it lives.
    pub async fn certify(
        &self,
        token: &IdentityToken,
        now: SystemTime,
    ) -> Result<Certified, KeylessError> {
        token.check(now).map_err(KeylessError::Token)?;
        let authority = self.plan.authority.as_ref();
        let authority = authority.ok_or(KeylessError::NoAuthority)?;
        let key = PrivateKey::generate().map_err(|source| KeylessError::Key {
            action: "make a key",
            source,
        })?;
        let certificate = fulcio::certificate(&self.services, authority, token, &key).await?;
        Ok(Certified {
            key,
            certificate,
            subject: token.subject().to_owned(),
            issuer: token.issuer().to_owned(),
        })
    }

    /// Signs `payload` as whom the certificate names.
    pub async fn sign(
        &self,
        payload: &Payload,
        signer: &Certified,
    ) -> Result<Signature, KeylessError> {
        let material = Material::Certificate(signer.certificate.clone());
        let verifier = Verifier::Certificate(&signer.certificate);
        self.witnessed(payload, &signer.key, material, verifier)
            .await
    }

    /// Signs `payload` with a key of one's own, and has it seen as well.
    pub async fn sign_with(
        &self,
        payload: &Payload,
        key: &PrivateKey,
    ) -> Result<Signature, KeylessError> {
        let public = key.public_key();
        let material = Material::PublicKey {
            hint: public.hint(),
        };
        self.witnessed(payload, key, material, Verifier::Key(public))
            .await
    }

    async fn witnessed(
        &self,
        payload: &Payload,
        key: &PrivateKey,
        signer: Material,
        verifier: Verifier<'_>,
    ) -> Result<Signature, KeylessError> {
        let bytes = key.sign_message(&payload.pae());
        let bytes = bytes.map_err(|source| KeylessError::Key {
            action: "sign",
            source,
        })?;
        // What a log took stays there for all to see, so the log comes when nothing else can fail.
        let authorities = self.plan.timestamp_authorities.iter();
        let timestamps = authorities.map(|it| timestamp::timestamp(&self.services, it, &bytes));
        let timestamps = try_join_all(timestamps).await?;
        let entry = Entry {
            payload,
            verifier,
            signature: &bytes,
        };
        let logs = self.plan.logs.iter();
        let log_entries = logs.map(|it| rekor::log(&self.services, it, entry));
        let log_entries = try_join_all(log_entries).await?;
        Ok(Signature {
            bytes,
            material: VerificationMaterial {
                signer,
                log_entries,
                timestamps,
            },
        })
    }
}
