//! One image of a daemon, of which only the description is asked for: its layers come when they are
//! wanted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;

use super::client::Client;
use super::store::Opened;
use crate::json::null;
use crate::store::ArchiveStore;
use crate::{
    Content, Descriptor, DiffId, Digest, History, Image, ImageConfig, ImageError, ImageManifest,
    MediaType, RootFs, RunConfig, Selector, Store, StoreError, Tag, Upload,
};

/// An image that a daemon has, as a [`Store`] to read from.
///
/// Manifest and config are made of what the daemon says of it, as all CNB tools make them, so neither
/// is what was once pushed. In place of the digest of a layer stands its diff ID, and a size of zero:
/// both are known only when the daemon gives the image, which it does as a whole, and which happens
/// when the first layer is fetched.
#[derive(Debug)]
pub struct DaemonImage {
    client: Arc<Client>,
    id: Digest,
    image: Image,
    layers: Option<PathBuf>,
    saved: OnceCell<Saved>,
}

/// What a daemon gave.
#[derive(Debug)]
struct Saved {
    archive: ArchiveStore,
    layers: BTreeMap<DiffId, Descriptor>,
}

impl DaemonImage {
    /// The image that the daemon calls `name`, which may be an image ID, too.
    pub(super) async fn find(client: Arc<Client>, name: &str) -> Result<Option<Self>, StoreError> {
        let action = || format!("look at the image `{name}`");
        let described = client.describe(name).await;
        let Some((id, config)) = described.map_err(|it| client.error(action(), it))? else {
            return Ok(None);
        };
        let layers = config.rootfs.diff_ids.iter().map(unseen).collect();
        let like = ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::DOCKER_MANIFEST),
            config: Descriptor::of(MediaType::DOCKER_CONFIG, b""),
            layers: Vec::new(),
            annotations: BTreeMap::new(),
            subject: None,
            artifact_type: None,
        };
        let image = Image::new(&like, config, layers).map_err(|error| StoreError::Malformed {
            place: client.place(),
            problem: error.to_string(),
        })?;
        Ok(Some(Self {
            client,
            id,
            image,
            layers: None,
            saved: OnceCell::new(),
        }))
    }

    /// The same, whose layers are taken from `folder` if they lie there, in files `<diff ID>.tar`.
    #[must_use]
    pub fn with_layers_in(self, folder: impl Into<PathBuf>) -> Self {
        Self {
            layers: Some(folder.into()),
            ..self
        }
    }

    /// By what the daemon has it, whatever it is called.
    pub fn id(&self) -> &Digest {
        &self.id
    }

    async fn saved(&self) -> Result<&Saved, StoreError> {
        self.saved.get_or_try_init(|| self.save()).await
    }

    async fn save(&self) -> Result<Saved, StoreError> {
        let malformed = |error: ImageError| match error {
            ImageError::Store(error) => error,
            error => StoreError::Malformed {
                place: self.client.place(),
                problem: format!("the image {} that it gave: {error}", self.id),
            },
        };
        // By ID: a name may have moved meanwhile.
        let opened = Opened::of(&self.client, &self.id).await?;
        let opened = opened.ok_or_else(|| self.not_found(&self.id))?;
        let platform = self.image.config().platform();
        let limits = &self.client.options.limits;
        let image = Image::read(&opened.archive, &opened.image, &platform, limits).await;
        let image = image.map_err(malformed)?;
        let layers = image.layers();
        let layers = layers.map(|(layer, diff_id)| (diff_id.clone(), layer.clone()));
        let layers = layers.collect();
        Ok(Saved {
            archive: opened.archive,
            layers,
        })
    }

    fn not_found(&self, what: &impl ToString) -> StoreError {
        StoreError::NotFound {
            what: what.to_string(),
            place: self.client.place(),
            answer: None,
        }
    }

    fn cannot_keep<T>(&self) -> Result<T, StoreError> {
        Err(StoreError::Unsupported {
            place: self.client.place(),
            action: "keep what an image is made of: it takes whole images",
            answer: None,
        })
    }
}

/// What is known of a layer before it was seen.
fn unseen(diff_id: &DiffId) -> Descriptor {
    Descriptor {
        digest: diff_id.0.clone(),
        size: 0,
        ..Descriptor::of(MediaType::LAYER_TAR, b"")
    }
}

/// Bytes that are read of a file at once.
const CHUNK: usize = 1 << 20;

/// The content of a layer's file; `None` if there is no such file.
async fn file(path: &Path, diff_id: &DiffId) -> Result<Option<Content>, StoreError> {
    let failed = |path: &Path, source| StoreError::io(path.display(), "read a layer", source);
    let file = match tokio::fs::File::open(path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|source| failed(path, source))?,
    };
    let metadata = file.metadata().await;
    let size = metadata.map_err(|source| failed(path, source))?.len();
    let path = path.to_owned();
    let chunks = stream::try_unfold(file, move |mut file| {
        let path = path.clone();
        async move {
            let mut chunk = bytes::BytesMut::with_capacity(CHUNK);
            let read = file.read_buf(&mut chunk).await;
            let count = read.map_err(|source| failed(&path, source))?;
            Ok((count > 0).then(|| (chunk.freeze(), file)))
        }
    });
    let target = Descriptor {
        size,
        ..unseen(diff_id)
    };
    Ok(Some(Content::new(chunks).check(&target)))
}

#[async_trait]
impl Store for DaemonImage {
    /// Whatever is asked for: there is one image.
    async fn resolve(&self, _selector: &Selector) -> Result<Descriptor, StoreError> {
        Ok(self.image.descriptor().clone())
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        let own = [&self.image.descriptor().digest, self.image.id()];
        let mut layers = self.image.layers();
        Ok(own.contains(&&target.digest) || layers.any(|(it, _)| it.digest == target.digest))
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        let once = |bytes: &Bytes| {
            let bytes = bytes.clone();
            Ok(Content::new(stream::once(async { Ok(bytes) })))
        };
        if target.digest == self.image.descriptor().digest {
            return once(self.image.manifest_bytes());
        }
        if target.digest == *self.image.id() {
            return once(self.image.config_bytes());
        }
        let diff_id = DiffId(target.digest.clone());
        if self.image.layer(&diff_id).is_none() {
            return Err(self.not_found(&target.digest));
        }
        if let Some(folder) = &self.layers {
            let path = folder.join(format!("{diff_id}.tar"));
            if let Some(content) = file(&path, &diff_id).await? {
                return Ok(content);
            }
        }
        let saved = self.saved().await?;
        match saved.layers.get(&diff_id) {
            Some(layer) => saved.archive.fetch(layer).await,
            None => Err(self.not_found(&target.digest)),
        }
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
        Ok(Vec::new())
    }

    /// Always empty: a daemon has no place for them.
    async fn referrers(&self, _subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        Ok(Vec::new())
    }

    async fn delete(&self, _target: &Descriptor) -> Result<(), StoreError> {
        self.cannot_keep()
    }
}

/// What a daemon says of an image.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Description {
    #[serde(deserialize_with = "null")]
    architecture: String,
    #[serde(deserialize_with = "null")]
    author: String,
    config: Option<RunConfig>,
    #[serde(deserialize_with = "null")]
    os: String,
    #[serde(deserialize_with = "null")]
    os_version: String,
    #[serde(rename = "RootFS")]
    root_fs: Option<Layers>,
    #[serde(deserialize_with = "null")]
    variant: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Layers {
    #[serde(rename = "Type", deserialize_with = "null")]
    kind: String,
    #[serde(deserialize_with = "null")]
    layers: Vec<DiffId>,
}

/// What a daemon says of how an image was made; one entry of several.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Told {
    #[serde(deserialize_with = "null")]
    comment: String,
    #[serde(deserialize_with = "null")]
    created_by: String,
}

impl Description {
    /// The config of an image that is described so: without what Docker alone knows, as CNB tools
    /// have it, for their image IDs rest on it. `told` comes with the newest first.
    pub(super) fn config(self, told: Vec<Told>) -> ImageConfig {
        let layers = self.root_fs.unwrap_or_default();
        let history = told.into_iter().rev().map(|it| History {
            created_by: it.created_by,
            comment: it.comment,
            ..History::default()
        });
        let run = self.config.unwrap_or_default();
        ImageConfig {
            architecture: self.architecture,
            author: self.author,
            history: history.collect(),
            os: self.os,
            os_version: self.os_version,
            rootfs: RootFs {
                kind: layers.kind,
                diff_ids: layers.layers,
            },
            config: RunConfig {
                cmd: run.cmd,
                healthcheck: run.healthcheck,
                entrypoint: run.entrypoint,
                env: run.env,
                labels: run.labels,
                on_build: run.on_build,
                user: run.user,
                volumes: run.volumes,
                working_dir: run.working_dir,
                exposed_ports: run.exposed_ports,
                stop_signal: run.stop_signal,
                shell: run.shell,
                ..RunConfig::default()
            },
            variant: self.variant,
            ..ImageConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_made_of_what_a_daemon_says() {
        let id = format!("sha256:{}", "0".repeat(64));
        let text = format!(
            r#"{{"Id":"{id}","Architecture":"arm64","Variant":"v8","Os":"linux","Author":null,
            "Config":{{"Env":["A=b"],"Hostname":"h","Image":"i","Cmd":null,"Labels":{{"l":"m"}}}},
            "RootFS":{{"Type":"layers","Layers":["{id}"]}}}}"#
        );
        let described: Description = serde_json::from_str(&text).unwrap();
        let told = r#"[{"CreatedBy":"second","Comment":""},{"CreatedBy":"first"}]"#;
        let config = described.config(serde_json::from_str(told).unwrap());
        assert_eq!(
            go::json::to_string(&config).unwrap(),
            format!(
                r#"{{"architecture":"arm64","history":[{{"created_by":"first"}},{{"created_by":"second"}}],"os":"linux","rootfs":{{"type":"layers","diff_ids":["{id}"]}},"config":{{"Env":["A=b"],"Labels":{{"l":"m"}}}},"variant":"v8"}}"#
            )
        );
    }
}
