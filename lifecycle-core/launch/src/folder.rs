//! What lies in the folders of layers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use go::words::PathError;

/// The folder of a buildpack, with those of its layers by name: folders, not links to folders. `None`
/// when there is no such buildpack.
pub(super) fn buildpack(folder: &Path) -> Result<Option<Vec<PathBuf>>, FolderError> {
    match fs::metadata(folder) {
        Ok(_) => entries(folder, true).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FolderError::Stat(PathError::new("stat", folder, &error))),
    }
}

/// The files in `folder` by name; none when there is no such folder.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    entries(folder, false)
}

/// The folder `name` of a layer, and the one in it for `process`.
pub(super) fn with_process(layer: &Path, name: &str, process: &str) -> Vec<PathBuf> {
    let folder = layer.join(name);
    let of_process = (!process.is_empty()).then(|| go::files::join(&folder, process));
    [Some(folder), of_process].into_iter().flatten().collect()
}

/// The folders, or all else, in `folder` by name; none when there is no such folder.
fn entries(folder: &Path, are_dirs: bool) -> Result<Vec<PathBuf>, FolderError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type().is_ok_and(|it| it.is_dir()) == are_dirs {
                paths.push(entry.path());
            }
        }
        Ok(paths)
    };
    match list() {
        Ok(mut paths) => {
            paths.sort();
            Ok(paths)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(FolderError::List {
            folder: folder.to_owned(),
            source: PathError::new("open", folder, &error),
        }),
    }
}

/// What lies in a folder is not known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The folder of a buildpack cannot be looked at.
    #[error("find buildpack directory")]
    Stat(#[source] PathError),
    /// It cannot be listed.
    #[error("failed to list files in dir '{}'", folder.display())]
    List {
        /// Which.
        folder: PathBuf,
        /// Why not.
        source: PathError,
    },
}
