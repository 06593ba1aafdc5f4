//! Headers of every kind: what old and odd programs write, and what nobody writes in good faith.

use std::io::Read;

use super::*;

/// A header with all of its fields, and the checksum that `sum` makes of it.
fn raw(fields: &[(usize, &[u8])], sum: impl Fn(&[u8; 512]) -> i64) -> Tar {
    let mut tar = Tar::default();
    tar.header(b'0', "x", "", "00000000000\0", "0000644\0");
    let mut block: [u8; 512] = tar.0[..].try_into().unwrap();
    for (at, bytes) in fields {
        block[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    block[148..156].fill(b' ');
    let sum = format!("{:06o}\0 ", sum(&block));
    block[148..156].copy_from_slice(sum.as_bytes());
    Tar(block.to_vec())
}

fn unsigned(block: &[u8; 512]) -> i64 {
    block.iter().map(|it| i64::from(*it)).sum()
}

fn signed(block: &[u8; 512]) -> i64 {
    block.iter().map(|it| i64::from(it.cast_signed())).sum()
}

fn assert_malformed(tar: Tar, expected: &str) {
    assert_bytes_malformed(&tar.end(), expected);
}

fn assert_bytes_malformed(tar: &[u8], expected: &str) {
    let cell = Cell::new();
    match extract(tar, &cell.inside, &ExtractOptions::default()) {
        Err(ExtractError::Malformed { problem }) => assert_eq!(problem, expected),
        other => panic!("{expected}: {other:?}"),
    }
}

#[test]
fn extended_headers_are_limited_together() {
    let mut tar = Tar::default();
    for _ in 0..2100 {
        tar = tar.pax("comment", "x");
    }
    assert_malformed(
        tar.file("x", ""),
        "its extended headers are larger than 1 MiB",
    );
    // Those of one entry, not of all.
    let cell = Cell::new();
    let mut tar = Tar::default();
    for _ in 0..2100 {
        tar = tar.pax("comment", "x").file("x", "x");
    }
    cell.extract(tar).unwrap();
}

#[test]
fn extended_headers_that_are_broken_are_refused() {
    let broken = "an extended header is broken";
    for text in [
        "space",
        "x path=a\n",
        "99 path=a\n",
        "9 path=ab",
        "8 path=ab\n",
        "3 \n",
        "7 path\n",
        "-9 path=a\n",
    ] {
        let tar = Tar::default().entry(b'x', "pax", "", text.as_bytes());
        assert_malformed(tar.file("x", ""), broken);
    }
    for (key, value) in [
        ("size", "x"),
        ("size", "-1"),
        ("size", "9223372036854775808"),
        ("size", "18446744073709551615"),
        ("uid", "-1"),
        ("gid", "no"),
        ("mtime", "x"),
    ] {
        let tar = Tar::default().pax(key, value).file("x", "");
        assert_malformed(tar, broken);
    }
    for key in ["GNU.sparse.major", "GNU.sparse.map"] {
        let tar = Tar::default().pax(key, "1").file("x", "");
        assert_malformed(tar, "it has a sparse file, and those are not read");
    }
}

#[test]
fn names_with_a_zero_byte_are_refused() {
    let problem = "a path has a zero byte in it";
    let tar = Tar::default().pax("path", "good\0evil").file("x", "");
    assert_malformed(tar, problem);
    let tar = Tar::default()
        .pax("linkpath", "good\0evil")
        .symlink("x", "y");
    assert_malformed(tar, problem);
    let cell = Cell::new();
    let tar = Tar::default()
        .pax("linkpath", &"a/".repeat(3000))
        .symlink("x", "y");
    assert!(matches!(
        cell.extract(tar),
        Err(ExtractError::PathTooLong { limit: 4096 })
    ));
}

#[test]
fn numbers_are_what_tar_has() {
    let bad = "a header has a bad number";
    let binary = |bytes: [u8; 12]| raw(&[(124, &bytes)], unsigned);
    let mut negative = [0xff; 12];
    negative[11] = 0;
    let mut overflowing = [0; 12];
    (overflowing[0], overflowing[2]) = (0x80, 1);
    let mut too_large = [0; 12];
    (too_large[0], too_large[4]) = (0x80, 0x80);
    for size in [negative, overflowing, too_large] {
        assert_malformed(binary(size), bad);
    }
    // So of an owner: it would be one of the largest.
    assert_malformed(raw(&[(108, &[0xff; 8])], unsigned), bad);
    for size in [
        "+0000000007\0",
        "0000000008 \0",
        "00000 00007\0",
        "\u{e4}\0\0\0\0\0\0\0\0\0\0",
    ] {
        assert_malformed(raw(&[(124, size.as_bytes())], unsigned), bad);
    }
    // Good ones, and what follows is found.
    let mut seven = [0; 12];
    (seven[0], seven[11]) = (0x80, 7);
    for size in [
        &seven[..],
        b"00000000007\0",
        b"         7 \0",
        b"7\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let cell = Cell::new();
        let tar = raw(&[(124, size)], unsigned);
        let tar = tar.content(b"content").file("after", "x");
        cell.extract(tar).unwrap();
        assert_eq!(
            (cell.read("x"), cell.read("after")),
            ("content".into(), "x".into())
        );
    }
}

/// Some programs leave fields empty. A time before 1970, or none, is of no use and does no harm.
#[test]
fn what_is_empty_or_long_ago_is_zero() {
    for (at, field) in [
        (108, &[0; 8][..]),
        (116, b"        "),
        (136, &[0; 12]),
        (136, &[0xff; 12]),
        (136, b"yesterday\0\0\0"),
    ] {
        let cell = Cell::new();
        let tar = raw(&[(124, b"00000000007\0"), (at, field)], unsigned);
        cell.extract(tar.content(b"content")).unwrap();
        assert_eq!(cell.read("x"), "content");
        let made = fs_err::metadata(cell.inside.join("x")).unwrap();
        assert!(at != 136 || made.mtime() == 0, "{field:?}");
    }
}

#[test]
fn old_programs_added_signed_bytes() {
    let name = [(0, "\u{e4}".as_bytes())];
    for sum in [unsigned, signed] {
        let cell = Cell::new();
        cell.extract(raw(&name, sum)).unwrap();
        assert!(cell.has("\u{e4}"));
    }
    let tar = raw(&name, |block| unsigned(block) + 1);
    assert_malformed(tar, "a header does not have the checksum that it says");
}

#[test]
fn a_prefix_is_one_in_posix_only() {
    let prefix = (345, b"prefix".as_slice());
    let cell = Cell::new();
    cell.extract(raw(&[prefix], unsigned)).unwrap();
    assert!(cell.has("prefix/x"));
    for magic in [b"ustar  \0".as_slice(), &[0; 8]] {
        let cell = Cell::new();
        cell.extract(raw(&[prefix, (257, magic)], unsigned))
            .unwrap();
        assert!(cell.has("x") && !cell.has("prefix"));
    }
}

#[test]
fn what_has_no_content_has_no_size() {
    for flag in *b"123456" {
        let cell = Cell::new();
        let mut tar = Tar::default().file("target", "x");
        tar.header(flag, "x", "target", "00000001000\0", "0000755\0");
        cell.extract(tar.file("after", "x")).unwrap();
        assert_eq!(cell.read("after"), "x");
    }
    // The size in an extended header counts, and global headers do not.
    let cell = Cell::new();
    let mut tar = Tar::default()
        .entry(b'g', "global", "", b"15 path=global\n13 size=100\n")
        .pax("size", "7");
    tar.header(b'0', "x", "", "00000000001\0", "0000644\0");
    let tar = tar.content(b"content").file("after", "x");
    cell.extract(tar).unwrap();
    assert_eq!(
        (cell.read("x"), cell.read("after")),
        ("content".into(), "x".into())
    );
    assert!(!cell.has("global"));
}

#[test]
fn a_file_by_a_name_that_ends_in_a_slash_is_a_folder() {
    for flag in [b'0', 0] {
        let cell = Cell::new();
        cell.extract(Tar::default().entry(flag, "x/", "", b""))
            .unwrap();
        assert!(cell.inside.join("x").is_dir());
    }
}

#[test]
fn an_archive_that_ends_early_is_refused() {
    let whole = Tar::default().pax("path", "long").file("x", "content").0;
    let file = "it ends in the middle of a file";
    for (at, expected) in [
        (100, "it ends in the middle of a header"),
        (512 + 4, "it ends in the middle of an extended header"),
        (1024 + 100, "it ends in the middle of a header"),
        (1536 + 3, file),
        // All of the content, and not all of its last block.
        (1536 + 100, file),
    ] {
        assert_bytes_malformed(&whole[..at], expected);
    }
    // A padding of an extended header.
    assert_bytes_malformed(&whole[..512 + 100], file);
}

/// A window that large has to be held in memory.
#[test]
fn large_windows_of_zstd_are_refused() {
    let zstd = |log: u8| {
        let tar = Tar::default().end();
        let size = u32::try_from(tar.len()).unwrap();
        let block = (size << 3 | 1).to_le_bytes();
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        [&magic[..], &[0, (log - 10) << 3], &block[..3], &tar].concat()
    };
    let cell = Cell::new();
    let options = ExtractOptions::default();
    let summary = extract(&zstd(27)[..], &cell.inside, &options).unwrap();
    assert_eq!(summary.bytes, 1024);
    let refused = extract(&zstd(28)[..], &cell.inside, &options);
    assert!(matches!(refused, Err(ExtractError::Read(_))), "{refused:?}");
}

/// A signal may come between two bytes.
#[test]
fn a_signal_is_not_the_end_of_an_archive() {
    struct Interrupted<'a>(&'a [u8], bool);

    impl Read for Interrupted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            let size = buffer.len().min(1);
            self.0.read(&mut buffer[..size])
        }
    }

    let cell = Cell::new();
    let tar = Tar::default()
        .pax("path", "long")
        .file("x", "content")
        .end();
    let options = ExtractOptions::default();
    extract(Interrupted(&tar, false), &cell.inside, &options).unwrap();
    assert_eq!(cell.read("long"), "content");
}
