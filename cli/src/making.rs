//! What commands share that make images of other things: where parts are had from, and how what was
//! made is staged, signed, judged and published, the tag last.

mod proof;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use gate::{Gate, GateOptions, Image as GateImage, Question};
use lifecycle_core::buildpack::Kind;
use oci::{
    CopyOptions, Descriptor, Found, Image, LayoutStore, Limits, Location, MediaType, Platform,
    Reference, Store, copy_graph,
};
use platform::builder::{Locator, LocatorError, Package, Target};
use platform::make::Made;
use policies::Verdict;
use serde::Serialize;
use tempfile::TempDir;
use time::OffsetDateTime;

use self::proof::Staged;
pub(crate) use self::proof::{About, MadeKind};
use crate::args::{Access, IdentityArgs, Printed, SignerArgs};
use crate::claims::{self, Claims, Member};
use crate::commands::copy::tag;
use crate::commands::policy;
use crate::environment::{self, Environment};
use crate::error::{CommandError, Context as _, Message};
use crate::images::{Lookup, NO_PLACE};
use crate::keys;
use crate::publishing;
use crate::signing::Signer;
use crate::superseded;
use crate::temporary;
use crate::transfer::Transfer;
use crate::typed;
use crate::ui::{Tone, Ui, counted, size};

/// Who signs what was made, and who judges it.
#[derive(Args, Debug)]
pub(crate) struct MakingArgs {
    /// Add a label: `NAME=VALUE`. Repeatable.
    #[arg(long = "label", short = 'l', value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<String>,

    /// What it is for: `OS/ARCH[/VARIANT][:DISTRO@VERSION]`. Repeatable: several make an index.
    #[arg(long = "target", short = 't', value_name = "TARGET")]
    pub(crate) targets: Vec<Target>,

    /// Publish it only if this policy accepts it: a `policy.toml`, its folder, or a folder of policies.
    /// Whom it calls `given` is who signs.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) policy: Option<PathBuf>,

    /// The URI that the provenance names as the builder.
    #[arg(long, value_name = "URI", default_value = lifecycle_core::provenance::LOCAL_BUILDER)]
    pub(crate) builder_id: String,

    #[command(flatten)]
    pub(crate) signer: SignerArgs,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

impl MakingArgs {
    /// Labels by name.
    pub(crate) fn labels(&self) -> Result<BTreeMap<String, String>, CommandError> {
        let label = |it: &String| match it.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Message(format!("`{it}` is not of the form NAME=VALUE")).into()),
        };
        self.labels.iter().map(label).collect()
    }

    /// Who signs, if anybody does.
    pub(crate) async fn signer(
        &self,
        environment: &Environment,
    ) -> Result<Option<Signer>, CommandError> {
        let SignerArgs { key, services, .. } = &self.signer;
        if key.is_none() && !services.are_named() {
            return Ok(None);
        }
        let key = key.as_deref().map(|it| keys::private(it, environment));
        let signer = Signer::open(key.transpose()?, services, &self.access, environment).await?;
        Ok(Some(signer))
    }
}

/// What a command prints that made an image. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) image: String,
    digest: String,
    media_type: String,
    /// The images, by platform; one, if there is no index.
    images: Vec<OneImage>,
    /// The manifests that were attached to it.
    attached: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
}

#[derive(Debug, Serialize)]
struct OneImage {
    platform: String,
    digest: String,
}

/// A folder for what is made, which is gone at the end.
pub(crate) fn scratch(environment: &Environment) -> Result<TempDir, CommandError> {
    temporary::folder(environment, "sealpack-make-")
}

/// Where parts are had from.
pub(crate) struct Parts<'a> {
    pub(crate) images: &'a Lookup<'a>,
    /// What is relative is so to this folder.
    pub(crate) folder: &'a Path,
    /// What was said of them.
    pub(crate) notes: Notes,
}

/// What the user was told already: of several targets, most have the same to say.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<BTreeSet<String>>);

impl Notes {
    fn tell(&self, notes: &[String], ui: &Ui) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for note in notes {
            if said.insert(note.clone()) {
                ui.warn(note);
            }
        }
    }
}

impl Parts<'_> {
    /// The package that `text` names, for `target`: a folder, an archive, a `.cnb` file, an image.
    pub(crate) async fn package(
        &self,
        kind: Kind,
        text: &str,
        target: &Target,
        ui: &Ui,
    ) -> Result<Package, CommandError> {
        let locator = Locator::parse(text, kind, self.folder, None).map_err(unknown)?;
        let found = self.found(kind, text, locator, target).await?;
        self.notes.tell(&found.notes, ui);
        Ok(found)
    }

    async fn found(
        &self,
        kind: Kind,
        text: &str,
        locator: Locator,
        target: &Target,
    ) -> Result<Package, CommandError> {
        let failed = || format!("failed to use the {kind} `{text}`");
        let platform = target.platform();
        match locator {
            Locator::Path(path) if path.is_dir() => {
                Package::of_folder(kind, &path, text, Some(target)).context(failed)
            }
            Locator::Path(path) => {
                let package = Package::of_file(kind, &path, text, &platform).await;
                package.context(failed)
            }
            Locator::Image(reference) => {
                typed::module_image(text).context(failed)?;
                let found = self.images.find(&reference).await?;
                let package =
                    Package::of_image(kind, found.store, &found.descriptor, text, &platform).await;
                package.context(failed)
            }
            Locator::Builder | Locator::Named { .. } => Err(of_a_builder(text)),
        }
    }

    /// The image that `text` names, where nothing but an image can be meant.
    pub(crate) async fn image(&self, text: &str) -> Result<Found, CommandError> {
        let name = text.strip_prefix("docker://").unwrap_or(text);
        let reference = typed::image(name).context(|| format!("`{text}` is not an image"))?;
        self.images.find(&reference).await
    }
}

/// What is said where only what a builder has already would do.
pub(crate) fn of_a_builder(text: &str) -> CommandError {
    let problem = format!("`{text}` is of a builder, which is not allowed here");
    CommandError::undecided(Message(problem))
}

/// What to do where nobody knows what a name means.
pub(crate) fn unknown(error: LocatorError) -> CommandError {
    let hint = match &error {
        LocatorError::Ambiguous { text } => {
            format!("if it is an image, say `docker://{text}`; else name its image or file")
        }
        LocatorError::Url { .. } => "download it first, and name the file".to_owned(),
        LocatorError::Registry { .. } => {
            "name the image that the registry names: `docker://IMAGE@DIGEST`".to_owned()
        }
        _ => "name a folder, a `.cnb` or `.tgz` file, an image, or `ID@VERSION` of the builder"
            .to_owned(),
    };
    CommandError::undecided(error).hint(hint)
}

/// Refuses a target that is there twice: one image would stand in place of the other.
pub(crate) fn once_each(targets: &[Target]) -> Result<(), CommandError> {
    for (at, target) in targets.iter().enumerate() {
        if targets.iter().take(at).any(|it| it == target) {
            return Err(Message(format!("the target {target} is given twice")).into());
        }
    }
    Ok(())
}

/// The image that `found` is for `target`; an image that is for another platform is an error.
pub(crate) async fn image_for(found: &Found, target: &Target) -> Result<Image, CommandError> {
    let limits = Limits::default();
    let wanted = target.platform();
    let image = Image::read(&*found.store, &found.descriptor, &wanted, &limits)
        .await
        .map_err(CommandError::undecided)?;
    let own = Target::of_image(&image);
    if Target::fits(target, &own) {
        return Ok(image);
    }
    Err(Message(format!(
        "`{}` is for {own}, and {target} was asked for",
        found.reference
    ))
    .into())
}

/// Stages what was made, proves and signs it, judges it, and moves it to `destination`, the tag last. Of
/// several, an index is made, in their order.
pub(crate) async fn publish(
    (made, about): (&[(Platform, Made)], &About),
    destination: &Reference,
    (args, signer): (&MakingArgs, Option<&Signer>),
    (images, environment, ui): (&Lookup<'_>, &Environment, &Ui),
) -> Result<Report, CommandError> {
    let folder = scratch(environment)?;
    let staged = Arc::new(LayoutStore::create(folder.path().join("staged"))?);
    let mut all = Vec::new();
    let notes = Notes::default();
    for (platform, made) in made {
        notes.tell(&made.notes, ui);
        ui.begin("stage", platform.to_string());
        let descriptor = made
            .store(&*staged)
            .await
            .map_err(CommandError::undecided)?;
        all.push((platform.clone(), descriptor));
    }
    let root = match all.as_slice() {
        [(_, only)] => only.clone(),
        _ => index(&staged, &all).await?,
    };
    let mut attached = Vec::new();
    if let Some(signer) = signer {
        let place = Staged {
            store: &staged,
            destination,
            builder_id: &args.builder_id,
            environment,
        };
        attached = prove(place, (made, about), (&all, &root), signer, ui).await?;
    } else {
        ui.warn("it is not signed: give `--key` to sign it");
    }
    let verdict = judge(args, &folder, destination, &root, signer).await?;
    let moved = (&*staged, all.as_slice(), &root);
    let name = move_to(destination, moved, (images, signer), ui).await?;
    if matches!(destination.location, Location::DockerDaemon(_)) {
        attached.clear();
    }
    Ok(Report {
        image: name,
        digest: root.digest.to_string(),
        media_type: root.media_type.to_string(),
        images: all
            .iter()
            .map(|(platform, it)| OneImage {
                platform: shown(platform),
                digest: it.digest.to_string(),
            })
            .collect(),
        attached,
        verdict,
    })
}

/// Attaches SBOMs, provenance and a signature to each image, and to the index of several. Returns the
/// manifests of what was attached.
async fn prove(
    place: Staged<'_>,
    (made, about): (&[(Platform, Made)], &About),
    (images, root): (&[(Platform, Descriptor)], &Descriptor),
    signer: &Signer,
    ui: &Ui,
) -> Result<Vec<String>, CommandError> {
    let programs = proof::programs(place.environment)?;
    let mut attached = Vec::new();
    let mut claimed = Vec::new();
    for (one, (platform, image)) in made.iter().zip(images) {
        ui.begin("sbom", "looking into the layers");
        let claims = place.claims(about, one, image, &programs).await?;
        ui.done(
            "sbom",
            format_args!(
                "CycloneDX: {}, SPDX: {}",
                counted(claims.sbom.cyclonedx.len(), "component"),
                counted(claims.sbom.spdx.packages().count(), "package")
            ),
        );
        ui.begin("attest", "signing");
        attached.extend(claims.attach(&**place.store, image, signer, ui).await?);
        claimed.push((platform, image, claims));
    }
    if !images.iter().any(|(_, it)| it == root) {
        let members: Vec<_> = claimed
            .iter()
            .map(|(platform, image, claims)| Member {
                platform,
                image,
                claims,
            })
            .collect();
        let created = OffsetDateTime::from_unix_timestamp(claims::CREATED).ok();
        let claims = Claims::of_index(root, place.name(about), &members, created)?;
        attached.extend(claims.attach(&**place.store, root, signer, ui).await?);
    }
    let mut names = Vec::new();
    for it in &attached {
        let name = it.predicate_type.name();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    ui.done("attest", names.join(", "));
    Ok(attached.iter().map(|it| it.manifest.clone()).collect())
}

/// Prints what was made, for people.
pub(crate) fn print(ui: &Ui, report: &Report) {
    let made = ui.paint(Tone::Good, "made");
    ui.line(format_args!("{made} {}", report.image));
    for image in &report.images {
        ui.line(format_args!("  {} {}", image.platform, image.digest));
    }
}

/// A platform, which need not have an architecture.
fn shown(platform: &Platform) -> String {
    platform.to_string().trim_end_matches('/').to_owned()
}

/// Makes an index of `all`, in their order, with the fields in the order in which pack writes them.
async fn index(
    store: &LayoutStore,
    all: &[(Platform, Descriptor)],
) -> Result<Descriptor, CommandError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry<'a> {
        media_type: &'a MediaType,
        size: u64,
        digest: String,
        platform: &'a Platform,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct IndexText<'a> {
        schema_version: u32,
        media_type: MediaType,
        manifests: Vec<Entry<'a>>,
    }
    let entry = |(platform, it): &'_ (Platform, Descriptor)| {
        (
            it.media_type.clone(),
            it.size,
            it.digest.to_string(),
            platform.clone(),
        )
    };
    let parts: Vec<_> = all.iter().map(entry).collect();
    let text = IndexText {
        schema_version: 2,
        media_type: MediaType::IMAGE_INDEX,
        manifests: parts
            .iter()
            .map(|(media_type, size, digest, platform)| Entry {
                media_type,
                size: *size,
                digest: digest.clone(),
                platform,
            })
            .collect(),
    };
    let bytes = go::json::to_string(&text).map_err(CommandError::undecided)?;
    let descriptor = Descriptor::of(MediaType::IMAGE_INDEX, bytes.as_bytes());
    store.push_manifest(&descriptor, bytes.into()).await?;
    Ok(descriptor)
}

/// Judges what a stranger would find in the staged layout.
async fn judge(
    args: &MakingArgs,
    folder: &TempDir,
    destination: &Reference,
    root: &Descriptor,
    signer: Option<&Signer>,
) -> Result<Option<Verdict>, CommandError> {
    let Some(path) = &args.policy else {
        return Ok(None);
    };
    let key = signer.and_then(Signer::key);
    let given: Vec<_> = key
        .iter()
        .map(|it| attest::SignerPattern::Key(it.public_key().clone()))
        .collect();
    let policies = policy::load(path, &given)?;
    let policy = policy::choose(&policies, &[destination])?;
    let trusted = IdentityArgs {
        trusted_root: args.signer.services.trusted_root.clone(),
        ..IdentityArgs::default()
    };
    let gate = Gate::new(GateOptions {
        trust: trusted.trust(policy.accepts())?,
        ..GateOptions::default()
    });
    let layout = folder.path().join("staged");
    let reference = format!("oci:{}@{}", layout.display(), root.digest);
    let question = Question {
        image: GateImage::Found(Box::new(Found {
            reference: reference.parse()?,
            descriptor: root.clone(),
            store: Arc::new(LayoutStore::open(&layout)?),
        })),
        policy,
        at: environment::now(),
    };
    let judged = gate.ask(&question).await?.judged;
    if judged.verdict.accepted() {
        return Ok(Some(judged.verdict.clone()));
    }
    let notes = policy::notes(&judged).into_iter();
    let notes = notes.chain(["nothing was published".to_owned()]);
    Err(policy::rejected(
        &destination.to_string(),
        &judged.verdict,
        notes.collect(),
    ))
}

/// Moves the staged image `root`, which is or has `all`; says where it is then.
async fn move_to(
    destination: &Reference,
    (staged, all, root): (&LayoutStore, &[(Platform, Descriptor)], &Descriptor),
    (images, signer): (&Lookup<'_>, Option<&Signer>),
    ui: &Ui,
) -> Result<String, CommandError> {
    ui.begin("publish", destination.to_string());
    let failed = || format!("failed to publish to `{destination}`");
    let transfer = Transfer::new(ui, "publish");
    if let Location::DockerDaemon(repository) = &destination.location {
        let daemon = images.daemon()?;
        let platform = None;
        let tag = tag(destination)?;
        let loaded = daemon
            .load(staged, root, platform, repository, &tag, &transfer)
            .await
            .context(failed)?;
        let new = size(loaded.copied.new.bytes);
        ui.done(
            "publish",
            format_args!("{destination} as {} ({new} written)", loaded.id),
        );
        if loaded.copied.left_behind > 0 {
            ui.warn(format_args!(
                "{NO_PLACE}: `{destination}` is without its proof"
            ));
        }
        return Ok(destination.to_string());
    }
    let destination = &images.settled(destination);
    let store = images.create(destination).await?;
    let name = tag(destination)?;
    let options = CopyOptions {
        referrers: true,
        ..CopyOptions::default()
    };
    if matches!(destination.location, Location::LayoutArchive(_)) {
        // Nothing of it is to be seen before it is finished. Who reads a `.cnb` file takes the first
        // image for the package, so the tag comes before what is attached.
        let alone = CopyOptions::default();
        let copied = copy_graph(staged, &*store, root, &alone, &transfer).await;
        copied.context(failed)?;
        store.tag(root, &name).await?;
    }
    let copied = copy_graph(staged, &*store, root, &options, &transfer)
        .await
        .context(failed)?;
    store.tag(root, &name).await?;
    if let Some(signer) = signer {
        let parts = all.iter().map(|(_, it)| it).filter(|it| *it != root);
        for target in parts.chain([root]) {
            let moved = publishing::Staged {
                store: staged,
                target,
            };
            superseded::delete(&*store, moved, None, signer, ui).await;
        }
    }
    store.finish().await?;
    let new = size(copied.new.bytes);
    ui.done("publish", format_args!("{destination} ({new} written)"));
    Ok(destination.at(root.digest.clone()).to_string())
}
