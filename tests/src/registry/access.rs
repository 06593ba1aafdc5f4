//! Who may do what in the registry of a test.

use std::collections::BTreeMap;

use hyper::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Method, StatusCode};
use serde_json::json;

use super::State;
use super::server::{Answer, error, json_answer, query_of};

/// Who may do what.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum Login {
    /// All, everybody.
    #[default]
    Open,
    /// All, whoever has this name and password.
    Basic {
        /// The name.
        username: &'static str,
        /// The password.
        password: &'static str,
    },
    /// What a token says that the registry hands out itself, under `/token`.
    Token {
        /// The name for which it hands out tokens for all.
        username: &'static str,
        /// The password to it, and also the identity token.
        password: &'static str,
        /// Whether it hands out tokens to read to everybody.
        anonymous_pull: bool,
        /// How many requests a token is good for.
        uses: Option<usize>,
        /// Where the registry says that tokens are to be had, if not from itself.
        realm: Option<String>,
        /// Whether it knows of OAuth 2: identity tokens, by POST.
        oauth: bool,
    },
}

impl Login {
    /// Tokens for `username` with `password`, and for everybody to read.
    pub fn token(username: &'static str, password: &'static str) -> Self {
        Self::Token {
            username,
            password,
            anonymous_pull: true,
            uses: None,
            realm: None,
            oauth: true,
        }
    }
}

/// A token that was handed out.
#[derive(Debug)]
pub(super) struct Token {
    /// `repository:NAME:ACTION`, one action each.
    scopes: Vec<String>,
    uses_left: Option<usize>,
}

/// Whether the request may pass; else what to answer.
pub(super) fn check(
    state: &State,
    method: &Method,
    path: &str,
    query: &BTreeMap<String, String>,
    headers: &HeaderMap,
) -> Result<(), Answer> {
    let login = state.switches().login.clone();
    let sent = headers
        .get(AUTHORIZATION)
        .and_then(|it| it.to_str().ok())
        .unwrap_or("");
    match login {
        Login::Open => Ok(()),
        Login::Basic { username, password } => {
            if sent == basic(username, password) {
                Ok(())
            } else {
                Err(challenge("Basic realm=\"test\"".to_owned(), sent))
            }
        }
        Login::Token { realm, .. } => {
            let needed = needed(method, path, query);
            let mut tokens = state.tokens();
            let token = sent
                .strip_prefix("Bearer ")
                .and_then(|it| tokens.get_mut(it))
                .filter(|it| it.uses_left != Some(0));
            if let Some(token) = token
                && needed.iter().all(|it| token.scopes.contains(it))
            {
                token.uses_left = token.uses_left.map(|it| it - 1);
                return Ok(());
            }
            let realm = realm.unwrap_or_else(|| format!("http://{}/token", state.address));
            Err(challenge(
                format!("Bearer realm=\"{realm}\",service=\"test\""),
                sent,
            ))
        }
    }
}

/// Hands out tokens: `GET /token?service=…&scope=…` and `POST /token`.
pub(super) fn token(
    state: &State,
    method: &Method,
    line: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer {
    let Login::Token {
        username,
        password,
        anonymous_pull,
        uses,
        oauth,
        ..
    } = state.switches().login.clone()
    else {
        return error(StatusCode::NOT_FOUND, "UNSUPPORTED", "no tokens here");
    };
    let form = String::from_utf8_lossy(body);
    let sent = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    let (known, scopes) = if *method == Method::POST {
        if !oauth {
            return error(StatusCode::NOT_FOUND, "UNSUPPORTED", "no OAuth 2 here");
        }
        let fields = query_of(&form);
        let known = fields.get("refresh_token").map(String::as_str) == Some(password);
        (Some(known), all_of(&form, "scope"))
    } else {
        let expected = [basic(username, password), basic("<token>", password)];
        let known = sent.map(|it| expected.iter().any(|expected| it == expected));
        let query = line.split_once('?').map_or("", |(_, query)| query);
        (known, all_of(query, "scope"))
    };
    let scopes: Vec<String> = scopes
        .iter()
        .flat_map(|it| it.split(' '))
        .flat_map(|scope| {
            let (resource, actions) = scope.rsplit_once(':').unwrap_or((scope, ""));
            actions
                .split(',')
                .map(move |action| format!("{resource}:{action}"))
        })
        .filter(|it| known == Some(true) || (anonymous_pull && it.ends_with(":pull")))
        .collect();
    if known == Some(false) {
        let message = format!("wrong credential {}", sent.unwrap_or(""));
        return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", &message);
    }
    let mut tokens = state.tokens();
    let text = format!("token-{}", tokens.len() + 1);
    tokens.insert(
        text.clone(),
        Token {
            scopes,
            uses_left: uses,
        },
    );
    json_answer(StatusCode::OK, &json!({ "token": text, "expires_in": 300 }))
}

/// What a request needs: `repository:NAME:ACTION`.
fn needed(method: &Method, path: &str, query: &BTreeMap<String, String>) -> Vec<String> {
    let Some((name, kind, _)) = super::server::split(path) else {
        return Vec::new();
    };
    let action = match *method {
        Method::GET | Method::HEAD if kind != "uploads" => "pull",
        Method::DELETE if kind != "uploads" => "delete",
        _ => "push",
    };
    let mut needed = vec![format!("repository:{name}:{action}")];
    if let Some(from) = query.get("from") {
        needed.push(format!("repository:{from}:pull"));
    }
    needed
}

fn challenge(text: String, sent: &str) -> Answer {
    // It echoes what it was sent, as some do.
    let message = format!("authentication required, not {sent}");
    let mut answer = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", &message);
    answer.headers.push((WWW_AUTHENTICATE, text));
    answer
}

fn all_of(query: &str, name: &str) -> Vec<String> {
    super::server::pairs_of(query)
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value)
        .collect()
}

fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        base64(format!("{username}:{password}").as_bytes())
    )
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let word = (0..3).fold(0_usize, |word, at| {
                word << 8 | usize::from(chunk.get(at).copied().unwrap_or(0))
            });
            (0..4).map(move |at| {
                if at > chunk.len() {
                    '='
                } else {
                    ALPHABET
                        .get(word >> (18 - 6 * at) & 63)
                        .map_or('=', |b| char::from(*b))
                }
            })
        })
        .collect()
}
