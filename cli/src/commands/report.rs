//! `sealpack report`: what is attached to an image, proven of it, and in it.

use std::path::{Path, PathBuf};

use attest::Accept;
use clap::Args;
use gate::{Answer, Gate, GateOptions, Proof, Question};
use intoto::PredicateType;
use oci::{Descriptor, Image, Limits, Platform, Reference, Store};
use report::image::{ImageReport, Unproven};

use crate::args::{Access, Format, IdentityArgs, Printed};
use crate::commands::policy;
use crate::digest_tags;
use crate::environment::{self, Environment};
use crate::error::{CommandError, Message};
use crate::images::Lookup;
use crate::typed;
use crate::ui::Ui;
use crate::written;

/// Report what is in an image, what is attached to it, and what of that is verified.
///
/// As text, as JSON, or as one page that needs nothing but itself. With a policy, exit code and
/// page say what it says; with a key alone, what is by it is proven; with neither, nothing is, and
/// what is attached is shown as what it says to be.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  A page for people, judged by a policy:
    sealpack report registry.example/app:v1 --policy policy.toml --html report.html
  What is attached, by whomever:
    sealpack report oci:out:app")]
pub(crate) struct ReportArgs {
    /// The image.
    #[arg(value_parser = typed::image)]
    image: Reference,

    /// Judge it by this policy: a `policy.toml` or its folder.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    #[command(flatten)]
    identity: IdentityArgs,

    /// Write an HTML page to this file, `-` for standard output.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    #[command(flatten)]
    access: Access,

    #[command(flatten)]
    printed: Printed,
}

/// The kinds of claims that a key alone is believed about.
const KINDS: [PredicateType; 7] = [
    PredicateType::COSIGN_SIGN,
    PredicateType::SLSA_PROVENANCE_V1,
    PredicateType::CYCLONEDX,
    PredicateType::SPDX,
    PredicateType::SEALPACK_HEALTH,
    PredicateType::SLSA_VSA_V1,
    PredicateType::COSIGN_VULN,
];

pub(crate) async fn run(
    args: ReportArgs,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let given = args.identity.signers(environment)?;
    let policies = match &args.policy {
        Some(path) => Some(policy::load(path, &given)?),
        None => None,
    };
    let images = Lookup::new(&args.access, environment, ui);
    ui.begin("report", args.image.to_string());
    let found = images.find_provable(&args.image).await?;
    let policy = match &policies {
        Some(policies) => Some(policy::choose(policies, &[&args.image])?),
        None => None,
    };
    let (store, image) = (&*found.store, &found.descriptor);
    let nodes = oci::walk(store, image, &Limits::default()).await?;
    let report = described(store, image, found.reference.to_string()).await;
    let tags = digest_tags::of(&found).await;
    let report = report.tree(&nodes).digest_tags(tags);

    let accepted: Vec<Accept> = match &policy {
        Some(policy) => policy.accepts().to_vec(),
        None => KINDS
            .iter()
            .flat_map(|kind| {
                given.iter().map(|signer| Accept {
                    predicate_type: kind.clone(),
                    signer: signer.clone(),
                })
            })
            .collect(),
    };
    let trust = args.identity.trust(&accepted)?;
    let proof = gate::prove(store, image, &accepted, &trust, &Limits::default())
        .await
        .map_err(CommandError::undecided)?;
    let mut report = if accepted.is_empty() {
        report
            .claimed(&proof.discovered.attached)
            .unproven(Vec::new(), proof.discovered.unread)
    } else {
        proven(report, &proof)
    };
    if let Some(policy) = policy {
        // The one place that judges, which asks for itself what is proven.
        let question = Question {
            image: gate::Image::Found(Box::new(found.clone())),
            policy,
            at: environment::now(),
        };
        let gate = Gate::new(GateOptions {
            trust,
            ..GateOptions::default()
        });
        let Answer { judged, .. } = gate.ask(&question).await?;
        report = report.judged(judged.verdict.clone());
    }
    show(&args, &report, ui)?;
    if report.is_rejected() {
        let message = format!("`{}` was rejected by the policy", report.image);
        return Err(CommandError::rejected(Message(message)));
    }
    Ok(())
}

fn proven(report: ImageReport, proof: &Proof) -> ImageReport {
    let unproven = proof.unproven();
    let unproven = unproven
        .iter()
        .map(|it| Unproven::new(&it.manifest, &it.reason));
    report
        .proven(&proof.verified)
        .unproven(unproven.collect(), proof.discovered.unread)
}

fn show(args: &ReportArgs, report: &ImageReport, ui: &Ui) -> Result<(), CommandError> {
    if let Some(path) = &args.html {
        written::write(path, &report.page().html(), ui)?;
        if path == Path::new("-") || args.printed.output == Format::Text {
            return Ok(());
        }
    }
    ui.result(args.printed.output, report, |ui, report| {
        ui.line(report.text().trim_end());
    })
}

/// What the image says of itself.
async fn described(store: &dyn Store, image: &Descriptor, name: String) -> ImageReport {
    let report = ImageReport::new(name, image);
    // What is no image has no config; the tree says what it is.
    let Ok(read) = Image::read(store, image, &Platform::host(), &Limits::default()).await else {
        return report;
    };
    let config = read.config();
    let size: u64 = read.layers().map(|(layer, _)| layer.size).sum();
    let layers = format!("{} ({})", read.layers().count(), crate::ui::size(size));
    report
        .fact("image id", read.id().to_string())
        .fact("platform", format!("{}/{}", config.os, config.architecture))
        .fact("created", config.created.clone().unwrap_or_default())
        .fact("layers", layers)
}
