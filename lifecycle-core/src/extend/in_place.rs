//! The root of this process as the root that is changed: what upstream's extender does in a container
//! that was started from the image.
//!
//! What a command changed is seen by looking at all files before and after, unless the root is an
//! overlay. Nothing is read or hashed: what was written has another time of change. Mounts, and what
//! belongs to the build and not to the image, are left out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use oci::{ExtractError, ExtractOptions, Owners, extract};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use tempfile::TempPath;

use super::paths::{outside, resolve};
use super::root::{Changes, Command, Found, Look, Root};
use super::upper::Overlay;
use super::users::Identity;
use super::walk::{State, walk};
use crate::exec::{Cancel, Exit, Output, RunError};
use crate::files::OsError;

/// What is no part of an image, besides mounts and what the caller names: as kaniko has it.
const LEFT_OUT: &[&str] = &["/etc/mtab", "/kaniko", "/tmp/apt-key-gpghome", "/var/run"];

/// The root of this process.
#[derive(Debug)]
pub struct InPlace {
    /// `/`, but in tests.
    root: PathBuf,
    /// What is not looked at.
    left_out: Vec<PathBuf>,
    before: BTreeMap<PathBuf, State>,
    /// If it is an overlay whose sides can be seen.
    overlay: Option<Overlay>,
    cancel: Cancel,
}

impl InPlace {
    /// The root of this process. `left_out` is no part of the image.
    pub fn new(left_out: &[&Path], cancel: Cancel) -> io::Result<Self> {
        let mounts = match fs::read_to_string("/proc/self/mountinfo") {
            Ok(text) => mounts(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let left_out = left_out.iter().map(|it| it.to_path_buf());
        let always = LEFT_OUT.iter().map(PathBuf::from);
        let left_out = left_out.filter(|it| !it.as_os_str().is_empty());
        Ok(Self {
            root: "/".into(),
            left_out: left_out.chain(always).chain(mounts).collect(),
            before: BTreeMap::new(),
            overlay: None,
            cancel,
        })
    }

    /// The same, if the root is an overlay of the folder `lower`, all that was there before as one, and
    /// `upper`, what is written: then changes are looked for in that alone.
    #[must_use]
    pub fn of_overlay(self, upper: OwnedFd, lower: OwnedFd) -> Self {
        Self {
            overlay: Some(Overlay::new(upper, lower)),
            ..self
        }
    }

    #[cfg(test)]
    pub(super) fn of_folder(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            left_out: vec!["/left/out".into()],
            before: BTreeMap::new(),
            overlay: None,
            cancel: Cancel::default(),
        }
    }
}

impl Root for InPlace {
    fn look(&self, path: &Path) -> io::Result<Look> {
        let at = resolve(&self.root, path)?;
        let found = match fs::symlink_metadata(outside(&self.root, &at)) {
            Ok(metadata) => Some(Found {
                is_dir: metadata.is_dir(),
                mode: metadata.mode() & 0o7777,
                uid: metadata.uid(),
                gid: metadata.gid(),
                mtime: metadata.mtime(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Look { path: at, found })
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<String>> {
        let look = self.look(path)?;
        if look.found.is_none() {
            return Ok(None);
        }
        let file = fs::File::open(outside(&self.root, &look.path))?;
        let text = oci::read_text_at_most(file, limit)?;
        text.map(Some)
            .ok_or_else(|| io::ErrorKind::FileTooLarge.into())
    }

    fn run(&mut self, command: &Command, output: &dyn Output) -> Result<Exit, RunError> {
        run(command, &self.cancel, output)
    }

    fn remember(&mut self) -> io::Result<()> {
        if let Some(overlay) = &mut self.overlay {
            return overlay.remember(&self.left_out);
        }
        self.before = walk(&self.root, &self.left_out)?;
        Ok(())
    }

    fn changes(&mut self) -> io::Result<Changes> {
        if let Some(overlay) = &mut self.overlay {
            return overlay.changes(&self.left_out);
        }
        let after = walk(&self.root, &self.left_out)?;
        let is_new = |(path, state): &(&PathBuf, &State)| self.before.get(*path) != Some(*state);
        let changed = after.iter().filter(is_new).map(|(path, _)| path.clone());
        let changed = changed.collect();
        let is_folder =
            |path: &Path| path == Path::new("") || after.get(path).is_some_and(State::is_dir);
        let gone = self.before.keys().filter(|it| !after.contains_key(*it));
        let removed = gone.filter(|it| it.parent().is_some_and(is_folder));
        let removed = removed.cloned().collect();
        self.before = after;
        Ok(Changes {
            folder: self.root.clone(),
            changed,
            removed,
        })
    }

    fn apply(&mut self, layer: &Path) -> Result<(), ExtractError> {
        let file = fs::File::open(layer).map_err(ExtractError::Read)?;
        let options = ExtractOptions {
            owners: if rustix::process::geteuid().is_root() {
                Owners::Keep
            } else {
                Owners::Drop
            },
            ..ExtractOptions::default()
        };
        extract(file, &self.root, &options).map(drop)
    }
}

/// The places of mounts, but the root, of `/proc/self/mountinfo`: the fifth word of each line, in
/// which blanks are `\040`.
fn mounts(mountinfo: &str) -> Vec<PathBuf> {
    let places = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let places = places.map(|it| {
        let it = it.replace("\\040", " ").replace("\\011", "\t");
        it.replace("\\012", "\n").replace("\\134", "\\")
    });
    places.filter(|it| it != "/").map(PathBuf::from).collect()
}

/// Runs a command in this root.
///
/// The numbers of its user are set in a thread of its own, which is gone when the command has started:
/// what is started there has them, and nothing else has.
fn run(command: &Command, cancel: &Cancel, output: &dyn Output) -> Result<Exit, RunError> {
    let mut words = command.words.clone();
    // A script is gone when its file is, so the file has to be there to the end.
    let mut script = None;
    if let Some(text) = &command.script {
        let made = Script::write(text).map_err(|source| RunError::Start {
            program: "/tmp".into(),
            source: OsError(source),
        })?;
        words = vec![made.file.to_string_lossy().into_owned()];
        script = Some(made);
    }
    // For the system a folder that is missing looks like a program that is.
    let chdir = |source| RunError::Chdir {
        dir: command.dir.clone(),
        source: OsError(source),
    };
    if !fs::metadata(&command.dir).map_err(chdir)?.is_dir() {
        return Err(chdir(io::ErrorKind::NotADirectory.into()));
    }
    let program = find(words.first().map_or("", String::as_str), command);
    let watch = |source| RunError::Watch {
        program: program.clone(),
        source: OsError(source),
    };
    let (reader, writer) = io::pipe().map_err(watch)?;
    let (ended, end) = io::pipe().map_err(watch)?;
    let mut process = std::process::Command::new(&program);
    process
        .args(words.iter().skip(1))
        .env_clear()
        .envs(&command.env)
        .current_dir(&command.dir)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(watch)?)
        .stderr(writer);
    let started = std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            become_identity(&command.identity).map_err(|source| RunError::Start {
                program: program.clone(),
                source: OsError(source),
            })?;
            cancel.spawn(&program, &mut process)
        });
        starting.join()
    });
    let mut child = match started {
        Ok(child) => child?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    // It has the pipe's end for writing.
    drop(process);
    let (exit, read) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| pass_on(&reader, &ended, output));
        let exit = cancel.end(&mut child);
        drop(end);
        (exit, reading.join())
    });
    let exit = exit.map_err(watch)?;
    let read = match read {
        Ok(read) => read,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    read.map_err(watch)?;
    if let Some(script) = script {
        script.remove().map_err(watch)?;
    }
    if cancel.is_cancelled() {
        return Err(RunError::Cancelled);
    }
    Ok(exit)
}

/// Hands on what comes, to its end. Who left the process group may keep the pipe, so after the command
/// has `ended` only what a pipe holds is taken.
fn pass_on(reader: &io::PipeReader, ended: &io::PipeReader, output: &dyn Output) -> io::Result<()> {
    /// What a pipe holds, in bytes.
    const HELD: usize = 64 * 1024;
    let mut buffer = vec![0; 32 * 1024];
    let mut left: Option<usize> = None;
    loop {
        let mut files = [
            PollFd::new(reader, PollFlags::IN),
            PollFd::new(ended, PollFlags::IN),
        ];
        match rustix::event::poll(&mut files, None) {
            Err(Errno::INTR) => continue,
            polled => polled?,
        };
        let [from, over] = &files;
        let (has_more, is_over) = (!from.revents().is_empty(), !over.revents().is_empty());
        if is_over {
            left.get_or_insert(HELD);
        }
        if is_over && (!has_more || left == Some(0)) {
            return Ok(());
        }
        if !has_more {
            continue;
        }
        let mut reader = reader;
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                output.write(buffer.get(..count).unwrap_or_default());
                left = left.map(|it| it.saturating_sub(count));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A script in `/tmp`, gone with this.
struct Script {
    file: TempPath,
    folder: fs::File,
    /// When `/tmp` was changed before: a script is not a change of the image.
    changed: SystemTime,
}

impl Script {
    /// Puts a script where every user can run it.
    fn write(text: &str) -> io::Result<Self> {
        let folder = fs::File::open("/tmp")?;
        let changed = folder.metadata()?.modified()?;
        let mut file = tempfile::Builder::new()
            .prefix("run.")
            .tempfile_in("/tmp")?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        let mode = fs::Permissions::from_mode(0o755);
        file.as_file().set_permissions(mode)?;
        Ok(Self {
            file: file.into_temp_path(),
            folder,
            changed,
        })
    }

    fn remove(self) -> io::Result<()> {
        self.file.close()?;
        // Whoever may not set it has a `/tmp` that is another's, and no part of an image.
        self.folder.set_modified(self.changed).ok();
        Ok(())
    }
}

/// Where the program is.
fn find(name: &str, command: &Command) -> PathBuf {
    if name.contains('/') {
        return command.dir.join(name);
    }
    let path = command.env.get("PATH").map_or("", String::as_str);
    let is_program = |it: &PathBuf| {
        fs::metadata(it).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    let places = path.split(':').map(|it| command.dir.join(it).join(name));
    places
        .into_iter()
        .find(is_program)
        .unwrap_or_else(|| name.into())
}

/// Gives the calling thread the numbers of `identity`, unless it has them.
fn become_identity(identity: &Identity) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().filter_map(|it| it.to_str()).collect()
    }

    #[test]
    fn what_was_changed_is_seen_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["a/b", "gone/below", "left/out", "same"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for path in ["a/file", "a/mode", "gone/below/x", "left/out/x", "turned"] {
            fs::write(at(path), "1").unwrap();
        }
        let mut root = InPlace::of_folder(folder.path());
        root.remember().unwrap();
        assert_eq!(root.changes().unwrap().changed, Vec::<PathBuf>::new());
        fs::write(at("a/file"), "2").unwrap();
        fs::set_permissions(at("a/mode"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_dir_all(at("gone")).unwrap();
        fs::write(at("left/out/x"), "2").unwrap();
        fs::remove_file(at("turned")).unwrap();
        fs::create_dir(at("turned")).unwrap();
        fs::write(at("turned/x"), "").unwrap();
        let changes = root.changes().unwrap();
        assert_eq!(
            texts(&changes.changed),
            ["a/file", "a/mode", "turned", "turned/x"]
        );
        assert_eq!(texts(&changes.removed), ["gone"]);
        let again = root.changes().unwrap();
        assert!(again.changed.is_empty() && again.removed.is_empty());
    }

    #[test]
    fn links_never_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
        };
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        link("/a", "absolute");
        link("../../../a/b", "a/up");
        link("loop", "loop");
        let root = InPlace::of_folder(folder.path());
        let look = |path: &str| {
            root.look(Path::new(path))
                .map(|it| (it.path, it.found.is_some()))
        };
        let is = |path: &str, found| (PathBuf::from(path), found);
        assert_eq!(look("/absolute/b").unwrap(), is("/a/b", true));
        assert_eq!(look("/a/up/..").unwrap(), is("/a", true));
        assert_eq!(look("/../a/new/../x/y").unwrap(), is("/a/x/y", false));
        look("/loop").unwrap_err();
        assert_eq!(root.read(Path::new("/none"), 1).unwrap(), None);
    }

    #[test]
    fn mounts_are_those_of_the_kernel() {
        let text = "1 0 0:1 / / rw - overlay o rw\n2 1 0:2 / /with\\040blank rw - proc p rw\n";
        assert_eq!(mounts(text), [PathBuf::from("/with blank")]);
    }

    #[test]
    fn a_command_ends_with_all_that_it_started() {
        let command = |script: &str| Command {
            words: vec!["sh".into(), "-c".into(), script.into()],
            env: BTreeMap::from([("PATH".into(), "/nowhere:/bin:/usr/bin".into())]),
            dir: "/".into(),
            identity: Identity {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
                groups: vec![],
                home: "/".into(),
            },
            script: None,
        };
        let output = crate::exec::Capped::default();
        let cancel = Cancel::default();
        // What goes on in the background does not hold it up, and is ended.
        let exit = run(&command("sleep 1000 & echo a; exit 3"), &cancel, &output);
        assert_eq!(exit.unwrap(), Exit::Code(3));
        let mut with_script = command("");
        with_script.script = Some("#!/bin/sh\necho from $PATH\n".to_owned());
        run(&with_script, &cancel, &output).unwrap();
        // What made a session of its own goes on, and is not waited for.
        let folder = tempfile::tempdir().unwrap();
        let done = folder.path().join("done");
        let script = format!("setsid sh -c 'sleep 3; touch {}' & echo b", done.display());
        run(&command(&script), &cancel, &output).unwrap();
        assert!(!done.exists());
        let text = String::from_utf8(output.into_bytes()).unwrap();
        assert_eq!(text, "a\nfrom /nowhere:/bin:/usr/bin\nb\n");
    }
}
