//! A cache in a folder, as upstream lays it out.
//!
//! ```text
//! committed/io.buildpacks.lifecycle.cache.metadata   JSON
//! committed/sha256:<hex>.tar                         the layers
//! staging/                                           what the next build shall find
//! committed-backup/                                  while the two change places
//! ```

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use go::words::PathError;
use oci::layer::{Layer, Plain};
use oci::{Algorithm, DiffId, Hasher};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempPath;

use super::notes::Notes;
use super::{CacheError, UnreadableMetadata};
use crate::extract::ExtractError;
use crate::files::{OsError, write_bytes};
use crate::labels::{CACHE_METADATA, CacheMetadata, cache_metadata, read_cache_metadata};
use crate::{Level, Log};

/// The most that is read of metadata: 64 MiB. Real ones have a few kilobytes.
const MAX_METADATA: u64 = 64 << 20;

/// A cache in a folder. While there is this value, the folder is ours alone.
#[derive(Debug)]
pub struct DirectoryCache {
    folder: PathBuf,
    metadata: CacheMetadata,
    unreadable: Option<UnreadableMetadata>,
    notes: Notes,
    /// Locked until it is closed.
    _lock: File,
}

impl DirectoryCache {
    /// Opens the cache in `folder`, which has to be there. Waits while another build has it, and
    /// mends what one left that was broken off.
    pub fn open(folder: &Path, log: &dyn Log) -> Result<Self, CacheError> {
        fs::metadata(folder).map_err(|error| {
            CacheError::Volume(PathError::new("stat", folder, &error).to_string())
        })?;
        let lock = File::open(folder).map_err(|error| {
            // In the words of upstream, who opens it first to empty the staging folder. Nothing is
            // touched without the lock.
            let error = PathError::new("open", folder, &error);
            let staging = folder.join("staging");
            let staging = staging.display();
            CacheError::Volume(format!(
                "initializing staging directory '{staging}': {error}"
            ))
        })?;
        wait(&lock, folder, log)?;
        Self::mend(folder)?;
        let (metadata, unreadable) = match read_metadata(folder) {
            Ok(metadata) => (metadata, None),
            Err(error) => (CacheMetadata::default(), Some(error)),
        };
        Ok(Self {
            folder: folder.to_owned(),
            metadata,
            unreadable,
            notes: Notes::default(),
            _lock: lock,
        })
    }

    /// Where the layers of the cache in `folder` lie, each in a file `<diff ID>.tar`.
    pub fn layers_below(folder: &Path) -> PathBuf {
        folder.join("committed")
    }

    /// What it says of its layers.
    pub(super) fn metadata(&self) -> &CacheMetadata {
        &self.metadata
    }

    /// The same, where it matters whether it can be read.
    pub(super) fn readable_metadata(&self) -> Result<&CacheMetadata, UnreadableMetadata> {
        match &self.unreadable {
            Some(error) => Err(error.clone()),
            None => Ok(&self.metadata),
        }
    }

    /// The path of a layer. Not checked.
    pub(super) fn layer(&self, diff_id: &DiffId) -> Result<PathBuf, CacheError> {
        let path = self.committed().join(file_name(diff_id));
        let sha = diff_id.to_string();
        match fs::metadata(&path) {
            Ok(_) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(CacheError::NoLayer { sha })
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(CacheError::Denied { sha })
            }
            Err(error) => Err(CacheError::Retrieve {
                sha,
                source: Box::new(CacheError::Stat(PathError::new("stat", &path, &error))),
            }),
        }
    }

    /// A layer, and where it is. Not checked.
    pub(super) fn open_layer(&self, diff_id: &DiffId) -> Result<(PathBuf, File), CacheError> {
        let path = self.layer(diff_id)?;
        let sha = diff_id.to_string();
        match File::open(&path) {
            Ok(file) => Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(CacheError::NoLayer { sha })
            }
            Err(_) => Err(CacheError::NotHad { sha }),
        }
    }

    /// Keeps a layer that the cache has, if it is what its name says.
    pub(crate) fn keep(&self, diff_id: &DiffId) -> Result<(), CacheError> {
        let (path, mut file) = self.open_layer(diff_id)?;
        let presented = hash(&mut file).map_err(|error| {
            CacheError::Extract(ExtractError::Hash(PathError::new("read", &path, &error)))
        })?;
        if presented != *diff_id {
            return Err(CacheError::Extract(ExtractError::OtherContent {
                expected: diff_id.clone(),
                presented,
            }));
        }
        self.link(diff_id)
    }

    /// Keeps a layer that the cache has, and that is known to be what its name says.
    pub(super) fn link(&self, diff_id: &DiffId) -> Result<(), CacheError> {
        let path = self.layer(diff_id)?;
        let target = self.staging().join(file_name(diff_id));
        match fs::hard_link(&path, &target) {
            // Two layers with the same content.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // Some file systems have no hard links.
            Err(_) => fs::copy(&path, &target).map(drop),
            Ok(()) => Ok(()),
        }
        .map_err(|source| CacheError::file("write", &target, source))
    }

    /// What the export found out of layers.
    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Where the tar of a layer is to be kept that the cache may have as `known`.
    pub(super) fn plain(&self, known: Option<&DiffId>) -> Plain {
        let known = known.map(|it| self.committed().join(file_name(it)));
        Plain::new(known.as_deref(), &self.staging())
    }

    /// Adds the layer `diff_id` whose tar is in `file`.
    pub(super) fn add_plain(&self, diff_id: &DiffId, file: TempPath) -> Result<(), CacheError> {
        let target = self.staging().join(file_name(diff_id));
        fs::set_permissions(&file, Permissions::from_mode(0o644))
            .and_then(|()| file.persist(&target).map_err(|error| error.error))
            .map_err(|source| CacheError::file("write", &target, source))
    }

    /// Where a new layer is to be written before it is [added](Self::add).
    pub(super) fn scratch(&self) -> PathBuf {
        self.staging().join("layer.tmp")
    }

    /// Adds a layer that was written, uncompressed, to [`scratch`](Self::scratch).
    pub(super) fn add(&self, layer: &Layer) -> Result<(), CacheError> {
        let target = self.staging().join(file_name(&layer.diff_id));
        fs::set_permissions(&layer.file, Permissions::from_mode(0o644))
            .and_then(|()| fs::rename(&layer.file, &target))
            .map_err(|source| CacheError::file("write", &target, source))
    }

    /// Adds a layer, uncompressed, whose file is still needed.
    pub(crate) fn add_copy(&self, layer: &Layer) -> Result<(), CacheError> {
        let target = self.staging().join(file_name(&layer.diff_id));
        match fs::copy(&layer.file, &target) {
            Ok(_) => fs::set_permissions(&target, Permissions::from_mode(0o644)),
            Err(error) => Err(error),
        }
        .map_err(|source| CacheError::file("write", &target, source))
    }

    /// The same as [`commit`](Self::commit), without metadata: of a launch cache the image has them.
    pub(crate) fn commit_layers(self) -> Result<(), CacheError> {
        self.replace()
    }

    /// Makes what was kept and added the content of the cache. Whoever looks after a crash finds the
    /// old content or the new.
    pub(super) fn commit(self, metadata: &CacheMetadata) -> Result<(), CacheError> {
        let mut text = cache_metadata(metadata).map_err(CacheError::Metadata)?;
        text.push('\n');
        let path = self.staging().join(CACHE_METADATA);
        write_bytes(&path, text.as_bytes())
            .map_err(|error| CacheError::file("write", &path, io::Error::other(error)))?;
        self.replace()
    }

    fn replace(self) -> Result<(), CacheError> {
        let (committed, backup) = (self.committed(), self.backup());
        let failed = |step, from: &Path, to: &Path, source| CacheError::Commit {
            step,
            from: from.to_owned(),
            to: to.to_owned(),
            source: OsError(source),
        };
        fs::rename(&committed, &backup)
            .map_err(|source| failed("backing up cache", &committed, &backup, source))?;
        let staging = self.staging();
        if let Err(source) = fs::rename(&staging, &committed) {
            // If this fails too, the next build does it.
            drop(fs::rename(&backup, &committed));
            return Err(failed("committing cache", &staging, &committed, source));
        }
        // What stays is in the way of the next build, which tells of it.
        go::files::remove_all(&backup).ok();
        Ok(())
    }

    /// Brings back what a broken-off commit moved away, and empties the staging folder.
    fn mend(folder: &Path) -> Result<(), CacheError> {
        let (committed, backup, staging) = (committed(folder), backup(folder), staging(folder));
        if !committed.exists() && backup.exists() {
            fs::rename(&backup, &committed)
                .map_err(|source| CacheError::file("replace", &committed, source))?;
        }
        let failed = |action: &str, path: &Path, error: PathError| {
            CacheError::Volume(format!("{action} '{}': {error}", path.display()))
        };
        go::files::remove_all(&staging)
            .and_then(|()| go::files::create_dir_all(&staging))
            .map_err(|error| failed("initializing staging directory", &staging, error))?;
        go::files::remove_all(&backup)
            .map_err(|error| failed("removing backup directory", &backup, error))?;
        go::files::create_dir_all(&committed)
            .map_err(|error| failed("creating committed directory", &committed, error))
    }

    fn committed(&self) -> PathBuf {
        committed(&self.folder)
    }

    fn backup(&self) -> PathBuf {
        backup(&self.folder)
    }

    fn staging(&self) -> PathBuf {
        staging(&self.folder)
    }
}

fn committed(folder: &Path) -> PathBuf {
    DirectoryCache::layers_below(folder)
}

fn backup(folder: &Path) -> PathBuf {
    folder.join("committed-backup")
}

fn staging(folder: &Path) -> PathBuf {
    folder.join("staging")
}

/// What the cache says of its layers. Malformed metadata count as empty: then all layers are made anew.
fn read_metadata(folder: &Path) -> Result<CacheMetadata, UnreadableMetadata> {
    let path = committed(folder).join(CACHE_METADATA);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(CacheMetadata::default());
        }
        Err(error) => {
            return Err(UnreadableMetadata {
                source: PathError::new("open", &path, &error),
            });
        }
    };
    let bytes = oci::read_at_most(&mut file, MAX_METADATA).ok().flatten();
    Ok(read_cache_metadata(&bytes.unwrap_or_default()).unwrap_or_default())
}

fn wait(lock: &File, folder: &Path, log: &dyn Log) -> Result<(), CacheError> {
    if flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(());
    }
    log.line(
        Level::Info,
        &format!(
            "Waiting for another build that uses the cache `{}`",
            folder.display()
        ),
    );
    flock(lock, FlockOperation::LockExclusive)
        .map_err(|error| CacheError::file("lock", folder, error.into()))
}

fn file_name(diff_id: &DiffId) -> String {
    format!("{diff_id}.tar")
}

fn hash(file: &mut File) -> io::Result<DiffId> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(DiffId(hasher.finish()));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use oci::Digest;
    use oci::layer::{self, Compression};

    use super::*;
    use crate::log::Silent;

    fn open(folder: &Path) -> DirectoryCache {
        DirectoryCache::open(folder, &Silent).unwrap()
    }

    fn metadata(sha: &str) -> CacheMetadata {
        let mut metadata = CacheMetadata::default();
        metadata.sbom.sha = sha.to_owned();
        metadata
    }

    fn add(cache: &DirectoryCache) -> DiffId {
        let empty = |_: &mut oci::tar::Writer<layer::Sink>| Ok::<(), io::Error>(());
        let layer = layer::write(&cache.scratch(), Compression::None, empty).unwrap();
        cache.add(&layer).unwrap();
        layer.diff_id
    }

    #[test]
    fn a_folder_that_cannot_be_locked_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let staged = folder.path().join("staging/layer.tmp");
        fs::create_dir(folder.path().join("staging")).unwrap();
        fs::write(&staged, "").unwrap();
        let allow = |mode| {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(folder.path(), permissions).unwrap();
        };
        allow(0o300);
        let opened = DirectoryCache::open(folder.path(), &Silent);
        allow(0o700);
        // Root may open it all the same.
        assert!(opened.is_ok() || staged.exists());
    }

    #[test]
    fn what_is_committed_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = open(folder.path());
        assert_eq!(*cache.metadata(), CacheMetadata::default());
        let diff_id = add(&cache);
        cache.commit(&metadata("x")).unwrap();

        let cache = open(folder.path());
        assert_eq!(*cache.metadata(), metadata("x"));
        cache.keep(&diff_id).unwrap();
        cache.keep(&diff_id).unwrap();
        cache.commit(&metadata("y")).unwrap();

        let cache = open(folder.path());
        assert!(cache.layer(&diff_id).is_ok());
        cache.commit(&metadata("z")).unwrap();
        let gone = open(folder.path()).layer(&diff_id);
        assert!(matches!(gone, Err(CacheError::NoLayer { .. })));
        assert!(!folder.path().join("committed-backup").exists());
    }

    #[test]
    fn a_broken_commit_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).commit(&metadata("x")).unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::rename(at("committed"), at("committed-backup")).unwrap();
        fs::create_dir(at("staging")).unwrap();
        fs::write(at("staging/half"), "").unwrap();
        let cache = open(folder.path());
        assert_eq!(*cache.metadata(), metadata("x"));
        assert!(!at("staging/half").exists());
    }

    #[test]
    fn only_layers_that_are_what_they_are_called_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = open(folder.path());
        let diff_id = DiffId(Digest::of(b"right"));
        fs::write(cache.committed().join(file_name(&diff_id)), "wrong").unwrap();
        assert!(matches!(
            cache.keep(&diff_id),
            Err(CacheError::Extract(ExtractError::OtherContent { .. }))
        ));
        fs::write(cache.committed().join(CACHE_METADATA), "nonsense").unwrap();
        drop(cache);
        assert_eq!(*open(folder.path()).metadata(), CacheMetadata::default());
    }

    #[test]
    fn a_second_build_waits() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        let path = folder.path().to_owned();
        let second = std::thread::spawn(move || open(&path).metadata().clone());
        std::thread::yield_now();
        first.commit(&metadata("first")).unwrap();
        assert_eq!(second.join().unwrap(), metadata("first"));
        assert!(matches!(
            DirectoryCache::open(Path::new("/nowhere"), &Silent),
            Err(CacheError::Volume(_))
        ));
    }
}
