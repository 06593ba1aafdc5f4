//! Programs for machines of another kind: whether the kernel runs them here, by an interpreter.
//!
//! It does where one is registered in `binfmt_misc`. One that is opened when a program starts is sought in
//! the root of the build, where it is not; so only those count that were opened when they were registered
//! (flag `F`).
//!
//! <https://docs.kernel.org/admin-guide/binfmt-misc.html>

use std::path::Path;

use oci::Platform;

/// Where the kernel lists interpreters.
const LISTED: &str = "/proc/sys/fs/binfmt_misc";
/// The most bytes of an entry that are read.
const MAX_ENTRY: u64 = 4096;

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
}
