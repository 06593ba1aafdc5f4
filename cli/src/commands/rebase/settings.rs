//! What a rebase was asked for, resolved and checked before anything is done.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attest::{Accept, SignerPattern};
use gate::{Gate, GateOptions, Image, PolicySet, Question, Trust};
use intoto::PredicateType;
use oci::{Found, Location, Reference};
use policies::{Policy, Verdict};

use super::args::Rebase;
use crate::args::IdentityArgs;
use crate::commands::policy;
use crate::environment::{self, Environment};
use crate::error::{CommandError, Message};
use crate::images::NO_PLACE;
use crate::keys;
use crate::signing::Signer;

/// A rebase, as it was asked for.
#[derive(Debug)]
pub(super) struct Settings {
    /// What is rebased.
    pub(super) source: Reference,
    /// Where the new image goes.
    pub(super) destinations: Vec<Reference>,
    pub(super) run_image: Option<String>,
    pub(super) force: bool,
    pub(super) base_packages: bool,
    pub(super) builder_id: String,
    pub(super) signer: Option<Signer>,
    pub(super) judges: Judges,
    pub(super) report: Option<PathBuf>,
    /// Where what was found in layers is kept.
    pub(super) cache: Option<PathBuf>,
    pub(super) temporary: PathBuf,
}

/// Who says whether images may be used.
#[derive(Debug)]
pub(super) struct Judges {
    gate: Gate,
    trust: Trust,
    policies: Option<PolicySet>,
    of_run_image: Option<PolicySet>,
    /// The policy, as the user named it.
    pub(super) name: String,
    /// Whose word on the image before is taken where there is no policy.
    own: Option<SignerPattern>,
}

impl Settings {
    pub(super) async fn resolve(
        args: Rebase,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let destinations = match args.tags.as_slice() {
            [] => vec![args.image.clone()],
            tags => tags.to_vec(),
        };
        for it in &destinations {
            can_be_written(it)?;
        }
        let services = &args.signer.services;
        let key = args.signer.key.as_deref();
        let key = key.map(|it| keys::private(it, environment)).transpose()?;
        let own = key
            .as_ref()
            .map(|it| SignerPattern::Key(it.public_key().clone()));
        let judges = Judges::of(&args, own)?;
        let signer = if args.signer.unsigned {
            None
        } else {
            Some(Signer::open(key, services, &args.access, environment).await?)
        };
        Ok(Self {
            source: args.previous_image.unwrap_or(args.image),
            destinations,
            run_image: args.run_image,
            force: args.force,
            // Without a signer nothing is attached, and nothing has to be looked into.
            base_packages: !args.no_base_packages && signer.is_some(),
            builder_id: args.builder_id,
            signer,
            judges,
            report: args.report.map(|it| environment.directory.join(it)),
            cache: environment.cache(),
            temporary: environment.temporary(),
        })
    }

    /// What the image is called, wherever it goes.
    pub(super) fn image_name(&self) -> String {
        let all = self.destinations.iter().chain([&self.source]);
        let mut registries = all.filter_map(|it| match &it.location {
            Location::Registry(repository) => Some(repository.to_string()),
            _ => None,
        });
        registries.next().unwrap_or_else(|| "app".to_owned())
    }
}

/// Whether an image can be given this name.
fn can_be_written(reference: &Reference) -> Result<(), CommandError> {
    if reference.digest.is_some() {
        return Err(CommandError::undecided(Message(format!(
            "`{reference}` names a digest, and the new image will have another"
        )))
        .hint("say where it goes: `--tag HOST/REPO:TAG` or `--tag oci:DIR:TAG`"));
    }
    if let Location::DockerDaemon(_) = reference.location {
        return Err(CommandError::undecided(Message(NO_PLACE.to_owned()))
            .hint("rebase the image in a registry or a layout, then `sealpack copy` it"));
    }
    Ok(())
}

impl Judges {
    fn of(args: &Rebase, own: Option<SignerPattern>) -> Result<Self, CommandError> {
        let given: Vec<_> = own.iter().cloned().collect();
        let load = |path: &Option<PathBuf>| -> Result<Option<PolicySet>, CommandError> {
            let load = |path: &Path| policy::load(path, &given);
            path.as_deref().map(load).transpose()
        };
        let (policies, of_run_image) = (load(&args.policy)?, load(&args.run_image_policy)?);
        let all = policies.iter().chain(&of_run_image);
        let accepted = all.flat_map(|it| it.policies().iter().flat_map(|it| it.accepts()));
        let trusted = IdentityArgs {
            trusted_root: args.signer.services.trusted_root.clone(),
            ..IdentityArgs::default()
        };
        let trust = trusted.trust(accepted)?;
        Ok(Self {
            gate: Gate::new(GateOptions {
                trust: trust.clone(),
                ..GateOptions::default()
            }),
            trust,
            policies,
            of_run_image,
            name: args
                .policy
                .as_ref()
                .map_or(String::new(), |it| it.display().to_string()),
            own,
        })
    }

    /// What is trusted besides keys.
    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Whose word on the image before is taken: that of whom its policy accepts; without one, ours.
    pub(super) fn accepted(&self, image: &Reference) -> Result<Vec<Accept>, CommandError> {
        if let Some(set) = &self.policies {
            let policy = policy::choose(set, &[image])?;
            return Ok(policy.accepts().to_vec());
        }
        let claims = [PredicateType::SLSA_PROVENANCE_V1, PredicateType::CYCLONEDX];
        Ok(self
            .own
            .iter()
            .flat_map(|signer| {
                claims.iter().map(|claim| Accept {
                    predicate_type: claim.clone(),
                    signer: signer.clone(),
                })
            })
            .collect())
    }

    /// Judges the image that is to be rebased, or one that was made; nothing, without a policy.
    pub(super) async fn image(
        &self,
        found: Found,
        name: &Reference,
    ) -> Result<Option<Verdict>, CommandError> {
        match &self.policies {
            Some(set) => {
                let policy = policy::choose(set, &[name])?;
                self.judge(found, policy).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Judges a run image.
    pub(super) async fn run_image(&self, found: Found) -> Result<(), CommandError> {
        let Some(set) = self.of_run_image.as_ref().or(self.policies.as_ref()) else {
            return Ok(());
        };
        let policy = policy::choose(set, &[&found.reference])?;
        self.judge(found, policy)
            .await
            .map(drop)
            .map_err(|it| it.hint("`--run-image-policy` names a policy for the run image alone"))
    }

    async fn judge(&self, found: Found, policy: Arc<Policy>) -> Result<Verdict, CommandError> {
        let name = found.reference.to_string();
        let question = Question {
            image: Image::Found(Box::new(found)),
            policy,
            at: environment::now(),
        };
        let judged = self.gate.ask(&question).await?.judged;
        if judged.verdict.accepted() {
            Ok(judged.verdict.clone())
        } else {
            Err(policy::rejected(
                &name,
                &judged.verdict,
                policy::notes(&judged),
            ))
        }
    }
}
