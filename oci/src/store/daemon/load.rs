//! Brings one image from another store into the daemon.

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::json;

use super::client::{Client, Version};
use super::known;
use super::problem::DaemonProblem;
use super::tarball::{Gone, Tarball};
use crate::{
    Copied, Descriptor, Digest, Image, ImageError, Limits, MediaType, Outcome, Platform, Progress,
    Repository, Store, StoreError, Tag, Tally,
};

/// The version of the API that says whether all of an image is there.
const TELLS_WHAT_IT_HOLDS: (u32, u32) = (1, 48);

/// The version of the API of the first Docker that reads zstd.
const READS_ZSTD: (u32, u32) = (1, 42);

/// What was loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// The image ID, by which the daemon has it: the digest of the config, or of the manifest if it
    /// keeps images in containerd.
    pub id: Digest,
    /// What was sent. The root is the image; the daemon may have forgotten its manifest.
    pub copied: Copied,
}

/// An image that is to be loaded, and its destination.
pub(super) struct Load<'a> {
    pub(super) client: &'a Client,
    pub(super) src: &'a dyn Store,
    pub(super) platform: Option<&'a Platform>,
    pub(super) progress: &'a dyn Progress,
    pub(super) repository: &'a Repository,
    pub(super) tag: &'a Tag,
}

impl Load<'_> {
    pub(super) async fn run(&self, root: &Descriptor) -> Result<Loaded, LoadError> {
        let platform = match self.platform {
            Some(platform) => platform.clone(),
            None => self.platform_of_daemon().await?,
        };
        let limits = &self.client.options.limits;
        let image = Image::read(self.src, root, &platform, limits).await;
        let image = image.map_err(LoadError::Image)?;
        let left_behind = self.referrers(root, &image, limits).await?;
        let is_containerd = self.client.is_containerd().await;
        let is_containerd =
            is_containerd.map_err(|it| self.failed("reach the Docker daemon", it))?;
        let (id, form) = if is_containerd {
            (&image.descriptor().digest, Form::Layout)
        } else {
            (image.id(), Form::Docker)
        };
        let known = self.send(&image, id, form).await?;
        Ok(Loaded {
            id: id.clone(),
            copied: tally(&image, known, left_behind),
        })
    }

    async fn platform_of_daemon(&self) -> Result<Platform, LoadError> {
        let version = self.version().await?;
        Ok(Platform {
            architecture: version.arch.clone(),
            os: version.os.clone(),
            ..Platform::default()
        })
    }

    async fn version(&self) -> Result<&Version, LoadError> {
        let version = self.client.version().await;
        version.map_err(|it| self.failed("reach the Docker daemon", it))
    }

    async fn tells_what_it_holds(&self) -> Result<bool, LoadError> {
        Ok(self.version().await?.api() >= TELLS_WHAT_IT_HOLDS)
    }

    /// As the daemon shows it.
    fn name(&self) -> String {
        format!("{}:{}", self.repository.short(), self.tag)
    }

    /// How many manifests are attached to what is loaded: a daemon has no place for them.
    async fn referrers(
        &self,
        root: &Descriptor,
        image: &Image,
        limits: &Limits,
    ) -> Result<usize, LoadError> {
        let child = Some(image.descriptor()).filter(|it| it.digest != root.digest);
        let mut count = 0;
        for subject in [Some(root), child].into_iter().flatten() {
            let listed = self.src.referrers(&subject.digest).await;
            let listed = listed.map_err(|source| LoadError::Source {
                digest: subject.digest.clone(),
                source,
            })?;
            count += listed.len().min(limits.referrers);
        }
        Ok(count)
    }

    /// Sends what the daemon lacks, and sees to it that the name means the image `id`. Returns how
    /// many of the lowest layers were not sent, or nothing if the image was there.
    async fn send(
        &self,
        image: &Image,
        id: &Digest,
        form: Form,
    ) -> Result<Option<usize>, LoadError> {
        if form == Form::Docker || self.tells_what_it_holds().await? {
            let there = self.client.inspect(id.as_str()).await;
            let there = there.map_err(|it| self.failed("look for the image", it))?;
            if there.is_some_and(|it| it.is_whole(id)) {
                let named = self.client.tag(id, self.repository, self.tag).await;
                named.map_err(|it| self.failed("name the image", it))?;
                self.see(id).await?;
                return Ok(None);
            }
        }
        let known = self.known(image, form).await?;
        let mut missing = image.manifest().layers.iter().skip(known);
        let is_zstd = |it: &Descriptor| it.media_type == MediaType::LAYER_ZSTD;
        let version = self.version().await?;
        if missing.any(is_zstd) && version.api() < READS_ZSTD && !version.is_podman() {
            return Err(LoadError::Destination(StoreError::Unsupported {
                place: self.client.place(),
                action: "unpack layers that zstd has compressed: it is older than Docker 23",
                answer: None,
            }));
        }
        if known > 0 {
            // A layer may have gone since it was seen, or be there in another compression; and not
            // all who speak this API are Docker. Then all is sent.
            match self.attempt(image, known, form).await {
                Ok(()) if self.see(id).await.is_ok() => return Ok(Some(known)),
                Ok(()) | Err(LoadError::Destination(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.attempt(image, 0, form).await?;
        self.see(id).await?;
        Ok(Some(0))
    }

    /// How many of the lowest layers need not be sent.
    async fn known(&self, image: &Image, form: Form) -> Result<usize, LoadError> {
        if form == Form::Layout && !self.tells_what_it_holds().await? {
            // It would take the image, and nobody would know that it lacks something.
            return Ok(0);
        }
        if self.version().await?.is_podman() {
            // It would refuse the image.
            return Ok(0);
        }
        let layers = &image.config().rootfs.diff_ids;
        let known = known::count(self.client, layers, &self.name()).await;
        known.map_err(|it| self.failed("look for layers that it has", it))
    }

    /// An error, unless the daemon has the image `id` by the name that it was to have.
    async fn see(&self, id: &Digest) -> Result<(), LoadError> {
        let name = self.name();
        let made = self.client.inspect(&name).await;
        let made = made.map_err(|it| self.failed("look for the image", it))?;
        if made.as_ref().is_some_and(|it| it.is_whole(id)) {
            return Ok(());
        }
        let made = match made {
            None => format!("it says to have loaded `{name}`, and has no such image"),
            Some(it) if it.id == *id => format!("it has loaded `{name}`, but not all of it"),
            Some(it) => format!("it has {} as `{name}`, in place of {id}", it.id),
        };
        Err(self.failed("load the image", DaemonProblem::Strange(made)))
    }

    /// Sends all but the `known` lowest layers.
    async fn attempt(&self, image: &Image, known: usize, form: Form) -> Result<(), LoadError> {
        let (tarball, body) = Tarball::new();
        let write = self.write(tarball, image, known, form);
        let load = self.client.load(body);
        tokio::pin!(write, load);
        let failed = |problem| self.failed("load the image", problem);
        let mut written = false;
        loop {
            tokio::select! {
                biased;
                loaded = &mut load => return loaded.map_err(failed),
                outcome = &mut write, if !written => match outcome {
                    // The answer says why.
                    Ok(()) | Err(Broken::Destination(Gone)) => written = true,
                    Err(Broken::Source(error)) => return Err(error),
                },
            }
        }
    }

    async fn write(
        &self,
        tarball: Tarball,
        image: &Image,
        known: usize,
        form: Form,
    ) -> Result<(), Broken> {
        for (path, content) in self.documents(image, form) {
            tarball.file(&path, content).await?;
        }
        let sizes = image.manifest().layers.iter().map(|it| it.size);
        self.progress.expect(sizes.fold(0, u64::saturating_add));
        for (at, layer) in image.manifest().layers.iter().enumerate() {
            self.progress.begin(layer);
            if at < known {
                self.progress.end(layer, Outcome::Skipped);
                continue;
            }
            tarball.begin(&path(&layer.digest), layer.size).await?;
            let source = |source| {
                Broken::Source(LoadError::Source {
                    digest: layer.digest.clone(),
                    source,
                })
            };
            let mut content = self.src.fetch(layer).await.map_err(source)?.check(layer);
            let mut sent = 0;
            while let Some(chunk) = content.next().await {
                let chunk = chunk.map_err(source)?;
                let size = chunk.len() as u64;
                sent += size;
                if sent > layer.size {
                    // The rest would be read as other files.
                    return Err(source(StoreError::SizeMismatch {
                        digest: layer.digest.clone(),
                        expected: layer.size,
                        presented: sent,
                        came: None,
                    }));
                }
                tarball.chunk(chunk).await?;
                self.progress.advance(layer, size);
            }
            tarball.end(layer.size).await?;
            self.progress.end(layer, Outcome::Copied);
        }
        Ok(tarball.finish().await?)
    }

    /// The small files, which say what the layers are.
    fn documents(&self, image: &Image, form: Form) -> Vec<(String, Bytes)> {
        let config = (path(image.id()), image.config_bytes().clone());
        match form {
            Form::Docker => {
                let layers = image.manifest().layers.iter().map(|it| path(&it.digest));
                let items = json!([{
                    "Config": config.0,
                    "RepoTags": [self.name()],
                    "Layers": layers.collect::<Vec<_>>(),
                }]);
                vec![
                    config,
                    ("manifest.json".to_owned(), items.to_string().into()),
                ]
            }
            Form::Layout => {
                let target = image.descriptor();
                let name = format!("{}:{}", self.repository.long(), self.tag);
                let index = json!({
                    "schemaVersion": 2,
                    "mediaType": MediaType::IMAGE_INDEX,
                    "manifests": [{
                        "mediaType": target.media_type,
                        "digest": target.digest,
                        "size": target.size,
                        "annotations": {
                            "io.containerd.image.name": name,
                            "org.opencontainers.image.ref.name": self.tag.as_str(),
                        },
                    }],
                });
                let version = json!({"imageLayoutVersion": "1.0.0"});
                vec![
                    ("oci-layout".to_owned(), version.to_string().into()),
                    ("index.json".to_owned(), index.to_string().into()),
                    (path(&target.digest), image.manifest_bytes().clone()),
                    config,
                ]
            }
        }
    }

    fn failed(&self, action: &str, problem: DaemonProblem) -> LoadError {
        LoadError::Destination(self.client.error(action, problem))
    }
}

/// What the archive is to the one who reads it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Form {
    /// What `docker save` writes: the daemon keeps the config, and makes the manifest anew.
    Docker,
    /// An OCI layout: the daemon keeps the manifest, byte for byte.
    Layout,
}

/// Which side broke off.
enum Broken {
    Source(LoadError),
    Destination(Gone),
}

impl From<Gone> for Broken {
    fn from(gone: Gone) -> Self {
        Self::Destination(gone)
    }
}

/// `known`: how many of the lowest layers were not sent; none if nothing was.
fn tally(image: &Image, known: Option<usize>, left_behind: usize) -> Copied {
    let mut copied = Copied {
        root: image.descriptor().clone(),
        new: Tally::default(),
        skipped: Tally::default(),
        referrers: 0,
        left_behind,
        digest_tags_left_behind: Vec::new(),
        dropped: Vec::new(),
    };
    let documents = match known {
        Some(_) => &mut copied.new,
        None => &mut copied.skipped,
    };
    documents.manifests = 1;
    documents.blobs = 1;
    documents.bytes = image.descriptor().size + image.manifest().config.size;
    for (at, layer) in image.manifest().layers.iter().enumerate() {
        let tally = match known {
            Some(known) if at >= known => &mut copied.new,
            _ => &mut copied.skipped,
        };
        tally.blobs += 1;
        tally.bytes += layer.size;
    }
    copied
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// Why an image could not be loaded. The daemon has the image or not, never half of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no such image, or it is none.
    #[error("failed to read the image")]
    Image(#[source] ImageError),
    /// A layer's file cannot be read.
    #[error(transparent)]
    Disk(StoreError),
    /// The source failed, or what it has is not what it should be.
    #[error("failed to copy {digest} from its source")]
    Source {
        /// A layer, or the subject of a listing.
        digest: Digest,
        /// Why.
        source: StoreError,
    },
    /// The daemon failed.
    #[error(transparent)]
    Destination(StoreError),
}
