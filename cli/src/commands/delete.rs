//! `sealpack delete`: an image, or what is attached to one, by digest.

use std::collections::BTreeSet;

use clap::Args;
use oci::{Descriptor, Found, Limits, Location, Reference, Store, StoreError};
use serde::Serialize;

use crate::args::{Access, Printed};
use crate::digest_tags;
use crate::digest_tags::subject::{self, Subject};
use crate::environment::Environment;
use crate::error::{CommandError, Message};
use crate::images::{Lookup, with_hint};
use crate::typed;
use crate::ui::{Tone, Ui};

/// Delete an image, or something that is attached to one.
///
/// Only by digest, as `tree` and `inspect` show it: what is deleted is gone by all of its tags. Its
/// layers are freed by the registry's own garbage collection, in a layout by `sealpack gc`, and in an
/// archive at once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  An image, and all that is attached to it:
    sealpack delete registry.example/app@sha256:… --referrers
  A signature that should not be there:
    sealpack tree registry.example/app:v1
    sealpack delete registry.example/app@sha256:…")]
pub(crate) struct Delete {
    /// The image or what is attached to one: `HOST/REPO@sha256:…`, `oci:DIR@sha256:…`.
    #[arg(value_parser = typed::image)]
    pub(crate) image: Reference,

    /// Delete what is attached too, and what is attached to that; also by cosign's old tags
    /// (`sha256-….sig`, `.att`, `.sbom`).
    #[arg(long)]
    pub(crate) referrers: bool,

    /// Do not ask, as always.
    #[arg(long, short, hide = true)]
    pub(crate) yes: bool,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What `sealpack delete --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    image: String,
    /// In the order in which they went; the image is the last.
    deleted: Vec<String>,
    /// What is attached to the image and was not asked for.
    left_behind: usize,
    /// Tags by which cosign 1 and 2 attached something to the image: not asked for, or what they name is
    /// another image's, too, or not what cosign attached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    digest_tags_left_behind: Vec<String>,
}

pub(crate) async fn run(
    args: Delete,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    if matches!(args.image.location, Location::DockerDaemon(_)) {
        return Err(CommandError::undecided(Message(
            "what a Docker daemon has is deleted by the daemon".to_owned(),
        ))
        .hint("`docker image rm NAME:TAG`"));
    }
    let images = Lookup::new(&args.access, environment, ui);
    let found = images.find_to_change(&args.image).await?;
    if args.image.digest.is_none() {
        return Err(CommandError::undecided(Message(format!(
            "`{}` is {}, and `delete` needs a digest: it removes every tag that points to it",
            args.image,
            if args.image.selector().is_some() {
                "a tag"
            } else {
                "only a name"
            },
        )))
        .hint(format!(
            "if that is meant, name it by digest: `{}`",
            found.reference
        )));
    }
    let failed = |error| with_hint(error, &args.image);
    let root = found.descriptor.clone();
    let limits = Limits::default();
    let attached = attached(&*found.store, &root, args.referrers, &limits).await;
    let mut attached = attached.map_err(failed)?;
    let mut tags_left_behind = Vec::new();
    // Of those that were asked for: why they stay.
    let mut reasons = Vec::new();
    for tag in digest_tags::targets(&found).await.map_err(failed)? {
        // A name of the image itself goes with it.
        if tag.target.digest == root.digest {
            continue;
        }
        if args.referrers {
            let Some(reason) = reason_to_keep(&found, &tag.target).await else {
                if attached.iter().all(|it| it.digest != tag.target.digest) {
                    attached.push(tag.target);
                }
                continue;
            };
            reasons.push(reason);
        }
        tags_left_behind.push(tag.name);
    }
    let left_behind = if args.referrers {
        0
    } else {
        std::mem::take(&mut attached).len()
    };
    let mut report = Report {
        image: found.reference.to_string(),
        deleted: Vec::new(),
        left_behind,
        digest_tags_left_behind: tags_left_behind,
    };
    // From the leaves on, so that what is left when this breaks off can still be found.
    for target in attached.iter().rev().chain([&root]) {
        ui.begin("delete", target.digest.to_string());
        found.store.delete(target).await.map_err(failed)?;
        report.deleted.push(target.digest.to_string());
    }
    found.store.finish().await.map_err(failed)?;
    if left_behind > 0 {
        ui.warn(format_args!(
            "{left_behind} manifests that are attached to it stay: `--referrers` deletes them, too"
        ));
    }
    warn_of_tags(&report.digest_tags_left_behind, &reasons, ui);
    ui.result(args.printed.output, &report, |ui, report| {
        let done = ui.paint(Tone::Good, "deleted");
        match report.deleted.len() - 1 {
            0 => ui.line(format_args!("{done} {}", report.image)),
            count => ui.line(format_args!(
                "{done} {} and {count} manifests attached to it",
                report.image
            )),
        }
    })
}

/// Why what one of cosign's tags of the image `found` names is not to go with it, if it is not.
async fn reason_to_keep(found: &Found, target: &Descriptor) -> Option<String> {
    let not_known =
        |what, error| Some(format!("{what} is not known: {}", go::words::chain(&error)));
    match subject::of(&*found.store, target, &found.descriptor.digest).await {
        Ok(Subject::Image) => None,
        Ok(Subject::Both) => Some("it is about another image, too".to_owned()),
        // Equal SBOMs of two images are one manifest.
        Ok(Subject::Unsaid) => match digest_tags::other_name(found, target).await {
            Ok(other) => other.map(|it| format!("another image has it by the tag `{it}`, too")),
            Err(error) => not_known("whether another image has it, too,", error),
        },
        Ok(Subject::Other) => Some("it is about another image".to_owned()),
        Ok(Subject::Nothing) => Some("it is not what cosign attaches".to_owned()),
        Err(error) => not_known("which image it is about", error),
    }
}

/// Says which of cosign's tags name what stays, and of those that were asked for why.
fn warn_of_tags(tags: &[String], reasons: &[String], ui: &Ui) {
    for (tag, reason) in tags.iter().zip(reasons) {
        ui.warn(format_args!(
            "what cosign's old tag `{tag}` names stays: {reason}"
        ));
    }
    if let ([first, rest @ ..], []) = (tags, reasons) {
        let more = match rest.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        ui.warn(format_args!(
            "what cosign's old tags name stays (`{first}`{more}): `--referrers` deletes it, too"
        ));
    }
}

/// What is attached to `root`, and if `all`, to that and so on: what is attached after what it is
/// attached to.
async fn attached(
    store: &dyn Store,
    root: &Descriptor,
    all: bool,
    limits: &Limits,
) -> Result<Vec<Descriptor>, StoreError> {
    let too_many = |what, limit| StoreError::TooMany {
        place: root.digest.to_string(),
        what,
        limit,
    };
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([root.digest.clone()]);
    let mut level = vec![root.digest.clone()];
    for depth in 0.. {
        if depth > limits.depth {
            return Err(too_many("levels of attached manifests", limits.depth));
        }
        let mut next = Vec::new();
        for subject in &level {
            for referrer in store.referrers(subject).await? {
                if seen.insert(referrer.digest.clone()) {
                    next.push(referrer.digest.clone());
                    found.push(referrer.bare());
                }
            }
            if found.len() > limits.manifests {
                return Err(too_many("attached manifests", limits.manifests));
            }
        }
        level = next;
        if level.is_empty() || !all {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use oci::{MediaType, MemoryStore};
    use serde_json::json;

    use super::*;

    async fn push(store: &MemoryStore, name: &str, subject: Option<&Descriptor>) -> Descriptor {
        let config = Descriptor::of(MediaType::EMPTY, b"{}");
        let manifest = json!({
            "schemaVersion": 2, "config": config, "layers": [], "subject": subject,
            "annotations": { "name": name },
        });
        let manifest = Bytes::from(manifest.to_string());
        let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &manifest);
        let pushed = store.push_manifest(&target, manifest).await;
        pushed.expect("memory takes it");
        target
    }

    #[tokio::test]
    async fn what_is_attached_without_end_is_refused() {
        let store = MemoryStore::new();
        let root = push(&store, "root", None).await;
        let mut last = root.clone();
        for name in ["one", "two", "three"] {
            push(&store, "side", Some(&last)).await;
            last = push(&store, name, Some(&last)).await;
        }
        let within = |manifests, depth| Limits {
            manifests,
            depth,
            ..Limits::default()
        };
        for (all, manifests, depth, expected) in [
            (true, 6, 3, Some(6)),
            (true, 5, 3, None),
            (true, 6, 2, None),
            (false, 2, 0, Some(2)),
            (false, 1, 0, None),
        ] {
            let found = attached(&store, &root, all, &within(manifests, depth)).await;
            assert_eq!(found.ok().map(|it| it.len()), expected);
        }
    }
}
