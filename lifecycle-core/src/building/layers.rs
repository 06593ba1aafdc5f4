use std::fs;
use std::io;
use std::path::Path;

use super::{BuildError, BuiltLayer, io_error};
use crate::env::{Action, BUILD_DIRS, Env, EnvError};
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
    let failed = || io_error("open", dir);
    let mut layers = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let is_dir = entry.file_type().map_err(failed())?.is_dir();
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|it| it.strip_suffix(".toml")) else {
            continue;
        };
        if is_dir {
            continue;
        }
        let layer =
            LayerToml::read(&entry.path()).map_err(|source| BuildError::Layer { source })?;
        let dir = dir.join(name);
        if layer.types.is_none() {
            set_aside(&dir)?;
        }
        layers.push(BuiltLayer {
            buildpack: element.id.clone(),
            name: name.to_owned(),
            dir,
            types: layer.types,
        });
    }
    layers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(layers)
}

fn set_aside(dir: &Path) -> Result<(), BuildError> {
    match fs::rename(dir, dir.with_added_extension("ignore")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("rename", dir)(error))
        }
        _ => Ok(()),
    }
}

/// Adds what the layers give to the buildpacks that come after.
pub(super) fn extend(env: &mut Env, layers: &[BuiltLayer]) -> Result<(), EnvError> {
    let layers = layers
        .iter()
        .filter(|layer| layer.types.build && layer.dir.is_dir());
    for layer in layers.clone() {
        env.add_root(&layer.dir, BUILD_DIRS);
    }
    for layer in layers {
        env.add_dir(&layer.dir.join("env"), Action::Override)?;
        env.add_dir(&layer.dir.join("env.build"), Action::Override)?;
    }
    Ok(())
}
