//! Moves what is staged to one destination: blobs, manifests, all that is attached to them, and the tag last;
//! then the verdict, and what all that is newer than goes.

use oci::{CopyOptions, Descriptor, Reference, Store, copy_graph};
use policies::Verdict;

use crate::claims::{self, Attached, Verifier};
use crate::commands::copy::tag;
use crate::error::{CommandError, Context as _, Message};
use crate::signing::Signer;
use crate::superseded;
use crate::transfer::Transfer;
use crate::ui::{Ui, size};

/// What is published, and where it is staged.
#[derive(Clone, Copy)]
pub(crate) struct Staged<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) target: &'a Descriptor,
}

/// Publishes `parts`, images of an index, and then `root`, which gets the tag, to `store`, which is at
/// `destination`. What was attached is the verdict, if there is one. What `signer` said of them before goes.
pub(crate) async fn publish(
    parts: &[Staged<'_>],
    root: Staged<'_>,
    (destination, store): (&Reference, &dyn Store),
    verdict: Option<(&Verdict, Verifier<'_>)>,
    signer: Option<&Signer>,
    ui: &Ui,
) -> Result<Option<Attached>, CommandError> {
    ui.begin("publish", destination.to_string());
    let mut new = 0;
    for staged in parts.iter().chain([&root]) {
        new += copy(*staged, store, destination, ui).await?;
    }
    store.tag(root.target, &tag(destination)?).await?;
    let mut attached = None;
    if let Some((verdict, by)) = verdict {
        attached = Some(claims::attach_verdict(store, root.target, verdict, by, ui).await?);
    }
    if let Some(signer) = signer {
        let later = attached.as_ref().and_then(|it| it.manifest.parse().ok());
        for part in parts {
            superseded::delete(store, *part, None, signer, ui).await;
        }
        superseded::delete(store, root, later.as_ref(), signer, ui).await;
    }
    store.finish().await?;
    ui.done(
        "publish",
        format_args!("{destination} ({} written)", size(new)),
    );
    Ok(attached)
}

/// Copies one image with all that is attached to it; says how many bytes were new.
async fn copy(
    staged: Staged<'_>,
    to: &dyn Store,
    destination: &Reference,
    ui: &Ui,
) -> Result<u64, CommandError> {
    let options = CopyOptions {
        referrers: true,
        ..CopyOptions::default()
    };
    let failed = || format!("failed to publish to `{destination}`");
    let progress = Transfer::new(ui, "publish");
    let copied = copy_graph(staged.store, to, staged.target, &options, &progress)
        .await
        .context(failed)?;
    // A copy leaves out what is broken; what a policy has judged must not lose anything.
    match copied.dropped.first() {
        Some(dropped) => {
            let digest = &dropped.descriptor.digest;
            let problem = format!(
                "{}: {digest} of what is attached to the image was changed since it was staged",
                failed()
            );
            Err(CommandError::undecided(Message(problem)).note(dropped.problem.clone()))
        }
        None => Ok(copied.new.bytes),
    }
}
