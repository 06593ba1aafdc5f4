//! How a build was kept from the machine.

use std::fmt;

use serde::Serialize;

use super::spec::{Facts, Namespaces};
use super::{Network, Root};

/// How a build is kept from the machine: for one line to the user, and for provenance.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct IsolationReport {
    /// The kinds of namespaces of its own that a build has: `user`, `mount`, `pid`, `ipc`, `uts`,
    /// `network`, in this order. Without `mount`, nothing is isolated at all.
    pub namespaces: Vec<Namespace>,
    /// Which network a build sees: `none` or `host`.
    pub network: &'static str,
    /// Whether a build cannot change the machine's root.
    pub read_only_root: bool,
    /// Whose root a build has.
    pub root: RootKind,
    /// Whether a build sees its own processes only.
    pub own_processes: bool,
    /// What this machine refused, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// Whose root a build has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RootKind {
    /// This machine's.
    Machine,
    /// An image's, whose files have the owners that it says.
    Image,
    /// An image's, all of whose files are the builder's: this machine gives whoever runs us no more
    /// users than one.
    ImageOfOneUser,
}

impl RootKind {
    fn of(root: &Root) -> Self {
        match root {
            Root::Machine => Self::Machine,
            Root::Image(image) if image.map.has_owners() => Self::Image,
            Root::Image(_) => Self::ImageOfOneUser,
        }
    }
}

/// A kind of namespace, by name.
pub type Namespace = &'static str;

impl IsolationReport {
    pub(super) fn new(
        root: &Root,
        namespaces: &Namespaces,
        facts: &Facts,
        refused: Vec<String>,
    ) -> Self {
        Self {
            root: RootKind::of(root),
            namespaces: namespaces.names().collect(),
            network: if namespaces.network { "none" } else { "host" },
            read_only_root: true,
            own_processes: facts.own_proc,
            refused,
        }
    }

    pub(super) fn none(refused: Vec<String>) -> Self {
        Self {
            namespaces: Vec::new(),
            network: "host",
            read_only_root: false,
            root: RootKind::Machine,
            own_processes: false,
            refused,
        }
    }

    /// A copy of an image, without any namespace.
    pub(super) fn chroot(root: &Root, refused: Vec<String>) -> Self {
        Self {
            root: RootKind::of(root),
            ..Self::none(refused)
        }
    }

    /// Whether it is all that there can be with this network.
    pub fn is_complete(&self, network: Network) -> bool {
        let count = match network {
            Network::None => 6,
            Network::Host => 5,
        };
        self.namespaces.len() == count && self.own_processes
    }
}

impl IsolationReport {
    /// Why it is not all that there can be: the one refusal that decided.
    pub fn lack(&self) -> String {
        // That of the last attempt that failed. What root may try without a user namespace says only that
        // it is no root that could.
        let with_user = self.refused.iter().rfind(|it| it.starts_with("user"));
        let last = with_user.or(self.refused.last());
        let reason = last.and_then(|it| it.split_once(": "));
        match reason {
            Some((_, reason)) => reason.to_owned(),
            None if !self.own_processes => {
                "`/proc` cannot be mounted, so that the machine's processes can be seen".to_owned()
            }
            None => "something is shared with the machine".to_owned(),
        }
    }

    /// The kinds that there could be, and are not there.
    fn missing(&self) -> Vec<Namespace> {
        let mut all = vec!["user", "mount", "pid", "ipc", "uts", "network"];
        all.retain(|it| !self.namespaces.contains(it));
        all
    }
}

/// One line, e.g. `user, mount, pid, ipc, uts and network are isolated`.
impl fmt::Display for IsolationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, rest)) = self.namespaces.split_last() else {
            let lack = self.lack();
            let what = match self.root {
                RootKind::Machine => "buildpacks run without isolation",
                _ => "buildpacks run without isolation in a copy of the builder",
            };
            return write!(f, "{what}: {lack}; the provenance says so");
        };
        write!(f, "{} and {last} are isolated", rest.join(", "))?;
        let missing = self.missing();
        if !self.refused.is_empty() && !missing.is_empty() {
            write!(f, ", {} not: {}", missing.join(", "), self.lack())?;
        }
        if !self.own_processes {
            f.write_str("; the machine's processes can be seen")?;
        }
        Ok(())
    }
}
