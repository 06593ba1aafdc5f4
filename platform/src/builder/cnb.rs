use std::path::{Path, PathBuf};

use lifecycle_core::files::group::escape_id;
use lifecycle_core::files::{self, FileError};
use oci::Digest;

use super::{Builder, Module};
use crate::source::{self, SourceError};

impl Builder {
    /// Writes what a build finds below `/cnb` to `folder`: `order.toml`, `run.toml`, `system.toml`,
    /// `build-config/env`, and copies of the buildpacks and extensions. They are copies so that what
    /// runs is what was hashed, whatever becomes of the folders meanwhile.
    ///
    /// Variables for other execution environments than `exec_env` (`production`, say) are left out.
    pub fn lay_out(&self, folder: &Path, exec_env: &str) -> Result<(), LayOutError> {
        let write = |name: &str, bytes: &[u8]| files::write_bytes(&folder.join(name), bytes);
        files::write(&folder.join("order.toml"), &self.order)?;
        files::write(&folder.join("run.toml"), &self.run)?;
        if !self.system.system.pre.buildpacks.is_empty()
            || !self.system.system.post.buildpacks.is_empty()
        {
            files::write(&folder.join("system.toml"), &self.system)?;
        }
        for env in &self.build_env {
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
        for module in &self.buildpacks {
            module.lay_out(&folder.join("buildpacks"))?;
        }
        for module in &self.extensions {
            module.lay_out(&folder.join("extensions"))?;
        }
        Ok(())
    }
}

impl Module {
    fn lay_out(&self, folder: &Path) -> Result<(), LayOutError> {
        let target = folder.join(escape_id(&self.id)).join(&self.version);
        let presented = source::copy(&self.folder, &target)?;
        if presented == self.digest {
            Ok(())
        } else {
            Err(LayOutError::Changed {
                folder: self.folder.clone(),
                expected: self.digest.clone(),
                presented,
            })
        }
    }
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
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A buildpack could not be copied.
    #[error(transparent)]
    Copy(#[from] SourceError),
}
