//! What can be wrong with a daemon, in words of ours.

use std::error::Error;
use std::io;
use std::time::Duration;

/// Characters that are shown of what a daemon says.
const MAX_MESSAGE: usize = 1000;

/// What a server of Go's answers to plain HTTP where it speaks TLS.
const WANTS_TLS: &str = "Client sent an HTTP request to an HTTPS server.";

/// What a Docker daemon, or the way to it, has done to us. The cause of a
/// [`StoreError`](crate::StoreError) of a daemon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonProblem {
    /// Nobody listens there.
    #[error("no Docker daemon listens there")]
    NotRunning(#[source] io::Error),
    /// The socket is not for this user.
    #[error("this user may not use the daemon's socket")]
    Denied(#[source] io::Error),
    /// No connection for another reason.
    #[error("there is no connection")]
    NoConnection(#[source] io::Error),
    /// The daemon's certificate is of nobody whom we believe, or of another one.
    #[error("it does not prove to be this daemon")]
    Unproven(#[source] rustls::Error),
    /// It does not let us in as who we are: with another certificate, or without one.
    #[error("the daemon lets in only whom it knows by certificate")]
    Unknown(#[source] rustls::Error),
    /// Only one side speaks TLS.
    #[error("there is no TLS on both sides")]
    OneSided(#[source] Box<dyn Error + Send + Sync>),
    /// No TLS for another reason.
    #[error("there is no secure connection")]
    Tls(#[source] io::Error),
    /// `ssh` is not there, or does not start.
    #[error("`ssh` cannot be run")]
    NoSsh(#[source] io::Error),
    /// `ssh` ended, and said why.
    #[error("`ssh` says: {words}")]
    Ssh {
        /// Its words.
        words: String,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("the connection broke")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// Nothing came for so long.
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    /// More came than we read.
    #[error("its answer is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// The answer is not of the form that the API has.
    #[error("its answer is not what Docker's API says")]
    Malformed(#[source] serde_json::Error),
    /// It said no, in its own words.
    #[error("it says: {message}")]
    Said {
        /// The status of the answer; 200, where it had promised to do it by then.
        status: u16,
        /// Its words.
        message: String,
    },
    /// What it gives cannot be kept for as long as it is read.
    #[error("failed to keep it in a temporary file")]
    Disk(#[source] io::Error),
    /// What it gives is not what `docker save` writes.
    #[error("what it gives is no image")]
    Archive(#[source] Box<dyn Error + Send + Sync>),
    /// It did something else than it was asked for.
    #[error("{0}")]
    Strange(String),
}

impl DaemonProblem {
    pub(super) fn connect(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NotRunning(error),
            io::ErrorKind::PermissionDenied => Self::Denied(error),
            _ => Self::NoConnection(error),
        }
    }

    /// Of a connection that was to be a secure one.
    pub(super) fn tls(error: io::Error) -> Self {
        let found = error.get_ref().and_then(|it| it.downcast_ref());
        found
            .and_then(|it: &rustls::Error| Self::of_rustls(it.clone()))
            .unwrap_or(Self::Tls(error))
    }

    /// What TLS itself says against a connection, if anybody can do something about it.
    fn of_rustls(error: rustls::Error) -> Option<Self> {
        use rustls::AlertDescription as Alert;

        match &error {
            rustls::Error::InvalidCertificate(_) => Some(Self::Unproven(error)),
            rustls::Error::AlertReceived(
                Alert::AccessDenied
                | Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateRequired
                | Alert::CertificateRevoked
                | Alert::CertificateUnknown
                | Alert::DecryptError
                | Alert::UnknownCA
                | Alert::UnsupportedCertificate,
            ) => Some(Self::Unknown(error)),
            rustls::Error::InvalidMessage(_) => Some(Self::OneSided(error.into())),
            _ => None,
        }
    }

    /// A daemon's words are shown on a terminal: without what is no text, and not without end.
    pub(super) fn said(status: u16, message: &str) -> Self {
        let printable = |it: char| if it.is_control() { ' ' } else { it };
        let message: String = message
            .trim()
            .chars()
            .map(printable)
            .take(MAX_MESSAGE)
            .collect();
        if status == 400 && message == WANTS_TLS {
            return Self::OneSided(message.into());
        }
        Self::Said { status, message }
    }

    /// In TLS 1.3 a client has sent its first request when it learns that it is not let in.
    pub(super) fn broken(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
        while let Some(it) = cause {
            let inner = it.downcast_ref().and_then(io::Error::get_ref);
            let found = inner.and_then(|it| it.downcast_ref::<rustls::Error>());
            if let Some(problem) = found.and_then(|it| Self::of_rustls(it.clone())) {
                return problem;
            }
            cause = it.source();
        }
        Self::Broken(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_not_for_us_is_there() {
        let problem = |kind: io::ErrorKind| DaemonProblem::connect(kind.into());
        let denied = problem(io::ErrorKind::PermissionDenied);
        assert!(matches!(denied, DaemonProblem::Denied(_)));
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused] {
            assert!(matches!(problem(kind), DaemonProblem::NotRunning(_)));
        }
        let other = problem(io::ErrorKind::TimedOut);
        assert!(matches!(other, DaemonProblem::NoConnection(_)));
    }

    #[test]
    fn words_are_short_and_harmless() {
        let DaemonProblem::Said { message, .. } =
            DaemonProblem::said(200, &format!(" a\u{1b}[2J\u{9b}\n{}", "x".repeat(5000)))
        else {
            panic!("it is said");
        };
        assert!(message.starts_with("a [2J  x"), "{message}");
        assert_eq!(message.chars().count(), MAX_MESSAGE);
    }
}
