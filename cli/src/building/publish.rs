//! Moves a staged image, and all that is attached to it, to its destinations.

use intoto::Timestamp;
use oci::{CopyOptions, Descriptor, Location, Reference, Repository, Store, copy_graph};
use platform::run::{Built, Staging};
use policies::{Judge, Verdict};
use time::OffsetDateTime;

use super::proof::{self, Attached};
use super::settings::Settings;
use crate::commands::copy::tag;
use crate::environment;
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
        if let Some(verdict) = verdicts.get(at) {
            let summary = summarise(settings, verdict, destination, &*store, built, ui).await?;
            published.attached.extend(summary);
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

/// Attaches the verdict, so that a later gate needs one check instead of all.
async fn summarise(
    settings: &Settings,
    verdict: &Verdict,
    destination: &Reference,
    store: &dyn Store,
    built: &Built,
    ui: &Ui,
) -> Result<Option<Attached>, CommandError> {
    let Some(signer) = &settings.signer else {
        return Ok(None);
    };
    let now: Timestamp = OffsetDateTime::from(environment::now())
        .try_into()
        .context(|| "the clock is wrong".to_owned())?;
    let statement = verdict.summary(&Judge {
        verifier_id: &settings.builder_id,
        resource_uri: &destination.to_string(),
        policy_uri: &settings.policy_name,
        at: &now,
    });
    let bundle = signer.sign(&statement, &built.report.image, ui).await?;
    let predicate_type = statement.predicate_type().clone();
    proof::attach_one(store, &built.report.image, predicate_type, &bundle, None)
        .await
        .map(Some)
}
