//! Moves a staged image, and all that is attached to it, to its destinations.

use oci::{CopyOptions, Descriptor, Location, Reference, Repository, copy_graph};
use platform::run::{Built, Staging};
use policies::Verdict;

use super::settings::Settings;
use crate::claims::{self, Attached, Verifier};
use crate::commands::copy::tag;
use crate::error::{CommandError, Context as _, Message};
use crate::images::{Images, NO_PLACE};
use crate::transfer::Transfer;
use crate::ui::{Ui, size};

/// Where an image went.
pub(crate) struct Published {
    /// The first destination, by digest.
    pub(crate) image: String,
    /// What was attached after it was judged.
    pub(crate) attached: Vec<Attached>,
}

/// Publishes: blobs, manifest, referrers, and the tag last; then the verdict.
pub(crate) async fn run(
    settings: &Settings,
    staging: &Staging,
    images: &Images<'_>,
    built: &Built,
    verdicts: &[Verdict],
    ui: &Ui,
) -> Result<Published, CommandError> {
    let image = &built.report.image;
    let mut published = Published {
        image: String::new(),
        attached: Vec::new(),
    };
    for (at, destination) in settings.destinations.iter().enumerate() {
        ui.begin("publish", destination.to_string());
        if let Location::DockerDaemon(repository) = &destination.location {
            load(images, staging, image, repository, destination, ui).await?;
            if published.image.is_empty() {
                published.image = destination.to_string();
            }
            continue;
        }
        let store = images.create(destination).await?;
        let options = CopyOptions {
            referrers: true,
            ..CopyOptions::default()
        };
        let copied = copy_graph(
            staging.store(),
            &*store,
            image,
            &options,
            &Transfer::new(ui, "publish"),
        )
        .await
        .context(|| format!("failed to publish to `{destination}`"))?;
        // A copy leaves out what is broken; what a policy has judged must not lose anything.
        if let Some(dropped) = copied.dropped.first() {
            return Err(CommandError::undecided(Message(format!(
                "failed to publish to `{destination}`: {} of what is attached to the image was changed since it was staged",
                dropped.descriptor.digest
            )))
            .note(dropped.problem.clone()));
        }
        store.tag(image, &tag(destination)?).await?;
        if let (Some(verdict), Some(signer)) = (verdicts.get(at), &settings.signer) {
            let by = Verifier {
                signer,
                id: &settings.builder_id,
                policy_name: &settings.policy_name,
                destination,
            };
            let attached = claims::attach_verdict(&*store, image, verdict, by, ui).await?;
            published.attached.push(attached);
        }
        store.finish().await?;
        ui.done(
            "publish",
            format_args!("{destination} ({} new)", size(copied.new.bytes)),
        );
        if published.image.is_empty() {
            published.image = destination.at(image.digest.clone()).to_string();
        }
    }
    Ok(published)
}

/// Loads the image into the Docker daemon, where it can be run, but not proven.
async fn load(
    images: &Images<'_>,
    staging: &Staging,
    image: &Descriptor,
    repository: &Repository,
    destination: &Reference,
    ui: &Ui,
) -> Result<(), CommandError> {
    let (store, tag) = (staging.store(), tag(destination)?);
    let daemon = images.daemon()?;
    let loaded = daemon
        .load(
            store,
            image,
            None,
            repository,
            &tag,
            &Transfer::new(ui, "publish"),
        )
        .await
        .context(|| format!("failed to publish to `{destination}`"))?;
    let new = size(loaded.copied.new.bytes);
    ui.done(
        "publish",
        format_args!("{destination} as {} ({new} new)", loaded.id),
    );
    if loaded.copied.left_behind > 0 {
        ui.warn(format_args!(
            "{NO_PLACE}: `{destination}` is without its proof; add `--output HOST/REPO:TAG` or `--output oci:DIR:TAG` to keep it"
        ));
    }
    Ok(())
}
