//! From the references that a user types to stores and descriptors, with what to do where that fails.

use std::path::PathBuf;
use std::sync::Arc;

use oci::store::DockerDaemon;
use oci::{Location, Places, PlacesError, Reference, Registry, Selector, Store, StoreError};

use crate::args::Access;
use crate::environment::Environment;
use crate::error::{CommandError, Message};
use crate::registries;
use crate::ui::Ui;

pub(crate) use oci::Found;

/// Why an image in a Docker daemon has no proof.
pub(crate) const NO_PLACE: &str =
    "a Docker daemon cannot keep what is attached to an image: signatures, SBOMs, provenance";

/// Opens stores; one client for all registries.
#[derive(Debug)]
pub(crate) struct Lookup<'a> {
    places: Places,
    /// Where names of files begin.
    directory: PathBuf,
    ui: &'a Ui,
}

impl<'a> Lookup<'a> {
    pub(crate) fn new(access: &Access, environment: &Environment, ui: &'a Ui) -> Self {
        let places = Places::new(
            &environment.directory,
            environment.home(),
            environment.texts(),
        );
        Self {
            places: places
                .with_settings(registries::settings(access))
                .offline(access.offline),
            directory: environment.directory.clone(),
            ui,
        }
    }

    /// Opens the place that `reference` names, to read from it, or from its mirrors.
    pub(crate) async fn open(&self, reference: &Reference) -> Result<Arc<dyn Store>, CommandError> {
        let opened = self.places.open(reference).await;
        opened.map_err(|error| said(error, None))
    }

    /// The reading of `reference` by which there is a place already: `oci:out:localhost/app` is an image in
    /// `out`, if that is a layout. What is written goes there, too.
    pub(crate) fn settled(&self, reference: &Reference) -> Reference {
        self.places.meant(reference)
    }

    /// Opens the place that `reference` names, to write to it; makes it, if it can be made.
    pub(crate) async fn create(
        &self,
        reference: &Reference,
    ) -> Result<Arc<dyn Store>, CommandError> {
        let created = self.places.create(reference).await;
        created.map_err(|error| match error {
            PlacesError::NoProof => CommandError::undecided(error),
            error => said(error, None),
        })
    }

    /// Opens the place that `reference` names, to see what is to be replaced there, if it is there.
    pub(crate) async fn existing(
        &self,
        reference: &Reference,
    ) -> Result<Option<Arc<dyn Store>>, CommandError> {
        let opened = self.places.existing(reference).await;
        opened.map_err(|error| said(error, None))
    }

    /// Finds the image that `reference` names: a tag is resolved here, once.
    pub(crate) async fn find(&self, reference: &Reference) -> Result<Found, CommandError> {
        let found = self.places.find(reference).await;
        found.map_err(|error| self.not_found(error, reference))
    }

    /// The same, to add to it: what a tag means is not taken from a mirror.
    pub(crate) async fn find_to_change(
        &self,
        reference: &Reference,
    ) -> Result<Found, CommandError> {
        let found = self.places.find_to_change(reference).await;
        found.map_err(|error| self.not_found(error, reference))
    }

    /// Finds an image of which proof is to be read or written: it has to lie where proof can lie.
    pub(crate) async fn find_provable(&self, reference: &Reference) -> Result<Found, CommandError> {
        let found = self.places.find_provable(reference).await;
        found.map_err(|error| self.not_found(error, reference))
    }

    /// What a user reads where the image `reference` was not found: a file or folder that is called so
    /// is what they mean, most likely.
    fn not_found(&self, error: PlacesError, reference: &Reference) -> CommandError {
        let is_answer = matches!(error, PlacesError::Store(_) | PlacesError::Offline { .. });
        let hint = self.meant(reference).filter(|_| is_answer);
        let error = said(error, Some(reference));
        match hint {
            Some(hint) => error.only_hint(hint),
            None => error,
        }
    }

    /// How to name the file or folder that has the name of an image on Docker Hub: there a name without a
    /// registry leads.
    fn meant(&self, reference: &Reference) -> Option<String> {
        let Location::Registry(repository) = &reference.location else {
            return None;
        };
        if repository.registry().as_str() != Registry::DOCKER_HUB {
            return None;
        }
        let full = repository.path();
        let names = [full.strip_prefix("library/"), Some(full)];
        let mut names = names.into_iter().flatten();
        let name = names.find(|it| self.directory.join(it).exists())?;
        Some(if self.directory.join(name).is_dir() {
            format!("`{name}` is a folder here: a layout is named `oci:{name}`")
        } else {
            format!(
                "`{name}` is a file here: an archive is named `oci-archive:{name}` or `docker-archive:{name}`"
            )
        })
    }

    /// An error if the registry of `destination` refuses to have something written there: our credential does
    /// not allow it (401, 403), there is no such repository (404), or it can only be read (405). Whatever else
    /// goes wrong with the question comes up again, and is said, when something is written.
    pub(crate) async fn may_write(&self, destination: &Reference) -> Result<(), CommandError> {
        let Location::Registry(repository) = &destination.location else {
            return Ok(());
        };
        let Err(error) = self.places.check_write(repository).await else {
            return Ok(());
        };
        let error = said(error, Some(destination));
        match error.refusal() {
            Some(401 | 403) => Err(error),
            Some(404) => Err(error.hint(
                "make the repository, or the project that it belongs to, first: this registry does not by itself",
            )),
            Some(405) => {
                Err(error.hint("name a registry that takes images: proxies and mirrors only let read"))
            }
            _ => Ok(()),
        }
    }

    /// The Docker daemon that the environment names.
    pub(crate) fn daemon(&self) -> Result<DockerDaemon, CommandError> {
        self.places.daemon().map_err(|error| said(error, None))
    }
}

impl Drop for Lookup<'_> {
    /// What mirrors did wrong is known when all is read.
    fn drop(&mut self) {
        for note in self.places.take_notes() {
            self.ui.aside(note);
        }
    }
}

/// What a user reads where `reference` could not be opened or found.
fn said(error: PlacesError, reference: Option<&Reference>) -> CommandError {
    match error {
        PlacesError::Store(error) => match reference {
            Some(reference) => with_hint(error, reference),
            None => error.into(),
        },
        PlacesError::Offline { what } => CommandError::undecided(Message(format!(
            "{what} is not on this machine, and `--offline` forbids connections"
        ))),
        PlacesError::NoProof => CommandError::undecided(error).hint(
            "name the image in the registry or layout where it was published: `HOST/REPO:TAG` or `oci:DIR:TAG`",
        ),
        PlacesError::Ambiguous(error) => {
            CommandError::undecided(error).hint("name one: `docker-archive:FILE:NAME:TAG`")
        }
        PlacesError::NoTag { ref reference } => {
            let form = form(reference);
            CommandError::undecided(error).hint(format!("name one by digest: `{form}@sha256:…`"))
        }
        PlacesError::SeveralTags { ref reference, .. } => {
            let form = form(reference);
            CommandError::undecided(error).hint(format!("name one: `{form}:TAG`"))
        }
        PlacesError::NoFolder { .. }
        | PlacesError::NoFile { .. }
        | PlacesError::Blocked { .. }
        | PlacesError::Registries(_)
        | PlacesError::DaemonAddress(_) => CommandError::undecided(error),
    }
}

/// How a place is written.
fn form(reference: &Reference) -> &'static str {
    match reference.location {
        Location::LayoutArchive(_) => "oci-archive:FILE",
        _ => "oci:DIR",
    }
}

/// The error of a store, with what a user can do about it besides.
pub(crate) fn with_hint(error: StoreError, reference: &Reference) -> CommandError {
    let is_missing = matches!(error, StoreError::NotFound { .. });
    let is_tag = matches!(&error, StoreError::NotFound { what, .. }
        if !what.contains(':') && is_named(reference, what));
    // Of a token server: its name says nothing to who has to log in.
    let by_token = matches!(&error, StoreError::Refused { place, .. } if place.contains("://"));
    let error = match &error {
        StoreError::NotFound { what, .. } if is_named(reference, what) => {
            let location = &reference.location;
            let kind = if what.contains(':') { "" } else { "tag " };
            Message(format!("{kind}`{what}` not found in `{location}`")).into()
        }
        _ => CommandError::undecided(error),
    };
    match &reference.location {
        Location::Registry(repository) if by_token => error.hint(format!(
            "log in with `sealpack login {}`, or ask for the right to this repository",
            repository.registry()
        )),
        Location::Registry(_) if is_tag => error.hint(format!(
            "`sealpack ls {}` lists what is there",
            reference.location
        )),
        Location::Layout(_) | Location::LayoutArchive(_) if is_missing => error.hint(format!(
            "`sealpack ls {}` lists what is there",
            reference.location
        )),
        _ => error,
    }
}

/// Whether `what` is the tag or digest that `reference` names, and not one that was met on the way.
fn is_named(reference: &Reference, what: &str) -> bool {
    match reference.selector() {
        Some(Selector::Tag(tag)) => tag.as_str() == what,
        Some(Selector::Digest(digest)) => digest.to_string() == what,
        None => what == "latest",
    }
}
