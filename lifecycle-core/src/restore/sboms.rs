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
            if !target.is_dir() {
                continue;
            }
            for layer in list(&sboms.join(kind).join(buildpack.escaped_id()))? {
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
                    let is_plain =
                        |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|it| it.is_file());
                    if is_plain(&file) {
                        let bytes = std::fs::read(&file)
                            .map_err(|source| RestoreError::sbom(&file, source))?;
                        files::write_bytes(&target.join(beside), &bytes)
                            .map_err(RestoreError::SbomFile)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// What is in `folder`; nothing, if it is not a folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>, RestoreError> {
    // A link would lead elsewhere.
    if !std::fs::symlink_metadata(folder).is_ok_and(|it| it.is_dir()) {
        return Ok(Vec::new());
    }
    std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|it| it.path())).collect())
        .map_err(|source| RestoreError::sbom(folder, source))
}
