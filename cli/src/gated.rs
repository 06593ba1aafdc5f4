//! A copy between two gates: an image is judged where it lies, copied with all that is attached to it,
//! and judged again by what a stranger finds where it arrived. Whoever calls this sets the tag, as the
//! last step, and only if there is nothing to say against it.

use std::sync::Arc;
use std::time::SystemTime;

use gate::{Answer, Gate, GateOptions, Image, Judged, Question};
use oci::{Copied, CopyOptions, Found, Progress, Reference, Store, copy_graph};
use policies::Policy;

use crate::commands::policy;
use crate::error::{CommandError, Message};

/// Where images are judged: what was found out in one place is no word on the other.
#[derive(Debug)]
pub(crate) struct Gates {
    before: Gate,
    behind: Gate,
}

/// Why an image did not get through.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The policy says no.
    Rejected(Arc<Judged>),
    /// It is not known what the policy says.
    Undecided(CommandError),
    /// It could not be copied.
    Broken(CommandError),
    /// It arrived, but not what proves it.
    Lost(Arc<Judged>),
}

impl Stop {
    /// What a user reads of `image`.
    pub(crate) fn error(self, image: &Reference) -> CommandError {
        match self {
            Self::Rejected(judged) => {
                policy::rejected(&image.to_string(), &judged.verdict, policy::notes(&judged))
            }
            Self::Undecided(error) | Self::Broken(error) => error,
            Self::Lost(judged) => {
                let error = CommandError::undecided(Message(format!(
                    "`{image}` arrived without what proves it, and was not tagged"
                )));
                let findings = judged.verdict.findings().iter();
                findings.fold(error, |error, it| {
                    error.finding(format!("{}: {}", it.rule, it.message))
                })
            }
        }
    }
}

impl Gates {
    pub(crate) fn new() -> Self {
        Self {
            before: Gate::new(GateOptions::default()),
            behind: Gate::new(GateOptions::default()),
        }
    }

    /// Judges the image where it lies.
    pub(crate) async fn before(
        &self,
        found: &Found,
        policy: &Arc<Policy>,
        at: SystemTime,
    ) -> Result<Answer, Stop> {
        let answer = ask(&self.before, found.clone(), policy, at).await?;
        if answer.judged.verdict.accepted() {
            Ok(answer)
        } else {
            Err(Stop::Rejected(answer.judged))
        }
    }

    /// Copies the image with all that is attached to it, and judges it where it arrived.
    pub(crate) async fn carry(
        &self,
        found: &Found,
        policy: &Arc<Policy>,
        (destination, store): (&Reference, &Arc<dyn Store>),
        progress: &dyn Progress,
        at: SystemTime,
    ) -> Result<Copied, Stop> {
        let options = CopyOptions {
            referrers: true,
            digest_tags: true,
            ..CopyOptions::default()
        };
        let copied = copy_graph(
            &*found.store,
            &**store,
            &found.descriptor,
            &options,
            progress,
        )
        .await
        .map_err(|error| Stop::Broken(CommandError::undecided(error)))?;
        self.behind(&copied, policy, (destination, store), at)
            .await?;
        Ok(copied)
    }

    /// Judges what was copied, where it arrived.
    pub(crate) async fn behind(
        &self,
        copied: &Copied,
        policy: &Arc<Policy>,
        (destination, store): (&Reference, &Arc<dyn Store>),
        at: SystemTime,
    ) -> Result<(), Stop> {
        let arrived = Found {
            reference: destination.at(copied.root.digest.clone()),
            descriptor: copied.root.clone(),
            store: Arc::clone(store),
        };
        let answer = ask(&self.behind, arrived, policy, at).await?;
        if answer.judged.verdict.accepted() {
            Ok(())
        } else {
            Err(Stop::Lost(answer.judged))
        }
    }
}

async fn ask(
    gate: &Gate,
    found: Found,
    policy: &Arc<Policy>,
    at: SystemTime,
) -> Result<Answer, Stop> {
    let question = Question {
        image: Image::Found(Box::new(found)),
        policy: Arc::clone(policy),
        at,
    };
    let answer = gate.ask(&question).await;
    answer.map_err(|error| Stop::Undecided(error.into()))
}
