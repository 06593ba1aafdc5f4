//! The question, and how it is answered.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use attest::{IgnoreReason, discover};
use futures_util::FutureExt as _;
use intoto::Timestamp;
use oci::{
    Algorithm, Descriptor, Digest, Found, Hasher, Limits, Location, Places, PlacesError, Reference,
    Selector, Store, StoreError,
};
use policies::{EvaluateError, Evidence, Policy, Verdict, evaluate};
use time::OffsetDateTime;

use crate::flight::Flights;
use crate::memory::Memory;
use crate::proof::{Proof, ProofError, Unproven};
use crate::trust::Trust;
use crate::watched::{Waiting, Watched};

/// Answers whether images may be used. Make one, and ask it often: it remembers.
#[derive(Debug)]
pub struct Gate {
    inner: Arc<Inner>,
    flights: Flights<Asked, Result<Answer, Arc<Undecided>>, Waiting>,
}

/// How a gate works.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "any value is fine")]
pub struct GateOptions {
    /// How long whoever asks waits, for all of it; without one, for as long as it takes.
    pub limit: Option<Duration>,
    /// How long it may take after that, so that who asks again later finds the answer.
    pub grace: Duration,
    /// How long an acceptance holds without asking the store what is attached by now.
    pub accepted_for: Duration,
    /// The same of a rejection: the proof that was missing may come at any time.
    pub rejected_for: Duration,
    /// How long an answer holds while the same is attached. Rules may go by the time, so not for ever.
    pub judged_for: Duration,
    /// Bytes of the answers that are remembered, about.
    pub memory: usize,
    /// How much is read.
    pub limits: Limits,
    /// What is trusted besides the keys that policies name.
    pub trust: Trust,
}

impl Default for GateOptions {
    fn default() -> Self {
        Self {
            limit: None,
            grace: Duration::from_mins(1),
            accepted_for: Duration::from_mins(5),
            rejected_for: Duration::from_secs(10),
            judged_for: Duration::from_hours(1),
            memory: 64 << 20,
            limits: Limits::default(),
            trust: Trust::keys(),
        }
    }
}

/// May this image be used, by this policy?
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Question {
    /// The image.
    pub image: Image,
    /// What it has to prove.
    pub policy: Arc<Policy>,
    /// When this is asked.
    pub at: SystemTime,
}

/// An image, and where it lies.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way to know one")]
pub enum Image {
    /// One that was found.
    Found(Box<Found>),
    /// One that is found as part of the question. By digest, what is remembered needs no search.
    Named {
        /// Who opens places.
        places: Arc<Places>,
        /// Where it lies, and which one it is.
        reference: Reference,
    },
}

impl Image {
    fn reference(&self) -> &Reference {
        match self {
            Self::Found(found) => &found.reference,
            Self::Named { reference, .. } => reference,
        }
    }

    async fn find(self) -> Result<Found, PlacesError> {
        match self {
            Self::Found(found) => Ok(*found),
            Self::Named { places, reference } => places.find_provable(&reference).await,
        }
    }
}

/// The answer.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Answer {
    /// The image, by digest.
    pub image: Reference,
    /// What was found out about it, there or elsewhere.
    pub judged: Arc<Judged>,
}

/// What was found out about an image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Judged {
    /// The image.
    pub image: Descriptor,
    /// What the policy says of it.
    pub verdict: Verdict,
    /// What is attached but proves nothing.
    pub unproven: Vec<Unproven>,
    /// How many referrers were not looked at, because there are more than the limit. If proof is
    /// missing, it may be among them.
    pub unread: usize,
    /// The digest of the list of what is attached.
    pub evidence: Digest,
}

/// What is asked: one image in one place, by one policy. The policy's digest covers whom it believes.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Asked {
    location: Location,
    selector: Option<Selector>,
    policy: Digest,
}

/// The same, once a tag is resolved.
type Key = (Location, Digest, Digest);

/// What an answer hangs on, wherever the image lies: image, policy, trust and evidence.
type Facts = [Digest; 4];

/// An answer, and until when it holds.
#[derive(Clone, Debug)]
struct Held {
    judged: Arc<Judged>,
    asked: SystemTime,
}

#[derive(Debug)]
struct Inner {
    options: GateOptions,
    /// What holds without asking the store.
    fresh: Memory<Key, Held>,
    /// What holds while the same is attached, wherever it lies.
    judged: Memory<Facts, Held>,
}

impl Gate {
    /// One that remembers nothing yet.
    pub fn new(options: GateOptions) -> Self {
        let inner = Inner {
            // The same answers are in both: they are shared.
            fresh: Memory::new(options.memory),
            judged: Memory::new(options.memory),
            options,
        };
        Self {
            inner: Arc::new(inner),
            flights: Flights::new(),
        }
    }

    /// Answers. A rejection is an answer; an error means that there is none.
    pub async fn ask(&self, question: &Question) -> Result<Answer, Arc<Undecided>> {
        self.ask_within(question, self.inner.options.limit).await
    }

    /// The same for who waits no longer than `limit`, whatever others do.
    pub async fn ask_within(
        &self,
        question: &Question,
        limit: Option<Duration>,
    ) -> Result<Answer, Arc<Undecided>> {
        let reference = question.image.reference();
        let asked = Asked {
            location: reference.location.clone(),
            selector: reference.selector(),
            policy: question.policy.digest().clone(),
        };
        if let Some(Selector::Digest(digest)) = &asked.selector
            && let Some(answer) = self.inner.fresh(question, digest)
        {
            return Ok(answer);
        }
        let (flight, waiting) = self.flights.join(asked, |waiting| {
            let (inner, question) = (Arc::clone(&self.inner), question.clone());
            let limit = inner.options.limit.map(|it| it + inner.options.grace);
            async move {
                let answer = inner.answer(&question, &waiting);
                within(limit, &waiting, answer).await.map_err(Arc::new)
            }
            .boxed()
        });
        let outcome = match limit {
            Some(limit) => tokio::time::timeout(limit, flight)
                .await
                .map_err(|_elapsed| {
                    Arc::new(Undecided::TooLong {
                        limit,
                        waiting: waiting.to_string(),
                    })
                })?,
            None => flight.await,
        };
        outcome.unwrap_or_else(|error| Err(Arc::new(Undecided::Broken { source: error })))
    }

    /// How many answers are remembered.
    pub fn remembered(&self) -> usize {
        self.inner.judged.len()
    }

    /// Forgets all answers.
    pub fn forget(&self) {
        self.inner.fresh.clear();
        self.inner.judged.clear();
    }
}

async fn within<T>(
    limit: Option<Duration>,
    waiting: &Waiting,
    work: impl Future<Output = Result<T, Undecided>>,
) -> Result<T, Undecided> {
    match limit {
        None => work.await,
        Some(limit) => match tokio::time::timeout(limit, work).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Undecided::TooLong {
                limit,
                waiting: waiting.to_string(),
            }),
        },
    }
}

impl Inner {
    /// What holds without asking the store.
    fn fresh(&self, question: &Question, digest: &Digest) -> Option<Answer> {
        let reference = question.image.reference();
        let location = reference.location.clone();
        let policy = question.policy.digest().clone();
        let held = self.fresh.get(&(location, digest.clone(), policy))?;
        let holds_for = if held.judged.verdict.accepted() {
            self.options.accepted_for
        } else {
            self.options.rejected_for
        };
        held.holds(question.at, holds_for).then(|| Answer {
            image: reference.at(digest.clone()),
            judged: held.judged,
        })
    }

    async fn answer(&self, question: &Question, waiting: &Waiting) -> Result<Answer, Undecided> {
        let Question { image, policy, at } = question;
        let now: Timestamp = OffsetDateTime::from(*at)
            .try_into()
            .map_err(|_out_of_range| Undecided::Clock)?;
        waiting.says(format!("`{}`", image.reference()));
        let found = image.clone().find().await.map_err(Undecided::Find)?;
        let subject = found.descriptor.bare();
        if let Some(answer) = self.fresh(question, &subject.digest) {
            return Ok(answer);
        }
        let image = found.reference;
        let answer = |judged| Answer {
            image: image.clone(),
            judged,
        };
        let key = (
            image.location.clone(),
            subject.digest.clone(),
            policy.digest().clone(),
        );
        let store = Watched::new(found.store, waiting.clone());
        waiting.says(format!("the list of what is attached to `{image}`"));
        let listed = store.referrers(&subject.digest).await;
        let listed = listed.map_err(|source| Undecided::Listing {
            image: image.clone(),
            source,
        })?;
        let evidence = digest(listed.iter().map(|it| &it.digest));
        let judged_key = [
            subject.digest.clone(),
            policy.digest().clone(),
            self.options.trust.digest().clone(),
            evidence.clone(),
        ];
        if let Some(held) = self.judged.get(&judged_key)
            && held.holds(*at, self.options.judged_for)
        {
            self.remember_fresh(key, &held.judged, *at);
            return Ok(answer(held.judged));
        }
        waiting.says(format!(
            "what is attached to `{image}` ({} referrers)",
            listed.len()
        ));
        let discovered = discover(&store, &subject, &self.options.limits)
            .await
            .map_err(ProofError::from)?;
        // What was listed and is not there may be there next time.
        let is_whole = !discovered
            .ignored
            .iter()
            .any(|it| matches!(it.reason, IgnoreReason::Absent(_)));
        waiting.says("the policy");
        let (policy, trust) = (Arc::clone(policy), self.options.trust.clone());
        let judging = tokio::task::spawn_blocking(move || {
            let proof = Proof::of(discovered, &subject, policy.accepts(), &trust);
            let unproven = proof.unproven();
            let facts = Evidence::about(&subject, proof.verified).at(now);
            let verdict = evaluate(&policy, &facts)?;
            Ok::<_, EvaluateError>(Judged {
                image: subject,
                verdict,
                unproven,
                unread: proof.discovered.unread,
                evidence,
            })
        });
        let judged = match judging.await {
            Ok(judged) => Arc::new(judged?),
            Err(error) => {
                return Err(Undecided::Broken {
                    source: Arc::new(error),
                });
            }
        };
        if is_whole {
            let bytes = judged.size();
            let held = Held {
                judged: Arc::clone(&judged),
                asked: *at,
            };
            self.judged.put(judged_key, held, bytes);
        }
        self.remember_fresh(key, &judged, *at);
        Ok(answer(judged))
    }

    fn remember_fresh(&self, key: Key, judged: &Arc<Judged>, at: SystemTime) {
        let held = Held {
            judged: Arc::clone(judged),
            asked: at,
        };
        self.fresh.put(key, held, judged.size());
    }
}

impl Held {
    /// Whether it still holds. A clock that was set back says no.
    fn holds(&self, now: SystemTime, holds_for: Duration) -> bool {
        now.duration_since(self.asked)
            .is_ok_and(|age| age < holds_for)
    }
}

impl Judged {
    /// Bytes, about.
    fn size(&self) -> usize {
        /// What each answer takes at least: digests, names, pointers.
        const BASE: usize = 1 << 10;
        let verdict = serde_json::to_vec(&self.verdict).map_or(0, |it| it.len());
        let unproven = self
            .unproven
            .iter()
            .map(|it| it.reason.len() + it.manifest.len());
        BASE + verdict + unproven.sum::<usize>()
    }
}

/// Of a list, whatever its order.
fn digest<'a>(listed: impl Iterator<Item = &'a Digest>) -> Digest {
    let mut listed: Vec<_> = listed.map(ToString::to_string).collect();
    listed.sort();
    listed.dedup();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for it in listed {
        hasher.update(it.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finish()
}

/// Why there is no answer. Never to be taken for acceptance.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Undecided {
    /// The image could not be found.
    #[error(transparent)]
    Find(PlacesError),
    /// It is not known what is attached.
    #[error("failed to list what is attached to `{image}`")]
    Listing {
        /// To which.
        image: Reference,
        /// Why.
        source: StoreError,
    },
    /// What is attached could not be read.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The rules failed.
    #[error("the policy could not be evaluated")]
    Evaluate(#[from] EvaluateError),
    /// It took too long.
    #[error("no answer within {}; it waited for {waiting}", Seconds(*limit))]
    TooLong {
        /// How long it was waited for.
        limit: Duration,
        /// What for.
        waiting: String,
    },
    /// The time is none.
    #[error("the clock is wrong")]
    Clock,
    /// A bug.
    #[error("the question could not be worked on")]
    Broken {
        /// What happened.
        source: Arc<tokio::task::JoinError>,
    },
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_millis() == 0 {
            write!(f, "{} s", self.0.as_secs())
        } else {
            write!(f, "{} ms", self.0.as_millis())
        }
    }
}

#[cfg(test)]
mod tests;
