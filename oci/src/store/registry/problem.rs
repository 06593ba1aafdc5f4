//! What a registry says where it says no.

use std::fmt;

use net::StatusCode;
use serde::Deserialize;

use crate::auth::Secret;

/// What a registry says where it says no: the cause of [`StoreError::Refused`] and of
/// [`StoreError::Unavailable`].
///
/// <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes>
///
/// [`StoreError::Refused`]: crate::StoreError::Refused
/// [`StoreError::Unavailable`]: crate::StoreError::Unavailable
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RegistryRefusal {
    /// The HTTP status.
    pub status: u16,
    /// The codes that the specification has, e.g. `DENIED`, in the order they came.
    pub codes: Vec<String>,
    /// All of it in the registry's own words, on one line, without control characters.
    pub message: String,
}

/// The most that is shown of what a registry says.
const MAX_CHARS: usize = 500;
/// The most errors that are read of one answer.
const MAX_ERRORS: usize = 8;

impl RegistryRefusal {
    /// Reads the body of an answer. `secrets` are cut out, should the registry echo them.
    pub(super) fn parse(status: StatusCode, body: &[u8], secrets: &[Secret]) -> Self {
        let parsed = serde_json::from_slice::<Body>(body).ok();
        let mut codes = Vec::new();
        let mut words = Vec::new();
        for error in parsed.into_iter().flat_map(|it| it.errors).take(MAX_ERRORS) {
            let text = [&error.code, &error.message]
                .map(|it| clean(it, secrets))
                .into_iter()
                .filter(|it| !it.is_empty())
                .collect::<Vec<_>>()
                .join(": ");
            words.push(text);
            codes.push(clean(&error.code, secrets));
        }
        let message = if words.is_empty() {
            clean(&String::from_utf8_lossy(body), secrets)
        } else {
            words.join("; ")
        };
        Self {
            status: status.as_u16(),
            codes,
            message: message.chars().take(MAX_CHARS).collect(),
        }
    }

    /// Whether one of the codes is `code`.
    pub fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|it| it == code)
    }
}

/// One line, no control characters, no secret.
fn clean(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    // What is shorter stands in any text.
    for secret in secrets.iter().filter(|it| it.reveal().len() >= 4) {
        text = text.replace(secret.reveal(), "…");
    }
    let text: String = text
        .chars()
        .take(MAX_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for RegistryRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = StatusCode::from_u16(self.status)
            .ok()
            .and_then(|it| it.canonical_reason())
            .unwrap_or("");
        write!(f, "{} {reason}", self.status)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for RegistryRefusal {}

#[derive(Deserialize)]
struct Body {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codes_and_messages_are_read() {
        let refusal = RegistryRefusal::parse(
            StatusCode::FORBIDDEN,
            br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m rights","detail":{"x":1}},{"code":"X"}]}"#,
            &[],
        );
        assert!(refusal.has_code("DENIED"));
        assert_eq!(
            refusal.to_string(),
            "403 Forbidden: DENIED: no [31m rights; X"
        );
    }

    #[test]
    fn secrets_are_cut_out() {
        let refusal = RegistryRefusal::parse(
            StatusCode::UNAUTHORIZED,
            b"bad token hunter2hunter2!",
            &["hunter2hunter2".into()],
        );
        assert_eq!(refusal.to_string(), "401 Unauthorized: bad token …!");
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = "x".repeat(10_000);
        let error = format!(r#"{{"code":"{long}","message":"{long}"}}"#);
        let errors = vec![error; 100].join(",");
        let body = format!(r#"{{"errors":[{errors}]}}"#);
        for body in [long, body] {
            let refusal = RegistryRefusal::parse(StatusCode::NOT_FOUND, body.as_bytes(), &[]);
            assert_eq!(refusal.message.len(), MAX_CHARS);
            assert!(refusal.codes.len() <= MAX_ERRORS);
            assert!(refusal.codes.iter().all(|it| it.len() <= MAX_CHARS));
        }
    }

    #[test]
    fn codes_are_as_clean_as_messages_and_short_words_stay() {
        let body = br#"{"errors":[{"code":"a\u001b hunter2hunter2 b","message":"ab"}]}"#;
        let secrets = ["hunter2hunter2".into(), "a".into()];
        let refusal = RegistryRefusal::parse(StatusCode::FORBIDDEN, body, &secrets);
        assert_eq!(refusal.codes, ["a … b"]);
        assert_eq!(refusal.message, "a … b: ab");
    }

    proptest! {
        #[test]
        fn any_body_makes_one_short_line(body: Vec<u8>) {
            let refusal = RegistryRefusal::parse(StatusCode::NOT_FOUND, &body, &["secret".into()]);
            prop_assert!(refusal.message.chars().count() <= MAX_CHARS);
            prop_assert!(!refusal.message.chars().any(char::is_control));
        }
    }
}
