//! The programs that take part in a build, and how they run in the sandbox.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_core::exec::{Capped, Command, Exit, Output, Run as _, RunError as ExecError};
use lifecycle_core::files::OsError;
use oci::{Digest, HashReader};

use super::ground::{Ground, HOME, PROGRAMS};
use super::phases::Phases;
use super::volumes::{self, VolumeError};
use super::{CachePlace, EXEC_ENV, PhaseFailure, Request, RunError, Staging, Telemetry};
use crate::sandbox::{Config, Mount, Root, Sandbox, SandboxError};

/// The programs that take part in a build.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "who builds has to say all of it")]
pub struct Programs {
    /// The lifecycle: a program that is one when it is started by the name of a phase. It may be who
    /// builds.
    pub lifecycle: PathBuf,
    /// Who builds.
    pub sealpack: PathBuf,
    /// A program and arguments with which it does nothing but enter the sandbox.
    pub enter: Vec<OsString>,
}

impl Programs {
    /// Each program that ran, and its digest.
    pub fn digests(&self) -> Result<Vec<(&'static str, Digest)>, RunError> {
        let sealpack = digest(&self.sealpack)?;
        let lifecycle = if self.lifecycle == self.sealpack {
            sealpack.clone()
        } else {
            digest(&self.lifecycle)?
        };
        Ok(vec![("sealpack", sealpack), ("lifecycle", lifecycle)])
    }
}

/// The launcher that goes into an image.
#[derive(Clone)]
#[expect(clippy::exhaustive_enums, reason = "in a file or not")]
pub enum Launcher {
    /// `launcher` in this folder, with its SBOMs beside it.
    In(PathBuf),
    /// A program that whoever builds has in itself.
    Held(&'static [u8]),
}

impl Launcher {
    /// The folder where it lies: `scratch`, if it has to be written first.
    pub(super) fn folder(&self, scratch: &Path) -> io::Result<PathBuf> {
        match self {
            Self::In(folder) => Ok(folder.clone()),
            Self::Held(bytes) => {
                fs_err::create_dir_all(scratch)?;
                let path = scratch.join("launcher");
                fs_err::write(&path, bytes)?;
                fs_err::set_permissions(path, Permissions::from_mode(0o755))?;
                Ok(scratch.to_owned())
            }
        }
    }
}

impl fmt::Debug for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(folder) => f.debug_tuple("In").field(folder).finish(),
            Self::Held(bytes) => f.debug_tuple("Held").field(&bytes.len()).finish(),
        }
    }
}

pub(super) fn digest(path: &Path) -> Result<Digest, RunError> {
    Ok(HashReader::new(fs_err::File::open(path)?).finish()?)
}

/// Puts the programs of ours where the sandbox has them.
pub(super) fn take_programs(request: &Request<'_>, staging: &Staging) -> Result<(), RunError> {
    // A copy, so that what runs is what was there at the beginning.
    let programs = staging.root().join("cnb/lifecycle");
    fs_err::create_dir_all(&programs)?;
    let lifecycle = &request.programs.lifecycle;
    fs_err::copy(lifecycle, programs.join("lifecycle"))?;
    for name in ["detector", "builder", "extender"] {
        fs_err::os::unix::fs::symlink("lifecycle", programs.join(name))?;
    }
    // Whoever builds may be somebody else, and has to be able to read all of it.
    for folder in ["cnb", "platform"] {
        make_readable(&staging.root().join(folder))?;
    }
    Ok(())
}

/// What the user lets buildpacks see, if they may.
pub(super) fn volumes(
    request: &Request<'_>,
    staging: &Staging,
    root: &Root,
) -> Result<Vec<Mount>, VolumeError> {
    let mut hidden = request.hidden.to_vec();
    // Whoever writes there decides what later builds find.
    let cache = request.cache.and_then(CachePlace::folder);
    hidden.extend(cache.map(Path::to_owned));
    hidden.extend(request.roots.map(Path::to_owned));
    // What the build itself runs, and makes.
    hidden.extend(staging.folders().map(Path::to_owned));
    let on_machine = matches!(root, Root::Machine);
    let check = |volume| volumes::check(volume, &hidden, on_machine);
    request.volumes.iter().map(check).collect()
}

/// Opens the sandbox.
pub(super) fn open_sandbox(request: &Request<'_>, ground: &Ground) -> Result<Sandbox, RunError> {
    let opened = Sandbox::new(Config {
        enter: request.programs.enter.clone(),
        mounts: ground.mounts.clone(),
        needs_mounts: !request.volumes.is_empty(),
        root: ground.root.clone(),
        hidden: request.hidden.to_vec(),
        interpreter: request.interpreter.cloned(),
        network: request.network,
        isolation: request.isolation,
        cancel: request.cancel.clone(),
    });
    match opened {
        Err(SandboxError::NoMounts) => Err(VolumeError::NoSandbox.into()),
        opened => Ok(opened?),
    }
}

fn make_readable(path: &Path) -> io::Result<()> {
    let metadata = fs_err::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let readable = if metadata.is_dir() || mode & 0o111 != 0 {
        mode | 0o555
    } else {
        mode | 0o444
    };
    if readable != mode {
        fs_err::set_permissions(path, Permissions::from_mode(readable))?;
    }
    if metadata.is_dir() {
        for entry in fs_err::read_dir(path)? {
            make_readable(&entry?.path())?;
        }
    }
    Ok(())
}

/// How a program in the sandbox ended, and what it printed.
pub(super) struct Ended {
    pub(super) exit: Exit,
    text: Vec<u8>,
}

impl Ended {
    /// All that it printed.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).trim().to_owned()
    }

    /// Says that a phase failed, with the end of what it printed.
    pub(super) fn failed(&self, failure: PhaseFailure, what: impl Into<String>) -> RunError {
        const LINES: usize = 20;
        /// One line may be long, too.
        const BYTES: usize = 8 << 10;
        let end = self.text.len().saturating_sub(BYTES);
        let text = String::from_utf8_lossy(self.text.get(end..).unwrap_or_default());
        let lines: Vec<_> = text.trim_end().lines().collect();
        let from = lines.len().saturating_sub(LINES);
        RunError::Phase {
            what: what.into(),
            failure,
            output: lines.get(from..).unwrap_or_default().join("\n"),
        }
    }
}

/// The file among the layers in which our builder says which buildpack builds.
pub(super) const BUILDING: &str = "building";

impl Phases<'_> {
    /// Runs the lifecycle in the sandbox. What it prints is shown only if `shown`.
    pub(super) async fn lifecycle(
        &self,
        name: &str,
        args: Vec<OsString>,
        shown: bool,
    ) -> Result<Ended, RunError> {
        let folder = match self.ground.root {
            Root::Machine => "/cnb/lifecycle",
            Root::Image(_) => PROGRAMS,
        };
        self.program(&Path::new(folder).join(name), args, shown)
            .await
    }

    /// Runs a program in the sandbox. What it prints is shown only if `shown`.
    pub(super) async fn program(
        &self,
        program: &Path,
        args: Vec<OsString>,
        shown: bool,
    ) -> Result<Ended, RunError> {
        let sandbox = Arc::clone(self.sandbox);
        self.program_in(sandbox, program, args, self.env(), shown)
            .await
    }

    /// Runs a program in this sandbox, with this environment.
    pub(super) async fn program_in(
        &self,
        sandbox: Arc<Sandbox>,
        program: &Path,
        args: Vec<OsString>,
        env: BTreeMap<OsString, OsString>,
        shown: bool,
    ) -> Result<Ended, RunError> {
        let command = Command {
            program: sandbox.path(program),
            args,
            env,
            dir: sandbox.path(Path::new("/workspace")),
        };
        // Bounded: who prints faster than is shown has to wait.
        let (sender, mut lines) = tokio::sync::mpsc::channel::<Vec<u8>>(16);
        let running = tokio::task::spawn_blocking(move || {
            let kept = Kept {
                capped: Capped::default(),
                shown: shown.then_some(sender),
            };
            let exit = sandbox.run(&command, &kept);
            (exit, kept.capped.into_bytes())
        });
        while let Some(bytes) = lines.recv().await {
            self.progress.output(&bytes);
        }
        let failed = |source| RunError::Start {
            name: program
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            source,
        };
        let (exit, text) = running.await.map_err(|error| {
            failed(ExecError::Watch {
                program: program.to_owned(),
                source: OsError(error.into()),
            })
        })?;
        let exit = exit.map_err(failed)?;
        Ok(Ended { exit, text })
    }

    /// What the lifecycle's environment is in the sandbox.
    pub(super) fn env(&self) -> BTreeMap<OsString, OsString> {
        let told = [
            ("CNB_PLATFORM_API", self.ground.api.as_str()),
            ("CNB_EXEC_ENV", EXEC_ENV),
            ("CNB_DEPRECATION_MODE", "quiet"),
        ];
        let mut env = self.ground.env.clone();
        if self.sandbox.instead().is_some() {
            // That of whoever runs us is closed to who builds.
            let home = if self.sandbox.has_root() {
                PathBuf::from("/tmp")
            } else {
                self.staging.root().join(HOME)
            };
            env.insert("HOME".into(), home.into());
        }
        env.extend(told.map(|(name, value)| (name.into(), value.into())));
        let building = self.sandbox.path(&Path::new("/layers").join(BUILDING));
        env.insert("SEALPACK_BUILDING_PATH".into(), building.into());
        let traceparent = self.request.telemetry.and_then(Telemetry::traceparent);
        if let Some(traceparent) = traceparent {
            env.insert("CNB_TELEMETRY".into(), "true".into());
            env.insert("CNB_OTEL_TRACEPARENT".into(), traceparent.into());
        }
        env
    }
}

/// Keeps what is printed, and hands it on to who wants to see it.
struct Kept {
    capped: Capped,
    shown: Option<tokio::sync::mpsc::Sender<Vec<u8>>>,
}

impl Output for Kept {
    fn write(&self, bytes: &[u8]) {
        self.capped.write(bytes);
        if let Some(shown) = &self.shown {
            // Nobody listens any more: the build was given up.
            shown.blocking_send(bytes.to_vec()).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launcher_that_is_held_becomes_a_program() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("launcher");
        let found = Launcher::Held(b"\x7fELF").folder(&scratch).unwrap();
        let path = found.join("launcher");
        assert_eq!(std::fs::read(&path).unwrap(), b"\x7fELF");
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }
}
