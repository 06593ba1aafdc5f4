//! Running the `exec.d` programs of layers.

use std::collections::BTreeMap;
use std::ffi::{CString, NulError, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use go::bounded::read_at_most;
use go::words::{io_cause, signal_name};
use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};

use crate::env::Env;

/// More than this a program may not say: variables that large could not be passed on.
const MAX_OUTPUT: u64 = 16 << 20;

/// Runs `program`, which may write a TOML table of strings to file descriptor 3, and sets those
/// variables.
///
/// # Errors
///
/// When it cannot be started, fails, or writes something else.
pub(super) fn run(program: &Path, env: &mut Env) -> Result<(), ExecDError> {
    let said = output(program, env).map_err(|cause| ExecDError::Execute {
        program: program.to_owned(),
        cause,
    })?;
    let decode = |cause| ExecDError::Decode {
        program: program.to_owned(),
        cause,
    };
    let set: BTreeMap<String, String> =
        go::toml::from_bytes(&said).map_err(|error| decode(error.text))?;
    for (name, value) in set {
        env.set(name, value);
    }
    Ok(())
}

fn output(program: &Path, env: &Env) -> Result<Vec<u8>, String> {
    let started = |errno: Errno| {
        format!(
            "fork/exec {}: {}",
            program.display(),
            io_cause(&io::Error::from(errno))
        )
    };
    let (reader, writer) = io::pipe().map_err(|error| io_cause(&error))?;
    let nothing = File::open("/dev/null").map_err(|error| io_cause(&error))?;
    let mut actions = PosixSpawnFileActions::init().map_err(started)?;
    actions.add_dup2(nothing.as_raw_fd(), 0).map_err(started)?;
    actions.add_dup2(writer.as_raw_fd(), 3).map_err(started)?;
    let mut attributes = PosixSpawnAttr::init().map_err(started)?;
    // Rust ignores SIGPIPE, and what is ignored stays so across exec.
    let mut defaults = SigSet::empty();
    defaults.add(Signal::SIGPIPE);
    attributes.set_sigdefault(&defaults).map_err(started)?;
    attributes
        .set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF)
        .map_err(started)?;
    let path = c_string(program.as_os_str()).map_err(|error| error.to_string())?;
    let environment = c_environment(env).map_err(|error| error.to_string())?;
    let child =
        posix_spawn(program, &actions, &attributes, &[path], &environment).map_err(started)?;
    drop(writer);
    // Closed by then, before the wait: a program that goes on writing shall not hang.
    let said = read_at_most(reader, MAX_OUTPUT);
    match waitpid(child, None).map_err(|errno| io_cause(&io::Error::from(errno)))? {
        WaitStatus::Exited(_, 0) => {}
        WaitStatus::Exited(_, code) => return Err(format!("exit status {code}")),
        WaitStatus::Signaled(_, signal, _) => {
            return Err(format!("signal: {}", signal_name(signal as i32)));
        }
        other => return Err(format!("unexpected end: {other:?}")),
    }
    let said = said.map_err(|error| io_cause(&error))?;
    said.ok_or_else(|| format!("output is larger than {MAX_OUTPUT} bytes"))
}

pub(super) fn c_string(text: &OsStr) -> Result<CString, NulError> {
    CString::new(text.as_bytes())
}

pub(super) fn c_environment(env: &Env) -> Result<Vec<CString>, NulError> {
    env.vars()
        .iter()
        .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect()
}

/// An `exec.d` program did not do its part.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecDError {
    /// It could not be started, or failed.
    #[error("failed to execute exec.d file at path '{}': {cause}", program.display())]
    Execute {
        /// The program.
        program: PathBuf,
        /// Why, in Go's words.
        cause: String,
    },
    /// What it wrote is no table of strings.
    #[error("failed to decode output from exec.d file at path '{}': {cause}", program.display())]
    Decode {
        /// The program.
        program: PathBuf,
        /// Line and cause.
        cause: String,
    },
}
