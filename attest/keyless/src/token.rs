//! Identity tokens: who somebody is, by the word of an issuer (JSON Web Tokens).

mod ambient;

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use net::Secret;
use serde::Deserialize;

pub use ambient::{AmbientError, Surroundings, find};

/// Longer than any token.
const MAX_BYTES: usize = 64 << 10;

/// An identity token. Read, not verified: that is for whoever gives certificates for it.
#[derive(Clone, Debug)]
pub struct IdentityToken {
    text: Secret,
    subject: String,
    issuer: String,
    expires: SystemTime,
}

impl IdentityToken {
    /// Reads a token.
    pub fn parse(text: &Secret) -> Result<Self, TokenError> {
        #[derive(Deserialize)]
        struct Claims {
            #[serde(default)]
            iss: String,
            #[serde(default)]
            sub: String,
            #[serde(default)]
            email: Option<String>,
            #[serde(default)]
            email_verified: Option<serde_json::Value>,
            exp: Option<serde_json::Number>,
        }

        let malformed = |what| TokenError::Malformed { what };
        let trimmed = text.reveal().trim();
        if trimmed.len() > MAX_BYTES {
            return Err(malformed("too long"));
        }
        let mut parts = trimmed.split('.');
        let (Some(_), Some(claims), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("not of three parts"));
        };
        if !trimmed.bytes().all(|it| it.is_ascii_graphic()) {
            return Err(malformed("not in base64"));
        }
        // The errors are dropped because they may quote a secret.
        let claims = URL_SAFE_NO_PAD
            .decode(claims.trim_end_matches('='))
            .ok()
            .ok_or_else(|| malformed("not in base64"))?;
        let claims: Claims = serde_json::from_slice(&claims)
            .ok()
            .ok_or_else(|| malformed("not a JSON object of claims"))?;
        let expires = claims
            .exp
            .and_then(|it| it.as_u64().or_else(|| whole_seconds(it.as_f64()?)))
            .and_then(|it| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(it)))
            .ok_or_else(|| malformed("it does not say when it expires"))?;
        let subject = match claims.email.filter(|it| !it.is_empty()) {
            Some(email) => {
                let verified = match claims.email_verified {
                    Some(serde_json::Value::Bool(verified)) => verified,
                    // Some issuers write it as a text.
                    Some(serde_json::Value::String(text)) => text == "true",
                    _ => false,
                };
                if !verified {
                    return Err(TokenError::Unverified { email });
                }
                email
            }
            None => claims.sub,
        };
        if subject.is_empty() {
            return Err(malformed("it names nobody"));
        }
        Ok(Self {
            text: trimmed.into(),
            subject,
            issuer: claims.iss,
            expires,
        })
    }

    /// Whether it is still good.
    pub fn check(&self, now: SystemTime) -> Result<(), TokenError> {
        match now.duration_since(self.expires) {
            Ok(since) => Err(TokenError::Expired {
                minutes: since.as_secs() / 60,
            }),
            Err(_) => Ok(()),
        }
    }

    /// Whom it names: the mail address, or else the subject.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Who says so.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The token itself. Only to be sent where it belongs.
    pub(crate) fn text(&self) -> &Secret {
        &self.text
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest number there is"
)]
fn whole_seconds(seconds: f64) -> Option<u64> {
    (seconds >= 0.0).then_some(seconds as u64)
}

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has its own hint")]
pub enum TokenError {
    /// Not a token. Never a part of it.
    #[error("malformed identity token: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Too old.
    #[error("the identity token has expired{}", ago(*minutes))]
    Expired {
        /// How long ago.
        minutes: u64,
    },
    /// Nobody looked whether the mail address is theirs.
    #[error("the identity token names `{email}`, which its issuer has not verified")]
    Unverified {
        /// The address.
        email: String,
    },
}

fn ago(minutes: u64) -> String {
    match minutes {
        0 => String::new(),
        1 => " a minute ago".to_owned(),
        2..120 => format!(" {minutes} minutes ago"),
        _ => format!(" {} hours ago", minutes / 60),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(claims: &str) -> Result<IdentityToken, TokenError> {
        let text = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        IdentityToken::parse(&text.into())
    }

    #[test]
    fn a_mail_address_goes_before_the_subject() {
        let subject = |claims: &str| token(claims).map(|it| it.subject().to_owned());
        assert_eq!(subject(r#"{"exp":1,"sub":"s"}"#).unwrap(), "s");
        for verified in ["true", "\"true\""] {
            let claims =
                format!(r#"{{"exp":1,"sub":"s","email":"e","email_verified":{verified}}}"#);
            assert_eq!(subject(&claims).unwrap(), "e");
        }
        for rest in ["", r#","email_verified":false"#, r#","email_verified":1"#] {
            let claims = format!(r#"{{"exp":1,"sub":"s","email":"e"{rest}}}"#);
            let refused = subject(&claims);
            assert!(
                matches!(refused, Err(TokenError::Unverified { .. })),
                "{rest}"
            );
        }
        assert!(matches!(
            subject(r#"{"exp":1}"#),
            Err(TokenError::Malformed { .. })
        ));
    }

    #[test]
    fn a_token_is_good_until_the_second_in_which_it_expires() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for exp in ["100", "100.5"] {
            let token = token(&format!(r#"{{"exp":{exp},"sub":"s"}}"#)).unwrap();
            assert!(token.check(at(99)).is_ok());
            let said = |now| token.check(at(now)).unwrap_err().to_string();
            assert_eq!(said(100), "the identity token has expired");
            assert_eq!(said(700), "the identity token has expired 10 minutes ago");
            assert_eq!(said(90_000), "the identity token has expired 24 hours ago");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_quoted() {
        let hunter = URL_SAFE_NO_PAD.encode("hunter2");
        for text in [
            String::new(),
            "a.b".to_owned(),
            "a.b.c.d".to_owned(),
            "a.!.c".to_owned(),
            format!("a.{hunter}.c"),
            format!(
                "a.{}.c",
                URL_SAFE_NO_PAD.encode("{\"exp\":-1,\"sub\":\"s\"}")
            ),
            format!("a.{}.c", URL_SAFE_NO_PAD.encode("{\"sub\":\"s\"}")),
            format!(
                "a\n.{}.c",
                URL_SAFE_NO_PAD.encode("{\"exp\":1,\"sub\":\"s\"}")
            ),
            "x".repeat(MAX_BYTES + 1),
        ] {
            let error = IdentityToken::parse(&text.as_str().into()).unwrap_err();
            assert!(matches!(error, TokenError::Malformed { .. }));
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        let token = token(r#"{"exp":1,"sub":"s"}"#).unwrap();
        assert!(!format!("{token:?}").contains("e30"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r"[a-zA-Z0-9._=-]{0,80}") {
            drop(IdentityToken::parse(&text.into()));
        }
    }
}
