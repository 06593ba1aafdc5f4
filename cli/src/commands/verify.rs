//! `sealpack verify`: is of an image claimed what should be, by whom it should be?

mod layout;

use std::collections::BTreeMap;

use attest::{Accept, SignerPattern, Verified};
use clap::Args;
use gate::{Proof, Trust, Unproven};
use intoto::PredicateType;
use oci::{Limits, Reference};
use serde::Serialize;

use self::layout::{Judged, LayoutArgs};
use crate::args::{Access, Format, IdentityArgs, Printed};
use crate::claims;
use crate::digest_tags;
use crate::environment::Environment;
use crate::error::{CommandError, Message, either};
use crate::images::Lookup;
use crate::typed;
use crate::ui::{Tone, Ui, counted};
use crate::unproven::{self, Listing};

#[derive(Args, Debug)]
#[command(mut_group("IdentityArgs", |it| it.arg("layout").multiple(true)), after_help = "\
Examples:
  Is it signed by this key?
    sealpack verify registry.example/app:v1 --key release.pub
  By the old key or the new one, with the build's number in it, for several images?
    sealpack verify registry.example/app:v1 registry.example/web:v1 --key old.pub --key new.pub -a build=42
  Does it have provenance and an SBOM by this key?
    sealpack verify oci:out:app --key release.pub --claim provenance --claim cyclonedx
  Is it what its supply chain made, by an in-toto layout?
    sealpack verify registry.example/app:v1 --layout root.layout --layout-key owner.pub --links links")]
pub(crate) struct Verify {
    /// The images: each has to have what is asked for.
    #[arg(value_name = "IMAGE", required = true, value_parser = typed::image)]
    pub(crate) images: Vec<Reference>,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,

    /// What must be claimed: a short name (`signature`, `provenance`, `cyclonedx`, `spdx`, `vsa`, …)
    /// or a predicate type URI. Repeatable: all of them.
    #[arg(long, value_name = "CLAIM", default_value = SIGNATURE, value_parser = claims::Suggested, hide_possible_values = true)]
    pub(crate) claim: Vec<String>,

    /// A signature counts only if this was signed with it, too. Repeatable: all of them.
    #[arg(long = "annotation", short, value_name = "NAME=VALUE")]
    pub(crate) annotations: Vec<String>,

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
    /// Tags by which cosign 1 and 2 attached something, of an image that was not accepted. Nobody has
    /// checked it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    digest_tags: Vec<String>,
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
    let asked = Asked::of(&args, environment)?;
    let images = Lookup::new(&args.access, environment, ui);
    if let [image] = args.images.as_slice() {
        ui.begin("verify", image.to_string());
        let (report, failure) = asked.look_at(image, &images, environment).await?;
        if report.accepted || args.printed.output == Format::Json {
            ui.result(args.printed.output, &report, print)?;
        }
        return failure.map_or(Ok(()), Err);
    }
    let mut documents = Vec::new();
    let (mut rejected, mut undecided) = (0, 0);
    for image in &args.images {
        ui.begin("verify", image.to_string());
        let failure = match asked.look_at(image, &images, environment).await {
            Ok((report, failure)) => {
                if report.accepted && args.printed.output == Format::Text {
                    print(ui, &report);
                }
                documents.push(serde_json::to_value(&report).map_err(CommandError::undecided)?);
                failure
            }
            Err(error) => {
                documents.push(serde_json::json!({
                    "image": image.to_string(),
                    "accepted": false,
                    "error": error.line(),
                }));
                Some(error)
            }
        };
        if let Some(failure) = failure {
            if failure.is_rejection() {
                rejected += 1;
            } else {
                undecided += 1;
            }
            ui.error(&failure);
        }
    }
    if args.printed.output == Format::Json {
        ui.json(&documents)?;
    }
    let sum = Message(format!(
        "{} of {} images were not accepted",
        rejected + undecided,
        args.images.len()
    ));
    match (rejected, undecided) {
        (0, 0) => Ok(()),
        (0, _) => Err(CommandError::undecided(sum)),
        _ => Err(CommandError::rejected(sum)),
    }
}

/// What is asked of each image.
struct Asked<'a> {
    args: &'a Verify,
    signers: Vec<SignerPattern>,
    wanted: Vec<PredicateType>,
    accepted: Vec<Accept>,
    annotations: BTreeMap<String, String>,
    trust: Trust,
}

impl<'a> Asked<'a> {
    fn of(args: &'a Verify, environment: &Environment) -> Result<Self, CommandError> {
        let signers = args.identity.signers(environment)?;
        // A layout needs nobody else, unless other claims are asked for as well.
        let by_layout_alone = args.layout.layout.is_some() && args.claim == [SIGNATURE];
        if signers.is_empty() && !by_layout_alone {
            let error = CommandError::undecided(Message("`--key` or `--certificate-identity` is missing".to_owned()))
            .hint("say whose claims count: a key, `--key FILE`, or an identity, `--certificate-identity` and `--certificate-oidc-issuer`");
            let is_set = environment
                .text("SEALPACK_KEY")
                .is_some_and(|it| !it.is_empty());
            return Err(if is_set {
                error.note("`SEALPACK_KEY` is who signs, which says nothing about whom to believe; `sealpack key public` prints the other half")
            } else {
                error
            });
        }
        let wanted = args.claim.iter().filter(|_| !signers.is_empty());
        let wanted = wanted
            .map(|it| claims::kind(it))
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
        let annotations = claims::annotations(&args.annotations)?;
        if !annotations.is_empty() && !wanted.contains(&PredicateType::COSIGN_SIGN) {
            let problem = "annotations are asked for, and signatures, which have them, are not";
            return Err(CommandError::undecided(Message(problem.to_owned()))
                .hint("ask for signatures, too: `--claim signature`"));
        }
        Ok(Self {
            annotations,
            trust: args.identity.trust(&accepted)?,
            args,
            signers,
            wanted,
            accepted,
        })
    }

    /// What is to be said of one image, and why it is not accepted.
    async fn look_at(
        &self,
        image: &Reference,
        images: &Lookup<'_>,
        environment: &Environment,
    ) -> Result<(Report, Option<CommandError>), CommandError> {
        let found = images.find_provable(image).await?;
        let limits = Limits::default();
        let (store, target) = (&*found.store, &found.descriptor);
        let proof = gate::prove(store, target, &self.accepted, &self.trust, &limits).await?;
        let claims: Vec<_> = self
            .wanted
            .iter()
            .map(|predicate_type| Claim {
                statements: proof
                    .verified
                    .iter()
                    .filter(|it| it.predicate_type() == predicate_type && self.has_annotations(it))
                    .map(Claimed::of)
                    .collect(),
                predicate_type: predicate_type.clone(),
            })
            .collect();
        let layout = layout::judge(&self.args.layout, target, environment)?;
        let holds = layout.as_ref().is_none_or(Judged::is_accepted);
        let missing: Vec<_> = claims
            .iter()
            .filter(|it| it.statements.is_empty())
            .map(|it| it.predicate_type.name().to_owned())
            .collect();
        let mut report = Report {
            image: found.reference.to_string(),
            digest: target.digest.to_string(),
            media_type: target.media_type.to_string(),
            accepted: missing.is_empty() && holds,
            claims,
            layout,
            unproven: proof.unproven(),
            unread: proof.discovered.unread,
            digest_tags: Vec::new(),
        };
        if report.accepted {
            return Ok((report, None));
        }
        report.digest_tags = digest_tags::of(&found).await;
        if let (true, Some(layout)) = (missing.is_empty(), &report.layout) {
            let rejection = layout.rejection(&report.image);
            return Ok((report, Some(rejection)));
        }
        let is_bare = report.unproven.is_empty() && report.unread == 0 && proof.verified.is_empty();
        let doubt = if is_bare {
            digest_tags::all_there_is(&found, &report.image).await
        } else {
            None
        };
        let failure = doubt.unwrap_or_else(|| self.failure(&report, &missing, &proof, is_bare));
        Ok((report, Some(failure)))
    }

    /// Whether a statement has all annotations that are asked for; only signatures have some.
    fn has_annotations(&self, verified: &Verified) -> bool {
        *verified.predicate_type() != PredicateType::COSIGN_SIGN
            || self.annotations.iter().all(|(name, value)| {
                let subjects = verified.statement().subjects().iter();
                let about = subjects.filter(|it| it.has(&verified.artifact().digest));
                let mut values = about.filter_map(|it| it.annotations.get(name)?.as_str());
                values.any(|it| it == value)
            })
    }

    fn failure(
        &self,
        report: &Report,
        missing: &[String],
        proof: &Proof,
        is_bare: bool,
    ) -> CommandError {
        let mut error = CommandError::rejected(Message(format!(
            "no valid {} by {} on `{}`",
            either(missing),
            match self.signers.as_slice() {
                [SignerPattern::Key(_)] => "the given key",
                [SignerPattern::Identity(_)] => "the given identity",
                _ => "one of those who were given",
            },
            report.image,
        )));
        let is_signature = |it: &&Verified| *it.predicate_type() == PredicateType::COSIGN_SIGN;
        let others = proof.verified.iter().filter(is_signature);
        let others = others.filter(|it| !self.has_annotations(it)).count();
        if others > 0 {
            error = error.note(format!(
                "the annotations asked for are missing in {}",
                counted(others, "signature")
            ));
        }
        for note in unproven::notes(&report.unproven, Listing::Here) {
            error = error.note(note);
        }
        if report.unread > 0 {
            error = error.note(format!(
                "not looked at: {}",
                counted(report.unread, "more referrer")
            ));
        }
        for tag in &report.digest_tags {
            error = error.note(digest_tags::note(tag));
        }
        if is_bare && report.digest_tags.is_empty() {
            error = error.note("nothing is attached to it");
        }
        error
    }
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

impl Claimed {
    /// What a signature says besides.
    fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        let subjects = self.statement.subjects().iter();
        subjects
            .filter(|_| *self.statement.predicate_type() == PredicateType::COSIGN_SIGN)
            .flat_map(|it| &it.annotations)
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }
}

fn print(ui: &Ui, report: &Report) {
    ui.line(format_args!(
        "{} {}",
        ui.paint(Tone::Good, "verified"),
        report.image
    ));
    for claim in &report.claims {
        let kind = claim.predicate_type.name();
        let statements = claim.statements.iter();
        for line in once(statements.map(|it| lines(ui, kind, it))) {
            ui.line(line);
        }
    }
    if let Some(layout) = &report.layout {
        layout.print(ui);
    }
    for it in &report.unproven {
        ui.aside(it.line());
    }
}

/// The lines of statements, but of equal ones once, with how many there are.
fn once(statements: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut different: Vec<(Vec<String>, usize)> = Vec::new();
    for lines in statements {
        match different.iter_mut().find(|(others, _)| *others == lines) {
            Some((_, times)) => *times += 1,
            None => different.push((lines, 1)),
        }
    }
    for (lines, times) in &mut different {
        if let (Some(first), 2..) = (lines.first_mut(), *times) {
            *first = format!("{first} ({times} times)");
        }
    }
    different.into_iter().flat_map(|(lines, _)| lines).collect()
}

/// What is said of one statement.
fn lines(ui: &Ui, kind: &str, it: &Claimed) -> Vec<String> {
    let mut lines = vec![format!("  {kind:12} by {}", it.signer)];
    let inner = |text: String| ui.paint(Tone::Faint, format_args!("               {text}"));
    let annotations = it.annotations();
    lines.extend(annotations.map(|(name, value)| inner(format!("{name}={value}"))));
    let unchecked = it.unchecked.iter();
    lines.extend(unchecked.map(|it| inner(format!("not checked: {it}"))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_by_several_statements_is_said_once() {
        let said = |lines: &[&str]| lines.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
        let statements = [
            said(&["by a", "  x=1"]),
            said(&["by b"]),
            said(&["by a", "  x=2"]),
            said(&["by a", "  x=1"]),
        ];
        assert_eq!(
            once(statements),
            ["by a (2 times)", "  x=1", "by b", "by a", "  x=2"]
        );
    }
}
