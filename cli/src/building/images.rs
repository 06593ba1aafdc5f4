//! The images that a build begins with: each name is resolved once, here.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use lifecycle_core::files::run::RunImages;
use lifecycle_core::images::Place;
use oci::{Found, Location, Reference, Selector};
use platform::base;
use platform::run::{ChooseError, FindRunImage, RunError, RunImage};
use platform::sandbox::Network;

use super::builders::Inputs;
use super::settings::Settings;
use crate::commands::copy::tag;
use crate::error::{CommandError, Context as _, Message};
use crate::images::{Lookup, with_hint};
use crate::typed;
use crate::ui::Ui;

/// Finds what the app is to run on.
pub(crate) async fn run_image(
    settings: &Settings,
    images: &Lookup<'_>,
    ui: &Ui,
) -> Result<RunImage, CommandError> {
    let offered = settings.builders.first().run.images.first();
    let name = settings
        .run_image
        .as_deref()
        .or(offered.map(|it| it.image.as_str()))
        .unwrap_or(base::NAME);
    find_run_image(name, settings, images, ui).await
}

async fn find_run_image(
    name: &str,
    settings: &Settings,
    images: &Lookup<'_>,
    ui: &Ui,
) -> Result<RunImage, CommandError> {
    if name == base::NAME {
        return Ok(RunImage::Static);
    }
    ui.begin("run image", name);
    let reference = typed::image(name).context(|| format!("`{name}` is not a run image"))?;
    let inputs = Inputs {
        policies: settings.input_policies.as_ref(),
        trusted_root: settings.trusted_root.as_deref(),
    };
    let by = (inputs, images, ui);
    let resolved = &settings.builders.resolved;
    let found = resolved.find("run image", &reference, by).await?;
    Ok(RunImage::Found {
        name: label(name, &reference),
        shown: name.to_owned(),
        found: Box::new(found),
    })
}

/// Finds the run images that extensions choose.
#[derive(Debug)]
pub(crate) struct Chooser<'a> {
    settings: &'a Settings,
    images: &'a Lookup<'a>,
    ui: &'a Ui,
    /// Why the last one could not be used.
    failed: Mutex<Option<CommandError>>,
}

impl<'a> Chooser<'a> {
    pub(crate) fn new(settings: &'a Settings, images: &'a Lookup<'a>, ui: &'a Ui) -> Self {
        Self {
            settings,
            images,
            ui,
            failed: Mutex::new(None),
        }
    }

    /// What the user is to read where a build failed: of a run image, all that there is to say of it.
    pub(crate) fn failure(self, error: RunError) -> CommandError {
        let failed = self.failed.into_inner();
        match failed.unwrap_or_else(PoisonError::into_inner) {
            Some(failed) => failed.note(error.to_string()),
            None => error.into(),
        }
    }
}

impl Chooser<'_> {
    /// Whether the user or the builder names it.
    fn is_offered(&self, name: &str) -> bool {
        let own = self.settings.run_image.as_deref() == Some(name);
        let builders = self.settings.builders.all();
        let mut offered = builders.flat_map(|it| it.run.images.iter().flat_map(RunImages::all));
        own || name == base::NAME || offered.any(|it| it == name)
    }
}

/// Why an extension may not choose this run image, which nobody else names. It is not to reach files and
/// daemons of this machine, nor without network a registry.
fn refusal(location: &Location, network: Network) -> Option<&'static str> {
    match location {
        Location::Registry(_) if network == Network::Host => None,
        Location::Registry(_) => Some("the build has no network"),
        _ => Some("it is not in a registry"),
    }
}

fn may_choose(name: &str, network: Network) -> Result<(), CommandError> {
    let reference: Reference = name
        .parse()
        .context(|| format!("`{name}` is not a run image"))?;
    let Some(problem) = refusal(&reference.location, network) else {
        return Ok(());
    };
    let hint = match reference.location {
        Location::Registry(_) => {
            "name it yourself with `--run-image IMAGE`, or allow registries with `--network host`"
        }
        _ => "name it yourself with `--run-image IMAGE`",
    };
    Err(CommandError::undecided(Message(format!(
        "an extension is not allowed to choose the run image `{name}`: neither you nor the builder \
         names it, and {problem}"
    )))
    .hint(hint))
}

#[async_trait]
impl FindRunImage for Chooser<'_> {
    async fn find(&self, name: &str) -> Result<RunImage, ChooseError> {
        let allowed = if self.is_offered(name) {
            Ok(())
        } else {
            may_choose(name, self.settings.network)
        };
        let found = match allowed {
            Ok(()) => find_run_image(name, self.settings, self.images, self.ui).await,
            Err(error) => Err(error),
        };
        found.map_err(|error| {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            *failed = Some(error);
            ChooseError::from("it was not found, or is not allowed")
        })
    }
}

/// What the image is to call its run image: where a rebase finds it, as the user or the builder wrote it.
fn label(name: &str, reference: &Reference) -> String {
    match &reference.location {
        Location::Registry(_) => name.to_owned(),
        _ => reference.to_string(),
    }
}

/// Where layers are kept between builds.
pub(crate) async fn cache(
    reference: &Reference,
    images: &Lookup<'_>,
) -> Result<Place, CommandError> {
    let is_good = matches!(
        reference.location,
        Location::Registry(_) | Location::Layout(_)
    );
    if !is_good || reference.digest.is_some() {
        return Err(
            CommandError::undecided(Message(format!("`{reference}` cannot be a cache")))
                .hint("name a tag: `HOST/REPO:TAG` or `oci:DIR:TAG`"),
        );
    }
    let reference = &images.settled(reference);
    Ok(Place {
        store: images.create(reference).await?,
        name: reference.to_string(),
        repository: reference.location.to_string(),
        selector: Selector::Tag(tag(reference)?),
        image_id: None,
        strict: false,
    })
}

/// Finds the image that the new one replaces: its layers may be used again.
pub(crate) async fn previous(
    settings: &Settings,
    images: &Lookup<'_>,
    ui: &Ui,
) -> Result<Option<Found>, CommandError> {
    if let Some(reference) = &settings.previous_image {
        let found = find(reference, images).await?;
        if found.is_none() {
            ui.warn(format_args!(
                "`{reference}`, which was to be replaced, is not there"
            ));
        }
        return Ok(found);
    }
    let destination = settings.destinations.first();
    match destination.filter(|_| settings.keeps()) {
        Some(destination) => find_to_replace(destination, images, ui).await,
        None => Ok(None),
    }
}

/// The same as [`find`], but that it may not be read stops nobody: whoever comes here may write there, many
/// registries refuse to read what is not there yet, and some names may only write.
pub(super) async fn find_to_replace(
    destination: &Reference,
    images: &Lookup<'_>,
    ui: &Ui,
) -> Result<Option<Found>, CommandError> {
    match find(destination, images).await {
        Err(error) if matches!(error.refusal(), Some(401 | 403)) => {
            ui.warn(format_args!(
                "`{destination}` may not be read ({}): nothing of it is used again",
                error.line()
            ));
            Ok(None)
        }
        found => found,
    }
}

/// The image that is at `destination`, if there is one.
pub(super) async fn find(
    destination: &Reference,
    images: &Lookup<'_>,
) -> Result<Option<Found>, CommandError> {
    let selector = match &destination.digest {
        Some(digest) => Selector::Digest(digest.clone()),
        None => Selector::Tag(tag(destination)?),
    };
    let Some(store) = images.existing(destination).await? else {
        return Ok(None);
    };
    match store.resolve(&selector).await {
        Ok(descriptor) => Ok(Some(Found {
            reference: destination.clone(),
            descriptor,
            store,
        })),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(with_hint(error, destination)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_that_nobody_helps_chooses_from_registries_only() {
        let refusal = |name: &str, network| {
            let reference: Reference = name.parse().unwrap();
            refusal(&reference.location, network)
        };
        for name in ["docker-daemon:app:v1", "oci:/home/ann/app:v1"] {
            for network in [Network::None, Network::Host] {
                assert_eq!(refusal(name, network), Some("it is not in a registry"));
            }
        }
        let name = "registry.example/run:v1";
        assert_eq!(refusal(name, Network::Host), None);
        let expected = Some("the build has no network");
        assert_eq!(refusal(name, Network::None), expected);
    }
}
