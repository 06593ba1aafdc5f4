mod layout;

use attest::{Accept, SignerPattern, Verified};
use clap::Args;
use gate::Unproven;
use intoto::PredicateType;
use oci::{Limits, Reference};
use serde::Serialize;

use self::layout::{Judged, LayoutArgs};
use crate::args::{Access, Format, IdentityArgs, Printed};
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message, list};
use crate::images::Images;
use crate::ui::{Tone, Ui};

#[derive(Args, Debug)]
#[command(mut_group("IdentityArgs", |it| it.arg("layout").multiple(true).required(true)), after_help = "\
Examples:
  Is it signed by this key?
    sealpack verify registry.example/app:v1 --key release.pub
  Does it have provenance and an SBOM by this key?
    sealpack verify oci:out:app --key release.pub --claim provenance --claim cyclonedx
  Is it what its supply chain made, by an in-toto layout?
    sealpack verify registry.example/app:v1 --layout root.layout --layout-key owner.pub --links links")]
pub(crate) struct Verify {
    /// The image.
    pub(crate) image: Reference,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,

    /// What must be claimed: a short name (`signature`, `provenance`, `cyclonedx`, `spdx`, `vsa`, …)
    /// or a predicate type URI. Repeatable: all of them.
    #[arg(long, value_name = "CLAIM", default_value = SIGNATURE)]
    pub(crate) claim: Vec<String>,

    #[command(flatten)]
    pub(crate) layout: LayoutArgs,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What is asked for where nothing is said.
const SIGNATURE: &str = "signature";

/// What `sealpack verify --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The image by digest.
    image: String,
    digest: String,
    media_type: String,
    /// Whether all that was asked for is there.
    accepted: bool,
    /// What was asked for, in that order.
    claims: Vec<Claim>,
    /// Whether the layout that was named holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    layout: Option<Judged>,
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
    /// The transparency logs that have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs: Vec<Logged>,
    /// When it was seen, and by whom.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    times: Vec<Seen>,
    /// What the bundle has besides and is not believed.
    unchecked: Vec<String>,
    /// The statement, as it was signed.
    statement: intoto::Statement,
}

#[derive(Debug, Serialize)]
struct Logged {
    log: String,
    index: u64,
}

#[derive(Debug, Serialize)]
struct Seen {
    /// RFC 3339.
    time: Option<intoto::Timestamp>,
    by: String,
}

pub(crate) async fn run(
    args: Verify,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let signers = args.identity.signers()?;
    // A layout needs nobody else, unless other claims are asked for as well.
    let by_layout_alone = args.layout.layout.is_some() && args.claim == [SIGNATURE];
    if signers.is_empty() && !by_layout_alone {
        return Err(CommandError::undecided(Message("nobody is named to believe".to_owned()))
            .hint("name a key, `--key FILE`, or an identity, `--certificate-identity` and `--certificate-oidc-issuer`"));
    }
    let wanted = args
        .claim
        .iter()
        .filter(|_| !signers.is_empty())
        .map(|it| {
            it.parse::<PredicateType>()
                .context(|| format!("`{it}` is not a kind of claim"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let accepted: Vec<_> = wanted
        .iter()
        .flat_map(|predicate_type| {
            signers.iter().map(|signer| Accept {
                predicate_type: predicate_type.clone(),
                signer: signer.clone(),
            })
        })
        .collect();

    let trust = args.identity.trust(&accepted)?;
    let images = Images::new(&args.access, environment, ui);
    let found = images.find_provable(&args.image).await?;
    let limits = Limits::default();
    let proof = gate::prove(&*found.store, &found.descriptor, &accepted, &trust, &limits).await?;

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
    let layout = layout::judge(&args.layout, &found.descriptor, environment)?;
    let holds = layout.as_ref().is_none_or(Judged::is_accepted);
    let missing: Vec<_> = claims
        .iter()
        .filter(|it| it.statements.is_empty())
        .map(|it| name(&it.predicate_type).to_owned())
        .collect();
    let report = Report {
        image: found.reference.to_string(),
        digest: found.descriptor.digest.to_string(),
        media_type: found.descriptor.media_type.to_string(),
        accepted: missing.is_empty() && holds,
        claims,
        layout,
        unproven: proof.unproven(),
        unread: proof.discovered.unread,
    };
    if report.accepted || args.printed.output == Format::Json {
        ui.result(args.printed.output, &report, print)?;
    }
    if report.accepted {
        return Ok(());
    }
    if missing.is_empty()
        && let Some(layout) = &report.layout
    {
        return Err(layout.rejection(&report.image));
    }
    let mut error = CommandError::rejected(Message(format!(
        "`{}` has no {} by {}",
        report.image,
        list(&missing),
        match signers.as_slice() {
            [SignerPattern::Key(_)] => "the given key",
            [SignerPattern::Identity(_)] => "the given identity",
            _ => "one of those who were given",
        }
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
            logs: verified
                .proof()
                .logs()
                .iter()
                .map(|it| Logged {
                    log: it.log.clone(),
                    index: it.index,
                })
                .collect(),
            times: verified
                .proof()
                .times()
                .iter()
                .map(|it| Seen {
                    time: it.time.try_into().ok(),
                    by: it.witness.to_string(),
                })
                .collect(),
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
    if let Some(layout) = &report.layout {
        layout.print(ui);
    }
    for it in &report.unproven {
        ui.aside(it.line());
    }
}
