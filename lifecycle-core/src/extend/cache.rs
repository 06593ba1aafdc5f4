//! Layers of commands that were run before.
//!
//! `<folder>/<key>.json` says which layer a command made, if any; `<folder>/<digest>` has it. The key
//! is made of what decides what a command does: the layers below, the config, the arguments, the command
//! itself. So what came before counts by its result, and not by how it was written.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use oci::layer::Layer;
use oci::{Algorithm, Descriptor, DiffId, Digest, Hasher, MediaType};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Level, Log};

/// The most bytes of an entry.
const MAX_ENTRY: u64 = 64 << 10;

/// The most files that are looked at where somebody else kept layers.
const MAX_FILES: usize = 10_000;

/// A folder of layers, which several may use at once.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct LayerCache {
    /// Where layers are found, and kept.
    pub folder: PathBuf,
    /// Where they are found, too, if anywhere else.
    pub also: Option<PathBuf>,
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
    /// What the command of `key` made, if that is known. What is too old, or damaged, is not; of that
    /// `log` hears.
    pub(super) fn find(&self, key: &Digest, log: &dyn Log) -> Option<Made> {
        for folder in [Some(&self.folder), self.also.as_ref()]
            .into_iter()
            .flatten()
        {
            match self.read(folder, key) {
                Ok(Some(made)) => return Some(made),
                Ok(None) => {}
                Err(problem) => {
                    let text = format!("The cached layer is made anew: {problem}");
                    log.line(Level::Warn, &text);
                }
            }
        }
        None
    }

    fn read(&self, folder: &Path, key: &Digest) -> Result<Option<Made>, String> {
        let path = folder.join(entry_name(key));
        let damaged = |problem: &dyn fmt::Display| format!("`{}`: {problem}", path.display());
        let bytes = match open(&path, MAX_ENTRY) {
            Ok(file) => read_all(file).map_err(|error| damaged(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(damaged(&error)),
        };
        let entry: Entry = serde_json::from_slice(&bytes).map_err(|error| damaged(&error))?;
        if self.is_old(&entry) {
            return Ok(None);
        }
        let Some(layer) = entry.layer else {
            return Ok(Some(Made::Nothing));
        };
        let file = folder.join(layer.digest.hex());
        let found = match open_layer(folder, &layer) {
            // It made room for others.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.and_then(|it| copy(it, &mut io::sink())),
        };
        let found = found.map_err(|error| damaged(&format!("its layer: {error}")))?;
        if found != layer.digest {
            return Err(damaged(&format!(
                "its layer is {found}, not {}",
                layer.digest
            )));
        }
        Ok(Some(Made::Layer(Box::new(Layer {
            descriptor: Descriptor::new(MediaType::LAYER_GZIP, layer.digest, layer.size),
            diff_id: layer.diff_id,
            uncompressed_size: layer.uncompressed_size,
            file,
        }))))
    }

    fn is_old(&self, entry: &Entry) -> bool {
        let created = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(entry.created));
        created.is_none_or(|it| {
            let age = self.now.duration_since(it);
            age.is_ok_and(|age| age > self.ttl)
        })
    }

    /// Remembers what the command of `key` made.
    pub(super) fn keep(&self, key: &Digest, layer: Option<&Layer>) -> Result<(), CacheError> {
        let failed = |source| self.failed(source);
        fs::create_dir_all(&self.folder).map_err(failed)?;
        if let Some(layer) = layer {
            let digest = &layer.descriptor.digest;
            self.put(digest.hex(), |file| {
                io::copy(&mut File::open(&layer.file)?, file).map(drop)
            })
            .map_err(failed)?;
        }
        let entry = Entry {
            created: self.seconds(),
            layer: layer.map(|it| EntryLayer {
                digest: it.descriptor.digest.clone(),
                size: it.descriptor.size,
                diff_id: it.diff_id.clone(),
                uncompressed_size: it.uncompressed_size,
            }),
        };
        self.put_entry(&entry_name(key), &entry).map_err(failed)
    }

    /// Takes over what others kept in `from`, who may have left anything there. Nothing but layers that
    /// are what their entries say is taken, each as if it were made now, and no more than `limit` bytes of
    /// layers are looked at.
    pub fn adopt(&self, from: &Path, limit: u64) -> Result<(), CacheError> {
        let failed = |source| self.failed(source);
        let entries = match fs::read_dir(from) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let names = entries.flatten().map(|it| it.file_name());
        let names = names.filter_map(|it| it.into_string().ok());
        let mut names: Vec<String> = names.take(MAX_FILES).filter(|it| is_entry(it)).collect();
        names.sort();
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let mut left = limit;
        for name in names {
            let bytes = open(&from.join(&name), MAX_ENTRY).and_then(read_all);
            let Some(mut entry) = bytes.ok().and_then(|it| serde_json::from_slice(&it).ok()) else {
                continue;
            };
            let Entry { created, layer } = &mut entry;
            *created = self.seconds();
            if let Some(layer) = layer {
                let Some(rest) = left.checked_sub(layer.size) else {
                    continue;
                };
                let Ok(file) = open_layer(from, layer) else {
                    continue;
                };
                left = rest;
                let mut is_other = false;
                let taken = self.put(layer.digest.hex(), |new| {
                    is_other = copy(file, new)? != layer.digest;
                    if is_other {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    Ok(())
                });
                match taken {
                    Err(_) if is_other => continue,
                    taken => taken.map_err(failed)?,
                }
            }
            self.put_entry(&name, &entry).map_err(failed)?;
        }
        Ok(())
    }

    /// Forgets what is too old: entries, and layers that none has.
    pub fn prune(&self) {
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

    fn seconds(&self) -> u64 {
        let age = self.now.duration_since(SystemTime::UNIX_EPOCH);
        age.unwrap_or_default().as_secs()
    }

    fn failed(&self, source: io::Error) -> CacheError {
        CacheError {
            folder: self.folder.clone(),
            source,
        }
    }

    fn put_entry(&self, name: &str, entry: &Entry) -> io::Result<()> {
        self.put(name, |file| {
            serde_json::to_writer(file, entry).map_err(io::Error::from)
        })
    }

    /// Writes a file, which all may read: who made it may be another user than who uses it.
    fn put(&self, name: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".new.")
            .tempfile_in(&self.folder)?;
        fill(file.as_file_mut())?;
        file.as_file()
            .set_permissions(Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        let kept = file.persist(self.folder.join(name));
        kept.map(drop).map_err(|error| error.error)
    }
}

fn entry_name(key: &Digest) -> String {
    format!("{}.json", key.hex())
}

/// Whether that is the name of an entry.
fn is_entry(name: &str) -> bool {
    let hex = name.strip_suffix(".json").unwrap_or_default();
    hex.len() == 64
        && hex
            .bytes()
            .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

/// Opens the layer of an entry in `folder`. A file of another size is refused.
fn open_layer(folder: &Path, layer: &EntryLayer) -> io::Result<io::Take<File>> {
    let file = open(&folder.join(layer.digest.hex()), layer.size)?;
    let size = file.get_ref().metadata()?.len();
    if size != layer.size {
        let text = format!("it has {size} bytes, and not {}", layer.size);
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(file)
}

/// Opens a file of at most `limit` bytes; links and pipes are refused.
fn open(path: &Path, limit: u64) -> io::Result<io::Take<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if metadata.len() > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(file.take(limit))
}

fn read_all(mut from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map(|_count| bytes)
}

/// Copies, and says what it was.
fn copy(mut from: impl io::Read, to: &mut impl io::Write) -> io::Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = from.read(&mut buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        if read.is_empty() {
            return Ok(hasher.finish());
        }
        hasher.update(read);
        to.write_all(read)?;
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
    use super::super::tests::Lines;
    use super::*;

    #[test]
    fn what_was_made_is_found_as_long_as_it_is_good() {
        let log = Lines::default();
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
            also: None,
            ttl: Duration::from_secs(10),
            now: start + Duration::from_secs(seconds),
        };
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(at(0).find(&one, &log), None);
        at(0).keep(&one, Some(&layer)).unwrap();
        at(0).keep(&two, None).unwrap();
        assert_eq!(at(10).find(&two, &log), Some(Made::Nothing));
        let Some(Made::Layer(found)) = at(10).find(&one, &log) else {
            panic!("it is not found")
        };
        assert_eq!(found.descriptor, layer.descriptor);
        assert_eq!(at(11).find(&one, &log), None);
        // Others take it over as it is, and nothing that is not what it says.
        let elsewhere = LayerCache {
            folder: folder.path().join("elsewhere"),
            ..at(20)
        };
        let secret = folder.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let planted = |name: &str, digest: &Digest, size: u64| {
            let text = format!(
                r#"{{"created":0,"layer":{{"digest":"{digest}","size":{size},"diff_id":"{digest}","uncompressed_size":1}}}}"#
            );
            fs::write(at(0).folder.join(name), text).unwrap();
        };
        let (link, lie) = (Digest::of(b"secret"), Digest::of(b"lie"));
        std::os::unix::fs::symlink(&secret, at(0).folder.join(link.hex())).unwrap();
        fs::write(at(0).folder.join(lie.hex()), "truth").unwrap();
        planted(&entry_name(&Digest::of(b"3")), &link, 6);
        planted(&entry_name(&Digest::of(b"4")), &lie, 5);
        planted(&entry_name(&Digest::of(b"5")), &layer.descriptor.digest, 6);
        planted("other.json", &layer.descriptor.digest, 5);
        elsewhere.adopt(&at(0).folder, 10).unwrap();
        let mut taken: Vec<_> = fs::read_dir(&elsewhere.folder)
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        taken.sort();
        let mut expected = vec![
            layer.descriptor.digest.hex().to_owned(),
            entry_name(&one),
            entry_name(&two),
        ];
        expected.sort();
        assert_eq!(taken, expected);
        assert!(elsewhere.find(&one, &log).is_some());
        // Of layers no more is looked at than there is room for, also of those that are not taken.
        for limit in [4, 9] {
            let small = LayerCache {
                folder: folder.path().join(limit.to_string()),
                ..at(20)
            };
            small.adopt(&at(0).folder, limit).unwrap();
            let taken = fs::read_dir(&small.folder).unwrap();
            let taken: Vec<_> = taken.map(|it| it.unwrap().file_name()).collect();
            assert_eq!(taken, [entry_name(&two).as_str()], "{limit}");
        }
        let with_others = LayerCache {
            folder: folder.path().join("none"),
            also: Some(elsewhere.folder.clone()),
            ..at(20)
        };
        assert!(with_others.find(&one, &log).is_some());

        assert_eq!(log.lines(), Vec::<String>::new());
        fs::write(&found.file, "other").unwrap();
        assert_eq!(at(0).find(&one, &log), None);
        let said = log.lines();
        assert!(said[0].contains("is made anew"), "{said:?}");
        fs::remove_file(&found.file).unwrap();
        assert_eq!(at(0).find(&one, &log), None);
        assert_eq!(log.lines(), said);
        fs::write(&found.file, "other").unwrap();
        at(0).prune();
        assert_eq!(at(0).find(&two, &log), Some(Made::Nothing));
        let modified = fs::metadata(&found.file).unwrap().modified().unwrap();
        let late = LayerCache {
            now: modified + Duration::from_secs(11),
            ..at(0)
        };
        late.prune();
        assert_eq!(fs::read_dir(&late.folder).unwrap().count(), 0);
    }
}
