//! The new root: built next to the old one, in which it is looked for under [`OLD`].

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, StatVfsMountFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};

use super::failed::Failed;
use super::spec::Spec;

const OLD: &str = "/old";
const NEW: &str = "/new";
/// What of the machine's root a build sees nothing of, or its own.
const OWN: [&str; 4] = ["dev", "proc", "run", "tmp"];
pub(super) const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Builds the new root and moves there. Returns whether `/proc` is its own, or the machine's.
pub(super) fn build(spec: &Spec, own_processes: bool) -> Result<bool, Failed> {
    leave_old()?;
    let mut seen = BTreeSet::new();
    for name in OWN {
        seen.insert(OsString::from(name));
    }
    for target in &spec.mounts {
        seen.insert(first_component(Path::new(&target.target))?);
    }
    bind_host(&seen)?;
    let own_proc = make_proc(own_processes)?;
    make_dev()?;
    hide_run(spec.host_network)?;
    make_folder("/tmp", 0o1777)?;
    if !spec.mounts.iter().any(|it| it.target == "/tmp") {
        tmpfs("/tmp", c"mode=1777")?;
    }
    let mut mounts: Vec<_> = spec.mounts.iter().collect();
    mounts.sort_by_key(|mount| &mount.target);
    for path in &spec.hidden {
        hide(Path::new(path))?;
    }
    for mount in &mounts {
        bind(&below(OLD, &mount.source), &below(NEW, &mount.target))?;
    }
    let writable = |path: &Path| {
        mounts
            .iter()
            .rfind(|mount| path.starts_with(&mount.target))
            .map(|mount| mount.writable)
    };
    make_read_only(Path::new(NEW), &|inside| {
        writable(inside).unwrap_or_else(|| is_own(inside))
    })?;
    move_to_new()?;
    Ok(own_proc)
}

/// Makes an empty root, with the machine's under [`OLD`].
fn leave_old() -> Result<(), Failed> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(Failed::new("keep its mounts to itself"))?;
    let base = ["/tmp", "/var/tmp", "/mnt", "/dev"]
        .into_iter()
        .find(|folder| Path::new(folder).is_dir())
        .unwrap_or("/tmp");
    mount("tmpfs", base, "tmpfs", MountFlags::NOSUID, c"mode=755")
        .map_err(Failed::new("mount a file system"))?;
    rustix::process::chdir(base).map_err(Failed::new("make a root"))?;
    for folder in ["old", "new"] {
        rustix::fs::mkdir(folder, Mode::from_raw_mode(0o755))
            .map_err(Failed::new("make a root"))?;
    }
    rustix::process::pivot_root(".", "old").map_err(Failed::new("change the root"))?;
    rustix::process::chdir("/").map_err(Failed::new("change the root"))?;
    mount(
        "tmpfs",
        NEW,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        c"mode=755",
    )
    .map_err(Failed::new("mount a file system"))
}

/// Binds whatever lies in the machine's root, but for `except`.
fn bind_host(except: &BTreeSet<OsString>) -> Result<(), Failed> {
    let entries = std::fs::read_dir(OLD).map_err(Failed::new("read the root"))?;
    for entry in entries {
        let entry = entry.map_err(Failed::new("read the root"))?;
        let name = entry.file_name();
        if except.contains(&name) {
            continue;
        }
        let file_type = entry.file_type().map_err(Failed::new("read the root"))?;
        let target = Path::new(NEW).join(&name);
        if file_type.is_symlink() {
            std::fs::read_link(entry.path())
                .and_then(|link| symlink(link, &target))
                .map_err(Failed::new("copy a link of the root"))?;
        } else if file_type.is_dir() || file_type.is_file() {
            bind(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Covers what lies at `path` in the machine's root: a folder by an empty one, a file by a device
/// that no mount here lets anybody open.
fn hide(path: &Path) -> Result<(), Failed> {
    let target = below(NEW, path);
    let step = format!("hide `{}`", path.display());
    match std::fs::symlink_metadata(&target) {
        Ok(metadata) if metadata.is_dir() => {
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            mount("tmpfs", &target, "tmpfs", flags, c"mode=555").map_err(Failed::new(step))
        }
        Ok(_) => {
            mount_bind_recursive(below(OLD, "/dev/null"), &target).map_err(Failed::new(&step))?;
            // In a container these may be locked, and leaving one out is refused.
            let flags = MountFlags::BIND
                | MountFlags::NODEV
                | MountFlags::NOEXEC
                | MountFlags::NOSUID
                | MountFlags::RDONLY;
            mount_remount(&target, flags, "").map_err(Failed::new(step))
        }
        Err(_) => Ok(()),
    }
}

fn make_proc(own_processes: bool) -> Result<bool, Failed> {
    make_folder("/proc", 0o555)?;
    let target = below(NEW, "/proc");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // A container that hides parts of `/proc` may not have one that hides nothing.
    if own_processes && mount("proc", &target, "proc", flags, None).is_ok() {
        return Ok(true);
    }
    bind(&below(OLD, "/proc"), &target)?;
    Ok(false)
}

fn make_dev() -> Result<(), Failed> {
    make_folder("/dev", 0o755)?;
    tmpfs("/dev", c"mode=755")?;
    for device in DEVICES {
        let source = Path::new(OLD).join("dev").join(device);
        if source.exists() {
            bind(&source, &Path::new(NEW).join("dev").join(device))?;
        }
    }
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, Path::new(NEW).join("dev").join(link))
            .map_err(Failed::new("make `/dev`"))?;
    }
    make_folder("/dev/shm", 0o1777)?;
    tmpfs("/dev/shm", c"mode=1777")
}

/// Hides the sockets of the machine's services, but not how to resolve names.
fn hide_run(host_network: bool) -> Result<(), Failed> {
    make_folder("/run", 0o755)?;
    let var_run = Path::new(OLD).join("var/run");
    if var_run.is_dir() && !var_run.is_symlink() {
        tmpfs("/var/run", c"mode=755")?;
    }
    let link = std::fs::read_link(Path::new(OLD).join("etc/resolv.conf"));
    if let (true, Ok(link)) = (host_network, link) {
        let target = clean(&Path::new("/etc").join(link));
        if target.starts_with("/run") {
            let source = below(OLD, &target);
            if source.is_file() {
                bind(&source, &below(NEW, &target))?;
            }
        }
    }
    Ok(())
}

/// Makes every mount in `root` read-only that is not meant to be written, and checks it.
pub(super) fn make_read_only(root: &Path, writable: &dyn Fn(&Path) -> bool) -> Result<(), Failed> {
    for (target, flags) in mounts()? {
        let Ok(inside) = target.strip_prefix(root) else {
            continue;
        };
        let inside = Path::new("/").join(inside);
        let read_only = !writable(&inside);
        let mut wanted = flags | MountFlags::BIND | MountFlags::NOSUID;
        if read_only {
            wanted |= MountFlags::RDONLY;
        }
        let remounted = mount_remount(&target, wanted, "");
        if !read_only {
            continue;
        }
        // What is out of reach for us is so for a build, and so is what is covered by another mount:
        // the check is of what can be reached.
        match rustix::fs::statvfs(&target) {
            Ok(found) if found.f_flag.contains(StatVfsMountFlags::RDONLY) => {}
            Ok(_) => {
                let step = format!("make `{}` read-only", inside.display());
                let error = remounted.err().unwrap_or(rustix::io::Errno::ROFS);
                return Err(Failed::new(step)(error));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

/// Whether a mount is of our own making, to be written. The root is not, but has to be for a while.
fn is_own(inside: &Path) -> bool {
    inside == Path::new("/")
        || ["/proc", "/tmp", "/dev/shm"]
            .iter()
            .any(|own| inside.starts_with(own))
}

/// Moves to the new root, and lets go of all else.
fn move_to_new() -> Result<(), Failed> {
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(NEW, flags, "").map_err(Failed::new("make the root read-only"))?;
    rustix::process::chdir(NEW).map_err(Failed::new("change the root"))?;
    // The old root comes to lie on the new one, and is taken off.
    rustix::process::pivot_root(".", ".").map_err(Failed::new("change the root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(Failed::new("let go of the old root"))?;
    rustix::process::chdir("/").map_err(Failed::new("change the root"))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}

/// Binds `source` and all below it to `target`, which is made if need be.
fn bind(source: &Path, target: &Path) -> Result<(), Failed> {
    let name = target.strip_prefix(NEW).unwrap_or(target);
    let step = format!("mount `/{}`", name.display());
    let is_dir = std::fs::metadata(source)
        .map_err(Failed::new(&step))?
        .is_dir();
    let made = if is_dir {
        std::fs::create_dir_all(target)
    } else {
        let folder = target.parent().unwrap_or(Path::new(NEW));
        std::fs::create_dir_all(folder).and_then(|()| {
            let file = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(target);
            file.map(drop)
        })
    };
    made.map_err(Failed::new(&step))?;
    mount_bind_recursive(source, target).map_err(Failed::new(&step))
}

fn tmpfs(target: &str, options: &std::ffi::CStr) -> Result<(), Failed> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", below(NEW, target), "tmpfs", flags, options)
        .map_err(Failed::new(format!("mount `{target}`")))
}

fn make_folder(path: &str, mode: u32) -> Result<(), Failed> {
    std::fs::DirBuilder::new()
        .mode(mode)
        .recursive(true)
        .create(below(NEW, path))
        .map_err(Failed::new(format!("make `{path}`")))
}

/// All mounts, lowest first, with the flags that have to stay.
///
/// <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>
fn mounts() -> Result<Vec<(PathBuf, MountFlags)>, Failed> {
    // Before the root is left, and after.
    let text = std::fs::read("/proc/self/mountinfo")
        .or_else(|_| std::fs::read(Path::new(OLD).join("proc/self/mountinfo")))
        .map_err(Failed::new("list mounts"))?;
    let mut mounts = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b' ').skip(4);
        let (Some(target), Some(options)) = (fields.next(), fields.next()) else {
            continue;
        };
        let mut flags = MountFlags::empty();
        for option in options.split(|byte| *byte == b',') {
            flags |= match option {
                b"ro" => MountFlags::RDONLY,
                b"nosuid" => MountFlags::NOSUID,
                b"nodev" => MountFlags::NODEV,
                b"noexec" => MountFlags::NOEXEC,
                b"noatime" => MountFlags::NOATIME,
                b"nodiratime" => MountFlags::NODIRATIME,
                b"relatime" => MountFlags::RELATIME,
                _ => MountFlags::empty(),
            };
        }
        mounts.push((unescape(target), flags));
    }
    Ok(mounts)
}

/// Blanks and the like are written as `\` and three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'\\')
            .then(|| std::str::from_utf8(after.get(..3)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(code) = code {
            path.push(code);
            rest = after.get(3..).unwrap_or_default();
        } else {
            path.push(*first);
            rest = after;
        }
    }
    OsString::from_vec(path).into()
}

/// `root` followed by the absolute `path`.
fn below(root: &str, path: impl AsRef<OsStr>) -> PathBuf {
    let mut joined = OsString::from(root);
    joined.push(path);
    joined.into()
}

pub(super) fn first_component(target: &Path) -> Result<OsString, Failed> {
    let wrong = || Failed::new(format!("mount `{}`", target.display()))(rustix::io::Errno::INVAL);
    let mut components = target.components();
    if components.next() != Some(Component::RootDir)
        || !target
            .components()
            .skip(1)
            .all(|it| matches!(it, Component::Normal(_)))
    {
        return Err(wrong());
    }
    match components.next() {
        Some(Component::Normal(name)) if !name.as_bytes().is_empty() => Ok(name.to_owned()),
        _ => Err(wrong()),
    }
}

/// Takes `.` and `..` out of an absolute path, by the letter.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            _ => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape(br"/a\040b\134\"), Path::new(r"/a b\\"));
        assert_eq!(unescape(br"/\999"), Path::new(r"/\999"));
    }

    #[test]
    fn targets_are_absolute_and_straight() {
        assert_eq!(first_component(Path::new("/cnb/x")).unwrap(), "cnb");
        for bad in ["/", "cnb", "/../cnb", "/cnb/..", ""] {
            assert!(first_component(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_are_followed_by_the_letter() {
        let path = Path::new("/etc/../run/./systemd/resolve/stub-resolv.conf");
        assert_eq!(
            clean(path),
            Path::new("/run/systemd/resolve/stub-resolv.conf")
        );
    }
}
