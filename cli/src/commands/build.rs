//! `sealpack build`: the whole line, in order.
//!
//! 1. [`Settings`]: all that can be wrong with the arguments, before anything is done.
//! 2. [`platform::run`]: the lifecycle, into a staged layout.
//! 3. [`proof`]: SBOMs and provenance, signed and attached to the staged image.
//! 4. Judge what a stranger would find in the staged layout.
//! 5. [`publish`]: move it to its destinations, the tag last, and attach the verdict.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gate::{Gate, GateOptions, Image, Judged, Question};
use lifecycle_core::exec::Cancel;
use oci::{Descriptor, Found, spans};
use platform::run::{Built, Staging};
use platform::sandbox::IsolationReport;
use policies::{Policy, Verdict};
use serde::Serialize;
use tokio::time::timeout;
use tracing::info_span;

use crate::args::{Format, IdentityArgs};
pub(crate) use crate::building::Build;
use crate::building::links::{self, Watcher};
use crate::building::platforms::{self, Begun};
use crate::building::trace::Trace;
use crate::building::{self, Chooser, Settings, Told, places, proof, publish};
use crate::claims::Attached;
use crate::commands::{policy, within};
use crate::environment::{self, Environment};
use crate::error::CommandError;
use crate::images::Lookup;
use crate::interrupts::Interrupts;
use crate::signing::Signer;
use crate::temporary;
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extensions: Vec<String>,
    isolation: IsolationReport,
    layers: Layers,
    attached: Vec<Attached>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
}

#[derive(Debug, Serialize)]
struct Layers {
    new: usize,
    reused: usize,
}

/// Builds, for no longer than `limit`, and tells how it went, if that is wanted. Telling it is not part of
/// what is limited: a build that is done stays done.
pub(crate) async fn run(
    args: Build,
    limit: Option<Duration>,
    interrupts: &mut Interrupts,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let Some(to) = &args.trace else {
        let building = build(args, None, interrupts, environment, ui);
        return within(limit, Box::pin(building)).await;
    };
    let trace = Trace::start(to, &args.app, &args.access, environment)?;
    let span = info_span!("sealpack-build");
    let building = build(args, Some(Arc::clone(&trace)), interrupts, environment, ui);
    let result = within(limit, spans::within(span, building)).await;
    trace.finish(ui).await;
    result
}

/// Builds; a signal ends it, with all that it started, and leaves nothing behind.
async fn build(
    args: Build,
    trace: Option<Arc<Trace>>,
    interrupts: &mut Interrupts,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    /// How long what was interrupted may take to clean up.
    const GRACE: Duration = Duration::from_secs(5);
    let started = environment::now();
    let images = Lookup::new(&args.access, environment, ui);
    let mut settings = tokio::select! {
        biased;
        settings = Settings::resolve(args, &images, environment, ui) => settings?,
        interrupted = interrupts.come() => return Err(interrupted),
    };
    settings.trace = trace;
    let cancel = Cancel::default();
    let build = line(&settings, &images, started, &cancel, environment, ui);
    let mut build = pin!(build);
    let interrupted = tokio::select! {
        biased;
        result = &mut build => return result,
        interrupted = interrupts.come() => interrupted,
    };
    cancel.cancel();
    // What was as good as done is done.
    match timeout(GRACE, build).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(interrupted.note("it had not published all yet")),
    }
}

impl Report {
    /// What was built, before anything is published.
    fn new(staging: &Staging, built: &Built, attached: Vec<Attached>) -> Self {
        Self {
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
            extensions: built.extensions.iter().map(|it| it.name.clone()).collect(),
            isolation: built.isolation.clone(),
            layers: Layers::of(built),
            attached,
            links: Vec::new(),
            verdict: None,
        }
    }
}

async fn line(
    settings: &Settings,
    images: &Lookup<'_>,
    started: SystemTime,
    cancel: &Cancel,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    places::are_writable(&settings.destinations)?;
    places::let_us_write(&settings.destinations, images, ui).await?;
    let run_image = building::run_image(settings, images, ui).await?;
    let gate = gate(settings)?;
    let targets = settings.targets()?;
    let [target] = targets.as_slice() else {
        let begun = Begun {
            settings,
            run_image: &run_image,
            images,
            gate: &gate,
            started,
            cancel,
            environment,
        };
        return Box::pin(platforms::line(&begun, &targets, ui)).await;
    };
    let name = settings.build_name(target);
    temporary::check(environment)?;
    let staging = Staging::create(&environment.temporary(), &name, settings.staging.as_deref())?;
    let previous = building::previous(settings, images, ui).await?;
    places::answer(settings, images, ui).await?;
    let chooser = Chooser::new(settings, images, ui);
    let request = settings.request(&run_image, &chooser, previous.as_ref(), cancel, target);
    let mut watcher = Watcher::new(settings.links.is_some().then(|| staging.root()));
    let told = Told::new(ui);
    let built = platform::run::run(&request, &staging, &told, &mut watcher).await;
    let built = built.map_err(|error| chooser.failure(error))?;
    let proof = proof::attach((settings, target), &staging, &built, started, ui);
    let attached = spans::within(info_span!("prove"), proof).await?.attached;

    let mut report = Report::new(&staging, &built, attached);
    let mut verdicts = Vec::new();
    for policy in &settings.policies {
        // What is judged is what a stranger would find, not what we remember to have written.
        let judged = judge(&gate, policy, &staging, &built.report.image);
        let judged = spans::within(info_span!("judge"), judged).await?;
        if !judged.verdict.accepted() {
            let (kept, lack) = staging.keep(&built.report.image).await;
            let notes = policy::notes(&judged).into_iter().chain(lack);
            let notes = notes.chain([format!(
                "nothing was published; the image is kept in `oci:{}`",
                kept.display()
            )]);
            let error = policy::rejected(&report.image, &judged.verdict, notes.collect());
            report.verdict = Some(judged.verdict.clone());
            if settings.format == Format::Json {
                ui.json(&report)?;
            }
            return Err(error);
        }
        verdicts.push(judged.verdict.clone());
    }
    if let Some(verdict) = verdicts.first() {
        ui.done(
            "policy",
            format_args!(
                "accepted: {0} of {0} checks passed",
                verdict.satisfied().len()
            ),
        );
        report.verdict = Some(verdict.clone());
    }

    let key = settings.signer.as_ref().and_then(Signer::key);
    if let (Some(folder), Some(key)) = (&settings.links, key) {
        report.links = links::write(&watcher.into_links(), key, folder)?;
        ui.done("links", format_args!("{} of them", report.links.len()));
    }
    let publishing = publish::run(settings, &staging, images, &built, &verdicts, ui);
    let published = match spans::within(info_span!("publish"), publishing).await {
        Ok(published) => published,
        // The image is good; only its way out was not.
        Err(error) => {
            let (kept, lack) = staging.keep(&built.report.image).await;
            let error = lack.into_iter().fold(error, CommandError::note);
            return Err(error
                .note(format!("the image is kept in `oci:{}`", kept.display()))
                .hint(format!(
                    "copy it when the destination is well again: `sealpack copy oci:{}@{} DESTINATION`",
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

/// Who judges what is made.
fn gate(settings: &Settings) -> Result<Gate, CommandError> {
    let accepted = settings.policies.iter().flat_map(|it| it.accepts());
    let trusted = IdentityArgs {
        trusted_root: settings.trusted_root.clone(),
        ..IdentityArgs::default()
    };
    Ok(Gate::new(GateOptions {
        trust: trusted.trust(accepted)?,
        ..GateOptions::default()
    }))
}

/// Judges the staged image. The same policy for another destination is answered from memory.
async fn judge(
    gate: &Gate,
    policy: &Arc<Policy>,
    staging: &Staging,
    image: &Descriptor,
) -> Result<Arc<Judged>, CommandError> {
    let question = Question {
        image: Image::Found(Box::new(Found {
            reference: staging.reference(&image.digest).parse()?,
            descriptor: image.clone(),
            store: Arc::new(staging.reopen()?),
        })),
        policy: Arc::clone(policy),
        at: environment::now(),
    };
    Ok(gate.ask(&question).await?.judged)
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
