//! Images in registries.

use std::sync::Arc;

use async_trait::async_trait;
use oci::store::{RegistryClient, RegistryRefusal};
use oci::{Location, Repository, Selector, Store as _, StoreError};

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
            Err(error) if !may_read(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn check_write(&self, name: &str) -> Result<(), PlaceError> {
        let (repository, _) = parse(name)?;
        self.client.repository(&repository).check_write().await?;
        Ok(())
    }
}

/// Whether a registry that answered so lets its images be read: upstream takes each answer for that but
/// 401 and 403, and only afterwards says what is wrong.
fn may_read(error: &StoreError) -> bool {
    match error {
        StoreError::Refused { source, .. } | StoreError::Unavailable { source, .. } => source
            .downcast_ref::<RegistryRefusal>()
            .is_some_and(|it| !matches!(it.status, 401 | 403)),
        _ => error.is_not_found(),
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
