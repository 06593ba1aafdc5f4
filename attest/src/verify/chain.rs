//! Whether an authority of the trusted root certified somebody, at every time that counts.
//!
//! Roots alone are anchors: an intermediate counts because a root signed it and while it is valid,
//! not because it lies in the trusted root. The whole chain has to be valid at each time (the
//! "hybrid model" of Sigstore's specification).

use std::time::Duration;

use der::asn1::ObjectIdentifier;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use time::OffsetDateTime;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};

use crate::certificate::Certificate;
use crate::trust::Authority;

/// What a certificate may be used for.
pub(super) struct Purpose {
    id: ObjectIdentifier,
    /// The value of that identifier in DER, as `webpki` wants it.
    der: &'static [u8],
    name: &'static str,
}

/// Signing code, as Sigstore calls signing anything.
pub(super) const CODE_SIGNING: Purpose = Purpose {
    id: ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3"),
    der: &[0x2b, 6, 1, 5, 5, 7, 3, 3],
    name: "code signing",
};

/// Signing timestamps.
pub(super) const TIME_STAMPING: Purpose = Purpose {
    id: ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8"),
    der: &[0x2b, 6, 1, 5, 5, 7, 3, 8],
    name: "time stamping",
};

impl Purpose {
    pub(super) fn is_among(&self, purposes: &[ObjectIdentifier]) -> bool {
        purposes.contains(&self.id)
    }
}

/// How certificates may be signed.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P256_SHA384,
    ring::ECDSA_P384_SHA256,
    ring::ECDSA_P384_SHA384,
    ring::ED25519,
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
];

/// The certificate that signed `leaf`, if `authority` certified it for `purpose` at each of
/// `times`.
pub(super) fn issuer<'a>(
    leaf: &Certificate,
    authority: &'a Authority,
    times: &[OffsetDateTime],
    purpose: &Purpose,
) -> Result<&'a Certificate, ChainError> {
    let root = authority.root().ok_or(ChainError::NoPath {
        problem: "the authority has no root".to_owned(),
    })?;
    let (purposes, _) = leaf.purposes();
    if !purpose.is_among(&purposes) {
        return Err(ChainError::Purpose {
            wanted: purpose.name,
        });
    }
    if !leaf.may_sign() {
        return Err(ChainError::Purpose {
            wanted: "digital signatures",
        });
    }
    for time in times {
        if !authority.validity.contains(*time) {
            return Err(ChainError::OutsideAuthority { time: *time });
        }
        if !root.is_valid_at(*time) {
            return Err(ChainError::RootNotValid { time: *time });
        }
    }
    let no_path = |error: webpki::Error| ChainError::NoPath {
        problem: error.to_string(),
    };
    let leaf_der = CertificateDer::from(leaf.der());
    let end_entity = EndEntityCert::try_from(&leaf_der).map_err(no_path)?;
    let root_der = CertificateDer::from(root.der());
    let anchors = [anchor_from_trusted_cert(&root_der).map_err(no_path)?];
    let intermediates: Vec<_> = authority
        .below_root()
        .iter()
        .map(|it| CertificateDer::from(it.der()))
        .collect();
    let mut signed_by = None;
    for time in times {
        let seconds = u64::try_from(time.unix_timestamp()).unwrap_or(0);
        let path = end_entity
            .verify_for_usage(
                ALGORITHMS,
                &anchors,
                &intermediates,
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
                KeyUsage::required_if_present(purpose.der),
                None,
                None,
            )
            .map_err(|error| match error {
                webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
                    ChainError::NotValid { time: *time }
                }
                other => no_path(other),
            })?;
        // An anchor's own limit is no part of what `webpki` knows of it.
        let below = path.intermediate_certificates().count();
        if root.path_length().is_some_and(|limit| below > limit) {
            return Err(ChainError::NoPath {
                problem: "the root allows no path as long as this".to_owned(),
            });
        }
        let der = path
            .intermediate_certificates()
            .next()
            .map(webpki::Cert::der);
        signed_by = match der {
            Some(der) => authority.chain.iter().find(|it| it.der() == der.as_ref()),
            None => Some(root),
        };
    }
    signed_by.ok_or(ChainError::NoPath {
        problem: "there is no time at which it could be valid".to_owned(),
    })
}

/// Why an authority did not certify somebody.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The certificate is not for this.
    #[error("certificate is not for {wanted}")]
    Purpose {
        /// For what.
        wanted: &'static str,
    },
    /// The trusted root does not trust the authority at that time.
    #[error("authority is not trusted at {}", intoto::rfc3339(*time))]
    OutsideAuthority {
        /// When.
        time: OffsetDateTime,
    },
    /// The authority's root is not valid at that time.
    #[error("root certificate of the authority is not valid at {}", intoto::rfc3339(*time))]
    RootNotValid {
        /// When.
        time: OffsetDateTime,
    },
    /// Something between the signer and the root, or the signer's own, is not valid at that time.
    #[error("a certificate of the chain is not valid at {}", intoto::rfc3339(*time))]
    NotValid {
        /// When.
        time: OffsetDateTime,
    },
    /// No chain of signatures leads from the signer to the root.
    #[error("certificate was not issued by the authority: {problem}")]
    NoPath {
        /// Why not.
        problem: String,
    },
}
