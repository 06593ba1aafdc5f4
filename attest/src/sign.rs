//! Signing: statement in, bundle out.

use std::collections::BTreeMap;

use intoto::{Predicate, PredicateType, ResourceDescriptor, Statement, StatementError};
use oci::Descriptor;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bundle::{Bundle, Material, VerificationMaterial};
use crate::dsse::{PAYLOAD_TYPE, pae};

/// Signs `statement`. The bytes that are signed are the bytes that the bundle carries.
pub fn sign<P: Serialize>(
    statement: &Statement<P>,
    signer: &dyn Signer,
) -> Result<Bundle, SignError> {
    let payload = Payload::of(statement)?;
    let signature = signer.sign(&payload.pae())?;
    Ok(Bundle::of_statement(payload, signature))
}

/// The bytes of a statement that is to be signed.
///
/// [`sign()`] is for signers that are at hand. One that has to be waited for (a certificate, a log)
/// signs [`pae`](Self::pae) in its own time, and [`Bundle::of_statement`] puts both together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Payload(Vec<u8>);

impl Payload {
    /// Writes `statement`, once.
    pub fn of<S: Serialize>(statement: &S) -> Result<Self, SignError> {
        serde_json::to_vec(statement)
            .map(Self)
            .map_err(SignError::Serialize)
    }

    /// What has to be signed: the payload and that it is a statement.
    pub fn pae(&self) -> Vec<u8> {
        pae(PAYLOAD_TYPE, &self.0)
    }

    /// The bytes themselves, for logs that want to see them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Something that can sign: a key file, later a key service.
pub trait Signer {
    /// Signs `pae`, the pre-authentication encoding of an envelope.
    fn sign(&self, pae: &[u8]) -> Result<Signature, SignError>;

    /// Names the signer for people.
    fn name(&self) -> String;
}

/// A signature, and all that a bundle says of who made it, and when.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "signers make it, and have to say all of it"
)]
pub struct Signature {
    /// The signature.
    pub bytes: Vec<u8>,
    /// Who made it, where it was logged, who saw it.
    pub material: VerificationMaterial,
}

impl Signature {
    /// Made by the key that `hint` names ([`PublicKey::hint`](crate::key::PublicKey::hint)), and
    /// neither logged nor seen by anybody else.
    pub fn by_key(bytes: Vec<u8>, hint: String) -> Self {
        Self {
            bytes,
            material: VerificationMaterial {
                signer: Material::PublicKey { hint },
                log_entries: Vec::new(),
                timestamps: Vec::new(),
            },
        }
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
