//! Pushes a list as an index: its images with their proof, then the index, the tag last.

use std::collections::BTreeMap;

use oci::{CopyOptions, Descriptor, Index, MediaType, Platform, Reference, copy_graph};

use super::list::List;
use crate::args::SignerArgs;
use crate::claims::{self, Attached};
use crate::commands::copy::tag;
use crate::error::{CommandError, Context as _, Message};
use crate::images::{Lookup, NO_PLACE, with_hint};
use crate::signing::Signer;
use crate::transfer::Transfer;
use crate::ui::Ui;

/// An index that was pushed.
pub(super) struct Pushed {
    pub(super) root: Descriptor,
    pub(super) attached: Vec<Attached>,
    /// What is attached to the images and came along.
    pub(super) referrers: usize,
}

/// Whether someone signs, by what was typed.
pub(super) fn signs(args: &SignerArgs) -> bool {
    args.key.is_some() || args.services.are_named()
}

/// Pushes `list` to `destination`.
pub(super) async fn run(
    list: &List,
    destination: &Reference,
    form: Option<MediaType>,
    signer: Option<&Signer>,
    images: &Lookup<'_>,
    ui: &Ui,
) -> Result<Pushed, CommandError> {
    check(list, destination)?;
    let destination = &images.settled(destination);
    let store = images.create(destination).await?;
    let mut referrers = 0;
    for entry in &list.index.manifests {
        let place = list.place(&entry.digest)?;
        ui.begin("push", place.to_string());
        let source = images.open(&place).await?;
        let options = CopyOptions {
            referrers: true,
            ..CopyOptions::default()
        };
        let target = entry.bare();
        let progress = Transfer::new(ui, "push");
        let copied = copy_graph(&*source, &*store, &target, &options, &progress)
            .await
            .context(|| format!("failed to copy `{place}`"))?;
        for dropped in &copied.dropped {
            ui.warn(format_args!(
                "not copied: {}: {}",
                dropped.descriptor.digest, dropped.problem
            ));
        }
        referrers += copied.referrers;
    }
    let own = list.index.media_type.clone();
    let form = form.or(own).unwrap_or(MediaType::IMAGE_INDEX);
    let index = Index::new(
        form,
        list.index.manifests.clone(),
        list.index.annotations.clone(),
    );
    let (root, bytes) = index.encode().map_err(CommandError::undecided)?;
    let pushed = store.push_manifest(&root, bytes).await;
    pushed.map_err(|it| with_hint(it, destination))?;
    let mut attached = Vec::new();
    if let Some(signer) = signer {
        attached.push(claims::attach_signature(&*store, &root, signer, ui).await?);
    }
    store
        .tag(&root, &tag(destination)?)
        .await
        .map_err(|it| with_hint(it, destination))?;
    store.finish().await?;
    Ok(Pushed {
        root,
        attached,
        referrers,
    })
}

/// Whether the list makes sense as an index: whoever pulls it has to know which image to take.
fn check(list: &List, destination: &Reference) -> Result<(), CommandError> {
    if let oci::Location::DockerDaemon(_) = destination.location {
        return Err(Message(NO_PLACE.to_owned()).into());
    }
    if destination.digest.is_some() {
        return Err(Message(format!(
            "`{destination}` names a digest, and the index has one of its own"
        ))
        .into());
    }
    if list.index.manifests.is_empty() {
        return Err(CommandError::undecided(Message(format!(
            "the manifest list '{}' holds no image",
            list.name
        )))
        .hint("add some: `sealpack manifest add`"));
    }
    let mut seen: BTreeMap<&Platform, &Descriptor> = BTreeMap::new();
    for entry in &list.index.manifests {
        let platform = entry.platform.as_ref();
        let platform = platform.filter(|it| !it.os.is_empty() && !it.architecture.is_empty());
        let platform = platform.ok_or_else(|| {
            CommandError::undecided(Message(format!(
                "nothing says what {} in the manifest list '{}' runs on",
                entry.digest, list.name
            )))
            .hint("say it: `sealpack manifest annotate LIST IMAGE --os OS --arch ARCH`")
        })?;
        // Attestations of BuildKit are for no platform, and may be many.
        if platform.os == "unknown" {
            continue;
        }
        if let Some(other) = seen.insert(platform, entry) {
            return Err(CommandError::undecided(Message(format!(
                "{} and {} in the manifest list '{}' are both for {platform}: nobody would get the second",
                other.digest, entry.digest, list.name
            )))
            .hint("take one out (`sealpack manifest rm`), or say in what they differ (`sealpack manifest annotate`)"));
        }
    }
    Ok(())
}
