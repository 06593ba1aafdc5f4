//! A copy between two gates: an image is judged where it lies, copied with all that is attached to it,
//! and judged again by what a stranger finds where it arrived. Whoever calls this sets the tag, as the
//! last step, and only if there is nothing to say against it.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use gate::{Answer, Gate, GateOptions, Image, Judged, Question, Trust};
use oci::{
    Content, Copied, CopyOptions, Descriptor, Digest, Found, Progress, Reference, Repository,
    Selector, Store, StoreError, Tag, Upload, copy_graph,
};
use policies::Policy;

use crate::commands::policy;
use crate::digest_tags;
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
    /// The policy says no, and it is not known whether it would, had all proof been readable.
    Doubted(CommandError, Arc<Judged>),
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
            Self::Doubted(error, judged) => policy::with_findings(error, &judged.verdict),
            Self::Lost(judged) => {
                let error = CommandError::undecided(Message(format!(
                    "`{image}` arrived without what proves it, and was not tagged"
                )));
                policy::with_findings(error, &judged.verdict)
            }
        }
    }
}

impl Gates {
    pub(crate) fn new(trust: &Trust) -> Self {
        let new = || {
            Gate::new(GateOptions {
                trust: trust.clone(),
                ..GateOptions::default()
            })
        };
        Self {
            before: new(),
            behind: new(),
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
            return Ok(answer);
        }
        match digest_tags::alone(found, &found.reference.to_string()).await {
            // Whether it is signed is not known.
            Some(error) => Err(Stop::Doubted(error, answer.judged)),
            None => Err(Stop::Rejected(answer.judged)),
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
        let to = (destination, store);
        let Err(stopped) = self.behind(&copied, policy, to, at).await else {
            return Ok(copied);
        };
        // The destination may list what it has lost, and then nobody sent it again.
        let suspected: Arc<dyn Store> = Arc::new(Suspected(Arc::clone(store)));
        let sent_again = copy_graph(
            &*found.store,
            &*suspected,
            &found.descriptor,
            &options,
            progress,
        )
        .await
        .map_err(|error| Stop::Broken(CommandError::undecided(error)))?;
        if sent_again.new.manifests == 0 || !matches!(stopped, Stop::Lost(_)) {
            return Err(stopped);
        }
        self.behind(&sent_again, policy, to, at).await?;
        Ok(sent_again)
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

/// A destination whose list of what is attached is not believed: what is on it is looked for.
#[derive(Debug)]
struct Suspected(Arc<dyn Store>);

#[async_trait]
impl Store for Suspected {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        self.0.resolve(selector).await
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        self.0.contains(target).await
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        self.0.fetch(target).await
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        self.0.push_blob(target, upload).await
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.0.push_manifest(target, content).await
    }

    async fn push_manifests(&self, manifests: Vec<(Descriptor, Bytes)>) -> Result<(), StoreError> {
        self.0.push_manifests(manifests).await
    }

    fn repository(&self) -> Option<&Repository> {
        self.0.repository()
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        self.0.tag(target, tag).await
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.0.tags().await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        let mut there = Vec::new();
        for listed in self.0.referrers(subject).await? {
            if self.0.contains(&listed).await? {
                there.push(listed);
            }
        }
        Ok(there)
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        self.0.delete(target).await
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
