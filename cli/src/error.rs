//! Turns the errors of the libraries into what a user reads: what is wrong, why, and what to do.

mod causes;

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use oci::auth::CredentialsError;
use oci::store::{DaemonAddressError, DaemonProblem, RegistryRefusal};
use oci::{Registry, StoreError};

/// How a command ended without doing what it was asked.
#[derive(Debug)]
pub(crate) struct CommandError {
    kind: Kind,
    source: Box<dyn Error + Send + Sync>,
    findings: Vec<Finding>,
    notes: Vec<String>,
    hints: Vec<String>,
}

/// One of several things that are wrong.
#[derive(Debug)]
struct Finding {
    text: String,
    /// What to do about it.
    hint: Option<String>,
}

/// A line that a user reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Line {
    /// The word before it, which is to be coloured.
    pub(crate) label: &'static str,
    pub(crate) text: String,
    /// How far it stands inside the others: belongs to that before it which is less deep.
    pub(crate) depth: usize,
}

/// What kind of end it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// The answer is no.
    Rejected,
    /// There is no answer: bad arguments, network, files.
    Undecided,
    /// This signal came first. As shells have it, the code is 128 more.
    Interrupted(u8),
}

impl CommandError {
    /// There is no answer.
    pub(crate) fn undecided(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Undecided, source)
    }

    /// `signal` came before there was an answer.
    pub(crate) fn interrupted(signal: u8, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Interrupted(signal), source)
    }

    /// The answer is no.
    pub(crate) fn rejected(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Rejected, source)
    }

    fn new(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        Self {
            hints: hint(&*source).into_iter().collect(),
            kind,
            source,
            findings: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds one of several things that are wrong, with what to do about it.
    pub(crate) fn finding_with(mut self, finding: impl Into<String>, hint: Option<String>) -> Self {
        self.findings.push(Finding {
            text: finding.into(),
            hint,
        });
        self
    }

    /// Adds what helps to understand.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says this to do, and nothing else.
    pub(crate) fn only_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints = vec![hint.into()];
        self
    }

    /// Whether the answer is no.
    pub(crate) fn is_rejection(&self) -> bool {
        self.kind == Kind::Rejected
    }

    /// The status by which a registry refused what was asked of it, if that is what is wrong.
    pub(crate) fn refusal(&self) -> Option<u16> {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*self.source);
        while let Some(it) = cause {
            if let Some(error @ StoreError::Refused { .. }) = it.downcast_ref() {
                return Some(error.answer()?.status);
            }
            cause = it.source();
        }
        None
    }

    /// Whether a signal came first.
    pub(crate) fn is_interruption(&self) -> bool {
        matches!(self.kind, Kind::Interrupted(_))
    }

    /// What is wrong, and why, in one line.
    pub(crate) fn line(&self) -> String {
        let lines = self.lines();
        let causes = lines.iter().filter(|it| it.label != "hint");
        let texts: Vec<_> = causes.map(|it| it.text.as_str()).collect();
        texts.join(": ")
    }

    /// 1 rejected, 2 could not decide, 129, 130 and 143 interrupted.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.kind {
            Kind::Rejected => ExitCode::from(1),
            Kind::Undecided => ExitCode::from(2),
            Kind::Interrupted(signal) => ExitCode::from(signal.saturating_add(128)),
        }
    }

    /// The lines that a user reads.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let line = |label, text: &str, depth| Line {
            label,
            text: text.to_owned(),
            depth,
        };
        let said = causes::of(&*self.source);
        let of = |at| if at == 0 { ("error", 0) } else { ("cause", 1) };
        let said = said.iter().enumerate().map(|(at, text)| (of(at), text));
        let mut lines: Vec<_> = said
            .map(|((label, depth), text)| line(label, text, depth))
            .collect();
        for (at, it) in self.findings.iter().enumerate() {
            lines.push(line("finding", &it.text, 1));
            // Of several that have the same remedy it is said behind the last.
            let next = self.findings.get(at + 1).map(|next| &next.hint);
            if let (Some(hint), false) = (&it.hint, next == Some(&it.hint)) {
                lines.push(line("hint", hint, 2));
            }
        }
        lines.extend(self.notes.iter().map(|it| line("note", it, 1)));
        lines.extend(self.hints.iter().map(|it| line("hint", it, 0)));
        lines
    }
}

/// What to do about an error, where its cause tells.
fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let hint = match error.downcast_ref::<StoreError>() {
            Some(error) => of_store(error),
            None => of_daemon(error)
                .or_else(|| of_policy(error))
                .map(str::to_owned),
        };
        if hint.is_some() {
            return hint;
        }
        cause = error.source();
    }
    None
}

/// What to do about what a registry says.
fn of_store(error: &StoreError) -> Option<String> {
    match error {
        StoreError::Refused { place, source, .. } => {
            let refusal = source.downcast_ref::<RegistryRefusal>()?;
            // Neither a token server nor a registry as a whole is logged in to.
            let (host, _) = place.split_once('/').filter(|_| !place.contains("://"))?;
            matches!(refusal.status, 401 | 403).then(|| {
                format!(
                    "log in with `sealpack login {host}`, or ask for the right to this repository"
                )
            })
        }
        StoreError::Unavailable { place, source, .. } => {
            let mut causes = Vec::new();
            let mut cause: Option<&(dyn Error + 'static)> = Some(&**source);
            while let Some(it) = cause {
                if it.is::<DaemonProblem>() {
                    return None;
                }
                causes.push(it.to_string());
                cause = it.source();
            }
            if causes
                .iter()
                .any(|it| it.contains("invalid peer certificate"))
            {
                return Some(
                    "`--registry-ca FILE` trusts another authority; `--insecure-registry HOST` accepts any certificate"
                        .to_owned(),
                );
            }
            place.starts_with(Registry::DOCKER_HUB).then(|| {
                "a name without a registry means Docker Hub; a layout is `oci:DIR`".to_owned()
            })
        }
        _ => None,
    }
}

/// What to do about a Docker daemon, or about files of credentials.
fn of_daemon(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(problem) = error.downcast_ref::<DaemonProblem>() {
        return match problem {
            DaemonProblem::NotRunning(_) => {
                Some("is Docker running? `DOCKER_HOST` or a Docker context names another daemon")
            }
            DaemonProblem::Denied(_) => {
                Some("ask for the group `docker`, or name another daemon by `DOCKER_HOST`")
            }
            DaemonProblem::NoSsh(_) | DaemonProblem::Ssh { .. } => {
                Some("see whether `ssh HOST docker version` works")
            }
            DaemonProblem::Unproven(_) => Some(
                "`ca.pem` in the folder of `DOCKER_CERT_PATH`, or that of the Docker context, has to be of who vouches for the daemon, and the address one that its certificate names",
            ),
            DaemonProblem::Unknown(_) => Some(
                "put `cert.pem` and `key.pem` into the folder of `DOCKER_CERT_PATH`, or into the Docker context: of an authority that the daemon knows",
            ),
            DaemonProblem::OneSided(_) | DaemonProblem::Tls(_) => Some(
                "`DOCKER_TLS_VERIFY=1` and `DOCKER_CERT_PATH` make a secure connection, by the certificates in that folder; without the first it is plain HTTP",
            ),
            _ => None,
        };
    }
    match error.downcast_ref() {
        Some(DaemonAddressError::Read { path, .. })
            if path.extension().is_none_or(|it| it != "pem") => {}
        Some(DaemonAddressError::Read { .. } | DaemonAddressError::Certificates { .. }) => {
            return Some(
                "`DOCKER_CERT_PATH` names the folder with `ca.pem`, and with `cert.pem` and `key.pem` if the daemon wants to know who asks",
            );
        }
        _ => {}
    }
    if let Some(CredentialsError::Locked { .. }) = error.downcast_ref() {
        return Some("`fuser FILE` tells which program it is; then do it again");
    }
    None
}

/// What to do about a policy that cannot be used as it is.
fn of_policy(error: &(dyn Error + 'static)) -> Option<&'static str> {
    match error.downcast_ref() {
        Some(policies::PolicyError::NoSigner { .. }) => {
            Some("add `--key FILE`, or `--certificate-identity` and `--certificate-oidc-issuer`")
        }
        _ => None,
    }
}

/// An error that is only a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Message(pub(crate) String);

/// Makes a [`CommandError`] that says what was tried, from an error that says what went wrong.
pub(crate) trait Context<T> {
    /// Adds what was tried.
    fn context(self, tried: impl FnOnce() -> String) -> Result<T, CommandError>;
}

impl<T, E: Error + Send + Sync + 'static> Context<T> for Result<T, E> {
    fn context(self, tried: impl FnOnce() -> String) -> Result<T, CommandError> {
        self.map_err(|source| {
            CommandError::undecided(Tried {
                tried: tried(),
                source: Box::new(source),
            })
        })
    }
}

/// What was tried, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{tried}")]
struct Tried {
    tried: String,
    source: Box<dyn Error + Send + Sync>,
}

macro_rules! undecided_from {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for CommandError {
            fn from(error: $error) -> Self {
                Self::undecided(error)
            }
        })*
    };
}

undecided_from!(
    StoreError,
    oci::ReferenceError,
    gate::ProofError,
    std::sync::Arc<gate::Undecided>,
    Message
);

impl From<gate::NoPolicy> for CommandError {
    fn from(error: gate::NoPolicy) -> Self {
        let hint = match error {
            gate::NoPolicy::NoMatch { .. } => {
                "add one whose `images` match it, or one without `images`, which is about all"
            }
            gate::NoPolicy::Contradiction { .. } => "make the `images` of one of them narrower",
        };
        Self::undecided(error).hint(hint)
    }
}

impl From<gate::PolicySetError> for CommandError {
    fn from(error: gate::PolicySetError) -> Self {
        let hint = match error {
            gate::PolicySetError::Contradiction { .. } => {
                Some("make the `images` of one of them narrower")
            }
            gate::PolicySetError::Empty { .. } => {
                Some("policies are `*.toml` in it, or folders in it with a `policy.toml`")
            }
            _ => None,
        };
        hint.into_iter().fold(Self::undecided(error), Self::hint)
    }
}

/// Several things in one text: `a`, `b` and `c`.
pub(crate) fn list(items: &[String]) -> String {
    joined(items, "and")
}

/// The same of which none is there: `a`, `b` or `c`.
pub(crate) fn either(items: &[String]) -> String {
    joined(items, "or")
}

fn joined(items: &[String], word: &str) -> String {
    let mut text = String::new();
    for (at, item) in items.iter().enumerate() {
        let separator = match at {
            0 => "",
            _ if at + 1 == items.len() => &format!(" {word} "),
            _ => ", ",
        };
        write!(text, "{separator}`{item}`").unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer: inner")]
        struct Outer(#[source] Message);

        let error = CommandError::undecided(Outer(Message("inner".to_owned()))).hint("try again");
        assert_eq!(said(&error), ["error: outer: inner", "hint: try again"]);
    }

    #[test]
    fn how_a_client_came_to_its_error_is_left_out() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Step(&'static str, #[source] Option<Box<Step>>);

        let chain = |deepest| {
            let step = |text, inner| Step(text, Some(Box::new(inner)));
            let connect = step("tcp connect error", Step(deepest, None));
            CommandError::undecided(step("failed", step("client error (Connect)", connect)))
        };
        assert_eq!(
            said(&chain("Connection refused")),
            ["error: failed", "  cause: Connection refused"]
        );
        let query = "DNS error: no records found for Query { name: Name(\"a.example.\") }";
        assert_eq!(
            said(&chain(query)),
            ["error: failed", "  cause: host name not found (DNS)"]
        );
        // Where there is nothing behind it, it is all that is known.
        assert_eq!(
            said(&chain("error sending request")),
            ["error: failed", "  cause: error sending request"]
        );
    }

    #[test]
    fn what_to_do_about_a_finding_stands_below_it() {
        let hint = |text: &str| Some(text.to_owned());
        let error = CommandError::rejected(Message("no".to_owned()))
            .finding_with("a", hint("mend"))
            .finding_with("b", hint("mend"))
            .finding_with("c", None)
            .finding_with("d", hint("mend"))
            .note("e");
        assert_eq!(
            said(&error),
            [
                "error: no",
                "  finding: a",
                "  finding: b",
                "    hint: mend",
                "  finding: c",
                "  finding: d",
                "    hint: mend",
                "  note: e",
            ]
        );
    }

    fn said(error: &CommandError) -> Vec<String> {
        let line = |it: Line| format!("{:1$}{2}: {3}", "", 2 * it.depth, it.label, it.text);
        error.lines().into_iter().map(line).collect()
    }

    #[test]
    fn lists_read_as_sentences() {
        let items = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(list(&items), "`a`, `b` and `c`");
        assert_eq!(list(&items[..2]), "`a` and `b`");
        assert_eq!(list(&items[..1]), "`a`");
        assert_eq!(either(&items), "`a`, `b` or `c`");
    }
}
