//! The layers that a buildpack left.

use std::fs;
use std::io;
use std::path::Path;

use super::{BuildError, BuiltLayer};
use crate::env::{Action, BUILD_DIRS, Env, EnvError};
use crate::files::OsError;
use crate::files::group::GroupElement;
use crate::files::layer::LayerToml;

/// The layers that a buildpack left, by name. One that is for nothing is set aside: its folder is
/// renamed to `<layer>.ignore`.
///
/// As upstream, this takes each `.toml` for a layer, also `launch.toml`, `build.toml`, `store.toml`.
pub(super) fn process_layers(
    dir: &Path,
    element: &GroupElement,
) -> Result<Vec<BuiltLayer>, BuildError> {
    let failed = || {
        |source| BuildError::LayersDir {
            path: dir.to_owned(),
            source: OsError(source),
        }
    };
    let entries = match fs::read_dir(dir) {
        // A buildpack may take its folder away.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed())?;
        let is_dir = entry.file_type().map_err(failed())?.is_dir();
        let name = entry.file_name();
        // `.toml` and `..toml` would name the folder of all layers.
        if let Some(name) = name.to_str().and_then(|it| it.strip_suffix(".toml"))
            && !is_dir
            && !matches!(name, "" | ".")
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    let mut layers = Vec::new();
    for name in names {
        let file = dir.join(format!("{name}.toml"));
        let layer = LayerToml::read(&file).map_err(|source| BuildError::Layer { source })?;
        let dir = dir.join(&name);
        if layer.types.is_none() {
            set_aside(&dir)?;
        }
        layers.push(BuiltLayer {
            buildpack: element.id.clone(),
            name,
            dir,
            types: layer.types,
        });
    }
    Ok(layers)
}

/// Renames a layer that is for nothing. As with Go's `os.Rename`, a folder of the new name is in the
/// way, even an empty one.
fn set_aside(dir: &Path) -> Result<(), BuildError> {
    let to = dir.with_added_extension("ignore");
    let is_taken = fs::symlink_metadata(&to).is_ok_and(|it| it.is_dir());
    let renamed = if is_taken && fs::symlink_metadata(dir).is_ok() {
        Err(io::Error::from_raw_os_error(nix::libc::EEXIST))
    } else {
        fs::rename(dir, &to)
    };
    match renamed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BuildError::SetAside {
            from: dir.to_owned(),
            to,
            source: OsError(error),
        }),
        _ => Ok(()),
    }
}

/// Adds what the layers give to the buildpacks that come after, one layer after the other.
pub(super) fn extend(env: &mut Env, layers: &[BuiltLayer]) -> Result<(), EnvError> {
    for layer in layers.iter().filter(|layer| layer.types.build) {
        env.add_root(&layer.dir, BUILD_DIRS)?;
        for folder in ["env", "env.build"] {
            let folder = layer.dir.join(folder);
            env.add_dir(&folder, Action::Override)
                .map_err(|source| EnvError::Apply {
                    folder,
                    source: Box::new(source),
                })?;
        }
    }
    Ok(())
}
