//! Repositories elsewhere: brought onto this disk by the user's own `git`, which knows their
//! credentials, proxies and keys.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use url::Url;

/// Where a repository is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "each is reached in its own way")]
pub enum RepositoryPlace {
    /// In a folder on this machine.
    Folder(PathBuf),
    /// Elsewhere: what `git clone` takes.
    Remote(String),
}

impl RepositoryPlace {
    /// Reads a folder, `file://…`, `https://…`, `ssh://…` or `user@host:path`.
    pub fn parse(text: &str) -> Result<Self, CloneError> {
        let unsupported = || CloneError::Unsupported {
            url: if text.contains("://") {
                shown(text)
            } else {
                text.chars().take(200).collect()
            },
        };
        if let Some((scheme, _)) = text.split_once("://") {
            return match scheme {
                "file" => Url::parse(text)
                    .ok()
                    .and_then(|it| it.to_file_path().ok())
                    .map(Self::Folder)
                    .ok_or_else(unsupported),
                "https" | "ssh" => Ok(Self::Remote(text.to_owned())),
                _ => Err(unsupported()),
            };
        }
        // As git has it: a colon before the first slash is of a host.
        let first = text.split('/').next().unwrap_or_default();
        match first.split_once(':') {
            Some(("", _)) | None => Ok(Self::Folder(text.into())),
            Some((host, _)) if host.starts_with('-') || host.contains(':') => Err(unsupported()),
            // `ext::` and the like name helpers that run commands.
            Some((_, rest)) if rest.starts_with(':') => Err(unsupported()),
            Some(_) => Ok(Self::Remote(text.to_owned())),
        }
    }
}

/// Clones what is at `url`, all branches and tags, into the folder `to`, by the program `git`.
///
/// git asks for no password, speaks HTTPS and SSH only, and runs nothing of the repository.
pub fn clone(git: &Path, url: &str, to: &Path) -> Result<(), CloneError> {
    let output = Command::new(git)
        .args([
            "-c",
            "core.hooksPath=/dev/null",
            "clone",
            "--quiet",
            "--bare",
        ])
        .args(["--template=", "--no-hardlinks", "--"])
        .arg(url)
        .arg(to)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", "https:ssh")
        .env("GIT_LFS_SKIP_SMUDGE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            return Err(CloneError::NoGit { url: shown(url) });
        }
        Err(source) => {
            return Err(CloneError::Start { source });
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = match without_credentials(url) {
        Some(bare) => said.replace(url, &bare),
        None => said.into_owned(),
    };
    let said: Vec<_> = said
        .lines()
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .take(4)
        .map(|it| it.chars().take(300).collect::<String>())
        .collect();
    Err(CloneError::Failed {
        url: shown(url),
        said: said.join("; "),
    })
}

/// An address as it may be printed and signed: without user and password. `None` if it is none.
pub fn without_credentials(url: &str) -> Option<String> {
    if url.contains("://") {
        let mut url = Url::parse(url).ok()?;
        // It fails where there can be none.
        url.set_username("").unwrap_or_default();
        url.set_password(None).unwrap_or_default();
        url.set_query(None);
        url.set_fragment(None);
        return Some(url.to_string());
    }
    // `user@host:path`: the user says how to log in.
    let (host, path) = url.split_once(':')?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    (!host.contains('/') && !host.is_empty())
        .then(|| format!("ssh://{host}/{}", path.trim_start_matches('/')))
}

fn shown(url: &str) -> String {
    without_credentials(url).unwrap_or_else(|| url.chars().take(200).collect())
}

/// Why a repository elsewhere cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloneError {
    /// It is not an address that is known.
    #[error("`{url}` is not a folder, `file://`, `https://` or `ssh://`")]
    Unsupported {
        /// What was given.
        url: String,
    },
    /// The program is missing.
    #[error("`{url}` is elsewhere, and the program `git`, which would bring it, is missing")]
    NoGit {
        /// What was to be cloned.
        url: String,
    },
    /// The program does not start.
    #[error("`git` does not start")]
    Start {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// git could not.
    #[error("`{url}` could not be cloned: {said}")]
    Failed {
        /// What was to be cloned.
        url: String,
        /// What git said.
        said: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart_as_git_does() {
        let remote = |it: &str| Ok(RepositoryPlace::Remote(it.to_owned()));
        let folder = |it: &str| Ok(RepositoryPlace::Folder(it.into()));
        let none = || Err(());
        for (text, expected) in [
            (".", folder(".")),
            ("a/b:c", folder("a/b:c")),
            ("file:///a/b", folder("/a/b")),
            ("https://h.example/a", remote("https://h.example/a")),
            ("git@h.example:a/b", remote("git@h.example:a/b")),
            ("ssh://h.example/a", remote("ssh://h.example/a")),
            ("http://h.example/a", none()),
            ("git://h.example/a", none()),
            ("ext::sh -c x", none()),
            ("-oProxyCommand=x:y", none()),
            ("file://host/a", none()),
        ] {
            assert_eq!(
                RepositoryPlace::parse(text).map_err(drop),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn credentials_are_not_told() {
        for (url, expected) in [
            (
                "https://me:secret@h.example/a?t=secret#x",
                Some("https://h.example/a"),
            ),
            ("ssh://git@h.example/a", Some("ssh://h.example/a")),
            ("git@h.example:a/b.git", Some("ssh://h.example/a/b.git")),
            ("/srv/git/a", None),
        ] {
            assert_eq!(without_credentials(url).as_deref(), expected, "{url}");
        }
    }
}
