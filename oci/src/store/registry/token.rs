//! Tokens, and what they are for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::auth::Secret;

/// What we want to do with a repository. Each includes those before it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Access {
    Pull,
    Push,
    Delete,
}

impl Access {
    fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push,pull",
            Self::Delete => "push,pull,delete",
        }
    }
}

/// What a request needs, by the path of the repository.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Scopes(BTreeMap<String, Access>);

impl Scopes {
    pub(super) fn with(mut self, path: &str, access: Access) -> Self {
        let held = self.0.entry(path.to_owned()).or_insert(access);
        *held = access.max(*held);
        self
    }

    /// Whether whoever may do `self` may do `other`.
    fn covers(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|(path, access)| self.0.get(path).is_some_and(|held| held >= access))
    }

    /// As token servers want them: `repository:PATH:ACTIONS`.
    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .map(|(path, access)| format!("repository:{path}:{}", access.actions()))
    }
}

/// The tokens of one registry.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<Token>);

#[derive(Debug)]
struct Token {
    scopes: Scopes,
    text: Secret,
    expires: Instant,
}

/// A token is not used in its last moments: a request takes time.
const MARGIN: Duration = Duration::from_secs(5);
/// What a token lives where the server does not say; the specification has it so.
const DEFAULT_LIFE: u64 = 60;
/// No token is believed to live longer, whatever the server says.
const MAX_LIFE: u64 = 24 * 60 * 60;

impl Tokens {
    /// A token that is still good for `scopes`.
    pub(super) fn covering(&mut self, scopes: &Scopes, now: Instant) -> Option<Secret> {
        self.0.retain(|it| it.expires > now);
        self.0
            .iter()
            .find(|it| it.scopes.covers(scopes))
            .map(|it| it.text.clone())
    }

    /// Keeps what a token server answered.
    pub(super) fn keep(&mut self, scopes: Scopes, answer: TokenAnswer, now: Instant) -> Secret {
        let life = answer
            .expires_in
            .filter(|it| *it > 0)
            .unwrap_or(DEFAULT_LIFE)
            .min(MAX_LIFE);
        let life = Duration::from_secs(life);
        // One that lives shorter than the margin is still good for one request.
        self.0.push(Token {
            scopes,
            text: answer.token.clone(),
            expires: now + life.checked_sub(MARGIN).unwrap_or(life / 2),
        });
        answer.token
    }

    /// Forgets a token that the registry did not take.
    pub(super) fn forget(&mut self, text: &str) {
        self.0.retain(|it| it.text.reveal() != text);
    }
}

/// What a token server answers.
///
/// <https://distribution.github.io/distribution/spec/auth/token/>,
/// <https://distribution.github.io/distribution/spec/auth/oauth/>
#[derive(Debug)]
pub(super) struct TokenAnswer {
    pub(super) token: Secret,
    expires_in: Option<u64>,
}

impl TokenAnswer {
    /// `None` if it is malformed, or holds no token that could stand in a header.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(default)]
            token: Option<String>,
            #[serde(default)]
            access_token: Option<String>,
            #[serde(default)]
            expires_in: Option<serde_json::Number>,
        }
        let raw: Raw = serde_json::from_slice(body).ok()?;
        let token = [raw.token, raw.access_token]
            .into_iter()
            .flatten()
            .find(|it| !it.is_empty())
            .filter(|it| it.bytes().all(|b| b.is_ascii_graphic()))?;
        Some(Self {
            token: token.into(),
            expires_in: raw.expires_in.and_then(|it| it.as_u64()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> TokenAnswer {
        TokenAnswer::parse(text.as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_token_serves_all_that_it_covers_until_it_expires() {
        let pull = Scopes::default().with("a", Access::Pull);
        let push = Scopes::default().with("a", Access::Push);
        let mount = push.clone().with("b", Access::Pull);
        let now = Instant::now();
        let mut tokens = Tokens::default();
        tokens.keep(
            push.clone(),
            answer(r#"{"token":"t","expires_in":100}"#),
            now,
        );
        assert!(tokens.covering(&pull, now).is_some());
        assert!(tokens.covering(&push, now).is_some());
        assert!(tokens.covering(&mount, now).is_none());
        assert!(
            tokens
                .covering(&pull, now + Duration::from_secs(96))
                .is_none()
        );

        tokens.keep(pull.clone(), answer(r#"{"access_token":"u"}"#), now);
        tokens.forget("t");
        assert!(tokens.covering(&push, now).is_none());
        assert!(tokens.covering(&pull, now).is_some());
        tokens.forget("u");
        assert!(tokens.covering(&pull, now).is_none());
    }

    #[tokio::test]
    async fn no_token_lives_for_ever_and_none_for_no_time() {
        let scopes = Scopes::default().with("a", Access::Pull);
        let now = Instant::now();
        let is_good = |life: &str, after: u64| {
            let mut tokens = Tokens::default();
            let text = format!(r#"{{"token":"t","expires_in":{life}}}"#);
            tokens.keep(scopes.clone(), answer(&text), now);
            tokens
                .covering(&scopes, now + Duration::from_secs(after))
                .is_some()
        };
        assert!(is_good("18446744073709551615", MAX_LIFE - 10));
        assert!(!is_good("18446744073709551615", MAX_LIFE));
        for life in ["0", "-1", "0.5", "null"] {
            assert!(is_good(life, DEFAULT_LIFE - 10), "{life}");
            assert!(!is_good(life, DEFAULT_LIFE), "{life}");
        }
        // A short life is not cut to nothing.
        assert!(is_good("2", 0));
        assert!(!is_good("2", 2));
    }

    #[test]
    fn a_scope_asks_for_the_most_that_is_needed() {
        let scopes = Scopes::default()
            .with("b", Access::Push)
            .with("a", Access::Pull)
            .with("b", Access::Pull)
            .with("a", Access::Delete);
        assert_eq!(
            scopes.texts().collect::<Vec<_>>(),
            ["repository:a:push,pull,delete", "repository:b:push,pull"]
        );
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for bad in [
            "",
            "{}",
            r#"{"token":""}"#,
            r#"{"token":"a\r\nHost: x"}"#,
            r#"{"token":1}"#,
        ] {
            assert!(TokenAnswer::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
