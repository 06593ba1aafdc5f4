//! `<layer>.toml`: what a layer is for.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::any::Any;
use super::group::is_false;
use super::{FileError, read_required};

/// The content of `<layers>/<buildpack>/<layer>.toml`.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#layer-content-metadata-toml>
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct LayerToml {
    /// What the layer is for.
    #[serde(skip_serializing_if = "LayerTypes::is_none")]
    pub types: LayerTypes,
    /// Whatever the buildpack wants to see again at the next build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Any>,
}

/// What a layer is for. Any combination is valid; none at all means that it is set aside.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct LayerTypes {
    /// Buildpacks that run later see it.
    #[serde(skip_serializing_if = "is_false")]
    pub build: bool,
    /// It goes into the image.
    #[serde(skip_serializing_if = "is_false")]
    pub launch: bool,
    /// It is kept for the next build.
    #[serde(skip_serializing_if = "is_false")]
    pub cache: bool,
}

impl LayerTypes {
    /// Whether the layer is for nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl LayerToml {
    /// Reads the file at `path`. One that is missing, as behind a link to nowhere, says nothing. Refuses
    /// types outside of the `types` table, where older buildpacks put them.
    pub fn read(path: &Path) -> Result<Self, LayerTomlError> {
        let read = |source| LayerTomlError::Read { source };
        let Some(layer) = super::read(path).map_err(read)? else {
            return Ok(Self::default());
        };
        // In these letters only, though fields are read in any.
        let keys: toml::Table = read_required(path).map_err(read)?;
        if ["build", "launch", "cache"]
            .iter()
            .any(|it| keys.contains_key(*it))
        {
            return Err(LayerTomlError::TypesOutsideTable {
                path: path.to_owned(),
            });
        }
        Ok(layer)
    }
}

/// Why `<layer>.toml` is no good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerTomlError {
    /// It cannot be read.
    #[error("failed to decode layer metadata file")]
    Read {
        /// Why not.
        source: FileError,
    },
    /// It has the form of Buildpack API 0.5.
    #[error("failed to decode layer metadata file: the launch, cache and build flags should be in the types table of {}", path.display())]
    TypesOutsideTable {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LayerToml, LayerTomlError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.toml");
        std::fs::write(&path, text).unwrap();
        LayerToml::read(&path)
    }

    #[test]
    fn types_are_read_from_their_table_only() {
        let layer = parse("[types]\nlaunch = true\n[metadata]\nk = 1\n").unwrap();
        assert!(layer.types.launch && !layer.types.build);
        assert!(layer.metadata.is_some());
        assert!(parse("[metadata]\n").unwrap().types.is_none());
        let missing = LayerToml::read(Path::new("/nowhere/x.toml")).unwrap();
        assert_eq!(missing, LayerToml::default());
        assert!(matches!(
            parse("launch = true\n"),
            Err(LayerTomlError::TypesOutsideTable { .. })
        ));
        assert!(parse("Launch = true\n").unwrap().types.is_none());
        assert!(matches!(
            parse("launch = true\n[types]\nlaunch = \"yes\"\n"),
            Err(LayerTomlError::Read { .. })
        ));
        assert!(matches!(
            parse("[types]\nlaunch = \"yes\"\n"),
            Err(LayerTomlError::Read { .. })
        ));
    }
}
