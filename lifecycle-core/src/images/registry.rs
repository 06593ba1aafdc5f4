//! Images in registries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use oci::store::{MirroredStore, RegistryClient};
use oci::{Location, Repository, Selector, StoreError};

use super::{Images, Place, PlaceError, parse_name};

/// Images in registries.
#[derive(Clone, Debug)]
pub struct RegistryImages {
    client: RegistryClient,
    /// Images that were found when it was asked whether they may be read. Opening one takes it from
    /// here, without asking again.
    looked_at: Arc<Mutex<BTreeMap<String, MirroredStore>>>,
}

impl RegistryImages {
    /// Images that `client` may reach.
    pub fn new(client: RegistryClient) -> Self {
        Self {
            client,
            looked_at: Arc::default(),
        }
    }

    fn looked_at(&self) -> MutexGuard<'_, BTreeMap<String, MirroredStore>> {
        self.looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Images for RegistryImages {
    fn shown(&self, name: &str) -> Result<String, PlaceError> {
        parse_name(name).map(|_reference| name.to_owned())
    }

    async fn open(&self, name: &str) -> Result<Option<Place>, PlaceError> {
        let (repository, selector) = parse(name)?;
        let looked_at = self.looked_at().remove(name);
        let store = looked_at.map_or_else(|| self.client.mirrored(&repository), Ok)?;
        Ok(Some(Place {
            store: Arc::new(store),
            name: name.to_owned(),
            repository: repository.to_string(),
            selector,
            image_id: None,
            strict: true,
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
            strict: true,
        })
    }

    async fn check_read(&self, name: &str) -> Result<(), PlaceError> {
        let (repository, selector) = parse(name)?;
        if self.looked_at().contains_key(name) {
            return Ok(());
        }
        let store = self.client.mirrored(&repository)?;
        match store.resolve_ahead(&selector, may_read).await {
            Ok(()) => {
                self.looked_at().insert(name.to_owned(), store);
                Ok(())
            }
            // Who cannot be reached need not be asked again.
            Err(error) if error.silence().is_some_and(|it| !it.is_connected()) => Err(error.into()),
            // Upstream asks for the head alone: what that is answered decides, and is told.
            Err(_) => match store.has(&selector).await {
                Err(error) if !may_read(&error) => Err(error.into()),
                _ => Ok(()),
            },
        }
    }

    async fn is_there(&self, name: &str) -> Result<bool, PlaceError> {
        let (repository, selector) = parse(name)?;
        Ok(self.client.mirrored(&repository)?.has(&selector).await?)
    }

    async fn check_name(&self, name: &str) -> Result<(), PlaceError> {
        let (repository, selector) = parse(name)?;
        match self.client.repository(&repository).has(&selector).await {
            // Some say so where there is nothing.
            Err(error) if error.answer().is_some_and(|it| it.status == 403) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }

    async fn check_write(&self, name: &str) -> Result<(), PlaceError> {
        let (repository, selector) = parse(name)?;
        let store = self.client.repository(&repository);
        let Err(error) = store.check_write().await else {
            return Ok(());
        };
        // Upstream asks for the image first: who may not read it either is told that.
        let is_refused = error
            .answer()
            .is_some_and(|it| matches!(it.status, 401 | 403));
        if is_refused
            && let Err(first) = store.has(&selector).await
            && !may_read(&first)
        {
            return Err(first.into());
        }
        Err(error.into())
    }
}

/// Whether a registry that answered so lets its images be read: upstream takes each answer for that but
/// 401 and 403, and only afterwards says what is wrong.
fn may_read(error: &StoreError) -> bool {
    match error.answer() {
        Some(answer) => !matches!(answer.status, 401 | 403),
        None => error.is_not_found(),
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
