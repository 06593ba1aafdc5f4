//! A root file system that instructions change.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::users::Identity;
use crate::exec::{Exit, Output, RunError};

/// Where instructions are carried out. All paths are absolute, and of the root.
pub trait Root: fmt::Debug {
    /// What is at `path`. Links are followed, none of them out of the root.
    fn look(&self, path: &Path) -> io::Result<Look>;

    /// The content of the file at `path`, if there is one; more than `limit` bytes are an error.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<String>>;

    /// Runs a command to its end, with all that it started.
    fn run(&mut self, command: &Command, output: &dyn Output) -> Result<Exit, RunError>;

    /// Remembers how everything is.
    fn remember(&mut self) -> io::Result<()>;

    /// What has changed since it was remembered.
    fn changes(&mut self) -> io::Result<Changes>;

    /// Unpacks a layer, a tar that may be compressed.
    fn apply(&mut self, layer: &Path) -> Result<(), oci::ExtractError>;
}

/// A command, and all that it gets.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "who runs it has to know all of it"
)]
pub struct Command {
    /// The program and its arguments. Without a `/` it is looked for in `PATH`.
    pub words: Vec<String>,
    /// Its environment, whole.
    pub env: BTreeMap<String, String>,
    /// The folder it starts in.
    pub dir: PathBuf,
    /// Who runs it.
    pub identity: Identity,
    /// A program that stands in the Dockerfile and is run in place of `words`; it begins with `#!`.
    pub script: Option<String>,
}

/// What is at a path.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Look {
    /// The path without links; of what is not there as far as it is.
    pub path: PathBuf,
    /// What is there, if anything.
    pub found: Option<Found>,
}

/// What a file says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more that counts")]
pub struct Found {
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner, as seen in the root.
    pub uid: u32,
    /// The group, as seen in the root.
    pub gid: u32,
    /// When it was modified, in seconds since 1970.
    pub mtime: i64,
}

/// What a command changed. Paths begin at the root, without a `/`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Changes {
    /// Where what was changed lies, with the folders above it.
    pub folder: PathBuf,
    /// What was added or changed, in order.
    pub changed: Vec<PathBuf>,
    /// What was removed, in order; what was below a removed folder is not named.
    pub removed: Vec<PathBuf>,
}
