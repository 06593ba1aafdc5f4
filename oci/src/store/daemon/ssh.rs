//! A daemon that is reached through `ssh`.

use std::fmt;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, Join};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use url::Url;

/// Bytes that are kept of what `ssh` says.
const MAX_WORDS: usize = 4 << 10;
/// How long is waited for what it says when it fails.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A machine that `ssh` reaches, with a Docker daemon on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SshTarget {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// The daemon's socket there, if it is not where that machine's `docker` looks for it.
    socket: Option<String>,
}

impl SshTarget {
    /// Of `ssh://[user@]host[:port][/socket]`. All of it becomes arguments of `ssh`, and the path
    /// a word of the shell there: so nothing but plain characters is taken.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let plain = |text: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-:/[]".contains(&b);
            !text.starts_with('-') && text.bytes().all(plain)
        };
        let some = |text: &str| Some(text.to_owned()).filter(|it| !it.is_empty());
        let target = Self {
            user: some(url.username()),
            host: url.host_str()?.trim_matches(['[', ']']).to_owned(),
            port: url.port(),
            socket: some(url.path()).filter(|it| it != "/"),
        };
        let all_plain = [
            Some(&target.host),
            target.user.as_ref(),
            target.socket.as_ref(),
        ]
        .into_iter()
        .flatten()
        .all(|it| plain(it));
        (all_plain && url.password().is_none() && url.query().is_none()).then_some(target)
    }

    /// The arguments of `ssh`, as Docker's own program gives them.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "-o".to_owned(),
            "ConnectTimeout=30".to_owned(),
            "-T".to_owned(),
        ];
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.extend(["--", &self.host, "docker"].map(str::to_owned));
        if let Some(socket) = &self.socket {
            arguments.extend(["--host".to_owned(), format!("unix://{socket}")]);
        }
        arguments.extend(["system", "dial-stdio"].map(str::to_owned));
        arguments
    }

    /// Starts `ssh`. Whether it gets through shows when it is used.
    pub(super) fn start(&self) -> io::Result<(Join<ChildStdout, ChildStdin>, Ssh)> {
        let mut child = Command::new("ssh")
            .args(self.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("`ssh` has no pipes");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let words = Words::default();
        let ssh = Ssh {
            listening: tokio::spawn(listen(stderr, Arc::clone(&words))),
            words,
            _child: child,
        };
        Ok((tokio::io::join(stdout, stdin), ssh))
    }
}

impl fmt::Display for SshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.socket.as_deref().unwrap_or_default())
    }
}

/// A running `ssh`. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Ssh {
    listening: JoinHandle<()>,
    words: Words,
    _child: Child,
}

/// What it has said so far.
type Words = Arc<Mutex<Vec<u8>>>;

impl Ssh {
    /// What it said, in the end, about why it failed.
    pub(super) async fn words(self) -> String {
        // It has ended, or is about to; but what it left running may hold the pipe open for long.
        drop(timeout(LAST_WORDS, self.listening).await);
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let words = String::from_utf8_lossy(&words);
        let lines = words.lines().map(str::trim).filter(|it| !it.is_empty());
        lines.collect::<Vec<_>>().join("; ")
    }
}

/// Keeps the beginning of what it says.
async fn listen(mut stderr: ChildStderr, words: Words) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_WORDS.saturating_sub(words.len());
        words.extend(buffer.iter().take(count.min(room)));
    }
}
