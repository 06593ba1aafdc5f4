//! New run images: which one it is, resolved and judged once, for all images that go on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifecycle_core::files::analyzed::RunImageMetadata;
use lifecycle_core::images::parse_name;
use oci::{Found, Image, Limits, Location, MemoryStore, Platform, Reference, Registry, Store};
use platform::base;

use super::settings::Settings;
use crate::error::{CommandError, Context as _, Message};
use crate::images::Lookup;
use crate::temporary;
use crate::typed;
use crate::ui::Ui;

/// The run images that were found so far, by name.
#[derive(Debug, Default)]
pub(super) struct Bases {
    found: BTreeMap<String, Found>,
}

/// A run image.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// What it is called, in labels.
    pub(super) name: String,
    /// The same without tag and digest.
    pub(super) repository: String,
    pub(super) image: Image,
    pub(super) store: Arc<dyn Store>,
}

impl Bases {
    /// The run image for an image that says `said` of its own: the one asked for, else the nearest of
    /// those that it names.
    pub(super) async fn choose(
        &mut self,
        said: &RunImageMetadata,
        platform: &Platform,
        settings: &Settings,
        images: &Lookup<'_>,
        ui: &Ui,
    ) -> Result<Base, CommandError> {
        if let Some(name) = &settings.run_image {
            let found = self.find(name, platform, settings, images, ui).await?;
            return base(name, said, found, platform).await;
        }
        let names = offered(said, settings)?;
        let mut problems = Vec::new();
        for name in names {
            match self.find(&name, platform, settings, images, ui).await {
                Ok(found) => return base(&name, said, found, platform).await,
                // What is there and is refused is not passed over for something else.
                Err(error) if error.is_rejection() => return Err(error),
                Err(error) => problems.push(error),
            }
        }
        let error = Message("none of the run images that the image names can be read".to_owned());
        let error = problems
            .iter()
            .fold(CommandError::undecided(error), |error, it| {
                error.note(it.line())
            });
        Err(error.hint("name one: `--run-image IMAGE`"))
    }

    async fn find(
        &mut self,
        name: &str,
        platform: &Platform,
        settings: &Settings,
        images: &Lookup<'_>,
        ui: &Ui,
    ) -> Result<Found, CommandError> {
        // It is made for one platform.
        if name == base::NAME {
            return made(settings, platform).await;
        }
        if let Some(found) = self.found.get(name) {
            return Ok(found.clone());
        }
        ui.begin("run image", name.to_owned());
        let found = {
            let failed = || format!("`{name}` is not a run image");
            let mut reference = typed::image(name).context(failed)?;
            let is_registry = matches!(reference.location, Location::Registry(_));
            if is_registry && reference.selector().is_none() {
                reference.tag = Some(oci::Tag::latest());
            }
            let found = images.find(&reference).await?;
            settings.judges.run_image(found.clone()).await?;
            found
        };
        self.found.insert(name.to_owned(), found.clone());
        Ok(found)
    }
}

/// The base that this program makes itself.
async fn made(settings: &Settings, platform: &Platform) -> Result<Found, CommandError> {
    let folder = &settings.temporary;
    let scratch = tempfile::tempdir_in(folder)
        .context(|| format!("failed to make a folder in `{}`", folder.display()))
        .map_err(|it| it.hint(temporary::HINT))?;
    let store = Arc::new(MemoryStore::new());
    let descriptor = base::make(&*store, scratch.path(), platform)
        .await
        .map_err(CommandError::undecided)?;
    let reference: Reference = format!("sealpack.invalid/{}", base::NAME).parse()?;
    Ok(Found {
        reference: reference.at(descriptor.digest.clone()),
        descriptor,
        store,
    })
}

/// Where the run image may be had, nearest first: in the registry where the image goes.
fn offered(said: &RunImageMetadata, settings: &Settings) -> Result<Vec<String>, CommandError> {
    let names: Vec<String> = said.images.all().map(str::to_owned).collect();
    let first = names.first().ok_or_else(|| {
        CommandError::undecided(Message("the image names no run image".to_owned()))
            .hint("name one: `--run-image IMAGE`")
    })?;
    // What was never in a registry has a name that means something else there, if anything.
    if is_local(said) && first != base::NAME {
        return Err(CommandError::undecided(Message(format!(
            "the image calls its run image `{first}`, which was in no registry"
        )))
        .hint("say where it is now: `--run-image oci:DIR:TAG`"));
    }
    let near = settings
        .destinations
        .iter()
        .find_map(|it| registry(&it.location));
    let (mut here, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| {
        let parsed = parse_name(name).ok();
        let its = parsed.as_ref().and_then(|it| registry(&it.location));
        near.is_some() && its == near
    });
    here.extend(others);
    Ok(here)
}

/// Whether the run image was in no registry when the image was built: its name is then a word.
fn is_local(said: &RunImageMetadata) -> bool {
    let place = said.reference.split_once('@').map(|(place, _)| place);
    place.is_some_and(|it| !it.contains('/'))
}

fn registry(location: &Location) -> Option<&Registry> {
    match location {
        Location::Registry(repository) => Some(repository.registry()),
        _ => None,
    }
}

/// Of what was found, the image for `platform`, and what labels call it.
async fn base(
    name: &str,
    said: &RunImageMetadata,
    found: Found,
    platform: &Platform,
) -> Result<Base, CommandError> {
    let image = Image::read(
        &*found.store,
        &found.descriptor,
        platform,
        &Limits::default(),
    )
    .await
    .context(|| format!("failed to read the run image `{name}`"))?;
    let is_registry = matches!(found.reference.location, Location::Registry(_));
    // A folder or a file is only where the run image lies; it is the one that the image names.
    let label = match said.images.all().next() {
        _ if is_registry || name == base::NAME => name.to_owned(),
        Some(known) => known.to_owned(),
        None => "run".to_owned(),
    };
    let repository = match parse_name(&label).map(|it| it.location) {
        Ok(location @ Location::Registry(_))
            if label != base::NAME && (is_registry || !is_local(said)) =>
        {
            location.to_string()
        }
        _ => label.clone(),
    };
    Ok(Base {
        name: label,
        repository,
        image,
        store: found.store,
    })
}
