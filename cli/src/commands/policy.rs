//! `sealpack policy`: an image is judged by what is proven about it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use attest::SignerPattern;
use clap::{Args, Subcommand};
use gate::{Answer, Gate, GateOptions, Image, Judged, PolicySet, Question, Unproven};
use intoto::PredicateType;
use oci::{Location, Reference, Repository};
use policies::Verdict;
use serde::Serialize;

use crate::args::{Access, Format, IdentityArgs, Printed};
use crate::digest_tags;
use crate::environment::{self, Environment};
use crate::error::{CommandError, Message};
use crate::images::Lookup;
use crate::typed;
use crate::ui::{Tone, Ui, counted};
use crate::unproven::{self, Listing, brief};

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Judge an image by what is proven about it.
    #[command(
        after_help = "Example:\n  sealpack policy check registry.example/app:v1 --policy policy.toml --key release.pub"
    )]
    Check(PolicyCheck),
}

#[derive(Args, Debug)]
pub(crate) struct PolicyCheck {
    /// The image.
    #[arg(value_parser = typed::image)]
    pub(crate) image: Reference,

    /// The policy: a `policy.toml`, its folder, or a folder of policies, of which the one counts whose
    /// `images` match most strictly. Whom it calls `given` is who is named by `--key`.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) policy: PathBuf,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What `sealpack policy check --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    image: String,
    accepted: bool,
    verdict: &'a Verdict,
    /// What is attached but proves nothing.
    unproven: &'a [Unproven],
    /// Tags by which cosign 1 and 2 attached something, of an image that was not accepted. Nobody has
    /// checked it.
    #[serde(rename = "digestTags", skip_serializing_if = "Vec::is_empty")]
    digest_tags: Vec<String>,
}

pub(crate) async fn run(
    command: Policy,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    match command {
        Policy::Check(args) => check(args, environment, ui).await,
    }
}

/// Judges an image.
async fn check(args: PolicyCheck, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    let policies = load(&args.policy, &args.identity.signers(environment)?)?;
    let images = Lookup::new(&args.access, environment, ui);
    ui.begin("policy", args.image.to_string());
    let found = images.find_provable(&args.image).await?;
    let there = found.clone();
    let policy = choose(&policies, &[&args.image])?;
    ui.aside(format_args!("judged by `{}`", policy.name()));
    let gate = Gate::new(GateOptions {
        trust: args.identity.trust(policy.accepts())?,
        ..GateOptions::default()
    });
    let question = Question {
        image: Image::Found(Box::new(found)),
        policy,
        at: environment::now(),
    };
    let Answer { image, judged } = gate.ask(&question).await?;
    let report = Report {
        image: image.to_string(),
        accepted: judged.verdict.accepted(),
        verdict: &judged.verdict,
        unproven: &judged.unproven,
        digest_tags: if judged.verdict.accepted() {
            Vec::new()
        } else {
            digest_tags::of(&there).await
        },
    };
    if report.accepted || args.printed.output == Format::Json {
        ui.result(args.printed.output, &report, |ui, report| {
            print(ui, &report.image, report.verdict);
        })?;
    }
    if report.accepted {
        return Ok(());
    }
    if let Some(error) = digest_tags::alone(&there, &report.image).await {
        return Err(with_findings(error, &judged.verdict));
    }
    let mut notes = with_unread(&judged, Listing::Here);
    notes.extend(report.digest_tags.iter().map(|it| digest_tags::note(it)));
    Err(rejected(&report.image, &judged.verdict, notes))
}

/// Reads policies; `given` is whom they mean by `signer = "given"`.
pub(crate) fn load(path: &Path, given: &[SignerPattern]) -> Result<PolicySet, CommandError> {
    Ok(PolicySet::load(path, given)?)
}

/// The policy for an image that lies at the first of `references`, or will lie at the next. The first
/// that is in a registry gives it its name.
pub(crate) fn choose(
    policies: &PolicySet,
    references: &[&Reference],
) -> Result<Arc<policies::Policy>, CommandError> {
    let name = references.iter().find_map(|it| name(it));
    Ok(Arc::clone(policies.choose(name, None)?))
}

/// What an image that lies there is called.
pub(crate) fn name(reference: &Reference) -> Option<&Repository> {
    match &reference.location {
        Location::Registry(repository) => Some(repository),
        // What a file says of itself is no name: whoever wrote it has chosen it.
        _ => None,
    }
}

/// What is attached and proves nothing, and what was not looked at.
pub(crate) fn notes(judged: &Judged) -> Vec<String> {
    with_unread(judged, Listing::Elsewhere)
}

fn with_unread(judged: &Judged, listing: Listing) -> Vec<String> {
    let mut notes = unproven::notes(&judged.unproven, listing);
    if judged.unread > 0 {
        notes.push(format!(
            "not looked at: {}",
            counted(judged.unread, "more referrer")
        ));
    }
    notes
}

/// Says why an image was accepted.
pub(crate) fn print(ui: &Ui, image: &str, verdict: &Verdict) {
    ui.line(format_args!("{} {image}", ui.paint(Tone::Good, "accepted")));
    for it in verdict.satisfied() {
        let what = match &it.claim {
            Some(claim) => format!("claim {}{}", claim.name(), by(verdict, claim)),
            None => format!("rules {}", it.rule),
        };
        ui.line(format_args!("  {} {what}", ui.paint(Tone::Good, "✓")));
    }
}

/// Who made a claim.
fn by(verdict: &Verdict, claim: &PredicateType) -> String {
    let made = verdict.evidence().iter();
    let made = made.filter(|it| it.predicate_type == *claim);
    let signers: BTreeSet<_> = made.map(|it| brief(&it.signer)).collect();
    let signers: Vec<_> = signers.into_iter().collect();
    match signers.as_slice() {
        [] => String::new(),
        signers => format!(", by {}", signers.join(" and ")),
    }
}

/// Says why an image was rejected.
pub(crate) fn rejected(image: &str, verdict: &Verdict, notes: Vec<String>) -> CommandError {
    let error = CommandError::rejected(Message(format!("`{image}` was rejected by the policy")));
    let error = with_findings(error, verdict);
    notes.into_iter().fold(error, CommandError::note)
}

/// Adds to `error` what `verdict` has against an image, each cause once.
pub(crate) fn with_findings(error: CommandError, verdict: &Verdict) -> CommandError {
    verdict.causes().into_iter().fold(error, |error, it| {
        let text = format!("{}: {}", it.rule, it.message);
        error.finding_with(text, it.solution.clone())
    })
}
