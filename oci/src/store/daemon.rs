//! A Docker daemon, spoken to by its API.
//!
//! It is no content store: it takes an image as one archive, gives one as an archive, and in between
//! keeps it in a form of its own.
//!
//! | where it keeps images | image ID | manifest | may be sent without layers that it has |
//! |---|---|---|---|
//! | in its own (classic) store | digest of the config | forgotten, made anew by every reader | yes: it knows layers by what is in them |
//! | in containerd | digest of the manifest | kept | from Docker 28 on, if it has them in the same compression: then it says whether anything is missing |
//!
//! In both there is no place for referrers, so no proof.
//!
//! Podman's service speaks the same API. It keeps images as the classic store does, but takes them
//! only whole, and what it is given without a registry is `localhost/…` there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::client::Client;
use crate::{Descriptor, Digest, Limits, Platform, Progress, Repository, Store, StoreError, Tag};

mod address;
mod api;
mod assemble;
mod client;
mod connection;
mod described;
mod escape;
mod known;
mod load;
mod problem;
mod settings;
mod ssh;
mod store;
mod tarball;
mod tls;

pub use address::DaemonAddress;
pub use assemble::{Assembly, LayerSource};
pub use described::DaemonImage;
pub use load::{LoadError, Loaded};
pub use problem::DaemonProblem;
pub use settings::DaemonAddressError;
pub use ssh::SshTarget;
pub use store::DaemonStore;
pub use tls::DaemonTls;

/// A Docker daemon.
#[derive(Clone, Debug)]
pub struct DockerDaemon {
    client: Arc<Client>,
}

/// How to talk to a daemon.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made with `..DaemonOptions::default()`"
)]
pub struct DaemonOptions {
    /// How much of its documents is read.
    pub limits: Limits,
    /// Bytes of an image that is read from it.
    pub image_bytes: u64,
    /// Where an image lies while it is read.
    pub temporary: PathBuf,
    /// Images that are looked at for layers that need not be sent.
    pub inspections: usize,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long it may be silent about what it knows.
    pub silence_timeout: Duration,
    /// How long it may be silent while it unpacks an image, or gathers one.
    pub work_timeout: Duration,
}

impl Default for DaemonOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            image_bytes: 256 << 30,
            temporary: "/tmp".into(),
            inspections: 64,
            connect_timeout: Duration::from_secs(30),
            silence_timeout: Duration::from_mins(1),
            work_timeout: Duration::from_mins(15),
        }
    }
}

impl DockerDaemon {
    /// Connects to nothing before the first request.
    pub fn new(address: DaemonAddress, options: DaemonOptions) -> Self {
        Self {
            client: Arc::new(Client::new(address, options)),
        }
    }

    /// Whether it answers; an error that says why not, if it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let version = self.client.version().await;
        let failed = |problem| self.client.error("reach the Docker daemon", problem);
        version.map(drop).map_err(failed)
    }

    /// Opens `count` connections ahead. They stay usable where no new ones could be opened: by a
    /// process that has given up the right to use the daemon's socket.
    pub async fn connect(&self, count: usize) -> Result<(), StoreError> {
        let connected = self.client.connect_ahead(count).await;
        connected.map_err(|it| self.client.error("reach the Docker daemon", it))
    }

    /// What the daemon runs containers on.
    pub async fn platform(&self) -> Result<Platform, StoreError> {
        let version = self.client.version().await;
        let version = version.map_err(|it| self.client.error("reach the Docker daemon", it))?;
        Ok(Platform {
            architecture: version.arch.clone(),
            os: version.os.clone(),
            ..Platform::default()
        })
    }

    /// The image that the daemon calls `name`, which may be an image ID; only described, its layers
    /// come when they are wanted.
    pub async fn image(&self, name: &str) -> Result<Option<DaemonImage>, StoreError> {
        DaemonImage::find(Arc::clone(&self.client), name).await
    }

    /// Makes an image of parts, and names it; returns the ID that the daemon has it by.
    ///
    /// The lowest layers are neither fetched nor sent if a relative of the image, or the image that
    /// has the name, has them; if that does not do, all is sent. The daemon then has the image whose
    /// config was given, or this fails.
    pub async fn assemble(
        &self,
        parts: &Assembly<'_>,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Digest, LoadError> {
        parts.make(&self.client, repository, tag).await
    }

    /// Names the image that has this ID.
    pub async fn tag(
        &self,
        id: &Digest,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<(), StoreError> {
        let named = self.client.tag(id, repository, tag).await;
        named.map_err(|it| self.client.error("name the image", it))
    }

    /// The images by this name, to read them.
    pub fn store(&self, repository: &Repository) -> DaemonStore {
        DaemonStore::new(Arc::clone(&self.client), repository)
    }

    /// Brings the image `root` from `src` into the daemon, and names it. Of an index it is the image
    /// for `platform`, or else for the daemon's machine. Never referrers: those are counted as left
    /// behind.
    ///
    /// 1. Manifest and config are read, and tell the image ID and the layers.
    /// 2. If the daemon has the image, it is only named.
    /// 3. Else it is sent as one archive that is made on the way, layer by layer as the source gives
    ///    them. The lowest layers are neither fetched nor sent if images of the daemon have them; if
    ///    that does not do, all is sent.
    /// 4. The image ID that the name has then must be that of step 1: so what the daemon has is what
    ///    the source had, whatever lies between.
    pub async fn load(
        &self,
        src: &dyn Store,
        root: &Descriptor,
        platform: Option<&Platform>,
        repository: &Repository,
        tag: &Tag,
        progress: &dyn Progress,
    ) -> Result<Loaded, LoadError> {
        let load = load::Load {
            client: &self.client,
            src,
            platform,
            progress,
            repository,
            tag,
        };
        load.run(root).await
    }
}
