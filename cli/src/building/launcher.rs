//! Which machine type a program is for, by its ELF header.

use std::io::Read as _;
use std::path::Path;

use crate::error::CommandError;

/// The architecture of the program at `path`, as images name it; none, if it is no ELF program, or one
/// for a machine that no image names.
///
/// ELF, <https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html>
pub(super) fn machine(path: &Path) -> Result<Option<String>, CommandError> {
    let mut header = Vec::new();
    let file = fs_err::File::open(path).map_err(CommandError::undecided)?;
    let mut file = file.take(20);
    file.read_to_end(&mut header)
        .map_err(CommandError::undecided)?;
    Ok(of_header(&header).map(str::to_owned))
}

fn of_header(header: &[u8]) -> Option<&'static str> {
    let rest = header.strip_prefix(b"\x7fELF")?;
    let (is_64, is_little) = (*rest.first()? == 2, *rest.get(1)? == 1);
    let machine: [u8; 2] = header.get(18..20)?.try_into().ok()?;
    let machine = if is_little {
        u16::from_le_bytes(machine)
    } else {
        u16::from_be_bytes(machine)
    };
    match (machine, is_64, is_little) {
        (3, false, true) => Some("386"),
        (21, true, true) => Some("ppc64le"),
        (22, true, false) => Some("s390x"),
        (40, false, true) => Some("arm"),
        (62, true, true) => Some("amd64"),
        (183, true, true) => Some("arm64"),
        (243, true, true) => Some("riscv64"),
        (258, true, true) => Some("loong64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_what_it_is_for() {
        let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0".to_vec();
        assert_eq!(of_header(&header), Some("arm64"));
        header[18] = 62;
        assert_eq!(of_header(&header), Some("amd64"));
        // The same number in a program of 32 bits is x32's.
        header[4] = 1;
        assert_eq!(of_header(&header), None);
        assert_eq!(of_header(&header[..19]), None);
        assert_eq!(of_header(b"#!/bin/sh\n"), None);
        assert_eq!(of_header(b""), None);
    }
}
