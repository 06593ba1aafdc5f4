//! Makes an image in the daemon of parts that lie in several places.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::client::Client;
use super::load::LoadError;
use super::problem::DaemonProblem;
use super::tarball::{Gone, Tarball};
use crate::{Descriptor, DiffId, Digest, Repository, Store, StoreError, Tag};

/// An image that is to be made in a daemon.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by who has an image")]
pub struct Assembly<'a> {
    /// The config. Its digest is the image ID, unless the daemon keeps images in containerd.
    pub config: &'a Bytes,
    /// A layer for each diff ID of the config, lowest first.
    pub layers: Vec<(DiffId, LayerSource<'a>)>,
    /// Images of the daemon, by ID, that may have layers in common with it.
    pub relatives: Vec<Digest>,
}

/// Where a layer is had from, if the daemon lacks it.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "made by who has an image")]
pub enum LayerSource<'a> {
    /// A file, compressed with gzip or not at all.
    File(&'a Path),
    /// A store that has it.
    Store(&'a dyn Store, &'a Descriptor),
}

/// Bytes that are read and sent at once.
const CHUNK: usize = 1 << 20;

impl Assembly<'_> {
    /// Sends what the daemon lacks, and returns the ID that it then has.
    pub(super) async fn make(
        &self,
        client: &Client,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Digest, LoadError> {
        let failed = |action: &str, problem| LoadError::Destination(client.error(action, problem));
        let is_containerd = client.is_containerd().await;
        let is_containerd = is_containerd.map_err(|it| failed("reach the Docker daemon", it))?;
        let version = client.version().await;
        let version = version.map_err(|it| failed("reach the Docker daemon", it))?;
        let name = format!("{}:{tag}", repository.short());
        // In containerd a manifest is made of what is sent, and no one knows its digest before.
        let id = (!is_containerd).then(|| Digest::of(self.config));
        let known = if is_containerd || version.is_podman() {
            0
        } else {
            let known = self.known(client, &name).await;
            known.map_err(|it| failed("look for layers that it has", it))?
        };
        if known > 0 {
            // A layer may have gone since it was seen. Then all is sent.
            match self.attempt(client, &name, known).await {
                Ok(()) => {
                    if let Ok(made) = see(client, &name, id.as_ref()).await {
                        return Ok(made);
                    }
                }
                Err(LoadError::Destination(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.attempt(client, &name, 0).await?;
        let made = see(client, &name, id.as_ref()).await;
        made.map_err(|it| failed("load the image", it))
    }

    /// How many of the lowest layers the daemon has, as far as the relatives show.
    async fn known(&self, client: &Client, name: &str) -> Result<usize, DaemonProblem> {
        let mut known = 0;
        let relatives = self.relatives.iter().map(Digest::as_str);
        for relative in relatives.chain([name]) {
            let Some(image) = client.inspect(relative).await? else {
                continue;
            };
            let pairs = image.layers().iter().zip(&self.layers);
            let common = pairs.take_while(|(theirs, (ours, _))| *theirs == ours);
            known = known.max(common.count());
        }
        Ok(known)
    }

    /// Sends all but the `known` lowest layers.
    async fn attempt(&self, client: &Client, name: &str, known: usize) -> Result<(), LoadError> {
        // What has to come from the daemon itself comes first: it may be one connection that there is.
        let mut fetched = Vec::new();
        for (_, source) in self.layers.iter().skip(known) {
            fetched.push(Fetched::new(client, *source).await?);
        }
        let (tarball, body) = Tarball::new();
        let write = self.write(tarball, name, known, fetched);
        let load = client.load(body);
        tokio::pin!(write, load);
        let failed = |problem| LoadError::Destination(client.error("load the image", problem));
        let mut written = false;
        loop {
            tokio::select! {
                biased;
                loaded = &mut load => return loaded.map_err(failed),
                outcome = &mut write, if !written => match outcome {
                    // The answer says why.
                    Ok(()) | Err(Broken::Destination) => written = true,
                    Err(Broken::Source(error)) => return Err(error),
                },
            }
        }
    }

    async fn write(
        &self,
        tarball: Tarball,
        name: &str,
        known: usize,
        fetched: Vec<Fetched>,
    ) -> Result<(), Broken> {
        let config = format!("{}.json", Digest::of(self.config).hex());
        let path = |diff_id: &DiffId| format!("{}.tar", diff_id.0.hex());
        let layers = self.layers.iter().map(|(diff_id, _)| path(diff_id));
        let items = json!([{
            "Config": config,
            "RepoTags": [name],
            "Layers": layers.collect::<Vec<_>>(),
        }]);
        tarball.file(&config, self.config.clone()).await?;
        for ((diff_id, _), mut layer) in self.layers.iter().skip(known).zip(fetched) {
            tarball.begin(&path(diff_id), layer.size).await?;
            let mut rest = layer.size;
            while rest > 0 {
                let chunk = layer.chunk(rest).await.map_err(|source| {
                    Broken::Source(LoadError::Source {
                        digest: diff_id.0.clone(),
                        source,
                    })
                })?;
                rest = rest.saturating_sub(chunk.len() as u64);
                tarball.chunk(chunk).await?;
            }
            tarball.end(layer.size).await?;
        }
        // Last, as `docker save` has it.
        tarball
            .file("manifest.json", items.to_string().into())
            .await?;
        Ok(tarball.finish().await?)
    }
}

/// The ID of the image `name`, which has to be `id` if that is known.
async fn see(client: &Client, name: &str, id: Option<&Digest>) -> Result<Digest, DaemonProblem> {
    let strange = DaemonProblem::Strange;
    match client.inspect(name).await? {
        None => Err(strange(format!(
            "it says to have loaded `{name}`, and has no such image"
        ))),
        Some(made) => match id {
            Some(id) if made.id != *id => {
                let text = format!("it has {} as `{name}`, in place of {id}", made.id);
                Err(strange(text))
            }
            _ => Ok(made.id),
        },
    }
}

/// A layer in a file whose size is known.
struct Fetched {
    file: tokio::fs::File,
    size: u64,
    place: String,
}

impl Fetched {
    async fn new(client: &Client, source: LayerSource<'_>) -> Result<Self, LoadError> {
        match source {
            LayerSource::File(path) => {
                let failed = |source| {
                    let error = StoreError::io(path.display(), "read a layer", source);
                    LoadError::Disk(error)
                };
                let file = tokio::fs::File::open(path).await.map_err(failed)?;
                let size = file.metadata().await.map_err(failed)?.len();
                let place = path.display().to_string();
                Ok(Self { file, size, place })
            }
            LayerSource::Store(store, layer) => {
                let fetched = Self::spool(client, store, layer).await;
                fetched.map_err(|source| LoadError::Source {
                    digest: layer.digest.clone(),
                    source,
                })
            }
        }
    }

    async fn spool(
        client: &Client,
        store: &dyn Store,
        layer: &Descriptor,
    ) -> Result<Self, StoreError> {
        let folder = &client.options.temporary;
        let place = folder.display().to_string();
        let failed = |source| StoreError::io(&place, "keep a layer", source);
        let mut content = store.fetch(layer).await?;
        let file = tempfile::tempfile_in(folder).map_err(failed)?;
        let mut file = tokio::fs::File::from_std(file);
        let mut size = 0;
        while let Some(chunk) = content.next().await {
            let chunk = chunk?;
            size += chunk.len() as u64;
            if size > client.options.image_bytes {
                return Err(StoreError::TooLarge {
                    digest: layer.digest.clone(),
                    limit: client.options.image_bytes,
                });
            }
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        file.rewind().await.map_err(failed)?;
        Ok(Self { file, size, place })
    }

    /// The next bytes of those, at most `rest`, that are still to be sent.
    async fn chunk(&mut self, rest: u64) -> Result<Bytes, StoreError> {
        let failed = |source| StoreError::io(&self.place, "read a layer", source);
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let mut file = (&mut self.file).take(rest);
        let count = file.read_buf(&mut chunk).await.map_err(failed)?;
        if count == 0 {
            let source = std::io::ErrorKind::UnexpectedEof.into();
            return Err(failed(source));
        }
        Ok(chunk.freeze())
    }
}

/// Which side broke off.
enum Broken {
    Source(LoadError),
    Destination,
}

impl From<Gone> for Broken {
    fn from(_gone: Gone) -> Self {
        Self::Destination
    }
}
