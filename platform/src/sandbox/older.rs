//! Programs of 32 bits on a machine of 64: whether processor and kernel run them as they are, without an
//! interpreter. Many do, and no file says so for sure: so one is run that does nothing but end.
//!
//! ELF, <https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html>

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use oci::Platform;

/// Where programs of 32 bits lie in memory.
const ADDRESS: u32 = 0x0804_8000;
/// Bytes of the headers of a program of one part.
const HEADERS: u32 = 84;

/// Whether programs for `platform` run on this machine, which is of 64 bits and of the same family. One
/// is written to the folder `scratch` to find out.
pub fn runs_older_programs_for(platform: &Platform, scratch: &Path) -> bool {
    let host = Platform::host().architecture;
    let Some(program) = program_for(&host, &platform.architecture) else {
        return false;
    };
    // Where it cannot be written or started, it does not run.
    runs(&program, scratch).unwrap_or(false)
}

fn runs(program: &[u8], scratch: &Path) -> io::Result<bool> {
    let mut file = tempfile::NamedTempFile::with_prefix_in("sealpack-", scratch)?;
    file.write_all(program)?;
    fs_err::set_permissions(file.path(), std::fs::Permissions::from_mode(0o700))?;
    // What is open to be written cannot be run.
    let path = file.into_temp_path();
    let status = Command::new(&path)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}

/// A program that ends with 0, for machines whose programs `host` may run, too.
fn program_for(host: &str, architecture: &str) -> Option<Vec<u8>> {
    // The machine, flags, and instructions: `exit(0)`.
    let (machine, flags, code): (u16, u32, &[u8]) = match (host, architecture) {
        ("amd64", "386") => (3, 0, b"\x31\xc0\x40\x31\xdb\xcd\x80"),
        ("arm64", "arm") => (
            40,
            0x0500_0000,
            b"\x00\x00\xa0\xe3\x01\x70\xa0\xe3\x00\x00\x00\xef",
        ),
        _ => return None,
    };
    let size = HEADERS + u32::try_from(code.len()).ok()?;
    let mut program = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut words = |numbers: &[u32]| {
        for number in numbers {
            program.extend(number.to_le_bytes());
        }
    };
    // A program, for which machine; where it begins, and where its one part is described.
    words(&[
        0x2 | u32::from(machine) << 16,
        1,
        ADDRESS + HEADERS,
        52,
        0,
        flags,
    ]);
    words(&[0x34 | 0x20 << 16, 1, 0]);
    // All of it is loaded, to be read and run.
    words(&[1, 0, ADDRESS, ADDRESS, size, size, 5, 0x1000]);
    program.extend_from_slice(code);
    Some(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_32_bits_run_where_the_kernel_has_them() {
        let scratch = tempfile::tempdir().unwrap();
        let runs =
            |platform: &str| runs_older_programs_for(&platform.parse().unwrap(), scratch.path());
        for other in ["linux/s390x", "linux/mips", "linux/riscv64"] {
            assert!(!runs(other), "{other}");
        }
        // Kernels that run them have this.
        if Path::new("/proc/sys/abi/vsyscall32").exists() {
            assert!(runs("linux/386"));
            assert!(!runs("linux/arm"));
        }
        let nowhere = scratch.path().join("missing");
        assert!(!runs_older_programs_for(
            &"linux/386".parse().unwrap(),
            &nowhere
        ));
        assert_eq!(fs_err::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
