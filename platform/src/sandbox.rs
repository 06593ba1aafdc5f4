//! The build environment: this machine as it is, but read-only, with folders of ours where a build
//! expects them.
//!
//! | a build sees | which is |
//! |---|---|
//! | the machine's root, with its compilers and the home of whoever runs us | read-only, without setuid |
//! | folders such as `/layers` and `/workspace` | [`Mount`]s |
//! | `/tmp`, `/dev/shm` | empty, its own |
//! | `/dev` | null, zero, full, random, urandom |
//! | `/proc` | its own processes |
//! | `/run` | empty: the sockets of the machine's services are there |
//! | what is [hidden](Config::hidden) | empty, or not to be read |
//! | the network | a loopback of its own, or the machine's |
//! | a user | whoever runs us, without any capability; root appears as [`BUILD_USER`] |
//!
//! **How.** Namespaces are entered by a program that is started for it: [`Sandbox`] runs a command
//! of ours (a hidden subcommand of the caller's binary), which calls [`enter`] and does nothing else.
//! That process leaves for new namespaces and starts the same command again, which becomes the first
//! process of the new process namespace, makes the new root, gives up all rights, and runs what is to
//! be run. What they need to know comes over a socket, their standard input: a line of JSON for each
//! of the two. What they have to say goes back over it.
//!
//! **Death.** Each process is killed by the kernel when the one that started it dies, and with the
//! first process of a process namespace die all others. Mounts are in namespaces only. So nothing is
//! left behind, even if all is killed.

mod enter;
mod network;
mod report;
mod rights;
mod root;
mod spec;

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fs_err as fs;
use lifecycle_core::exec::{Cancel, Capped, Command, Exit, Output, Run, RunError};
use lifecycle_core::files::OsError;

pub use self::enter::enter;
use self::report::Facts;
pub use self::report::{IsolationReport, Namespace};
use self::spec::{Ids, Namespaces, NotStarted, Program, Reply, Spec, Stage};

/// Who root appears to be inside: user and group.
pub const BUILD_USER: u32 = 1000;

/// What a [`Sandbox`] is made of.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the caller has to say all of it")]
pub struct Config {
    /// A program and arguments with which it does nothing but call [`enter`].
    pub enter: Vec<OsString>,
    /// What is where.
    pub mounts: Vec<Mount>,
    /// What is not to be seen inside, though it lies in the machine's root: keys and credentials.
    /// A folder appears empty, a file cannot be read. What is not there needs no hiding.
    pub hidden: Vec<PathBuf>,
    /// Which network there is.
    pub network: Network,
    /// How much isolation there has to be.
    pub isolation: Isolation,
    /// Ends what runs in the sandbox early.
    pub cancel: Cancel,
}

/// A folder or file of ours, and where it is inside.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the caller has to say all of it")]
pub struct Mount {
    /// What it is outside.
    pub source: PathBuf,
    /// Its path inside: absolute, without `.` and `..`.
    pub target: PathBuf,
    /// Whether it may be changed from inside.
    pub writable: bool,
}

/// Which network a build sees.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Network {
    /// None but a loopback of its own.
    #[default]
    None,
    /// The machine's.
    Host,
}

impl Network {
    /// The word that proof has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Host => "host",
        }
    }
}

/// How much isolation there has to be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a choice of two")]
pub enum Isolation {
    /// As much as the machine allows; the [`IsolationReport`] says how much.
    #[default]
    Auto,
    /// All of it.
    Required,
}

/// Runs programs in the build environment.
#[derive(Clone, Debug)]
pub struct Sandbox {
    config: Config,
    namespaces: Option<Namespaces>,
    report: IsolationReport,
}

impl Sandbox {
    /// Finds out how much isolation this machine allows, by trying.
    pub fn new(config: Config) -> Result<Self, SandboxError> {
        let mut config = config;
        for mount in &mut config.mounts {
            mount.source =
                fs::canonicalize(&mount.source).map_err(|source| SandboxError::Mount {
                    target: mount.target.clone(),
                    source,
                })?;
        }
        // Links would lead past what is hidden.
        config.hidden = config
            .hidden
            .iter()
            .filter_map(|it| fs::canonicalize(it).ok())
            .collect();
        let mut refused = Vec::new();
        let root = rustix::process::geteuid().is_root();
        for namespaces in Namespaces::choices(config.network, root) {
            let tried = attempt(&config, &namespaces)?;
            match tried {
                Ok(facts) => {
                    let report = IsolationReport::new(&namespaces, &facts, refused);
                    if config.isolation == Isolation::Required
                        && !report.is_complete(config.network)
                    {
                        return Err(SandboxError::Refused {
                            refused: report.refused,
                        });
                    }
                    return Ok(Self {
                        config,
                        namespaces: Some(namespaces),
                        report,
                    });
                }
                Err(problem) => refused.push(format!("{namespaces}: {problem}")),
            }
        }
        match config.isolation {
            Isolation::Required => Err(SandboxError::Refused { refused }),
            Isolation::Auto => Ok(Self {
                config,
                namespaces: None,
                report: IsolationReport::none(refused),
            }),
        }
    }

    /// What is isolated, and what is not.
    pub fn report(&self) -> &IsolationReport {
        &self.report
    }

    /// Where a program that runs here finds what is meant to be at `path`. The same path, unless
    /// nothing is isolated: then there are no mounts, and it is the path outside.
    pub fn path(&self, path: &Path) -> PathBuf {
        if self.namespaces.is_some() {
            return path.to_owned();
        }
        self.config
            .mounts
            .iter()
            .filter_map(|mount| Some((mount, path.strip_prefix(&mount.target).ok()?)))
            .max_by_key(|(mount, _)| mount.target.as_os_str().len())
            .map_or_else(
                || path.to_owned(),
                |(mount, rest)| {
                    if rest.as_os_str().is_empty() {
                        mount.source.clone()
                    } else {
                        mount.source.join(rest)
                    }
                },
            )
    }
}

/// Runs a command inside. Program, folder and arguments are taken as paths inside; see
/// [`Sandbox::path`] for the case that there is no inside.
impl Run for Sandbox {
    fn run(&self, command: &Command, output: &dyn Output) -> Result<Exit, RunError> {
        let program = Program {
            file: command.program.clone().into(),
            args: command.args.clone(),
            env: command.env.clone().into_iter().collect(),
            dir: command.dir.clone().into(),
        };
        let replies = start(
            &self.config,
            self.namespaces.as_ref(),
            Some(program),
            output,
        )?;
        let watch = |text: String| RunError::Watch {
            program: command.program.clone(),
            source: OsError(io::Error::other(text)),
        };
        match replies.last() {
            Some(Reply::Exited { code }) => Ok(Exit::Code(*code)),
            Some(Reply::Signaled { signal }) => Ok(Exit::Signal(*signal)),
            Some(Reply::NotStarted { what, errno }) => {
                let source = OsError(io::Error::from_raw_os_error(*errno));
                Err(match what {
                    NotStarted::Dir => RunError::Chdir {
                        dir: command.dir.clone(),
                        source,
                    },
                    NotStarted::Program => RunError::Start {
                        program: command.program.clone(),
                        source,
                    },
                })
            }
            Some(Reply::Failed { .. } | Reply::Ready { .. }) | None => {
                let reason = replies
                    .last()
                    .map_or("it was killed".to_owned(), ToString::to_string);
                Err(watch(format!("the sandbox failed: {reason}")))
            }
        }
    }
}

/// Enters such namespaces, and leaves at once. The inner error says why it cannot be.
fn attempt(
    config: &Config,
    namespaces: &Namespaces,
) -> Result<Result<Facts, String>, SandboxError> {
    let output = Capped::default();
    let replies =
        start(config, Some(namespaces), None, &output).map_err(|source| SandboxError::Enter {
            program: config.enter.first().cloned().unwrap_or_default().into(),
            source,
        })?;
    Ok(match replies.last() {
        Some(Reply::Ready { facts }) => Ok(facts.clone()),
        Some(reply) => Err(reply.to_string()),
        None => {
            let output = output.into_bytes();
            let output = String::from_utf8_lossy(&output);
            Err(format!("it ended without a word; {}", output.trim()))
        }
    })
}

/// Starts the command that enters, tells it what to do, and waits for its end.
fn start(
    config: &Config,
    namespaces: Option<&Namespaces>,
    command: Option<Program>,
    output: &dyn Output,
) -> Result<Vec<Reply>, RunError> {
    let (name, args) = config.enter.split_first().unzip();
    let name = PathBuf::from(name.cloned().unwrap_or_default());
    let watch = |source| RunError::Watch {
        program: name.clone(),
        source: OsError(source),
    };
    let (mut ours, theirs) = UnixStream::pair().map_err(watch)?;
    let (mut reader, writer) = io::pipe().map_err(watch)?;
    let mut child = {
        let mut process = std::process::Command::new(&name);
        process
            .args(args.unwrap_or_default())
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(writer.try_clone().map_err(watch)?)
            .stderr(writer);
        // Both ends of theirs must not outlive this: reading would never end.
        config.cancel.spawn(&name, &mut process)?
    };
    let mut spec = Spec {
        stage: Stage::First,
        parent: std::process::id(),
        namespaces: namespaces.cloned(),
        ids: Ids::new(),
        host_network: config.network == Network::Host,
        mounts: config.mounts.iter().map(Into::into).collect(),
        hidden: config.hidden.iter().map(|it| it.clone().into()).collect(),
        command,
    };
    // If it has died already, it has no use for this, and its end tells more.
    let mut told = send(&mut ours, &spec);
    if spec.namespaces.as_ref().is_some_and(|it| it.pid) {
        spec.stage = Stage::Second;
        told = told.and_then(|()| send(&mut ours, &spec));
    }
    let mut buffer = vec![0; 32 * 1024];
    let read = loop {
        match reader.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(count) => output.write(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    let status = config.cancel.reap(&mut child).map_err(watch)?;
    read.map_err(watch)?;
    if config.cancel.is_cancelled() {
        return Err(RunError::Cancelled);
    }
    let mut replies = receive(&mut ours).map_err(watch)?;
    // Without namespaces the program took the place of the command.
    if spec.namespaces.is_none() && replies.is_empty() {
        use std::os::unix::process::ExitStatusExt as _;

        told.map_err(watch)?;
        replies.push(match (status.code(), status.signal()) {
            (Some(code), _) => Reply::Exited { code },
            (None, signal) => Reply::Signaled {
                signal: signal.unwrap_or_default(),
            },
        });
    }
    Ok(replies)
}

fn send(stream: &mut UnixStream, spec: &Spec) -> io::Result<()> {
    let mut line = serde_json::to_vec(spec)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn receive(stream: &mut UnixStream) -> io::Result<Vec<Reply>> {
    let mut text = Vec::new();
    loop {
        match stream.read_to_end(&mut text) {
            Ok(_) => break,
            // It died before it read all that it was told; what it said comes after this.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error),
        }
    }
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| Ok(serde_json::from_slice(line)?))
        .collect()
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The command that enters could not be run.
    #[error("failed to run `{}` to enter the sandbox", program.display())]
    Enter {
        /// Which.
        program: PathBuf,
        /// Why.
        source: RunError,
    },
    /// What is to be mounted is not there.
    #[error("cannot mount at `{}`", target.display())]
    Mount {
        /// Where it was to be.
        target: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The machine refuses isolation that is required.
    #[error("isolation is required, but this machine refuses it: {}", refused.join("; "))]
    Refused {
        /// What was tried, and why it failed.
        refused: Vec<String>,
    },
}
