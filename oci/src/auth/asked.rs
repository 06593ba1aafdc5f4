//! What helpers have answered, so that who asks for many repositories runs a helper once for a registry: it
//! may ask its user.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{Credential, CredentialsError, Secret, helper};

/// How long an answer is good, also that there is nothing. What helpers give may be valid for an hour, and
/// who runs for days has to ask again.
pub(crate) const GOOD_FOR: Duration = Duration::from_mins(5);

/// Who, and the secret.
type Pair = (String, Secret);

/// An answer and when it came, or why there is none.
type Answer = OnceCell<(Instant, Result<Option<Pair>, String>)>;

/// By the name of the helper, and what it is asked for.
type Answers = BTreeMap<(String, String), Arc<Answer>>;

/// The answers of helpers, for all copies of what asks them.
#[derive(Clone)]
pub(super) struct Asked {
    good_for: Duration,
    answers: Arc<Mutex<Answers>>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            good_for: GOOD_FOR,
            answers: Arc::default(),
        }
    }
}

impl Asked {
    /// The credential that the helper `name` has for `registry`.
    pub(super) async fn credential(
        &self,
        name: &str,
        registry: &str,
    ) -> Result<Option<Credential>, CredentialsError> {
        let pair = self.pair(name, registry, helper::Words::Kept).await?;
        Ok(pair.map(|(username, secret)| Credential::of_pair(&username, secret)))
    }

    /// The same as it was said.
    pub(super) async fn pair(
        &self,
        name: &str,
        registry: &str,
        words: helper::Words,
    ) -> Result<Option<Pair>, CredentialsError> {
        let ask = async || {
            let found = helper::ask(name, registry, words).await;
            let found = found.map_err(|error| match error {
                CredentialsError::Helper { problem, .. } => problem,
                other => other.to_string(),
            })?;
            Ok(found.map(|(username, secret)| (username, secret.into())))
        };
        let answer = self.once(name, registry, ask).await;
        answer.map_err(|problem| helper::failed(name, registry, problem))
    }

    /// Asks, unless the same was asked not long ago. Who comes while it is being asked waits, and has the
    /// same answer; that a helper fails is forgotten then, as it may be otherwise the next time.
    async fn once(
        &self,
        name: &str,
        registry: &str,
        ask: impl AsyncFnOnce() -> Result<Option<Pair>, String>,
    ) -> Result<Option<Pair>, String> {
        let key = (name.to_owned(), registry.to_owned());
        let answer = {
            let mut answers = self.answers();
            answers.retain(|_, it| {
                it.get()
                    .is_none_or(|(since, _)| since.elapsed() < self.good_for)
            });
            answers.entry(key.clone()).or_default().clone()
        };
        let asking = async || {
            let found = ask().await;
            (Instant::now(), found)
        };
        let (_, found) = answer.get_or_init(asking).await;
        if found.is_err() {
            let mut answers = self.answers();
            if answers.get(&key).is_some_and(|it| Arc::ptr_eq(it, &answer)) {
                answers.remove(&key);
            }
        }
        found.clone()
    }

    /// Forgets each answer that has one of `secrets`: somebody did not take it.
    pub(super) fn forget(&self, secrets: &[&Secret]) {
        self.answers().retain(|_, answer| {
            let found = answer.get().and_then(|(_, it)| it.as_ref().ok()?.as_ref());
            !found.is_some_and(|(_, secret)| secrets.contains(&secret))
        });
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        // Each change is one insertion or removal: a panic elsewhere leaves nothing half done.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn pair() -> Pair {
        ("me".to_owned(), "x".into())
    }

    #[tokio::test]
    async fn what_was_answered_is_not_asked_again_for_a_while() {
        for (found, good_for, runs) in [
            (Some(pair()), GOOD_FOR, 1),
            (None, GOOD_FOR, 1),
            (None, Duration::ZERO, 3),
        ] {
            let count = AtomicU32::new(0);
            let asked = Asked {
                good_for,
                ..Asked::default()
            };
            let ask = async |registry: &str| {
                let found = async || {
                    count.fetch_add(1, Ordering::Relaxed);
                    Ok(found.clone())
                };
                asked.clone().once("test", registry, found).await.unwrap()
            };
            for _ in 0..3 {
                assert_eq!(ask("a.example").await, found);
            }
            assert_eq!(count.load(Ordering::Relaxed), runs);
            ask("b.example").await;
            assert_eq!(count.load(Ordering::Relaxed), runs + 1);
        }
    }

    #[tokio::test]
    async fn what_was_not_taken_is_asked_again_and_nothing_else() {
        let asked = Asked::default();
        let ask = async |registry: &str, secret: &str| {
            let found = async || Ok(Some(("me".to_owned(), secret.into())));
            let found = asked.once("test", registry, found).await.unwrap();
            found.unwrap().1
        };
        ask("a.example", "old").await;
        ask("b.example", "other").await;
        asked.forget(&[&"old".into()]);
        assert_eq!(ask("a.example", "new").await, "new".into());
        assert_eq!(ask("b.example", "new").await, "other".into());
        // Who was refused with the old one comes late.
        asked.forget(&[&"old".into()]);
        assert_eq!(ask("a.example", "newer").await, "new".into());
    }

    #[tokio::test]
    async fn who_comes_meanwhile_waits_and_a_failure_is_forgotten() {
        for outcome in [Ok(Some(pair())), Err("locked".to_owned())] {
            let (asked, count) = (Asked::default(), AtomicU32::new(0));
            let ask = async || {
                let slow = async || {
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    outcome.clone()
                };
                asked.once("test", "r.example", slow).await
            };
            let both = futures_util::future::join_all((0..8).map(|_| ask())).await;
            assert!(both.iter().all(|it| *it == outcome));
            assert_eq!(count.load(Ordering::Relaxed), 1);
            assert_eq!(ask().await, outcome);
            let expected = if outcome.is_ok() { 1 } else { 2 };
            assert_eq!(count.load(Ordering::Relaxed), expected);
        }
    }

    #[tokio::test]
    async fn who_gives_up_leaves_it_to_those_who_wait() {
        let asked = Asked::default();
        let never = async || std::future::pending().await;
        let gave_up = asked.once("test", "r.example", never);
        let (gave_up, found) = tokio::join!(
            tokio::time::timeout(Duration::from_millis(50), gave_up),
            asked.once("test", "r.example", async || Ok(Some(pair())))
        );
        assert!(gave_up.is_err());
        assert_eq!(found, Ok(Some(pair())));
    }
}
