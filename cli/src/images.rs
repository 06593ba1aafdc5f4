//! From the references that a user types to stores and descriptors.

use std::sync::Arc;

use oci::auth::Credentials;
use oci::store::{LayoutStore, RegistryClient, RegistryOptions};
use oci::{Descriptor, Location, Reference, Selector, Store, StoreError, Tag};
use tokio::sync::OnceCell;

use crate::args::Access;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};

/// Opens stores; one client for all registries.
#[derive(Debug)]
pub(crate) struct Images<'a> {
    access: Access,
    environment: &'a Environment,
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

impl<'a> Images<'a> {
    pub(crate) fn new(access: &Access, environment: &'a Environment) -> Self {
        Self {
            access: access.clone(),
            environment,
            client: OnceCell::new(),
        }
    }

    /// Opens the place that `reference` names, to read from it.
    pub(crate) async fn open(&self, reference: &Reference) -> Result<Arc<dyn Store>, CommandError> {
        match &reference.location {
            Location::Layout(path) => {
                let path = self.environment.directory.join(path);
                if !path.exists() {
                    return Err(Message(format!("there is no folder `{}`", path.display())).into());
                }
                Ok(Arc::new(LayoutStore::open(path)?))
            }
            _ => self.remote(reference).await,
        }
    }

    /// Opens the place that `reference` names, to write to it; makes it, if it can be made.
    pub(crate) async fn create(
        &self,
        reference: &Reference,
    ) -> Result<Arc<dyn Store>, CommandError> {
        match &reference.location {
            Location::Layout(path) => Ok(Arc::new(LayoutStore::create(
                self.environment.directory.join(path),
            )?)),
            _ => self.remote(reference).await,
        }
    }

    /// Opens the place that `reference` names, if it is there: a layout may not be, yet.
    pub(crate) async fn existing(
        &self,
        reference: &Reference,
    ) -> Result<Option<Arc<dyn Store>>, CommandError> {
        match &reference.location {
            Location::Layout(path)
                if !self
                    .environment
                    .directory
                    .join(path)
                    .join("oci-layout")
                    .exists() =>
            {
                Ok(None)
            }
            _ => self.open(reference).await.map(Some),
        }
    }

    /// Finds the image that `reference` names: a tag is resolved here, once.
    pub(crate) async fn find(&self, reference: &Reference) -> Result<Found, CommandError> {
        let store = self.open(reference).await?;
        let selector = match reference.selector() {
            Some(selector) => selector,
            None => self.only(reference, &*store).await?,
        };
        let descriptor = store.resolve(&selector).await?;
        Ok(Found {
            reference: reference.at(descriptor.digest.clone()),
            descriptor,
            store,
        })
    }

    /// What a reference without tag and digest means: in a registry `latest`, in a layout the only
    /// image there is.
    async fn only(
        &self,
        reference: &Reference,
        store: &dyn Store,
    ) -> Result<Selector, CommandError> {
        if !matches!(reference.location, Location::Layout(_)) {
            return Ok(Selector::Tag(Tag::LATEST.parse()?));
        }
        let tags = store.tags().await?;
        match tags.as_slice() {
            [tag] => Ok(Selector::Tag(tag.clone())),
            [] => Err(Message(format!("no image in `{reference}` has a tag")).into())
                .map_err(|it: CommandError| it.hint("name one by digest: `oci:DIR@sha256:…`")),
            _ => {
                let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
                Err(CommandError::undecided(Message(format!(
                    "`{reference}` holds several images: {}",
                    crate::error::list(&tags)
                )))
                .hint("name one: `oci:DIR:TAG`"))
            }
        }
    }

    async fn remote(&self, reference: &Reference) -> Result<Arc<dyn Store>, CommandError> {
        let Location::Registry(repository) = &reference.location else {
            return Err(CommandError::undecided(Message(format!(
                "`{}` cannot be opened yet",
                reference.location
            )))
            .hint("use `HOST/REPO:TAG` or `oci:DIR:TAG`"));
        };
        if self.access.offline && !repository.registry().is_loopback() {
            return Err(CommandError::undecided(Message(format!(
                "`{repository}` is not on this machine, and `--offline` forbids connections"
            ))));
        }
        let client = self
            .client
            .get_or_try_init(|| async { self.connect() })
            .await?;
        Ok(Arc::new(client.repository(repository)))
    }

    fn connect(&self) -> Result<RegistryClient, CommandError> {
        let options = RegistryOptions {
            credentials: Credentials::find(
                self.environment.home().as_deref(),
                &self.environment.texts(),
            )
            .context(|| "failed to read the registries' credentials".to_owned())?,
            insecure: self.access.insecure_registries.clone(),
            ..RegistryOptions::default()
        };
        Ok(RegistryClient::new(options))
    }
}

/// The error of a store, with what a user can do about it.
pub(crate) fn with_hint(error: StoreError, reference: &Reference) -> CommandError {
    let refused = matches!(error, StoreError::Refused { .. });
    let error = CommandError::undecided(error);
    match &reference.location {
        Location::Registry(repository) if refused => error.hint(format!(
            "log in to `{}` (`docker login` or `podman login`), or ask for the right to this repository",
            repository.registry()
        )),
        _ => error,
    }
}
