//! The environment that layers give to a process.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

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
        env.add_root(layer, LAUNCH_DIRS);
    }
    for layer in layers {
        let of_launch = layer.join("env.launch");
        let of_process = (!process.is_empty()).then(|| of_launch.join(process));
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

/// The variables of a layer cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// A file in an `env` folder.
    #[error("add layer env: apply env files from dir '{}'", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What failed.
        source: EnvError,
    },
}
