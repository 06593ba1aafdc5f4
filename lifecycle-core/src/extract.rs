//! Brings layers of an earlier build back into the layers directory.
//!
//! What comes from a cache or a registry is not trusted: nothing is put outside of the layers
//! directory, no link is followed, and nothing is in its place before all of it has been checked
//! against its digest.

mod place;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use go::words::{PathError, io_cause};
use oci::{
    Descriptor, DiffId, ExtractOptions, ExtractRules, Links, Store, StoreError, extract,
    extract_layer,
};
use tempfile::TempDir;

pub use self::place::PutError;
use self::place::{list, open_mode};
use crate::files::OsError;

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

/// Extracts the layer `target` of `store`, compressed or not.
pub(crate) async fn blob(
    store: &dyn Store,
    target: &Descriptor,
    diff_id: &DiffId,
    layers_dir: &LayersDir,
) -> Result<(), ExtractError> {
    let staging = staging(layers_dir)?;
    let options = options(diff_id, layers_dir);
    let extracted = extract_layer(store, target, staging.path(), &options).await;
    extracted.map_err(|error| failed(error, &staging))?;
    let layers_dir = layers_dir.clone();
    let committing = tokio::task::spawn_blocking(move || commit(&staging, &layers_dir));
    match committing.await {
        Ok(committed) => committed,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Extracts the plain layer in `file`, which is at `path`.
pub(crate) fn file(
    file: File,
    path: &Path,
    diff_id: &DiffId,
    layers_dir: &LayersDir,
) -> Result<(), ExtractError> {
    layer(file, diff_id, layers_dir).map_err(|error| match error {
        // It is there, and cannot be read: a folder, say.
        ExtractError::Read(Unread::File(source)) if source.raw_os_error().is_some() => {
            ExtractError::Hash(PathError::new("read", path, &source))
        }
        error => error,
    })
}

/// Extracts the layer `content`, and puts what it brings in its place: `<buildpack>/<layer>`, or
/// `sbom/…`.
fn layer(content: impl Read, diff_id: &DiffId, layers_dir: &LayersDir) -> Result<(), ExtractError> {
    let staging = staging(layers_dir)?;
    let options = options(diff_id, layers_dir);
    let extracted = extract(content, staging.path(), &options);
    extracted.map_err(|error| failed(error, &staging))?;
    commit(&staging, layers_dir)
}

/// A folder that mirrors the layers directory.
fn staging(layers_dir: &LayersDir) -> Result<TempDir, ExtractError> {
    tempfile::Builder::new()
        .prefix(".restore.")
        .tempdir_in(&layers_dir.path)
        .map_err(|source| ExtractError::write(&layers_dir.path, source))
}

/// Only what is below the layers directory is of interest, and no entry is put below a link.
fn options(diff_id: &DiffId, layers_dir: &LayersDir) -> ExtractOptions {
    ExtractOptions {
        rules: ExtractRules::Lifecycle,
        links: Links::Refused,
        below: Some(layers_dir.name.clone()),
        diff_id: Some(diff_id.clone()),
        ..ExtractOptions::default()
    }
}

/// Sees to it that `staging` can be removed, whatever modes its folders have got.
fn failed(error: oci::ExtractError, staging: &TempDir) -> ExtractError {
    let mut folders = vec![staging.path().to_owned()];
    while let Some(folder) = folders.pop() {
        // What cannot be opened is left behind, and the error is of more interest.
        if open_mode(&folder).is_ok_and(|it| it.is_some()) {
            folders.extend(list(&folder).unwrap_or_default());
        }
    }
    ExtractError::of(error)
}

/// Moves what was unpacked to its place: of each buildpack its layers, of `sbom` its kinds. The
/// folders of buildpacks are not the layer's.
///
/// None of the two may be a link: what lies at its end would be moved, or written over.
fn commit(staging: &TempDir, layers_dir: &LayersDir) -> Result<(), ExtractError> {
    let failed = |source| ExtractError::write(&layers_dir.path, source);
    for owner in list(staging.path()).map_err(failed)? {
        let target = layers_dir.path.join(owner.file_name().unwrap_or_default());
        if open_mode(&owner).map_err(failed)?.is_none() {
            return Err(ExtractError::NoFolder { path: target });
        }
        make_folder(&target).map_err(|source| ExtractError::write(&target, source))?;
        for layer in list(&owner).map_err(failed)? {
            place::put(&layer, &target.join(layer.file_name().unwrap_or_default()))?;
        }
    }
    Ok(())
}

/// Makes a folder, also in place of a link: a buildpack may have left it.
fn make_folder(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink()) {
        std::fs::remove_file(path)?;
    }
    std::fs::create_dir_all(path)
}

/// Why a layer could not be restored. The texts are upstream's where it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The file of the layer cannot be read to its end.
    #[error("hashing layer")]
    Hash(#[source] PathError),
    /// Where the folder of a buildpack belongs it has a file or a link.
    #[error("{} is not a folder in the layer", path.display())]
    NoFolder {
        /// Which.
        path: PathBuf,
    },
    /// It is not the layer that it should be.
    #[error("expected layer contents to have SHA '{expected}'; found '{presented}'")]
    OtherContent {
        /// The diffID that was recorded.
        expected: DiffId,
        /// What was found.
        presented: DiffId,
    },
    /// What is in the layer could not be put in its place.
    #[error(transparent)]
    Put(#[from] PutError),
    /// The archive could not be read.
    #[error("error extracting from archive")]
    Read(#[source] Unread),
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
        source: OsError,
    },
}

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unread {
    /// It ends too early.
    #[error("unexpected EOF")]
    Cut,
    /// The file system failed, or what it is compressed with is broken.
    #[error("{}", io_cause(.0))]
    File(io::Error),
    /// It is no archive.
    #[error("archive/tar: invalid tar header")]
    Header,
    /// The file system failed at a file.
    #[error(transparent)]
    Path(PathError),
    /// It is more than we read.
    #[error(transparent)]
    Refused(oci::ExtractError),
}

impl ExtractError {
    /// Whether what the layer is compressed with is broken, so that it cannot be what it should be.
    pub(crate) fn is_of_compression(&self) -> bool {
        matches!(self, Self::Read(Unread::File(error)) if error.raw_os_error().is_none())
    }

    fn of(error: oci::ExtractError) -> Self {
        match error {
            oci::ExtractError::OtherContent {
                expected,
                presented,
            } => Self::OtherContent {
                expected,
                presented,
            },
            oci::ExtractError::UnknownType { path, flag } => Self::UnknownType { path, kind: flag },
            oci::ExtractError::File { path, source, .. } => Self::write(&path, source),
            oci::ExtractError::Store(error) => Self::Store(error),
            oci::ExtractError::Read(error) => Self::Read(Unread::File(error)),
            oci::ExtractError::Malformed { problem } if problem.starts_with("it ends in") => {
                Self::Read(Unread::Cut)
            }
            oci::ExtractError::Malformed { .. } => Self::Read(Unread::Header),
            error => Self::Read(Unread::Refused(error)),
        }
    }

    fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source: OsError(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use oci::Digest;
    use tar::EntryType;

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
        std::fs::create_dir_all(layers.join("bp/there/old")).unwrap();
        Maker::new()
            .add(&name(""), EntryType::Directory, "")
            .add(&name("bp/there"), EntryType::Directory, "")
            .add(&name("bp/l"), EntryType::Directory, "")
            .add(&name("bp/l/f"), EntryType::Regular, "content")
            .add(&name("bp/l/link"), EntryType::Symlink, "/etc")
            .extract(layers)
            .unwrap();
        assert_eq!(names(layers), ["bp"]);
        assert_eq!(names(&layers.join("bp/l")), ["f", "link"]);
        assert_eq!(names(&layers.join("bp/there")), ["old"]);
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
    fn nothing_is_moved_or_written_through_a_link_in_place_of_a_buildpacks_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (layers, other) = (folder.path().join("layers"), folder.path().join("other"));
        for it in [&layers, &other] {
            std::fs::create_dir(it).unwrap();
        }
        std::fs::write(other.join("f"), "mine").unwrap();
        let name = |path: &str| format!("{}/{path}", layers.display());
        // In the layer.
        let refused = Maker::new()
            .add(
                &name("bp"),
                EntryType::Symlink,
                &other.display().to_string(),
            )
            .extract(&layers);
        assert!(matches!(refused, Err(ExtractError::NoFolder { .. })));
        assert_eq!(names(&other), ["f"]);
        // In the layers directory.
        std::os::unix::fs::symlink(&other, layers.join("bp")).unwrap();
        Maker::new()
            .add(&name("bp/l"), EntryType::Directory, "")
            .add(&name("bp/l/f"), EntryType::Regular, "content")
            .extract(&layers)
            .unwrap();
        assert_eq!(names(&other), ["f"]);
        assert_eq!(names(&layers.join("bp/l")), ["f"]);
    }

    #[test]
    fn a_file_that_only_looks_compressed_is_broken_and_a_folder_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let layers = LayersDir::below(Path::new("/"), folder.path());
        let path = folder.path().join("layer");
        std::fs::write(&path, [0x1f, 0x8b, 1, 2, 3]).unwrap();
        let of = |path: &Path| {
            let opened = File::open(path).unwrap();
            file(opened, path, &DiffId(Digest::of(b"")), &layers).unwrap_err()
        };
        let broken = of(&path);
        assert!(
            broken.is_of_compression() || matches!(broken, ExtractError::OtherContent { .. }),
            "{broken:?}"
        );
        assert!(matches!(of(folder.path()), ExtractError::Hash(_)));
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
