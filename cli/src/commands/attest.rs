use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use intoto::{PredicateType, Statement, Timestamp};
use oci::Reference;
use serde::Serialize;

use crate::args::{Access, Printed, SignerArgs};
use crate::environment::{self, Environment};
use crate::error::{CommandError, Context as _, Message};
use crate::images::Images;
use crate::keys;
use crate::signing::Signer;
use crate::ui::{Tone, Ui};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  With a key:
    sealpack sign registry.example/app@sha256:… --key release.key
  Without one, in GitHub Actions (`permissions: id-token: write`) or GitLab:
    sealpack sign registry.example/app@sha256:… --signing-config public
  As a private Sigstore knows one:
    sealpack sign registry.example/app@sha256:… --identity-token token --signing-config signing_config.json --trusted-root trusted_root.json")]
pub(crate) struct Sign {
    /// The image.
    pub(crate) image: Reference,

    /// Sign these facts too: `NAME=VALUE`.
    #[arg(long = "annotation", short, value_name = "NAME=VALUE")]
    pub(crate) annotations: Vec<String>,

    #[command(flatten)]
    pub(crate) signer: SignerArgs,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  sealpack attest registry.example/app:v1 --key release.key --type cyclonedx --predicate bom.json"
)]
pub(crate) struct Attest {
    /// The image.
    pub(crate) image: Reference,

    /// What kind of claim: a short name (`provenance`, `cyclonedx`, `spdx`, `vuln`, …) or a
    /// predicate type URI.
    #[arg(long = "type", value_name = "CLAIM")]
    pub(crate) claim: String,

    /// The claim: a JSON file, `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) predicate: PathBuf,

    #[command(flatten)]
    pub(crate) signer: SignerArgs,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What `sealpack sign` and `sealpack attest` print as JSON. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    image: String,
    predicate_type: PredicateType,
    /// The manifest that refers to the image.
    manifest: String,
    /// The bundle in it.
    bundle: String,
}

/// Signs an image, as cosign does.
pub(crate) async fn sign(
    args: Sign,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let annotations = args
        .annotations
        .iter()
        .map(|it| match it.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Message(format!("`{it}` is not of the form NAME=VALUE")).into()),
        })
        .collect::<Result<BTreeMap<_, _>, CommandError>>()?;
    let claim = |image: &oci::Descriptor| {
        attest::image_signature(std::slice::from_ref(image), &annotations)
            .map_err(CommandError::undecided)
    };
    let target = Target {
        image: &args.image,
        signer: &args.signer,
        access: &args.access,
        printed: &args.printed,
    };
    attach(&target, claim, environment, ui).await
}

/// Attaches a signed claim to an image.
pub(crate) async fn attest(
    args: Attest,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let predicate_type: PredicateType = args
        .claim
        .parse()
        .context(|| format!("`{}` is not a kind of claim", args.claim))?;
    let predicate: serde_json::Value = intoto::json::from_slice(&read(&args.predicate, LIMIT)?)
        .context(|| format!("`{}` is not JSON", args.predicate.display()))?;
    let claim = |image: &oci::Descriptor| {
        Statement::of_type(
            predicate_type.clone(),
            vec![intoto::ResourceDescriptor::from(image)],
            predicate.clone(),
        )
        .map_err(CommandError::undecided)
    };
    let target = Target {
        image: &args.image,
        signer: &args.signer,
        access: &args.access,
        printed: &args.printed,
    };
    attach(&target, claim, environment, ui).await
}

/// What both commands are told.
struct Target<'a> {
    image: &'a Reference,
    signer: &'a SignerArgs,
    access: &'a Access,
    printed: &'a Printed,
}

async fn attach<P: Serialize>(
    target: &Target<'_>,
    claim: impl FnOnce(&oci::Descriptor) -> Result<Statement<P>, CommandError>,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let SignerArgs { key, services } = target.signer;
    let key = key.as_deref().map(|it| keys::private(it, environment));
    let key = key.transpose()?;
    let signer = Signer::open(key, services, target.access, environment).await?;
    let images = Images::new(target.access, environment, ui);
    let found = images.find_to_change(target.image).await?;
    let statement = claim(&found.descriptor)?;
    let bundle = signer.sign(&statement, &found.descriptor, ui).await?;
    let created: Timestamp = time::OffsetDateTime::from(environment::now())
        .try_into()
        .context(|| "the clock is wrong".to_owned())?;
    let referrer = attest::attach(&*found.store, &found.descriptor, &bundle, Some(&created))
        .await
        .map_err(CommandError::undecided)?;
    found.store.finish().await?;
    let report = Report {
        image: found.reference.to_string(),
        predicate_type: statement.predicate_type().clone(),
        manifest: referrer.manifest.digest.to_string(),
        bundle: referrer.bundle.digest.to_string(),
    };
    ui.result(target.printed.output, &report, |ui, report| {
        ui.line(format_args!(
            "{} {}",
            ui.paint(Tone::Good, "attached"),
            report.manifest
        ));
        ui.line(format_args!(
            "  {} to {}",
            report.predicate_type.as_str(),
            report.image
        ));
    })
}

/// How large a claim may be: as much as cosign attaches.
const LIMIT: u64 = 128 << 20;

/// Reads a file, or standard input, of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(limit + 1)
            .read_to_end(&mut bytes)
    } else {
        fs_err::File::open(path).and_then(|it| it.take(limit + 1).read_to_end(&mut bytes))
    };
    read.context(|| format!("failed to read `{}`", path.display()))?;
    if bytes.len() as u64 > limit {
        let limit = limit >> 20;
        return Err(Message(format!("`{}` is larger than {limit} MiB", path.display())).into());
    }
    Ok(bytes)
}
