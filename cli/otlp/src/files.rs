//! Lines in files: one for each phase, or one that the user named.
//!
//! The folder of phases belongs to the user of the build, while some phases run as root: nothing is
//! followed out of it, and what is made in it is that user's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, FileType, Mode, OFlags, fchmod, fchown, fstat, mkdirat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::recorder::Sink;
use crate::wire::message;

/// Writes the spans of each phase to `tracing/lifecycle/PHASE.jsonl` below the layers.
///
/// <https://github.com/buildpacks/rfcs/blob/main/text/0131-build-observability.md#location>
#[derive(Debug)]
pub struct PhaseFiles {
    place: Place,
    phases: &'static [&'static str],
    otherwise: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Place {
    /// A file for each phase below these layers.
    Layers(PathBuf),
    /// This file for all.
    File(PathBuf),
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<&'static str, File>,
    problem: Option<io::Error>,
}

impl PhaseFiles {
    /// Below `layers`. What is below a span that has the name of one of `phases` goes to the file of
    /// that name, all else to that of `otherwise`. Nothing is made before a span ends.
    pub fn new(layers: &Path, phases: &'static [&'static str], otherwise: &'static str) -> Self {
        Self {
            place: Place::Layers(layers.to_owned()),
            phases,
            otherwise,
            state: Mutex::default(),
        }
    }

    /// All to the file `path`, for a phase that has no layers. It is not made before a span ends.
    pub fn all_to(path: &Path, phase: &'static str) -> Self {
        Self {
            place: Place::File(path.to_owned()),
            phases: &[],
            otherwise: phase,
            state: Mutex::default(),
        }
    }

    /// Why the last span that could not be written was not, told once.
    pub fn problem(&self) -> Option<io::Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.problem.take()
    }

    fn open(&self, phase: &str) -> Result<File, Errno> {
        let layers = match &self.place {
            Place::Layers(layers) => layers,
            Place::File(path) => {
                let name = path.file_name().ok_or(Errno::ISDIR)?;
                let above = path.parent().filter(|it| !it.as_os_str().is_empty());
                let (folder, owner) = owned(above.unwrap_or(Path::new(".")))?;
                return file(&folder, Path::new(name), owner);
            }
        };
        let (layers, owner) = owned(layers)?;
        let tracing = folder(&layers, "tracing", owner)?;
        let folder = folder(&tracing, "lifecycle", owner)?;
        file(&folder, Path::new(&format!("{phase}.jsonl")), owner)
    }

    fn write(&self, state: &mut State, phase: &'static str, line: &str) -> io::Result<()> {
        let file = match state.files.get_mut(phase) {
            Some(file) => file,
            None => state.files.entry(phase).or_insert(self.open(phase)?),
        };
        // At once, so that lines of several processes do not mix.
        file.write_all(line.as_bytes())
    }
}

impl Sink for PhaseFiles {
    fn span(&self, root: &'static str, element: &str) {
        let phase = if self.phases.contains(&root) {
            root
        } else {
            self.otherwise
        };
        let line = message([element]) + "\n";
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.write(&mut state, phase, &line) {
            state.problem = Some(error);
        }
    }
}

/// Opens a folder, and says whose it is, where that can be given on.
fn owned(path: &Path) -> Result<(OwnedFd, Option<(u32, u32)>), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, path, flags, Mode::empty())?;
    let stat = fstat(&folder)?;
    let owner = geteuid().is_root().then_some((stat.st_uid, stat.st_gid));
    Ok((folder, owner))
}

/// Opens a file to add to it, which is made if it is not there.
fn file(folder: &OwnedFd, name: &Path, owner: Option<(u32, u32)>) -> Result<File, Errno> {
    // Never a wait for whoever reads a pipe.
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let new = flags | OFlags::CREATE | OFlags::EXCL;
    let file = match openat(folder, name, new, Mode::from_raw_mode(0o644)) {
        Ok(file) => {
            give(&file, 0o644, owner)?;
            file
        }
        Err(Errno::EXIST) => openat(folder, name, flags, Mode::empty())?,
        Err(error) => return Err(error),
    };
    let stat = fstat(&file)?;
    // Another name of the file may be one that only root is to write to.
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        return Err(Errno::PERM);
    }
    Ok(file.into())
}

/// Opens a folder, which is made if it is not there.
fn folder(above: &OwnedFd, name: &str, owner: Option<(u32, u32)>) -> Result<OwnedFd, Errno> {
    let made = match mkdirat(above, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(above, name, flags, Mode::empty())?;
    if made {
        give(&folder, 0o755, owner)?;
    }
    Ok(folder)
}

/// Lets the group read, whatever the mask, and makes it the owner's.
fn give(file: impl AsFd, mode: u32, owner: Option<(u32, u32)>) -> Result<(), Errno> {
    fchmod(&file, Mode::from_raw_mode(mode))?;
    if let Some((user, group)) = owner {
        let user = rustix::fs::Uid::from_raw(user);
        let group = rustix::fs::Gid::from_raw(group);
        fchown(&file, Some(user), Some(group))?;
    }
    Ok(())
}

/// Adds lines to a file as spans end.
#[derive(Debug)]
pub struct AppendFile {
    file: Mutex<File>,
}

impl AppendFile {
    /// To this file, which is made if it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        let file = options.append(true).create(true).open(path)?;
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    /// Adds what others wrote.
    pub fn add(&self, element: &str) -> io::Result<()> {
        let line = message([element]) + "\n";
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const PHASES: &[&str] = &["analyze", "detect"];

    fn lines(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_phase_has_a_file_to_which_lines_are_added() {
        let layers = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let files = PhaseFiles::new(layers.path(), PHASES, "detect");
            files.span("analyze", "{}");
            files.span("generate", "{}");
            assert!(files.problem().is_none());
        }
        let folder = layers.path().join("tracing/lifecycle");
        for name in ["analyze.jsonl", "detect.jsonl"] {
            let path = folder.join(name);
            assert_eq!(lines(&path), [r#"{"resourceSpans":[{}]}"#; 2]);
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644);
        }
    }

    #[test]
    fn a_phase_without_layers_has_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.jsonl");
        for _ in 0..2 {
            let files = PhaseFiles::all_to(&path, "rebase");
            files.span("rebase", "{}");
            files.span("analyze", "{}");
            assert!(files.problem().is_none());
        }
        assert_eq!(lines(&path), [r#"{"resourceSpans":[{}]}"#; 4]);
        symlink(&path, folder.path().join("link")).unwrap();
        let files = PhaseFiles::all_to(&folder.path().join("link"), "rebase");
        files.span("rebase", "{}");
        assert!(files.problem().is_some());
    }

    #[test]
    fn nothing_is_followed_out_of_the_folder() {
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("target");
        fs::write(&target, "").unwrap();
        let plant: [&dyn Fn(&Path); 5] = [
            &|layers| symlink(elsewhere.path(), layers.join("tracing")).unwrap(),
            &|layers| {
                fs::create_dir(layers.join("tracing")).unwrap();
                symlink(elsewhere.path(), layers.join("tracing/lifecycle")).unwrap();
            },
            &|layers| {
                fs::create_dir_all(layers.join("tracing/lifecycle")).unwrap();
                symlink(&target, layers.join("tracing/lifecycle/detect.jsonl")).unwrap();
            },
            &|layers| {
                fs::create_dir_all(layers.join("tracing/lifecycle")).unwrap();
                let name = layers.join("tracing/lifecycle/detect.jsonl");
                fs::hard_link(&target, name).unwrap();
            },
            &|layers| {
                fs::create_dir_all(layers.join("tracing/lifecycle")).unwrap();
                let name = layers.join("tracing/lifecycle/detect.jsonl");
                let mode = Mode::from_raw_mode(0o666);
                rustix::fs::mknodat(CWD, name, FileType::Fifo, mode, 0).unwrap();
            },
        ];
        for plant in plant {
            // On one file system with the target.
            let layers = tempfile::tempdir_in(elsewhere.path()).unwrap();
            plant(layers.path());
            let files = PhaseFiles::new(layers.path(), PHASES, "detect");
            files.span("detect", "{}");
            assert!(files.problem().is_some());
            assert!(lines(&target).is_empty());
            assert!(!elsewhere.path().join("detect.jsonl").exists());
            assert!(!elsewhere.path().join("lifecycle").exists());
        }
    }
}
