//! Docker daemons: what is sent to them and what is not, and what is believed of what they say.

mod build;
mod command;
mod doubts;
mod faults;
mod images;
mod load;
mod phases;
mod podman;
mod read;
mod real;
mod ssh;
mod tls;
mod tls_real;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use oci::store::{DaemonAddress, DaemonOptions, DockerDaemon, LoadError, Loaded};
use oci::{
    Content, Descriptor, Digest, MediaType, MemoryStore, Selector, Store, StoreError, Tag, Upload,
};
use serde_json::json;
use testkit::daemon::{DaemonFault, DaemonSwitches, TestDaemon};

/// Options that do not make tests wait.
fn quick() -> DaemonOptions {
    DaemonOptions {
        silence_timeout: Duration::from_secs(5),
        work_timeout: Duration::from_secs(5),
        ..DaemonOptions::default()
    }
}

/// Podman, which speaks the same API and says who it is.
fn podman() -> DaemonSwitches {
    let version = json!({
        "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64",
        "Components": [{ "Name": "Podman Engine" }],
    });
    let version = DaemonFault::Gives(version.to_string().into());
    DaemonSwitches {
        faults: vec![("GET /version", version)],
        ..DaemonSwitches::default()
    }
}

fn daemon_at(host: &str, options: DaemonOptions) -> DockerDaemon {
    DockerDaemon::new(DaemonAddress::parse(host, None).unwrap(), options)
}

/// Loads `image` as `app:v1`.
async fn load(
    daemon: &TestDaemon,
    src: &dyn Store,
    image: &Descriptor,
) -> Result<Loaded, LoadError> {
    load_as(&daemon_at(&daemon.host(), quick()), src, image, "app").await
}

async fn load_as(
    daemon: &DockerDaemon,
    src: &dyn Store,
    image: &Descriptor,
    name: &str,
) -> Result<Loaded, LoadError> {
    let (name, tag) = (name.parse().unwrap(), "v1".parse().unwrap());
    daemon.load(src, image, None, &name, &tag, &()).await
}

/// A plain tar layer, so that its digest is its diff ID. `dockerd` is another test.
fn layer(content: &str) -> Descriptor {
    Descriptor::of(MediaType::LAYER_TAR, content.as_bytes())
}

/// Puts an image of these layers into `store`; but only their descriptors, if `with_layers` says so.
async fn push_image(store: &dyn Store, layers: &[&str], with_layers: &[&str]) -> Descriptor {
    for content in with_layers {
        let bytes = Bytes::copy_from_slice(content.as_bytes());
        let pushed = store.push_blob(&layer(content), Upload::Bytes(bytes)).await;
        pushed.unwrap();
    }
    let layers: Vec<Descriptor> = layers.iter().map(|it| layer(it)).collect();
    let diff_ids: Vec<&Digest> = layers.iter().map(|it| &it.digest).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config_bytes = Bytes::from(config.to_string());
    let config = Descriptor::of(MediaType::IMAGE_CONFIG, &config_bytes);
    let pushed = store.push_blob(&config, Upload::Bytes(config_bytes)).await;
    pushed.unwrap();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::IMAGE_MANIFEST,
        "config": config, "layers": layers,
    });
    push_manifest(store, MediaType::IMAGE_MANIFEST, &manifest).await
}

async fn push_manifest(
    store: &dyn Store,
    media_type: MediaType,
    manifest: &serde_json::Value,
) -> Descriptor {
    let content = Bytes::from(manifest.to_string());
    let target = Descriptor::of(media_type, &content);
    store.push_manifest(&target, content).await.unwrap();
    target
}

/// The config's digest: Docker's image ID.
async fn image_id(store: &dyn Store, image: &Descriptor) -> Digest {
    let bytes = oci::store::read(store, image, 1 << 20).await.unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    manifest["config"]["digest"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// The layers among the files of an archive, as the contents that they were made of.
fn layers_among<'a>(files: &[String], contents: &[&'a str]) -> Vec<&'a str> {
    let is_there = |content: &&&str| {
        let hex = layer(content).digest;
        files.iter().any(|it| it.ends_with(hex.hex()))
    };
    contents.iter().filter(is_there).copied().collect()
}

/// A store that says of its layers more than is true of them, and does not check what it gives.
#[derive(Debug, Default)]
struct Lying(MemoryStore);

#[async_trait]
impl Store for Lying {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        self.0.resolve(selector).await
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        self.0.contains(target).await
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        if target.media_type != MediaType::LAYER_TAR {
            return self.0.fetch(target).await;
        }
        let more = Bytes::from(vec![b'x'; 4096]);
        Ok(Content::new(futures_util::stream::iter([Ok(more)])))
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        self.0.push_blob(target, upload).await
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.0.push_manifest(target, content).await
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        self.0.tag(target, tag).await
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.0.tags().await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        self.0.referrers(subject).await
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        self.0.delete(target).await
    }
}
