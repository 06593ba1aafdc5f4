//! Files that are made for a test: small, and as odd as they are wanted.

use std::io::Write as _;

/// A program of these sections and nothing else. It could not run.
pub(crate) fn elf(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut names = vec![0_u8];
    let mut content = vec![0_u8; 64 + 56];
    let mut table = vec![0_u8; 64];
    for (name, bytes) in sections.iter().copied().chain([(".shstrtab", &b""[..])]) {
        let at = names.len();
        names.extend(name.as_bytes());
        names.push(0);
        let bytes = if name == ".shstrtab" {
            &names[..]
        } else {
            bytes
        };
        content.resize(content.len().next_multiple_of(16), 0);
        let start = content.len();
        content.extend(bytes);
        table.extend(u32::try_from(at).unwrap().to_le_bytes());
        let kind: u32 = if name == ".shstrtab" { 3 } else { 1 };
        table.extend(kind.to_le_bytes());
        for number in [
            2_u64,
            0x40_0000 + start as u64,
            start as u64,
            bytes.len() as u64,
        ] {
            table.extend(number.to_le_bytes());
        }
        table.extend([0; 8]); // link, info
        table.extend(1_u64.to_le_bytes());
        table.extend(0_u64.to_le_bytes());
    }
    let sections_at = content.len() as u64;
    content.extend(&table);
    let count = u16::try_from(table.len() / 64).unwrap();
    let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    head.extend(2_u16.to_le_bytes());
    head.extend(62_u16.to_le_bytes());
    head.extend(1_u32.to_le_bytes());
    for number in [0_u64, 64, sections_at] {
        head.extend(number.to_le_bytes());
    }
    head.extend(0_u32.to_le_bytes());
    for number in [64, 56, 1, 64, count, count - 1] {
        head.extend(u16::to_le_bytes(number));
    }
    content[..64].copy_from_slice(&head);
    // One segment that is loaded and can be written, of all of it.
    let mut segment = 1_u32.to_le_bytes().to_vec();
    segment.extend(6_u32.to_le_bytes());
    let size = content.len() as u64;
    for number in [0, 0x40_0000, 0x40_0000, size, size, 0x1000] {
        segment.extend(number.to_le_bytes());
    }
    content[64..64 + 56].copy_from_slice(&segment);
    content
}

/// A program as Go 1.22 builds it of these modules.
pub(crate) fn go_program(modules: &str) -> Vec<u8> {
    let mut info = b"\xff Go buildinf:\x08\x02".to_vec();
    info.resize(32, 0);
    let framed = [&[1; 16], modules.as_bytes(), &[2; 16]].concat();
    for text in [&b"go1.22.3"[..], &framed] {
        let mut size = text.len();
        while size >= 0x80 {
            info.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
            size >>= 7;
        }
        info.push(u8::try_from(size).unwrap());
        info.extend(text);
    }
    elf(&[(".go.buildinfo", &info)])
}

/// In zlib's format.
pub(crate) fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zip archive of these members, stored as they are.
pub(crate) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let members = members.iter().map(|(name, bytes)| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let size = bytes.len() as u64;
        (*name, 0, crc.sum(), bytes.to_vec(), size)
    });
    archive(members)
}

/// The same, compressed.
pub(crate) fn small_zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let members = members.iter().map(|(name, bytes)| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let level = flate2::Compression::best();
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).unwrap();
        let packed = encoder.finish().unwrap();
        (*name, 8, crc.sum(), packed, bytes.len() as u64)
    });
    archive(members)
}

fn archive<'a>(members: impl Iterator<Item = (&'a str, u16, u32, Vec<u8>, u64)>) -> Vec<u8> {
    let (mut content, mut directory, mut count) = (Vec::new(), Vec::new(), 0_u16);
    for (name, method, crc, packed, size) in members {
        let start = u32::try_from(content.len()).unwrap();
        let mut common = 20_u16.to_le_bytes().to_vec();
        common.extend([0, 0]);
        common.extend(method.to_le_bytes());
        common.extend([0; 4]);
        common.extend(crc.to_le_bytes());
        common.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
        common.extend(u32::try_from(size).unwrap().to_le_bytes());
        common.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend([0, 0]);
        content.extend(b"PK\x03\x04");
        content.extend(&common);
        content.extend(name.as_bytes());
        content.extend(packed);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
        count += 1;
    }
    let start = u32::try_from(content.len()).unwrap();
    content.extend(&directory);
    content.extend(b"PK\x05\x06\0\0\0\0");
    content.extend(count.to_le_bytes());
    content.extend(count.to_le_bytes());
    content.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    content.extend(start.to_le_bytes());
    content.extend([0, 0]);
    content
}
