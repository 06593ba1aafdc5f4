//! The source of an app: a copy of it to build in, the digest of what was copied, and where it
//! stands in version control.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lifecycle_core::provenance::Git;
use oci::{Digest, Hasher};

use crate::project::Files;

/// What a folder may hold.
const MAX_ENTRIES: usize = 1_000_000;
const MAX_DEPTH: usize = 128;

/// Copies the folder `from` to `to`, which is made, and gives the digest of what was copied.
///
/// The digest is the SHA-256 of one record for each entry, in the byte order of their paths:
/// the path relative to the folder, a zero byte, the kind (`d` folder, `f` file, `x` executable
/// file, `l` symbolic link), a zero byte, and the SHA-256 in hex of a file's content, the target of
/// a link, or nothing; then a line feed. Owners and times are no part of it, nor are the permission
/// bits beyond "executable by its owner". Sockets, pipes and devices are an error.
pub fn copy(from: &Path, to: &Path) -> Result<Digest, SourceError> {
    copy_files(from, to, &Files::All)
}

/// [`copy`], of some files. Of those that are left out there is no record, nor of the folders that
/// they alone lie in, if only some are taken.
pub fn copy_files(from: &Path, to: &Path, files: &Files) -> Result<Digest, SourceError> {
    let metadata = fs::metadata(from).map_err(|source| SourceError::new("read", from, source))?;
    if !metadata.is_dir() {
        return Err(SourceError::NotAFolder {
            path: from.to_owned(),
        });
    }
    fs::create_dir_all(to).map_err(|source| SourceError::new("create", to, source))?;
    let to = Some(to);
    let mut walk = Walk::new(from, to, files);
    walk.folder(Path::new(""), 0, matches!(files, Files::Include(_)))?;
    Ok(digest_of(&walk.records))
}

/// The digest of the folder `of`, as [`copy`] has it.
pub fn digest(of: &Path) -> Result<Digest, SourceError> {
    let mut walk = Walk::new(of, None, &Files::All);
    walk.folder(Path::new(""), 0, false)?;
    Ok(digest_of(&walk.records))
}

/// The digest of the folder `of` with one more file at its root, or another in its place.
pub fn digest_with(of: &Path, name: &str, content: &[u8]) -> Result<Digest, SourceError> {
    let mut walk = Walk::new(of, None, &Files::All);
    walk.folder(Path::new(""), 0, false)?;
    let record = [&b"f\0"[..], Digest::of(content).hex().as_bytes()].concat();
    walk.records.insert(name.as_bytes().to_vec(), record);
    Ok(digest_of(&walk.records))
}

fn digest_of(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Digest {
    let mut hasher = Hasher::default();
    for (path, rest) in records {
        hasher.update(path);
        hasher.update(b"\0");
        hasher.update(rest);
        hasher.update(b"\n");
    }
    hasher.finish()
}

/// A folder that is read, and perhaps copied.
struct Walk<'a> {
    from: &'a Path,
    to: Option<&'a Path>,
    files: &'a Files,
    /// How many entries were looked at.
    seen: usize,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<'a> Walk<'a> {
    fn new(from: &'a Path, to: Option<&'a Path>, files: &'a Files) -> Self {
        Self {
            from,
            to,
            files,
            seen: 0,
            records: BTreeMap::new(),
        }
    }

    /// Takes what is in a folder; `seeking` if only what the patterns mean is taken, and they do not
    /// mean this folder.
    fn folder(&mut self, relative: &Path, depth: usize, seeking: bool) -> Result<(), SourceError> {
        let here = self.from.join(relative);
        if depth > MAX_DEPTH {
            return Err(SourceError::TooDeep { path: here });
        }
        let failed = |source| SourceError::new("read", &here, source);
        for entry in fs::read_dir(&here).map_err(failed)? {
            let path = relative.join(entry.map_err(failed)?.file_name());
            self.seen += 1;
            if self.seen > MAX_ENTRIES {
                return Err(SourceError::TooMany {
                    path: self.from.to_owned(),
                });
            }
            self.entry(&path, depth, seeking)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, depth: usize, seeking: bool) -> Result<(), SourceError> {
        let source = self.from.join(path);
        let metadata = fs::symlink_metadata(&source)
            .map_err(|error| SourceError::new("read", &source, error))?;
        let bytes = path.as_os_str().as_bytes();
        let seeking = match self.files {
            Files::All => false,
            Files::Exclude(patterns) => {
                if patterns.says(bytes, metadata.is_dir()) == Some(true) {
                    return Ok(());
                }
                false
            }
            Files::Include(patterns) => {
                seeking && patterns.says(bytes, metadata.is_dir()) != Some(true)
            }
        };
        if seeking {
            // What is sought may lie below; the folder is made when it is found.
            return if metadata.is_dir() {
                self.folder(path, depth + 1, true)?;
                self.close(path, &metadata)
            } else {
                Ok(())
            };
        }
        self.open_folders(path)?;
        let target = self.to.map(|it| it.join(path));
        let record = entry_record(&source, target.as_deref(), &metadata)?;
        self.records.insert(bytes.to_vec(), record);
        if metadata.is_dir() {
            self.folder(path, depth + 1, false)?;
            self.close(path, &metadata)?;
        }
        Ok(())
    }

    /// Makes the folders that `path` lies in, as far as there are none: something in them is taken.
    fn open_folders(&mut self, path: &Path) -> Result<(), SourceError> {
        let Some(folder) = path.parent() else {
            return Ok(());
        };
        let bytes = folder.as_os_str().as_bytes();
        if bytes.is_empty() || self.records.contains_key(bytes) {
            return Ok(());
        }
        self.open_folders(folder)?;
        if let Some(target) = self.to.map(|it| it.join(folder)) {
            fs::create_dir(&target).map_err(|error| SourceError::new("create", &target, error))?;
        }
        self.records.insert(bytes.to_vec(), b"d\0".to_vec());
        Ok(())
    }

    /// Gives a folder its mode, if it was made. Only now: it may say that nobody writes to it.
    fn close(&self, path: &Path, metadata: &Metadata) -> Result<(), SourceError> {
        let taken = self.records.contains_key(path.as_os_str().as_bytes());
        match self.to {
            Some(to) if taken => set_mode(&to.join(path), metadata),
            _ => Ok(()),
        }
    }
}

/// Copies one entry, but for what is in a folder.
fn entry_record(
    source: &Path,
    target: Option<&Path>,
    metadata: &Metadata,
) -> Result<Vec<u8>, SourceError> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        if let Some(target) = target {
            fs::create_dir(target).map_err(|error| SourceError::new("create", target, error))?;
        }
        Ok(b"d\0".to_vec())
    } else if kind.is_symlink() {
        let link =
            fs::read_link(source).map_err(|error| SourceError::new("read", source, error))?;
        if let Some(target) = target {
            std::os::unix::fs::symlink(&link, target)
                .map_err(|error| SourceError::new("create", target, error))?;
        }
        Ok([b"l\0", link.as_os_str().as_bytes()].concat())
    } else if kind.is_file() {
        let digest = file(source, target)?;
        if let Some(target) = target {
            set_mode(target, metadata)?;
        }
        let executable = metadata.mode() & 0o100 != 0;
        let kind: &[u8] = if executable { b"x\0" } else { b"f\0" };
        Ok([kind, digest.hex().as_bytes()].concat())
    } else {
        Err(SourceError::Special {
            path: source.to_owned(),
        })
    }
}

/// Copies a file's content, and gives the digest of what was copied.
fn file(source: &Path, target: Option<&Path>) -> Result<Digest, SourceError> {
    let mut reader =
        fs::File::open(source).map_err(|error| SourceError::new("read", source, error))?;
    let mut writer = target
        .map(|it| fs::File::create_new(it).map_err(|error| SourceError::new("create", it, error)))
        .transpose()?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = reader
            .read(&mut buffer)
            .map_err(|error| SourceError::new("read", source, error))?;
        let chunk = buffer.get(..count).unwrap_or_default();
        if chunk.is_empty() {
            return Ok(hasher.finish());
        }
        hasher.update(chunk);
        if let (Some(writer), Some(target)) = (&mut writer, target) {
            writer
                .write_all(chunk)
                .map_err(|error| SourceError::new("write", target, error))?;
        }
    }
}

fn set_mode(target: &Path, metadata: &Metadata) -> Result<(), SourceError> {
    let permissions = fs::Permissions::from_mode(metadata.mode() & 0o7777);
    fs::set_permissions(target, permissions)
        .map_err(|error| SourceError::new("set the mode of", target, error))
}

/// Where the folder `app` stands in git; none, if it is in no repository, or there is no git.
///
/// `git` gets no environment but `path` (a `PATH`) and `home`, never asks for anything, and runs no
/// program that the repository's own settings name: whoever sends a folder with a repository in it
/// would run programs here, before anything is isolated. What the user's settings name is run.
pub fn git(app: &Path, path: Option<&OsStr>, home: Option<&Path>) -> Option<Git> {
    let git = GitCommand {
        app,
        path,
        home,
        unset: Vec::new(),
    };
    let commit = git.run(&["rev-parse", "--verify", "HEAD^{commit}"])?;
    let is_hex = commit.len() >= 40 && commit.bytes().all(|it| it.is_ascii_hexdigit());
    let git = git.without_filters()?;
    let status = git.run(&[
        "status",
        "--porcelain",
        "--untracked-files=all",
        "--ignored",
        // Looking into them would run git in them, with their own settings.
        "--ignore-submodules=dirty",
        "--",
        ".",
    ])?;
    is_hex.then(|| Git {
        uri: git
            .run(&["config", "--get", "remote.origin.url"])
            .and_then(|it| without_credentials(&it)),
        path: git
            .run(&["rev-parse", "--show-prefix"])
            .unwrap_or_default()
            .trim_end_matches('/')
            .to_owned(),
        commit,
        dirty: !status.is_empty(),
    })
}

/// How `git` is asked.
struct GitCommand<'a> {
    app: &'a Path,
    path: Option<&'a OsStr>,
    home: Option<&'a Path>,
    /// Settings that are to be empty.
    unset: Vec<String>,
}

impl GitCommand<'_> {
    /// Keeps filters of the repository's own settings from running: `git status` would run them.
    /// None, if it cannot be known which there are.
    fn without_filters(mut self) -> Option<Self> {
        let set = self.run(&["config", "--show-scope", "--name-only", "--list"])?;
        for line in set.lines() {
            let (scope, name) = line.split_once('\t')?;
            let own = !matches!(scope, "system" | "global" | "command");
            if own && name.starts_with("filter.") {
                // Such a name cannot be given on a command line.
                if name.contains('=') {
                    return None;
                }
                let value = if name.ends_with(".required") {
                    "false"
                } else {
                    ""
                };
                self.unset.push(format!("{name}={value}"));
            }
        }
        Some(self)
    }

    fn run(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("git");
        for setting in [
            "core.fsmonitor=",
            "core.hooksPath=/dev/null",
            "safe.directory=*",
        ] {
            command.args(["-c", setting]);
        }
        for setting in &self.unset {
            command.args(["-c", setting]);
        }
        command
            .arg("-C")
            .arg(self.app)
            .args(arguments)
            .env_clear()
            // What a partial clone lacks would be fetched, by programs that the repository names.
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        if let Some(path) = self.path {
            command.env("PATH", path);
        }
        if let Some(home) = self.home {
            command.env("HOME", home);
        }
        let output = command.output().ok().filter(|it| it.status.success())?;
        let text = String::from_utf8_lossy(&output.stdout);
        Some(text.trim_end().to_owned())
    }
}

/// The URL of a remote without user and password; none for one that only this machine knows.
fn without_credentials(url: &str) -> Option<String> {
    match url.split_once("://") {
        Some(("file", _)) => None,
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host);
            let path = path.split(['?', '#']).next().unwrap_or_default();
            (!host.is_empty()).then(|| format!("{scheme}://{host}/{path}"))
        }
        // git's short form for ssh: `user@host:path`.
        None => {
            let (host, path) = url.split_once(':')?;
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            (!host.is_empty() && !host.contains('/'))
                .then(|| format!("ssh://{host}/{}", path.trim_start_matches('/')))
        }
    }
}

/// Why the source could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file system failed.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The app is no folder.
    #[error("`{}` is not a folder", path.display())]
    NotAFolder {
        /// What was given.
        path: PathBuf,
    },
    /// A socket, pipe or device.
    #[error("`{}` is neither a file, a folder nor a link", path.display())]
    Special {
        /// Which.
        path: PathBuf,
    },
    /// Folders in folders without end.
    #[error("`{}` lies more than {MAX_DEPTH} folders deep", path.display())]
    TooDeep {
        /// Where it was given up.
        path: PathBuf,
    },
    /// More entries than are copied.
    #[error("`{}` holds more than {MAX_ENTRIES} files", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
}

impl SourceError {
    fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Patterns;

    fn app(folder: &Path) {
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(folder.join("a"), "1").unwrap();
        fs::write(folder.join("sub/b"), "2").unwrap();
        std::os::unix::fs::symlink("a", folder.join("link")).unwrap();
    }

    #[test]
    fn a_copy_has_the_digest_of_what_was_copied() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|it| folder.path().join(it));
        app(&from);
        let copied = copy(&from, &to).unwrap();
        assert_eq!(copied, digest(&from).unwrap());
        assert_eq!(copied, digest(&to).unwrap());
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("a"));
    }

    #[test]
    fn every_change_that_counts_changes_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        app(folder.path());
        let before = digest(folder.path()).unwrap();
        let mut seen = vec![before];
        let mut changed = || {
            let now = digest(folder.path()).unwrap();
            assert!(!seen.contains(&now));
            seen.push(now);
        };
        fs::write(folder.path().join("a"), "3").unwrap();
        changed();
        fs::set_permissions(folder.path().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        changed();
        fs::rename(folder.path().join("a"), folder.path().join("c")).unwrap();
        changed();
        fs::create_dir(folder.path().join("empty")).unwrap();
        changed();
    }

    #[test]
    fn only_some_files_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        for name in [
            "a.rs",
            "src/b.rs",
            "src/deep/c.txt",
            "target/d.rs",
            "empty/e.txt",
        ] {
            let path = from.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
        }
        // What is left out may be what could not be taken.
        let pipe = from.join("target/pipe");
        let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o600));
        rustix::fs::mknodat(rustix::fs::CWD, pipe, fifo, mode, 0).unwrap();
        let taken = |name: &str, files: &Files| {
            let to = folder.path().join(name);
            let digest = copy_files(&from, &to, files).unwrap();
            assert_eq!(digest, super::digest(&to).unwrap());
            let mut walk = Walk::new(&to, None, &Files::All);
            walk.folder(Path::new(""), 0, false).unwrap();
            let names = walk.records.into_keys();
            names
                .map(|it| String::from_utf8(it).unwrap())
                .collect::<Vec<_>>()
        };
        let include = Files::Include(Patterns::new(["*.rs", "!target/", "!target/*"]));
        assert_eq!(taken("include", &include), ["a.rs", "src", "src/b.rs"]);
        let exclude = Files::Exclude(Patterns::new(["target/", "*.txt"]));
        assert_eq!(
            taken("exclude", &exclude),
            ["a.rs", "empty", "src", "src/b.rs", "src/deep"]
        );
    }

    #[test]
    fn pipes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from(0o600),
            0,
        )
        .unwrap();
        assert!(matches!(
            digest(folder.path()),
            Err(SourceError::Special { .. })
        ));
    }

    fn run_git(app: &Path, arguments: &[&str]) -> io::Result<std::process::Output> {
        Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .arg("-C")
            .arg(app)
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
    }

    /// Commits all of a folder to a new repository in it, if there is git.
    fn is_committed(app: &Path) -> bool {
        if run_git(app, &["init", "--quiet"]).is_err() {
            eprintln!("SKIPPED: there is no `git` here");
            return false;
        }
        run_git(app, &["add", "."]).unwrap();
        run_git(app, &["commit", "--quiet", "-m", "a"]).unwrap();
        true
    }

    #[test]
    fn git_says_where_an_app_stands_and_runs_nothing_of_the_repository() {
        let folder = tempfile::tempdir().unwrap();
        let (app, proof) = (folder.path().join("app"), folder.path().join("proof"));
        fs::create_dir_all(app.join("sub")).unwrap();
        fs::write(app.join("sub/a"), "1").unwrap();
        fs::write(app.join(".gitattributes"), "* filter=evil diff=evil\n").unwrap();
        let path = OsStr::new("/usr/bin:/bin");
        let run = |arguments: &[&str]| run_git(&app, arguments);
        if !is_committed(&app) {
            return;
        }
        let url = "https://user:secret@git.example/app.git";
        run(&["remote", "add", "origin", url]).unwrap();
        let touch = format!("touch {}; cat", proof.display());
        for name in [
            "filter.evil.clean",
            "filter.evil.process",
            "filter.evil.smudge",
            "core.fsmonitor",
            "core.pager",
            "diff.external",
            "diff.evil.command",
            "diff.evil.textconv",
        ] {
            run(&["config", name, &touch]).unwrap();
        }
        run(&["config", "filter.evil.required", "true"]).unwrap();
        // Its time has changed, so git has to look at the content.
        fs::write(app.join("sub/a"), "1").unwrap();
        let clean = git(&app.join("sub"), Some(path), None).unwrap();
        assert_eq!(clean.uri.as_deref(), Some("https://git.example/app.git"));
        assert_eq!((clean.path.as_str(), clean.dirty), ("sub", false));
        fs::write(app.join("sub/a"), "2").unwrap();
        assert!(git(&app.join("sub"), Some(path), None).unwrap().dirty);
        assert!(!proof.exists());
        assert_eq!(git(folder.path(), Some(path), None), None);
        assert_eq!(git(&app, Some(OsStr::new("/nowhere")), None), None);
    }

    #[test]
    fn git_fetches_nothing_that_a_partial_clone_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let (app, proof) = (folder.path().join("app"), folder.path().join("proof"));
        fs::create_dir_all(&app).unwrap();
        fs::write(app.join("a"), "1").unwrap();
        let run = |arguments: &[&str]| run_git(&app, arguments);
        if !is_committed(&app) {
            return;
        }
        let head = String::from_utf8(run(&["rev-parse", "HEAD"]).unwrap().stdout).unwrap();
        let (start, rest) = head.trim().split_at(2);
        let touch = format!("sh -c 'touch {}; false'", proof.display());
        for (name, value) in [
            ("core.repositoryformatversion", "1"),
            ("extensions.partialClone", "origin"),
            ("remote.origin.promisor", "true"),
            ("remote.origin.url", "ssh://git.example/a"),
            ("core.sshCommand", touch.as_str()),
        ] {
            run(&["config", name, value]).unwrap();
        }
        fs::remove_file(app.join(".git/objects").join(start).join(rest)).unwrap();
        assert_eq!(git(&app, Some(OsStr::new("/usr/bin:/bin")), None), None);
        assert!(!proof.exists());
    }

    #[test]
    fn remotes_lose_their_credentials() {
        for (url, want) in [
            (
                "https://user:token@git.example/a/b.git",
                Some("https://git.example/a/b.git"),
            ),
            (
                "https://git.example/a?token=x",
                Some("https://git.example/a"),
            ),
            ("git@git.example:a/b.git", Some("ssh://git.example/a/b.git")),
            ("ssh://git@git.example:22/a", Some("ssh://git.example:22/a")),
            ("/srv/git/a", None),
            ("../a", None),
            ("file:///srv/git/a", None),
        ] {
            assert_eq!(without_credentials(url).as_deref(), want, "{url}");
        }
    }
}
