//! Moves a staged image, and all that is attached to it, to its destinations.

use oci::{Descriptor, Location, Reference, Repository};
use platform::run::{Built, Staging};
use policies::Verdict;

use super::settings::Settings;
use crate::claims::{Attached, Verifier};
use crate::commands::copy::tag;
use crate::error::{CommandError, Context as _};
use crate::images::{Lookup, NO_PLACE};
use crate::publishing::{self, Staged};
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
    images: &Lookup<'_>,
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
        if let Location::DockerDaemon(repository) = &destination.location {
            load(images, staging, image, repository, destination, ui).await?;
            if published.image.is_empty() {
                published.image = destination.to_string();
            }
            continue;
        }
        let store = images.create(destination).await?;
        let staged = Staged {
            store: staging.store(),
            target: image,
        };
        let verdict = settings.verdict(verdicts.get(at), destination);
        let to = (destination, &*store);
        let attached =
            publishing::publish(&[], staged, to, verdict, settings.signer.as_ref(), ui).await?;
        published.attached.extend(attached);
        if published.image.is_empty() {
            published.image = destination.at(image.digest.clone()).to_string();
        }
    }
    Ok(published)
}

impl Settings {
    /// What is said of the verdict that was found for `destination`, if there is one and who says it.
    pub(super) fn verdict<'a>(
        &'a self,
        verdict: Option<&'a Verdict>,
        destination: &'a Reference,
    ) -> Option<(&'a Verdict, Verifier<'a>)> {
        let by = Verifier {
            signer: self.signer.as_ref()?,
            id: &self.builder_id,
            policy_name: &self.policy_name,
            destination,
        };
        verdict.map(|it| (it, by))
    }
}

/// Loads the image into the Docker daemon, where it can be run, but not proven.
async fn load(
    images: &Lookup<'_>,
    staging: &Staging,
    image: &Descriptor,
    repository: &Repository,
    destination: &Reference,
    ui: &Ui,
) -> Result<(), CommandError> {
    ui.begin("publish", destination.to_string());
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
        format_args!("{destination} as {} ({new} written)", loaded.id),
    );
    if loaded.copied.left_behind > 0 {
        ui.warn(format_args!(
            "{NO_PLACE}: `{destination}` is without its proof; add `--tag HOST/REPO:TAG` or `--tag oci:DIR:TAG` to keep it"
        ));
    }
    Ok(())
}
