//! Token servers that fail, or are not what they should be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oci::auth::{Credential, Credentials};
use oci::store::RegistryOptions;
use oci::{Selector, Store as _, StoreError};
use testkit::{Asked, Reply, Scripted};

use super::{count, quick, store_at, text_of};

/// A registry that takes the token `good`, and hands out tokens itself, as `token` does it: told how
/// often it was asked before.
fn registry(token: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Scripted {
    let asks = AtomicUsize::new(0);
    Scripted::start(move |asked| {
        if asked.line.contains("/token") {
            return token(asked, asks.fetch_add(1, Ordering::Relaxed));
        }
        let sent = asked.headers.get("authorization").map(String::as_str);
        if sent == Some("Bearer good") {
            return Reply::new(200)
                .header("Content-Type: application/vnd.oci.image.manifest.v1+json")
                .body("{}");
        }
        let realm = format!("http://{}/token", asked.headers["host"]);
        Reply::new(401)
            .header(format!(
                "WWW-Authenticate: Bearer realm=\"{realm}\",service=\"test\""
            ))
            .body("")
    })
}

fn good() -> Reply {
    Reply::new(200).body(r#"{"token":"good"}"#)
}

/// Asks the registry for something; what became of it, and how often it was asked for a token.
async fn ask(server: &Scripted) -> (Result<(), StoreError>, usize) {
    let options = RegistryOptions {
        credentials: Credentials::default()
            .with(&server.host(), Credential::basic("me", "hunter2")),
        document_timeout: Duration::from_millis(300),
        ..quick()
    };
    let store = store_at(&server.host(), options);
    let tag = Selector::Tag("v1".parse().unwrap());
    let asked = tokio::time::timeout(Duration::from_secs(20), store.resolve(&tag));
    let outcome = asked.await.expect("it ends").map(drop);
    (outcome, count(&server.lines(), "/token"))
}

fn is_refused(outcome: &Result<(), StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Refused { .. }))
}

fn is_unavailable(outcome: &Result<(), StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable { .. }))
}

#[tokio::test]
async fn what_may_yet_succeed_is_asked_for_again_and_nothing_else() {
    let server = registry(|_, _| good());
    let (outcome, asks) = ask(&server).await;
    assert!(outcome.is_ok() && asks == 1, "{outcome:?}, {asks}");
    for failure in [
        Reply::none(),
        Reply::new(503).body(""),
        Reply::new(429).body(""),
    ] {
        let once = failure.clone();
        let server = registry(move |_, asks| if asks == 0 { once.clone() } else { good() });
        let (outcome, asks) = ask(&server).await;
        assert!(outcome.is_ok() && asks == 2, "{outcome:?}, {asks}");

        let server = registry(move |_, _| failure.clone());
        let (outcome, asks) = ask(&server).await;
        assert!(is_unavailable(&outcome) && asks == 4, "{outcome:?}, {asks}");
    }
    for status in [400, 401, 403, 404] {
        let server = registry(move |_, _| Reply::new(status).body(""));
        let (outcome, asks) = ask(&server).await;
        assert!(is_refused(&outcome) && asks == 1, "{outcome:?}, {asks}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_not_asked_for_without_end() {
    let server = registry(|_, asks| Reply::new(200).body(format!(r#"{{"token":"bad-{asks}"}}"#)));
    let (outcome, asks) = ask(&server).await;
    assert!(is_refused(&outcome) && asks == 1, "{outcome:?}, {asks}");
    assert_eq!(server.lines().len(), 3);
}

#[tokio::test]
async fn an_answer_that_is_too_large_or_does_not_end_is_given_up() {
    let large = format!(r#"{{"token":"good","x":"{}"}}"#, "x".repeat(2 << 20));
    let server = registry(move |_, _| Reply::new(200).unsized_body(large.clone()));
    let (outcome, asks) = ask(&server).await;
    assert!(is_unavailable(&outcome) && asks == 1, "{outcome:?}, {asks}");
    let server = registry(|_, _| Reply::new(200).then_trickle());
    let (outcome, asks) = ask(&server).await;
    assert!(is_unavailable(&outcome) && asks == 1, "{outcome:?}, {asks}");
}

#[tokio::test]
async fn a_token_server_sends_us_nowhere_else() {
    let other = Scripted::start(|_| good());
    for status in [302, 307] {
        let elsewhere = format!("Location: http://{}/token", other.host());
        let server = registry(move |_, _| Reply::new(status).header(&elsewhere).body(""));
        let (outcome, asks) = ask(&server).await;
        assert!(outcome.is_err() && asks == 1, "{outcome:?}, {asks}");
    }
    assert_eq!(other.lines(), [""; 0]);
}

#[tokio::test]
async fn a_password_that_is_echoed_is_not_shown() {
    let server = registry(|asked, _| {
        let sent = &asked.headers["authorization"];
        Reply::new(401).body(format!("{sent} is of me:hunter2, who is unknown"))
    });
    let (outcome, _) = ask(&server).await;
    let text = text_of(&outcome.unwrap_err());
    assert!(text.contains("unknown"), "{text}");
    for secret in ["hunter2", "bWU6aHVudGVyMg=="] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn many_requests_at_once_ask_for_one_token() {
    let server = registry(|_, _| good());
    let store = store_at(&server.host(), quick());
    let tag = Selector::Digest(oci::Digest::of(b"{}"));
    let asks = (0..8).map(|_| store.resolve(&tag));
    for answer in futures_util::future::join_all(asks).await {
        answer.unwrap();
    }
    assert_eq!(count(&server.lines(), "/token"), 1);
}

#[tokio::test]
async fn an_answer_without_a_token_is_none() {
    let server = registry(|_, _| Reply::new(200).body(r#"{"expires_in":60}"#));
    let (outcome, asks) = ask(&server).await;
    assert!(
        matches!(outcome, Err(StoreError::NoToken { .. })) && asks == 1,
        "{outcome:?}, {asks}"
    );
}

/// A registry may let everybody in at `/v2/`, and want a token elsewhere: then its own answer says more
/// than that of a token server that is not there.
#[tokio::test]
async fn of_a_registry_that_lets_in_who_has_no_token_its_own_answer_is_told() {
    let answer = async |root: u16| {
        let server = Scripted::start(move |asked| {
            let realm = format!("http://{}/token", asked.headers["host"]);
            let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\"");
            if asked.line.contains("/token") {
                return Reply::new(404).body("no token");
            }
            if asked.line == "GET /v2/" {
                return Reply::new(root).header(challenge).body("");
            }
            Reply::new(401).header(challenge).body("no access")
        });
        let (outcome, asks) = ask(&server).await;
        assert_eq!(asks, 1);
        let error = outcome.unwrap_err();
        let answer = error.answer().unwrap();
        let request = answer.request.as_ref().unwrap();
        (answer.status, request.url.contains("/token?"))
    };
    assert_eq!(answer(200).await, (401, false));
    assert_eq!(answer(401).await, (404, true));
}

#[tokio::test]
async fn a_token_server_says_how_long_to_wait() {
    let server = registry(|_, asks| match asks {
        0 => Reply::new(429).header("Retry-After: 1").body(""),
        _ => good(),
    });
    let mut options = quick();
    options.retries.longest = Duration::from_secs(2);
    let store = store_at(&server.host(), options);
    let start = tokio::time::Instant::now();
    store
        .resolve(&Selector::Tag("v1".parse().unwrap()))
        .await
        .unwrap();
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
}

#[tokio::test]
async fn where_no_token_can_be_had_for_another_one_it_serves_as_a_password() {
    for status in [404, 405, 403] {
        let server = registry(move |asked, _| {
            if asked.line.starts_with("POST") {
                return Reply::new(status).body("");
            }
            good()
        });
        let identity = Credential::IdentityToken("refresh-token".into());
        let options = RegistryOptions {
            credentials: Credentials::default().with(&server.host(), identity),
            ..quick()
        };
        let store = store_at(&server.host(), options);
        let outcome = store.resolve(&Selector::Tag("v1".parse().unwrap())).await;
        // A server that knows of them has said no.
        let expected = usize::from(status != 403);
        assert_eq!(outcome.is_ok(), expected == 1, "{outcome:?}");
        assert_eq!(count(&server.lines(), "GET /token"), expected);
    }
}
