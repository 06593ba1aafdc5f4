//! Whom to believe, and about what. Who signed is a fact ([`SignedBy`]); whom we believe is a
//! pattern, and comes from whoever asks.

mod text;

use std::collections::BTreeMap;
use std::fmt;

use intoto::PredicateType;

use crate::key::PublicKey;
use crate::signed_by::{Claim, Identity, SignedBy};

pub use text::{TextPattern, TextPatternError};

/// Whom to believe, and about what: one signer's word on SBOMs is no word on provenance.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by callers, of just these two"
)]
pub struct Accept {
    /// About this kind of claim.
    pub predicate_type: PredicateType,
    /// These signers.
    pub signer: SignerPattern,
}

impl Accept {
    /// Whether a claim of this kind, by this signer, is believed.
    pub fn covers(&self, predicate_type: &PredicateType, signer: &SignedBy) -> bool {
        self.predicate_type == *predicate_type && self.signer.matches(signer)
    }
}

/// Whom to believe. There is no default, and none that matches everybody.
///
/// ```
/// # fn some(key: attest::key::PublicKey) {
/// let one = attest::SignerPattern::Key(key);
/// # }
/// ```
/// ```compile_fail
/// # fn some(key: attest::key::PublicKey) {
/// let anyone: attest::SignerPattern = Default::default();
/// # }
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_enums,
    reason = "who judges or prints has to handle each kind"
)]
pub enum SignerPattern {
    /// Whoever has the other half of this key.
    Key(PublicKey),
    /// Whomever a certificate of the trusted root calls so.
    Identity(IdentityPattern),
}

impl SignerPattern {
    /// Whether it means this signer.
    pub fn matches(&self, signer: &SignedBy) -> bool {
        match (self, signer) {
            (Self::Key(wanted), SignedBy::Key(key)) => wanted == key,
            (Self::Identity(wanted), SignedBy::Identity(identity)) => wanted.matches(identity),
            (Self::Key(_), SignedBy::Identity(_)) | (Self::Identity(_), SignedBy::Key(_)) => false,
        }
    }

    /// The key, if it means one.
    pub fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::Key(key) => Some(key),
            Self::Identity(_) => None,
        }
    }
}

impl fmt::Display for SignerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key {key}"),
            Self::Identity(identity) => identity.fmt(f),
        }
    }
}

/// Whom a certificate has to name, and who has to have told its authority so.
///
/// Both are always asked: a name is worth what its issuer's word is worth.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct IdentityPattern {
    subject: TextPattern,
    issuer: TextPattern,
    claims: BTreeMap<Claim, TextPattern>,
}

impl IdentityPattern {
    /// Whoever is called `subject` by `issuer`.
    pub fn new(subject: TextPattern, issuer: TextPattern) -> Self {
        Self {
            subject,
            issuer,
            claims: BTreeMap::new(),
        }
    }

    /// The same, and the issuer has to have said this as well.
    pub fn claiming(mut self, claim: Claim, value: TextPattern) -> Self {
        self.claims.insert(claim, value);
        self
    }

    /// Whom.
    pub fn subject(&self) -> &TextPattern {
        &self.subject
    }

    /// By whose word.
    pub fn issuer(&self) -> &TextPattern {
        &self.issuer
    }

    /// What else the issuer has to have said.
    pub fn claims(&self) -> &BTreeMap<Claim, TextPattern> {
        &self.claims
    }

    /// Whether it can mean one signer only.
    pub fn is_exact(&self) -> bool {
        self.subject.is_exact() && self.issuer.is_exact()
    }

    /// Whether it means this identity.
    pub fn matches(&self, identity: &Identity) -> bool {
        identity.issuer().is_some_and(|it| self.issuer.matches(it))
            && identity
                .subjects()
                .iter()
                .any(|it| self.subject.matches(it.as_str()))
            && self.claims.iter().all(|(claim, wanted)| {
                identity
                    .claims()
                    .get(claim)
                    .is_some_and(|it| wanted.matches(it))
            })
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.subject, self.issuer)?;
        for (claim, wanted) in &self.claims {
            write!(f, ", {claim} {wanted}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use crate::signed_by::Subject;

    fn exact(text: &str) -> TextPattern {
        TextPattern::exact(text).unwrap()
    }

    fn wanted() -> IdentityPattern {
        IdentityPattern::new(exact("dev@example.test"), exact("https://issuer.test"))
    }

    fn identity(subject: &str, issuer: Option<&str>) -> Identity {
        Identity::new(
            vec![Subject::Email(subject.to_owned())],
            issuer.map(str::to_owned),
            BTreeMap::from([(Claim::SourceRepositoryRef, "refs/heads/main".to_owned())]),
        )
    }

    #[test]
    fn an_identity_is_its_subject_and_its_issuer() {
        assert!(wanted().matches(&identity("dev@example.test", Some("https://issuer.test"))));
        for (subject, issuer) in [
            ("dev@example.test", Some("https://issuer.test/")),
            ("dev@example.test", Some("")),
            ("dev@example.test", None),
            ("Dev@example.test", Some("https://issuer.test")),
            ("dev@example.test.evil", Some("https://issuer.test")),
            ("", Some("https://issuer.test")),
        ] {
            assert!(
                !wanted().matches(&identity(subject, issuer)),
                "{subject} {issuer:?}"
            );
        }
    }

    #[test]
    fn what_else_the_issuer_says_is_asked_for_by_name() {
        let signer = identity("dev@example.test", Some("https://issuer.test"));
        for (claim, value, matches) in [
            (Claim::SourceRepositoryRef, "refs/heads/main", true),
            (Claim::SourceRepositoryRef, "refs/heads/evil", false),
            (Claim::SourceRepositoryUri, "refs/heads/main", false),
        ] {
            let wanted = wanted().claiming(claim, exact(value));
            assert_eq!(wanted.matches(&signer), matches, "{claim} {value}");
        }
    }

    #[test]
    fn a_key_is_no_identity_and_an_identity_no_key() {
        let key = PrivateKey::generate().unwrap().public_key().clone();
        let name = key.to_string();
        let of_key = Identity::new(
            vec![Subject::Uri(name.clone())],
            Some(name.clone()),
            BTreeMap::new(),
        );
        let by_key = SignedBy::Key(key.clone());
        let by_identity = SignedBy::Identity(of_key);
        let key = SignerPattern::Key(key);
        let identity = SignerPattern::Identity(IdentityPattern::new(exact(&name), exact(&name)));
        assert!(key.matches(&by_key) && identity.matches(&by_identity));
        assert!(!key.matches(&by_identity) && !identity.matches(&by_key));
    }

    #[test]
    fn one_is_believed_about_one_kind_of_claim() {
        let accept = Accept {
            predicate_type: PredicateType::CYCLONEDX,
            signer: SignerPattern::Identity(wanted()),
        };
        let signer = SignedBy::Identity(identity("dev@example.test", Some("https://issuer.test")));
        assert!(accept.covers(&PredicateType::CYCLONEDX, &signer));
        assert!(!accept.covers(&PredicateType::COSIGN_SIGN, &signer));
    }
}
