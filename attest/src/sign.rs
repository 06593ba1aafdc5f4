//! Signing: statement in, bundle out.

use std::collections::BTreeMap;

use intoto::{Predicate, PredicateType, ResourceDescriptor, Statement, StatementError};
use oci::Descriptor;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Bundle;
use crate::dsse::{PAYLOAD_TYPE, pae};

/// Signs `statement`. The bytes that are signed are the bytes that the bundle carries.
pub fn sign<P: Serialize>(
    statement: &Statement<P>,
    signer: &dyn Signer,
) -> Result<Bundle, SignError> {
    let payload = serde_json::to_vec(statement).map_err(SignError::Serialize)?;
    let signature = signer.sign(&pae(PAYLOAD_TYPE, &payload))?;
    Ok(Bundle::of_statement(payload, signature))
}

/// Something that can sign: a key file, later a key service or a short-lived certificate.
pub trait Signer {
    /// Signs `pae`, the pre-authentication encoding of an envelope.
    fn sign(&self, pae: &[u8]) -> Result<Signature, SignError>;

    /// Names the signer for people.
    fn name(&self) -> String;
}

/// A signature, and what a bundle says of who made it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Signature {
    /// The signature.
    pub bytes: Vec<u8>,
    /// Names the key: [`PublicKey::hint`](crate::key::PublicKey::hint).
    pub key_hint: String,
}

impl Signature {
    /// Made by the key that `key_hint` names.
    pub fn by_key(bytes: Vec<u8>, key_hint: String) -> Self {
        Self { bytes, key_hint }
    }
}

/// That the signer stands for an image: what cosign's `sign` claims. Says nothing more.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ImageSignature {}

impl Predicate for ImageSignature {
    const TYPE: PredicateType = PredicateType::COSIGN_SIGN;
}

/// The statement that signs `subjects`, with `annotations` on each, as `cosign sign -a` has them.
pub fn image_signature(
    subjects: &[Descriptor],
    annotations: &BTreeMap<String, String>,
) -> Result<Statement<ImageSignature>, StatementError> {
    let subjects = subjects.iter().map(|subject| ResourceDescriptor {
        annotations: annotations
            .iter()
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
            .collect(),
        ..subject.into()
    });
    Statement::about_all(subjects.collect(), ImageSignature {})
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The statement has no JSON form.
    #[error("failed to serialize the statement")]
    Serialize(#[source] serde_json::Error),
    /// The signer could not.
    #[error("{signer} failed to sign")]
    Signer {
        /// Which.
        signer: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
