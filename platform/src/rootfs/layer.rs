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
use rustix::fs::{FlockOperation, OFlags, flock};
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
        let path = lock_of(&self.folder, self.hex());
        let locking = tokio::task::spawn_blocking(move || {
            let file = open_lock(&path)?;
            flock(&file, operation)?;
            used_now(&file)?;
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

/// The lock of the layer `hex` in `folder`.
pub(super) fn lock_of(folder: &Path, hex: &str) -> PathBuf {
    folder.join(format!("{hex}.lock"))
}

/// Opens a lock, which is made if it is not there. A link is not followed.
pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let opened = options.custom_flags(no_link).open(path);
    opened.map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))
}

/// Notes in a lock that its layer is used.
pub(super) fn used_now(lock: &File) -> io::Result<()> {
    let now = rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    let times = rustix::fs::Timestamps {
        last_access: now,
        last_modification: now,
    };
    Ok(rustix::fs::futimens(lock, &times)?)
}

/// How many bytes the files of the layer at `place` have, as far as it is known.
pub(super) fn size_of(place: &Path) -> u64 {
    let text = std::fs::read(place.join("layer.json")).unwrap_or_default();
    serde_json::from_slice(&text).map_or(0, |it: Known| it.bytes)
}

/// Makes a folder that the root of `map` may write to.
pub(super) fn make_root(folder: &Path, map: &UserMap) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    fs::create_dir_all(folder)?;
    // Whatever mask whoever runs us has: users of the map have to get there.
    fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
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
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(found) if found.is_dir() => {}
        found => {
            found?;
            return Ok(fs::remove_file(place)?);
        }
    }
    // What is removed halfway is not whole any more, and nobody is to take it for that.
    match fs::remove_file(place.join("layer.json")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let files = place.join("files");
    if fs::symlink_metadata(&files).is_ok_and(|it| it.is_dir()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_layer_that_is_removed_halfway_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("layer");
        fs::create_dir_all(place.join("files/usr")).unwrap();
        fs::write(place.join("layer.json"), "{}").unwrap();
        // Nothing can empty it.
        let nobody = ["/nowhere/enter".into()];
        let removed = remove(&place, &nobody, &UserMap::Real, &Cancel::default()).await;
        assert!(removed.is_err());
        assert!(place.join("files/usr").exists());
        assert!(!place.join("layer.json").exists());
    }

    #[tokio::test]
    async fn what_a_link_leads_to_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (place, other) = (folder.path().join("layer"), folder.path().join("other"));
        fs::create_dir_all(&place).unwrap();
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("file"), "").unwrap();
        fs::os::unix::fs::symlink(&other, place.join("files")).unwrap();
        fs::os::unix::fs::symlink(&other, folder.path().join("link")).unwrap();
        let nobody = ["/nowhere/enter".into()];
        for it in [&place, &folder.path().join("link")] {
            remove(it, &nobody, &UserMap::Real, &Cancel::default())
                .await
                .unwrap();
            assert!(fs::symlink_metadata(it).is_err());
        }
        assert!(other.join("file").exists());
    }

    #[test]
    fn the_root_of_a_layer_can_be_read_by_all_whatever_mask_there_is() {
        use std::os::unix::fs::PermissionsExt as _;

        // As it would be by a mask that gives nothing to others.
        let folder = tempfile::tempdir().unwrap();
        make_root(folder.path(), &UserMap::Real).unwrap();
        let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn a_lock_is_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let (lock, other) = (folder.path().join("x.lock"), folder.path().join("other"));
        fs::os::unix::fs::symlink(&other, &lock).unwrap();
        assert!(open_lock(&lock).is_err());
        assert!(!other.exists());
    }
}
