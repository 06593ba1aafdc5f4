//! All that a process has to know to enter, as it is sent to it.

use std::ffi::OsString;
use std::fmt;
use std::io;

use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};

use super::failed::Failed;
use super::task::{Done, Task};
use super::users::{User, UserMap};
use super::{BUILD_USER, LayerFolder, Mount, Network, Root, RootFiles};

/// All that a process has to know to enter.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Spec {
    pub(super) stage: Stage,
    /// Who started the first stage.
    pub(super) parent: u32,
    /// None: run the command as it is.
    pub(super) namespaces: Option<Namespaces>,
    pub(super) map: Map,
    pub(super) root: SpecRoot,
    /// Who runs the command: whoever is mapped, if nobody is named.
    pub(super) user: Option<User>,
    /// See [`super::ImageRoot::as_root`].
    pub(super) as_root: bool,
    /// What runs programs for machines of another kind: its path, and for which architecture.
    pub(super) interpreter: Option<(OsString, String)>,
    pub(super) host_network: bool,
    pub(super) mounts: Vec<SpecMount>,
    pub(super) hidden: Vec<OsString>,
    /// None: enter, say so, and leave.
    pub(super) command: Option<Program>,
    /// What to do in the user namespace instead of making a root.
    pub(super) task: Option<Task>,
}

/// What a build sees as its root.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) enum SpecRoot {
    /// The machine's, read-only.
    Machine,
    /// Folders on top of each other, the highest first.
    Overlay {
        layers: Vec<SpecLayer>,
        /// See [`super::ImageRoot::sides`].
        sides: bool,
    },
    /// A folder, which is written to.
    Copy { folder: OsString },
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct SpecLayer {
    pub(super) folder: OsString,
    /// See [`LayerFolder::implied`].
    pub(super) implied: Vec<OsString>,
}

impl From<&Root> for SpecRoot {
    fn from(root: &Root) -> Self {
        let layer = |layer: &LayerFolder| SpecLayer {
            folder: layer.folder.clone().into(),
            implied: layer.implied.iter().map(|it| it.clone().into()).collect(),
        };
        match root {
            Root::Machine => Self::Machine,
            Root::Image(image) => match &image.files {
                RootFiles::Layers(layers) => Self::Overlay {
                    layers: layers.iter().map(layer).collect(),
                    sides: image.sides,
                },
                RootFiles::Copy(folder) => Self::Copy {
                    folder: folder.into(),
                },
            },
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Stage {
    /// Leaves for the new namespaces.
    First,
    /// The first process of the new process namespace; without namespaces, what becomes the program.
    Second,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Program {
    pub(super) file: OsString,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) dir: OsString,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct SpecMount {
    pub(super) source: OsString,
    pub(super) target: OsString,
    pub(super) writable: bool,
}

impl From<&Mount> for SpecMount {
    fn from(mount: &Mount) -> Self {
        Self {
            source: mount.source.clone().into(),
            target: mount.target.clone().into(),
            writable: mount.writable,
        }
    }
}

/// How users and groups inside are found.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) enum Map {
    /// There is one of each, which one may map for oneself.
    One {
        outer_uid: u32,
        outer_gid: u32,
        uid: u32,
        gid: u32,
    },
    /// Whoever starts us maps them, and says so.
    Given,
    /// They are the machine's: we are root, and there is no user namespace.
    Real,
}

impl Map {
    /// Only whoever runs us; root appears as an ordinary user.
    pub(super) fn own() -> Self {
        let inner = |id| if id == 0 { BUILD_USER } else { id };
        let (outer_uid, outer_gid) = own_ids();
        Self::One {
            outer_uid,
            outer_gid,
            uid: inner(outer_uid),
            gid: inner(outer_gid),
        }
    }
}

impl From<&UserMap> for Map {
    fn from(map: &UserMap) -> Self {
        let user = match map {
            UserMap::One(user) => user,
            UserMap::Real => return Self::Real,
            UserMap::Shifted | UserMap::Subordinate { .. } => return Self::Given,
        };
        let (outer_uid, outer_gid) = own_ids();
        Self::One {
            outer_uid,
            outer_gid,
            uid: user.uid,
            gid: user.gid,
        }
    }
}

fn own_ids() -> (u32, u32) {
    (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}

/// Which namespaces are new. That of mounts always is.
#[expect(clippy::struct_excessive_bools, reason = "a set of five")]
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Namespaces {
    pub(super) user: bool,
    pub(super) pid: bool,
    pub(super) ipc: bool,
    pub(super) uts: bool,
    pub(super) network: bool,
}

impl Namespaces {
    /// Those in which files of an image are made, and no more.
    pub(super) fn of_users() -> Self {
        Self {
            user: true,
            pid: false,
            ipc: false,
            uts: false,
            network: false,
        }
    }

    /// What to try, strongest first: kinds that are refused are given up one by one, and the network last,
    /// which says most about what a build can have taken in. Where user namespaces are forbidden, root can
    /// do without; in the root of an image it is decided already whose the files are.
    pub(super) fn choices(network: Network, root: &Root) -> Vec<Self> {
        const KINDS: [(bool, bool, bool); 4] = [
            (true, true, true),
            (true, true, false),
            (true, false, false),
            (false, false, false),
        ];
        let users: &[bool] = match root {
            Root::Machine if rustix::process::geteuid().is_root() => &[true, false],
            Root::Image(image) if image.map == UserMap::Real => &[false],
            Root::Machine | Root::Image(_) => &[true],
        };
        let mut choices = Vec::new();
        let networks: &[bool] = match network {
            Network::None => &[true, false],
            Network::Host => &[false],
        };
        for network in networks {
            for (pid, ipc, uts) in KINDS {
                for user in users {
                    choices.push(Self {
                        user: *user,
                        pid,
                        ipc,
                        uts,
                        network: *network,
                    });
                }
            }
        }
        choices
    }

    pub(super) fn flags(&self) -> CloneFlags {
        let flag = |wanted, flag| if wanted { flag } else { CloneFlags::empty() };
        CloneFlags::CLONE_NEWNS
            | flag(self.user, CloneFlags::CLONE_NEWUSER)
            | flag(self.pid, CloneFlags::CLONE_NEWPID)
            | flag(self.ipc, CloneFlags::CLONE_NEWIPC)
            | flag(self.uts, CloneFlags::CLONE_NEWUTS)
            | flag(self.network, CloneFlags::CLONE_NEWNET)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        [
            (self.user, "user"),
            (true, "mount"),
            (self.pid, "pid"),
            (self.ipc, "ipc"),
            (self.uts, "uts"),
            (self.network, "network"),
        ]
        .into_iter()
        .filter_map(|(new, name)| new.then_some(name))
    }
}

impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}

/// What the processes inside have to say. The last one counts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) enum Reply {
    /// There is a user namespace that waits for its maps.
    Unmapped,
    /// The task is done.
    Done { done: Done },
    /// The task cannot be done.
    NotDone { problem: String },
    /// All is in place.
    Ready { facts: Facts },
    /// It cannot be put in place.
    Failed { step: String, errno: i32 },
    /// The command cannot be run.
    NotStarted { what: NotStarted, errno: i32 },
    /// The command ended.
    Exited { code: i32 },
    /// The command was killed.
    Signaled { signal: i32 },
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) enum NotStarted {
    Dir,
    Program,
}

/// What turned out inside.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Facts {
    pub(super) own_proc: bool,
}

impl From<Failed> for Reply {
    fn from(Failed { step, errno }: Failed) -> Self {
        Self::Failed { step, errno }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { step, errno } => {
                let cause = io::Error::from_raw_os_error(*errno);
                write!(f, "cannot {step}: {cause}")
            }
            Self::NotDone { problem } => f.write_str(problem),
            _ => f.write_str("it ended early"),
        }
    }
}
