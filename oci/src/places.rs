//! From references to stores and descriptors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::{
    ArchiveForm, ArchiveStore, DaemonAddress, DaemonAddressError, DaemonOptions, DockerDaemon,
    LayoutStore, MirrorSettings, RegistryClient, RegistryOptions, RegistryOptionsError,
    RegistrySettings,
};
use crate::{Descriptor, Location, Reference, Repository, Selector, Store, StoreError, Tag};

/// Opens the places that references name: registries, layouts, archives, a Docker daemon. One client
/// serves all registries; nothing about them is read before the first is asked.
#[derive(Debug, Default)]
pub struct Places {
    directory: PathBuf,
    home: Option<PathBuf>,
    variables: BTreeMap<String, String>,
    settings: RegistrySettings,
    offline: bool,
    client: Mutex<Option<RegistryClient>>,
}

/// An image that was found.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Found {
    /// As it was named, but by digest.
    pub reference: Reference,
    /// What it is.
    pub descriptor: Descriptor,
    /// Where it lies.
    pub store: Arc<dyn Store>,
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

impl Places {
    /// Paths are taken from `directory` on. Registries and the Docker daemon are reached as the user
    /// with this home and these variables reaches them.
    pub fn new(
        directory: impl Into<PathBuf>,
        home: Option<PathBuf>,
        variables: BTreeMap<String, String>,
    ) -> Self {
        Self {
            directory: directory.into(),
            home,
            variables,
            ..Self::default()
        }
    }

    /// With what is said about registries in this call.
    pub fn with_settings(mut self, settings: RegistrySettings) -> Self {
        self.settings = settings;
        self
    }

    /// With this client for registries, whatever else is set up.
    pub fn with_client(self, client: RegistryClient) -> Self {
        Self {
            client: Mutex::new(Some(client)),
            ..self
        }
    }

    /// Without connections to other machines.
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Whether there is a credential for `repository`, as far as that can be known: what was found when it
    /// was asked counts.
    pub async fn has_credential(&self, repository: &Repository) -> bool {
        match self.client() {
            Ok(client) => client.has_credential(repository).await,
            Err(_) => false,
        }
    }

    /// Opens the place that `reference` names, to read from it, or from its mirrors.
    pub async fn open(&self, reference: &Reference) -> Result<Arc<dyn Store>, PlacesError> {
        let reference = &self.meant(reference);
        match self.site(reference) {
            Site::Layout(path) if !path.exists() => Err(PlacesError::NoFolder {
                path: named(reference),
            }),
            Site::Layout(path) => Ok(Arc::new(LayoutStore::open(path)?)),
            Site::Archive { path, .. } if !path.exists() => Err(PlacesError::NoFile {
                path: named(reference),
            }),
            Site::Archive { path, form, name } => Ok(Arc::new(
                blocking(move || ArchiveStore::open(path, form, name)).await?,
            )),
            Site::Daemon(name) => Ok(Arc::new(self.daemon()?.store(name))),
            Site::Registry(repository) => {
                Ok(Arc::new(self.client_for(repository)?.mirrored(repository)?))
            }
        }
    }

    /// Opens the place that `reference` names, to write to it; makes it, if it can be made.
    pub async fn create(&self, reference: &Reference) -> Result<Arc<dyn Store>, PlacesError> {
        match self.site(reference) {
            Site::Layout(path) => Ok(Arc::new(LayoutStore::create(path)?)),
            Site::Archive { path, form, name } => Ok(Arc::new(
                blocking(move || ArchiveStore::create(path, form, name)).await?,
            )),
            Site::Daemon(_) => Err(PlacesError::NoProof),
            Site::Registry(repository) => Ok(Arc::new(
                self.client_for(repository)?.repository(repository),
            )),
        }
    }

    /// Opens the place that `reference` names, to see what is to be replaced there, if it is there:
    /// a layout or an archive may not be, yet. What a mirror has does not count.
    /// Of a Docker daemon only whether it answers: it would give each image as a whole.
    pub async fn existing(
        &self,
        reference: &Reference,
    ) -> Result<Option<Arc<dyn Store>>, PlacesError> {
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

    /// Finds the image that `reference` names: a tag is resolved here, once.
    pub async fn find(&self, reference: &Reference) -> Result<Found, PlacesError> {
        let reference = self.meant(reference);
        let store = self.open(&reference).await?;
        find_in(&reference, store).await
    }

    /// The same, to read its proof: it has to lie where proof can lie.
    pub async fn find_provable(&self, reference: &Reference) -> Result<Found, PlacesError> {
        can_be_proven(reference)?;
        self.find(reference).await
    }

    /// The same, to add to it: what a tag means is not taken from a mirror.
    pub async fn find_to_change(&self, reference: &Reference) -> Result<Found, PlacesError> {
        can_be_proven(reference)?;
        let reference = self.meant(reference);
        let store = self.open_itself(&reference).await?;
        find_in(&reference, store).await
    }

    /// The Docker daemon that the environment names.
    pub fn daemon(&self) -> Result<DockerDaemon, PlacesError> {
        let address = DaemonAddress::find(&self.variables, self.home.as_deref())
            .map_err(PlacesError::DaemonAddress)?;
        if self.offline && !address.is_local() {
            return Err(PlacesError::Offline {
                what: format!("the Docker daemon `{address}`"),
            });
        }
        let temporary = self.variables.get("TMPDIR").map(PathBuf::from);
        let options = DaemonOptions {
            temporary: temporary
                .filter(|it| it.is_absolute())
                .unwrap_or_else(|| "/tmp".into()),
            ..DaemonOptions::default()
        };
        Ok(DockerDaemon::new(address, options))
    }

    /// What was odd about mirrors since this was last asked.
    pub fn take_notes(&self) -> Vec<String> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        client
            .as_ref()
            .map(RegistryClient::take_notes)
            .unwrap_or_default()
    }

    /// Opens the place that `reference` names, to read from it, without its mirrors.
    async fn open_itself(&self, reference: &Reference) -> Result<Arc<dyn Store>, PlacesError> {
        match &reference.location {
            Location::Registry(_) => self.create(reference).await,
            _ => self.open(reference).await,
        }
    }

    /// The reading of a reference by which there is something: names in layouts may have colons and
    /// slashes in them, and so may folders. Who writes asks, too, so that what is written to a layout that
    /// is there is found there.
    pub fn meant(&self, reference: &Reference) -> Reference {
        let is_there = |it: &Reference| match &it.location {
            Location::Layout(path) | Location::LayoutArchive(path) => {
                self.directory.join(path).exists()
            }
            _ => true,
        };
        if is_there(reference) {
            return reference.clone();
        }
        let mut readings = reference.readings().into_iter();
        readings.find(is_there).unwrap_or_else(|| reference.clone())
    }

    fn site<'r>(&self, reference: &'r Reference) -> Site<'r> {
        let file = |path: &Path| self.directory.join(path);
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

    /// The client for `repository`, if it may be asked.
    fn client_for(&self, repository: &Repository) -> Result<RegistryClient, PlacesError> {
        if self.offline && !repository.registry().is_loopback() {
            return Err(PlacesError::Offline {
                what: format!("`{repository}`"),
            });
        }
        let client = self.client()?;
        if client.is_blocked(repository) {
            return Err(PlacesError::Blocked {
                repository: repository.clone(),
            });
        }
        Ok(client)
    }

    fn client(&self) -> Result<RegistryClient, PlacesError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let mut settings = self.settings.clone();
        if self.offline {
            settings.mirrors = MirrorSettings::Nowhere;
        }
        let mut options = RegistryOptions::find(self.home.as_deref(), &self.variables, &settings)
            .map_err(PlacesError::Registries)?;
        options.loopback_only = self.offline;
        Ok(client.insert(RegistryClient::new(options)).clone())
    }
}

/// The file or folder that `reference` names, as it does.
fn named(reference: &Reference) -> PathBuf {
    match &reference.location {
        Location::Layout(path)
        | Location::LayoutArchive(path)
        | Location::DockerArchive { path, .. } => path.clone(),
        Location::Registry(_) | Location::DockerDaemon(_) => PathBuf::new(),
    }
}

async fn find_in(reference: &Reference, store: Arc<dyn Store>) -> Result<Found, PlacesError> {
    let descriptor = match reference.selector() {
        Some(selector) => store.resolve(&selector).await?,
        None => only(reference, &*store).await?,
    };
    Ok(Found {
        reference: reference.at(descriptor.digest.clone()),
        descriptor,
        store,
    })
}

/// What a reference without tag and digest means: in a registry `latest`, in a layout the only
/// image there is.
async fn only(reference: &Reference, store: &dyn Store) -> Result<Descriptor, PlacesError> {
    match &reference.location {
        Location::Layout(_) | Location::LayoutArchive(_) => {}
        Location::DockerArchive { .. } => {
            return store.only().await.map_err(PlacesError::Ambiguous);
        }
        Location::Registry(_) | Location::DockerDaemon(_) => return Ok(store.only().await?),
    }
    let mut tags = store.tags().await?;
    // Those are proof, not images.
    tags.retain(|it| !it.is_digest_tag());
    match tags.as_slice() {
        [tag] => Ok(store.resolve(&Selector::Tag(tag.clone())).await?),
        [] => match store.only().await {
            Ok(found) => Ok(found),
            Err(
                StoreError::NotFound { .. }
                | StoreError::Malformed { .. }
                | StoreError::NoRegistry { .. },
            ) => Err(PlacesError::NoTag {
                reference: Box::new(reference.clone()),
            }),
            Err(other) => Err(other.into()),
        },
        _ => Err(PlacesError::SeveralTags {
            reference: Box::new(reference.clone()),
            tags,
        }),
    }
}

/// Whether proof can lie where `reference` lies.
fn can_be_proven(reference: &Reference) -> Result<(), PlacesError> {
    match reference.location {
        Location::DockerDaemon(_) => Err(PlacesError::NoProof),
        _ => Ok(()),
    }
}

/// Whether there is nothing yet: `mktemp` makes an empty file.
fn is_missing(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |it| it.is_file() && it.len() == 0)
}

/// Runs what reads or writes files, and may take long.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, PlacesError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Why a place could not be opened, or an image not found in it.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has its own hint")]
pub enum PlacesError {
    /// A layout is not there.
    #[error("folder `{}` not found", path.display())]
    NoFolder {
        /// Where it should be, as it was named.
        path: PathBuf,
    },
    /// An archive is not there.
    #[error("file `{}` not found", path.display())]
    NoFile {
        /// Where it should be, as it was named.
        path: PathBuf,
    },
    /// A Docker daemon holds images only.
    #[error(
        "a Docker daemon cannot keep what is attached to an image: signatures, SBOMs, provenance"
    )]
    NoProof,
    /// No connections are to be opened.
    #[error("{what} is not on this machine, and connections are not allowed")]
    Offline {
        /// To whom.
        what: String,
    },
    /// A `registries.conf` says that a repository is not to be used.
    #[error("`{repository}` is blocked by a `registries.conf`")]
    Blocked {
        /// Which.
        repository: Repository,
    },
    /// It is not known how to reach registries.
    #[error(transparent)]
    Registries(RegistryOptionsError),
    /// It is not known where the Docker daemon is.
    #[error("failed to find the Docker daemon")]
    DaemonAddress(#[source] DaemonAddressError),
    /// An archive by Docker holds several images, or none.
    #[error(transparent)]
    Ambiguous(StoreError),
    /// A layout holds several images, none of them with a tag.
    #[error("no image in `{reference}` has a tag")]
    NoTag {
        /// The layout.
        reference: Box<Reference>,
    },
    /// A layout holds several images.
    #[error("`{reference}` holds several images: {}", list(tags))]
    SeveralTags {
        /// The layout.
        reference: Box<Reference>,
        /// Their tags.
        tags: Vec<Tag>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// `a`, `b` and `c`.
fn list(tags: &[Tag]) -> String {
    let tags: Vec<_> = tags.iter().map(|it| format!("`{it}`")).collect();
    match tags.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}
