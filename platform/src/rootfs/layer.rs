//! One layer of the store.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fs_err as fs;
use lifecycle_core::exec::Cancel;
use oci::{Descriptor, DiffId, Store};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::RootfsError;
use crate::sandbox::{Done, LayerFolder, Task, User, UserMap, work};

/// What is known of a layer that is whole.
#[derive(Debug, Deserialize, Serialize)]
struct Known {
    /// Since which start of the machine it is there.
    boot: String,
    entries: u64,
    bytes: u64,
    devices: u64,
    implied: Vec<OsString>,
}

/// A layer that is wanted.
pub(super) struct Job {
    pub(super) store: Arc<dyn Store>,
    pub(super) layer: Descriptor,
    pub(super) diff_id: DiffId,
    /// Where the layers of this map are.
    pub(super) folder: PathBuf,
    pub(super) boot: String,
    pub(super) map: UserMap,
    pub(super) enter: Vec<OsString>,
    pub(super) cancel: Cancel,
}

/// A layer that is there.
pub(super) struct Ready {
    pub(super) folder: LayerFolder,
    pub(super) devices: u64,
    pub(super) is_new: bool,
    /// Held together with others who use it.
    pub(super) lock: File,
}

impl Job {
    pub(super) async fn run(self) -> Result<Ready, RootfsError> {
        let job = Arc::new(self);
        let mut is_new = false;
        loop {
            let lock = job.locked(FlockOperation::LockShared).await?;
            if let Some(known) = job.known() {
                let implied = known.implied.into_iter().map(PathBuf::from).collect();
                return Ok(Ready {
                    folder: LayerFolder {
                        folder: job.place().join("files"),
                        implied,
                    },
                    devices: known.devices,
                    is_new,
                    lock,
                });
            }
            drop(lock);
            let alone = job.locked(FlockOperation::LockExclusive).await?;
            // Somebody else may have been faster.
            if job.known().is_none() {
                job.make().await?;
                is_new = true;
            }
            drop(alone);
        }
    }

    fn hex(&self) -> &str {
        self.diff_id.0.hex()
    }

    fn place(&self) -> PathBuf {
        self.folder.join(self.hex())
    }

    /// What is known of it, if it is whole.
    fn known(&self) -> Option<Known> {
        let text = std::fs::read(self.place().join("layer.json")).ok()?;
        let known: Known = serde_json::from_slice(&text).ok()?;
        (known.boot == self.boot).then_some(known)
    }

    /// Waits on a thread of its own until the lock can be had.
    async fn locked(&self, operation: FlockOperation) -> Result<File, RootfsError> {
        let path = self.folder.join(format!("{}.lock", self.hex()));
        let locking = tokio::task::spawn_blocking(move || {
            let file = fs::OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)?
                .into_file();
            flock(&file, operation)?;
            // When it was used last.
            let now = rustix::fs::Timespec {
                tv_sec: 0,
                tv_nsec: rustix::fs::UTIME_NOW,
            };
            let times = rustix::fs::Timestamps {
                last_access: now,
                last_modification: now,
            };
            rustix::fs::futimens(&file, &times)?;
            Ok::<_, io::Error>(file)
        });
        Ok(locking.await.map_err(io::Error::other)??)
    }

    /// Unpacks it; it is whole afterwards.
    async fn make(self: &Arc<Self>) -> Result<(), RootfsError> {
        let new = self.folder.join(format!("{}.new", self.hex()));
        for stale in [&new, &self.place()] {
            remove(stale, &self.enter, &self.map, &self.cancel).await?;
        }
        let files = new.join("files");
        make_root(&files, &self.map)?;
        let done = self.unpack(&files, false).await?;
        let mut implied = done.implied;
        implied.sort();
        let known = Known {
            boot: self.boot.clone(),
            entries: done.entries,
            bytes: done.bytes,
            devices: done.devices,
            implied,
        };
        let text = serde_json::to_vec(&known).map_err(io::Error::other)?;
        fs::write(new.join("layer.json"), text)?;
        fs::rename(&new, self.place())?;
        Ok(())
    }

    /// Has it unpacked while it is read: by itself, or over those below it.
    pub(super) async fn unpack(
        self: &Arc<Self>,
        files: &Path,
        is_applied: bool,
    ) -> Result<Done, RootfsError> {
        use futures_util::StreamExt as _;

        let fetch = |source| RootfsError::Fetch {
            layer: self.layer.digest.clone(),
            source,
        };
        let content = self.store.fetch(&self.layer).await.map_err(fetch)?;
        let mut content = content.boxed();
        let (sender, mut chunks) = mpsc::channel::<Bytes>(8);
        let (job, files) = (Arc::clone(self), files.to_owned());
        let working = tokio::task::spawn_blocking(move || {
            let task = Task::Unpack {
                folder: files.into(),
                diff_id: job.diff_id.to_string(),
                is_applied,
            };
            work(&job.enter, &job.map, task, &job.cancel, |stream| {
                while let Some(chunk) = chunks.blocking_recv() {
                    stream.write_all(&chunk)?;
                }
                Ok(())
            })
        });
        let mut failed = None;
        while let Some(chunk) = content.next().await {
            match chunk {
                // Bad content may be why nobody takes it, so all is read.
                Ok(chunk) => sender.send(chunk).await.unwrap_or_default(),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        drop(sender);
        let worked = working.await.map_err(io::Error::other)?;
        if let Some(error) = failed {
            return Err(fetch(error));
        }
        worked
            .map_err(RootfsError::Start)?
            .map_err(|problem| RootfsError::Layer {
                layer: self.layer.digest.clone(),
                problem,
            })
    }
}

/// How many bytes the files of the layer at `place` have, as far as it is known.
pub(super) fn size_of(place: &Path) -> u64 {
    let text = std::fs::read(place.join("layer.json")).unwrap_or_default();
    serde_json::from_slice(&text).map_or(0, |it: Known| it.bytes)
}

/// Makes a folder that the root of `map` may write to.
pub(super) fn make_root(folder: &Path, map: &UserMap) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    if *map == UserMap::Shifted
        && let Some(root) = map.outside(User { uid: 0, gid: 0 })
    {
        std::os::unix::fs::chown(folder, Some(root.uid), Some(root.gid))?;
    }
    Ok(())
}

/// Removes what lies at `place`, if something does: a folder with files of users that only the map
/// knows.
pub(super) async fn remove(
    place: &Path,
    enter: &[OsString],
    map: &UserMap,
    cancel: &Cancel,
) -> Result<(), RootfsError> {
    if !place.exists() {
        return Ok(());
    }
    let files = place.join("files");
    if files.is_dir() {
        let (enter, map, cancel) = (enter.to_vec(), map.clone(), cancel.clone());
        let folder = files.clone().into();
        let emptied = tokio::task::spawn_blocking(move || {
            work(&enter, &map, Task::Empty { folder }, &cancel, |_| Ok(()))
        });
        let emptied = emptied.await.map_err(io::Error::other)?;
        let emptied = emptied.map_err(RootfsError::Start)?;
        emptied.map_err(io::Error::other)?;
    }
    Ok(fs::remove_dir_all(place)?)
}
