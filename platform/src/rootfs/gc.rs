//! Frees layers that nobody uses.
//!
//! A lock is also when its layer was used last. Locks stay: whoever waits for one has it open.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::layer::{lock_of, open_lock, remove, size_of};
use super::{RootStore, RootfsError, check_private};
use crate::sandbox::UserMap;

/// What was freed, and what was not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct FreedLayers {
    /// How many layers.
    pub layers: u64,
    /// How many bytes their files had.
    pub bytes: u64,
    /// How many stay: they are in use, or were a while ago.
    pub kept: u64,
    /// How many stay because their files belong to users that whoever runs us has no more.
    pub foreign: u64,
    /// What could not be freed, and why.
    pub problems: Vec<String>,
}

/// What there is to say of one layer.
enum Freed {
    Bytes(u64),
    Kept,
}

impl RootStore {
    /// Frees all layers that nobody uses, and nobody has used since `before`. A store that is not there
    /// has none; one that no build would use is an error.
    pub async fn collect(&self, before: SystemTime) -> Result<FreedLayers, RootfsError> {
        let mut freed = FreedLayers::default();
        if !self.folder.exists() {
            return Ok(freed);
        }
        check_private(&self.folder)?;
        for folder in folders(&self.folder)? {
            let places = check_private(&folder).and_then(|()| folders(&folder));
            let places = match places {
                Ok(places) => places,
                Err(error) => {
                    freed.problems.push(error.to_string());
                    continue;
                }
            };
            let map = name(&folder).and_then(UserMap::named);
            for place in places {
                let Some(hex) = name(&place).map(|it| it.trim_end_matches(".new")) else {
                    continue;
                };
                let is_ours = hex.len() == 64 && hex.bytes().all(|it| it.is_ascii_hexdigit());
                if !is_ours {
                    continue;
                }
                let Some(map) = &map else {
                    freed.foreign += 1;
                    continue;
                };
                let lock = lock_of(&folder, hex);
                match self.free(&place, &lock, map, before).await {
                    Ok(Freed::Kept) => freed.kept += 1,
                    Ok(Freed::Bytes(bytes)) => {
                        freed.layers += 1;
                        freed.bytes += bytes;
                    }
                    Err(error) => {
                        let problem =
                            format!("`{}`: {}", place.display(), go::words::chain(&error));
                        freed.problems.push(problem);
                    }
                }
            }
        }
        Ok(freed)
    }

    async fn free(
        &self,
        place: &Path,
        lock: &Path,
        map: &UserMap,
        before: SystemTime,
    ) -> Result<Freed, RootfsError> {
        let lock = open_lock(lock)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Freed::Kept),
            Err(error) => return Err(io::Error::from(error).into()),
        }
        // Whoever used it until now has noted that.
        if lock.metadata()?.modified()? > before {
            return Ok(Freed::Kept);
        }
        let bytes = size_of(place);
        remove(place, &self.enter, map, &self.cancel).await?;
        Ok(Freed::Bytes(bytes))
    }
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// The folders in `folder`; none, if it is not there.
fn folders(folder: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::time::Duration;

    use lifecycle_core::exec::Cancel;

    use super::super::Layers;
    use super::*;
    use crate::sandbox::User;

    struct Fixture {
        _folder: tempfile::TempDir,
        store: RootStore,
        layer: PathBuf,
        lock: PathBuf,
    }

    /// A store with a layer that has no files, so that nobody has to enter anything to remove it.
    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("roots");
        let map = UserMap::One(User { uid: 1, gid: 1 });
        let map = store.join(map.name());
        let layer = map.join("a".repeat(64));
        fs::create_dir_all(&layer).unwrap();
        for it in [&store, &map] {
            fs::set_permissions(it, Permissions::from_mode(0o700)).unwrap();
        }
        Fixture {
            _folder: folder,
            store: RootStore {
                folder: store,
                enter: vec!["/nowhere/enter".into()],
                cancel: Cancel::default(),
            },
            lock: lock_of(&map, &"a".repeat(64)),
            layer,
        }
    }

    fn later() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 34)
    }

    /// Has the layer used long ago; the time is a bit later.
    fn long_ago(lock: &File) -> SystemTime {
        let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        lock.set_modified(past).unwrap();
        past + Duration::from_secs(1000)
    }

    #[tokio::test]
    async fn a_layer_that_is_in_use_stays() {
        let it = fixture();
        let held = open_lock(&it.lock).unwrap();
        flock(&held, FlockOperation::LockShared).unwrap();
        let freed = it.store.collect(later()).await.unwrap();
        assert_eq!((freed.kept, freed.layers), (1, 0));
        assert!(it.layer.exists());
        drop(held);
        let freed = it.store.collect(later()).await.unwrap();
        assert_eq!((freed.kept, freed.layers), (0, 1));
        assert!(!it.layer.exists());
    }

    #[tokio::test]
    async fn a_layer_was_used_last_when_its_build_ended() {
        let it = fixture();
        let lock = open_lock(&it.lock).unwrap();
        let before = long_ago(&lock);
        drop(Layers {
            folders: Vec::new(),
            unpacked: 0,
            devices: 0,
            locks: vec![lock],
        });
        let freed = it.store.collect(before).await.unwrap();
        assert_eq!((freed.kept, freed.layers), (1, 0));
        let before = long_ago(&open_lock(&it.lock).unwrap());
        let freed = it.store.collect(before).await.unwrap();
        assert_eq!((freed.kept, freed.layers), (0, 1));
    }

    #[tokio::test]
    async fn a_store_that_no_build_would_use_is_left_alone() {
        let it = fixture();
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        mode(&it.store.folder, 0o777).unwrap();
        assert!(it.store.collect(later()).await.is_err());
        mode(&it.store.folder, 0o700).unwrap();
        mode(it.layer.parent().unwrap(), 0o777).unwrap();
        let freed = it.store.collect(later()).await.unwrap();
        assert_eq!((freed.layers, freed.problems.len()), (0, 1));
        assert!(it.layer.exists() && !it.lock.exists());
    }

    #[tokio::test]
    async fn what_cannot_be_freed_is_told_and_the_others_are_freed() {
        let it = fixture();
        let other = it.layer.with_file_name("0".repeat(64));
        fs::create_dir_all(other.join("files/usr")).unwrap();
        let foreign = it.store.folder.join("subordinate-1-1-0");
        fs::create_dir_all(foreign.join("b".repeat(64))).unwrap();
        fs::set_permissions(&foreign, Permissions::from_mode(0o700)).unwrap();
        let freed = it.store.collect(later()).await.unwrap();
        assert_eq!((freed.layers, freed.foreign), (1, 1));
        assert_eq!(freed.problems.len(), 1, "{freed:?}");
        assert!(!it.layer.exists() && other.exists());
        // Nothing is made where nothing can be freed.
        assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
        let mut nowhere = it.store.clone();
        nowhere.folder = it.layer.join("nowhere");
        assert_eq!(
            nowhere.collect(later()).await.unwrap(),
            FreedLayers::default()
        );
    }
}
