//! Answers that are read whole, and why none came.

use std::error::Error as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use reqwest::header::{DATE, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::{NameError, NoName};

/// Reads an answer whole.
pub async fn read_body(response: Response, limit: u64) -> Result<Bytes, TransportError> {
    if response.content_length().is_some_and(|it| it > limit) {
        return Err(TransportError::TooLarge { limit });
    }
    let mut body = BytesMut::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.try_next().await.map_err(TransportError::of)? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(TransportError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Whether the same request may have another answer later.
pub fn is_transient(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// How long the server asks us to wait: in seconds, or until a date by its own clock.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>
pub fn retry_after(response: &Response) -> Option<Duration> {
    let text = |name| response.headers().get(name)?.to_str().ok();
    let asked = text(RETRY_AFTER)?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let rfc2822 =
        |it| time::OffsetDateTime::parse(it, &time::format_description::well_known::Rfc2822).ok();
    (rfc2822(asked)? - rfc2822(text(DATE)?)?).try_into().ok()
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum TransportError {
    /// The connection could not be made, or broke.
    #[error("{}", told(*connected, origin))]
    Http {
        /// Whether it was there at first.
        connected: bool,
        /// To whom: `https://host:port`; may be empty.
        origin: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It came, but too slowly.
    #[error("the answer took too long")]
    Slow,
    /// More than is read.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}

impl TransportError {
    /// Of the client's error, without what stands in its address behind the host.
    pub fn of(error: reqwest::Error) -> Self {
        let origin = error.url().map(|it| it.origin().ascii_serialization());
        Self::Http {
            connected: !error.is_connect(),
            origin: origin.unwrap_or_default(),
            // It may hold a signature that gives access.
            source: error.without_url(),
        }
    }

    /// Whether the same request may have an answer later. Certificates stay what they are, and who is
    /// unknown stays so.
    pub fn is_transient(&self) -> bool {
        let is_unknown = self
            .name_error()
            .is_some_and(|it| it.kind() == NoName::Unknown);
        !is_unknown && matches!(self, Self::Http { source, .. } if tls_error(source).is_none())
    }

    /// Why the name of the host has no address, if that is why.
    pub fn name_error(&self) -> Option<&NameError> {
        match self {
            Self::Http { source, .. } => cause(source),
            _ => None,
        }
    }

    /// Whether the server was reached, and its certificate is not one to trust.
    pub fn is_about_certificate(&self) -> bool {
        matches!(self, Self::Http { source, .. }
            if matches!(tls_error(source), Some(rustls::Error::InvalidCertificate(_))))
    }

    /// Why TLS did not come about, if that is why.
    pub fn tls_problem(&self) -> Option<TlsProblem> {
        match self {
            Self::Http { source, .. } => tls_error(source).map(TlsProblem::of),
            _ => None,
        }
    }
}

/// Why TLS did not come about.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The server does not speak TLS.
    NotSpoken,
    /// An authority that is not trusted signed the certificate.
    UnknownAuthority,
    /// The certificate is for other hosts.
    OtherHosts {
        /// For which: names of hosts, and addresses.
        named: Vec<String>,
    },
    /// The certificate is no longer valid. Times are seconds since 1970.
    Expired {
        /// Now.
        now: u64,
        /// Until when it was.
        until: u64,
    },
    /// The certificate is not valid yet. Times are seconds since 1970.
    TooEarly {
        /// Now.
        now: u64,
        /// From when it is.
        from: u64,
    },
    /// The server does not want to speak: the number of its alert (RFC 8446, section 6).
    Alert(u8),
    /// Something else is wrong with the certificate, in the words of the library.
    Certificate(String),
    /// Something else, in the words of the library.
    Other(String),
}

impl TlsProblem {
    fn of(error: &rustls::Error) -> Self {
        use rustls::{CertificateError, InvalidMessage};

        let certificate = match error {
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                return Self::NotSpoken;
            }
            rustls::Error::AlertReceived(alert) => return Self::Alert(u8::from(*alert)),
            rustls::Error::InvalidCertificate(certificate) => certificate,
            other => return Self::Other(other.to_string()),
        };
        match certificate {
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::NotValidForNameContext { presented, .. } => Self::OtherHosts {
                named: presented.iter().map(|it| bare(it)).collect(),
            },
            CertificateError::ExpiredContext { time, not_after } => Self::Expired {
                now: time.as_secs(),
                until: not_after.as_secs(),
            },
            CertificateError::NotValidYetContext { time, not_before } => Self::TooEarly {
                now: time.as_secs(),
                from: not_before.as_secs(),
            },
            // An authority's own certificate, which nobody named.
            other if other.to_string().contains("CaUsedAsEndEntity") => Self::UnknownAuthority,
            other => Self::Certificate(other.to_string()),
        }
    }
}

/// The name in `DnsName("name")`, the address in `IpAddress(address)`.
fn bare(presented: &str) -> String {
    let inner = presented.split_once('(').map_or(presented, |(_, it)| it);
    inner.trim_end_matches(')').trim_matches('"').to_owned()
}

/// Whether plain HTTP was tried stands in the address.
fn told(connected: bool, origin: &str) -> String {
    match (connected, origin) {
        (true, _) => "the connection broke off".to_owned(),
        (false, "") => "the server is unreachable".to_owned(),
        (false, origin) => format!("`{origin}` is unreachable"),
    }
}

/// How TLS failed by what one of the two sides is, not by a connection that broke.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    cause(error)
}

/// The first of the causes that is a `T`.
fn cause<T: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&T> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        // What an I/O error holds is not among its sources, and may be another one.
        let held = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        cause = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}

impl From<reqwest::Error> for TransportError {
    fn from(error: reqwest::Error) -> Self {
        Self::of(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait_is_said_in_seconds_or_by_date() {
        let asked = |retry_after: &str, date: Option<&str>| {
            let mut response = hyper::Response::builder().header(RETRY_AFTER, retry_after);
            if let Some(date) = date {
                response = response.header(DATE, date);
            }
            super::retry_after(&response.body("").unwrap().into())
        };
        let (now, later) = (
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "Wed, 21 Oct 2015 07:28:30 GMT",
        );
        let half_a_minute = Some(Duration::from_secs(30));
        assert_eq!(asked("30", None), half_a_minute);
        assert_eq!(asked(later, Some(now)), half_a_minute);
        // By no clock of ours; and the past is no time to wait for.
        assert_eq!(asked(later, None), None);
        assert_eq!(asked(now, Some(later)), None);
        assert_eq!(asked("soon", Some(now)), None);
        assert_eq!(asked("-1", None), None);
    }
}
