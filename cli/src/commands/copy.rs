//! `sealpack copy`: an image with its proof, from one place to another.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use oci::{
    Copied, CopyOptions, Location, Platform, Platforms, Reference, Repository, Tag, copy_graph,
};
use policies::{Policy, Verdict};
use serde::Serialize;

use crate::args::{Access, IdentityArgs, Printed};
use crate::commands::policy;
use crate::environment::{self, Environment};
use crate::error::{CommandError, Message};
use crate::gated::Gates;
use crate::images::{Found, Lookup, NO_PLACE, with_hint};
use crate::transfer::Transfer;
use crate::typed;
use crate::ui::{Tone, Ui, counted, size};

#[derive(Args, Debug)]
#[command(mut_group("IdentityArgs", |it| it.requires("policy")), after_help = "\
Examples:
  With its proof, to a registry:
    sealpack copy oci:out:app registry.example/app:v1
  Also what cosign attached before there were referrers:
    sealpack copy registry.example/app:v1 mirror.example/app:v1 --digest-tags
  Of an index, one image:
    sealpack copy registry.example/app:v1 oci:out:app --platform linux/arm64
  Into a file, with its proof, that `docker load` takes:
    sealpack copy registry.example/app:v1 docker-archive:app.tar:app:v1
  Only if it is proven, and out of a folder that came over an air gap:
    sealpack copy oci:usb:v1 registry.internal/app:v1 --policy policy.toml
  What `docker save` writes, to a registry:
    docker save app:v1 | sealpack copy docker-archive:/dev/stdin registry.example/app:v1
  Into the Docker daemon, to run it:
    sealpack copy registry.example/app:v1 docker-daemon:app:v1")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(crate) struct Copy {
    /// The image.
    #[arg(value_parser = typed::image)]
    pub(crate) source: Reference,

    /// Where it goes. What else a layout or an archive holds stays; a tag moves.
    #[arg(value_parser = typed::image)]
    pub(crate) destination: Reference,

    /// Copy the image without what is attached to it: signatures, SBOMs, provenance.
    #[arg(long, conflicts_with_all = ["referrers", "policy"])]
    pub(crate) no_referrers: bool,

    /// Copy what is attached, and what is attached to that: so it is without this flag, too.
    #[arg(long, short, hide = true)]
    pub(crate) referrers: bool,

    /// Do not ask, as always.
    #[arg(long, short, hide = true)]
    pub(crate) yes: bool,

    /// Copy cosign's old tags (`sha256-….sig`, `.att`, `.sbom`) too.
    #[arg(long)]
    pub(crate) digest_tags: bool,

    /// Copy the image only if this policy accepts it, where it lies and where it arrives: a
    /// `policy.toml`, its folder, or a folder of policies. What is attached comes along.
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "CopyPlatforms")]
    pub(crate) policy: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,

    #[command(flatten)]
    pub(crate) platforms: CopyPlatforms,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
#[group(multiple = false)]
pub(crate) struct CopyPlatforms {
    /// Of an index, copy only the image for this platform: OS/ARCHITECTURE[/VARIANT]. The index
    /// itself, and what is attached to it, then stays behind.
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,

    /// The same for this machine's platform.
    #[arg(long, hide_short_help = true)]
    pub(crate) this_platform: bool,

    /// Copy an index whole, so that it keeps its digest and its signatures. This is the default.
    #[arg(long, hide_short_help = true)]
    pub(crate) all_platforms: bool,
}

impl CopyPlatforms {
    /// The platform that was asked for; `None` means all.
    pub(crate) fn one(&self) -> Option<Platform> {
        self.platform
            .clone()
            .or_else(|| self.this_platform.then(Platform::host))
    }
}

/// What `sealpack copy --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    source: String,
    destination: String,
    digest: String,
    /// The ID by which a Docker daemon has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_id: Option<String>,
    new_manifests: usize,
    new_blobs: usize,
    new_bytes: u64,
    /// What was there already.
    skipped_bytes: u64,
    referrers: usize,
    /// Referrers that were not asked for: the destination lacks this proof. What is attached to
    /// those is not counted.
    left_behind: usize,
    /// Cosign's tags that were not asked for.
    digest_tags_left_behind: Vec<String>,
    /// What is broken, and so was not copied.
    dropped: Vec<DroppedReport>,
    /// What the policy says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DroppedReport {
    digest: String,
    problem: String,
}

pub(crate) async fn run(
    mut args: Copy,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    if args.destination.digest.is_some() {
        return Err(CommandError::undecided(Message(
            "an image cannot be copied to a digest: it keeps the one it has".to_owned(),
        ))
        .hint("name a tag: `HOST/REPO:TAG` or `oci:DIR:TAG`"));
    }
    if matches!(args.destination.location, Location::DockerDaemon(_))
        && (args.referrers || args.digest_tags)
    {
        return Err(CommandError::undecided(Message(NO_PLACE.to_owned())).hint(
            "leave out `--referrers` and `--digest-tags`, or copy to a registry or a layout",
        ));
    }
    if args.referrers {
        ui.warn(
            "what is attached is copied without `--referrers`, which goes with the next release",
        );
    }
    ui.begin("copy", format!("{} to {}", args.source, args.destination));
    let images = Lookup::new(&args.access, environment, ui);
    args.destination = images.settled(&args.destination);
    let found = match &args.policy {
        Some(_) => images.find_provable(&args.source).await?,
        None => images.find(&args.source).await?,
    };
    let gated = match &args.policy {
        Some(path) => Some(Gated::judge(path, &args, &found, environment).await?),
        None => None,
    };
    let verdict = gated.as_ref().map(|it| it.verdict.clone());
    if let Location::DockerDaemon(repository) = &args.destination.location {
        return load(&args, &images, &found, (repository, verdict), ui).await;
    }
    let destination = images.create(&args.destination).await?;
    let options = CopyOptions {
        referrers: !args.no_referrers,
        digest_tags: args.digest_tags,
        platforms: args.platforms.one().map_or(Platforms::All, Platforms::One),
        ..CopyOptions::default()
    };
    let copied = copy_graph(
        &*found.store,
        &*destination,
        &found.descriptor,
        &options,
        &Transfer::new(ui, "copy"),
    )
    .await
    .map_err(CommandError::undecided)?;
    if let Some(gated) = &gated {
        let to = (&args.destination, &destination);
        let arrived = gated
            .gates
            .behind(&copied, &gated.policy, to, environment::now());
        arrived.await.map_err(|it| it.error(&args.destination))?;
    }
    let tag = tag(&args.destination)?;
    let tagged = destination.tag(&copied.root, &tag).await;
    tagged.map_err(|error| {
        let is_index = copied.root.media_type.is_index();
        let error = with_hint(error, &args.destination);
        match args.destination.location {
            Location::DockerArchive { .. } if is_index => {
                error.hint("copy one of its images: `--this-platform`; `oci-archive:` holds all")
            }
            _ => error,
        }
    })?;
    destination.finish().await?;
    let report = Report {
        verdict,
        ..Report::new(&found, &args.destination, &copied)
    };
    warn(ui, &args, &copied);
    ui.result(args.printed.output, &report, |ui, report| {
        ui.line(format_args!(
            "{} {} ({} transferred, {} already present, {})",
            ui.paint(Tone::Good, "copied"),
            report.destination,
            size(report.new_bytes),
            size(report.skipped_bytes),
            counted(report.referrers, "referrer"),
        ));
    })
}

/// Loads the image into the Docker daemon, without its proof.
async fn load(
    args: &Copy,
    images: &Lookup<'_>,
    found: &Found,
    (repository, verdict): (&Repository, Option<Verdict>),
    ui: &Ui,
) -> Result<(), CommandError> {
    let loaded = images
        .daemon()?
        .load(
            &*found.store,
            &found.descriptor,
            args.platforms.one().as_ref(),
            repository,
            &tag(&args.destination)?,
            &Transfer::new(ui, "copy"),
        )
        .await
        .map_err(CommandError::undecided)?;
    let report = Report {
        image_id: Some(loaded.id.to_string()),
        verdict,
        ..Report::new(found, &args.destination, &loaded.copied)
    };
    if report.left_behind > 0 {
        let count = report.left_behind;
        let were = if count == 1 {
            "referrer was"
        } else {
            "referrers were"
        };
        ui.warn(format_args!("{count} {were} not copied: {NO_PLACE}"));
    }
    ui.result(args.printed.output, &report, |ui, report| {
        ui.line(format_args!(
            "{} {} as {} ({} transferred, {} already present)",
            ui.paint(Tone::Good, "loaded"),
            args.destination,
            loaded.id,
            size(report.new_bytes),
            size(report.skipped_bytes),
        ));
    })
}

/// A policy, and what it said of the image where it lies.
struct Gated {
    gates: Gates,
    policy: Arc<Policy>,
    verdict: Verdict,
}

impl Gated {
    async fn judge(
        path: &Path,
        args: &Copy,
        found: &Found,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let policies = policy::load(path, &args.identity.signers(environment)?)?;
        let policy = policy::choose(&policies, &[&args.source, &args.destination])?;
        let gates = Gates::new(&args.identity.trust(policy.accepts())?);
        let judged = gates.before(found, &policy, environment::now()).await;
        let judged = judged.map_err(|it| it.error(&found.reference))?.judged;
        Ok(Self {
            gates,
            policy,
            verdict: judged.verdict.clone(),
        })
    }
}

impl Report {
    fn new(source: &Found, destination: &Reference, copied: &Copied) -> Self {
        let destination = match destination.location {
            // By digest it would be a name that the daemon may not know.
            Location::DockerDaemon(_) => destination.clone(),
            _ => destination.at(copied.root.digest.clone()),
        };
        let dropped = copied.dropped.iter().map(|it| DroppedReport {
            digest: it.descriptor.digest.to_string(),
            problem: it.problem.clone(),
        });
        let tags = copied.digest_tags_left_behind.iter();
        Self {
            source: source.reference.to_string(),
            destination: destination.to_string(),
            digest: copied.root.digest.to_string(),
            image_id: None,
            new_manifests: copied.new.manifests,
            new_blobs: copied.new.blobs,
            new_bytes: copied.new.bytes,
            skipped_bytes: copied.skipped.bytes,
            referrers: copied.referrers,
            left_behind: copied.left_behind,
            digest_tags_left_behind: tags.map(ToString::to_string).collect(),
            dropped: dropped.collect(),
            verdict: None,
        }
    }
}

/// The tag that a destination means.
pub(crate) fn tag(destination: &Reference) -> Result<Tag, CommandError> {
    match &destination.tag {
        Some(tag) => Ok(tag.clone()),
        None => Ok(Tag::LATEST.parse()?),
    }
}

/// What is dropped and named, at most: anyone may attach thousands.
const NAMED: usize = 10;

/// Says what proof did not come along.
fn warn(ui: &Ui, args: &Copy, copied: &Copied) {
    if copied.left_behind > 0 {
        let count = copied.left_behind;
        let were = if count == 1 {
            "referrer was"
        } else {
            "referrers were"
        };
        if args.no_referrers {
            ui.warn(format_args!(
                "at least {count} {were} not copied: signatures, SBOMs or provenance; leave out `--no-referrers` to copy them"
            ));
        } else {
            ui.warn(format_args!(
                "at least {count} {were} not copied: attached to the index, which `--all-platforms` copies"
            ));
        }
    }
    if !copied.digest_tags_left_behind.is_empty() {
        let tags = copied.digest_tags_left_behind.iter();
        let tags: Vec<_> = tags.map(ToString::to_string).collect();
        let were = if tags.len() == 1 {
            "tag was"
        } else {
            "tags were"
        };
        ui.warn(format_args!(
            "{} cosign {were} not copied: {}; add `--digest-tags`",
            tags.len(),
            crate::error::list(&tags)
        ));
    }
    for it in copied.dropped.iter().take(NAMED) {
        ui.warn(format_args!(
            "not copied: {}: {}",
            it.descriptor.digest, it.problem
        ));
    }
    if let Some(more @ 1..) = copied.dropped.len().checked_sub(NAMED) {
        ui.warn(format_args!(
            "not copied: {more} more; `--output json` names them all"
        ));
    }
}
