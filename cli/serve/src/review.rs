//! From the bytes of a review to those of its answer.

use std::sync::Arc;
use std::time::Duration;

use admission::{
    Answer, Context, Decision, Envelope, EnvelopeError, Image, Kinds, Modes, Nothing, Question,
    Review, answer, question,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::judge::{Asked, Judge};
use crate::log::chain;
use crate::metrics::Metrics;

/// What to ask about, and what follows.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made with `..Settings::default()`"
)]
pub struct Settings {
    /// Where objects have pod specs.
    pub kinds: Kinds,
    /// What follows from what.
    pub modes: Modes,
    /// Whose tags become digests.
    pub pin: Pin,
    /// Where whoever is told no finds the policies.
    pub policies: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kinds: Kinds::default(),
            modes: Modes::default(),
            pin: Pin::Pods,
            policies: "DIR".to_owned(),
        }
    }
}

/// Whose tags become digests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum Pin {
    /// Nobody's.
    Off,
    /// Those of pods.
    Pods,
    /// Those of what makes pods, too.
    Workloads,
}

/// What is asked: to judge, or to change as well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Path {
    Validate,
    Mutate,
}

impl Path {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Mutate => "mutate",
        }
    }
}

/// What answers reviews.
#[derive(Debug)]
pub(crate) struct Reviewer {
    pub(crate) judge: Arc<dyn Judge>,
    pub(crate) settings: Settings,
    /// Images of one review that are asked about at the same time.
    pub(crate) images: usize,
}

/// An answer, and what the log is to say of it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) body: Vec<u8>,
    pub(crate) fields: Vec<(&'static str, Value)>,
    pub(crate) verdict: &'static str,
    pub(crate) operation: &'static str,
}

/// Larger than this is parsed where it stops nobody else.
const LARGE: usize = 256 << 10;

impl Reviewer {
    /// Answers a review, within `limit`. An error means that it cannot be told what was asked.
    pub(crate) async fn answer(
        &self,
        path: Path,
        body: Bytes,
        limit: Duration,
        metrics: &Metrics,
    ) -> Result<Answered, EnvelopeError> {
        let started = tokio::time::Instant::now();
        let (uid, review) = if body.len() > LARGE {
            let parsing = tokio::task::spawn_blocking(move || parse(&body));
            match parsing.await {
                Ok(parsed) => parsed?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        } else {
            parse(&body)?
        };
        let review = match review {
            Ok(review) => review,
            Err(why) => {
                let answer = Answer::malformed(&why);
                return Ok(Answered {
                    body: answer.to_json(&uid),
                    fields: vec![("uid", uid.into()), ("reason", why.into())],
                    verdict: answer.verdict,
                    operation: "unknown",
                });
            }
        };
        let left = limit.saturating_sub(started.elapsed());
        let (answer, images) = self.judge(path, &review, left).await;
        for image in &images {
            metrics.count("sealpack_images_total", &[("verdict", word(&image.1))]);
        }
        let mut fields = vec![
            ("uid", Value::from(uid.as_str())),
            ("operation", review.operation.as_str().into()),
            ("kind", review.kind_name().into()),
            ("namespace", review.namespace.clone().into()),
            ("name", review.name.clone().into()),
            ("user", review.user_info.username.clone().into()),
            ("allowed", answer.denial.is_none().into()),
        ];
        if !images.is_empty() {
            let images: Vec<_> = images.iter().map(said).collect();
            fields.push(("images", images.into()));
        }
        Ok(Answered {
            body: answer.to_json(&uid),
            fields,
            verdict: answer.verdict,
            operation: review.operation.as_str(),
        })
    }

    async fn judge(
        &self,
        path: Path,
        review: &Review,
        limit: Duration,
    ) -> (Answer, Vec<(Image, Decision)>) {
        let settings = &self.settings;
        let (images, workload) = match question(review, &settings.kinds) {
            Ok(Question::Images { images, workload }) => (images, workload),
            Ok(Question::Nothing(why)) => return (Answer::nothing(why), Vec::new()),
            Err(error) => return (Answer::malformed(&chain(&error)), Vec::new()),
        };
        let pin = path == Path::Mutate
            && match settings.pin {
                Pin::Off => false,
                Pin::Pods => !workload,
                Pin::Workloads => true,
            };
        if path == Path::Mutate && !pin {
            return (Answer::nothing(Nothing::LeftToValidation), Vec::new());
        }
        if workload && settings.modes.workloads == admission::Mode::Allow {
            return (Answer::nothing(Nothing::LeftToPods), Vec::new());
        }
        let judged = self
            .judge_all(images, review.namespace.as_deref(), limit)
            .await;
        let context = Context {
            modes: settings.modes,
            workload,
            namespace: review.namespace.as_deref(),
            pin,
            policies: &settings.policies,
        };
        (answer(&judged, &context), judged)
    }

    /// Judges images, some at the same time; all of them within `limit`.
    pub(crate) async fn judge_all(
        &self,
        images: Vec<Image>,
        namespace: Option<&str>,
        limit: Duration,
    ) -> Vec<(Image, Decision)> {
        let deadline = tokio::time::Instant::now() + limit;
        stream::iter(images)
            .map(|image| async move {
                let Ok(name) = &image.name else {
                    // Said by the name itself.
                    return (image, Decision::NoPolicy);
                };
                let asked = Asked {
                    name: name.clone(),
                    namespace: namespace.map(str::to_owned),
                    limit: deadline.saturating_duration_since(tokio::time::Instant::now()),
                };
                // Whoever judges keeps to the limit. If not: the API server has to hear from us.
                let judging = tokio::time::timeout_at(deadline, self.judge.judge(asked));
                let decision = match judging.await {
                    Ok(judgement) => judgement.decision,
                    Err(_elapsed) => Decision::Undecided {
                        why: format!("no answer within {limit:.1?}"),
                    },
                };
                (image, decision)
            })
            .buffered(self.images.max(1))
            .collect()
            .await
    }
}

/// The uid, and the review or why there is none.
fn parse(body: &[u8]) -> Result<(String, Result<Review, String>), EnvelopeError> {
    let envelope = Envelope::read(body)?;
    let review = envelope.review().map_err(|error| chain(&error));
    Ok((envelope.uid, review))
}

pub(crate) fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Accepted { .. } => "accepted",
        Decision::Rejected { .. } => "rejected",
        Decision::Undecided { .. } => "undecided",
        Decision::NoPolicy => "no-policy",
    }
}

/// What is said of an image, to logs and by `/v1/verify`.
pub(crate) fn said((image, decision): &(Image, Decision)) -> Value {
    let mut value = json!({"image": image.text, "verdict": word(decision)});
    let mut add = |name: &str, it: Value| {
        if let Some(value) = value.as_object_mut() {
            value.insert(name.to_owned(), it);
        }
    };
    if let Err(error) = &image.name {
        add("verdict", "rejected".into());
        add("reason", chain(error).into());
        return value;
    }
    match decision {
        Decision::Accepted { digest, policies } => {
            add("digest", digest.as_str().into());
            add("policies", policies.clone().into());
        }
        Decision::Rejected { digest, reasons } => {
            if let Some(digest) = digest {
                add("digest", digest.as_str().into());
            }
            let reasons: Vec<_> = reasons
                .iter()
                .map(|it| json!({"policy": it.policy, "message": it.message, "solution": it.solution}))
                .collect();
            add("reasons", reasons.into());
        }
        Decision::Undecided { why } => add("reason", why.as_str().into()),
        Decision::NoPolicy => {}
    }
    value
}
