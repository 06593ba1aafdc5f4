//! What lies in the folders of layers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use go::words::PathError;

/// The layers of a buildpack by name: folders, not links to folders. None when there is no such
/// buildpack.
pub(super) fn layers(buildpack: &Path) -> Result<Vec<PathBuf>, PathError> {
    let mut layers = entries(buildpack)?;
    layers.retain(|it| it.symlink_metadata().is_ok_and(|it| it.is_dir()));
    Ok(layers)
}

/// The files in the folder `name` of each layer, and after them those in its folder for `process`.
pub(super) fn files(
    layers: &[PathBuf],
    name: &str,
    process: &str,
) -> Result<Vec<PathBuf>, PathError> {
    let mut files = Vec::new();
    for layer in layers {
        let folder = layer.join(name);
        let of_process = (!process.is_empty()).then(|| folder.join(process));
        for folder in [Some(folder), of_process].into_iter().flatten() {
            let mut found = entries(&folder)?;
            found.retain(|it| it.symlink_metadata().is_ok_and(|it| !it.is_dir()));
            files.append(&mut found);
        }
    }
    Ok(files)
}

/// The paths in `folder` by name; none when there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, PathError> {
    let list = || {
        let paths = fs::read_dir(folder)?.map(|it| it.map(|it| it.path()));
        paths.collect::<io::Result<Vec<_>>>()
    };
    match list() {
        Ok(mut paths) => {
            paths.sort();
            Ok(paths)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(PathError::new("open", folder, &error)),
    }
}
