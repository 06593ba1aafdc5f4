//! Asking services that are no registries: small questions, answers that are read whole.

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::{
    Connections, ConnectionsError, Options, Peer, Secret, TransportError, address, is_transient,
    read_body, retry_after,
};

/// Asks services. One is enough for a process.
#[derive(Debug, Default)]
pub struct Services {
    options: Options,
    connections: Connections,
}

/// What a service is asked.
#[derive(Clone, Debug)]
pub struct Question {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
    bearer: Option<Secret>,
    limit: u64,
    again: Again,
    in_the_open: bool,
}

/// When to ask once more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum Again {
    /// Whenever the same question may yet be answered.
    Whenever,
    /// Only where the service cannot have done what it was asked: it was not reached, or said that it
    /// is overloaded.
    IfNotDone,
}

impl Question {
    /// For a document.
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            bearer: None,
            limit: 1 << 20,
            again: Again::Whenever,
            in_the_open: false,
        }
    }

    /// With a body of this media type.
    pub fn post(url: Url, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let question = Self {
            method: Method::POST,
            body: body.into(),
            ..Self::get(url)
        };
        question.header(
            reqwest::header::CONTENT_TYPE,
            HeaderValue::from_static(media_type),
        )
    }

    /// With this header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// By whoever has this token. It is cut out of what is shown of the answer.
    #[must_use]
    pub fn bearer(mut self, token: Secret) -> Self {
        self.bearer = Some(token);
        self
    }

    /// Also by plain HTTP, and to other machines: what is said is no secret.
    #[must_use]
    pub fn in_the_open(mut self) -> Self {
        self.in_the_open = true;
        self
    }

    /// An answer of at most so many bytes; without this, a mebibyte.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Asked again only then.
    #[must_use]
    pub fn again(mut self, again: Again) -> Self {
        self.again = again;
        self
    }
}

/// What a service answered, whatever its status.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Services {
    /// Connects to nothing, and loads nothing, before the first question.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            connections: Connections::default(),
        }
    }

    /// Asks. Redirects are answers: what is sent is for the server that was named.
    ///
    /// # Errors
    ///
    /// Where no answer came. Plain HTTP is for this machine.
    pub async fn ask(&self, question: &Question) -> Result<Answer, ServiceError> {
        let place = || question.url.origin().ascii_serialization();
        let is_allowed = match question.url.scheme() {
            "https" => true,
            "http" => question.in_the_open || address::is_loopback(&question.url),
            _ => false,
        };
        if !is_allowed {
            return Err(ServiceError::NotSecure { place: place() });
        }
        let peer = Peer {
            url: &question.url,
            insecure: false,
            named: true,
        };
        let client = self.connections.client(peer, &self.options);
        let client = client.map_err(|source| ServiceError::Setup {
            place: place(),
            source,
        })?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut request = client
                .request(question.method.clone(), question.url.clone())
                .headers(question.headers.clone());
            if let Some(token) = &question.bearer {
                let value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()));
                // The error is dropped because the value is a secret.
                let mut value = value
                    .ok()
                    .ok_or_else(|| ServiceError::Token { place: place() })?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            if question.method != Method::GET {
                request = request.body(question.body.clone());
            }
            let exchange = async {
                let response = request.send().await?;
                let (status, headers) = (response.status(), response.headers().clone());
                let asked = retry_after(&response);
                let body = read_body(response, question.limit).await?;
                Ok::<_, TransportError>((
                    asked,
                    Answer {
                        status,
                        headers,
                        body,
                    },
                ))
            };
            let result = tokio::time::timeout(self.options.document_timeout, exchange).await;
            let last = attempt > self.options.retries.count;
            let asked = match result.unwrap_or(Err(TransportError::Slow)) {
                Ok((asked, answer)) if !last && question.again.after(answer.status) => asked,
                Ok((_, answer)) => return Ok(answer),
                Err(error) if !last && question.again.after_failure(&error) => None,
                Err(source) => {
                    return Err(ServiceError::Unreachable {
                        place: place(),
                        source,
                    });
                }
            };
            self.options.retries.pause(attempt, asked).await;
        }
    }
}

impl Again {
    fn after(self, status: StatusCode) -> bool {
        match self {
            Self::Whenever => is_transient(status),
            Self::IfNotDone => matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            ),
        }
    }

    fn after_failure(self, error: &TransportError) -> bool {
        error.is_transient()
            && match (self, error) {
                (Self::IfNotDone, TransportError::Http { connected, .. }) => !connected,
                _ => true,
            }
    }
}

impl Answer {
    /// An answer, for tests of who reads it.
    pub fn new(status: StatusCode, headers: HeaderMap, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers,
            body: body.into(),
        }
    }

    /// What it says, on one short line without control characters and without `secrets`: for errors.
    pub fn words(&self, secrets: &[&Secret]) -> String {
        /// The most that is shown.
        const MAX_CHARS: usize = 300;
        let mut text = String::from_utf8_lossy(&self.body).into_owned();
        for secret in secrets.iter().filter(|it| it.reveal().len() >= 4) {
            text = text.replace(secret.reveal(), "…");
        }
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut said = self.status.to_string();
        if !words.is_empty() {
            said.push_str(": ");
            said.extend(words.chars().take(MAX_CHARS));
        }
        said
    }
}

/// Why a service gave no answer.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum ServiceError {
    /// It would be asked in the open.
    #[error("`{place}` is not allowed: neither HTTPS nor on this machine")]
    NotSecure {
        /// Who.
        place: String,
    },
    /// The token cannot stand in a header.
    #[error("malformed token for `{place}`")]
    Token {
        /// For whom.
        place: String,
    },
    /// No connection can be made at all.
    #[error("`{place}` cannot be asked")]
    Setup {
        /// Who.
        place: String,
        /// Why.
        source: ConnectionsError,
    },
    /// No answer came.
    #[error("`{place}` is unreachable")]
    Unreachable {
        /// Who.
        place: String,
        /// Why.
        source: TransportError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_an_answer_is_one_short_line_without_secrets() {
        let answer = |body: &str| Answer {
            status: StatusCode::BAD_REQUEST,
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        };
        let secret = "hunter2hunter2".into();
        assert_eq!(
            answer("no\n\u{1b}[31m hunter2hunter2 ").words(&[&secret]),
            "400 Bad Request: no [31m …"
        );
        assert!(answer(&"x".repeat(10_000)).words(&[]).len() < 400);
        assert_eq!(answer("").words(&[]), "400 Bad Request");
    }

    #[test]
    fn what_may_have_been_done_is_not_asked_again() {
        for (status, whenever, if_not_done) in [
            (429, true, true),
            (503, true, true),
            (500, true, false),
            (502, true, false),
            (504, true, false),
            (400, false, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Again::Whenever.after(status), whenever, "{status}");
            assert_eq!(Again::IfNotDone.after(status), if_not_done, "{status}");
        }
    }

    #[tokio::test]
    async fn nobody_elsewhere_is_asked_in_the_open() {
        let services = Services::default();
        for url in [
            "http://fulcio.example/",
            "http://10.0.0.1/",
            "ftp://127.0.0.1/",
        ] {
            let asked = services.ask(&Question::get(Url::parse(url).unwrap())).await;
            assert!(
                matches!(asked, Err(ServiceError::NotSecure { .. })),
                "{url}"
            );
        }
    }
}
