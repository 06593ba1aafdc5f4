//! Where a token may be found without being asked for: variables and files of CI systems.

use std::collections::BTreeMap;
use std::path::PathBuf;

use net::{Question, Secret, ServiceError, Services};
use serde::Deserialize;
use url::Url;

use super::{IdentityToken, MAX_BYTES, TokenError};
use crate::error::{Said, place};

/// What surrounds the program.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Surroundings {
    /// The environment's variables.
    pub variables: BTreeMap<String, String>,
    /// Files that hold a token where they are there, in order.
    pub files: Vec<PathBuf>,
}

/// Finds a token for `audience`: in `SIGSTORE_ID_TOKEN` (where GitLab puts it), by asking GitHub
/// Actions, in one of the files.
pub async fn find(
    surroundings: &Surroundings,
    audience: &str,
    services: &Services,
) -> Result<Option<IdentityToken>, AmbientError> {
    let set = |name: &str| {
        let variable = surroundings.variables.get(name);
        variable.map(|it| it.trim()).filter(|it| !it.is_empty())
    };
    let parse = |origin: &str, text: &Secret| {
        IdentityToken::parse(text).map_err(|source| AmbientError::Token {
            origin: origin.to_owned(),
            source,
        })
    };
    if let Some(text) = set("SIGSTORE_ID_TOKEN") {
        return parse("`SIGSTORE_ID_TOKEN`", &text.into()).map(Some);
    }
    let github = (
        set("ACTIONS_ID_TOKEN_REQUEST_URL"),
        set("ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
    );
    if let (Some(url), Some(token)) = github {
        let text = of_github(url, &token.into(), audience, services).await?;
        return parse("GitHub Actions", &text).map(Some);
    }
    for path in &surroundings.files {
        if let Some(text) = read(path)? {
            return parse(&format!("`{}`", path.display()), &text).map(Some);
        }
    }
    Ok(None)
}

/// <https://docs.github.com/en/actions/reference/openid-connect-reference>
async fn of_github(
    url: &str,
    token: &Secret,
    audience: &str,
    services: &Services,
) -> Result<Secret, AmbientError> {
    #[derive(Deserialize)]
    struct Issued {
        value: String,
    }

    let mut url = Url::parse(url).ok().ok_or(AmbientError::Address)?;
    url.query_pairs_mut().append_pair("audience", audience);
    let question = Question::get(url.clone())
        .bearer(token.clone())
        .limit(MAX_BYTES as u64 * 2);
    let answer = services.ask(&question).await;
    let answer = answer.map_err(AmbientError::Unreachable)?;
    if !answer.status.is_success() {
        return Err(AmbientError::Refused {
            place: place(&url),
            source: Said(answer.words(&[token])),
        });
    }
    // The error is dropped because it may quote a secret.
    let issued: Option<Issued> = serde_json::from_slice(&answer.body).ok();
    issued
        .map(|it| it.value.into())
        .ok_or_else(|| AmbientError::Answer { place: place(&url) })
}

fn read(path: &PathBuf) -> Result<Option<Secret>, AmbientError> {
    use std::io::Read as _;

    let failed = |source| AmbientError::Read {
        path: path.clone(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(MAX_BYTES as u64 + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(Some(text.into()))
}

/// Why no token was found where one should be.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has its own hint")]
pub enum AmbientError {
    /// What was found is no good.
    #[error("the identity token of {origin} cannot be used")]
    Token {
        /// Where it was found.
        origin: String,
        /// Why.
        source: TokenError,
    },
    /// A variable names no address.
    #[error("malformed `ACTIONS_ID_TOKEN_REQUEST_URL`")]
    Address,
    /// GitHub gave no answer.
    #[error("failed to ask GitHub for an identity token")]
    Unreachable(#[source] ServiceError),
    /// GitHub said no.
    #[error("`{place}` did not give an identity token")]
    Refused {
        /// Who.
        place: String,
        /// What it said.
        source: Said,
    },
    /// GitHub answered with something else.
    #[error("malformed answer of `{place}`: no identity token")]
    Answer {
        /// Who.
        place: String,
    },
    /// A file could not be read.
    #[error("failed to read the identity token `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "e30.eyJleHAiOjEsInN1YiI6InMifQ.c2ln";

    fn surrounded(variables: &[(&str, &str)]) -> Surroundings {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Surroundings {
            variables: variables.iter().map(text).collect(),
            files: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_variable_is_enough_and_an_empty_one_is_none() {
        let services = Services::default();
        let given = surrounded(&[("SIGSTORE_ID_TOKEN", TOKEN)]);
        let found = find(&given, "sigstore", &services).await.unwrap();
        assert_eq!(found.unwrap().subject(), "s");
        for variables in [
            &[("SIGSTORE_ID_TOKEN", "")][..],
            &[("ACTIONS_ID_TOKEN_REQUEST_URL", "https://x.example/")],
            &[("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t")],
        ] {
            let found = find(&surrounded(variables), "sigstore", &services).await;
            assert!(found.unwrap().is_none(), "{variables:?}");
        }
    }

    #[tokio::test]
    async fn what_is_there_and_no_token_is_not_passed_over() {
        let given = surrounded(&[("SIGSTORE_ID_TOKEN", "hunter2")]);
        let error = find(&given, "sigstore", &Services::default()).await;
        let error = error.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the identity token of `SIGSTORE_ID_TOKEN` cannot be used"
        );
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn a_token_is_not_asked_for_in_the_open() {
        let given = surrounded(&[
            ("ACTIONS_ID_TOKEN_REQUEST_URL", "http://x.example/?a=b"),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "hunter2"),
        ]);
        let error = find(&given, "sigstore", &Services::default()).await;
        assert!(matches!(error, Err(AmbientError::Unreachable(_))));
    }
}
