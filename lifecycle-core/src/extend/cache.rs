//! Layers of commands that were run before.
//!
//! `<folder>/<key>.json` says which layer a command made, if any; `<folder>/<digest>` has it. The key
//! is made of all that a command can see: the layers below, the config, the arguments, the command
//! itself. So what came before counts by its result, and not by how it was written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use oci::layer::Layer;
use oci::{Algorithm, Descriptor, DiffId, Digest, Hasher, MediaType};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most bytes of an entry.
const MAX_ENTRY: u64 = 64 << 10;

/// A folder of layers, which several may use at once.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct LayerCache {
    /// Where.
    pub folder: PathBuf,
    /// How long a layer is used.
    pub ttl: Duration,
    /// When it is now.
    pub now: SystemTime,
}

/// What a command made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Made {
    Layer(Box<Layer>),
    /// It changed nothing.
    Nothing,
}

/// What a command made, as it is kept.
#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    /// When, in seconds since 1970.
    created: u64,
    /// Nothing if nothing was changed.
    layer: Option<EntryLayer>,
}

#[derive(Debug, Deserialize, Serialize)]
struct EntryLayer {
    digest: Digest,
    size: u64,
    diff_id: DiffId,
    uncompressed_size: u64,
}

impl LayerCache {
    /// What the command of `key` made, if that is known. What is too old, or not as it was
    /// written, is not.
    pub(super) fn find(&self, key: &Digest) -> Option<Made> {
        let path = self.entry(key);
        let metadata = fs::metadata(&path).ok()?;
        if metadata.len() > MAX_ENTRY {
            return None;
        }
        let entry: Entry = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let created = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(entry.created))?;
        let is_old = self
            .now
            .duration_since(created)
            .is_ok_and(|age| age > self.ttl);
        if is_old {
            return None;
        }
        let Some(layer) = entry.layer else {
            return Some(Made::Nothing);
        };
        let file = self.folder.join(layer.digest.hex());
        (hash(&file).ok()? == layer.digest).then(|| {
            Made::Layer(Box::new(Layer {
                descriptor: Descriptor::new(MediaType::LAYER_GZIP, layer.digest, layer.size),
                diff_id: layer.diff_id,
                uncompressed_size: layer.uncompressed_size,
                file,
            }))
        })
    }

    /// Remembers what the command of `key` made.
    pub(super) fn keep(&self, key: &Digest, layer: Option<&Layer>) -> Result<(), CacheError> {
        let failed = |source| CacheError {
            folder: self.folder.clone(),
            source,
        };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        if let Some(layer) = layer {
            let digest = &layer.descriptor.digest;
            self.put(&self.folder.join(digest.hex()), |file| {
                io::copy(&mut fs::File::open(&layer.file)?, file).map(drop)
            })
            .map_err(failed)?;
        }
        let age = self.now.duration_since(SystemTime::UNIX_EPOCH);
        let entry = Entry {
            created: age.unwrap_or_default().as_secs(),
            layer: layer.map(|it| EntryLayer {
                digest: it.descriptor.digest.clone(),
                size: it.descriptor.size,
                diff_id: it.diff_id.clone(),
                uncompressed_size: it.uncompressed_size,
            }),
        };
        self.put(&self.entry(key), |file| {
            serde_json::to_writer(file, &entry).map_err(io::Error::from)
        })
        .map_err(failed)
    }

    /// Forgets what is too old: entries, and layers that none has.
    pub(super) fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|it| it.modified());
            let age = modified.map(|it| self.now.duration_since(it).unwrap_or_default());
            if age.is_ok_and(|it| it > self.ttl) {
                // Somebody else may have done it.
                fs::remove_file(entry.path()).ok();
            }
        }
    }

    fn entry(&self, key: &Digest) -> PathBuf {
        self.folder.join(format!("{}.json", key.hex()))
    }

    fn put(
        &self,
        path: &Path,
        fill: impl FnOnce(&mut fs::File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".new.")
            .tempfile_in(&self.folder)?;
        fill(file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    }
}

fn hash(file: &Path) -> io::Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut file = fs::File::open(file)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// A layer could not be kept.
#[derive(Debug, Error)]
#[error("failed to keep a layer in `{}`", folder.display())]
#[non_exhaustive]
pub struct CacheError {
    /// Where.
    pub folder: PathBuf,
    /// Why not.
    pub source: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_found_as_long_as_it_is_good() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("layer");
        fs::write(&file, "layer").unwrap();
        let layer = Layer {
            descriptor: Descriptor::of(MediaType::LAYER_GZIP, b"layer"),
            diff_id: DiffId(Digest::of(b"tar")),
            uncompressed_size: 3,
            file,
        };
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let at = |seconds| LayerCache {
            folder: folder.path().join("cache"),
            ttl: Duration::from_secs(10),
            now: start + Duration::from_secs(seconds),
        };
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(at(0).find(&one), None);
        at(0).keep(&one, Some(&layer)).unwrap();
        at(0).keep(&two, None).unwrap();
        assert_eq!(at(10).find(&two), Some(Made::Nothing));
        let Some(Made::Layer(found)) = at(10).find(&one) else {
            panic!("it is not found")
        };
        assert_eq!(found.descriptor, layer.descriptor);
        assert_eq!(at(11).find(&one), None);
        fs::write(&found.file, "other").unwrap();
        assert_eq!(at(0).find(&one), None);
        at(0).prune();
        assert_eq!(at(0).find(&two), Some(Made::Nothing));
        let modified = fs::metadata(&found.file).unwrap().modified().unwrap();
        let late = LayerCache {
            now: modified + Duration::from_secs(11),
            ..at(0)
        };
        late.prune();
        assert_eq!(fs::read_dir(&late.folder).unwrap().count(), 0);
    }
}
