//! From the references that a user types to stores and descriptors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::store::{
    ArchiveForm, ArchiveStore, DaemonAddress, DaemonOptions, DockerDaemon, LayoutStore,
    RegistryClient,
};
use oci::{Descriptor, Location, Reference, Repository, Selector, Store, StoreError};
use tokio::sync::OnceCell;

use crate::args::Access;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::registries;
use crate::ui::Ui;

/// Why an image in a Docker daemon has no proof.
pub(crate) const NO_PLACE: &str =
    "a Docker daemon cannot keep what is attached to an image: signatures, SBOMs, provenance";

/// Opens stores; one client for all registries.
#[derive(Debug)]
pub(crate) struct Images<'a> {
    access: Access,
    environment: &'a Environment,
    ui: &'a Ui,
    client: OnceCell<RegistryClient>,
}

/// An image that was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// As the user wrote it, but by digest.
    pub(crate) reference: Reference,
    /// What it is.
    pub(crate) descriptor: Descriptor,
    /// Where it lies.
    pub(crate) store: Arc<dyn Store>,
}

/// A place, as it is opened.
enum Site<'r> {
    Registry(&'r Repository),
    Layout(PathBuf),
    Archive {
        path: PathBuf,
        form: ArchiveForm,
        name: Option<Repository>,
    },
    Daemon(&'r Repository),
}

impl<'a> Images<'a> {
    pub(crate) fn new(access: &Access, environment: &'a Environment, ui: &'a Ui) -> Self {
        Self {
            access: access.clone(),
            environment,
            ui,
            client: OnceCell::new(),
        }
    }

    /// Opens the place that `reference` names, to read from it, or from its mirrors.
    pub(crate) async fn open(&self, reference: &Reference) -> Result<Arc<dyn Store>, CommandError> {
        match self.site(reference) {
            Site::Layout(path) if !path.exists() => {
                Err(Message(format!("there is no folder `{}`", path.display())).into())
            }
            Site::Layout(path) => Ok(Arc::new(LayoutStore::open(path)?)),
            Site::Archive { path, .. } if !path.exists() => {
                Err(Message(format!("there is no file `{}`", path.display())).into())
            }
            Site::Archive { path, form, name } => Ok(Arc::new(
                blocking(move || ArchiveStore::open(path, form, name)).await?,
            )),
            Site::Daemon(name) => Ok(Arc::new(self.daemon()?.store(name))),
            Site::Registry(repository) => {
                let client = self.client(repository).await?;
                Ok(Arc::new(client.mirrored(repository)?))
            }
        }
    }

    /// Opens the place that `reference` names, to write to it; makes it, if it can be made.
    pub(crate) async fn create(
        &self,
        reference: &Reference,
    ) -> Result<Arc<dyn Store>, CommandError> {
        match self.site(reference) {
            Site::Layout(path) => Ok(Arc::new(LayoutStore::create(path)?)),
            Site::Archive { path, form, name } => Ok(Arc::new(
                blocking(move || ArchiveStore::create(path, form, name)).await?,
            )),
            Site::Daemon(_) => Err(CommandError::undecided(Message(NO_PLACE.to_owned()))),
            Site::Registry(repository) => {
                let client = self.client(repository).await?;
                Ok(Arc::new(client.repository(repository)))
            }
        }
    }

    /// Opens the place that `reference` names, to see what is to be replaced there, if it is there:
    /// a layout or an archive may not be, yet. What a mirror has does not count.
    /// Of a Docker daemon only whether it answers: it would give each image as a whole.
    pub(crate) async fn existing(
        &self,
        reference: &Reference,
    ) -> Result<Option<Arc<dyn Store>>, CommandError> {
        match self.site(reference) {
            Site::Layout(path) if !path.join("oci-layout").exists() => Ok(None),
            Site::Archive { path, .. } if is_missing(&path) => Ok(None),
            Site::Daemon(_) => {
                self.daemon()?.ping().await?;
                Ok(None)
            }
            _ => self.open_itself(reference).await.map(Some),
        }
    }

    /// Opens the place that `reference` names, to read from it, without its mirrors.
    async fn open_itself(&self, reference: &Reference) -> Result<Arc<dyn Store>, CommandError> {
        match &reference.location {
            Location::Registry(_) => self.create(reference).await,
            _ => self.open(reference).await,
        }
    }

    fn site<'r>(&self, reference: &'r Reference) -> Site<'r> {
        let file = |path: &Path| self.environment.directory.join(path);
        match &reference.location {
            Location::Registry(repository) => Site::Registry(repository),
            Location::Layout(path) => Site::Layout(file(path)),
            Location::LayoutArchive(path) => Site::Archive {
                path: file(path),
                form: ArchiveForm::Oci,
                name: None,
            },
            Location::DockerArchive { path, name } => Site::Archive {
                path: file(path),
                form: ArchiveForm::Docker,
                name: name.clone(),
            },
            Location::DockerDaemon(name) => Site::Daemon(name),
        }
    }

    /// Finds the image that `reference` names: a tag is resolved here, once.
    pub(crate) async fn find(&self, reference: &Reference) -> Result<Found, CommandError> {
        let store = self.open(reference).await?;
        self.find_in(reference, store).await
    }

    /// The same, to add to it: what a tag means is not taken from a mirror.
    pub(crate) async fn find_to_change(
        &self,
        reference: &Reference,
    ) -> Result<Found, CommandError> {
        can_be_proven(reference)?;
        let store = self.open_itself(reference).await?;
        self.find_in(reference, store).await
    }

    async fn find_in(
        &self,
        reference: &Reference,
        store: Arc<dyn Store>,
    ) -> Result<Found, CommandError> {
        let descriptor = match reference.selector() {
            Some(selector) => {
                let resolved = store.resolve(&selector).await;
                resolved.map_err(|error| with_hint(error, reference))?
            }
            None => self.only(reference, &*store).await?,
        };
        Ok(Found {
            reference: reference.at(descriptor.digest.clone()),
            descriptor,
            store,
        })
    }

    /// Finds an image of which proof is to be read or written: it has to lie where proof can lie.
    pub(crate) async fn find_provable(&self, reference: &Reference) -> Result<Found, CommandError> {
        can_be_proven(reference)?;
        self.find(reference).await
    }

    /// What a reference without tag and digest means: in a registry `latest`, in a layout the only
    /// image there is.
    async fn only(
        &self,
        reference: &Reference,
        store: &dyn Store,
    ) -> Result<Descriptor, CommandError> {
        let form = match &reference.location {
            Location::Layout(_) => "oci:DIR",
            Location::LayoutArchive(_) => "oci-archive:FILE",
            Location::DockerArchive { .. } => {
                let found = store.only().await.map_err(CommandError::undecided);
                return found.map_err(|it| it.hint("name one: `docker-archive:FILE:NAME:TAG`"));
            }
            _ => return Ok(store.only().await?),
        };
        let mut tags = store.tags().await?;
        // Those are proof, not images.
        tags.retain(|it| !it.is_digest_tag());
        match tags.as_slice() {
            [tag] => Ok(store.resolve(&Selector::Tag(tag.clone())).await?),
            [] => match store.only().await {
                Ok(found) => Ok(found),
                Err(StoreError::NotFound { .. } | StoreError::Malformed { .. }) => Err(
                    CommandError::from(Message(format!("no image in `{reference}` has a tag")))
                        .hint(format!("name one by digest: `{form}@sha256:…`")),
                ),
                Err(other) => Err(other.into()),
            },
            _ => {
                let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
                Err(CommandError::undecided(Message(format!(
                    "`{reference}` holds several images: {}",
                    crate::error::list(&tags)
                )))
                .hint(format!("name one: `{form}:TAG`")))
            }
        }
    }

    /// The Docker daemon that the environment names.
    pub(crate) fn daemon(&self) -> Result<DockerDaemon, CommandError> {
        let home = self.environment.home();
        let address = DaemonAddress::find(&self.environment.texts(), home.as_deref())
            .context(|| "failed to find the Docker daemon".to_owned())?;
        if self.access.offline && !address.is_local() {
            return Err(CommandError::undecided(Message(format!(
                "the Docker daemon `{address}` is not on this machine, and `--offline` forbids connections"
            ))));
        }
        let options = DaemonOptions {
            temporary: self.environment.temporary(),
            ..DaemonOptions::default()
        };
        Ok(DockerDaemon::new(address, options))
    }

    /// The client for `repository`, if it may be asked.
    async fn client(&self, repository: &Repository) -> Result<&RegistryClient, CommandError> {
        if self.access.offline && !repository.registry().is_loopback() {
            return Err(CommandError::undecided(Message(format!(
                "`{repository}` is not on this machine, and `--offline` forbids connections"
            ))));
        }
        let client = self
            .client
            .get_or_try_init(|| async { self.connect() })
            .await?;
        if client.is_blocked(repository) {
            return Err(
                Message(format!("`{repository}` is blocked by a `registries.conf`")).into(),
            );
        }
        Ok(client)
    }

    fn connect(&self) -> Result<RegistryClient, CommandError> {
        registries::options(&self.access, self.environment).map(RegistryClient::new)
    }
}

/// Whether proof can lie where `reference` lies.
fn can_be_proven(reference: &Reference) -> Result<(), CommandError> {
    match reference.location {
        Location::DockerDaemon(_) => Err(CommandError::undecided(Message(NO_PLACE.to_owned())).hint(
            "name the image in the registry or layout where it was published: `HOST/REPO:TAG` or `oci:DIR:TAG`",
        )),
        _ => Ok(()),
    }
}

/// Whether there is nothing yet: `mktemp` makes an empty file.
fn is_missing(path: &Path) -> bool {
    fs_err::metadata(path).map_or(true, |it| it.is_file() && it.len() == 0)
}

/// Runs what reads or writes files, and may take long.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, CommandError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl Drop for Images<'_> {
    /// What mirrors did wrong is known when all is read.
    fn drop(&mut self) {
        let client = self.client.get();
        for note in client.into_iter().flat_map(RegistryClient::take_notes) {
            self.ui.aside(note);
        }
    }
}

/// The error of a store, with what a user can do about it.
pub(crate) fn with_hint(error: StoreError, reference: &Reference) -> CommandError {
    let refused = matches!(error, StoreError::Refused { .. });
    let error = CommandError::undecided(error);
    match &reference.location {
        Location::Registry(repository) if refused => error.hint(format!(
            "log in with `sealpack login {}`, or ask for the right to this repository",
            repository.registry()
        )),
        _ => error,
    }
}
