//! Who signed: by the bundle's own word first, and then by an authority's.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::chain::{self, CODE_SIGNING, ChainError};
use super::sct::{self, SctError};
use crate::bundle::{Bundle, Material};
use crate::certificate::{Certificate, CertificateError};
use crate::rejection::Rejection;
use crate::signed_by::SignedBy;
use crate::trust::TrustedRoot;

/// Who a bundle says has signed.
pub(super) enum Claimant<'a> {
    /// Somebody with a key.
    Key {
        /// Which it may be.
        hint: Cow<'a, str>,
    },
    /// Somebody with a certificate.
    Certificate(Box<Certificate>),
}

impl Claimant<'_> {
    pub(super) fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::Key { .. } => None,
            Self::Certificate(certificate) => Some(certificate),
        }
    }
}

/// Who it says has signed, if that can be read.
pub(super) fn claimant(bundle: &Bundle) -> Result<Claimant<'_>, Rejection> {
    let parse = |der: &[u8]| {
        Certificate::parse(der).map_err(|source| Rejection::MalformedCertificate { source })
    };
    match bundle.material() {
        Material::PublicKey { hint } => Ok(Claimant::Key {
            hint: Cow::Borrowed(hint),
        }),
        Material::Certificate(der) => leaf(parse(der)?),
        // Those above the signer's come from the trusted root; a bundle may repeat them, but not
        // bring a root along.
        Material::CertificateChain(chain) => {
            let mut certificates = chain.iter().map(|it| parse(it));
            let Some(leaf) = certificates.next() else {
                return Err(Rejection::NoCertificate);
            };
            for above in certificates {
                if above?.is_self_issued() {
                    return Err(Rejection::RootInBundle);
                }
            }
            self::leaf(leaf?)
        }
    }
}

/// The signer's own, if what is in it of promises can be read too.
fn leaf(certificate: Certificate) -> Result<Claimant<'static>, Rejection> {
    match certificate.sct_list() {
        Some(list) if !sct::is_list(list) => Err(Rejection::NotPublished {
            source: SctError::Malformed,
        }),
        _ => Ok(Claimant::Certificate(Box::new(certificate))),
    }
}

/// Whom `certificate` names, if an authority of `root` certified it at each of `times`, and it was
/// promised to be published.
pub(super) fn certified(
    certificate: &Certificate,
    times: &[OffsetDateTime],
    root: &TrustedRoot,
) -> Result<SignedBy, Rejection> {
    let mut problem = ChainError::NoPath {
        problem: "the trusted root has no certificate authority".to_owned(),
    };
    let malformed = |source: CertificateError| Rejection::MalformedCertificate { source };
    for authority in &root.certificate_authorities {
        // 7. The whole chain is valid, for signing, at each of these times.
        match chain::issuer(certificate, authority, times, &CODE_SIGNING) {
            Ok(issuer) => {
                // 8. A known log promised to publish it.
                sct::promises(certificate, issuer, root)
                    .map_err(|source| Rejection::NotPublished { source })?;
                let identity = certificate.identity().map_err(malformed)?;
                return Ok(SignedBy::Identity(identity));
            }
            // Of an authority that did issue it, what is wrong says more.
            Err(ChainError::NoPath { .. }) if !matches!(problem, ChainError::NoPath { .. }) => {}
            Err(error) => problem = error,
        }
    }
    Err(Rejection::NotCertified {
        holder: certificate.identity().map_err(malformed)?,
        source: problem,
    })
}
