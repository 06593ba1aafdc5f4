//! `sealpack sign` and `sealpack attest`: claims that are signed and attached to an image.

use std::path::{Path, PathBuf};

use attest::key::PublicKey;
use attest::{Accept, SignerPattern};
use clap::Args;
use gate::Trust;
use intoto::{PredicateType, Statement, Timestamp};
use oci::{Descriptor, Found, Limits, Reference};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::args::{Access, Printed, SignerArgs};
use crate::environment::{self, Environment};
use crate::error::{CommandError, Context as _, Message};
use crate::files;
use crate::images::Lookup;
use crate::keys;
use crate::signing::Signer;
use crate::superseded;
use crate::typed;
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
    #[arg(value_parser = typed::image)]
    pub(crate) image: Reference,

    /// Add an annotation to what is signed. Repeatable.
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
#[command(after_help = "\
Examples:
  sealpack attest registry.example/app:v1 --key release.key --type cyclonedx --predicate bom.json
  In place of what this key has claimed before, as a nightly scan does:
    sealpack attest registry.example/app:v1 --key release.key --type vuln --predicate scan.json --replace")]
pub(crate) struct Attest {
    /// The image.
    #[arg(value_parser = typed::image)]
    pub(crate) image: Reference,

    /// What kind of claim: a short name (`provenance`, `cyclonedx`, `spdx`, `vuln`, …) or a
    /// predicate type URI.
    #[arg(long = "type", value_name = "CLAIM", value_parser = crate::claims::Suggested, hide_possible_values = true)]
    pub(crate) claim: String,

    /// The claim: a JSON file, `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) predicate: PathBuf,

    /// Delete the claims of this kind by this key that are attached already, once the new one is.
    #[arg(long, requires = "key")]
    pub(crate) replace: bool,

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
    /// The manifests that were deleted for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replaced: Vec<String>,
}

/// Signs an image, as cosign does.
pub(crate) async fn sign(
    args: Sign,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let annotations = crate::claims::annotations(&args.annotations)?;
    let claim = |image: &Descriptor| {
        attest::image_signature(std::slice::from_ref(image), &annotations)
            .map_err(CommandError::undecided)
    };
    let target = Target {
        phase: "sign",
        image: &args.image,
        signer: &args.signer,
        replace: false,
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
    let predicate_type = crate::claims::kind(&args.claim)?;
    let predicate = predicate(&args.predicate, &predicate_type)?;
    let claim = |image: &Descriptor| {
        Statement::of_type(
            predicate_type.clone(),
            vec![intoto::ResourceDescriptor::from(image)],
            predicate.clone(),
        )
        .map_err(CommandError::undecided)
    };
    let target = Target {
        phase: "attest",
        image: &args.image,
        signer: &args.signer,
        replace: args.replace,
        access: &args.access,
        printed: &args.printed,
    };
    attach(&target, claim, environment, ui).await
}

/// Reads a claim. The bytes that were given are the bytes that are signed: written anew, a large number
/// would lose digits, and a document that names its own digest would be another one.
fn predicate(path: &Path, kind: &PredicateType) -> Result<Box<RawValue>, CommandError> {
    let bytes = read(path, LIMIT)?;
    let name = path.display();
    let parsed: serde_json::Value =
        intoto::json::from_slice(&bytes).context(|| format!("`{name}` is not a JSON object"))?;
    if let Some(misfit) = kind.misfit(&parsed) {
        let error = CommandError::undecided(Message(format!("`{name}` is {misfit}")));
        return Err(match PredicateType::of_document(&parsed) {
            Some(other) => error.hint(format!("it looks like `--type {}`", other.name())),
            None => error.hint("`--type` says what kind of claim the file is"),
        });
    }
    serde_json::from_slice(&bytes).context(|| format!("`{name}` is not JSON"))
}

/// What both commands are told.
struct Target<'a> {
    /// What is under way, for the user.
    phase: &'static str,
    image: &'a Reference,
    signer: &'a SignerArgs,
    /// Whether what was claimed before goes.
    replace: bool,
    access: &'a Access,
    printed: &'a Printed,
}

async fn attach<P: Serialize>(
    target: &Target<'_>,
    claim: impl FnOnce(&Descriptor) -> Result<Statement<P>, CommandError>,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let SignerArgs { key, services, .. } = target.signer;
    let key = key.as_deref().map(|it| keys::private(it, environment));
    let key = key.transpose()?;
    let public = key.as_ref().map(|it| it.public_key().clone());
    let signer = Signer::open(key, services, target.access, environment).await?;
    let images = Lookup::new(target.access, environment, ui);
    ui.begin(target.phase, target.image.to_string());
    let found = images.find_to_change(target.image).await?;
    let statement = claim(&found.descriptor)?;
    let bundle = signer.sign(&statement, &found.descriptor, ui).await?;
    let created: Timestamp = time::OffsetDateTime::from(environment::now())
        .try_into()
        .context(|| "the clock is wrong".to_owned())?;
    let referrer = attest::attach(&*found.store, &found.descriptor, &bundle, Some(&created))
        .await
        .map_err(CommandError::undecided)?;
    let mut replaced = Vec::new();
    let deleted = match public.filter(|_| target.replace) {
        Some(key) => {
            let kind = statement.predicate_type();
            replace(&found, &referrer.manifest, kind, key, &mut replaced, ui).await
        }
        None => Ok(()),
    };
    found.store.finish().await?;
    let report = Report {
        replaced,
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
        for it in &report.replaced {
            ui.line(format_args!("  in place of {it}"));
        }
    })?;
    deleted.map_err(|error| {
        error.hint(
            "the new claim is attached: do not repeat this; delete the old one with \
             `sealpack delete`, where the registry lets you",
        )
    })
}

/// Deletes what `key` has claimed of this kind before `new`. What others claim stays, as does all that
/// cannot be verified: who deletes by what a stranger wrote can be made to delete anything. So does what
/// somebody attached something to.
async fn replace(
    found: &Found,
    new: &Descriptor,
    kind: &PredicateType,
    key: PublicKey,
    replaced: &mut Vec<String>,
    ui: &Ui,
) -> Result<(), CommandError> {
    let accept = Accept {
        predicate_type: kind.clone(),
        signer: SignerPattern::Key(key),
    };
    let proof = gate::prove(
        &*found.store,
        &found.descriptor,
        &[accept],
        &Trust::keys(),
        &Limits::default(),
    )
    .await?;
    for manifest in proof.verified.iter().filter_map(|it| it.manifest()) {
        let digest = manifest.digest.to_string();
        if manifest.digest != new.digest && !replaced.contains(&digest) {
            if !superseded::is_alone(&*found.store, manifest).await {
                ui.warn(format_args!(
                    "{digest} stays beside the new claim: something may be attached to it"
                ));
                continue;
            }
            found.store.delete(manifest).await?;
            replaced.push(digest);
        }
    }
    Ok(())
}

/// How large a claim may be: as much as cosign attaches.
const LIMIT: u64 = 128 << 20;

/// Reads a file, or standard input, of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, CommandError> {
    let read = if path == Path::new("-") {
        oci::read_at_most(std::io::stdin().lock(), limit)
    } else {
        fs_err::File::open(path).and_then(|it| oci::read_at_most(it, limit))
    };
    let read = read.context(|| format!("failed to read `{}`", path.display()))?;
    files::whole(read, path, limit)
}
