//! Why there is no signature.

use net::{Answer, Secret, ServiceError};
use url::Url;

use crate::token::TokenError;

/// Why a service gave nothing to sign or prove with.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has its own hint")]
pub enum KeylessError {
    /// The identity token cannot be used.
    #[error("the identity token cannot be used")]
    Token(#[source] TokenError),
    /// No service gives certificates.
    #[error("missing service: nothing says who gives certificates")]
    NoAuthority,
    /// No key could be made or used.
    #[error("failed to {action}")]
    Key {
        /// What was to be done.
        action: &'static str,
        /// Why it was not.
        source: attest::key::KeyError,
    },
    /// A service gave no answer.
    #[error("failed to {action}")]
    Service {
        /// What was asked for.
        action: &'static str,
        /// Why there is no answer.
        source: ServiceError,
    },
    /// A service said no, or that it is broken.
    #[error("`{place}` did not {action}")]
    Refused {
        /// Who.
        place: String,
        /// What it was asked to do.
        action: &'static str,
        /// What it said.
        source: Said,
    },
    /// A service answered with something else.
    #[error("malformed answer of `{place}`: {problem}")]
    Malformed {
        /// Who.
        place: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A log has the entry, and does not say what proves it.
    #[error("`{place}` has logged this signature before, and gives no proof of it")]
    LoggedBefore {
        /// Which log.
        place: String,
    },
}

/// What a service said, on one line.
#[derive(Debug, thiserror::Error)]
#[error("it says: {0}")]
pub struct Said(pub(crate) String);

impl KeylessError {
    /// That the service at `url` answered with another status than was hoped for.
    pub(crate) fn refused(
        url: &Url,
        action: &'static str,
        answer: &Answer,
        secrets: &[&Secret],
    ) -> Self {
        Self::Refused {
            place: place(url),
            action,
            source: Said(answer.words(secrets)),
        }
    }

    /// That what the service at `url` answered is not what it should be.
    pub(crate) fn malformed(url: &Url, problem: &'static str) -> Self {
        Self::Malformed {
            place: place(url),
            problem,
        }
    }
}

/// How a service is named.
pub(crate) fn place(url: &Url) -> String {
    url.origin().ascii_serialization()
}
