//! The launcher: starts a process of an image in the environment that its layers give.
//!
//! 1. A process is selected by the name of the program, or made of the arguments.
//! 2. The working directory becomes the app's.
//! 3. Layers change the environment: `bin`, `lib`, then `env`, `env.launch`, `env.launch/<type>`.
//! 4. `exec.d` programs of layers change it further.
//! 5. The process takes the launcher's place, directly or by bash, which reads `profile.d` before.
//!
//! <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#launcher>
//!
//! What it shares with the phases lies here too: the versions of the [`api`]s, variables that come
//! from files ([`mod@env`]), the [`files`] that it reads, and Go's words for errors. The launcher is
//! copied into every image, so nothing here depends on more than that takes.

pub mod api;
pub mod env;
mod environment;
mod exec_d;
pub mod files;
mod folder;
mod lookup;
mod process;
mod shell;

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use go::files::join;
use go::words::{PathError, io_cause, quoted};
use nix::unistd::{chdir, execve};

pub use self::environment::EnvironmentError;
pub use self::exec_d::ExecDError;
pub use self::folder::FolderError;
pub use self::lookup::LookUpError;
pub use self::process::SelectError;

use self::process::Selected;
use crate::api::PlatformApi;
use crate::env::Env;
use crate::files::metadata::BuildMetadata;

/// What a launch needs to know.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "each field has to be given")]
pub struct LaunchContext {
    /// The Platform API that the image was exported at.
    pub platform_api: PlatformApi,
    /// `CNB_LAYERS_DIR`.
    pub layers: PathBuf,
    /// `CNB_APP_DIR`.
    pub app: PathBuf,
    /// `CNB_EXEC_ENV`.
    pub exec_env: String,
    /// The environment of the launcher itself.
    pub env: Env,
    /// Called before programs of layers run, which may send signals that are not to end the launcher.
    pub stay_alive: fn(),
}

/// Becomes the process that `argv0` names, or the command in `args`.
///
/// # Errors
///
/// When nothing could be started: it does not return otherwise.
pub fn launch(
    context: LaunchContext,
    metadata: &BuildMetadata,
    argv0: &OsStr,
    args: &[OsString],
) -> Result<Infallible, LaunchError> {
    let LaunchContext {
        platform_api,
        layers: layers_dir,
        app,
        exec_env,
        mut env,
        stay_alive,
    } = context;
    let mut is_alone = true;
    let process = process::select(metadata, platform_api, &exec_env, argv0, args)
        .map_err(LaunchError::Select)?;
    change_directory(&app).map_err(LaunchError::App)?;
    environment::remove_own(&mut env);
    let mut layers = Vec::new();
    for buildpack in metadata.buildpacks() {
        let folder = join(&layers_dir, buildpack.escaped_id());
        let found = folder::buildpack(&folder).map_err(|error| match error {
            FolderError::Stat(_) => LaunchError::Buildpack(error),
            FolderError::List { .. } => LaunchError::Layers(error),
        })?;
        let Some(found) = found else {
            continue;
        };
        environment::add_layers(&mut env, &found, &process.name)
            .map_err(LaunchError::Environment)?;
        layers.extend(found);
    }
    for layer in &layers {
        for folder in folder::with_process(layer, "exec.d", &process.name) {
            for program in folder::files(&folder).map_err(LaunchError::ExecDFolder)? {
                if is_alone {
                    stay_alive();
                    is_alone = false;
                }
                exec_d::run(&program, &mut env).map_err(LaunchError::ExecD)?;
            }
        }
    }

    let working_directory = if process.working_directory.is_empty() {
        app.clone()
    } else {
        PathBuf::from(&process.working_directory)
    };
    if process.direct {
        launch_directly(process, &working_directory, &env)
    } else {
        launch_by_shell(process, &working_directory, &env, &layers, &app, argv0)
    }
}

fn launch_directly(
    process: Selected,
    working_directory: &Path,
    env: &Env,
) -> Result<Infallible, LaunchError> {
    if has_nul(env.get("PATH")) {
        return Err(LaunchError::Path);
    }
    let Some(command) = process.command else {
        return Err(LaunchError::NoCommand {
            process: process.name,
        });
    };
    let search = env.get("PATH");
    let program = lookup::look_up(&command, search).map_err(LaunchError::LookUp)?;
    change_directory(working_directory).map_err(LaunchError::WorkingDirectory)?;
    let mut arguments = vec![command];
    arguments.extend(process.args);
    replace(&program, &arguments, env).map_err(|error| {
        LaunchError::Direct(ExecError {
            cause: io_cause(&error),
        })
    })
}

fn launch_by_shell(
    process: Selected,
    working_directory: &Path,
    env: &Env,
    layers: &[PathBuf],
    app: &Path,
    argv0: &OsStr,
) -> Result<Infallible, LaunchError> {
    let mut profiles = Vec::new();
    for layer in layers {
        for folder in folder::with_process(layer, "profile.d", &process.name) {
            profiles.extend(folder::files(&folder).map_err(LaunchError::Profiles)?);
        }
    }
    let profile = join(app, ".profile");
    match fs::metadata(&profile) {
        Ok(it) if it.is_dir() => {}
        Ok(_) => profiles.push(app.join(".profile")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let source = PathError::new("stat", &profile, &error);
            return Err(LaunchError::AppProfile { profile, source });
        }
    }
    if let Some(buildpack) = process.stranger.clone()
        && !process.args.is_empty()
    {
        return Err(LaunchError::Stranger {
            process: process.name,
            buildpack,
        });
    }
    let arguments = shell::arguments(process, &profiles, working_directory, argv0);
    replace(Path::new(shell::BASH), &arguments, env).map_err(|error| {
        LaunchError::Bash(ExecError {
            cause: io_cause(&error),
        })
    })
}

fn change_directory(path: &Path) -> Result<(), PathError> {
    chdir(path).map_err(|errno| PathError::new("chdir", path, &io::Error::from(errno)))
}

/// Becomes `program`. Comes back with the reason when that is not possible.
///
/// This is `execve` and not std's `exec`, which hands a file that is no program to a shell.
fn replace(program: &Path, arguments: &[OsString], env: &Env) -> io::Result<Infallible> {
    let path = exec_d::c_string(program.as_os_str())?;
    let arguments: Vec<CString> = arguments
        .iter()
        .map(|it| exec_d::c_string(it))
        .collect::<Result<_, _>>()?;
    let environment = exec_d::c_environment(env)?;
    execve(&path, &arguments, &environment).map_err(io::Error::from)
}

/// What no process can be given.
fn has_nul(text: &OsStr) -> bool {
    text.as_bytes().contains(&0)
}

/// Nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// There is nothing to start.
    #[error("determine start command")]
    Select(#[source] SelectError),
    /// The app's folder is not there.
    #[error("change to app directory")]
    App(#[source] PathError),
    /// A layer's variables cannot be read.
    #[error("modify env")]
    Environment(#[source] EnvironmentError),
    /// The folder of a buildpack cannot be looked at.
    #[error("modify env")]
    Buildpack(#[source] FolderError),
    /// The layers of a buildpack cannot be listed.
    #[error("modify env: add layer root")]
    Layers(#[source] FolderError),
    /// The programs of a layer cannot be listed.
    #[error("exec.d")]
    ExecDFolder(#[source] FolderError),
    /// The scripts of a layer cannot be listed.
    #[error("find profiles")]
    Profiles(#[source] FolderError),
    /// The app's own script cannot be looked at.
    #[error(
        "find profiles: failed to determine if app profile script exists at path '{}'",
        profile.display()
    )]
    AppProfile {
        /// Where it would be.
        profile: PathBuf,
        /// Why not.
        source: PathError,
    },
    /// A program of a layer failed.
    #[error("exec.d")]
    ExecD(#[source] ExecDError),
    /// `PATH` has a NUL byte.
    #[error("set path: setenv: invalid argument")]
    Path,
    /// The process has no command.
    #[error("no command provided for process type {}", quoted(process.as_bytes()))]
    NoCommand {
        /// The process type.
        process: String,
    },
    /// A process of the shell is of a buildpack that is not in the image.
    #[error("process type '{process}' provided by unknown buildpack '{buildpack}'")]
    Stranger {
        /// The process type.
        process: String,
        /// The buildpack.
        buildpack: String,
    },
    /// The program is not there.
    #[error("path lookup")]
    LookUp(#[source] LookUpError),
    /// The process's working directory is not there.
    #[error("change directory")]
    WorkingDirectory(#[source] PathError),
    /// The system refused to execute the program.
    #[error("direct exec")]
    Direct(#[source] ExecError),
    /// There is no shell.
    #[error("bash exec")]
    Bash(#[source] ExecError),
}

/// The system refused to execute a program.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{cause}")]
#[non_exhaustive]
pub struct ExecError {
    /// Why, in Go's words.
    pub cause: String,
}
