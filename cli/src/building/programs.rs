//! The programs that take part in a build: this one, above all.
//!
//! The lifecycle is in it: started by that name, or by the name of a phase, it is the lifecycle. The
//! launcher goes into every image and has to be small, so it is a program of its own, whose bytes a
//! release has in itself; without them it lies beside this program, as `cargo build` puts it there.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use flate2::read::ZlibDecoder;
use platform::run::{Launcher, Programs};

use crate::environment::Environment;
use crate::error::{CommandError, Message};

/// The launcher as `cli/embed.rs` packed it, if this is a release; else nothing.
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/launcher"));

/// What to do without a launcher.
pub(crate) const HOW: &str = "take a release, which has it inside; or build it beside `sealpack` \
                              (`cargo build -p sealpack-launcher`); or name its folder with \
                              `--lifecycle DIR`";

/// Our own programs.
#[derive(Debug)]
pub(crate) struct OwnPrograms {
    /// What runs.
    pub(crate) running: Programs,
    /// What goes into an image for this machine's platform. Whether it is there has not been asked.
    pub(crate) launcher: Launcher,
    /// The folder where launchers for other platforms are, each in a folder of its own.
    pub(crate) others: PathBuf,
}

impl OwnPrograms {
    /// Those in `folder`, and for what is not there those of this program.
    pub(crate) fn find(
        folder: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let sealpack = own()?;
        let beside = sealpack.parent().unwrap_or(Path::new("/")).to_owned();
        let mut lifecycle = sealpack.clone();
        let mut launcher = match held()? {
            [] => Launcher::In(beside.clone()),
            held => Launcher::Held(held),
        };
        let mut others = beside;
        if let Some(given) = folder {
            let folder = environment.directory.join(given);
            let [has_lifecycle, has_launcher] =
                ["lifecycle", "launcher"].map(|it| folder.join(it).is_file());
            if !has_lifecycle && !has_launcher && !has_other(&folder) {
                return Err(CommandError::undecided(Message(format!(
                    "`lifecycle` and `launcher` are missing in `{}`",
                    given.display()
                )))
                .hint("leave out `--lifecycle`, and `sealpack` itself is the lifecycle"));
            }
            if has_lifecycle {
                lifecycle = folder.join("lifecycle");
            }
            if has_launcher {
                launcher = Launcher::In(folder.clone());
            }
            others = folder;
        }
        Ok(Self {
            running: Programs {
                lifecycle,
                enter: sandbox_program()?,
                sealpack,
            },
            launcher,
            others,
        })
    }

    /// The folder where the launcher has to be, and is not.
    pub(crate) fn missing(&self) -> Option<&Path> {
        match &self.launcher {
            Launcher::In(folder) if !folder.join("launcher").is_file() => Some(folder),
            _ => None,
        }
    }
}

/// The launcher's bytes, unpacked once.
fn held() -> Result<&'static [u8], CommandError> {
    static HELD: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(held) = HELD.get() {
        return Ok(held);
    }
    let mut bytes = Vec::new();
    if !PACKED.is_empty() {
        let unpacked = ZlibDecoder::new(PACKED).read_to_end(&mut bytes);
        unpacked.map_err(CommandError::undecided)?;
    }
    Ok(HELD.get_or_init(|| bytes))
}

/// Whether a folder in this one has a launcher: for another platform.
fn has_other(folder: &Path) -> bool {
    let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
    let mut paths = entries.map(|it| it.path().join("launcher"));
    paths.any(|it| it.is_file())
}

/// Where this program lies.
fn own() -> Result<PathBuf, CommandError> {
    fs_err::canonicalize("/proc/self/exe").map_err(CommandError::undecided)
}

/// This program and the argument with which it does nothing but enter a sandbox.
pub(crate) fn sandbox_program() -> Result<Vec<OsString>, CommandError> {
    Ok(vec![own()?.into(), "__sandbox".into()])
}
