//! An image for each of several platforms, and one index of them, with proof for each and for itself.
//!
//! What a platform lacks, its run image or a launcher, is found before anything is built. Then each
//! image is built and proven, the index is made of them and proven, all is judged, and only then
//! anything moves, the tag last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use gate::{Gate, Question};
use lifecycle_core::exec::Cancel;
use oci::{
    Descriptor, Found, Image, Index, Limits, Location, MediaType, MemoryStore, Store, spans,
};
use platform::run::{Borrowing, Built, RunImage, Staging};
use platform::sandbox::IsolationReport;
use policies::Verdict;
use serde::Serialize;
use time::OffsetDateTime;
use tracing::info_span;

use super::links::Watcher;
use super::proof::{self, Attachments};
use super::settings::Settings;
use super::targets::Target;
use super::{Chooser, Told, previous};
use crate::claims::{Attached, Claims, Member};
use crate::commands::policy;
use crate::environment::{self, Environment};
use crate::error::{CommandError, Context as _, Message};
use crate::images::Lookup;
use crate::publishing;
use crate::temporary;
use crate::ui::{Tone, Ui};

/// A build that has begun: what it needs is there.
#[derive(Clone, Copy)]
pub(crate) struct Begun<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) run_image: &'a RunImage,
    pub(crate) images: &'a Lookup<'a>,
    pub(crate) gate: &'a Gate,
    pub(crate) started: SystemTime,
    pub(crate) cancel: &'a Cancel,
    pub(crate) environment: &'a Environment,
}

/// What `sealpack build --platform … --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    image: String,
    digest: String,
    media_type: String,
    size: u64,
    published: bool,
    images: Vec<ImageReport>,
    attached: Vec<Attached>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageReport {
    platform: String,
    digest: String,
    image_id: String,
    buildpacks: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extensions: Vec<String>,
    isolation: IsolationReport,
}

/// One image, staged.
struct Staged {
    target: Target,
    staging: Staging,
    built: Built,
    proof: Attachments,
}

/// Builds for each of `targets`.
pub(crate) async fn line(
    begun: &Begun<'_>,
    targets: &[Target],
    ui: &Ui,
) -> Result<(), CommandError> {
    let settings = begun.settings;
    for destination in &settings.destinations {
        if matches!(destination.location, Location::DockerDaemon(_)) {
            return Err(CommandError::undecided(Message(format!(
                "`{destination}`: a Docker daemon has no place for an index of several platforms"
            )))
            .hint("publish to a registry or a layout: `--tag HOST/REPO:TAG`"));
        }
    }
    run_images_are_there(begun.run_image, targets).await?;
    let mut all = Vec::new();
    for target in targets {
        ui.done("platform", &target.platform);
        let span = info_span!("platform", architecture = target.platform.architecture);
        all.push(spans::within(span, stage(begun, target, ui)).await?);
    }
    let store = Borrowing::new(Arc::new(MemoryStore::new()));
    let root = index(&all, &store).await?;
    let mut attached: Vec<_> = all
        .iter()
        .flat_map(|it| it.proof.attached.clone())
        .collect();
    if let Some(signer) = &settings.signer {
        let members: Vec<_> = all
            .iter()
            .map(|it| Member {
                platform: &it.target.platform,
                image: &it.built.report.image,
                claims: &it.proof.claims,
            })
            .collect();
        let created = OffsetDateTime::from_unix_timestamp(settings.created).ok();
        let claims = Claims::of_index(&root, settings.image_name(), &members, created)?;
        attached.extend(claims.attach(&store, &root, signer, ui).await?);
    }
    let judging = judge(begun, &all, &root, &store);
    let verdicts = spans::within(info_span!("judge"), judging).await?;
    let publishing = publish(begun, &all, &root, &store, &verdicts, ui);
    let published = spans::within(info_span!("publish"), publishing).await?;
    attached.extend(published.1);
    let report = Report {
        image: published.0,
        digest: root.digest.to_string(),
        media_type: root.media_type.to_string(),
        size: root.size,
        published: true,
        images: all.iter().map(ImageReport::of).collect(),
        attached,
        verdict: verdicts.into_iter().next(),
    };
    ui.result(settings.format, &report, |ui, report| {
        match &report.verdict {
            Some(verdict) => policy::print(ui, &report.image, verdict),
            None => ui.line(format_args!(
                "{} {}",
                ui.paint(Tone::Good, "built"),
                report.image
            )),
        }
    })
}

/// Looks whether there is a run image for each platform.
async fn run_images_are_there(
    run_image: &RunImage,
    targets: &[Target],
) -> Result<(), CommandError> {
    let RunImage::Found { shown, found, .. } = run_image else {
        return Ok(());
    };
    for Target { platform, .. } in targets {
        let failed = || format!("the run image `{shown}` cannot be used for {platform}");
        let limits = Limits::default();
        let image = Image::read(&*found.store, &found.descriptor, platform, &limits).await;
        let is_for = image.context(failed)?.config().platform();
        if !is_for.os.is_empty() && !is_for.is_for(platform) {
            return Err(CommandError::undecided(Message(failed()))
                .note(format!("it is for {is_for}"))
                .hint("name an index that has an image for each platform: `--run-image IMAGE`"));
        }
    }
    Ok(())
}

/// Builds one image, and proves it.
async fn stage(begun: &Begun<'_>, target: &Target, ui: &Ui) -> Result<Staged, CommandError> {
    let settings = begun.settings;
    let name = settings.build_name(target);
    temporary::check(begun.environment)?;
    let staging = Staging::create(&begun.environment.temporary(), &name, None)?;
    let previous = previous(settings, begun.images, ui).await?;
    let previous = previous_for(previous, target).await;
    let chooser = Chooser::new(settings, begun.images, ui);
    let previous = previous.as_ref();
    let request = settings.request(begun.run_image, &chooser, previous, begun.cancel, target);
    let mut watcher = Watcher::new(None);
    let told = Told::new(ui);
    let built = platform::run::run(&request, &staging, &told, &mut watcher).await;
    let built = built.map_err(|error| chooser.failure(error))?;
    let proof = proof::attach((settings, target), &staging, &built, begun.started, ui);
    let proof = spans::within(info_span!("prove"), proof).await?;
    Ok(Staged {
        target: target.clone(),
        staging,
        built,
        proof,
    })
}

/// The image before, if it is for the same platform: the one in an index need not be.
async fn previous_for(previous: Option<Found>, target: &Target) -> Option<Found> {
    let found = previous?;
    let limits = Limits::default();
    let image = Image::read(&*found.store, &found.descriptor, &target.platform, &limits).await;
    let is_for = image.ok()?.config().platform();
    is_for.is_for(&target.platform).then_some(found)
}

/// Makes the index in `store`, of images whose layers stay where they are staged.
async fn index(all: &[Staged], store: &Borrowing) -> Result<Descriptor, CommandError> {
    let mut entries = Vec::new();
    for Staged {
        target,
        staging,
        built,
        ..
    } in all
    {
        let (platform, limits) = (&target.platform, Limits::default());
        let lender = staging.lender();
        let image = Image::read(&*lender, &built.report.image, platform, &limits)
            .await
            .map_err(CommandError::undecided)?;
        store.borrow(&image, &lender).await?;
        entries.push(Descriptor {
            platform: Some(platform.clone()),
            ..built.report.image.bare()
        });
    }
    let index = Index::new(MediaType::IMAGE_INDEX, entries, BTreeMap::new());
    let (root, bytes) = index.encode().map_err(CommandError::undecided)?;
    store.push_manifest(&root, bytes).await?;
    Ok(root)
}

/// Judges each image, and then the index, for each destination, as a stranger would find them. The
/// verdicts are those on the index.
async fn judge(
    begun: &Begun<'_>,
    all: &[Staged],
    root: &Descriptor,
    store: &Borrowing,
) -> Result<Vec<Verdict>, CommandError> {
    let mut verdicts = Vec::new();
    let settings = begun.settings;
    let policies = settings.policies.iter().zip(&settings.destinations);
    for (policy, destination) in policies {
        let index: (Descriptor, Arc<dyn Store>) = (root.clone(), Arc::new(store.clone()));
        let mut staged = Vec::new();
        for it in all {
            let reopened: Arc<dyn Store> = Arc::new(it.staging.reopen()?);
            staged.push((it.built.report.image.clone(), reopened));
        }
        for (descriptor, store) in staged.into_iter().chain([index]) {
            let reference = destination.at(descriptor.digest.clone());
            let question = Question {
                image: gate::Image::Found(Box::new(Found {
                    reference: reference.clone(),
                    descriptor: descriptor.clone(),
                    store,
                })),
                policy: Arc::clone(policy),
                at: environment::now(),
            };
            let judged = begun.gate.ask(&question).await?.judged;
            if !judged.verdict.accepted() {
                let mut notes = policy::notes(&judged);
                notes.push("nothing was published".to_owned());
                let name = reference.to_string();
                return Err(policy::rejected(&name, &judged.verdict, notes));
            }
            if descriptor.digest == root.digest {
                verdicts.push(judged.verdict.clone());
            }
        }
    }
    Ok(verdicts)
}

/// Publishes the images with their proof, then the index with its own, the tag last; then the verdict.
/// Says where the index is, by digest.
async fn publish(
    begun: &Begun<'_>,
    all: &[Staged],
    root: &Descriptor,
    own: &Borrowing,
    verdicts: &[Verdict],
    ui: &Ui,
) -> Result<(String, Vec<Attached>), CommandError> {
    let settings = begun.settings;
    let parts: Vec<_> = all
        .iter()
        .map(|it| publishing::Staged {
            store: it.staging.store(),
            target: &it.built.report.image,
        })
        .collect();
    let index = publishing::Staged {
        store: own,
        target: root,
    };
    let mut attached = Vec::new();
    for (at, destination) in settings.destinations.iter().enumerate() {
        let store = begun.images.create(destination).await?;
        let verdict = settings.verdict(verdicts.get(at), destination);
        let to = (destination, &*store);
        let signer = settings.signer.as_ref();
        attached.extend(publishing::publish(&parts, index, to, verdict, signer, ui).await?);
    }
    let first = settings.destinations.first();
    let image = first.map_or_else(String::new, |it| it.at(root.digest.clone()).to_string());
    Ok((image, attached))
}

impl ImageReport {
    fn of(staged: &Staged) -> Self {
        let report = &staged.built.report;
        Self {
            platform: staged.target.platform.to_string(),
            digest: report.image.digest.to_string(),
            image_id: report.image_id.to_string(),
            buildpacks: report
                .buildpacks
                .iter()
                .map(|it| format!("{}@{}", it.id, it.version))
                .collect(),
            extensions: staged
                .built
                .extensions
                .iter()
                .map(|it| it.name.clone())
                .collect(),
            isolation: staged.built.isolation.clone(),
        }
    }
}
