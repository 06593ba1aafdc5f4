//! Why bundles prove nothing.

use std::fmt;

use intoto::{PredicateType, StatementError};
use oci::{Descriptor, Digest};

use crate::accept::SignerPattern;
use crate::bundle::BundleError;
use crate::certificate::CertificateError;
use crate::signed_by::{Identity, SignedBy};
use crate::verify::{ChainError, LogError, SctError, TimestampError};

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
    /// It was signed with a certificate, and nobody said which authorities count.
    #[error("signed with a certificate, and no trusted root was given to check it against")]
    NoTrustedRoot,
    /// It says to be signed with a certificate, and has none.
    #[error("bundle has an empty chain of certificates")]
    NoCertificate,
    /// It brings a root of its own.
    #[error("bundle carries a root certificate")]
    RootInBundle,
    /// Its certificate cannot be read.
    #[error("signed with a certificate that cannot be read")]
    MalformedCertificate {
        /// What is wrong with it.
        source: CertificateError,
    },
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
    #[error("{}", by_another(*keys))]
    SignatureInvalid {
        /// How many were tried.
        keys: usize,
    },
    /// The key of the certificate did not make the signature.
    #[error("signature is not by the key of its certificate")]
    NotSignedByCertificate,
    /// Fewer logs than needed have it.
    #[error("{found} of {wanted} transparency logs have the signature{}", cause(reason.as_ref()))]
    TooFewLogs {
        /// How many are needed.
        wanted: usize,
        /// How many there are.
        found: usize,
        /// Why the first that gave no vote did not.
        reason: Option<LogError>,
    },
    /// Fewer clocks than needed saw it.
    #[error("{found} of {wanted} clocks saw the signature{}", cause(reason.as_ref()))]
    TooFewTimes {
        /// How many are needed.
        wanted: usize,
        /// How many there are.
        found: usize,
        /// Why the first that gave no vote did not.
        reason: Option<TimestampError>,
    },
    /// No authority of the trusted root stands for the certificate at the times that count.
    #[error("certificate of {holder} is not by an authority of the trusted root")]
    NotCertified {
        /// Whom it names.
        holder: Identity,
        /// Why not.
        source: ChainError,
    },
    /// No known log promised to publish the certificate.
    #[error("certificate was not published")]
    NotPublished {
        /// Why not.
        source: SctError,
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
    #[error("{signer} is not accepted for `{predicate_type}`{wanted}")]
    NotAccepted {
        /// Who signed.
        signer: SignedBy,
        /// What kind of claim.
        predicate_type: PredicateType,
        /// Whom we would have believed.
        wanted: Wanted,
    },
    /// We do not believe this signer about the blob.
    #[error("{signer} is not accepted{wanted}")]
    BlobSignerNotAccepted {
        /// Who signed.
        signer: SignedBy,
        /// Whom we would have believed.
        wanted: Wanted,
    },
}

impl Rejection {
    /// A word for it that stays the same, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bundle(_) => "malformed-bundle",
            Self::NoTrustedRoot => "no-trusted-root",
            Self::NoCertificate | Self::RootInBundle | Self::MalformedCertificate { .. } => {
                "malformed-certificate"
            }
            Self::NotAnEnvelope | Self::NotAMessage => "other-kind-of-signature",
            Self::PayloadType { .. } | Self::Statement(_) => "malformed-statement",
            Self::SignatureInvalid { .. } | Self::NotSignedByCertificate => "signature-invalid",
            Self::TooFewLogs { .. } => "not-logged",
            Self::TooFewTimes { .. } => "not-timestamped",
            Self::NotCertified { .. } => "not-certified",
            Self::NotPublished { .. } => "certificate-not-published",
            Self::OtherSubject { .. } | Self::OtherMessage => "other-artifact",
            Self::NotAccepted { .. } | Self::BlobSignerNotAccepted { .. } => "signer-not-accepted",
        }
    }
}

/// That somebody else signed it.
fn by_another(keys: usize) -> String {
    match keys {
        1 => "signed by a different key".to_owned(),
        _ => format!("signed by none of the {keys} trusted keys"),
    }
}

/// The reason behind a missing vote, with what is behind that.
fn cause(reason: Option<&(impl std::error::Error + 'static)>) -> String {
    let mut text = String::new();
    let mut next = reason.map(|it| it as &dyn std::error::Error);
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// Whom we would have believed, of the same kind as who signed: said where it helps.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wanted(Vec<SignerPattern>);

impl Wanted {
    pub(crate) fn of(accepted: impl Iterator<Item = SignerPattern>, signer: &SignedBy) -> Self {
        match signer {
            // A digest says nothing to a reader.
            SignedBy::Key(_) => Self::default(),
            SignedBy::Identity(_) => Self(
                accepted
                    .filter(|it| matches!(it, SignerPattern::Identity(_)))
                    .collect(),
            ),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More than these are said to be more.
        const SHOWN: usize = 3;
        for (at, pattern) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{} {pattern}", if at == 0 { ", wanted" } else { " or" })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " or {more} others"),
        }
    }
}
