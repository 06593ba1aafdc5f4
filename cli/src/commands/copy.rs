use oci::{
    Copied, CopyOptions, Descriptor, Outcome, Platform, Platforms, Progress, Reference, Tag,
    copy_graph,
};
use serde::Serialize;

use crate::args::Copy;
use crate::environment::Environment;
use crate::error::{CommandError, Message};
use crate::images::{Images, with_hint};
use crate::ui::{Tone, Ui};

/// What `sealpack copy --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    source: String,
    destination: String,
    digest: String,
    new_manifests: usize,
    new_blobs: usize,
    new_bytes: u64,
    /// What was there already.
    skipped_bytes: u64,
    referrers: usize,
    /// Referrers that were not copied: the destination lacks this proof.
    left_behind: usize,
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
    let images = Images::new(&args.access, environment);
    let found = images.find(&args.source).await?;
    let destination = images.create(&args.destination).await?;
    let options = CopyOptions {
        referrers: args.referrers,
        digest_tags: args.digest_tags,
        platforms: if args.this_platform {
            Platforms::One(Platform::host())
        } else {
            Platforms::All
        },
        ..CopyOptions::default()
    };
    let progress = Shown { ui };
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
    tagged.map_err(|error| with_hint(error, &args.destination))?;
    destination.finish().await?;
    let report = Report {
        source: found.reference.to_string(),
        destination: args.destination.at(copied.root.digest.clone()).to_string(),
        digest: copied.root.digest.to_string(),
        new_manifests: copied.new.manifests,
        new_blobs: copied.new.blobs,
        new_bytes: copied.new.bytes,
        skipped_bytes: copied.skipped.bytes,
        referrers: copied.referrers,
        left_behind: copied.left_behind,
    };
    warn(ui, &copied);
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

/// The tag that a destination means.
pub(crate) fn tag(destination: &Reference) -> Result<Tag, CommandError> {
    match &destination.tag {
        Some(tag) => Ok(tag.clone()),
        None => Ok(Tag::LATEST.parse()?),
    }
}

/// Says what proof did not come along.
fn warn(ui: &Ui, copied: &Copied) {
    if copied.left_behind > 0 {
        ui.warn(format_args!(
            "{} referrers were left behind: signatures, SBOMs or provenance; `--referrers` copies them",
            copied.left_behind
        ));
    }
    for it in &copied.dropped {
        ui.warn(format_args!(
            "not copied: {}: {}",
            it.descriptor.digest, it.problem
        ));
    }
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut tenths = bytes.saturating_mul(10);
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_000 {
            break;
        }
        tenths /= 1000;
        unit = next;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// Shows on a terminal what is under way.
pub(crate) struct Shown<'a> {
    pub(crate) ui: &'a Ui,
}

impl Progress for Shown<'_> {
    fn begin(&self, target: &Descriptor) {
        self.ui
            .begin("copy", format!("{} {}", size(target.size), target.digest));
    }

    fn end(&self, target: &Descriptor, outcome: Outcome) {
        self.ui.aside(format_args!(
            "{} {} {}",
            match outcome {
                Outcome::Copied => "copied ",
                Outcome::Mounted => "mounted",
                _ => "there  ",
            },
            target.digest,
            size(target.size)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1000), "1.0 kB");
        assert_eq!(size(1_250_000), "1.2 MB");
        assert_eq!(size(u64::MAX), "1844674.4 TB");
    }
}
