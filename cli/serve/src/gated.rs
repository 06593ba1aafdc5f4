//! Judges by the gate: which policy is for an image, and what is proven about it.

mod known;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use admission::{Decision, Reason};
use async_trait::async_trait;
use gate::{Gate, GateOptions, Image, Judged, NoPolicy, PolicySet, Question, Trust};
use oci::store::{RegistryClient, RegistryOptions};
use oci::{Digest, Location, Places, Reference, Registry, Repository, Tag};
use policies::Policy;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use crate::judge::{Asked, Judge, Judgement, ReloadError};
use crate::log::chain;
use known::Known;

/// How long what a tag means is remembered: pods of one rollout come together.
const TAG_HOLDS: Duration = Duration::from_secs(2);
/// Tags that are remembered: some hundred bytes each.
const MAX_TAGS: usize = 10_000;
/// Registries with a client of their own, so that a slow one is in nobody's way but its own.
const MAX_CLIENTS: usize = 256;

/// Reads policies and settings.
type Load = dyn Fn() -> Result<Loaded, Box<dyn std::error::Error + Send + Sync>> + Send + Sync;

/// What a judge is made of.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Loaded {
    /// Which policy is for which image.
    pub policies: PolicySet,
    /// What is trusted besides the keys that policies name.
    pub trust: Trust,
    /// How registries are reached.
    pub registries: RegistryOptions,
}

/// A judge that asks registries.
pub struct Gated {
    options: GateOptions,
    load: Box<Load>,
    watched: Vec<PathBuf>,
    clock: fn() -> SystemTime,
    state: RwLock<Arc<State>>,
}

/// What is replaced as a whole when files change.
#[derive(Debug)]
struct State {
    /// Remembers, and is taken over where the same is trusted.
    gate: Arc<Gate>,
    trust: Trust,
    policies: PolicySet,
    registries: RegistryOptions,
    clients: Known<Registry, Client>,
    /// By repository and tag: when, and what it was.
    tags: Known<(Repository, Tag), (Instant, Digest)>,
}

/// What asks one registry.
#[derive(Clone, Debug)]
struct Client {
    registry: RegistryClient,
    places: Arc<Places>,
}

impl Gated {
    /// Made of what `load` reads, and again when it changes in `watched`.
    pub fn new(
        load: Box<Load>,
        watched: Vec<PathBuf>,
        options: GateOptions,
        clock: fn() -> SystemTime,
    ) -> Result<Self, ReloadError> {
        let loaded = load().map_err(ReloadError)?;
        Ok(Self {
            state: RwLock::new(Arc::new(State::new(loaded, &options, None))),
            options,
            load,
            watched,
            clock,
        })
    }

    fn state(&self) -> Arc<State> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&state)
    }

    /// Judges, unless the registry says that it will not answer before `deadline`.
    async fn decide(
        &self,
        state: &State,
        repository: &Repository,
        name: &Reference,
        policy: &Arc<Policy>,
        deadline: Instant,
    ) -> Decision {
        let client = state.client(repository.registry());
        let throttled = client.registry.throttled(repository);
        let mut watched = throttled.clone();
        let pausing = async {
            let beyond = |until: &Option<Instant>| until.is_some_and(|it| it > deadline);
            // An error means that nobody will say it any more.
            if watched.wait_for(beyond).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let decision = tokio::select! {
            // What is remembered needs no registry.
            biased;
            decision = self.ask(state, &client, repository, name, policy, deadline) => decision,
            () = pausing => Decision::Undecided { why: String::new() },
        };
        let Decision::Undecided { why } = decision else {
            return decision;
        };
        let until = *throttled.borrow();
        let left = until.and_then(|it| it.checked_duration_since(Instant::now()));
        let Some(left) = left.filter(|it| !it.is_zero()) else {
            return Decision::Undecided { why };
        };
        let until = told((self.clock)() + left);
        let mut said = format!("throttled by `{}` until {until}", repository.registry());
        if !why.is_empty() {
            said = format!("{said}: {why}");
        }
        Decision::Undecided { why: said }
    }

    async fn ask(
        &self,
        state: &State,
        client: &Client,
        repository: &Repository,
        name: &Reference,
        policy: &Arc<Policy>,
        deadline: Instant,
    ) -> Decision {
        let tag = match (&name.digest, &name.tag) {
            (None, Some(tag)) => Some((repository.clone(), tag.clone())),
            _ => None,
        };
        let known = tag.as_ref().and_then(|it| state.tags.get(it));
        let known = known.filter(|(when, _)| when.elapsed() < TAG_HOLDS);
        // What was looked up just now is not known any longer by being asked for.
        let to_learn = tag.filter(|_| known.is_none());
        let reference = match known {
            Some((_, digest)) => name.at(digest),
            None => name.clone(),
        };
        let asked = Instant::now();
        let question = Question {
            image: Image::Named {
                places: Arc::clone(&client.places),
                reference,
            },
            policy: Arc::clone(policy),
            at: (self.clock)(),
        };
        let left = deadline.saturating_duration_since(asked);
        match state.gate.ask_within(&question, Some(left)).await {
            Ok(answer) => {
                if let (Some(tag), Some(digest)) = (to_learn, answer.image.digest) {
                    state.tags.put(tag, (asked, digest));
                }
                decision(&answer.judged, policy)
            }
            Err(error) => Decision::Undecided {
                why: chain(&*error),
            },
        }
    }
}

#[async_trait]
impl Judge for Gated {
    async fn judge(&self, asked: Asked) -> Judgement {
        let deadline = Instant::now() + asked.limit;
        let state = self.state();
        let namespace = asked.namespace.as_deref();
        let undecided = |why: String| Decision::Undecided { why };
        let decision = match &asked.name.location {
            Location::Registry(repository) => {
                match state.policies.choose(Some(repository), namespace) {
                    Ok(policy) => {
                        let policy = Arc::clone(policy);
                        self.decide(&state, repository, &asked.name, &policy, deadline)
                            .await
                    }
                    Err(NoPolicy::NoMatch { .. }) => Decision::NoPolicy,
                    Err(error @ NoPolicy::Contradiction { .. }) => undecided(chain(&error)),
                }
            }
            _ => undecided("no registry can be asked about it".to_owned()),
        };
        Judgement { decision }
    }

    fn reload(&self) -> Result<String, ReloadError> {
        let loaded = (self.load)().map_err(ReloadError)?;
        let count = loaded.policies.policies().len();
        let now = format!("{count} policies, {}", loaded.policies.digest());
        let state = Arc::new(State::new(loaded, &self.options, Some(&self.state())));
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(now)
    }

    fn watched(&self) -> Vec<PathBuf> {
        self.watched.clone()
    }

    fn figures(&self) -> Vec<(&'static str, &'static str, u64)> {
        let state = self.state();
        let count = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        vec![
            (
                "sealpack_policies",
                "Policies in force.",
                count(state.policies.policies().len()),
            ),
            (
                "sealpack_remembered_verdicts",
                "Verdicts that are remembered.",
                count(state.gate.remembered()),
            ),
        ]
    }
}

impl State {
    fn new(loaded: Loaded, options: &GateOptions, before: Option<&Self>) -> Self {
        let same = before.filter(|it| it.trust.digest() == loaded.trust.digest());
        Self {
            gate: match same {
                Some(before) => Arc::clone(&before.gate),
                None => Arc::new(Gate::new(GateOptions {
                    trust: loaded.trust.clone(),
                    ..options.clone()
                })),
            },
            trust: loaded.trust,
            policies: loaded.policies,
            registries: loaded.registries,
            clients: Known::new(MAX_CLIENTS),
            tags: Known::new(MAX_TAGS),
        }
    }

    fn client(&self, registry: &Registry) -> Client {
        self.clients.get(registry).unwrap_or_else(|| {
            let client = RegistryClient::new(self.registries.clone());
            let client = Client {
                places: Arc::new(Places::default().with_client(client.clone())),
                registry: client,
            };
            self.clients.put(registry.clone(), client.clone());
            client
        })
    }
}

/// What people call a policy: the name of its file, or of its folder, without what is around it.
fn short(name: &str) -> String {
    let path = Path::new(name);
    let file = if path.file_name() == Some("policy.toml".as_ref()) {
        path.parent().and_then(Path::file_name)
    } else {
        path.file_stem()
    };
    file.map_or_else(|| name.to_owned(), |it| it.to_string_lossy().into_owned())
}

/// A time, for people.
fn told(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let time = time.replace_nanosecond(0).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}

/// What the gate said, in the words of admission.
fn decision(judged: &Judged, policy: &Policy) -> Decision {
    /// What is attached but proves nothing, as far as it is shown.
    const MAX_UNPROVEN: usize = 2;

    let digest = judged.image.digest.clone();
    if judged.verdict.accepted() {
        return Decision::Accepted {
            digest,
            policies: vec![short(policy.name())],
        };
    }
    let reason = |message| Reason {
        policy: short(policy.name()),
        message,
        solution: None,
    };
    let findings = judged.verdict.findings().iter();
    let mut reasons: Vec<_> = findings
        .map(|it| Reason {
            solution: it.solution.clone(),
            ..reason(format!("{}: {}", it.rule, it.message))
        })
        .collect();
    let unproven = judged.unproven.iter().take(MAX_UNPROVEN);
    reasons
        .extend(unproven.map(|it| reason(format!("attached, but proves nothing: {}", it.line()))));
    let more = judged.unproven.len().saturating_sub(MAX_UNPROVEN);
    if more > 0 {
        reasons.push(reason(format!("and {more} more that prove nothing")));
    }
    if judged.unread > 0 {
        let unread = judged.unread;
        reasons.push(reason(format!("{unread} referrers were not looked at")));
    }
    Decision::Rejected {
        digest: Some(digest),
        reasons,
    }
}

impl fmt::Debug for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gated")
            .field("options", &self.options)
            .field("watched", &self.watched)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_policy_is_called_by_its_file_or_folder() {
        for (name, called) in [
            ("/p/prod.toml", "prod"),
            ("/p/prod/policy.toml", "prod"),
            ("prod.toml", "prod"),
            ("policy.toml", "policy.toml"),
            ("", ""),
        ] {
            assert_eq!(short(name), called, "{name}");
        }
    }
}
