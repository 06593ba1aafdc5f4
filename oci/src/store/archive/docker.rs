//! `manifest.json`: what `docker save` says of the images in an archive, and images made of that.
//!
//! Such an archive has a config and plain layers, and no manifest; so one is made, as `docker push`,
//! crane and skopeo make it: of Docker's media types, with layers as gzip. The gzip is Go's, so the
//! image has the digest that crane gives it.
//!
//! <https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md#combined-image-json--filesystem-changeset-format>

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::images::NamedImage;
use super::members::{Members, blob_name};
use super::names;
use super::section::Section;
use crate::StoreError;
use crate::extract::decompressed;
use crate::layer::{Compression, pack};
use crate::{Descriptor, DiffId, Digest, Hasher, ImageConfig, ImageManifest, Limits, MediaType};

/// The file that makes a tar a Docker archive.
pub(super) const MANIFEST: &str = "manifest.json";

/// One image of `manifest.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(remote = "Self", rename_all = "PascalCase")]
pub(super) struct Listed {
    /// The name of its config in the archive.
    pub(super) config: String,
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    /// The names of its layers in the archive, lowest first.
    #[serde(default)]
    pub(super) layers: Option<Vec<String>>,
}

crate::json::objects_only!(Listed);

/// An image of which there is no manifest yet.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// [Full](names::full) names.
    pub(super) names: Vec<String>,
    pub(super) config: Bytes,
    layers: Vec<String>,
}

/// An image that was made.
pub(super) struct Made {
    pub(super) target: Descriptor,
    pub(super) manifest: Bytes,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<(Descriptor, Section)>,
}

/// Reads `manifest.json`.
pub(super) fn list(members: &Members, limits: &Limits) -> Result<Vec<Pending>, StoreError> {
    let text = members.small(MANIFEST, limits.manifest_bytes)?;
    let text = text.ok_or_else(|| {
        members.malformed("it has no `manifest.json`, so it is not what `docker save` writes")
    })?;
    let listed: Vec<Listed> = serde_json::from_slice(&text).map_err(|error| {
        members.malformed(format!("its `manifest.json` cannot be read: {error}"))
    })?;
    let mut total = 0;
    let mut images = Vec::new();
    for image in listed {
        let layers = image.layers.unwrap_or_default();
        if layers.len() > limits.layers {
            return Err(members.malformed(format!(
                "an image in it has more than {} layers",
                limits.layers
            )));
        }
        let config = members.small(&image.config, limits.metadata_bytes)?;
        let config = config.ok_or_else(|| missing(members, &image.config))?;
        total += config.len() as u64;
        if total > limits.metadata_bytes {
            return Err(members.malformed("the configs in it are too large"));
        }
        let tags = image.repo_tags.unwrap_or_default();
        images.push(Pending {
            names: tags.iter().filter_map(|it| names::full(it)).collect(),
            config: config.into(),
            layers,
        });
    }
    Ok(images)
}

/// What `manifest.json` is to say of `images`.
pub(super) fn listing(images: &[NamedImage]) -> Vec<Listed> {
    let listed = |image: &NamedImage| {
        let names: Vec<_> = image.names.iter().map(|it| names::short(it)).collect();
        let layers = image.manifest.layers.iter();
        Listed {
            config: blob_name(&image.manifest.config.digest),
            repo_tags: Some(names).filter(|it| !it.is_empty()),
            layers: Some(layers.map(|it| blob_name(&it.digest)).collect()),
        }
    };
    images.iter().map(listed).collect()
}

impl Pending {
    /// Makes the image: compresses its layers, several at once, and checks each against its diff ID.
    pub(super) fn make(&self, members: &Members) -> Result<Made, StoreError> {
        let config: ImageConfig = ImageConfig::parse(&self.config)
            .map_err(|error| members.malformed(format!("a config in it is none: {error}")))?;
        let diff_ids = config.rootfs.diff_ids;
        if diff_ids.len() != self.layers.len() {
            return Err(members.malformed(format!(
                "an image in it has {} layers, but {} diff IDs",
                self.layers.len(),
                diff_ids.len()
            )));
        }
        let mut wanted: BTreeMap<&DiffId, &str> = BTreeMap::new();
        for (diff_id, name) in diff_ids.iter().zip(&self.layers) {
            wanted.entry(diff_id).or_insert(name);
        }
        let stored = store_all(members, wanted)?;
        let layers: Vec<_> = diff_ids
            .iter()
            .filter_map(|it| stored.get(it).cloned())
            .collect();
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::DOCKER_MANIFEST),
            config: Descriptor::of(MediaType::DOCKER_CONFIG, &self.config),
            layers: layers.iter().map(|(layer, _)| layer.clone()).collect(),
            annotations: BTreeMap::new(),
            subject: None,
            artifact_type: None,
        };
        let bytes = crate::image::manifest_bytes(&manifest)
            .map_err(|error| members.failed(error.into()))?;
        Ok(Made {
            target: Descriptor::of(MediaType::DOCKER_MANIFEST, &bytes),
            manifest: bytes,
            config: manifest.config,
            layers,
        })
    }
}

type Stored = BTreeMap<DiffId, (Descriptor, Section)>;

/// Stores each of `wanted` by its diff ID, several at once: a layer keeps two threads busy at most.
fn store_all(members: &Members, wanted: BTreeMap<&DiffId, &str>) -> Result<Stored, StoreError> {
    let count = wanted.len();
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let waiting = Mutex::new(wanted.into_iter());
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    };
    let work = || {
        let mut stored = Vec::new();
        while let Some((diff_id, name)) = next() {
            stored.push((diff_id.clone(), store(members, name, diff_id)?));
        }
        Ok::<_, StoreError>(stored)
    };
    let all = thread::scope(|scope| {
        let working: Vec<_> = (0..workers.min(count)).map(|_| scope.spawn(work)).collect();
        let joined = working.into_iter().map(|it| {
            it.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.collect::<Result<Vec<_>, _>>()
    })?;
    Ok(all.into_iter().flatten().collect())
}

/// The layer called `name` as it is if it is compressed, else as gzip, in a file without a name.
fn store(
    members: &Members,
    name: &str,
    diff_id: &DiffId,
) -> Result<(Descriptor, Section), StoreError> {
    let section = members
        .checked(name)
        .ok_or_else(|| missing(members, name))?;
    let failed = |error| members.failed(error);
    let head: [u8; 4] = section.head().map_err(failed)?;
    let compressed = match head {
        [0x1f, 0x8b, ..] => Some(MediaType::DOCKER_LAYER_GZIP),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(MediaType::DOCKER_LAYER_ZSTD),
        _ => None,
    };
    let (target, stored, presented) = if let Some(media_type) = compressed {
        let plain = decompressed(section.reader()).map_err(|error| {
            members.malformed(format!("its `{name}` cannot be decompressed: {error}"))
        })?;
        let presented = DiffId(hash(plain).map_err(failed)?);
        let digest = hash(section.reader()).map_err(failed)?;
        let target = Descriptor::new(media_type, digest, section.size);
        (target, section, presented)
    } else {
        let mut file = tempfile::tempfile().map_err(failed)?;
        let packed = pack(section.reader(), &mut file, Compression::GoGzip);
        let (packed, presented) = packed.map_err(failed)?;
        let target = Descriptor {
            media_type: MediaType::DOCKER_LAYER_GZIP,
            ..packed
        };
        let stored = Section {
            file: Arc::new(file),
            start: 0,
            size: target.size,
        };
        (target, stored, presented)
    };
    if presented != *diff_id {
        return Err(members.malformed(format!(
            "its layer `{name}` is not what the config says: expected diff ID {diff_id}, got {presented}"
        )));
    }
    Ok((target, stored))
}

fn hash(mut reader: impl io::Read) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

fn missing(members: &Members, name: &str) -> StoreError {
    members.malformed(format!(
        "its `manifest.json` names `{name}`, which is not in it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That the disk is full is what helps, not that a thread has gone.
    #[test]
    fn a_full_disk_is_what_is_said() {
        let mut full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let layer = vec![7; 16 << 20];
        let packed = pack(&*layer, &mut full, Compression::None);
        assert_eq!(packed.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
