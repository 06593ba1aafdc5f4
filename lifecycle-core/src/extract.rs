//! Brings layers of an earlier build back into the layers directory.
//!
//! What comes from a cache or a registry is not trusted: nothing is put outside of the layers
//! directory, no link is followed, and nothing is in its place before all of it has been checked
//! against its digest.

use std::fs::{File, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use futures_util::StreamExt as _;
use oci::{Algorithm, Descriptor, DiffId, Hasher, Store, StoreError};
use tar::EntryType;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Chunks that wait between network and disk.
const WAITING: usize = 8;

/// The layers directory.
#[derive(Clone, Debug)]
pub(crate) struct LayersDir {
    path: PathBuf,
    /// What layers call it.
    name: PathBuf,
}

impl LayersDir {
    /// The layers directory `path`, where images call `root` `/`.
    pub(crate) fn below(root: &Path, path: &Path) -> Self {
        Self {
            name: Path::new("/").join(path.strip_prefix(root).unwrap_or(path)),
            path: path.to_owned(),
        }
    }
}

/// Extracts the layer `target` of `store`, gzip or not.
pub(crate) async fn blob(
    store: &dyn Store,
    target: &Descriptor,
    diff_id: &DiffId,
    layers_dir: &LayersDir,
) -> Result<(), ExtractError> {
    let mut content = store.fetch(target).await.map_err(ExtractError::Store)?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let (diff_id, layers_dir) = (diff_id.clone(), layers_dir.clone());
    let extracting = tokio::task::spawn_blocking(move || {
        let mut incoming = BufReader::new(Incoming {
            chunk: Bytes::new(),
            receiver,
        });
        let is_gzip = incoming
            .fill_buf()
            .map_err(ExtractError::Read)?
            .starts_with(&[0x1f, 0x8b]);
        if is_gzip {
            layer(MultiGzDecoder::new(incoming), &diff_id, &layers_dir)
        } else {
            layer(incoming, &diff_id, &layers_dir)
        }
    });
    let mut failed = None;
    while let Some(chunk) = content.next().await {
        match chunk {
            Ok(chunk) => {
                if sender.send(chunk).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    drop(sender);
    let extracted = match extracting.await {
        Ok(extracted) => extracted,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    match failed {
        Some(error) => Err(ExtractError::Store(error)),
        None => extracted,
    }
}

/// Reads chunks as they come from elsewhere.
struct Incoming {
    chunk: Bytes,
    receiver: mpsc::Receiver<Bytes>,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let count = self.chunk.len().min(buffer.len());
        let taken = self.chunk.split_to(count);
        if let Some(place) = buffer.get_mut(..count) {
            place.copy_from_slice(&taken);
        }
        Ok(count)
    }
}

/// Extracts the plain layer in `file`.
pub(crate) fn file(
    file: &Path,
    diff_id: &DiffId,
    layers_dir: &LayersDir,
) -> Result<(), ExtractError> {
    let file = File::open(file).map_err(ExtractError::Read)?;
    layer(
        BufReader::with_capacity(256 << 10, file),
        diff_id,
        layers_dir,
    )
}

/// Extracts the layer `content`, and replaces what it brings: `<buildpack>/<layer>`, or `sbom/…`.
fn layer(content: impl Read, diff_id: &DiffId, layers_dir: &LayersDir) -> Result<(), ExtractError> {
    let staging = tempfile::Builder::new()
        .prefix(".restore.")
        .tempdir_in(&layers_dir.path)
        .map_err(|source| ExtractError::write(&layers_dir.path, source))?;
    let mut content = Hashed {
        inner: content,
        hasher: Hasher::new(Algorithm::Sha256),
    };
    let mut unpacking = Unpacking {
        staging,
        layers_dir,
        folders: Vec::new(),
    };
    let unpacked = unpacking.unpack(&mut content);
    // The digest says more than the error that it explains.
    io::copy(&mut content, &mut io::sink()).map_err(ExtractError::Read)?;
    let presented = DiffId(content.hasher.finish());
    if presented != *diff_id {
        return Err(ExtractError::OtherContent {
            expected: diff_id.clone(),
            presented,
        });
    }
    unpacked?;
    unpacking.commit()
}

struct Hashed<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// A folder that mirrors the layers directory.
struct Unpacking<'a> {
    staging: TempDir,
    layers_dir: &'a LayersDir,
    /// Folders that get their mode at the end: it may forbid to write into them.
    folders: Vec<(PathBuf, u32)>,
}

impl Unpacking<'_> {
    fn unpack(&mut self, content: impl Read) -> Result<(), ExtractError> {
        let mut archive = tar::Archive::new(content);
        let entries = archive.entries().map_err(ExtractError::Read)?;
        for entry in entries {
            let mut entry = entry.map_err(ExtractError::Read)?;
            let name = entry.path().map_err(ExtractError::Read)?.into_owned();
            let kind = entry.header().entry_type();
            if kind == EntryType::XGlobalHeader {
                continue;
            }
            let Some(relative) = below(&name, &self.layers_dir.name) else {
                continue;
            };
            let mode = entry.header().mode().map_err(ExtractError::Read)? & 0o7777;
            let target = self.staging.path().join(&relative);
            let failed = |source| ExtractError::write(&name, source);
            // No entry is put below a link: parents are real folders, or the entry fails.
            self.make_parents(&relative).map_err(failed)?;
            match kind {
                EntryType::Directory => {
                    match std::fs::create_dir(&target) {
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                        made => made.map_err(failed)?,
                    }
                    self.folders.push((relative, mode));
                }
                EntryType::Regular | EntryType::Continuous => {
                    let mut file = File::create_new(&target).map_err(failed)?;
                    io::copy(&mut entry, &mut file).map_err(failed)?;
                    file.flush().map_err(failed)?;
                    file.set_permissions(Permissions::from_mode(mode))
                        .map_err(failed)?;
                }
                EntryType::Symlink => {
                    let link = entry.link_name().map_err(ExtractError::Read)?;
                    symlink(link.unwrap_or_default(), &target).map_err(failed)?;
                }
                _ => {
                    return Err(ExtractError::UnknownType {
                        path: name,
                        kind: kind.as_byte(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Makes the folders above `relative`; a link among them is an error.
    fn make_parents(&self, relative: &Path) -> io::Result<()> {
        let mut path = self.staging.path().to_owned();
        for part in relative.parent().into_iter().flat_map(Path::components) {
            path.push(part);
            match std::fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    std::fs::create_dir(&path)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Moves what was unpacked to its place: of each buildpack its layers, of `sbom` its kinds.
    fn commit(self) -> Result<(), ExtractError> {
        let list = |folder: &Path| -> io::Result<Vec<PathBuf>> {
            std::fs::read_dir(folder)?
                .map(|entry| entry.map(|it| it.path()))
                .collect()
        };
        let failed = |source| ExtractError::write(&self.layers_dir.path, source);
        for owner in list(self.staging.path()).map_err(failed)? {
            let target = self
                .layers_dir
                .path
                .join(owner.file_name().unwrap_or_default());
            std::fs::create_dir_all(&target)
                .map_err(|source| ExtractError::write(&target, source))?;
            for layer in list(&owner).map_err(failed)? {
                let target = target.join(layer.file_name().unwrap_or_default());
                replace(&layer, &target).map_err(|source| ExtractError::write(&target, source))?;
            }
        }
        // Only now: a folder that forbids to write into it could not have been moved.
        for (path, mode) in self.folders.iter().rev() {
            let target = self.layers_dir.path.join(path);
            // The folders of buildpacks are not the layer's.
            if path.components().count() > 1 {
                std::fs::set_permissions(&target, Permissions::from_mode(*mode))
                    .map_err(|source| ExtractError::write(&target, source))?;
            }
        }
        Ok(())
    }
}

fn replace(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(to) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(to)?,
        Ok(_) => std::fs::remove_file(to)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    std::fs::rename(from, to)
}

/// What `name`, an absolute path in an archive, is below `folder`. `None` for what is not below.
fn below(name: &Path, folder: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::from("/");
    for part in name.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let relative = clean.strip_prefix(folder).ok()?;
    (relative != Path::new("")).then(|| relative.to_owned())
}

/// Why a layer could not be restored. The texts are upstream's where it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// It is not the layer that it should be.
    #[error("expected layer contents to have SHA '{expected}'; found '{presented}'")]
    OtherContent {
        /// The diffID that was recorded.
        expected: DiffId,
        /// What was found.
        presented: DiffId,
    },
    /// The archive could not be read.
    #[error("failed to read the layer")]
    Read(#[source] io::Error),
    /// The store did not give the layer.
    #[error(transparent)]
    Store(StoreError),
    /// No layer of a buildpack has such entries.
    #[error("unknown file type in tar {kind}: {}", path.display())]
    UnknownType {
        /// The entry.
        path: PathBuf,
        /// Its type, as tar has it.
        kind: u8,
    },
    /// The file system failed.
    #[error("failed to restore `{}`", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ExtractError {
    fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use oci::Digest;

    use super::*;

    struct Maker(tar::Builder<Vec<u8>>);

    impl Maker {
        fn new() -> Self {
            Self(tar::Builder::new(Vec::new()))
        }

        fn add(mut self, name: &str, kind: EntryType, content: &str) -> Self {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(if kind == EntryType::Directory {
                0o555
            } else {
                0o640
            });
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            let is_link = kind == EntryType::Symlink;
            if is_link {
                header.set_link_name_literal(content).unwrap();
            }
            let content = if is_link { "" } else { content };
            header.set_size(content.len() as u64);
            header.set_cksum();
            self.0.append(&header, content.as_bytes()).unwrap();
            self
        }

        fn extract(self, layers: &Path) -> Result<(), ExtractError> {
            let bytes = self.0.into_inner().unwrap();
            layer(
                &bytes[..],
                &DiffId(Digest::of(&bytes)),
                &LayersDir::below(Path::new("/"), layers),
            )
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_layer_is_put_in_its_place_with_its_modes() {
        let folder = tempfile::tempdir().unwrap();
        let layers = folder.path();
        let name = |path: &str| format!("{}/{path}", layers.display());
        std::fs::create_dir_all(layers.join("bp/l/old")).unwrap();
        Maker::new()
            .add(&name(""), EntryType::Directory, "")
            .add(&name("bp/l"), EntryType::Directory, "")
            .add(&name("bp/l/f"), EntryType::Regular, "content")
            .add(&name("bp/l/link"), EntryType::Symlink, "/etc")
            .extract(layers)
            .unwrap();
        assert_eq!(names(layers), ["bp"]);
        assert_eq!(names(&layers.join("bp/l")), ["f", "link"]);
        let mode = |path: &str| layers.join(path).metadata().unwrap().permissions().mode();
        assert_eq!(mode("bp/l") & 0o7777, 0o555);
        assert_eq!(mode("bp/l/f") & 0o7777, 0o640);
        assert_eq!(
            std::fs::read_link(layers.join("bp/l/link")).unwrap(),
            Path::new("/etc")
        );
    }

    #[test]
    fn nothing_leaves_the_layers_directory() {
        let folder = tempfile::tempdir().unwrap();
        let layers = folder.path().join("layers");
        std::fs::create_dir(&layers).unwrap();
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let inside = |path: &str| format!("{}/{path}", layers.display());
        Maker::new()
            .add(&inside("../outside/x"), EntryType::Regular, "x")
            .add(
                &outside.join("y").display().to_string(),
                EntryType::Regular,
                "x",
            )
            .extract(&layers)
            .unwrap();
        let through_link = Maker::new()
            .add(
                &inside("bp/l"),
                EntryType::Symlink,
                &outside.display().to_string(),
            )
            .add(&inside("bp/l/x"), EntryType::Regular, "x")
            .extract(&layers);
        assert!(matches!(through_link, Err(ExtractError::Write { .. })));
        let over_link = Maker::new()
            .add(
                &inside("bp/l"),
                EntryType::Symlink,
                &outside.join("z").display().to_string(),
            )
            .add(&inside("bp/l"), EntryType::Regular, "x")
            .extract(&layers);
        assert!(matches!(over_link, Err(ExtractError::Write { .. })));
        let device = Maker::new()
            .add(&inside("bp/d"), EntryType::Char, "")
            .extract(&layers);
        assert!(matches!(device, Err(ExtractError::UnknownType { .. })));
        assert!(names(&outside).is_empty());
        assert!(names(&layers).is_empty());
    }

    #[test]
    fn what_is_not_what_was_recorded_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let other = layer(
            &b"not a tar"[..],
            &DiffId(Digest::of(b"")),
            &LayersDir::below(Path::new("/"), folder.path()),
        );
        assert!(matches!(other, Err(ExtractError::OtherContent { .. })));
        let no_tar = layer(
            &[7; 600][..],
            &DiffId(Digest::of(&[7; 600])),
            &LayersDir::below(Path::new("/"), folder.path()),
        );
        assert!(matches!(no_tar, Err(ExtractError::Read(_))));
        assert!(names(folder.path()).is_empty());
    }
}
