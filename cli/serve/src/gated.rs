//! Judges by the gate: which policy is for an image, what its tag means, what is proven about it.

mod flight;
mod known;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use admission::{Decision, Reason};
use async_trait::async_trait;
use gate::{Gate, GateOptions, Image, Judged, NoPolicy, PolicySet, Question};
use oci::store::{RegistryClient, RegistryOptions};
use oci::{Descriptor, Digest, Location, Registry, Repository, Selector, Store, StoreError, Tag};
use policies::Policy;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::judge::{Asked, Judge, Judgement, ReloadError};
use crate::log::chain;
use flight::Flights;
use known::Known;

/// How long what a tag means is remembered: pods of one rollout come together.
const TAG_HOLDS: Duration = Duration::from_secs(2);
/// What is remembered of images that were found: some hundred bytes each.
const MAX_KNOWN: usize = 50_000;
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
    /// How registries are reached.
    pub registries: RegistryOptions,
}

/// A judge that asks registries.
pub struct Gated {
    gate: Gate,
    load: Box<Load>,
    watched: Vec<PathBuf>,
    clock: fn() -> SystemTime,
    state: RwLock<Arc<State>>,
}

/// What is replaced as a whole when files change.
#[derive(Debug)]
struct State {
    policies: PolicySet,
    registries: RegistryOptions,
    clients: Known<Registry, RegistryClient>,
    /// By repository and digest: what content is does not change.
    images: Known<(Repository, Digest), Found>,
    /// By repository and tag, and when.
    tags: Known<(Repository, Tag), (Instant, Found)>,
    resolving: Flights<(Repository, Selector), Result<Found, Arc<StoreError>>>,
}

/// An image that was found.
#[derive(Clone, Debug)]
struct Found {
    store: Arc<dyn Store>,
    descriptor: Descriptor,
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
            gate: Gate::new(options),
            load,
            watched,
            clock,
            state: RwLock::new(Arc::new(State::new(loaded))),
        })
    }

    fn state(&self) -> Arc<State> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&state)
    }

    /// Judges, unless the registry says that it will not answer before `deadline`.
    async fn decide(
        &self,
        state: &Arc<State>,
        repository: &Repository,
        selector: Selector,
        policy: &Arc<Policy>,
        deadline: Instant,
    ) -> Decision {
        let client = state.client(repository.registry());
        let throttled = client.throttled(repository);
        let judging = self.ask(state, &client, repository, selector, policy, deadline);
        let pausing = {
            let mut throttled = throttled.clone();
            async move {
                let beyond = |until: &Option<Instant>| until.is_some_and(|it| it > deadline);
                // An error means that nobody will say it any more.
                if throttled.wait_for(beyond).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let decision = tokio::select! {
            biased;
            decision = judging => decision,
            () = pausing => Decision::Undecided { why: String::new() },
        };
        let Decision::Undecided { why } = decision else {
            return decision;
        };
        let now = Instant::now();
        let until = throttled.borrow().filter(|it| *it > now);
        let Some(left) = until.map(|it| it - now) else {
            return Decision::Undecided { why };
        };
        let until = OffsetDateTime::from((self.clock)() + left);
        let until = until.replace_nanosecond(0).unwrap_or(until);
        let until = until
            .format(&time::format_description::well_known::Rfc3339)
            .unwrap_or_default();
        let mut said = format!("throttled by `{}` until {until}", repository.registry());
        if !why.is_empty() {
            said = format!("{said}: {why}");
        }
        Decision::Undecided { why: said }
    }

    async fn ask(
        &self,
        state: &Arc<State>,
        client: &RegistryClient,
        repository: &Repository,
        selector: Selector,
        policy: &Arc<Policy>,
        deadline: Instant,
    ) -> Decision {
        let undecided = |why: String| Decision::Undecided { why };
        let started = Instant::now();
        let finding = state.find(client, repository, selector.clone());
        let found = match tokio::time::timeout_at(deadline, finding).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return undecided(chain(&*error)),
            Err(_elapsed) => {
                let waited = started.elapsed();
                return undecided(format!(
                    "`{}` did not say within {waited:.1?} what `{selector}` of `{repository}` is",
                    repository.registry()
                ));
            }
        };
        let question = Question {
            image: Image {
                place: repository.to_string(),
                store: found.store,
                descriptor: found.descriptor,
            },
            policy: Arc::clone(policy),
            at: (self.clock)(),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match self.gate.ask_within(&question, left).await {
            Ok(judged) => decision(&judged, policy),
            Err(error) => undecided(chain(&*error)),
        }
    }
}

#[async_trait]
impl Judge for Gated {
    async fn judge(&self, asked: Asked) -> Judgement {
        let deadline = Instant::now() + asked.limit;
        let state = self.state();
        let decision = match (&asked.name.location, asked.name.selector()) {
            (Location::Registry(repository), Some(selector)) => {
                match state.policies.choose(Some(repository), asked.namespace.as_deref()) {
                    Ok(policy) => {
                        let policy = Arc::clone(policy);
                        self.decide(&state, repository, selector, &policy, deadline).await
                    }
                    Err(NoPolicy::NoMatch { .. }) => Decision::NoPolicy,
                    Err(error @ NoPolicy::Contradiction { .. }) => Decision::Undecided {
                        why: chain(&error),
                    },
                }
            }
            _ => Decision::Undecided {
                why: "no registry can be asked about it".to_owned(),
            },
        };
        Judgement { decision }
    }

    fn reload(&self) -> Result<String, ReloadError> {
        let loaded = (self.load)().map_err(ReloadError)?;
        let count = loaded.policies.policies().len();
        let now = format!("{count} policies, {}", loaded.policies.digest());
        let state = Arc::new(State::new(loaded));
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
                count(self.gate.remembered()),
            ),
        ]
    }
}

impl State {
    fn new(loaded: Loaded) -> Self {
        Self {
            policies: loaded.policies,
            registries: loaded.registries,
            clients: Known::new(MAX_CLIENTS),
            images: Known::new(MAX_KNOWN),
            tags: Known::new(MAX_KNOWN),
            resolving: Flights::default(),
        }
    }

    fn client(&self, registry: &Registry) -> RegistryClient {
        self.clients.get(registry).unwrap_or_else(|| {
            let client = RegistryClient::new(self.registries.clone());
            self.clients.put(registry.clone(), client.clone());
            client
        })
    }

    /// Finds an image: by a digest that was found before, or a tag that was just now, without asking.
    async fn find(
        self: &Arc<Self>,
        client: &RegistryClient,
        repository: &Repository,
        selector: Selector,
    ) -> Result<Found, Arc<StoreError>> {
        let known = match &selector {
            Selector::Digest(digest) => self.images.get(&(repository.clone(), digest.clone())),
            Selector::Tag(tag) => self
                .tags
                .get(&(repository.clone(), tag.clone()))
                .filter(|(when, _)| when.elapsed() < TAG_HOLDS)
                .map(|(_, found)| found),
        };
        if let Some(found) = known {
            return Ok(found);
        }
        let key = (repository.clone(), selector.clone());
        let (state, client, repository) = (Arc::clone(self), client.clone(), repository.clone());
        let work = async move {
            let store = client.mirrored(&repository).map_err(Arc::new)?;
            let descriptor = store.resolve(&selector).await.map_err(Arc::new)?;
            let found = Found {
                store: Arc::new(store),
                descriptor,
            };
            let digest = found.descriptor.digest.clone();
            state.images.put((repository.clone(), digest), found.clone());
            if let Selector::Tag(tag) = selector {
                let now = (Instant::now(), found.clone());
                state.tags.put((repository, tag), now);
            }
            Ok(found)
        };
        self.resolving.join(key, work).await.unwrap_or_else(|error| {
            Err(Arc::new(StoreError::Unavailable {
                place: "the registry".to_owned(),
                action: "ask".to_owned(),
                source: error.into(),
            }))
        })
    }
}

/// What the gate said, in the words of admission.
fn decision(judged: &Judged, policy: &Policy) -> Decision {
    /// What is attached but proves nothing, as far as it is shown.
    const MAX_UNPROVEN: usize = 2;

    let digest = judged.image.digest.clone();
    if judged.verdict.accepted() {
        return Decision::Accepted {
            digest,
            policies: vec![policy.name().to_owned()],
        };
    }
    let mut reasons: Vec<_> = judged
        .verdict
        .findings()
        .iter()
        .map(|it| Reason {
            policy: policy.name().to_owned(),
            message: format!("{}: {}", it.rule, it.message),
            solution: it.solution.clone(),
        })
        .collect();
    let mut notes: Vec<_> = judged
        .unproven
        .iter()
        .take(MAX_UNPROVEN)
        .map(|it| format!("attached, but proves nothing: {}", it.line()))
        .collect();
    let more = judged.unproven.len().saturating_sub(MAX_UNPROVEN);
    if more > 0 {
        notes.push(format!("and {more} more that prove nothing"));
    }
    if judged.unread > 0 {
        notes.push(format!("{} referrers were not looked at", judged.unread));
    }
    reasons.extend(notes.into_iter().map(|message| Reason {
        policy: policy.name().to_owned(),
        message,
        solution: None,
    }));
    Decision::Rejected {
        digest: Some(digest),
        reasons,
    }
}

impl fmt::Debug for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gated")
            .field("gate", &self.gate)
            .field("watched", &self.watched)
            .finish_non_exhaustive()
    }
}
