//! The environment that layers give to a process.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use go::files::join;
use go::words::io_cause;
use nix::unistd::getcwd;

use crate::env::{Action, Env, EnvError, LAUNCH_DIRS};

/// What the launcher was told, and the process shall not see.
const OWN: [&str; 5] = [
    "CNB_APP_DIR",
    "CNB_DEPRECATION_MODE",
    "CNB_LAYERS_DIR",
    "CNB_PLATFORM_API",
    "CNB_PROCESS_TYPE",
];

/// Folders of the lifecycle on `PATH`: the launcher shall not find itself.
const OWN_PATH: [&[u8]; 2] = [b"/cnb/process", b"/cnb/lifecycle"];

/// Takes away what only the launcher needs.
pub(super) fn remove_own(env: &mut Env) {
    for name in OWN {
        env.remove(name);
    }
    if let Some(path) = env.vars().get(OsStr::new("PATH")) {
        let folders = path.as_bytes().split(|&byte| byte == b':');
        let kept: Vec<_> = folders.filter(|it| !OWN_PATH.contains(it)).collect();
        let kept = OsString::from_vec(kept.join(&b':'));
        env.set("PATH", kept);
    }
}

/// Lets the layers of a buildpack change `env`, for the process of this type: the folders of all of
/// them first, then the variables of each.
///
/// # Errors
///
/// When a file cannot be read.
pub(super) fn add_layers(
    env: &mut Env,
    layers: &[PathBuf],
    process: &str,
) -> Result<(), EnvironmentError> {
    for layer in layers {
        env.add_root(&absolute(layer)?, LAUNCH_DIRS)
            .map_err(EnvironmentError::Root)?;
    }
    for layer in layers {
        let of_launch = layer.join("env.launch");
        let of_process = (!process.is_empty()).then(|| join(&of_launch, process));
        for folder in [Some(layer.join("env")), Some(of_launch), of_process]
            .into_iter()
            .flatten()
        {
            env.add_dir(&folder, Action::Override)
                .map_err(|source| EnvironmentError::Folder { folder, source })?;
        }
    }
    Ok(())
}

/// `path` from the root on: `PATH` is looked through in other folders, too.
fn absolute(path: &Path) -> Result<PathBuf, EnvironmentError> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let working_directory = getcwd().map_err(|errno| EnvironmentError::WorkingDirectory {
        cause: io_cause(&io::Error::from(errno)),
    })?;
    Ok(join(&working_directory, path))
}

/// The variables of a layer cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// A folder of a layer cannot be looked at.
    #[error("add layer root")]
    Root(#[source] EnvError),
    /// It is not known where a relative folder lies.
    #[error("add layer root: getwd: {cause}")]
    WorkingDirectory {
        /// Why not.
        cause: String,
    },
    /// A file in an `env` folder.
    #[error("add layer env: apply env files from dir '{}'", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What failed.
        source: EnvError,
    },
}
