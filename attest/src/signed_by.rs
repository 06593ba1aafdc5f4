//! Who signed, as a fact: only verification makes one that means something.

use std::collections::BTreeMap;
use std::fmt;

use crate::key::PublicKey;

/// Who signed.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_enums,
    reason = "who judges or prints has to handle each kind"
)]
pub enum SignedBy {
    /// Whoever has the other half of this key.
    Key(PublicKey),
    /// Whom a certificate names.
    Identity(Identity),
}

impl fmt::Display for SignedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key {key}"),
            Self::Identity(identity) => identity.fmt(f),
        }
    }
}

/// What a certificate says of its holder.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Identity {
    subjects: Vec<Subject>,
    issuer: Option<String>,
    claims: BTreeMap<Claim, String>,
}

impl Identity {
    pub(crate) fn new(
        subjects: Vec<Subject>,
        issuer: Option<String>,
        claims: BTreeMap<Claim, String>,
    ) -> Self {
        Self {
            subjects,
            issuer,
            claims,
        }
    }

    /// Its names, in the certificate's order. Public authorities give one.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// The first of its names.
    pub fn subject(&self) -> Option<&str> {
        self.subjects.first().map(Subject::as_str)
    }

    /// Who told the authority that this is its name: the issuer of the identity token. Certificates
    /// by other authorities than Fulcio have none.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// What else the issuer said, about a build in most cases.
    pub fn claims(&self) -> &BTreeMap<Claim, String> {
        &self.claims
    }

    /// Whether `other` says the same, but for which run it was: whoever accepts one accepts the other.
    pub fn is_same_in_another_run(&self, other: &Self) -> bool {
        let lasting = |it: &Self| {
            let mut claims = it.claims.clone();
            claims.remove(&Claim::RunInvocationUri);
            claims
        };
        self.subjects == other.subjects
            && self.issuer == other.issuer
            && lasting(self) == lasting(other)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.subject(), self.issuer()) {
            (Some(subject), Some(issuer)) => write!(f, "`{subject}` by `{issuer}`"),
            (Some(subject), None) => write!(f, "`{subject}` without an issuer"),
            (None, Some(issuer)) => write!(f, "somebody unnamed by `{issuer}`"),
            (None, None) => f.write_str("somebody unnamed without an issuer"),
        }
    }
}

/// A name in a certificate: an entry of its `subjectAltName`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_enums,
    reason = "who judges or prints has to handle each kind"
)]
pub enum Subject {
    /// A mail address.
    Email(String),
    /// A URI: of a workflow, of a workload.
    Uri(String),
    /// The name of a host.
    Dns(String),
    /// A name by an issuer that knows no other: Fulcio's `OtherName`.
    Username(String),
}

impl Subject {
    /// The name alone.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Email(name) | Self::Uri(name) | Self::Dns(name) | Self::Username(name) => name,
        }
    }

    /// What kind of name it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Uri(_) => "uri",
            Self::Dns(_) => "dns",
            Self::Username(_) => "username",
        }
    }
}

macro_rules! claims {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $word:literal;)*) => {
        /// What an identity's issuer can say besides its name: Fulcio's extensions.
        ///
        /// <https://github.com/sigstore/fulcio/blob/v1.8.8/docs/oid-info.md>
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Claim {
            $($(#[doc = $doc])* $name,)*
        }

        impl Claim {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The last number of its object identifier, below `1.3.6.1.4.1.57264.1`.
            pub fn number(self) -> u8 {
                match self {
                    $(Self::$name => $number,)*
                }
            }

            /// Its name in policies and output.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

claims! {
    /// What started a GitHub workflow. An old form of [`BuildTrigger`](Self::BuildTrigger).
    GithubWorkflowTrigger = 2, "githubWorkflowTrigger";
    /// The commit of a GitHub workflow.
    GithubWorkflowSha = 3, "githubWorkflowSha";
    /// The name of a GitHub workflow.
    GithubWorkflowName = 4, "githubWorkflowName";
    /// The repository of a GitHub workflow.
    GithubWorkflowRepository = 5, "githubWorkflowRepository";
    /// The branch or tag of a GitHub workflow.
    GithubWorkflowRef = 6, "githubWorkflowRef";
    /// What ran the build.
    BuildSignerUri = 9, "buildSignerURI";
    /// The commit of what ran the build.
    BuildSignerDigest = 10, "buildSignerDigest";
    /// Whether the machine was the platform's or somebody's own.
    RunnerEnvironment = 11, "runnerEnvironment";
    /// What was built.
    SourceRepositoryUri = 12, "sourceRepositoryURI";
    /// Its commit.
    SourceRepositoryDigest = 13, "sourceRepositoryDigest";
    /// Its branch or tag.
    SourceRepositoryRef = 14, "sourceRepositoryRef";
    /// A name of the repository that stays when it is renamed.
    SourceRepositoryIdentifier = 15, "sourceRepositoryIdentifier";
    /// Who owns it.
    SourceRepositoryOwnerUri = 16, "sourceRepositoryOwnerURI";
    /// A name of the owner that stays.
    SourceRepositoryOwnerIdentifier = 17, "sourceRepositoryOwnerIdentifier";
    /// What says how to build.
    BuildConfigUri = 18, "buildConfigURI";
    /// Its commit.
    BuildConfigDigest = 19, "buildConfigDigest";
    /// What started the build.
    BuildTrigger = 20, "buildTrigger";
    /// Which run it was.
    RunInvocationUri = 21, "runInvocationURI";
    /// Whether everybody could see the repository.
    SourceRepositoryVisibility = 22, "sourceRepositoryVisibilityAtSigning";
    /// Under which environment of the platform it ran.
    DeploymentEnvironment = 23, "deploymentEnvironment";
    /// The subject of the token, where it is not the certificate's name.
    TokenSubject = 24, "tokenSubject";
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_run_may_be_another_one() {
        let identity = |claims: &[(Claim, &str)]| {
            let claims = claims.iter().map(|(claim, it)| (*claim, (*it).to_owned()));
            let name = Subject::Uri("https://x.example/build.yml".to_owned());
            Identity::new(vec![name], Some("i".to_owned()), claims.collect())
        };
        let of = |run, branch| {
            identity(&[
                (Claim::RunInvocationUri, run),
                (Claim::SourceRepositoryRef, branch),
            ])
        };
        assert!(of("1", "main").is_same_in_another_run(&of("2", "main")));
        assert!(!of("1", "main").is_same_in_another_run(&of("2", "work")));
        assert!(!of("1", "main").is_same_in_another_run(&identity(&[])));
        let other = Identity {
            issuer: Some("j".to_owned()),
            ..of("1", "main")
        };
        assert!(!of("1", "main").is_same_in_another_run(&other));
    }
}
