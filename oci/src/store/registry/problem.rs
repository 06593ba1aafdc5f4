//! What a registry says where it says no, and which request came to nothing.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use net::{Method, StatusCode, TransportError};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::StoreError;
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
    /// What was asked; nothing where it was no registry that was asked.
    pub request: Option<RegistryRequest>,
    /// The body as it came, without secrets: made of at most 64 KiB.
    pub body: String,
}

/// A request that a registry did not answer as was hoped for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RegistryRequest {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// The address that was asked last, after redirects. Of its query those parameters have their
    /// values that are part of the protocol: others may be signatures that give access.
    pub url: String,
}

/// The parameters that the protocol has, so that no secrets are among them.
const PARAMETERS: [&str; 7] = ["scope", "service", "mount", "from", "digest", "n", "last"];

impl RegistryRequest {
    pub(super) fn new(method: &Method, url: &Url) -> Self {
        let mut shown = net::address::without_user(url.clone());
        shown.set_fragment(None);
        if url.query().is_some() {
            let mut pairs: Vec<_> = url.query_pairs().into_owned().collect();
            pairs.sort();
            let mut query = shown.query_pairs_mut();
            query.clear();
            for (name, value) in &pairs {
                let public = PARAMETERS.contains(&name.as_str());
                query.append_pair(name, if public { value } else { "REDACTED" });
            }
        }
        Self {
            method: method.to_string(),
            url: shown.into(),
        }
    }
}

/// How content came that is not what it should be: part of [`StoreError::DigestMismatch`] and
/// [`StoreError::SizeMismatch`].
///
/// [`StoreError::DigestMismatch`]: crate::StoreError::DigestMismatch
/// [`StoreError::SizeMismatch`]: crate::StoreError::SizeMismatch
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RegistryContent {
    /// What was asked.
    pub request: RegistryRequest,
    /// How many bytes came, or would have come.
    pub size: u64,
    /// Whether none of it was read: the answer says itself how long it is.
    pub announced: bool,
}

impl RegistryContent {
    pub(super) fn new(request: RegistryRequest, size: u64, announced: bool) -> Self {
        Self {
            request,
            size,
            announced,
        }
    }

    /// Says of an error about content that it came so.
    pub(super) fn came_so(self, error: StoreError) -> StoreError {
        match error {
            StoreError::DigestMismatch {
                expected,
                presented,
                came: None,
            } => StoreError::DigestMismatch {
                expected,
                presented,
                came: Some(Box::new(self)),
            },
            StoreError::SizeMismatch {
                digest,
                expected,
                presented,
                came: None,
            } => StoreError::SizeMismatch {
                digest,
                expected,
                presented,
                came: Some(Box::new(self)),
            },
            other => other,
        }
    }
}

/// A request that a registry did not answer, or not to the end: the cause of
/// [`StoreError::Unavailable`]. It says what its cause says.
///
/// [`StoreError::Unavailable`]: crate::StoreError::Unavailable
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegistrySilence {
    /// What was asked.
    pub request: RegistryRequest,
    /// Whether an answer began to come.
    pub began: bool,
    cause: Arc<TransportError>,
}

impl RegistrySilence {
    /// No answer came to `request`.
    pub(super) fn new(request: RegistryRequest, cause: TransportError) -> Self {
        Self {
            request,
            began: false,
            cause: Arc::new(cause),
        }
    }

    /// An answer came to `request`, and broke off.
    pub(super) fn within(request: RegistryRequest, cause: TransportError) -> Self {
        Self {
            began: true,
            ..Self::new(request, cause)
        }
    }

    /// Whether the connection could be made.
    pub fn is_connected(&self) -> bool {
        !matches!(&*self.cause, TransportError::Http { connected, .. } if !connected)
    }

    /// Whether the server was reached, and showed a certificate that is not to be trusted.
    pub fn is_about_certificate(&self) -> bool {
        self.cause.is_about_certificate()
    }

    /// Why TLS did not come about, if that is why.
    pub fn tls_problem(&self) -> Option<net::TlsProblem> {
        self.cause.tls_problem()
    }

    /// Why the name of the host has no address, if that is why.
    pub fn name_error(&self) -> Option<&net::NameError> {
        self.cause.name_error()
    }

    /// Whether the connection was closed before the answer was complete.
    pub fn is_cut_off(&self) -> bool {
        self.causes().any(|it| {
            it.downcast_ref::<hyper::Error>()
                .is_some_and(hyper::Error::is_incomplete_message)
                || it
                    .downcast_ref::<io::Error>()
                    .is_some_and(|it| it.kind() == io::ErrorKind::UnexpectedEof)
        })
    }

    /// What the system said of the connection.
    pub fn io(&self) -> Option<&io::Error> {
        self.causes()
            .filter_map(|it| it.downcast_ref::<io::Error>())
            .find(|it| it.raw_os_error().is_some())
    }

    fn causes(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        std::iter::successors(self.cause.source(), |&error| {
            // What an I/O error holds is not among its sources, and may be another one.
            let held = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            match held {
                Some(held) => Some(held),
                None => error.source(),
            }
        })
    }
}

impl fmt::Display for RegistrySilence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for RegistrySilence {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// What a registry's answer means, where that says more than its words.
#[derive(Debug)]
pub(super) struct Told {
    text: &'static str,
    answer: Option<Box<RegistryRefusal>>,
}

impl Told {
    pub(super) fn new(text: &'static str, answer: Option<Box<RegistryRefusal>>) -> Self {
        Self { text, answer }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl Error for Told {}

/// See [`StoreError::answer`].
pub(super) fn answer_of<'e>(
    cause: &'e (dyn Error + Send + Sync + 'static),
) -> Option<&'e RegistryRefusal> {
    cause.downcast_ref().or_else(|| {
        let told: &Told = cause.downcast_ref()?;
        told.answer.as_deref()
    })
}

/// The most that is shown of what a registry says.
const MAX_CHARS: usize = 500;
/// The most bytes of a body that are kept.
const MAX_BODY: usize = 64 << 10;
/// The most errors that are read of one answer.
const MAX_ERRORS: usize = 8;

impl RegistryRefusal {
    /// Reads the body of an answer. `secrets` are cut out, should the registry echo them.
    pub(super) fn parse(status: StatusCode, body: &[u8], secrets: &[Secret]) -> Self {
        let text = String::from_utf8_lossy(body.get(..MAX_BODY).unwrap_or(body));
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
            clean(&text, secrets)
        } else {
            words.join("; ")
        };
        Self {
            status: status.as_u16(),
            codes,
            message: message.chars().take(MAX_CHARS).collect(),
            request: None,
            body: body_without(&text, secrets),
        }
    }

    pub(super) fn of(mut self, request: RegistryRequest) -> Self {
        self.request = Some(request);
        self
    }

    /// Whether one of the codes is `code`.
    pub fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|it| it == code)
    }
}

/// The body without secrets, also without those that JSON writes in another way.
fn body_without(text: &str, secrets: &[Secret]) -> String {
    let cut = without(text, secrets);
    let mut parsed = serde_json::from_str::<Value>(&cut).unwrap_or_default();
    if cut_texts(&mut parsed, secrets) {
        parsed.to_string()
    } else {
        cut
    }
}

/// Cuts secrets out of all texts in `value`; whether there were any.
fn cut_texts(value: &mut Value, secrets: &[Secret]) -> bool {
    let mut found = false;
    match value {
        Value::String(text) => {
            let cut = without(text, secrets);
            found = cut != *text;
            *text = cut;
        }
        Value::Array(list) => {
            for it in list {
                found |= cut_texts(it, secrets);
            }
        }
        Value::Object(fields) => {
            for it in fields.values_mut() {
                found |= cut_texts(it, secrets);
            }
        }
        _ => {}
    }
    found
}

/// What gives access in an address: the values of its query that are not part of the protocol.
pub(super) fn secrets_of(url: &Url) -> Vec<Secret> {
    url.query_pairs()
        .filter(|(name, value)| !PARAMETERS.contains(&&**name) && value.len() >= 16)
        .map(|(_, value)| Secret::from(&*value))
        .collect()
}

/// The text without secrets.
fn without(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    // What is shorter stands in any text.
    for secret in secrets.iter().filter(|it| it.reveal().len() >= 4) {
        text = text.replace(secret.reveal(), "…");
    }
    text
}

/// One line, no control characters, no secret.
fn clean(text: &str, secrets: &[Secret]) -> String {
    let text: String = without(text, secrets)
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

impl Error for RegistryRefusal {}

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
    fn secrets_are_cut_out_of_escaped_text() {
        let body =
            br#"{"errors":[{"code":"X","message":"hun\/ter2","detail":{"a":"hun\u002fter2"}}]}"#;
        let secrets = ["hun/ter2".into()];
        let refusal = RegistryRefusal::parse(StatusCode::FORBIDDEN, body, &secrets);
        assert!(!refusal.body.contains("ter2"), "{}", refusal.body);
        assert!(refusal.has_code("X"));
    }

    #[test]
    fn what_gives_access_in_an_address_is_a_secret() {
        let url =
            "https://storage.test/x?digest=sha256%3A0123456789&Signature=0123456789abcdefg&a=b";
        let url: Url = url.parse().unwrap();
        let secrets = secrets_of(&url);
        let body = b"<Error><SignatureProvided>0123456789abcdefg</SignatureProvided></Error>";
        let refusal = RegistryRefusal::parse(StatusCode::FORBIDDEN, body, &secrets);
        assert_eq!(secrets.len(), 1);
        assert!(!refusal.body.contains("0123456789abcdefg"));
        assert!(!refusal.message.contains("0123456789abcdefg"));
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

    #[test]
    fn of_an_address_what_may_give_access_is_not_told() {
        let url = "https://u:p@h.example/v2/a/blobs/uploads/1?sig=hunter2&digest=sha256:0&_state=x";
        let asked = RegistryRequest::new(&Method::PUT, &Url::parse(url).unwrap());
        assert_eq!(
            asked.url,
            "https://h.example/v2/a/blobs/uploads/1?_state=REDACTED&digest=sha256%3A0&sig=REDACTED"
        );
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
