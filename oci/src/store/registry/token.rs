//! Tokens, and what they are for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
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

/// What a request needs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Scopes {
    /// By the path of the repository.
    ours: BTreeMap<String, Access>,
    /// What the registry asks for beside that: what is behind a proxy is there under another path.
    asked: BTreeSet<String>,
}

/// How many scopes a registry may ask for beside ours.
const MAX_ASKED: usize = 16;

impl Scopes {
    pub(super) fn with(mut self, path: &str, access: Access) -> Self {
        let held = self.ours.entry(path.to_owned()).or_insert(access);
        *held = access.max(*held);
        self
    }

    /// Adds what a registry says that it wants: scopes with blanks between.
    pub(super) fn ask(&mut self, scopes: &str) {
        let is_ours = |scope: &str| {
            let parts = scope
                .strip_prefix("repository:")
                .and_then(|it| it.rsplit_once(':'));
            parts.is_some_and(|(path, actions)| {
                self.ours.get(path).is_some_and(|held| {
                    let mut held = held.actions().split(',').collect::<Vec<_>>();
                    held.push("");
                    actions.split(',').all(|it| held.contains(&it))
                })
            })
        };
        let asked = scopes.split_whitespace().filter(|it| !is_ours(it));
        self.asked = asked.take(MAX_ASKED).map(str::to_owned).collect();
    }

    /// Whether whoever may do `self` may do `other`.
    fn covers(&self, other: &Self) -> bool {
        let mut ours = other.ours.iter();
        ours.all(|(path, access)| self.ours.get(path).is_some_and(|held| held >= access))
            && other.asked.is_subset(&self.asked)
    }

    /// As token servers want them: `repository:PATH:ACTIONS`.
    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        let ours = self.ours.iter();
        ours.map(|(path, access)| format!("repository:{path}:{}", access.actions()))
            .chain(self.asked.iter().cloned())
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
    ///
    /// Token servers are read as programs in Go do it: letters of names in any case, the last of a name
    /// that is there twice; how long a token lives is a hint.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
        let raw = |name: &str| {
            let alike = || fields.iter().find(|(it, _)| it.eq_ignore_ascii_case(name));
            fields.get(name).or_else(|| Some(alike()?.1)).copied()
        };
        let token = ["token", "access_token"]
            .into_iter()
            .filter_map(|it| read::<String>(raw(it)?))
            .find(|it| !it.is_empty())
            .filter(|it| it.bytes().all(|b| b.is_ascii_graphic()))?;
        let life = raw("expires_in");
        let expires_in =
            life.and_then(|it| read::<u64>(it).or_else(|| read::<String>(it)?.parse().ok()));
        Some(Self {
            token: token.into(),
            expires_in,
        })
    }
}

fn read<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
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
        assert!(is_good(r#""300""#, 200));
        for life in ["0", "-1", "0.5", "null", "{}", r#""""#] {
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
    fn what_a_registry_asks_for_is_asked_for_beside_ours() {
        let ours = Scopes::default().with("app", Access::Push);
        let mut asked = ours.clone();
        asked.ask("repository:app:pull repository:app:pull,push repository:tenant/app:pull registry:catalog:* repository:app:*");
        assert_eq!(
            asked.texts().collect::<Vec<_>>(),
            [
                "repository:app:push,pull",
                "registry:catalog:*",
                "repository:app:*",
                "repository:tenant/app:pull",
            ]
        );
        assert!(asked.covers(&ours));
        assert!(!ours.covers(&asked));
        let many: Vec<_> = (0..100).map(|it| format!("a:{it}")).collect();
        asked.ask(&many.join(" "));
        assert_eq!(asked.texts().count(), 1 + MAX_ASKED);
    }

    #[test]
    fn a_token_is_read_as_programs_in_go_read_it() {
        for text in [
            r#"{"Token":"t"}"#,
            r#"{"token":"s","token":"t"}"#,
            r#"{"token":null,"access_token":"t","expires_in":{}}"#,
            r#"{"token":"","access_token":"t","expires_in":1e999}"#,
        ] {
            assert_eq!(answer(text).token.reveal(), "t", "{text}");
        }
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
