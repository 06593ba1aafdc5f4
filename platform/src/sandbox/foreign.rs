//! Programs for machines of another kind: whether the kernel runs them here, by an interpreter.
//!
//! It does where one is registered in `binfmt_misc`. One that is opened when a program starts is sought in
//! the root of the build, where it is not; so only those count that were opened when they were registered
//! (flag `F`). Where the machine has none, the sandbox registers one for itself: since Linux 6.7 each
//! user namespace may have its own, which nobody outside notices, and no root is needed.
//!
//! <https://docs.kernel.org/admin-guide/binfmt-misc.html>

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use lifecycle_core::exec::{Cancel, RunError};
use nix::sched::CloneFlags;
use oci::Platform;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::failed::Failed;
use super::spec::{Map, Spec};
use super::start::work;
use super::task::Task;
use super::users::{User, UserMap};
use super::{image, rights};

/// Where the kernel lists interpreters.
const LISTED: &str = "/proc/sys/fs/binfmt_misc";
/// The most bytes of an entry that are read.
const MAX_ENTRY: u64 = 4096;

/// Where an interpreter is sought besides where whoever asks says.
const USUAL: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
/// The most parts of a program that are looked at.
const MAX_SEGMENTS: u16 = 128;

/// A program of this machine that runs programs for machines of another kind: QEMU's, of version 6 or
/// newer, statically linked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interpreter {
    file: PathBuf,
    architecture: String,
}

impl<'a> Opened<'a> {
    /// One that is registered to see whether that is allowed.
    pub(super) fn new(file: OwnedFd, architecture: &'a str) -> Self {
        Self { file, architecture }
    }
}

impl Interpreter {
    /// The first one for `platform` in `folders`, or where such programs usually are.
    pub fn find(platform: &Platform, folders: impl IntoIterator<Item = PathBuf>) -> Option<Self> {
        header_for(&platform.architecture)?;
        let name = match platform.architecture.as_str() {
            "386" => "i386",
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            "loong64" => "loongarch64",
            other => other,
        };
        let folders = folders.into_iter().filter(|it| it.is_absolute());
        let mut files = folders
            .chain(USUAL.map(PathBuf::from))
            .flat_map(|it| ["-static", ""].map(|end| it.join(format!("qemu-{name}{end}"))));
        // The root of a build has no loader for one that is linked dynamically.
        let file = files.find(|it| is_static(it).unwrap_or(false))?;
        Some(Self {
            file,
            architecture: platform.architecture.clone(),
        })
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether this machine lets a sandbox register it. The inner error says why not.
    pub fn may_be_registered(
        &self,
        enter: &[OsString],
        cancel: &Cancel,
    ) -> Result<Result<(), String>, RunError> {
        let user = User { uid: 0, gid: 0 };
        let task = Task::Register {
            file: self.file.clone().into(),
            architecture: self.architecture.clone(),
        };
        let done = work(enter, &UserMap::One(user), task, cancel, |_| Ok(()))?;
        Ok(done.map(drop))
    }

    /// What it is, as a sandbox is told.
    pub(super) fn spec(&self) -> (OsString, String) {
        (self.file.clone().into(), self.architecture.clone())
    }
}

/// What keeps an interpreter registered: as long as it is open.
pub(super) type Registered = OwnedFd;

/// An interpreter that is to be registered, opened by whoever runs us.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    file: OwnedFd,
    architecture: &'a str,
}

/// Opens the interpreter that a sandbox is to have.
pub(super) fn open(spec: &Spec) -> Result<Option<Opened<'_>>, Failed> {
    let Some((file, architecture)) = &spec.interpreter else {
        return Ok(None);
    };
    // Without a user namespace it would be registered for the whole machine.
    if matches!(spec.map, Map::Real) {
        let step = "register an interpreter without a user namespace";
        return Err(Failed::new(step)(Errno::PERM));
    }
    let file = image::open(Path::new(file))?;
    Ok(Some(Opened { file, architecture }))
}

/// Registers the interpreter in a user namespace around the one that is made next, for who has one user
/// only: the root of a namespace, who is not among them there, is the one who may register.
pub(super) fn register_around(
    opened: &Opened<'_>,
    (uid, gid): (u32, u32),
) -> Result<Registered, Failed> {
    nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .map_err(Failed::new("make namespaces"))?;
    rights::map_ids((0, uid), (0, gid))?;
    register(opened)
}

/// Registers the interpreter in the user namespace that we are the root of.
pub(super) fn register(opened: &Opened<'_>) -> Result<Registered, Failed> {
    const STEP: &str = "register an interpreter in a `binfmt_misc` of its own";
    let failed = || Failed::new(STEP);
    let header = header_for(opened.architecture).ok_or_else(|| failed()(Errno::INVAL))?;
    // Mounted nowhere, so that nobody finds it.
    let system = fsopen("binfmt_misc", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed())?;
    fsconfig_create(&system).map_err(failed())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let registered =
        fsmount(&system, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed())?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let register = rustix::fs::openat(&registered, "register", flags, Mode::empty());
    let line = line(&header, opened.file.as_raw_fd());
    // In one piece, as the kernel wants it.
    rustix::io::write(register.map_err(failed())?, line.as_bytes()).map_err(failed())?;
    Ok(registered)
}

/// What registers the interpreter that is open as `file`. The flags: it stays open (`F`), and what it
/// runs keeps the name that it was called by (`P`).
fn line(header: &[u8], file: i32) -> String {
    let mask = header.iter().enumerate().map(|(at, _)| match at {
        // Whose system it is for.
        7 => 0,
        // A program, or one that may lie anywhere in memory.
        16 if header.get(5) == Some(&1) => 0xfe,
        17 if header.get(5) == Some(&2) => 0xfe,
        _ => 0xff_u8,
    });
    let mut text = ":sealpack:M::".to_owned();
    let digits = |text: &mut String, bytes: &mut dyn Iterator<Item = u8>| {
        for byte in bytes {
            // A text takes all that is written to it.
            write!(text, "\\x{byte:02x}").unwrap_or_default();
        }
        text.push(':');
    };
    digits(&mut text, &mut header.iter().copied());
    digits(&mut text, &mut { mask });
    write!(text, "/proc/self/fd/{file}:PF").unwrap_or_default();
    text
}

/// Whether a program needs nothing but itself to be started.
///
/// ELF, <https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html>
fn is_static(path: &Path) -> std::io::Result<bool> {
    /// A part that names the loader.
    const INTERPRETER: [u8; 4] = 3_u32.to_le_bytes();
    let file = std::fs::File::open(path)?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0)?;
    // What runs on this machine is of 64 bits, the lowest first.
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Ok(false);
    }
    let number = |from: usize, bytes: usize| {
        let part = header.get(from..from + bytes).unwrap_or_default();
        part.iter()
            .rev()
            .fold(0_u64, |sum, it| sum << 8 | u64::from(*it))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    for at in 0..count.min(u64::from(MAX_SEGMENTS)) {
        let mut kind = [0; 4];
        file.read_exact_at(&mut kind, start.saturating_add(at * size))?;
        if kind == INTERPRETER {
            return Ok(false);
        }
    }
    Ok(count > 0)
}

/// Whether programs for `platform` run on this machine, though it is of another kind.
pub fn runs_programs_for(platform: &Platform) -> bool {
    runs(Path::new(LISTED), platform)
}

fn runs(listed: &Path, platform: &Platform) -> bool {
    let Some(header) = header_for(&platform.architecture) else {
        return false;
    };
    let is_on = std::fs::read_to_string(listed.join("status"));
    if is_on.is_ok_and(|it| it.trim() == "disabled") {
        return false;
    }
    let entries = std::fs::read_dir(listed).into_iter().flatten().flatten();
    let mut entries = entries.map(|it| it.path()).filter(|it| {
        let name = it.file_name().and_then(std::ffi::OsStr::to_str);
        !matches!(name, Some("register" | "status"))
    });
    entries.any(|entry| takes(&read(&entry), &header))
}

fn read(entry: &Path) -> String {
    use std::io::Read as _;

    let mut text = String::new();
    let file = std::fs::File::open(entry);
    let read = file.and_then(|it| it.take(MAX_ENTRY).read_to_string(&mut text));
    read.map_or(String::new(), |_| text)
}

/// Whether an entry is in use, stays open, and takes programs that begin so.
fn takes(entry: &str, header: &[u8]) -> bool {
    let value = |key: &str| entry.lines().find_map(|it| it.strip_prefix(key));
    let stays = value("flags: ").is_some_and(|it| it.contains('F'));
    let offset: Option<usize> = value("offset ").and_then(|it| it.parse().ok());
    let magic = value("magic ").and_then(bytes);
    let (Some(offset), Some(magic)) = (offset, magic) else {
        return false;
    };
    let mask = value("mask ").and_then(bytes);
    let mask = mask.unwrap_or_else(|| vec![0xff; magic.len()]);
    let found = header.get(offset..).and_then(|it| it.get(..magic.len()));
    let fits = found.is_some_and(|found| {
        let all = found.iter().zip(&magic).zip(&mask);
        all.into_iter()
            .all(|((found, magic), mask)| found & mask == magic & mask)
    });
    entry.lines().next() == Some("enabled") && stays && mask.len() == magic.len() && fits
}

/// Bytes in hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().as_bytes();
    let pair = |it: &[u8]| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok();
    (text.len().is_multiple_of(2) && !text.is_empty())
        .then(|| text.chunks(2).map(pair).collect())
        .flatten()
}

/// How a program for an architecture, as images name it, begins: 20 bytes.
///
/// ELF, <https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html>
fn header_for(architecture: &str) -> Option<Vec<u8>> {
    let (class, order, machine): (u8, u8, u16) = match architecture {
        "386" => (1, 1, 3),
        "ppc64le" => (2, 1, 21),
        "s390x" => (2, 2, 22),
        "arm" => (1, 1, 40),
        "amd64" => (2, 1, 62),
        "arm64" => (2, 1, 183),
        "riscv64" => (2, 1, 243),
        "loong64" => (2, 1, 258),
        _ => return None,
    };
    let two = |number: u16| {
        if order == 1 {
            number.to_le_bytes()
        } else {
            number.to_be_bytes()
        }
    };
    let mut header = b"\x7fELF".to_vec();
    header.extend([class, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // A program, and for which machine.
    header.extend(two(2));
    header.extend(two(machine));
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's `qemu-user-static` registers it.
    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\n\
        offset 0\nmagic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn an_interpreter_counts_where_it_is_in_use_and_stays_open() {
        let folder = tempfile::tempdir().unwrap();
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        let runs = |text: &str| runs(folder.path(), &platform(text));
        let write = |name: &str, text: &str| fs_err::write(folder.path().join(name), text).unwrap();
        assert!(!runs("linux/arm64"));
        write("qemu-aarch64", ARM64);
        assert!(runs("linux/arm64"));
        assert!(runs("linux/arm64/v8"));
        for other in ["linux/arm", "linux/s390x", "linux/amd64", "linux/mips"] {
            assert!(!runs(other), "{other}");
        }
        for (from, to) in [
            ("enabled", "disabled"),
            ("POCF", "POC"),
            ("offset 0", "offset 900"),
            ("offset 0", "offset x"),
            ("magic 7f", "magic 7"),
            ("mask ff", "mask "),
        ] {
            write("qemu-aarch64", &ARM64.replacen(from, to, 1));
            assert!(!runs("linux/arm64"), "{to}");
        }
        write("qemu-aarch64", ARM64);
        write("status", "disabled\n");
        assert!(!runs("linux/arm64"));
    }

    #[test]
    fn one_of_ours_is_registered_as_debian_registers_it() {
        let value = |key: &str| ARM64.lines().find_map(|it| it.strip_prefix(key)).unwrap();
        let line = line(&header_for("arm64").unwrap(), 7);
        let fields: Vec<_> = line.split(':').collect();
        let hex = |at: usize| fields[at].replace("\\x", "");
        assert_eq!(hex(4), value("magic "));
        assert_eq!(hex(5), value("mask "));
        assert_eq!(fields.last_chunk(), Some(&["/proc/self/fd/7", "PF"]));
    }

    #[test]
    fn only_what_needs_no_loader_can_be_an_interpreter() {
        let folder = tempfile::tempdir().unwrap();
        let arm64 = "linux/arm64".parse().unwrap();
        let find = || Interpreter::find(&arm64, [folder.path().to_owned()]);
        let of_ours = || find().filter(|it| it.file.starts_with(folder.path()));
        let mut program = vec![0; 64 + 2 * 56];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (program[32], program[54], program[56]) = (64, 56, 2);
        let mut dynamic = program.clone();
        dynamic[64 + 56] = 3;
        for bad in [
            dynamic,
            Vec::new(),
            b"#!/bin/sh\n".repeat(20),
            program[..80].to_vec(),
        ] {
            fs_err::write(folder.path().join("qemu-aarch64"), bad).unwrap();
            assert_eq!(of_ours(), None);
        }
        fs_err::write(folder.path().join("qemu-aarch64"), &program).unwrap();
        assert_eq!(
            of_ours().unwrap().file(),
            folder.path().join("qemu-aarch64")
        );
        fs_err::write(folder.path().join("qemu-aarch64-static"), &program).unwrap();
        assert_eq!(
            of_ours().unwrap().file(),
            folder.path().join("qemu-aarch64-static")
        );
        let odd = "linux/mips".parse().unwrap();
        assert_eq!(Interpreter::find(&odd, [folder.path().to_owned()]), None);
    }
}
