//! What commands of extensions made, kept in the app's cache for its later builds.
//!
//! ```text
//! extensions/<hex>/<key>.json       what a command made, as the extender writes it
//! extensions/<hex>/<digest>         a layer
//! ```
//!
//! The hexadecimal number stands for all that had a say in what commands do: the image, the extensions by
//! their digests, the network. Whoever is root in an image while it is extended can write what it
//! likes to where the extender keeps layers; so a build that has other extensions uses none of it. For
//! the same reason no command ever sees the cache as a folder that it can write to: what was kept is
//! mounted to be read, and what is new is taken over when all has ended.
//!
//! A lock is held by all who use what is below `extensions`, and alone by who frees some of it.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use lifecycle_core::extend::LayerCache;
use lifecycle_core::provenance::Named as Ingredient;
use oci::Digest;
use rustix::fs::{FlockOperation, Mode, OFlags, ResolveFlags, flock, openat2};
use rustix::io::Errno;
use serde_json::json;

use super::{CachePlace, Request};

/// Below the cache of an app.
const FOLDER: &str = "extensions";
/// How long a layer is used: as kaniko has it, two weeks.
const TTL: Duration = Duration::from_hours(14 * 24);
/// The most bytes of layers that are kept for an app; the oldest go first.
const MAX_BYTES: u64 = 4 << 30;

/// Layers that may be used in this build, and a place for those that it makes.
#[derive(Debug)]
pub(super) struct KeptLayers {
    cache: LayerCache,
    _lock: File,
}

impl KeptLayers {
    /// Those of commands in `image`, the run image or that of the builder by its `kind`, for a build
    /// with these extensions; nothing, if nothing is kept in a folder.
    pub(super) fn open(
        request: &Request<'_>,
        kind: &str,
        image: &Digest,
        extensions: &[Ingredient],
    ) -> io::Result<Option<Self>> {
        match request.cache {
            Some(CachePlace::Folder(folder)) => {
                Self::open_in(folder, request, kind, image, extensions).map(Some)
            }
            // Whoever restores says that it cannot be used.
            Some(CachePlace::Usual(folder)) => {
                Ok(Self::open_in(folder, request, kind, image, extensions).ok())
            }
            Some(CachePlace::Image(_)) | None => Ok(None),
        }
    }

    fn open_in(
        folder: &Path,
        request: &Request<'_>,
        kind: &str,
        image: &Digest,
        extensions: &[Ingredient],
    ) -> io::Result<Self> {
        let root = folder.join(FOLDER);
        make(&root)?;
        let lock = File::open(&root)?;
        let extensions: Vec<_> = extensions.iter().map(|it| (&it.name, &it.digest)).collect();
        let all = json!([kind, image, request.network.name(), extensions]);
        let folder = root.join(Digest::of(all.to_string().as_bytes()).hex());
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            if request.clear_cache && folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            free(&root, request.now, TTL, MAX_BYTES)?;
        }
        flock(&lock, FlockOperation::LockShared)?;
        make(&folder)?;
        Ok(Self {
            cache: LayerCache {
                folder,
                also: None,
                ttl: TTL,
                now: request.now,
            },
            _lock: lock,
        })
    }

    /// The folder, to be read.
    pub(super) fn folder(&self) -> &Path {
        &self.cache.folder
    }

    /// Takes over what the extender kept in the folder `new` of `work`. Commands may have put a link in
    /// place of any part of it, to wherever on this machine: that is refused.
    pub(super) fn take(&self, work: &Path, new: &str) -> Result<(), String> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = rustix::fs::open(work, flags, Mode::empty())
            .and_then(|it| openat2(it, new, flags, Mode::empty(), how));
        let opened = match opened {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened.map_err(|error| {
                let error = io::Error::from(error);
                format!("failed to open `{}`: {error}", work.join(new).display())
            })?,
        };
        let from = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string());
        let taken = self.cache.adopt(&from, MAX_BYTES);
        taken.map_err(|error| go::words::chain(&error))
    }
}

/// Makes a folder that users of an image can read.
fn make(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// Frees what is older than `ttl`, and then the oldest until no more than `limit` bytes are left.
fn free(root: &Path, now: SystemTime, ttl: Duration, limit: u64) -> io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for folder in fs::read_dir(root)? {
        let folder = folder?.path();
        if !fs::symlink_metadata(&folder)?.is_dir() {
            continue;
        }
        for file in fs::read_dir(&folder)? {
            let file = file?;
            let found = file.metadata()?;
            files.push((found.modified()?, found.len(), file.path()));
        }
    }
    // The newest first.
    files.sort_by(|one, other| other.cmp(one));
    let mut bytes: u64 = 0;
    for (modified, size, path) in files {
        bytes = bytes.saturating_add(size);
        let age = now.duration_since(modified).unwrap_or_default();
        if age > ttl || bytes > limit {
            fs::remove_file(path)?;
        }
    }
    for folder in fs::read_dir(root)? {
        // Those with something in them stay.
        std::fs::remove_dir(folder?.path()).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_over_lies_where_the_extender_kept_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let good = |path: &str| {
            fs::create_dir_all(at(path)).unwrap();
            let name = format!("{}.json", Digest::of(b"key").hex());
            fs::write(at(path).join(name), r#"{"created":0,"layer":null}"#).unwrap();
        };
        fs::create_dir(at("kept")).unwrap();
        let kept = KeptLayers {
            cache: LayerCache {
                folder: at("kept"),
                also: None,
                ttl: TTL,
                now: SystemTime::UNIX_EPOCH,
            },
            _lock: File::open(folder.path()).unwrap(),
        };
        let count = || fs::read_dir(at("kept")).unwrap().count();
        let new = "cache/layers/sealpack";
        // Another's, which a command had links lead to.
        good("other/layers/sealpack");
        for (link, target) in [
            ("cache", "other"),
            ("cache/layers", "other/layers"),
            (new, "other/layers/sealpack"),
        ] {
            let work = tempfile::tempdir_in(folder.path()).unwrap();
            let link = work.path().join(link);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            fs::os::unix::fs::symlink(at(target), &link).unwrap();
            let refused = kept.take(work.path(), new).unwrap_err();
            assert!(refused.contains("failed to open"), "{refused}");
            assert_eq!(count(), 0, "{}", link.display());
        }
        // Nothing was kept, or something.
        fs::create_dir(at("work")).unwrap();
        kept.take(&at("work"), new).unwrap();
        assert_eq!(count(), 0);
        good("work/cache/layers/sealpack");
        kept.take(&at("work"), new).unwrap();
        assert_eq!(count(), 1);
    }

    #[test]
    fn what_is_old_or_too_much_is_freed() {
        let root = tempfile::tempdir().unwrap();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (name, age) in [
            ("a/old", 100),
            ("b/new", 1),
            ("b/older", 2),
            ("b/oldest", 3),
        ] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, [0; 10]).unwrap();
            let file = File::options().append(true).open(&path).unwrap();
            file.set_modified(start - Duration::from_secs(age)).unwrap();
        }
        free(root.path(), start, Duration::from_secs(10), 25).unwrap();
        assert!(!root.path().join("a").exists());
        let is_there = |name: &str| root.path().join("b").join(name).exists();
        assert_eq!(
            ["new", "older", "oldest"].map(is_there),
            [true, true, false]
        );
    }
}
