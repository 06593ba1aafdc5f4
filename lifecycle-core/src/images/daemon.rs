//! Images in a Docker daemon.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use go::words::io_cause;
use oci::store::{DaemonProblem, DockerDaemon};
use oci::{Digest, Location, Platform, Reference, Selector, StoreError};

use super::{Images, Kind, Place, PlaceError, parse_name};
use crate::cache::DirectoryCache;

/// Images in a Docker daemon. They are known by their IDs, and are read by names and IDs.
#[derive(Clone, Debug)]
pub struct DaemonImages {
    daemon: DockerDaemon,
    /// As upstream has it in its words: `unix:///var/run/docker.sock`.
    address: String,
    launch_cache: Option<PathBuf>,
}

impl DaemonImages {
    /// Images of `daemon`, which is at `address`.
    pub fn new(daemon: DockerDaemon, address: impl Into<String>) -> Self {
        Self {
            daemon,
            address: address.into(),
            launch_cache: None,
        }
    }

    /// With a folder where layers are kept that the daemon has, too, because it gives them back only
    /// with all of an image.
    #[must_use]
    pub fn with_launch_cache(self, folder: impl Into<PathBuf>) -> Self {
        Self {
            launch_cache: Some(folder.into()),
            ..self
        }
    }

    /// The daemon.
    pub fn daemon(&self) -> &DockerDaemon {
        &self.daemon
    }

    /// The folder of the launch cache.
    pub fn launch_cache(&self) -> Option<&PathBuf> {
        self.launch_cache.as_ref()
    }

    /// What the daemon runs containers on.
    pub(crate) async fn platform(&self) -> Result<Platform, PlaceError> {
        let platform = self.daemon.platform().await;
        platform.map_err(|error| self.failed(error))
    }

    /// Gives the image `id` the name `name`.
    pub(crate) async fn name(&self, id: &Digest, name: &str) -> Result<(), PlaceError> {
        let (repository, tag) = target(name)?;
        let named = self.daemon.tag(id, &repository, &tag).await;
        named.map_err(|error| self.failed(error))
    }

    /// What a failure of the daemon's means to who looks for an image: in upstream's words, if there
    /// is no daemon.
    fn failed(&self, error: StoreError) -> PlaceError {
        let problem = match &error {
            StoreError::Unavailable { source, .. } => source.downcast_ref::<DaemonProblem>(),
            _ => None,
        };
        let address = &self.address;
        let text = match problem {
            Some(DaemonProblem::Denied(_)) => {
                format!("permission denied while trying to connect to the docker API at {address}")
            }
            Some(DaemonProblem::NotRunning(cause))
                if cause.kind() == std::io::ErrorKind::NotFound =>
            {
                let path = address.strip_prefix("unix://").unwrap_or(address);
                format!(
                    "failed to connect to the docker API at {address}; check if the path is correct and \
                     if the daemon is running: dial unix {path}: connect: {}",
                    io_cause(cause)
                )
            }
            Some(DaemonProblem::NotRunning(_) | DaemonProblem::NoConnection(_)) => format!(
                "Cannot connect to the Docker daemon at {address}. Is the docker daemon running?"
            ),
            _ => return PlaceError::Store(error),
        };
        PlaceError::NoDaemon { text }
    }
}

#[async_trait]
impl Images for DaemonImages {
    fn shown(&self, name: &str) -> Result<String, PlaceError> {
        parse_name(name).map(|_reference| name.to_owned())
    }

    async fn open(&self, name: &str) -> Result<Option<Place>, PlaceError> {
        parse_name(name)?;
        let found = self.daemon.image(name).await;
        let Some(mut image) = found.map_err(|error| self.failed(error))? else {
            return Ok(None);
        };
        if let Some(folder) = &self.launch_cache {
            image = image.with_layers_in(DirectoryCache::layers_below(folder));
        }
        let id = image.id().clone();
        Ok(Some(Place {
            store: Arc::new(image),
            name: name.to_owned(),
            repository: name.to_owned(),
            selector: Selector::Digest(id.clone()),
            image_id: Some(id),
            strict: false,
        }))
    }

    /// Never: a daemon takes whole images.
    async fn create(&self, name: &str) -> Result<Place, PlaceError> {
        Err(PlaceError::Store(StoreError::Unsupported {
            place: name.to_owned(),
            action: "be written to piece by piece: it is in a Docker daemon",
            answer: None,
        }))
    }

    /// Never asked, as upstream: an image that is not there is another question.
    async fn check_read(&self, name: &str) -> Result<(), PlaceError> {
        parse_name(name).map(drop)
    }

    async fn check_write(&self, name: &str) -> Result<(), PlaceError> {
        parse_name(name).map(drop)
    }

    fn kind(&self) -> Kind {
        Kind::Daemon
    }

    fn daemon(&self) -> Option<&DaemonImages> {
        Some(self)
    }
}

/// Where a daemon is to have the image: by a tag.
pub(crate) fn target(name: &str) -> Result<(oci::Repository, oci::Tag), PlaceError> {
    let unnameable = || PlaceError::Name {
        name: name.to_owned(),
    };
    match parse_name(name)? {
        Reference {
            location: Location::Registry(repository),
            tag: Some(tag),
            digest: None,
            ..
        } => Ok((repository, tag)),
        _ => Err(unnameable()),
    }
}
