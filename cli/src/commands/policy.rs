use policies::{Policy, Verdict};
use serde::Serialize;

use crate::args::{Format, PolicyCheck};
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::images::Images;
use crate::judge::{self, Unproven};
use crate::keys;
use crate::ui::{Tone, Ui};

/// What `sealpack policy check --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    image: String,
    accepted: bool,
    verdict: &'a Verdict,
    /// What is attached but proves nothing.
    unproven: Vec<Unproven>,
}

/// Judges an image.
pub(crate) async fn check(
    args: PolicyCheck,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let given = args.key.as_deref().map(keys::public).transpose()?;
    let policy = load(&args.policy, given, environment)?;
    let images = Images::new(&args.access, environment, ui);
    let found = images.find_provable(&args.image).await?;
    let proof = judge::prove(&*found.store, &found.descriptor, policy.accepts()).await?;
    let unproven = proof.unproven();
    let verdict = judge::judge(&policy, &found.descriptor, proof.verified)?;
    let report = Report {
        image: found.reference.to_string(),
        accepted: verdict.accepted(),
        unproven,
        verdict: &verdict,
    };
    if report.accepted || args.printed.output == Format::Json {
        ui.result(args.printed.output, &report, |ui, report| {
            print(ui, &report.image, report.verdict);
        })?;
    }
    if report.accepted {
        Ok(())
    } else {
        let notes = report.unproven.iter().map(Unproven::line).collect();
        Err(rejected(&report.image, &verdict, notes))
    }
}

/// Reads a policy; `given` is whom it means by `signer = "given"`.
pub(crate) fn load(
    path: &std::path::Path,
    given: Option<attest::key::PublicKey>,
    environment: &Environment,
) -> Result<Policy, CommandError> {
    let mut path = path.to_owned();
    if environment.directory.join(&path).is_dir() {
        path.push("policy.toml");
    }
    let given: Vec<_> = given.map(attest::SignerPattern::Key).into_iter().collect();
    Policy::load(&path, &given)
        .context(|| format!("failed to read the policy `{}`", path.display()))
}

/// Says why an image was accepted.
pub(crate) fn print(ui: &Ui, image: &str, verdict: &Verdict) {
    ui.line(format_args!("{} {image}", ui.paint(Tone::Good, "accepted")));
    for it in verdict.satisfied() {
        let claim = it.claim.as_ref().map_or(String::new(), |claim| {
            format!(": {}", claim.short_name().unwrap_or(claim.as_str()))
        });
        ui.line(format_args!(
            "  {} {}{claim}",
            ui.paint(Tone::Good, "✓"),
            it.rule
        ));
    }
}

/// Says why an image was rejected.
pub(crate) fn rejected(image: &str, verdict: &Verdict, notes: Vec<String>) -> CommandError {
    let mut error =
        CommandError::rejected(Message(format!("`{image}` was rejected by the policy")));
    for finding in verdict.findings() {
        error = error.finding(format!("{}: {}", finding.rule, finding.message));
    }
    for note in notes {
        error = error.note(note);
    }
    let mut solutions: Vec<_> = verdict
        .findings()
        .iter()
        .filter_map(|it| it.solution.clone())
        .collect();
    solutions.dedup();
    solutions.into_iter().fold(error, CommandError::hint)
}
