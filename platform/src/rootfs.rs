//! The layers of builder images, unpacked once per machine and user, and shared by all builds.
//!
//! | in the store | is |
//! |---|---|
//! | `MAP/` | what was unpacked for a [map of users](UserMap): owners differ between maps |
//! | `MAP/HEX/files` | the layer whose diff ID is `sha256:HEX`, as overlayfs wants it |
//! | `MAP/HEX/layer.json` | what is known of it |
//! | `MAP/HEX.new` | a layer that is being unpacked, or was when its build ended |
//! | `MAP/HEX.lock` | held alone by who unpacks or removes the layer, and together by who uses it |
//!
//! A layer is verified while it is unpacked: its blob by the digest in the manifest, its content by the
//! diff ID in the config. It gets its name when it is whole. Nothing waits for the disk: instead each
//! layer remembers since which start of the machine it is there, and is unpacked again after another.

mod copy;
mod find;
mod gc;
mod layer;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use lifecycle_core::exec::Cancel;
use oci::{Image, Store, StoreError};
use tokio::task::JoinSet;

pub use self::copy::MappedFolder;
pub(crate) use self::find::find;
pub use self::gc::FreedLayers;
use self::layer::Job;
use crate::sandbox::{LayerFolder, UserMap};

/// The folder in which layers are kept, and who unpacks them.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the caller has to say all of it")]
pub struct RootStore {
    /// The folder. It belongs to whoever runs us, and to nobody else.
    pub folder: PathBuf,
    /// A program and arguments with which it does nothing but enter the sandbox.
    pub enter: Vec<OsString>,
    /// Ends it early.
    pub cancel: Cancel,
}

/// The layers of an image, there to be used. While this is there, nobody removes them.
#[derive(Debug)]
#[non_exhaustive]
pub struct Layers {
    /// Each once, the highest first.
    pub folders: Vec<LayerFolder>,
    /// How many had to be unpacked for this.
    pub unpacked: usize,
    /// How many devices they would have, which are left out.
    pub devices: u64,
    locks: Vec<std::fs::File>,
}

impl RootStore {
    /// Unpacks what is not there yet of `image`, which lies in `store`, for `map`.
    pub async fn unpack(
        &self,
        image: &Image,
        store: &Arc<dyn Store>,
        map: &UserMap,
    ) -> Result<Layers, RootfsError> {
        let folder = self.folder.join(map.name());
        make_private(&folder)?;
        let boot = boot()?;
        // One that comes twice hides itself.
        let mut known = BTreeSet::new();
        let mut jobs: VecDeque<_> = image
            .layers()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .filter(|(_, diff_id)| known.insert((*diff_id).clone()))
            .enumerate()
            .map(|(at, (layer, diff_id))| {
                let job = Job {
                    store: Arc::clone(store),
                    layer: layer.clone(),
                    diff_id: diff_id.clone(),
                    folder: folder.clone(),
                    boot: boot.clone(),
                    map: map.clone(),
                    enter: self.enter.clone(),
                    cancel: self.cancel.clone(),
                };
                (at, job)
            })
            .collect();
        let workers = std::thread::available_parallelism().map_or(2, |it| it.get().max(2));
        let mut running = JoinSet::new();
        let mut done = Vec::new();
        loop {
            while running.len() < workers
                && let Some((at, job)) = jobs.pop_front()
            {
                running.spawn(async move { (at, job.run().await) });
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            let (at, layer) = ended.map_err(io::Error::other)?;
            done.push((at, layer?));
        }
        done.sort_by_key(|(at, _)| *at);
        let mut layers = Layers {
            folders: Vec::new(),
            unpacked: 0,
            devices: 0,
            locks: Vec::new(),
        };
        for (_, layer) in done {
            layers.folders.push(layer.folder);
            layers.unpacked += usize::from(layer.is_new);
            layers.devices += layer.devices;
            layers.locks.push(layer.lock);
        }
        Ok(layers)
    }
}

/// When layers were used last is when their build ends.
impl Drop for Layers {
    fn drop(&mut self) {
        for lock in &self.locks {
            // They are only freed sooner without it.
            layer::used_now(lock).unwrap_or_default();
        }
    }
}

/// Makes a folder, and its parents, that nobody else can look into.
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;

    // Nothing is made in what somebody else may write to.
    for it in folder.parent().into_iter().chain([folder]) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(it)
            .map_err(|error| {
                io::Error::new(error.kind(), format!("`{}`: {error}", it.display()))
            })?;
        check_private(it)?;
    }
    Ok(())
}

/// What is in a store is believed, so it must be ours, and nobody else's to write.
fn check_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;

    let own = rustix::process::geteuid().as_raw();
    let found = fs::metadata(folder)?;
    if found.uid() != own || found.mode() & 0o022 != 0 {
        let path = folder.display();
        let problem = format!("`{path}` is not allowed to keep layers: others may write there");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    }
    Ok(())
}

/// Tells this start of the machine from all others.
fn boot() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootfsError {
    /// A layer cannot be unpacked.
    #[error("failed to unpack the layer {layer}: {problem}")]
    Layer {
        /// Which, by its digest in the manifest.
        layer: oci::Digest,
        /// Why.
        problem: String,
    },
    /// A layer cannot be read.
    #[error("failed to read the layer {layer}")]
    Fetch {
        /// Which, by its digest in the manifest.
        layer: oci::Digest,
        /// Why.
        source: StoreError,
    },
    /// The program that unpacks could not be run.
    #[error("failed to run what unpacks layers")]
    Start(#[source] lifecycle_core::exec::RunError),
    /// The file system failed.
    #[error("failed to keep the layers of a builder")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn layers_are_kept_only_where_nobody_else_may_write() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        let store = folder.path().join("roots/shifted");
        make_private(&store).unwrap();
        for it in [store.as_path(), folder.path().join("roots").as_path()] {
            assert_eq!(fs::metadata(it).unwrap().mode() & 0o777, 0o700);
            for open in [0o777, 0o770, 0o722] {
                mode(it, open).unwrap();
                assert!(make_private(&store).is_err(), "{open:o}");
            }
            mode(it, 0o755).unwrap();
            make_private(&store).unwrap();
        }
        // Nothing is made in what others may write to.
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        mode(&open, 0o777).unwrap();
        assert!(make_private(&open.join("shifted")).is_err());
        assert!(!open.join("shifted").exists());
        // Somebody else's, which they may open at any time.
        let given = std::os::unix::fs::chown(&store, Some(65_534), None);
        if given.is_ok() {
            assert!(make_private(&store).is_err());
        }
    }
}
