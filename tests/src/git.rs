//! Repositories that git makes, the same each time.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Output, Workspace, peer};

/// A repository that git makes, with times of our own: the same commands make the same commits.
#[derive(Debug)]
pub struct GitRepository<'a> {
    workspace: &'a Workspace,
    git: PathBuf,
    folder: PathBuf,
}

impl<'a> GitRepository<'a> {
    /// A new one in the folder `name`; `None`, and it is said loudly, without git.
    ///
    /// # Panics
    /// If git cannot make it.
    pub fn new(workspace: &'a Workspace, name: &str) -> Option<Self> {
        let git = peer("git")?;
        let folder = workspace.join(name);
        fs_err::create_dir_all(&folder).expect("the folder is ours");
        let repository = Self {
            workspace,
            git,
            folder,
        };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        Some(repository)
    }

    /// The one that is in `folder` already.
    pub fn open(workspace: &'a Workspace, folder: impl Into<PathBuf>) -> Option<Self> {
        Some(Self {
            workspace,
            git: peer("git")?,
            folder: folder.into(),
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A git command in it, of a user without settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.workspace.command(&self.git);
        command
            .arg("-C")
            .arg(&self.folder)
            .args(["-c", "safe.directory=*"])
            .args(arguments)
            .env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }

    /// Runs it, and gives what it prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn git(&self, arguments: &[&str]) -> String {
        Output::of(&mut self.command(arguments)).expect(0).stdout
    }

    /// Commits whatever is there, as `author` (`Name <mail>`) at `time`, in seconds since 1970.
    ///
    /// # Panics
    /// If git cannot.
    pub fn commit(&self, author: &str, time: i64, arguments: &[&str]) {
        self.at(
            author,
            time,
            &["commit", "--quiet", "--allow-empty", "-m", "x"],
            arguments,
        );
    }

    /// Runs a git command as `author` at `time`.
    ///
    /// # Panics
    /// If it fails.
    pub fn at(&self, author: &str, time: i64, command: &[&str], arguments: &[&str]) {
        let (name, mail) = author.split_once(" <").expect("a name and an address");
        let mail = mail.trim_end_matches('>');
        let time = format!("{time} +0000");
        let mut command = self.command(command);
        command.args(arguments);
        for (role, value) in [("NAME", name), ("EMAIL", mail), ("DATE", &time)] {
            command.env(format!("GIT_AUTHOR_{role}"), value);
            command.env(format!("GIT_COMMITTER_{role}"), value);
        }
        Output::of(&mut command).expect(0);
    }

    /// Writes a file into it.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.folder.join(path);
        fs_err::create_dir_all(path.parent().expect("it is in the folder")).expect("ours");
        fs_err::write(path, content).expect("ours");
        self.git(&["add", "--all"]);
    }

    /// Writes an object as it is, well formed or not, and gives its name.
    ///
    /// # Panics
    /// If git cannot.
    pub fn object(&self, kind: &str, content: &[u8]) -> String {
        let path = self.workspace.write("object", content);
        let path = path.to_str().expect("ours");
        let hash = ["hash-object", "--literally", "-w", "-t", kind, path];
        self.git(&hash).trim().to_owned()
    }
}
