//! Moves what is staged to one destination: blobs, manifests, all that is attached to them, and the tag last;
//! then the verdict. What the same builder said of the same image before goes: see [`replace`].

use std::collections::BTreeMap;

use attest::{Accept, SignerPattern, Verified};
use gate::Trust;
use intoto::PredicateType;
use oci::{Copied, CopyOptions, Descriptor, Limits, Reference, Store, copy_graph};
use policies::Verdict;
use serde_json::Value;

use crate::claims::{self, Attached, Verifier};
use crate::commands::copy::tag;
use crate::error::{CommandError, Context as _, Message};
use crate::signing::Signer;
use crate::transfer::Transfer;
use crate::ui::{Ui, size};

/// What is published, and where it is staged.
#[derive(Clone, Copy)]
pub(crate) struct Staged<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) target: &'a Descriptor,
}

/// Who built, and signed that.
#[derive(Clone, Copy)]
pub(crate) struct Builder<'a> {
    pub(crate) signer: &'a Signer,
    /// Who built, by URI.
    pub(crate) id: &'a str,
}

/// Publishes `parts`, images of an index, and then `root`, which gets the tag, to `store`, which is at
/// `destination`. What was attached is the verdict, if there is one.
pub(crate) async fn publish(
    parts: &[Staged<'_>],
    root: Staged<'_>,
    (destination, store): (&Reference, &dyn Store),
    verdict: Option<(&Verdict, Verifier<'_>)>,
    builder: Option<Builder<'_>>,
    ui: &Ui,
) -> Result<Option<Attached>, CommandError> {
    ui.begin("publish", destination.to_string());
    let mut new = 0;
    let mut known = Vec::new();
    for staged in parts.iter().chain([&root]) {
        let copied = copy(*staged, store, destination, ui).await?;
        new += copied.new.bytes;
        // Nothing could be attached to an image that was not there.
        if copied.skipped.manifests > 0 {
            known.push(staged.target);
        }
    }
    store.tag(root.target, &tag(destination)?).await?;
    let mut attached = None;
    if let Some((verdict, by)) = verdict {
        attached = Some(claims::attach_verdict(store, root.target, verdict, by, ui).await?);
    }
    for image in known {
        if let Some(builder) = builder
            && let Err(error) = replace(store, image, builder, destination).await
        {
            let digest = &image.digest;
            // What was built is published, and as good as ever.
            ui.warn(format_args!(
                "what earlier builds said of {digest} stays attached: {}",
                error.line()
            ));
        }
    }
    store.finish().await?;
    ui.done(
        "publish",
        format_args!("{destination} ({} written)", size(new)),
    );
    Ok(attached)
}

/// Deletes what this key has said before, as this builder, of how the same image came to be and of what a
/// policy made of it: a build that is done again each night would attach both each night, for good. Of each
/// kind the newest stays, whoever of two that build at once comes last. What others say stays, as does all
/// that cannot be verified: who deletes by what a stranger wrote can be made to delete anything. Without a
/// key nothing is deleted: who signs by a certificate leaves another one each time, by design.
async fn replace(
    store: &dyn Store,
    image: &Descriptor,
    builder: Builder<'_>,
    destination: &Reference,
) -> Result<(), CommandError> {
    let Some(key) = builder.signer.key() else {
        return Ok(());
    };
    let kinds = [
        PredicateType::SLSA_PROVENANCE_V1,
        PredicateType::SLSA_VSA_V1,
    ];
    let accepts = kinds.map(|predicate_type| Accept {
        predicate_type,
        signer: SignerPattern::Key(key.public_key().clone()),
    });
    let limits = Limits::default();
    let proof = gate::prove(store, image, &accepts, &Trust::keys(), &limits).await?;
    let mut said: BTreeMap<[String; 3], Vec<(String, &Descriptor)>> = BTreeMap::new();
    for it in &proof.verified {
        if let (Some((about, when)), Some(manifest)) =
            (about(it, builder.id, destination), it.manifest())
        {
            said.entry(about).or_default().push((when, manifest));
        }
    }
    for mut same in said.into_values() {
        same.sort_by(|one, other| (&one.0, &one.1.digest).cmp(&(&other.0, &other.1.digest)));
        same.dedup_by(|one, other| one.1.digest == other.1.digest);
        same.pop();
        for (_, older) in same {
            store.delete(older).await?;
        }
    }
    Ok(())
}

/// What a statement is about, if `builder` made it for `destination`, and when: of the same, the newest
/// counts.
fn about(
    verified: &Verified,
    builder: &str,
    destination: &Reference,
) -> Option<([String; 3], String)> {
    let predicate = verified.statement().predicate();
    let text = |path: &str| predicate.pointer(path).and_then(Value::as_str);
    let (by, when, more) = if *verified.predicate_type() == PredicateType::SLSA_VSA_V1 {
        // The same image may have other names, and other policies.
        text("/resourceUri").filter(|it| *it == destination.to_string())?;
        ("/verifier/id", "/timeVerified", "/policy/uri")
    } else {
        (
            "/runDetails/builder/id",
            "/runDetails/metadata/finishedOn",
            "/buildDefinition/buildType",
        )
    };
    text(by).filter(|it| *it == builder)?;
    let kind = verified.predicate_type().as_str().to_owned();
    let more = text(more).unwrap_or_default().to_owned();
    Some(([kind, builder.to_owned(), more], text(when)?.to_owned()))
}

/// Copies one image with all that is attached to it.
async fn copy(
    staged: Staged<'_>,
    to: &dyn Store,
    destination: &Reference,
    ui: &Ui,
) -> Result<Copied, CommandError> {
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
        None => Ok(copied),
    }
}
