//! The root of an image: its layers on top of each other by overlayfs, with what is written kept in
//! memory, and gone at the end.
//!
//! It is made in two steps. First all that lies on the machine is opened, by whoever runs us; then as
//! root of the user namespace it is put together. Whatever is mounted inside is mounted where the image
//! says that the path leads: links of the image are followed as if its root were `/`.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, openat2};
use rustix::io::{Errno, FdFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};

use super::failed::Failed;
use super::root::{DEVICES, first_component, make_read_only};
use super::spec::{Map, Spec, SpecLayer, SpecRoot};
use super::{SIDES, User, foreign, rights};

/// Where opened files are found by their numbers, before and after the root is left.
const OPENED: &str = "/proc/self/fd";
/// The most layers that overlayfs has.
const MAX_LAYERS: usize = 500;
/// The most bytes of `/etc/passwd` that are read.
const MAX_PASSWD: u64 = 1 << 20;

/// Puts the root together, in a folder of this mount namespace. What is returned keeps `interpreter`
/// registered, which is here if only the root of the user namespace may do so.
pub(super) fn prepare(
    spec: &Spec,
    interpreter: Option<&foreign::Opened<'_>>,
) -> Result<Option<foreign::Registered>, Failed> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(Failed::new("keep its mounts to itself"))?;
    let has_sides = matches!(spec.root, SpecRoot::Overlay { sides: true, .. });
    let (folders, layers): (Vec<&OsString>, &[SpecLayer]) = match &spec.root {
        SpecRoot::Machine => (Vec::new(), &[]),
        SpecRoot::Overlay { layers, .. } => (layers.iter().map(|it| &it.folder).collect(), layers),
        SpecRoot::Copy { folder } => (vec![folder], &[]),
    };
    if folders.is_empty() || folders.len() > MAX_LAYERS {
        let step = format!("stack {} layers", folders.len());
        return Err(Failed::new(step)(Errno::INVAL));
    }
    let mut opened = Vec::new();
    for folder in folders {
        opened.push(open(Path::new(folder))?);
    }
    let mut mounts: Vec<_> = spec.mounts.iter().collect();
    mounts.sort_by_key(|mount| &mount.target);
    let mut sources = Vec::new();
    for mount in &mounts {
        first_component(Path::new(&mount.target))?;
        sources.push(open(Path::new(&mount.source))?);
    }
    if matches!(spec.map, Map::Given) {
        rights::become_root()?;
    }
    let base = base();
    let made = Failed::new("mount a file system");
    mount("tmpfs", base, "tmpfs", MountFlags::NOSUID, c"mode=755").map_err(made)?;
    for folder in ["old", "new", "upper", "work", "seen", "lower", "empty"] {
        rustix::fs::mkdir(base.join(folder), Mode::from_raw_mode(0o755))
            .map_err(Failed::new("make a root"))?;
    }
    let registered = interpreter.map(foreign::register).transpose()?;
    match opened.as_slice() {
        [only] if layers.is_empty() => {
            let failed = Failed::new("mount the copy of the builder");
            mount_bind_recursive(self::opened(only), base.join("new")).map_err(failed)?;
        }
        opened => stack(base, opened)?,
    }
    let root = open(&base.join("new"))?;
    as_below(&root, layers, &opened)?;
    let mut writable = Vec::new();
    for (mount, source) in mounts.iter().zip(&sources) {
        let target = Path::new(&mount.target);
        let point = bind(&root, source, target)?;
        writable.push((point, mount.writable));
    }
    if has_sides {
        show_sides(base, &opened)?;
    }
    devices(&root)?;
    if matches!(
        resolve(&root, Path::new("/tmp"), OFlags::PATH),
        Err(Errno::NOENT)
    ) {
        let failed = || Failed::new("make `/tmp`");
        rustix::fs::mkdirat(&root, "tmp", Mode::RWXU).map_err(failed())?;
        let folder = resolve(&root, Path::new("/tmp"), OFlags::RDONLY).map_err(failed())?;
        rustix::fs::fchmod(folder, Mode::from_raw_mode(0o1777)).map_err(failed())?;
    }
    if let Ok(system) = open(Path::new("/sys")) {
        bind(&root, &system, Path::new("/sys"))?;
    }
    make_read_only(&base.join("new"), &|inside| {
        let own = ["/", "/dev/shm"];
        let mounted = writable.iter().rfind(|(it, _)| inside.starts_with(it));
        let by_us = mounted.map(|(_, writable)| *writable);
        by_us.unwrap_or_else(|| own.iter().any(|it| inside == Path::new(it)))
    })?;
    // Their numbers may be those of the sides.
    drop((opened, sources, root));
    if has_sides {
        hand_down_sides(base)?;
    }
    Ok(registered)
}

/// Closes the sides that were opened for the program, when that has started.
pub(super) fn close_sides(spec: &Spec) {
    if matches!(spec.root, SpecRoot::Overlay { sides: true, .. }) {
        for side in SIDES {
            nix::unistd::close(side).unwrap_or_default();
        }
    }
}

/// Opens both sides for programs that are started from here.
fn hand_down_sides(base: &Path) -> Result<(), Failed> {
    let failed = || Failed::new("open the sides of the overlay");
    for (side, number) in ["seen", "lower"].into_iter().zip(SIDES) {
        let side = open(&base.join(side))?;
        let handed = rustix::io::fcntl_dupfd_cloexec(&side, number).map_err(failed())?;
        if handed.as_raw_fd() != number {
            return Err(failed()(Errno::BUSY));
        }
        rustix::io::fcntl_setfd(&handed, FdFlags::empty()).map_err(failed())?;
        // From here on it is known by its number.
        let _number = handed.into_raw_fd();
    }
    Ok(())
}

/// Moves to the root that was put together, with a `/proc` of its own. Returns whether it is that.
pub(super) fn enter(own_processes: bool) -> Result<bool, Failed> {
    let failed = || Failed::new("change the root");
    rustix::process::chdir(base()).map_err(failed())?;
    rustix::process::pivot_root(".", "old").map_err(failed())?;
    rustix::process::chdir("/").map_err(failed())?;
    let root = open(Path::new("/new"))?;
    let point = folder(&root, Path::new("/proc"))?;
    let target = Path::new("/old").join(number(&point));
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // A container that hides parts of `/proc` may not have one that hides nothing.
    let own = own_processes && mount("proc", &target, "proc", flags, None).is_ok();
    if !own {
        mount_bind_recursive("/old/proc", &target).map_err(Failed::new("mount `/proc`"))?;
    }
    rustix::process::chdir("/new").map_err(failed())?;
    // The old root comes to lie on the new one, and is taken off.
    rustix::process::pivot_root(".", ".").map_err(failed())?;
    unmount(".", UnmountFlags::DETACH).map_err(Failed::new("let go of the old root"))?;
    rustix::process::chdir("/").map_err(failed())?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(own)
}

/// The home of `user`, as `/etc/passwd` has it; `/` without one.
pub(super) fn home(user: User) -> OsString {
    listed_home(user.uid).unwrap_or_else(|| "/".into())
}

/// The home that `/etc/passwd` has for a user.
pub(super) fn listed_home(uid: u32) -> Option<OsString> {
    use std::io::Read as _;

    let mut text = Vec::new();
    if let Ok(file) = std::fs::File::open("/etc/passwd") {
        // What cannot be read says nothing.
        file.take(MAX_PASSWD)
            .read_to_end(&mut text)
            .unwrap_or_default();
    }
    home_in(&text, uid)
}

fn home_in(passwd: &[u8], uid: u32) -> Option<OsString> {
    let mut homes = passwd.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        let number = std::str::from_utf8(fields.next()?).ok()?;
        let home = fields.nth(2)?;
        (number.parse() == Ok(uid) && !home.is_empty()).then(|| OsStr::from_bytes(home).to_owned())
    });
    homes.next()
}

/// A folder that a file system may be mounted on for a while.
fn base() -> &'static Path {
    ["/tmp", "/var/tmp", "/mnt"]
        .into_iter()
        .map(Path::new)
        .find(|folder| folder.is_dir())
        .unwrap_or(Path::new("/tmp"))
}

pub(super) fn open(path: &Path) -> Result<OwnedFd, Failed> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(Failed::new(format!("open `{}`", path.display())))
}

/// The path of an opened file, without a leading slash.
fn number(file: &OwnedFd) -> PathBuf {
    let folder = OPENED.trim_start_matches('/');
    Path::new(folder).join(file.as_raw_fd().to_string())
}

pub(super) fn opened(file: &OwnedFd) -> PathBuf {
    Path::new("/").join(number(file))
}

/// Mounts the layers on top of each other, to be written to.
fn stack(base: &Path, layers: &[OwnedFd]) -> Result<(), Failed> {
    let base_text = base.to_str().unwrap_or("/tmp");
    let written = format!(",upperdir={base_text}/upper,workdir={base_text}/work");
    overlay(&base.join("new"), layers, &written, MountFlags::empty())
}

/// Mounts what is written and, as one, what was there before, to be read.
fn show_sides(base: &Path, layers: &[OwnedFd]) -> Result<(), Failed> {
    show_lower(base, layers)?;
    let failed = || Failed::new("mount what is written to be read");
    let seen = base.join("seen");
    mount_bind(base.join("upper"), &seen).map_err(failed())?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(&seen, flags, c"").map_err(failed())
}

/// Mounts the layers once more, without what is written. Overlayfs wants two folders at least, so below
/// a single one there is an empty one; with one more than it has layers at most it would refuse all.
fn show_lower(base: &Path, layers: &[OwnedFd]) -> Result<(), Failed> {
    let empty = match layers {
        [_single] => format!(":{}/empty", base.to_str().unwrap_or("/tmp")),
        _ => String::new(),
    };
    overlay(&base.join("lower"), layers, &empty, MountFlags::RDONLY)
}

/// Mounts layers on top of each other at `target`; `more` is added to the options that name them. They are
/// called by numbers, so that as many as overlayfs has fit into one page of options.
fn overlay(target: &Path, layers: &[OwnedFd], more: &str, flags: MountFlags) -> Result<(), Failed> {
    let failed = || Failed::new("stack the layers by overlayfs");
    let numbers: Vec<_> = layers.iter().map(|it| it.as_raw_fd().to_string()).collect();
    let options = format!("userxattr,lowerdir={}{more}", numbers.join(":"));
    let options = CString::new(options).map_err(|_nul| failed()(Errno::INVAL))?;
    rustix::process::chdir(OPENED).map_err(failed())?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | flags;
    mount("overlay", target, "overlay", flags, options.as_c_str()).map_err(failed())?;
    rustix::process::chdir("/").map_err(failed())
}

/// Gives folders that a layer has only for what is in them the mode and owner that they have below.
fn as_below(root: &OwnedFd, layers: &[SpecLayer], opened: &[OwnedFd]) -> Result<(), Failed> {
    let is_implied = |at: usize, path: &OsString| {
        layers
            .get(at)
            .is_some_and(|it| it.implied.binary_search(path).is_ok())
    };
    let has = |at: usize, path: &OsString| {
        let layer = opened.get(at)?;
        // A link on the way would lead out of the layer, to the machine.
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = openat2(layer, path.as_os_str(), flags, Mode::empty(), how).ok()?;
        let found = rustix::fs::fstat(&file).ok()?;
        (FileType::from_raw_mode(found.st_mode) == FileType::Directory && !is_implied(at, path))
            .then_some(found)
    };
    for (at, layer) in layers.iter().enumerate() {
        for path in &layer.implied {
            if path.is_empty() || (0..at).any(|above| has(above, path).is_some()) {
                continue;
            }
            let Some(found) = (at + 1..layers.len()).find_map(|below| has(below, path)) else {
                continue;
            };
            let Ok(folder) = resolve(root, Path::new(path), OFlags::RDONLY | OFlags::DIRECTORY)
            else {
                // Another layer has something else there.
                continue;
            };
            let step = || Failed::new(format!("set the mode of `/{}`", Path::new(path).display()));
            let (uid, gid) = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
            rustix::fs::fchown(&folder, Some(uid), Some(gid)).map_err(step())?;
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(found.st_mode & 0o7777))
                .map_err(step())?;
        }
    }
    Ok(())
}

/// Opens `path` as if `root` were `/`.
fn resolve(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), how)
}

/// The folder at `path` in the image, which is made if it is not there.
pub(super) fn folder(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Failed> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let failed = || Failed::new(format!("make `{}` in the builder", path.display()));
    let mut at = PathBuf::from("/");
    for component in path.components() {
        let Component::Normal(name) = component else {
            continue;
        };
        let parent = resolve(root, &at, flags).map_err(failed())?;
        at.push(name);
        match resolve(root, &at, flags) {
            Ok(_) => {}
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)).map_err(failed())?;
            }
            Err(error) => return Err(failed()(error)),
        }
    }
    resolve(root, path, flags).map_err(failed())
}

/// The file at `path` in the image, which is made, empty, if it is not there.
fn file(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Failed> {
    let failed = || Failed::new(format!("make `{}` in the builder", path.display()));
    match resolve(root, path, OFlags::PATH) {
        Err(Errno::NOENT) => {}
        found => return found.map_err(failed()),
    }
    let parent = folder(root, path.parent().unwrap_or(Path::new("/")))?;
    let name = path.file_name().unwrap_or_default();
    // A link to nowhere: of no use to anybody.
    let removed = rustix::fs::unlinkat(&parent, name, AtFlags::empty());
    if !matches!(removed, Ok(()) | Err(Errno::NOENT)) {
        removed.map_err(failed())?;
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)).map_err(failed())?;
    resolve(root, path, OFlags::PATH).map_err(failed())
}

/// Mounts `source` and all below it at `target`; returns the path that this leads to.
fn bind(root: &OwnedFd, source: &OwnedFd, target: &Path) -> Result<PathBuf, Failed> {
    let failed = || Failed::new(format!("mount `{}`", target.display()));
    let found = rustix::fs::fstat(source).map_err(failed())?;
    let point = match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => folder(root, target)?,
        _ => file(root, target)?,
    };
    let point = opened(&point);
    let inside =
        std::fs::read_link(&point).map_err(|error| Failed::new("find where a mount is")(error))?;
    mount_bind_recursive(opened(source), &point).map_err(failed())?;
    let inside = inside.strip_prefix(base().join("new")).unwrap_or(target);
    Ok(Path::new("/").join(inside))
}

fn devices(root: &OwnedFd) -> Result<(), Failed> {
    let failed = || Failed::new("make `/dev`");
    let tmpfs = |point: &OwnedFd, options| {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", opened(point), "tmpfs", flags, options).map_err(failed())
    };
    tmpfs(&folder(root, Path::new("/dev"))?, c"mode=755")?;
    for device in DEVICES {
        let path = Path::new("/dev").join(device);
        if let Ok(source) = open(&path) {
            bind(root, &source, &path)?;
        }
    }
    let folder_now = resolve(root, Path::new("/dev"), OFlags::PATH).map_err(failed())?;
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, opened(&folder_now).join(link)).map_err(Failed::new("make `/dev`"))?;
    }
    tmpfs(&folder(root, Path::new("/dev/shm"))?, c"mode=1777")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_found_by_number() {
        let passwd =
            b"root:x:0:0::/root:/bin/sh\nbad\ncnb:x:1001:1000:a:/home/cnb:/bin/sh\nno:x:7:7:::\n";
        assert_eq!(home_in(passwd, 0), Some("/root".into()));
        assert_eq!(home_in(passwd, 1001), Some("/home/cnb".into()));
        assert_eq!(home_in(passwd, 7), None);
        assert_eq!(home_in(b"\xff:\xff:\xff:\xff", 7), None);
    }
}
