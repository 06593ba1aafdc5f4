//! The one way in which a program of somebody else is started.
//!
//! A program gets a process group of its own, so that all of it can be ended; both its outputs are
//! one stream, handed on as it comes and never gathered here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::Log;
use crate::files::OsError;

/// Somewhere that programs can run: this machine as it is, or a sandbox.
pub trait Run: fmt::Debug + Send + Sync {
    /// Runs `command` to its end, and hands what it prints to `output` as it comes.
    fn run(&self, command: &Command, output: &dyn Output) -> Result<Exit, RunError>;
}

/// A program, and all that it gets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Command {
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its environment, whole.
    pub env: BTreeMap<OsString, OsString>,
    /// The folder it starts in.
    pub dir: PathBuf,
}

/// Where a program's output goes.
pub trait Output: Send + Sync {
    /// Takes the next bytes.
    fn write(&self, bytes: &[u8]);
}

/// Hands output to a log.
#[derive(Debug)]
pub struct ToLog<'a>(pub &'a dyn Log);

impl Output for ToLog<'_> {
    fn write(&self, bytes: &[u8]) {
        self.0.output(bytes);
    }
}

/// How a program ended. Displayed in the words of Go programs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no other way to end")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// Whether it ended by itself with 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = match self {
            Self::Code(code) => return write!(f, "exit status {code}"),
            Self::Signal(signal) => *signal,
        };
        write!(f, "signal: {}", go::words::signal_name(signal))
    }
}

/// This machine as it is.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Who the program runs as; whoever runs us unless given.
    pub user: Option<User>,
    /// Ends programs early.
    pub cancel: Cancel,
}

/// A user and group, by number. The program gets no further groups.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "nothing else tells who one is")]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Run for Host {
    fn run(&self, command: &Command, output: &dyn Output) -> Result<Exit, RunError> {
        let chdir = |source| RunError::Chdir {
            dir: command.dir.clone(),
            source: OsError(source),
        };
        // Seen from the outside, a folder and a program that are missing look the same.
        let has_dir = !command.dir.as_os_str().is_empty();
        // Go looks whether it is there, and hears from the program's start what else is wrong with it.
        if has_dir && !std::fs::metadata(&command.dir).map_err(chdir)?.is_dir() {
            return Err(RunError::Start {
                program: command.program.clone(),
                source: OsError(Errno::NOTDIR.into()),
            });
        }
        let has_nul = |it: &OsString| it.as_bytes().contains(&0);
        if command
            .env
            .iter()
            .any(|(name, value)| has_nul(name) || has_nul(value))
        {
            return Err(RunError::Environment);
        }
        if is_for_a_shell(&command.program) {
            return Err(RunError::Start {
                program: command.program.clone(),
                source: OsError(Errno::NOEXEC.into()),
            });
        }
        let watch = |source| RunError::Watch {
            program: command.program.clone(),
            source: OsError(source),
        };
        let (mut reader, writer) = io::pipe().map_err(watch)?;
        let mut child = {
            let mut process = std::process::Command::new(&command.program);
            process
                .args(&command.args)
                .env_clear()
                .envs(&command.env)
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(writer.try_clone().map_err(watch)?)
                .stderr(writer);
            if has_dir {
                process.current_dir(&command.dir);
            }
            if let Some(user) = self.user {
                process.uid(user.uid).gid(user.gid);
            }
            // The pipe's end for writing must not outlive this: reading would never end.
            self.cancel.spawn(&command.program, &mut process)?
        };
        let mut buffer = vec![0; 32 * 1024];
        let read = loop {
            match reader.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(count) => output.write(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        let status = self.cancel.reap(&mut child).map_err(watch)?;
        read.map_err(watch)?;
        if self.cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        Ok(Exit::of(status))
    }
}

/// Whether the C library would hand `program` to a shell, as the kernel refuses it: a text without
/// `#!`, or a program for another machine. Go does not, so upstream fails there. Where further formats are registered with the kernel it
/// alone decides.
fn is_for_a_shell(program: &Path) -> bool {
    // To open anything else could take for ever, and what may not be run is refused as that.
    let is_program = std::fs::metadata(program)
        .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    if !is_program {
        return false;
    }
    let mut start = Vec::new();
    let read = std::fs::File::open(program).and_then(|file| file.take(256).read_to_end(&mut start));
    let formats = std::fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter();
    let has_formats = formats.flatten().count() > 2;
    read.is_ok() && !is_known(&start) && !has_formats
}

/// Whether the kernel knows a program that begins so: a script that names who reads it, or an ELF file
/// for a machine like this one, possibly of half its bits.
fn is_known(start: &[u8]) -> bool {
    if let Some(script) = start.strip_prefix(b"#!") {
        let line = script
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        return line.iter().any(|byte| !matches!(byte, b' ' | b'\t'));
    }
    let machines: &[u16] = if cfg!(target_arch = "x86_64") {
        &[3, 62]
    } else if cfg!(target_arch = "aarch64") {
        &[40, 183]
    } else {
        return start.starts_with(b"\x7fELF");
    };
    let number = |at: usize| {
        let bytes = start.get(at..at + 2)?;
        bytes.try_into().map(u16::from_le_bytes).ok()
    };
    // An executable, or one that can lie anywhere.
    start.starts_with(b"\x7fELF")
        && matches!(number(16), Some(2 | 3))
        && number(18).is_some_and(|it| machines.contains(&it))
}

/// Ends all programs that run under it, with all that they started, and lets no other start.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    cancelled: bool,
    groups: BTreeSet<i32>,
}

impl Cancel {
    /// Ends them. May be called from any thread, more than once.
    pub fn cancel(&self) {
        let mut running = self.lock();
        running.cancelled = true;
        for group in running.groups.iter().filter_map(|it| Pid::from_raw(*it)) {
            kill(group);
        }
    }

    /// Whether it was called.
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Starts `process`, which makes a process group of its own, as `program`. Has to be followed by
    /// [`reap`](Self::reap).
    pub fn spawn(
        &self,
        program: &Path,
        process: &mut std::process::Command,
    ) -> Result<Child, RunError> {
        // Held while starting, so that no group can be missed.
        let mut running = self.lock();
        if running.cancelled {
            return Err(RunError::Cancelled);
        }
        let child = process.spawn().map_err(|source| RunError::Start {
            program: program.to_owned(),
            source: OsError(source),
        })?;
        running.groups.extend(i32::try_from(child.id()));
        Ok(child)
    }

    /// Waits for the end. The number of the group stays taken until it is forgotten here, so that no
    /// other group can be hit.
    pub fn reap(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let id = i32::try_from(child.id()).map_err(io::Error::other)?;
        if let Some(pid) = Pid::from_raw(id) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
        }
        self.lock().groups.remove(&id);
        child.wait()
    }

    /// Waits for the end, and ends what is left of its process group.
    pub(crate) fn end(&self, child: &mut Child) -> io::Result<Exit> {
        let id = i32::try_from(child.id()).map_err(io::Error::other)?;
        if let Some(pid) = Pid::from_raw(id) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
            kill(pid);
        }
        self.reap(child).map(Exit::of)
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kill(group: Pid) {
    // The one error that there can be is that all of the group have ended.
    kill_process_group(group, Signal::KILL).unwrap_or_default();
}

/// Why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// [`Cancel::cancel`] was called.
    #[error("cancelled")]
    Cancelled,
    /// There is no such folder to start in.
    #[error("chdir {}", dir.display())]
    Chdir {
        /// Which.
        dir: PathBuf,
        /// Why not.
        source: OsError,
    },
    /// A variable has a NUL byte, which no program can be given.
    #[error("exec: environment variable contains NUL")]
    Environment,
    /// It cannot be started.
    #[error("fork/exec {}", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// Why not.
        source: OsError,
    },
    /// Its output cannot be read, or its end not be seen.
    #[error("failed to watch {}", program.display())]
    Watch {
        /// Which.
        program: PathBuf,
        /// Why not.
        source: OsError,
    },
}

/// Keeps output for later: the first and the last [`Capped::KEEP`] bytes.
#[derive(Debug, Default)]
pub struct Capped(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    head: Vec<u8>,
    tail: Vec<u8>,
    cut: u64,
}

impl Capped {
    /// How much is kept of the beginning, and as much of the end.
    pub const KEEP: usize = 4 * 1024 * 1024;

    /// What was kept, with a line that says how much was cut between.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut kept = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        kept.trim();
        let mut bytes = kept.head;
        if kept.cut > 0 {
            let note = format!("\n[{} bytes of output were cut here]\n", kept.cut);
            bytes.extend_from_slice(note.as_bytes());
        }
        bytes.extend_from_slice(&kept.tail);
        bytes
    }
}

impl Kept {
    /// Forgets what the tail has too much.
    fn trim(&mut self) {
        let over = self.tail.len().saturating_sub(Capped::KEEP);
        self.tail.drain(..over);
        self.cut += over as u64;
    }
}

impl Output for Capped {
    fn write(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = Self::KEEP.saturating_sub(kept.head.len()).min(bytes.len());
        let (head, tail) = bytes.split_at(room);
        kept.head.extend_from_slice(head);
        kept.tail.extend_from_slice(tail);
        if kept.tail.len() > 2 * Self::KEEP {
            kept.trim();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        Command {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::from([
                ("A".into(), "1".into()),
                ("PATH".into(), "/bin:/usr/bin".into()),
            ]),
            dir: "/".into(),
        }
    }

    fn run(command: &Command) -> (Result<Exit, RunError>, String) {
        let output = Capped::default();
        let exit = Host::default().run(command, &output);
        (exit, String::from_utf8(output.into_bytes()).unwrap())
    }

    #[test]
    fn both_outputs_are_one_and_the_environment_is_only_what_is_given() {
        let (exit, output) = run(&sh("echo $A$HOME; echo err >&2; pwd; exit 3"));
        assert_eq!(exit.unwrap(), Exit::Code(3));
        assert_eq!(output, "1\nerr\n/\n");
    }

    #[test]
    fn the_end_is_told_as_in_go() {
        let (exit, _) = run(&sh("kill -9 $$"));
        assert_eq!(exit.unwrap().to_string(), "signal: killed");
        assert_eq!(Exit::Code(7).to_string(), "exit status 7");
        let text = |command: &Command| {
            let error = run(command).0.expect_err("it cannot run");
            let source = std::error::Error::source(&error).unwrap().to_string();
            format!("{error}: {source}")
        };
        let mut command = sh("");
        command.program = "/nowhere/detect".into();
        assert_eq!(
            text(&command),
            "fork/exec /nowhere/detect: no such file or directory"
        );
        let mut with_nul = command.clone();
        with_nul.env.insert("A".into(), "a\0b".into());
        let error = run(&with_nul).0.expect_err("it cannot run");
        assert_eq!(error.to_string(), "exec: environment variable contains NUL");
        command.dir = "/nowhere".into();
        assert_eq!(text(&command), "chdir /nowhere: no such file or directory");
        command.dir = "/etc/passwd".into();
        assert_eq!(text(&command), "fork/exec /nowhere/detect: not a directory");
    }

    #[test]
    fn what_the_kernel_does_not_know_is_not_started() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("build");
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        let elf_of = |machine: u16| [&elf[..], &[2, 0], &machine.to_le_bytes(), &[0; 44]].concat();
        let none = if cfg!(target_arch = "x86_64") {
            183
        } else {
            62
        };
        for content in [
            elf_of(none),
            b"\x7fELF".to_vec(),
            b"exit 0\n".to_vec(),
            b"#!\nexit 0\n".to_vec(),
            b"#! \t\n/bin/sh\n".to_vec(),
            Vec::new(),
        ] {
            std::fs::write(&program, &content).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let mut command = sh("");
            command.program = program.clone();
            // Whoever is another user is started in another way.
            for user in [None, Some(User { uid: 1, gid: 1 })] {
                let host = Host {
                    user: user.filter(|_| rustix::process::getuid().is_root()),
                    ..Host::default()
                };
                let error = host.run(&command, &Capped::default()).unwrap_err();
                let source = std::error::Error::source(&error).unwrap().to_string();
                assert_eq!(source, "exec format error", "{content:?}");
            }
        }
    }

    #[test]
    fn cancelling_ends_all_that_was_started() {
        let host = Host::default();
        let cancel = host.cancel.clone();
        let output = Started(Mutex::default(), cancel.clone());
        // The grandchild ignores what one can ignore, and holds the output open.
        let script = "(trap '' TERM HUP INT; sleep 1000) & echo $!; wait";
        let exit = host.run(&sh(script), &output);
        assert!(matches!(exit, Err(RunError::Cancelled)));
        let exit = host.run(&sh("true"), &output);
        assert!(matches!(exit, Err(RunError::Cancelled)));
    }

    struct Started(Mutex<()>, Cancel);

    impl Output for Started {
        fn write(&self, _bytes: &[u8]) {
            let _one_at_a_time = self.0.lock();
            self.1.cancel();
        }
    }

    #[test]
    fn output_that_is_kept_has_a_limit() {
        let (exit, output) = run(&sh("echo first; yes | head -c 30000000; echo last"));
        assert!(exit.unwrap().is_success());
        assert!(output.len() < 2 * Capped::KEEP + 100);
        assert!(output.starts_with("first\ny\n") && output.ends_with("y\nlast\n"));
        let kept = 2 * Capped::KEEP as u64;
        let note = format!("\n[{} bytes of output were cut here]\n", 30_000_011 - kept);
        assert!(output.contains(&note), "{note}");
    }
}
