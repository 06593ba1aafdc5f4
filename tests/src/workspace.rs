//! A folder and a home of its own for one test.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::binary;

/// A folder of its own for one test, with a home of its own: nothing of the machine's settings gets
/// in.
#[derive(Debug)]
pub struct Workspace {
    folder: TempDir,
}

/// What a program did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Output {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Workspace {
    /// Makes one.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn new() -> Self {
        Self::below("/tmp")
    }

    /// Makes one in memory (`/dev/shm`) where there is such a place: for measuring, where it is not the
    /// disk that is measured.
    ///
    /// # Panics
    /// If the memory is full.
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            Self::below(memory)
        } else {
            Self::new()
        }
    }

    /// Makes one in this folder.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn below(folder: impl AsRef<Path>) -> Self {
        let folder = TempDir::with_prefix_in("sealpack-test-", folder).expect("a temporary folder");
        fs_err::create_dir(folder.path().join("home")).expect("a folder in it");
        Self { folder }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A path in it.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file, and the folders above it.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(path);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent).expect("folders above the file");
        }
        fs_err::write(&path, content).expect("the file");
        path
    }

    /// A command that knows only this workspace: working directory, home, and a bare `PATH`.
    #[expect(
        clippy::disallowed_methods,
        reason = "the toolchain lies where PATH and HOME say"
    )]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.join("home"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("COSIGN_PASSWORD", "test")
            .env("TMPDIR", self.path());
        // The example compiles with the machine's own toolchain.
        let rustup = std::env::var_os("RUSTUP_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".rustup")));
        if let Some(rustup) = rustup.filter(|it| it.is_dir()) {
            command.env("RUSTUP_HOME", rustup);
        }
        command
    }

    /// `sealpack`, with these arguments.
    pub fn sealpack<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command(binary("sealpack"));
        command.args(arguments);
        command
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

impl Output {
    /// Runs `command` to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn of(command: &mut Command) -> Self {
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code.
    ///
    /// # Panics
    /// If it is another; shows all that was printed.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert!(
            self.code == code,
            "exit code {} instead of {code}\n{}",
            self.code,
            self.transcript(&[])
        );
        self
    }

    /// All of it as one text, for snapshots; each `(what, name)` of `names` stands as its name, and
    /// each digest as `[digest]`.
    pub fn transcript(&self, names: &[(&str, &str)]) -> String {
        let mut text = String::new();
        write!(
            text,
            "exit: {}\n--- stdout\n{}--- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
        .unwrap_or_default();
        for (what, name) in names {
            text = text.replace(what, name);
        }
        without_digests(&text)
    }
}

/// Puts `sha256:[digest]` in place of each digest.
fn without_digests(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("sha256:") {
        let hex = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(before);
        out.push_str("sha256:");
        if hex >= 6 {
            out.push_str("[digest]");
            rest = after.get(hex..).unwrap_or_default();
        } else {
            rest = after;
        }
    }
    out.push_str(rest);
    out
}
