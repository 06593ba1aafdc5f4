//! What a command changed, by the upper folder of an overlay: the root file system itself is never
//! looked through.
//!
//! Overlayfs writes to one folder alone. It has there
//!
//! | | which is |
//! |---|---|
//! | a file, a folder | new, or a copy of what is below, made before it was changed |
//! | a device 0, 0 | that what is below is gone |
//! | a folder with `user.overlay.opaque` | that all is gone that the folder below had |
//!
//! so what is in it now and was not before a command, or is not the same, is what the command changed. But
//! for what was copied and is as it was: opened to be written to, and not written; `chown` to whom it
//! belongs. As kaniko and BuildKit we leave that out.
//!
//! <https://docs.kernel.org/filesystems/overlayfs.html>

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, lgetxattr, openat2};
use rustix::io::Errno;

use super::layer::capability;
use super::root::Changes;
use super::walk::{State, walk};

/// How overlayfs marks a folder that hides the one below, where it is mounted by an ordinary user.
const OPAQUE: &str = "user.overlay.opaque";

/// The two sides of an overlay.
#[derive(Debug)]
pub(super) struct Overlay {
    /// What was written.
    upper: Side,
    /// All that was there before, as one.
    lower: Side,
    before: Entries,
}

/// A folder that is opened, and perhaps at no place in this root.
#[derive(Debug)]
struct Side {
    opened: OwnedFd,
    /// Leads to it, in this process alone.
    path: PathBuf,
}

impl From<OwnedFd> for Side {
    fn from(opened: OwnedFd) -> Self {
        let path = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string());
        Self { opened, path }
    }
}

/// What there is in the upper folder, by its path.
type Entries = BTreeMap<PathBuf, Entry>;

#[derive(Clone, Copy, Debug)]
struct Entry {
    state: State,
    is_opaque: bool,
}

impl Overlay {
    pub(super) fn new(upper: OwnedFd, lower: OwnedFd) -> Self {
        Self {
            upper: upper.into(),
            lower: lower.into(),
            before: Entries::new(),
        }
    }

    /// Remembers what was written so far.
    pub(super) fn remember(&mut self, left_out: &[PathBuf]) -> io::Result<()> {
        self.before = self.entries(left_out)?;
        Ok(())
    }

    /// What has changed since it was remembered. It is to be read from the upper folder: which names are
    /// those of one file is only known there.
    pub(super) fn changes(&mut self, left_out: &[PathBuf]) -> io::Result<Changes> {
        let after = self.entries(left_out)?;
        let was = Was {
            upper: &self.before,
            lower: &self.lower.opened,
        };
        let mut changes = Changes {
            folder: self.upper.path.clone(),
            ..Changes::default()
        };
        for (path, entry) in &after {
            let before = self.before.get(path).map(|it| it.state);
            if entry.state.is_whiteout() {
                // Whiteouts are names of one file, so their times say nothing.
                let is_new = before.is_none_or(|it| !it.is_whiteout());
                if is_new && was.find(path)?.is_some() {
                    changes.removed.push(path.clone());
                }
                continue;
            }
            if before != Some(entry.state) && !self.is_as_it_was(&was, path, &entry.state)? {
                changes.changed.push(path.clone());
            }
            if entry.state.is_dir() && is_hiding(&after, path) {
                for name in was.names(path)? {
                    let gone = path.join(name);
                    let is_left_out = left_out.contains(&Path::new("/").join(&gone));
                    if !after.contains_key(&gone) && !is_left_out {
                        changes.removed.push(gone);
                    }
                }
            }
        }
        // What was there only in the upper folder leaves no mark.
        let is_folder = |path: &Path| {
            path == Path::new("") || after.get(path).is_some_and(|it| it.state.is_dir())
        };
        for (path, entry) in &self.before {
            let is_gone = !entry.state.is_whiteout() && !after.contains_key(path);
            if is_gone && path.parent().is_some_and(is_folder) {
                changes.removed.push(path.clone());
            }
        }
        changes.removed.sort();
        changes.removed.dedup();
        self.before = after;
        Ok(changes)
    }

    fn entries(&self, left_out: &[PathBuf]) -> io::Result<Entries> {
        let found = walk(&self.upper.path, left_out)?.into_iter();
        let entry = |(path, state): (PathBuf, State)| {
            let is_opaque = state.is_dir() && is_opaque(&self.upper.path.join(&path))?;
            Ok((path, Entry { state, is_opaque }))
        };
        found.map(entry).collect()
    }

    /// Whether what is at `path` in the upper folder is only a copy of what was there.
    fn is_as_it_was(&self, was: &Was<'_>, path: &Path, state: &State) -> io::Result<bool> {
        match was.find(path)? {
            None => Ok(false),
            Some(Found::Upper(before)) => Ok(before == *state),
            Some(Found::Lower(before)) if !before.is_like(state) => Ok(false),
            Some(Found::Lower(_)) if state.is_file() => {
                let Some(before) = was.open(path, OFlags::RDONLY)? else {
                    return Ok(false);
                };
                let below = self.lower.path.join(path);
                let now = self.upper.path.join(path);
                Ok(capability(&below)? == capability(&now)?
                    && is_same(File::from(before), File::open(now)?)?)
            }
            Some(Found::Lower(_)) if state.is_symlink() => {
                let target = |side: &Side| fs::read_link(side.path.join(path));
                Ok(target(&self.lower)? == target(&self.upper)?)
            }
            Some(Found::Lower(_)) => Ok(true),
        }
    }
}

/// How the root was before a command.
struct Was<'a> {
    upper: &'a Entries,
    lower: &'a OwnedFd,
}

/// Where something was.
enum Found {
    Lower(State),
    Upper(State),
}

impl Was<'_> {
    /// What was at `path`.
    fn find(&self, path: &Path) -> io::Result<Option<Found>> {
        if let Some(entry) = self.upper.get(path) {
            let state = entry.state;
            return Ok((!state.is_whiteout()).then_some(Found::Upper(state)));
        }
        if !self.has_lower(path) {
            return Ok(None);
        }
        let Some(file) = self.open(path, OFlags::PATH)? else {
            return Ok(None);
        };
        let state = State::of(&File::from(file).metadata()?);
        Ok((!state.is_whiteout()).then_some(Found::Lower(state)))
    }

    /// What was in the folder at `path`, if there was one.
    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        // Sorted by their parts, what is below a path follows it.
        let inside = self.upper.range(path.to_owned()..);
        let inside = inside.take_while(|(it, _)| it.starts_with(path));
        for (inside, entry) in inside {
            if inside.parent() == Some(path) && !entry.state.is_whiteout() {
                names.extend(inside.file_name().map(OsString::from));
            }
        }
        let own = self.upper.get(path);
        let is_hidden = own.is_some_and(|it| it.is_opaque || !it.state.is_dir());
        if is_hidden || !self.has_lower(path) {
            return Ok(names);
        }
        let Some(folder) = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)? else {
            return Ok(names);
        };
        for entry in rustix::fs::Dir::read_from(&folder)? {
            let name =
                std::os::unix::ffi::OsStringExt::from_vec(entry?.file_name().to_bytes().to_vec());
            let name: OsString = name;
            let is_own = name == "." || name == "..";
            if !is_own && !self.upper.contains_key(&path.join(&name)) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Whether the upper folder left visible what was below at `path`, of which it has nothing itself.
    fn has_lower(&self, path: &Path) -> bool {
        let above = path.ancestors().skip(1);
        let mut above = above.filter_map(|it| self.upper.get(it));
        above.all(|it| it.state.is_dir() && !it.is_opaque)
    }

    /// Opens what was below at `path`, without following a link.
    fn open(&self, path: &Path, flags: OFlags) -> io::Result<Option<OwnedFd>> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat2(self.lower, path, flags, Mode::empty(), how) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the folder at `path` hides what is below: it, or one that it is in.
fn is_hiding(after: &Entries, path: &Path) -> bool {
    path.ancestors()
        .any(|it| after.get(it).is_some_and(|it| it.is_opaque))
}

fn is_opaque(folder: &Path) -> io::Result<bool> {
    let mut buffer = [0; 8];
    match lgetxattr(folder, OPAQUE, &mut buffer) {
        Ok(size) => Ok(buffer.get(..size) == Some(b"y")),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::NOENT | Errno::RANGE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether two files have the same content.
fn is_same(one: File, other: File) -> io::Result<bool> {
    let (mut one, mut other) = (io::BufReader::new(one), io::BufReader::new(other));
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let count = fill(&mut one, &mut left)?;
        if fill(&mut other, &mut right)? != count || left.get(..count) != right.get(..count) {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// Reads as much as there is room for.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|it| !it.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use rustix::fs::{AtFlags, CWD, FileType, XattrFlags, lsetxattr, mknodat};

    use super::*;

    struct Sides(tempfile::TempDir);

    impl Sides {
        fn at(&self, path: &str) -> PathBuf {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        }

        fn write(&self, path: &str, text: &str) {
            fs::write(self.at(path), text).unwrap();
        }

        fn folder(&self, path: &str) {
            fs::create_dir_all(self.at(path)).unwrap();
        }

        fn whiteout(&self, path: &str) {
            let path = self.at(path);
            mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        }

        fn opaque(&self, path: &str) {
            self.folder(path);
            lsetxattr(self.at(path), OPAQUE, b"y", XattrFlags::empty()).unwrap();
        }

        /// As overlayfs does before something is changed.
        fn copy_up(&self, path: &str) {
            let (from, to) = (
                self.at(&format!("lower/{path}")),
                self.at(&format!("upper/{path}")),
            );
            let metadata = fs::metadata(&from).unwrap();
            if metadata.is_dir() {
                fs::create_dir_all(&to).unwrap();
                fs::set_permissions(&to, metadata.permissions()).unwrap();
            } else {
                fs::copy(&from, &to).unwrap();
            }
            let modified = metadata.modified().unwrap();
            File::open(&to).unwrap().set_modified(modified).unwrap();
            assert_eq!(
                fs::metadata(&to).unwrap().mtime_nsec(),
                metadata.mtime_nsec()
            );
        }

        fn overlay(&self) -> Overlay {
            let side = |name| OwnedFd::from(File::open(self.at(name)).unwrap());
            Overlay::new(side("upper"), side("lower"))
        }
    }

    fn changes(upper: &mut Overlay) -> (Vec<String>, Vec<String>) {
        let left_out = ["/left".into(), "/opaque/mounted".into()];
        let found = upper.changes(&left_out).unwrap();
        let texts = |paths: &[PathBuf]| paths.iter().map(|it| it.display().to_string()).collect();
        (texts(&found.changed), texts(&found.removed))
    }

    fn is(changed: &[&str], removed: &[&str]) -> (Vec<String>, Vec<String>) {
        let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        (texts(changed), texts(removed))
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_changed_whatever_its_times_say() {
        let sides = Sides(tempfile::tempdir().unwrap());
        for (path, target) in [
            ("lower/same", "one"),
            ("upper/same", "one"),
            ("lower/other", "one"),
            ("upper/other", "two"),
        ] {
            let path = sides.at(path);
            symlink(target, &path).unwrap();
            same_times(&path);
        }
        assert_eq!(changes(&mut sides.overlay()), is(&["other"], &[]));
    }

    #[test]
    fn a_file_with_other_rights_is_changed_whatever_its_times_say() {
        let sides = Sides(tempfile::tempdir().unwrap());
        // To bind ports below 1024.
        let rights = [
            1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0_u8,
        ];
        for path in ["lower/file", "upper/file"] {
            sides.write(path, "text");
        }
        let upper = sides.at("upper/file");
        let set = lsetxattr(&upper, CAPABILITY, &rights, XattrFlags::empty());
        if set.is_err() {
            // Only root has them to give.
            return;
        }
        for path in ["lower/file", "upper/file"] {
            same_times(&sides.at(path));
        }
        assert_eq!(changes(&mut sides.overlay()), is(&["file"], &[]));
        rustix::fs::lremovexattr(&upper, CAPABILITY).unwrap();
        assert_eq!(changes(&mut sides.overlay()), is(&[], &[]));
    }

    const CAPABILITY: &str = "security.capability";

    fn same_times(path: &Path) {
        let time = rustix::fs::Timespec {
            tv_sec: 1_000_000_000,
            tv_nsec: 0,
        };
        let times = rustix::fs::Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }

    #[test]
    fn what_was_changed_is_what_the_upper_folder_has() {
        let sides = Sides(tempfile::tempdir().unwrap());
        for path in [
            "same/file",
            "same/mode",
            "same/content",
            "gone/x",
            "turned",
            "opaque/a/x",
        ] {
            sides.write(&format!("lower/{path}"), "text");
        }
        sides.write("lower/opaque/b", "text");
        sides.write("lower/opaque/mounted/x", "text");
        sides.write("lower/link-to/x", "text");
        symlink("link-to", sides.at("lower/link")).unwrap();
        sides.folder("upper");
        let mut upper = sides.overlay();
        upper.remember(&[]).unwrap();
        assert_eq!(changes(&mut upper), is(&[], &[]));

        // Copied, and not changed; changed in mode, or in content behind the same time.
        for path in ["same", "same/file", "same/mode", "same/content"] {
            sides.copy_up(path);
        }
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(sides.at("upper/same/mode"), mode).unwrap();
        sides.write("upper/same/content", "tex!");
        sides.copy_up("same");
        let lower = fs::metadata(sides.at("lower/same/content")).unwrap();
        let content = File::options()
            .append(true)
            .open(sides.at("upper/same/content"));
        content
            .unwrap()
            .set_modified(lower.modified().unwrap())
            .unwrap();
        sides.whiteout("upper/gone");
        sides.whiteout("upper/never");
        sides.write("upper/new/x", "");
        sides.write("upper/left/x", "");
        sides.opaque("upper/turned");
        sides.opaque("upper/opaque");
        // What it hides stays hidden in the folders of it.
        sides.folder("upper/opaque/a");
        // A folder in place of a link is not what the link led to.
        sides.opaque("upper/link");
        sides.write("upper/link/x", "text");
        let (changed, removed) = changes(&mut upper);
        let expected = [
            "link",
            "link/x",
            "new",
            "new/x",
            "opaque",
            "opaque/a",
            "same/content",
            "same/mode",
            "turned",
        ];
        assert_eq!(changed, expected);
        assert_eq!(removed, ["gone", "opaque/a/x", "opaque/b"]);
        assert_eq!(changes(&mut upper), is(&[], &[]));

        // What the lower side never had leaves no mark; what came back is there again.
        fs::remove_dir_all(sides.at("upper/new")).unwrap();
        fs::remove_file(sides.at("upper/gone")).unwrap();
        sides.opaque("upper/gone");
        fs::remove_dir_all(sides.at("upper/opaque/a")).unwrap();
        fs::remove_dir(sides.at("upper/turned")).unwrap();
        sides.write("upper/turned", "");
        let (changed, removed) = changes(&mut upper);
        assert_eq!(changed, ["gone", "opaque", "turned"]);
        assert_eq!(removed, ["new", "opaque/a"]);
    }
}
