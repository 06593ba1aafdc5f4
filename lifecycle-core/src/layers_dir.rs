//! `<layers>/<buildpack>`: what a buildpack left there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::files::group::GroupElement;
use crate::files::layer::{LayerToml, LayerTomlError};
use crate::files::store::Store;
use crate::files::{self, FileError, OsError};
use crate::{Level, Log};

/// The folder of one buildpack.
#[derive(Debug)]
pub(crate) struct BuildpackDir {
    /// Its layers, sorted by name.
    pub(crate) layers: Vec<LayerDir>,
    /// What it wants to be told in the next build.
    pub(crate) store: Option<Store>,
}

/// One layer of a buildpack.
#[derive(Debug)]
pub(crate) struct LayerDir {
    /// Its name.
    pub(crate) name: String,
    /// `<buildpack>:<name>`.
    pub(crate) id: String,
    /// Its folder, which need not be there.
    pub(crate) path: PathBuf,
    /// What it is for.
    pub(crate) toml: Result<LayerToml, LayerTomlError>,
}

impl LayerDir {
    /// Whether there is a folder, and not only metadata.
    pub(crate) fn has_contents(&self) -> bool {
        self.path.exists()
    }

    /// The file beside the folder.
    pub(crate) fn toml_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".toml");
        path.into()
    }
}

impl BuildpackDir {
    /// Reads the folder of `buildpack` below `layers`; a missing one is empty.
    pub(crate) fn read(
        layers: &Path,
        buildpack: &GroupElement,
        log: &dyn Log,
    ) -> Result<Self, LayersDirError> {
        let folder = layers.join(buildpack.escaped_id());
        log.line(
            Level::Debug,
            &format!("Reading buildpack directory: {}", folder.display()),
        );
        let mut entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries
                .map(|entry| {
                    let entry = entry?;
                    let name = entry.file_name().to_string_lossy().into_owned();
                    Ok((name, entry.file_type()?.is_dir()))
                })
                .collect::<Result<Vec<_>, _>>(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
        .map_err(|source| LayersDirError::Open {
            path: folder.clone(),
            source: OsError(source),
        })?;
        entries.sort_unstable();
        for (name, _) in &entries {
            let text = format!("Reading buildpack directory item: {name}");
            log.line(Level::Debug, &text);
        }
        let mut dir = Self {
            layers: Vec::new(),
            store: None,
        };
        let mut names = BTreeSet::new();
        for (file, is_dir) in &entries {
            match file.strip_suffix(".toml") {
                // Each folder is a layer, whatever it is called.
                _ if *is_dir => drop(names.insert(file.as_str())),
                // The first three would be the buildpack's folder itself, or the one above.
                None | Some("" | "." | ".." | "launch" | "build") => {}
                Some("store") => {
                    let store = files::read(&folder.join(file));
                    dir.store = store.map_err(|source| LayersDirError::Store {
                        id: buildpack.id.clone(),
                        source: Box::new(source),
                    })?;
                }
                Some(name) => drop(names.insert(name)),
            }
        }
        for name in names {
            dir.layers.push(LayerDir {
                id: format!("{}:{name}", buildpack.id),
                path: folder.join(name),
                toml: LayerToml::read(&folder.join(format!("{name}.toml"))),
                name: name.to_owned(),
            });
        }
        Ok(dir)
    }
}

/// Why the folder of a buildpack could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayersDirError {
    /// It cannot be listed.
    #[error("open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: OsError,
    },
    /// `store.toml` is no good.
    #[error("failed decoding store.toml for buildpack \"{id}\"")]
    Store {
        /// Whose.
        id: String,
        /// Why.
        source: Box<FileError>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Silent;

    #[test]
    fn metadata_of_a_layer_that_would_be_the_folder_or_the_one_above_are_for_nothing() {
        let layers = tempfile::tempdir().unwrap();
        let folder = layers.path().join("a");
        std::fs::create_dir(&folder).unwrap();
        for name in [".toml", "..toml", "...toml", "real.toml"] {
            std::fs::write(folder.join(name), "[types]\nlaunch = true\n").unwrap();
        }
        let buildpack = GroupElement::new("a", "1");
        let dir = BuildpackDir::read(layers.path(), &buildpack, &Silent).unwrap();
        let names: Vec<_> = dir.layers.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["real"]);
    }
}
