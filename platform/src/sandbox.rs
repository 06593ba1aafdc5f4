//! The build environment: this machine as it is, but read-only, or the root of an image; with folders of
//! ours where a build expects them.
//!
//! With this machine's root:
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
//! | a user | whoever runs us, without any capability; root appears as [`BUILD_USER`], and where there is no user namespace, becomes that user of the machine |
//!
//! With an image's root:
//!
//! | a build sees | which is |
//! |---|---|
//! | the root of the image | its layers on top of each other; what is written is in memory, and gone at the end |
//! | folders such as `/layers` and `/workspace` | [`Mount`]s, where the image says that their paths lead |
//! | `/dev`, `/proc` | as above |
//! | `/sys` | the machine's, read-only |
//! | a user | the one that the image names, without any capability; see [`UserMap`] |
//!
//! Nothing else of the machine is there. Where layers cannot be stacked, the root is a copy of them; and
//! where there are no namespaces at all, root builds in such a copy by `chroot`: then folders of ours are
//! put into it while a program runs, and nothing is isolated.
//!
//! **How.** Namespaces are entered by a program that is started for it: [`Sandbox`] runs a command
//! of ours (a hidden subcommand of the caller's binary), which calls [`enter`] and does nothing else.
//! That process leaves for new namespaces and starts the same command again, which becomes the first
//! process of the new process namespace, makes the new root, gives up all rights, and runs what is to
//! be run. What they need to know comes over a socket, their standard input: a line of JSON for each
//! of the two. What they have to say goes back over it.
//!
//! **Death.** Each process is killed by the kernel when the one that started it dies, and with the
//! first process of a process namespace die all others. Without such a namespace, the process that started
//! the program becomes the parent of all that it leaves running, and kills it. Mounts are in namespaces
//! only. So nothing is left behind, even if all is killed; but without a process namespace, a program that
//! left its session outlives a sealpack that is killed by `KILL`.

mod chroot;
mod enter;
mod failed;
mod foreign;
mod image;
mod network;
mod older;
mod orphans;
mod report;
mod rights;
mod root;
mod spec;
mod start;
mod task;
mod users;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_core::exec::{Cancel, Capped, Command, Exit, Output, Run, RunError};
use lifecycle_core::files::OsError;

pub use self::enter::enter;
pub use self::foreign::{Interpreter, runs_programs_for};
pub use self::older::runs_older_programs_for;
pub use self::report::{IsolationReport, Namespace, RootKind};
use self::spec::{Facts, Namespaces, NotStarted, Program, Reply};
use self::start::start;
pub(crate) use self::start::work;
pub(crate) use self::task::{Done, Task};
pub use self::users::{User, UserMap};

/// Who root appears to be inside: user and group.
pub const BUILD_USER: u32 = 1000;

/// What a [`Sandbox`] is made of.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the caller has to say all of it")]
pub struct Config {
    /// A program and arguments with which it does nothing but call [`enter`].
    pub enter: Vec<OsString>,
    /// What a build sees as its root.
    pub root: Root,
    /// What is where.
    pub mounts: Vec<Mount>,
    /// Whether they have to be mounted. Otherwise, where nothing can be mounted, some may be copied and
    /// moved instead, and others be had by the paths that they have outside.
    pub needs_mounts: bool,
    /// What is not to be seen inside, though it lies in the machine's root: keys and credentials.
    /// A folder appears empty, a file cannot be read. What is not there needs no hiding.
    pub hidden: Vec<PathBuf>,
    /// What runs programs for machines of another kind in the root of an image, if the machine itself
    /// has nothing that does.
    pub interpreter: Option<Interpreter>,
    /// Which network there is.
    pub network: Network,
    /// How much isolation there has to be.
    pub isolation: Isolation,
    /// Ends what runs in the sandbox early.
    pub cancel: Cancel,
}

/// What a build sees as its root.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a build has to have one of them")]
pub enum Root {
    /// This machine's, read-only.
    Machine,
    /// That of an image. What is written there is gone at the end.
    Image(ImageRoot),
}

/// The root of an image: its layers, unpacked for a map of users.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the caller has to say all of it")]
pub struct ImageRoot {
    /// Where its files are.
    pub files: RootFiles,
    /// Who is who, inside and outside.
    pub map: UserMap,
    /// Who runs programs inside.
    pub user: User,
    /// Whether programs run as root instead, with the rights over files and users of the image that root
    /// has in a container, and none over the machine.
    pub as_root: bool,
    /// Whether the program gets the two sides of the overlay, if it is one: opened folders by the numbers
    /// of [`SIDES`], to be read. They are at no place in the root, so whoever the program does not hand
    /// them on to does not see them.
    pub sides: bool,
}

/// The numbers of both sides of an overlay, as programs have them opened: what is written, and all that was
/// there before, as one. See [`ImageRoot::sides`].
pub const SIDES: [i32; 2] = [100, 101];

/// Where the files of an image's root are.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum RootFiles {
    /// In its layers, the highest first: what is written is in memory.
    Layers(Vec<LayerFolder>),
    /// In a folder of this build's own, which is written to.
    Copy(PathBuf),
}

/// A layer that was unpacked, as overlayfs wants it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct LayerFolder {
    /// Where it lies.
    pub folder: PathBuf,
    /// Folders that it does not have itself, but something in them, in the order of their names: mode
    /// and owner are those of the layers below.
    pub implied: Vec<PathBuf>,
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

/// The home of who may run programs in place of root, where root runs us and that user has one: what is
/// secret in it has to be [hidden](Config::hidden), too.
pub fn home_of_builder() -> Option<PathBuf> {
    let is_root = rustix::process::geteuid().is_root();
    let home = image::listed_home(BUILD_USER).filter(|_| is_root);
    home.map(PathBuf::from).filter(|it| it.is_absolute())
}

/// Who runs programs in place of root: no buildpack is to be root of this machine, and no lifecycle would
/// let it.
const BUILDER: User = User {
    uid: BUILD_USER,
    gid: BUILD_USER,
};

/// Runs programs in the build environment.
#[derive(Clone, Debug)]
pub struct Sandbox {
    config: Config,
    namespaces: Option<Namespaces>,
    /// Who runs programs where there is no user namespace, if not whoever runs us.
    instead: Option<User>,
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
        let of_image = matches!(config.root, Root::Image(_));
        for namespaces in Namespaces::choices(config.network, &config.root) {
            let tried = attempt(&config, Some(&namespaces))?;
            match tried {
                Ok(facts) => {
                    let report = IsolationReport::new(&config.root, &namespaces, &facts, refused);
                    if config.isolation == Isolation::Required
                        && !report.is_complete(config.network)
                    {
                        return Err(SandboxError::Refused {
                            reason: report.lack(),
                        });
                    }
                    let is_root = matches!(config.root, Root::Machine) && !namespaces.user;
                    return Ok(Self {
                        config,
                        namespaces: Some(namespaces),
                        instead: is_root.then_some(BUILDER),
                        report,
                    });
                }
                Err(problem) => refused.push(format!("{namespaces}: {problem}")),
            }
        }
        match config.isolation {
            // A copy of them may have all of it.
            Isolation::Required if Self::may_copy(&config) => Err(SandboxError::NoRoot { refused }),
            Isolation::Required => Err(SandboxError::Refused {
                reason: IsolationReport::none(refused).lack(),
            }),
            // The machine's own root would be another build.
            Isolation::Auto if config.needs_mounts && !Self::may_copy(&config) => {
                Err(SandboxError::NoMounts)
            }
            // Nothing would run its programs there.
            Isolation::Auto if of_image && config.interpreter.is_some() => {
                Err(SandboxError::NoRoot { refused })
            }
            Isolation::Auto if of_image => Self::by_chroot(config, refused),
            Isolation::Auto => Ok(Self {
                config,
                namespaces: None,
                instead: rustix::process::geteuid().is_root().then_some(BUILDER),
                report: IsolationReport::none(refused),
            }),
        }
    }

    /// Who runs programs where users are not isolated, if not whoever runs us: what they are to read and
    /// write has to be theirs.
    pub fn instead(&self) -> Option<User> {
        self.instead
    }

    /// Whether programs see a root of their own.
    pub fn has_root(&self) -> bool {
        self.namespaces.is_some()
    }

    /// Whether layers that cannot be stacked are all that is in the way, perhaps.
    fn may_copy(config: &Config) -> bool {
        matches!(&config.root, Root::Image(image) if matches!(image.files, RootFiles::Layers(_)))
    }

    /// In a copy of an image, without any namespace.
    fn by_chroot(config: Config, mut refused: Vec<String>) -> Result<Self, SandboxError> {
        let Some(folder) = chroot::folder_of(&config.root) else {
            return Err(SandboxError::NoRoot { refused });
        };
        if let Err(error) = chroot::copy_in(folder, &config.mounts) {
            refused.push(format!("chroot: {error}"));
            return Err(SandboxError::NoRoot { refused });
        }
        match attempt(&config, None)? {
            Ok(_) => Ok(Self {
                report: IsolationReport::chroot(&config.root, refused),
                config,
                namespaces: None,
                instead: None,
            }),
            Err(problem) => {
                refused.push(format!("chroot: {problem}"));
                Err(SandboxError::NoRoot { refused })
            }
        }
    }

    /// What is isolated, and what is not.
    pub fn report(&self) -> &IsolationReport {
        &self.report
    }

    /// Where a program that runs here finds what is meant to be at `path`. The same path, unless
    /// nothing is isolated: then there are no mounts, and it is the path outside.
    pub fn path(&self, path: &Path) -> PathBuf {
        if self.namespaces.is_some() || chroot::folder_of(&self.config.root).is_some() {
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
        let watch = |text: String| RunError::Watch {
            program: command.program.clone(),
            source: OsError(io::Error::other(text)),
        };
        let put = match (chroot::folder_of(&self.config.root), &self.namespaces) {
            (Some(folder), None) => chroot::move_in(folder, &self.config.mounts)
                .map(Some)
                .map_err(|it| watch(it.to_string()))?,
            _ => None,
        };
        let replies = start(
            &self.config,
            self.namespaces.as_ref(),
            self.instead,
            Some(program),
            output,
        );
        if let Some(put) = put {
            put.take_back().map_err(|it| watch(it.to_string()))?;
        }
        let replies = replies?;
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
            Some(_) | None => {
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
    namespaces: Option<&Namespaces>,
) -> Result<Result<Facts, String>, SandboxError> {
    let output = Capped::default();
    let replies =
        start(config, namespaces, None, None, &output).map_err(|source| SandboxError::Enter {
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
    /// The root of an image cannot be made here.
    #[error("this machine cannot run a build in the root of an image: {}", refused.join("; "))]
    NoRoot {
        /// What was tried, and why it failed.
        refused: Vec<String>,
    },
    /// Nothing can be mounted here, and something has to be.
    #[error("this machine has no sandbox in which something could be mounted")]
    NoMounts,
    /// The machine refuses isolation that is required.
    #[error("cannot isolate the build as required: {reason}")]
    Refused {
        /// What it lacks, and why.
        reason: String,
    },
}
