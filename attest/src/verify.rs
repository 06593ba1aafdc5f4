//! Verification: from untrusted bytes to a [`Verified`] statement, or to the reason why not.
//!
//! | step | asks | stops |
//! |---|---|---|
//! | 1 | Is it a bundle, with one meaning? | repeated keys, two signatures, spare bits, oversize |
//! | 2 | Does it name a key? | a certificate that nobody checked |
//! | 3 | Does it hold an envelope of a statement? | a signature over one kind of thing, read as another |
//! | 4 | Did a trusted key sign these bytes? | forgery; payloads changed after signing |
//! | 5 | Are these bytes a statement? | nothing is parsed before it is known who signed it |
//! | 6 | Is it about this artifact? | a statement moved from another image |
//! | 7 | Do we believe this signer about this kind of claim? | an SBOM taken for a signature; one signer's word on another's matter |

use std::fmt;

use bytes::Bytes;
use intoto::{PredicateType, Statement, StatementError};
use oci::{Descriptor, Digest};

use crate::bundle::{Bundle, BundleError, Content, Material};
use crate::dsse::{Envelope, PAYLOAD_TYPE};
use crate::key::PublicKey;
use crate::referrer::Attached;

/// Checks bundles against one set of trusted material. Make one, use it for many bundles.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: TrustedKeys,
}

/// The keys whose signatures count at all. Which of them is believed about what is for [`Accept`]
/// to say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustedKeys(Vec<PublicKey>);

impl TrustedKeys {
    /// Trusts `keys`.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort();
        keys.dedup();
        Self(keys)
    }

    /// Trusts the keys that `accepted` names, and no other.
    pub fn named_in(accepted: &[Accept]) -> Self {
        Self::new(accepted.iter().map(|it| match &it.signer {
            SignerIdentity::Key(key) => key.clone(),
        }))
    }

    /// The one that signed `message`. The hint only says where to look first.
    fn signer_of(&self, message: &[u8], signature: &[u8], hint: &str) -> Option<&PublicKey> {
        let (likely, others): (Vec<_>, Vec<_>) = self.0.iter().partition(|it| it.hint() == hint);
        likely
            .into_iter()
            .chain(others)
            .find(|key| key.has_signed(message, signature))
    }
}

/// Whom to believe, and about what: one signer's word on SBOMs is no word on provenance.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by callers, of just these two"
)]
pub struct Accept {
    /// About this kind of claim.
    pub predicate_type: PredicateType,
    /// This signer.
    pub signer: SignerIdentity,
}

/// Who signs. There is no default and no wildcard.
///
/// ```
/// # fn some(key: attest::key::PublicKey) {
/// let one = attest::SignerIdentity::Key(key);
/// # }
/// ```
/// ```compile_fail
/// # fn some(key: attest::key::PublicKey) {
/// let anyone: attest::SignerIdentity = Default::default();
/// # }
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum SignerIdentity {
    /// Whoever has the other half of this key.
    Key(PublicKey),
}

impl fmt::Display for SignerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key {key}"),
        }
    }
}

impl Verifier {
    /// Trusts `keys` and nothing else.
    pub fn new(keys: TrustedKeys) -> Self {
        Self { keys }
    }

    /// Verifies that `bundle` is a claim about `artifact`, of a kind and by a signer in `accepted`.
    ///
    /// The module's table says what each step is for.
    pub fn verify(
        &self,
        bundle: &[u8],
        artifact: &Descriptor,
        accepted: &[Accept],
    ) -> Result<Verified, Rejection> {
        self.verified(Bytes::copy_from_slice(bundle), artifact, accepted)
    }

    fn verified(
        &self,
        bundle: Bytes,
        artifact: &Descriptor,
        accepted: &[Accept],
    ) -> Result<Verified, Rejection> {
        // 1. It is a bundle, with one meaning.
        let bundle = parsed(bundle)?;
        // 2. It names a key. Certificates need a trusted root, which there is none of yet.
        let hint = key_hint(&bundle)?;
        // 3. It holds an envelope of a statement.
        let envelope = statement_envelope(&bundle)?;
        // 4. A trusted key signed these bytes.
        let signer = self.signer(&envelope.pae(), envelope.signature(), hint)?;
        // 5. These bytes are a statement. Hostile until here, so not parsed before.
        let statement = statement(envelope)?;
        // 6. It is about this artifact.
        about(&statement, artifact)?;
        // 7. We believe this signer about this kind of claim.
        believed(&statement, &signer, accepted)?;
        Ok(Verified {
            artifact: artifact.bare(),
            statement,
            payload: envelope.payload().clone(),
            signer,
            bundle: bundle.digest(),
            manifest: None,
            unchecked: unchecked(&bundle),
        })
    }

    /// Verifies each of `attached`. One that is rejected neither helps nor harms the others: anyone
    /// who may push to a repository may attach a bundle.
    pub fn verify_all(
        &self,
        attached: &[Attached],
        artifact: &Descriptor,
        accepted: &[Accept],
    ) -> (Vec<Verified>, Vec<Rejected>) {
        let mut verified = Vec::new();
        let mut rejected = Vec::new();
        for it in attached {
            match self.verified(it.bundle.clone(), artifact, accepted) {
                Ok(one) => verified.push(Verified {
                    manifest: Some(it.manifest.clone()),
                    ..one
                }),
                Err(reason) => rejected.push(Rejected {
                    manifest: it.manifest.clone(),
                    reason,
                }),
            }
        }
        (verified, rejected)
    }

    /// Verifies that `bundle` is a signature over `blob` itself by one of `accepted`.
    pub fn verify_blob(
        &self,
        bundle: &[u8],
        blob: &[u8],
        accepted: &[SignerIdentity],
    ) -> Result<SignerIdentity, Rejection> {
        // 1 and 2, as above.
        let bundle = parsed(Bytes::copy_from_slice(bundle))?;
        let hint = key_hint(&bundle)?;
        // 3. It holds a signature over a message.
        let Content::Message(message) = bundle.content() else {
            return Err(Rejection::NotAMessage);
        };
        // The digest is a hint; one that is wrong says that another blob was meant.
        if let Some((algorithm, digest)) = &message.digest
            && !is_digest_of(algorithm, digest, blob)
        {
            return Err(Rejection::OtherMessage);
        }
        // 4. A trusted key signed the blob.
        let signer = self.signer(blob, &message.signature, hint)?;
        // 7. We believe this signer.
        if accepted.contains(&signer) {
            Ok(signer)
        } else {
            Err(Rejection::BlobSignerNotAccepted { signer })
        }
    }

    fn signer(
        &self,
        message: &[u8],
        signature: &[u8],
        hint: &str,
    ) -> Result<SignerIdentity, Rejection> {
        match self.keys.signer_of(message, signature, hint) {
            Some(key) => Ok(SignerIdentity::Key(key.clone())),
            None => Err(Rejection::SignatureInvalid {
                keys: self.keys.0.len(),
            }),
        }
    }
}

/// A statement whose signature, subject and signer have been checked.
///
/// Only [`Verifier::verify`] makes one, so to hold one is proof. Its fields can be read:
///
/// ```
/// # fn some(verified: attest::Verified) {
/// let statement: &intoto::Statement = verified.statement();
/// # }
/// ```
/// but not written:
/// ```compile_fail
/// # fn some(mut verified: attest::Verified, other: intoto::Statement) {
/// verified.statement = other;
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    artifact: Descriptor,
    statement: Statement,
    payload: Bytes,
    signer: SignerIdentity,
    bundle: Digest,
    manifest: Option<Descriptor>,
    unchecked: Vec<Unchecked>,
}

impl Verified {
    /// What was asked about: media type, digest, size. Proof for it is none for anything else.
    pub fn artifact(&self) -> &Descriptor {
        &self.artifact
    }

    /// What was claimed: parsed from [`payload`](Self::payload).
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// What kind of claim it is.
    pub fn predicate_type(&self) -> &PredicateType {
        self.statement.predicate_type()
    }

    /// The bytes that were signed.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Who claimed it.
    pub fn signer(&self) -> &SignerIdentity {
        &self.signer
    }

    /// The digest of the bundle.
    pub fn bundle(&self) -> &Digest {
        &self.bundle
    }

    /// The referrer that held the bundle, if it was found beside the artifact.
    pub fn manifest(&self) -> Option<&Descriptor> {
        self.manifest.as_ref()
    }

    /// What was asked and answered with yes, in this order.
    pub fn checked(&self) -> &'static [Check] {
        &[Check::Signature, Check::Subject, Check::Signer]
    }

    /// What the bundle carries besides, and nobody looked at.
    pub fn unchecked(&self) -> &[Unchecked] {
        &self.unchecked
    }
}

/// Whether `verified` holds a signature of `image`: an accepted statement of cosign's own type. Any
/// other statement, an SBOM say, names an image but does not stand for it.
pub fn is_signed(verified: &[Verified], image: &Digest) -> bool {
    verified.iter().any(|it| {
        it.artifact.digest == *image && *it.predicate_type() == PredicateType::COSIGN_SIGN
    })
}

/// What was checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Check {
    /// A trusted key made the signature over the statement's bytes.
    Signature,
    /// The statement names the artifact's digest.
    Subject,
    /// The signer is accepted for this kind of claim.
    Signer,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "signature",
            Self::Subject => "subject",
            Self::Signer => "signer",
        })
    }
}

/// What a bundle carries that was not looked at. A key needs none of it to be believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Unchecked {
    /// Entries of transparency logs.
    LogEntries {
        /// How many.
        count: usize,
    },
    /// RFC 3161 timestamps.
    Timestamps {
        /// How many.
        count: usize,
    },
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogEntries { count } => write!(f, "{count} transparency log entries"),
            Self::Timestamps { count } => write!(f, "{count} timestamps"),
        }
    }
}

/// A bundle that proves nothing, and where it lies.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rejected {
    /// The referrer that held the bundle.
    pub manifest: Descriptor,
    /// Why it proves nothing.
    pub reason: Rejection,
}

/// Why a bundle proves nothing about an artifact. A verdict, never a mishap.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// It is no bundle that we read.
    #[error("not a Sigstore bundle that can be read")]
    Bundle(#[source] BundleError),
    /// It was signed with a certificate.
    #[error("keyless signatures cannot be verified yet: there is no trusted root")]
    Keyless,
    /// It signs a message that lies elsewhere.
    #[error("signs a message, not a statement")]
    NotAnEnvelope,
    /// It holds a statement, where a signature over a message was asked for.
    #[error("signs a statement, not a message")]
    NotAMessage,
    /// Its payload says to be something else than a statement.
    #[error("signed payload is `{presented}`, not a statement")]
    PayloadType {
        /// What it says to be.
        presented: String,
    },
    /// None of the keys made the signature.
    #[error("signature is by none of the {keys} trusted keys")]
    SignatureInvalid {
        /// How many were tried.
        keys: usize,
    },
    /// What was signed is no statement.
    #[error("signed payload is not an in-toto statement that can be read")]
    Statement(#[source] StatementError),
    /// It is about something else.
    #[error("statement is not about {artifact}")]
    OtherSubject {
        /// What we asked about.
        artifact: Digest,
    },
    /// It is a signature over another message.
    #[error("signature is over another message")]
    OtherMessage,
    /// We do not believe this signer about this kind of claim.
    #[error("{signer} is not accepted for `{predicate_type}`")]
    NotAccepted {
        /// Who signed.
        signer: SignerIdentity,
        /// What kind of claim.
        predicate_type: PredicateType,
    },
    /// We do not believe this signer about the blob.
    #[error("{signer} is not accepted")]
    BlobSignerNotAccepted {
        /// Who signed.
        signer: SignerIdentity,
    },
}

fn parsed(bundle: Bytes) -> Result<Bundle, Rejection> {
    Bundle::parse(bundle).map_err(Rejection::Bundle)
}

fn key_hint(bundle: &Bundle) -> Result<&str, Rejection> {
    match bundle.material() {
        Material::PublicKey { hint } => Ok(hint),
        Material::Certificate(_) | Material::CertificateChain(_) => Err(Rejection::Keyless),
    }
}

fn statement_envelope(bundle: &Bundle) -> Result<&Envelope, Rejection> {
    match bundle.content() {
        Content::Envelope(envelope) if envelope.payload_type() == PAYLOAD_TYPE => Ok(envelope),
        Content::Envelope(envelope) => Err(Rejection::PayloadType {
            presented: envelope.payload_type().to_owned(),
        }),
        Content::Message(_) => Err(Rejection::NotAnEnvelope),
    }
}

fn statement(envelope: &Envelope) -> Result<Statement, Rejection> {
    Statement::parse(envelope.payload()).map_err(Rejection::Statement)
}

fn about(statement: &Statement, artifact: &Descriptor) -> Result<(), Rejection> {
    if statement.is_about(&artifact.digest) {
        Ok(())
    } else {
        Err(Rejection::OtherSubject {
            artifact: artifact.digest.clone(),
        })
    }
}

fn believed(
    statement: &Statement,
    signer: &SignerIdentity,
    accepted: &[Accept],
) -> Result<(), Rejection> {
    let predicate_type = statement.predicate_type();
    if accepted
        .iter()
        .any(|it| it.predicate_type == *predicate_type && it.signer == *signer)
    {
        Ok(())
    } else {
        Err(Rejection::NotAccepted {
            signer: signer.clone(),
            predicate_type: predicate_type.clone(),
        })
    }
}

fn unchecked(bundle: &Bundle) -> Vec<Unchecked> {
    [
        (bundle.log_entries() > 0).then_some(Unchecked::LogEntries {
            count: bundle.log_entries(),
        }),
        (bundle.timestamps() > 0).then_some(Unchecked::Timestamps {
            count: bundle.timestamps(),
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether `digest` is that of `blob` by the algorithm of this name. One that we do not know is
/// not.
fn is_digest_of(algorithm: &str, digest: &[u8], blob: &[u8]) -> bool {
    let algorithm = match algorithm {
        "SHA2_256" => &ring::digest::SHA256,
        "SHA2_384" => &ring::digest::SHA384,
        "SHA2_512" => &ring::digest::SHA512,
        _ => return false,
    };
    ring::digest::digest(algorithm, blob).as_ref() == digest
}
