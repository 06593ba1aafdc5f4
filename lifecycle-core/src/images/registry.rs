use std::sync::Arc;

use async_trait::async_trait;
use oci::store::RegistryClient;
use oci::{Location, Repository, Selector, Store as _};

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
}

#[async_trait]
impl Images for RegistryImages {
    fn shown(&self, name: &str) -> Result<String, PlaceError> {
        parse_name(name).map(|_reference| name.to_owned())
    }

    async fn open(&self, name: &str) -> Result<Option<Place>, PlaceError> {
        let (repository, selector) = parse(name)?;
        Ok(Some(Place {
            store: Arc::new(self.client.mirrored(&repository)?),
            name: name.to_owned(),
            repository: repository.to_string(),
            selector,
            image_id: None,
        }))
    }

    async fn create(&self, name: &str) -> Result<Place, PlaceError> {
        let (repository, selector) = parse(name)?;
        Ok(Place {
            store: Arc::new(self.client.repository(&repository)),
            name: name.to_owned(),
            repository: repository.to_string(),
            selector,
            image_id: None,
        })
    }

    async fn check_read(&self, name: &str) -> Result<(), PlaceError> {
        let (repository, selector) = parse(name)?;
        match self.client.mirrored(&repository)?.resolve(&selector).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn check_write(&self, name: &str) -> Result<(), PlaceError> {
        let (repository, _) = parse(name)?;
        self.client.repository(&repository).check_write().await?;
        Ok(())
    }
}

/// The repository that `name` is in, and which image of it.
fn parse(name: &str) -> Result<(Repository, Selector), PlaceError> {
    let unnameable = || PlaceError::Name {
        name: name.to_owned(),
    };
    let reference = parse_name(name)?;
    let selector = reference.selector().ok_or_else(unnameable)?;
    match reference.location {
        Location::Registry(repository) => Ok((repository, selector)),
        _ => Err(unnameable()),
    }
}
