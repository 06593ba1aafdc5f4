//! What a claim is, and what kind of claim.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A claim that can be made about an artifact.
pub trait Predicate: DeserializeOwned + Serialize {
    /// What kind of claim it is.
    const TYPE: PredicateType;
}

/// What kind of claim a predicate is: a URI, compared to the letter.
///
/// <https://github.com/in-toto/attestation/blob/v1.1.0/spec/v1/predicate.md>
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String")]
pub struct PredicateType(Cow<'static, str>);

impl PredicateType {
    /// cosign's signature of an image: the signer stands for this image. Its predicate is empty.
    pub const COSIGN_SIGN: Self = Self::literal("https://sigstore.dev/cosign/sign/v1");
    /// cosign's wrapper around anything.
    pub const COSIGN_CUSTOM: Self = Self::literal("https://cosign.sigstore.dev/attestation/v1");
    /// cosign's report of vulnerabilities.
    pub const COSIGN_VULN: Self = Self::literal("https://cosign.sigstore.dev/attestation/vuln/v1");
    /// A CycloneDX document.
    pub const CYCLONEDX: Self = Self::literal("https://cyclonedx.org/bom");
    /// An in-toto link.
    pub const LINK: Self = Self::literal("https://in-toto.io/Link/v1");
    /// An `OpenVEX` document.
    pub const OPENVEX: Self = Self::literal("https://openvex.dev/ns");
    /// The community health of a source repository: `docs/predicates/health-v1.md`.
    pub const SEALPACK_HEALTH: Self =
        Self::literal("https://sealpack.example/docs/predicates/health-v1.md");
    /// SLSA provenance, v0.2.
    pub const SLSA_PROVENANCE_V02: Self = Self::literal("https://slsa.dev/provenance/v0.2");
    /// SLSA provenance, v1: [`Provenance`](crate::Provenance).
    pub const SLSA_PROVENANCE_V1: Self = Self::literal("https://slsa.dev/provenance/v1");
    /// SLSA verification summary, v1: [`Vsa`](crate::Vsa).
    pub const SLSA_VSA_V1: Self = Self::literal("https://slsa.dev/verification_summary/v1");
    /// An SPDX document.
    pub const SPDX: Self = Self::literal("https://spdx.dev/Document");

    /// cosign's short names and ours, each with what it stands for; of several, the first is the one shown.
    const SHORT: [(&'static str, Self); 15] = [
        ("provenance", Self::SLSA_PROVENANCE_V1),
        ("signature", Self::COSIGN_SIGN),
        ("custom", Self::COSIGN_CUSTOM),
        ("cyclonedx", Self::CYCLONEDX),
        ("health", Self::SEALPACK_HEALTH),
        ("link", Self::LINK),
        ("openvex", Self::OPENVEX),
        ("slsaprovenance1", Self::SLSA_PROVENANCE_V1),
        ("provenance-v0.2", Self::SLSA_PROVENANCE_V02),
        ("slsaprovenance02", Self::SLSA_PROVENANCE_V02),
        ("slsaprovenance", Self::SLSA_PROVENANCE_V02),
        ("spdx", Self::SPDX),
        ("spdxjson", Self::SPDX),
        ("vsa", Self::SLSA_VSA_V1),
        ("vuln", Self::COSIGN_VULN),
    ];

    const fn literal(uri: &'static str) -> Self {
        Self(Cow::Borrowed(uri))
    }

    /// The URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The short names that are read.
    pub fn short_names() -> impl Iterator<Item = &'static str> {
        Self::SHORT.into_iter().map(|(name, _)| name)
    }

    /// The short name for it, if there is one: cosign's, but for `health`, `provenance`, `signature`
    /// and `vsa`, which are ours.
    pub fn short_name(&self) -> Option<&'static str> {
        Self::SHORT
            .iter()
            .find_map(|(name, it)| (it == self).then_some(*name))
    }

    /// What people call it: the short name, else the URI.
    pub fn name(&self) -> &str {
        self.short_name().unwrap_or_else(|| self.as_str())
    }
}

impl FromStr for PredicateType {
    type Err = PredicateTypeError;

    /// Reads a URI or a short name.
    fn from_str(text: &str) -> Result<Self, PredicateTypeError> {
        if let Some((_, known)) = Self::SHORT.iter().find(|(name, _)| *name == text) {
            return Ok(known.clone());
        }
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for PredicateType {
    type Error = PredicateTypeError;

    /// Reads a URI.
    fn try_from(uri: String) -> Result<Self, PredicateTypeError> {
        let scheme = uri.split_once(':').map(|(scheme, _)| scheme);
        let is_scheme = scheme.is_some_and(|it| {
            it.starts_with(|c: char| c.is_ascii_alphabetic())
                && it
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        });
        if is_scheme && uri.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(Cow::Owned(uri)))
        } else {
            Err(PredicateTypeError { text: uri })
        }
    }
}

impl fmt::Display for PredicateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text is no [`PredicateType`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("predicate type `{text}` is neither a URI nor a known short name")]
#[non_exhaustive]
pub struct PredicateTypeError {
    /// What was given.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_and_uris_are_read() {
        for (name, known) in PredicateType::SHORT {
            assert_eq!(name.parse(), Ok(known.clone()));
            assert_eq!(known.as_str().parse(), Ok(known));
        }
        assert_eq!(PredicateType::SPDX.short_name(), Some("spdx"));
        assert_eq!(PredicateType::COSIGN_SIGN.short_name(), Some("signature"));
        assert_eq!(PredicateType::SPDX.name(), "spdx");
        let other: PredicateType = "https://example.com/claim/v1".parse().unwrap();
        assert_eq!(other.name(), "https://example.com/claim/v1");
        assert!("https://example.test/x".parse::<PredicateType>().is_ok());
        for bad in ["", "sbom", "://x", "1x:y", "https://a b", "https://ä"] {
            assert!(bad.parse::<PredicateType>().is_err(), "{bad}");
        }
    }
}
