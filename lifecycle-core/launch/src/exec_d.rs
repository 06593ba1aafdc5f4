//! Running the `exec.d` programs of layers.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
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
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

use crate::env::Env;

/// More than this a program may not say: variables that large could not be passed on, but comments can
/// be larger than they.
const MAX_OUTPUT: u64 = 128 << 20;

/// Signals that are for a program as they were for the launcher, if that was started by a shell with
/// some of them ignored.
const INHERITED: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGKILL,
    Signal::SIGCONT,
    Signal::SIGSTOP,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

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
    // What is ignored, as Rust does SIGPIPE, stays so across exec.
    let defaults: SigSet = Signal::iterator()
        .filter(|it| !INHERITED.contains(it))
        .collect();
    attributes.set_sigdefault(&defaults).map_err(started)?;
    attributes
        .set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF)
        .map_err(started)?;
    let path = c_string(program.as_os_str()).map_err(|error| io_cause(&error))?;
    let environment =
        c_environment(env).map_err(|_nul| "exec: environment variable contains NUL".to_owned())?;
    let child =
        posix_spawn(program, &actions, &attributes, &[path], &environment).map_err(started)?;
    drop(writer);
    // Closed by then, before the wait: a program that goes on writing shall not hang.
    let said = read_at_most(reader, MAX_OUTPUT);
    let child = Pid::from_raw(child.as_raw());
    let ended = rustix::io::retry_on_intr(|| waitpid(child, WaitOptions::empty()))
        .map_err(|errno| io_cause(&errno.into()))?;
    let status = ended.map(|(_, status)| status);
    match status.and_then(WaitStatus::exit_status) {
        Some(0) => {}
        Some(code) => return Err(format!("exit status {code}")),
        None => {
            let signal = status.and_then(WaitStatus::terminating_signal);
            let name = signal_name(signal.unwrap_or_default());
            let dumped = status.is_some_and(|it| it.as_raw() & 0x80 != 0);
            let dumped = if dumped { " (core dumped)" } else { "" };
            return Err(format!("signal: {name}{dumped}"));
        }
    }
    let said = said.map_err(|error| io_cause(&error))?;
    said.ok_or_else(|| format!("output is larger than {MAX_OUTPUT} bytes"))
}

/// A text with a NUL byte is an invalid argument to the system, as to Go.
pub(super) fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_nul| Errno::EINVAL.into())
}

pub(super) fn c_environment(env: &Env) -> io::Result<Vec<CString>> {
    let pairs = env.vars().iter();
    pairs
        .map(|(name, value)| {
            c_string(
                &[name.as_os_str(), "=".as_ref(), value]
                    .into_iter()
                    .collect::<OsString>(),
            )
        })
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
