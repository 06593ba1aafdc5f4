use std::sync::Arc;

use async_trait::async_trait;
use oci::store::{RegistryClient, RegistryStore};
use oci::{Location, Repository, Selector};

use super::{Images, Place, PlaceError, parse_name};

/// Images in registries.
#[derive(Clone, Debug)]
pub struct RegistryImages {
    client: RegistryClient,
}

impl RegistryImages {
    /// Images that `client` may reach.
    pub fn new(client: RegistryClient) -> Self {
        Self { client }
    }

    fn find(&self, name: &str) -> Result<(Repository, RegistryStore, Selector), PlaceError> {
        let unnameable = || PlaceError::Name {
            name: name.to_owned(),
        };
        let reference = parse_name(name)?;
        let selector = reference.selector().ok_or_else(unnameable)?;
        let Location::Registry(repository) = reference.location else {
            return Err(unnameable());
        };
        let store = self.client.repository(&repository);
        Ok((repository, store, selector))
    }

    fn place(&self, name: &str) -> Result<Place, PlaceError> {
        let (repository, store, selector) = self.find(name)?;
        Ok(Place {
            store: Arc::new(store),
            name: name.to_owned(),
            repository: repository.to_string(),
            selector,
        })
    }
}

#[async_trait]
impl Images for RegistryImages {
    fn shown(&self, name: &str) -> Result<String, PlaceError> {
        parse_name(name).map(|_reference| name.to_owned())
    }

    async fn open(&self, name: &str) -> Result<Option<Place>, PlaceError> {
        self.place(name).map(Some)
    }

    async fn create(&self, name: &str) -> Result<Place, PlaceError> {
        self.place(name)
    }

    async fn check_read(&self, name: &str) -> Result<(), PlaceError> {
        let (_, store, selector) = self.find(name)?;
        store.check_read(&selector).await?;
        Ok(())
    }

    async fn check_write(&self, name: &str) -> Result<(), PlaceError> {
        let (_, store, _) = self.find(name)?;
        store.check_write().await?;
        Ok(())
    }
}
