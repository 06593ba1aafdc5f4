//! From modules to the folders that a build sees: `/cnb/buildpacks/<id>/<version>`, and the files
//! beside them that say in which order they are tried.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_core::files::{self, FileError};
use oci::{DiffId, Digest, ExtractError, ExtractOptions, HashReader, extract, extract_layer};
use tempfile::TempDir;

use super::module::{Content, LayerContent, Module, word};
use super::{Builder, BuilderSource};
use crate::source::{self, SourceError};

impl Builder {
    /// Writes what a build finds below `/cnb` to `folder`: `order.toml`, `run.toml`, `system.toml`,
    /// `build-config/env`, and copies of the buildpacks and extensions. They are copies so that what
    /// runs is what was hashed, whatever becomes of the folders meanwhile.
    ///
    /// Of a builder image, its own modules and variables stay where they are: in its root, over which
    /// this goes.
    ///
    /// Variables for other execution environments than `exec_env` (`production`, say) are left out.
    pub async fn lay_out(&self, folder: &Path, exec_env: &str) -> Result<(), LayOutError> {
        let write = |name: &str, bytes: &[u8]| files::write_bytes(&folder.join(name), bytes);
        files::write(&folder.join("order.toml"), &self.order)?;
        files::write(&folder.join("run.toml"), &self.run)?;
        if !self.system.system.pre.buildpacks.is_empty()
            || !self.system.system.post.buildpacks.is_empty()
        {
            files::write(&folder.join("system.toml"), &self.system)?;
        }
        let own = matches!(self.source, BuilderSource::File(_));
        for env in self.build_env.iter().filter(|_| own) {
            let all = env.exec_env.is_empty() || env.exec_env.iter().any(|it| it == "*");
            if !all && !env.exec_env.iter().any(|it| it == exec_env) {
                continue;
            }
            let name = format!("build-config/env/{}{}", env.name, env.suffix.extension());
            write(&name, env.value.as_bytes())?;
            if let Some(delim) = &env.delim {
                let name = format!("build-config/env/{}.delim", env.name);
                write(&name, delim.as_bytes())?;
            }
        }
        let all: Vec<&Module> = self.buildpacks.iter().chain(&self.extensions).collect();
        lay_out(&all, folder).await
    }
}

/// Puts the files of `modules` below `folder`, which is `/cnb` to a build. What lies in the root of a
/// builder image already is left there. Modules that share a layer are had from it at once.
async fn lay_out(modules: &[&Module], folder: &Path) -> Result<(), LayOutError> {
    let mut unpacked: Option<(DiffId, TempDir)> = None;
    // Those of one layer one after the other.
    let mut sorted: Vec<&Module> = modules.to_vec();
    sorted.sort_by_key(|it| match &it.content {
        Content::Layer(layer) => Some(layer.diff_id.clone()),
        _ => None,
    });
    for module in sorted {
        let place = module.place();
        let target = folder.join(place.strip_prefix("cnb").unwrap_or(&place));
        match &module.content {
            Content::Builder => {}
            Content::Folder(source) => copy(source, &target, module)?,
            Content::PlatformFolder {
                folder: source,
                descriptor,
            } => {
                source::copy(source, &target)?;
                let name = format!("{}.toml", word(module.kind));
                let bytes = fs::read(descriptor).map_err(LayOutError::Write)?;
                files::write_bytes(&target.join(name), &bytes)?;
                unchanged(source, source::digest(&target)?, module)?;
            }
            Content::Archive(archive) => unpack(archive, &target, module)?,
            Content::Layer(layer) => {
                let root = match &unpacked {
                    Some((diff_id, root)) if *diff_id == layer.diff_id => root,
                    _ => {
                        let root = unpack_layer(layer, folder).await?;
                        &unpacked.insert((layer.diff_id.clone(), root)).1
                    }
                };
                take(root.path(), &place, &target, module)?;
            }
        }
    }
    Ok(())
}

fn copy(folder: &Path, target: &Path, module: &Module) -> Result<(), LayOutError> {
    unchanged(folder, source::copy(folder, target)?, module)
}

/// Whether what was copied is what was read.
fn unchanged(from: &Path, presented: Digest, module: &Module) -> Result<(), LayOutError> {
    if presented == module.origin.digest {
        return Ok(());
    }
    Err(LayOutError::Changed {
        folder: from.to_owned(),
        expected: module.origin.digest.clone(),
        presented,
    })
}

fn unpack(archive: &Path, target: &Path, module: &Module) -> Result<(), LayOutError> {
    let failed = |source| LayOutError::Unpack {
        module: module.name().to_string(),
        source,
    };
    fs::create_dir_all(target).map_err(LayOutError::Write)?;
    let mut reader = HashReader::new(fs::File::open(archive).map_err(LayOutError::Write)?);
    extract(&mut reader, target, &ExtractOptions::default()).map_err(failed)?;
    let digest = reader.finish().map_err(LayOutError::Write)?;
    unchanged(archive, digest, module)
}

/// Unpacks a layer beside where its modules go, so that they need only be renamed.
async fn unpack_layer(layer: &LayerContent, folder: &Path) -> Result<TempDir, LayOutError> {
    fs::create_dir_all(folder).map_err(LayOutError::Write)?;
    let root = TempDir::with_prefix_in(".layer-", folder).map_err(LayOutError::Write)?;
    let options = ExtractOptions::default();
    let summary = extract_layer(&*layer.store, &layer.descriptor, root.path(), &options).await;
    let summary = summary.map_err(|source| LayOutError::Unpack {
        module: layer.diff_id.0.to_string(),
        source,
    })?;
    if summary.diff_id != layer.diff_id {
        return Err(LayOutError::Different {
            expected: layer.diff_id.clone(),
            presented: summary.diff_id,
        });
    }
    Ok(root)
}

/// Moves the folder of `module` out of an unpacked layer.
fn take(root: &Path, place: &Path, target: &Path, module: &Module) -> Result<(), LayOutError> {
    let mut from = root.to_owned();
    for name in place {
        from.push(name);
        // A link in the layer could lead anywhere.
        if !fs::symlink_metadata(&from).is_ok_and(|it| it.is_dir()) {
            return Err(LayOutError::NotThere {
                module: module.name().to_string(),
                place: place.to_owned(),
            });
        }
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(LayOutError::Write)?;
    }
    fs::rename(from, target).map_err(LayOutError::Write)
}

/// Why a builder could not be laid out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayOutError {
    /// A buildpack is not what it was when the builder was loaded.
    #[error(
        "the buildpack in `{}` has changed since it was read: expected {expected}, got {presented}",
        folder.display()
    )]
    Changed {
        /// Where it lies.
        folder: PathBuf,
        /// What it was.
        expected: Digest,
        /// What was copied.
        presented: Digest,
    },
    /// A layer is not what its label says.
    #[error(
        "a layer of a package is another than its label says: expected {expected}, got {presented}"
    )]
    Different {
        /// What the label says.
        expected: DiffId,
        /// What came.
        presented: DiffId,
    },
    /// A layer does not hold the module that a label says is in it.
    #[error("`{module}` is not at `{}` in its layer", place.display())]
    NotThere {
        /// Which module.
        module: String,
        /// Where it should be.
        place: PathBuf,
    },
    /// An archive or a layer could not be unpacked.
    #[error("failed to unpack `{module}`")]
    Unpack {
        /// Which module, or layer.
        module: String,
        /// Why.
        source: ExtractError,
    },
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder or file could not be read or made; the error says which.
    #[error(transparent)]
    Write(io::Error),
    /// A buildpack could not be copied.
    #[error(transparent)]
    Copy(#[from] SourceError),
}

#[cfg(test)]
mod tests;
