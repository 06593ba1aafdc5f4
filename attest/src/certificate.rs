//! X.509 certificates: what they say, before anybody believes it.

use std::collections::BTreeMap;
use std::fmt;

use der::asn1::{ObjectIdentifier, OctetStringRef, Utf8StringRef};
use der::{Decode as _, Encode as _};
use time::OffsetDateTime;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier,
};

use crate::key::{KeyError, PublicKey};
use crate::signed_by::{Claim, Identity, Subject};

/// No certificate that we know is larger.
const MAX_BYTES: usize = 64 << 10;

/// How many names one may have.
const MAX_NAMES: usize = 64;

const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const SCT_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");
const FULCIO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1");
const USERNAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");

/// The number of Fulcio's extension for the issuer, before it had a DER form, and since.
const ISSUER_V1: u32 = 1;
const ISSUER_V2: u32 = 8;

/// A certificate. Parsed, not trusted.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Certificate {
    der: Vec<u8>,
    parsed: x509_cert::Certificate,
}

impl Certificate {
    /// Parses DER.
    pub(crate) fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_BYTES {
            return Err(CertificateError::TooLarge { limit: MAX_BYTES });
        }
        let parsed = x509_cert::Certificate::from_der(der)
            .map_err(|source| CertificateError::Malformed { source })?;
        let extensions = parsed.tbs_certificate.extensions.as_deref();
        let mut ids: Vec<_> = extensions
            .unwrap_or_default()
            .iter()
            .map(|it| it.extn_id)
            .collect();
        ids.sort();
        if ids.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(CertificateError::Repeated);
        }
        Ok(Self {
            der: der.to_owned(),
            parsed,
        })
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// The `SubjectPublicKeyInfo` of its holder.
    pub(crate) fn spki(&self) -> Result<Vec<u8>, CertificateError> {
        self.parsed
            .tbs_certificate
            .subject_public_key_info
            .to_der()
            .map_err(|source| CertificateError::Malformed { source })
    }

    /// The key of its holder.
    pub(crate) fn public_key(&self) -> Result<PublicKey, CertificateError> {
        PublicKey::from_spki(&self.spki()?).map_err(|source| CertificateError::Key { source })
    }

    /// Whether it says that its holder issued it.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.parsed.tbs_certificate.issuer == self.parsed.tbs_certificate.subject
    }

    /// Its issuer and its number, which name it.
    pub(crate) fn issuer_and_serial(
        &self,
    ) -> (
        &x509_cert::name::Name,
        &x509_cert::serial_number::SerialNumber,
    ) {
        let it = &self.parsed.tbs_certificate;
        (&it.issuer, &it.serial_number)
    }

    /// What names its holder's key, if it says so.
    pub(crate) fn key_identifier(&self) -> Option<Vec<u8>> {
        let identifier: SubjectKeyIdentifier = self.extension(SUBJECT_KEY_IDENTIFIER)?;
        Some(identifier.0.into_bytes())
    }

    /// Whether `time` is one in which it counts.
    pub(crate) fn is_valid_at(&self, time: OffsetDateTime) -> bool {
        let validity = &self.parsed.tbs_certificate.validity;
        let from = validity.not_before.to_unix_duration().as_secs();
        let to = validity.not_after.to_unix_duration().as_secs();
        u64::try_from(time.unix_timestamp()).is_ok_and(|it| from <= it && it <= to)
    }

    /// How many authorities may be between it and a signer, if it says so.
    pub(crate) fn path_length(&self) -> Option<usize> {
        let constraints: BasicConstraints = self.extension(BASIC_CONSTRAINTS)?;
        constraints.path_len_constraint.map(usize::from)
    }

    /// Whether its holder may certify others.
    pub(crate) fn is_authority(&self) -> bool {
        self.extension(BASIC_CONSTRAINTS)
            .is_some_and(|it: BasicConstraints| it.ca)
    }

    /// Whether its key may sign messages. Without the extension it may do anything.
    pub(crate) fn may_sign(&self) -> bool {
        !self.has(KEY_USAGE)
            || self
                .extension(KEY_USAGE)
                .is_some_and(|it: KeyUsage| it.digital_signature())
    }

    /// What its holder may sign, and whether that must be understood.
    pub(crate) fn purposes(&self) -> (Vec<ObjectIdentifier>, bool) {
        let is_critical = self
            .raw_extension(EXTENDED_KEY_USAGE)
            .is_some_and(|it| it.critical);
        let purposes: Option<ExtendedKeyUsage> = self.extension(EXTENDED_KEY_USAGE);
        (purposes.map_or(Vec::new(), |it| it.0), is_critical)
    }

    /// The list of signed certificate timestamps in it, as TLS has it.
    pub(crate) fn sct_list(&self) -> Option<&[u8]> {
        let extension = self.raw_extension(SCT_LIST)?;
        OctetStringRef::from_der(extension.extn_value.as_bytes())
            .ok()
            .map(|it| it.as_bytes())
    }

    /// What logs of certificates signed: all but that list.
    pub(crate) fn precertificate(&self) -> Result<Vec<u8>, CertificateError> {
        let mut tbs = self.parsed.tbs_certificate.clone();
        if let Some(extensions) = &mut tbs.extensions {
            extensions.retain(|it| it.extn_id != SCT_LIST);
        }
        tbs.to_der()
            .map_err(|source| CertificateError::Malformed { source })
    }

    /// Whom it names.
    pub(crate) fn identity(&self) -> Result<Identity, CertificateError> {
        let names: Option<SubjectAltName> = self.extension(SUBJECT_ALT_NAME);
        let names = names.map_or(Vec::new(), |it| it.0);
        if names.len() > MAX_NAMES {
            return Err(CertificateError::TooMany { limit: MAX_NAMES });
        }
        let subjects = names.iter().filter_map(subject).collect();
        let mut issuer = None;
        let mut claims = BTreeMap::new();
        for extension in self.parsed.tbs_certificate.extensions.iter().flatten() {
            let Some(number) = fulcio_number(&extension.extn_id) else {
                continue;
            };
            let value = extension.extn_value.as_bytes();
            match number {
                // The newer form is the one that counts.
                ISSUER_V1 if issuer.is_none() => issuer = raw_text(value),
                ISSUER_V2 => issuer = der_text(value),
                _ => {
                    let claim = Claim::ALL
                        .iter()
                        .find(|it| u32::from(it.number()) == number);
                    // The first ones, GitHub's, were plain text.
                    let text = match number {
                        2..=6 => raw_text(value),
                        _ => der_text(value),
                    };
                    if let (Some(claim), Some(text)) = (claim, text) {
                        claims.insert(*claim, text);
                    }
                }
            }
        }
        Ok(Identity::new(
            subjects,
            issuer.filter(|it| !it.is_empty()),
            claims,
        ))
    }

    fn raw_extension(&self, id: ObjectIdentifier) -> Option<&x509_cert::ext::Extension> {
        let extensions = self.parsed.tbs_certificate.extensions.as_deref();
        extensions
            .unwrap_or_default()
            .iter()
            .find(|it| it.extn_id == id)
    }

    fn has(&self, id: ObjectIdentifier) -> bool {
        self.raw_extension(id).is_some()
    }

    fn extension<'a, T: der::Decode<'a>>(&'a self, id: ObjectIdentifier) -> Option<T> {
        T::from_der(self.raw_extension(id)?.extn_value.as_bytes()).ok()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.parsed.tbs_certificate.subject)
    }
}

/// The last number of an identifier of Fulcio's.
fn fulcio_number(id: &ObjectIdentifier) -> Option<u32> {
    let (parent, number) = (id.parent()?, id.arcs().last()?);
    (parent == FULCIO).then_some(number)
}

fn subject(name: &GeneralName) -> Option<Subject> {
    let text = match name {
        GeneralName::Rfc822Name(it) => Subject::Email(it.as_str().to_owned()),
        GeneralName::UniformResourceIdentifier(it) => Subject::Uri(it.as_str().to_owned()),
        GeneralName::DnsName(it) => Subject::Dns(it.as_str().to_owned()),
        GeneralName::OtherName(it) if it.type_id == USERNAME => {
            let text: Utf8StringRef<'_> = it.value.decode_as().ok()?;
            Subject::Username(text.as_str().to_owned())
        }
        _ => return None,
    };
    (!text.as_str().is_empty()).then_some(text)
}

fn raw_text(value: &[u8]) -> Option<String> {
    std::str::from_utf8(value).ok().map(str::to_owned)
}

fn der_text(value: &[u8]) -> Option<String> {
    Utf8StringRef::from_der(value)
        .ok()
        .map(|it| it.as_str().to_owned())
}

/// Why a certificate cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// More than is read.
    #[error("certificate is larger than {limit} bytes")]
    TooLarge {
        /// How much is read.
        limit: usize,
    },
    /// No X.509, or not DER.
    #[error("malformed certificate")]
    Malformed {
        /// What is wrong with it.
        source: der::Error,
    },
    /// Two readers could read two different ones.
    #[error("certificate has one extension twice")]
    Repeated,
    /// It has more names than anybody needs.
    #[error("certificate has more than {limit} names")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// Its key cannot be used.
    #[error("certificate has a key that cannot be used")]
    Key {
        /// Why.
        source: KeyError,
    },
}
