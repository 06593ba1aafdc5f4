use attest::{Accept, SignerPattern, Verified};
use intoto::PredicateType;
use serde::Serialize;

use crate::args::{Format, Verify};
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message, list};
use crate::images::Images;
use crate::judge::{self, Unproven};
use crate::keys;
use crate::ui::{Tone, Ui};

/// What `sealpack verify --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The image by digest.
    image: String,
    digest: String,
    media_type: String,
    /// Whether every claim that was asked for is there.
    accepted: bool,
    /// What was asked for, in that order.
    claims: Vec<Claim>,
    /// What is attached but proves none of it.
    unproven: Vec<Unproven>,
    /// How many referrers were not looked at, because there are more than the limit.
    unread: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    predicate_type: PredicateType,
    /// The statements that make it; none: the claim is missing.
    statements: Vec<Claimed>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Claimed {
    signer: String,
    /// The referrer that holds it.
    manifest: Option<String>,
    /// The bundle in the referrer.
    bundle: String,
    /// What was not checked, although the bundle has it.
    unchecked: Vec<String>,
    /// The statement, as it was signed.
    statement: intoto::Statement,
}

pub(crate) async fn run(
    args: Verify,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let key = keys::public(&args.key)?;
    let wanted = args
        .claim
        .iter()
        .map(|it| {
            it.parse::<PredicateType>()
                .context(|| format!("`{it}` is not a kind of claim"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let accepted: Vec<_> = wanted
        .iter()
        .map(|predicate_type| Accept {
            predicate_type: predicate_type.clone(),
            signer: SignerPattern::Key(key.clone()),
        })
        .collect();

    let images = Images::new(&args.access, environment, ui);
    let found = images.find_provable(&args.image).await?;
    let proof = judge::prove(&*found.store, &found.descriptor, &accepted).await?;

    let claims: Vec<_> = wanted
        .into_iter()
        .map(|predicate_type| Claim {
            statements: proof
                .verified
                .iter()
                .filter(|it| *it.predicate_type() == predicate_type)
                .map(Claimed::of)
                .collect(),
            predicate_type,
        })
        .collect();
    let missing: Vec<_> = claims
        .iter()
        .filter(|it| it.statements.is_empty())
        .map(|it| name(&it.predicate_type).to_owned())
        .collect();
    let report = Report {
        image: found.reference.to_string(),
        digest: found.descriptor.digest.to_string(),
        media_type: found.descriptor.media_type.to_string(),
        accepted: missing.is_empty(),
        claims,
        unproven: proof.unproven(),
        unread: proof.discovered.unread,
    };
    if report.accepted || args.printed.output == Format::Json {
        ui.result(args.printed.output, &report, print)?;
    }
    if report.accepted {
        return Ok(());
    }
    let mut error = CommandError::rejected(Message(format!(
        "`{}` has no {} by the given key",
        report.image,
        list(&missing)
    )));
    for it in &report.unproven {
        error = error.note(it.line());
    }
    if report.unread > 0 {
        error = error.note(format!(
            "{} more referrers were not looked at",
            report.unread
        ));
    }
    Err(if report.unproven.is_empty() && report.unread == 0 {
        error.note("nothing is attached to it")
    } else {
        error
    })
}

impl Claimed {
    fn of(verified: &Verified) -> Self {
        Self {
            signer: verified.signer().to_string(),
            manifest: verified.manifest().map(|it| it.digest.to_string()),
            bundle: verified.bundle().to_string(),
            unchecked: verified
                .unchecked()
                .iter()
                .map(ToString::to_string)
                .collect(),
            statement: verified.statement().clone(),
        }
    }
}

fn name(predicate_type: &PredicateType) -> &str {
    predicate_type
        .short_name()
        .unwrap_or_else(|| predicate_type.as_str())
}

fn print(ui: &Ui, report: &Report) {
    ui.line(format_args!(
        "{} {}",
        ui.paint(Tone::Good, "verified"),
        report.image
    ));
    for claim in &report.claims {
        for it in &claim.statements {
            ui.line(format_args!(
                "  {:12} by {}",
                name(&claim.predicate_type),
                it.signer
            ));
            for unchecked in &it.unchecked {
                ui.line(ui.paint(
                    Tone::Faint,
                    format_args!("               not checked: {unchecked}"),
                ));
            }
        }
    }
    for it in &report.unproven {
        ui.aside(it.line());
    }
}
