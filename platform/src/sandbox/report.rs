use std::fmt;

use serde::{Deserialize, Serialize};

use super::Network;
use super::spec::Namespaces;

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
    /// Whether the machine's root is read-only for a build.
    pub read_only_root: bool,
    /// Whether a build sees its own processes only.
    pub own_processes: bool,
    /// What this machine refused, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// A kind of namespace, by name.
pub type Namespace = &'static str;

/// What turned out inside.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Facts {
    pub(super) own_proc: bool,
}

impl IsolationReport {
    pub(super) fn new(namespaces: &Namespaces, facts: &Facts, refused: Vec<String>) -> Self {
        Self {
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
            own_processes: false,
            refused,
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

/// One line, e.g. `user, mount, pid, ipc, uts and network are isolated`.
impl fmt::Display for IsolationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespaces.split_last() {
            Some((last, rest)) => write!(f, "{} and {last} are isolated", rest.join(", "))?,
            None => f.write_str("nothing is isolated")?,
        }
        if !self.own_processes && !self.namespaces.is_empty() {
            f.write_str(", but the machine's processes can be seen")?;
        }
        match self.refused.first() {
            Some(refused) => write!(f, " (this machine refuses {refused})"),
            None => Ok(()),
        }
    }
}
