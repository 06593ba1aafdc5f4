//! SBOMs of layers, which lie apart in images and caches, where buildpacks had them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{RestoreContext, RestoreError, remove};
use crate::files;
use crate::files::group::GroupElement;

/// Puts the SBOMs of layers beside the layers, where buildpacks had them.
///
/// Not of those that are lost.
pub(super) fn restore(
    context: &RestoreContext<'_>,
    is_lost: impl Fn(&GroupElement, &OsStr) -> bool,
) -> Result<(), RestoreError> {
    let sboms = context.layers_dir.join("sbom");
    let put = put_beside(context, &sboms, is_lost);
    // What stays for want of a right to remove it is for the builder to find.
    remove(&sboms).ok();
    put
}

fn put_beside(
    context: &RestoreContext<'_>,
    sboms: &Path,
    is_lost: impl Fn(&GroupElement, &OsStr) -> bool,
) -> Result<(), RestoreError> {
    for kind in ["cache", "launch"] {
        for buildpack in &context.group.group {
            let target = context.layers_dir.join(buildpack.escaped_id());
            let of_kind = sboms.join(kind);
            // Layers and SBOMs come from wherever the image or the cache does, with links in them.
            if ![&*target, sboms, &*of_kind].into_iter().all(is_folder) {
                continue;
            }
            for layer in list(&of_kind.join(buildpack.escaped_id()))? {
                if layer.file_name().is_some_and(|it| is_lost(buildpack, it)) {
                    continue;
                }
                for file in list(&layer)? {
                    let (Some(layer), Some(name)) = (layer.file_name(), file.file_name()) else {
                        continue;
                    };
                    let mut beside = layer.to_owned();
                    beside.push(".");
                    beside.push(name);
                    copy(&file, &target.join(beside))?;
                }
            }
        }
    }
    Ok(())
}

/// Copies an SBOM. Neither is read from a link nor written through one.
fn copy(file: &Path, beside: &Path) -> Result<(), RestoreError> {
    if !std::fs::symlink_metadata(file).is_ok_and(|it| it.is_file()) {
        return Ok(());
    }
    let bytes = std::fs::read(file).map_err(|source| RestoreError::sbom(file, source))?;
    if std::fs::symlink_metadata(beside).is_ok_and(|it| it.is_symlink()) {
        std::fs::remove_file(beside).map_err(|source| RestoreError::sbom(beside, source))?;
    }
    files::write_bytes(beside, &bytes).map_err(RestoreError::SbomFile)
}

/// Whether it is a folder, and not a link to one, which would lead elsewhere.
fn is_folder(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|it| it.is_dir())
}

/// What is in `folder`; nothing, if it is not a folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>, RestoreError> {
    if !is_folder(folder) {
        return Ok(Vec::new());
    }
    std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|it| it.path())).collect())
        .map_err(|source| RestoreError::sbom(folder, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sbom_is_not_written_through_a_link_nor_read_from_one() {
        let room = tempfile::tempdir().unwrap();
        let path = |name: &str| room.path().join(name);
        std::fs::write(path("sbom"), "new").unwrap();
        std::fs::write(path("other"), "mine").unwrap();
        std::os::unix::fs::symlink(path("other"), path("beside")).unwrap();
        copy(&path("sbom"), &path("beside")).unwrap();
        assert_eq!(std::fs::read(path("beside")).unwrap(), b"new");
        assert_eq!(std::fs::read(path("other")).unwrap(), b"mine");
        std::os::unix::fs::symlink(path("other"), path("link")).unwrap();
        copy(&path("link"), &path("copied")).unwrap();
        assert!(!path("copied").exists());
        assert!(is_folder(room.path()) && !is_folder(&path("link")));
    }
}
