//! `sealpack build`: the whole line, in order.
//!
//! 1. [`settings`]: all that can be wrong with the arguments, before anything is done.
//! 2. [`phases`]: the lifecycle, into a staged layout.
//! 3. [`proof`]: SBOMs and provenance, signed and attached to the staged image.
//! 4. Judge what a stranger would find in the staged layout.
//! 5. [`publish`]: move it to its destinations, the tag last, and attach the verdict.

mod borrowing;
mod inputs;
mod lifecycle;
mod phases;
mod proof;
mod publish;
mod settings;
mod staging;

use std::pin::pin;
use std::time::{Duration, SystemTime};

use lifecycle_core::exec::Cancel;
use oci::{Descriptor, Store};
use policies::Verdict;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use self::phases::Built;
use self::settings::Settings;
use self::staging::Staging;
use crate::args::{Build, Format};
use crate::commands::policy;
use crate::environment::{self, Environment};
use crate::error::{CommandError, Message};
use crate::images::Images;
use crate::judge::{self, Unproven};
use crate::ui::{Tone, Ui};

/// What `sealpack build --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    image: String,
    digest: String,
    media_type: String,
    size: u64,
    image_id: String,
    published: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    staged: Option<String>,
    buildpacks: Vec<String>,
    isolation: serde_json::Value,
    layers: Layers,
    attached: Vec<proof::Attached>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
}

#[derive(Debug, Serialize)]
struct Layers {
    new: usize,
    reused: usize,
}

/// Builds; Ctrl-C ends it, with all that it started, and leaves nothing behind.
pub(crate) async fn run(
    args: Build,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    /// How long what was interrupted may take to clean up.
    const GRACE: Duration = Duration::from_secs(5);
    let started = environment::now();
    let images = Images::new(&args.access, environment, ui);
    // Here a password may be asked for: Ctrl-C ends that as it ends any program.
    let settings = Settings::resolve(args, environment, ui)?;
    let cancel = Cancel::default();
    let build = line(&settings, &images, started, &cancel, environment, ui);
    let mut build = pin!(build);
    let mut terminate = signal(SignalKind::terminate()).map_err(CommandError::undecided)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CommandError::undecided)?;
    tokio::select! {
        result = &mut build => return result,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    cancel.cancel();
    // Whether it ends in time or not, the answer is the same.
    drop(timeout(GRACE, build).await);
    Err(Message("interrupted: nothing was published".to_owned()).into())
}

async fn line(
    settings: &Settings,
    images: &Images<'_>,
    started: SystemTime,
    cancel: &Cancel,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let staging = Staging::create(settings, environment)?;
    let built = phases::run(settings, &staging, images, cancel, environment, ui).await?;
    let attached = proof::attach(settings, &staging, &built, started, ui).await?;

    let mut report = Report {
        image: staging.reference(&built.report.image.digest),
        digest: built.report.image.digest.to_string(),
        media_type: built.report.image.media_type.to_string(),
        size: built.report.image.size,
        image_id: built.report.image_id.to_string(),
        published: false,
        staged: Some(staging.reference(&built.report.image.digest)),
        buildpacks: built
            .report
            .buildpacks
            .iter()
            .map(|it| format!("{}@{}", it.id, it.version))
            .collect(),
        isolation: built.isolation.clone(),
        layers: Layers::of(&built),
        attached,
        verdict: None,
    };
    if let Some(policy) = &settings.policy {
        // What is judged is what a stranger would find, not what we remember to have written.
        let store = staging.reopen()?;
        let (verdict, unproven) = judge(policy, &store, &built.report.image).await?;
        if !verdict.accepted() {
            let (kept, lack) = staging.keep(&built.report.image).await;
            let notes = unproven.iter().map(Unproven::line);
            let notes = notes.chain(lack).chain([format!(
                "nothing was published; the image is kept in `oci:{}`",
                kept.display()
            )]);
            let error = policy::rejected(&report.image, &verdict, notes.collect());
            report.verdict = Some(verdict);
            if settings.format == Format::Json {
                ui.json(&report)?;
            }
            return Err(error);
        }
        ui.done(
            "judge",
            format_args!(
                "accepted: all {} demands are met",
                verdict.satisfied().len()
            ),
        );
        report.verdict = Some(verdict);
    }

    let verdict = report.verdict.as_ref();
    let published = match publish::run(settings, &staging, images, &built, verdict, ui).await {
        Ok(published) => published,
        // The image is good; only its way out was not.
        Err(error) => {
            let (kept, lack) = staging.keep(&built.report.image).await;
            let error = lack.into_iter().fold(error, CommandError::note);
            return Err(error
                .note(format!("the image is kept in `oci:{}`", kept.display()))
                .hint(format!(
                    "copy it when the destination is well again: `sealpack copy oci:{}@{} DESTINATION --referrers`",
                    kept.display(),
                    built.report.image.digest
                )));
        }
    };
    if let Some(lack) = staging.finish(&built.report.image).await {
        ui.warn(lack);
    }
    report.attached.extend(published.attached);
    report.image = published.image;
    report.published = true;
    report.staged = None;
    ui.result(settings.format, &report, print)
}

async fn judge(
    policy: &policies::Policy,
    store: &dyn Store,
    image: &Descriptor,
) -> Result<(Verdict, Vec<Unproven>), CommandError> {
    let proof = judge::prove(store, image, policy.accepts()).await?;
    let unproven = proof.unproven();
    Ok((judge::judge(policy, image, proof.verified)?, unproven))
}

impl Layers {
    fn of(built: &Built) -> Self {
        let reused = built.report.layers.iter().filter(|it| it.reused).count();
        Self {
            new: built.report.layers.len() - reused,
            reused,
        }
    }
}

fn print(ui: &Ui, report: &Report) {
    match &report.verdict {
        Some(verdict) => policy::print(ui, &report.image, verdict),
        None => ui.line(format_args!(
            "{} {}",
            ui.paint(Tone::Good, "built"),
            report.image
        )),
    }
}
