use oci::{Copied, CopyOptions, Location, Platforms, Reference, Tag, copy_graph};
use serde::Serialize;

use crate::args::Copy;
use crate::environment::Environment;
use crate::error::{CommandError, Message};
use crate::images::{Found, Images, NO_PLACE, with_hint};
use crate::transfer::Transfer;
use crate::ui::{Tone, Ui, size};

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
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DroppedReport {
    digest: String,
    problem: String,
}

pub(crate) async fn run(
    args: Copy,
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
    let images = Images::new(&args.access, environment, ui);
    let found = images.find(&args.source).await?;
    let platform = args.platforms.one();
    let progress = Transfer::new(ui, "copy");
    if let Location::DockerDaemon(repository) = &args.destination.location {
        let loaded = images
            .daemon()?
            .load(
                &*found.store,
                &found.descriptor,
                platform.as_ref(),
                repository,
                &tag(&args.destination)?,
                &progress,
            )
            .await
            .map_err(CommandError::undecided)?;
        let report = Report {
            image_id: Some(loaded.id.to_string()),
            ..Report::new(&found, &args.destination, &loaded.copied)
        };
        if report.left_behind > 0 {
            ui.warn(format_args!(
                "{} referrers were left behind: {NO_PLACE}",
                report.left_behind
            ));
        }
        return ui.result(args.printed.output, &report, |ui, report| {
            ui.line(format_args!(
                "{} {} as {} ({} new, {} there already)",
                ui.paint(Tone::Good, "loaded"),
                args.destination,
                loaded.id,
                size(report.new_bytes),
                size(report.skipped_bytes),
            ));
        });
    }
    let destination = images.create(&args.destination).await?;
    let options = CopyOptions {
        referrers: args.referrers,
        digest_tags: args.digest_tags,
        platforms: platform.map_or(Platforms::All, Platforms::One),
        ..CopyOptions::default()
    };
    let copied = copy_graph(
        &*found.store,
        &*destination,
        &found.descriptor,
        &options,
        &progress,
    )
    .await
    .map_err(CommandError::undecided)?;
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
    let report = Report::new(&found, &args.destination, &copied);
    warn(ui, &args, &copied);
    ui.result(args.printed.output, &report, |ui, report| {
        ui.line(format_args!(
            "{} {} ({} new, {} there already, {} referrers)",
            ui.paint(Tone::Good, "copied"),
            report.destination,
            size(report.new_bytes),
            size(report.skipped_bytes),
            report.referrers,
        ));
    })
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
        let way = if args.referrers {
            "they are attached to the index, and `--all-platforms` copies it"
        } else {
            "signatures, SBOMs or provenance; `--referrers` copies them"
        };
        ui.warn(format_args!(
            "at least {} referrers were left behind: {way}",
            copied.left_behind
        ));
    }
    if !copied.digest_tags_left_behind.is_empty() {
        let tags = copied.digest_tags_left_behind.iter();
        let tags: Vec<_> = tags.map(ToString::to_string).collect();
        ui.warn(format_args!(
            "{} of cosign's tags were left behind: {}; `--digest-tags` copies them",
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
