//! Credentials that a helper program keeps.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use zeroize::Zeroizing;

use super::{CredentialsError, MAX_BYTES, wire};
use crate::Registry;

/// A helper that unlocks a keyring may wait for its user; one that hangs may not.
const TIMEOUT: Duration = Duration::from_mins(2);

/// What helpers print, on standard output, where they have nothing. Also an exit code other than 0.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// What becomes of a helper's standard error.
#[derive(Clone, Copy)]
pub(super) enum Words {
    /// Nobody sees it: there may be a secret in it.
    Kept,
    /// It goes where ours goes, as Docker and upstream's lifecycle have it.
    Passed,
}

/// Asks `docker-credential-NAME` for the credential of a registry: who, and the secret. Nothing is neither
/// of them.
///
/// <https://github.com/docker/docker-credential-helpers>
pub(super) async fn ask(
    name: &str,
    registry: &str,
    words: Words,
) -> Result<Option<(String, String)>, CredentialsError> {
    let server = server_of(registry).as_bytes();
    let output = match run(name, "get", registry, server, words).await? {
        Ok(output) => output,
        Err(words) if words == NOT_FOUND => return Ok(None),
        Err(words) => return Err(failed(name, registry, words)),
    };
    let (username, secret) = wire::answer(&output)
        .ok_or_else(|| failed(name, registry, "its answer is malformed".to_owned()))?;
    Ok((!username.is_empty() || !secret.is_empty()).then_some((username, secret)))
}

/// Has the helper keep a credential.
pub(super) async fn store(
    name: &str,
    registry: &str,
    username: &str,
    secret: &str,
) -> Result<(), CredentialsError> {
    let request = Request {
        server_url: server_of(registry),
        username,
        secret,
    };
    let input = Zeroizing::new(
        serde_json::to_vec(&request).map_err(|error| failed(name, registry, error.to_string()))?,
    );
    match run(name, "store", registry, &input, Words::Kept).await? {
        Ok(_) => Ok(()),
        Err(words) => Err(failed(name, registry, words)),
    }
}

/// Has the helper forget a credential. What it does not have is no error.
pub(super) async fn erase(name: &str, registry: &str) -> Result<(), CredentialsError> {
    let server = server_of(registry).as_bytes();
    match run(name, "erase", registry, server, Words::Kept).await? {
        Ok(_) => Ok(()),
        Err(words) if words == NOT_FOUND => Ok(()),
        Err(words) => Err(failed(name, registry, words)),
    }
}

/// What the helper of this name is called as a program.
pub(super) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// Docker keeps its own registry under an address of old.
fn server_of(registry: &str) -> &str {
    if registry == Registry::DOCKER_HUB {
        "https://index.docker.io/v1/"
    } else {
        registry
    }
}

/// Runs a helper; its output, or in the inner error what it says where it fails.
async fn run(
    name: &str,
    action: &str,
    registry: &str,
    input: &[u8],
    words: Words,
) -> Result<Result<Zeroizing<Vec<u8>>, String>, CredentialsError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        // The name comes from a file and becomes part of a path.
        return Err(failed(name, registry, "its name is malformed".to_owned()));
    }
    let mut command = Command::new(program(name));
    command.arg(action).stderr(match words {
        Words::Kept => Stdio::null(),
        Words::Passed => Stdio::inherit(),
    });
    match exchange(command, input, TIMEOUT).await {
        Ok((status, output)) if status.success() => Ok(Ok(output)),
        Ok((_, output)) => Ok(Err(String::from_utf8_lossy(&output).trim().to_owned())),
        Err(error) => Err(failed(name, registry, error.to_string())),
    }
}

/// Runs a program: how it ended, and what it wrote, of which no more is read than a limit. One that
/// does not end in time is killed.
async fn exchange(
    mut command: Command,
    input: &[u8],
    timeout: Duration,
) -> io::Result<(ExitStatus, Zeroizing<Vec<u8>>)> {
    let exchange = async {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read its input says why by other means.
            drop(stdin.write_all(input).await);
        }
        let mut output = Zeroizing::new(Vec::new());
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_BYTES).read_to_end(&mut output).await?;
        }
        Ok((child.wait().await?, output))
    };
    tokio::time::timeout(timeout, exchange)
        .await
        .unwrap_or_else(|_| Err(io::Error::other("it did not answer")))
}

pub(super) fn failed(name: &str, registry: &str, problem: String) -> CredentialsError {
    CredentialsError::Helper {
        helper: program(name),
        registry: registry.to_owned(),
        problem,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'a str,
    secret: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_helper_with_a_path_for_a_name_does_not_run() {
        for name in ["", "../../bin/sh", "x/y", "a b"] {
            let asked = ask(name, "r.example", Words::Kept).await;
            let error = asked.unwrap_err().to_string();
            assert!(error.contains("its name is malformed"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_an_error() {
        let asked = ask("surely-not-installed", "r.example", Words::Kept).await;
        assert!(asked.is_err());
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id");
        let script = format!("echo $$ > {}; exec sleep 1000", path.display());
        let wait = Duration::from_secs(1);
        let deadline =
            tokio::time::timeout(Duration::from_secs(20), exchange(shell(&script), b"", wait));
        let error = deadline.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "it did not answer");
        let id = fs_err::read_to_string(path).unwrap();
        let arguments = format!("/proc/{}/cmdline", id.trim());
        // Dead, if not buried.
        let is_gone = || fs_err::read(&arguments).map_or(true, |it| it.is_empty());
        let gone = async {
            while !is_gone() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_helper_need_not_read_what_it_is_told() {
        // More than waits in a pipe.
        let input = vec![b'x'; 1 << 20];
        let wait = Duration::from_mins(1);
        let (status, output) = exchange(shell("echo no"), &input, wait).await.unwrap();
        assert!(status.success());
        assert_eq!(*output, b"no\n");
    }

    #[tokio::test]
    async fn no_more_is_read_of_a_helper_than_a_limit() {
        let wait = Duration::from_mins(1);
        let long = exchange(shell("exec head -c 16777216 /dev/zero"), b"", wait).await;
        let (status, output) = long.unwrap();
        assert!(!status.success());
        assert_eq!(output.len() as u64, MAX_BYTES);
    }
}
