//! The images that a daemon has by one name, as a store.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::client::Client;
use super::problem::DaemonProblem;
use crate::store::{ArchiveForm, ArchiveStore};
use crate::{
    Content, Descriptor, Digest, Manifest, Registry, Repository, Selector, Store, StoreError, Tag,
    Upload,
};

/// The images that a daemon has by one name, as a [`Store`] to read from.
///
/// An image comes as a whole, into a temporary file, when it is
/// [resolved](Store::resolve); what has not been resolved is not there. A daemon with a classic store
/// has forgotten manifests and compressed layers: a manifest is made anew, with the same config and
/// the same diff IDs.
#[derive(Debug)]
pub struct DaemonStore {
    client: Arc<Client>,
    repository: Repository,
    opened: Mutex<Vec<Opened>>,
}

#[derive(Clone, Debug)]
pub(super) struct Opened {
    id: Digest,
    pub(super) archive: ArchiveStore,
    pub(super) image: Descriptor,
}

impl Opened {
    /// The image that has this ID, as a whole, in a temporary file.
    pub(super) async fn of(client: &Client, id: &Digest) -> Result<Option<Self>, StoreError> {
        let saved = save(client, id).await;
        let failed = |problem| client.error(format!("read the image `{id}`"), problem);
        let Some(archive) = saved.map_err(failed)? else {
            return Ok(None);
        };
        let image = image(client, &archive, id).await?;
        Ok(Some(Self {
            id: id.clone(),
            archive,
            image,
        }))
    }
}

/// The image in an archive that `client`'s daemon gave; it has to be that one.
async fn image(
    client: &Client,
    archive: &ArchiveStore,
    id: &Digest,
) -> Result<Descriptor, StoreError> {
    if let Ok(found) = archive.resolve(&Selector::Digest(id.clone())).await {
        return Ok(found);
    }
    // Then the ID is that of the config.
    let found = archive.only().await?;
    let limits = &client.options.limits;
    let bytes = crate::store::read(archive, &found, limits.manifest_bytes).await?;
    match Manifest::parse(&found.media_type, &bytes, limits) {
        Ok(Manifest::Image(image)) if image.config.digest == *id => Ok(found),
        _ => Err(StoreError::Malformed {
            place: client.place(),
            problem: format!("asked for the image {id}, it gave another one"),
        }),
    }
}

impl DaemonStore {
    pub(super) fn new(client: Arc<Client>, repository: &Repository) -> Self {
        Self {
            client,
            repository: repository.clone(),
            opened: Mutex::default(),
        }
    }

    fn opened(&self) -> Vec<Opened> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.clone()
    }

    /// The image that the daemon calls `name`; the name is resolved once.
    async fn open(&self, name: &str) -> Result<Option<Opened>, StoreError> {
        let failed = |problem| {
            self.client
                .error(format!("read the image `{name}`"), problem)
        };
        let Some(found) = self.client.inspect(name).await.map_err(failed)? else {
            return Ok(None);
        };
        if let Some(opened) = self.opened().into_iter().find(|it| it.id == found.id) {
            return Ok(Some(opened));
        }
        let Some(opened) = Opened::of(&self.client, &found.id).await? else {
            return Ok(None);
        };
        let mut all = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(opened.clone());
        Ok(Some(opened))
    }

    fn not_found(&self, what: &impl ToString) -> StoreError {
        StoreError::NotFound {
            what: what.to_string(),
            place: self.place(),
            answer: None,
        }
    }

    fn place(&self) -> String {
        format!("docker-daemon:{}", self.repository.short())
    }

    fn cannot_keep<T>(&self) -> Result<T, StoreError> {
        Err(StoreError::Unsupported {
            place: self.place(),
            action: "keep what is attached to an image",
            answer: None,
        })
    }
}

/// All of an image; the connection is free again when it is there.
async fn save(client: &Client, id: &Digest) -> Result<Option<ArchiveStore>, DaemonProblem> {
    let Some(mut answer) = client.save(id.as_str()).await? else {
        return Ok(None);
    };
    let options = &client.options;
    // Without a name, so that a process that is killed leaves nothing behind.
    let file = tempfile::tempfile_in(&options.temporary).map_err(DaemonProblem::Disk)?;
    let mut writer = tokio::io::BufWriter::with_capacity(BUFFER, tokio::fs::File::from(file));
    let mut size = 0;
    while let Some(bytes) = answer.next().await? {
        size += bytes.len() as u64;
        if size > options.image_bytes {
            let limit = options.image_bytes;
            return Err(DaemonProblem::TooLong { limit });
        }
        writer
            .write_all(&bytes)
            .await
            .map_err(DaemonProblem::Disk)?;
    }
    writer.flush().await.map_err(DaemonProblem::Disk)?;
    answer.release(client);
    let mut file = writer.into_inner();
    file.rewind().await.map_err(DaemonProblem::Disk)?;
    let file = file.into_std().await;
    let open = move || ArchiveStore::of_file(file, ArchiveForm::Docker);
    let opened = tokio::task::spawn_blocking(open).await;
    let archive = opened.map_err(|it| DaemonProblem::Disk(it.into()))?;
    archive
        .map(Some)
        .map_err(|it| DaemonProblem::Archive(it.into()))
}

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

#[async_trait]
impl Store for DaemonStore {
    /// A digest may be an image ID, too: then the descriptor has another one, that of a manifest
    /// with this config.
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        let name = self.repository.short();
        match selector {
            Selector::Tag(tag) => {
                let opened = self.open(&format!("{name}:{tag}")).await?;
                opened.map(|it| it.image).ok_or_else(|| self.not_found(tag))
            }
            Selector::Digest(digest) => {
                let opened = self.opened();
                if let Some(it) = opened.into_iter().find(|it| it.image.digest == *digest) {
                    return Ok(it.image);
                }
                let opened = match self.open(&format!("{name}@{digest}")).await? {
                    Some(opened) => Some(opened),
                    None => self.open(digest.as_str()).await?,
                };
                match opened {
                    Some(it) if it.id == *digest || it.image.digest == *digest => Ok(it.image),
                    Some(_) => Err(StoreError::Malformed {
                        place: self.place(),
                        problem: format!(
                            "it has the image {digest}, but has forgotten its manifest"
                        ),
                    }),
                    None => Err(self.not_found(digest)),
                }
            }
        }
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        for opened in self.opened() {
            if opened.archive.contains(target).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        for opened in self.opened() {
            if opened.archive.contains(target).await? {
                return opened.archive.fetch(target).await;
            }
        }
        Err(self.not_found(&target.digest))
    }

    async fn push_blob(&self, _target: &Descriptor, _upload: Upload) -> Result<(), StoreError> {
        self.cannot_keep()
    }

    async fn push_manifest(&self, _target: &Descriptor, _content: Bytes) -> Result<(), StoreError> {
        self.cannot_keep()
    }

    async fn tag(&self, _target: &Descriptor, _tag: &Tag) -> Result<(), StoreError> {
        self.cannot_keep()
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        let listed = self.client.images(Some(&self.repository)).await;
        let listed = listed.map_err(|it| self.client.error("list images", it))?;
        let version = self.client.version().await;
        let version = version.map_err(|it| self.client.error("reach the Docker daemon", it))?;
        // Podman keeps what was loaded without a registry as its own.
        let is_bare = self.repository.registry().as_str() == Registry::DOCKER_HUB;
        let own = (is_bare && version.is_podman())
            .then(|| format!("localhost/{}", self.repository.short()));
        let is_ours = |name: &str| {
            own.as_deref() == Some(name)
                || name.parse::<Repository>().as_ref() == Ok(&self.repository)
        };
        let names = listed.iter().filter_map(|it| it.repo_tags.as_ref());
        let mut tags: Vec<Tag> = names
            .flatten()
            .filter_map(|it| it.rsplit_once(':').filter(|(name, _)| is_ours(name)))
            .filter_map(|(_, tag)| tag.parse().ok())
            .collect();
        tags.sort();
        tags.dedup();
        Ok(tags)
    }

    /// None: there is no place for them.
    async fn referrers(&self, _subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        Ok(Vec::new())
    }

    async fn delete(&self, _target: &Descriptor) -> Result<(), StoreError> {
        Err(StoreError::Unsupported {
            place: self.place(),
            action: "give up an image to us",
            answer: None,
        })
    }
}
