use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::*;
use sha2::{Digest as _, Sha256};

/// Each line of the file is a header that Go was asked to write: type, name and link target in
/// hex, mode, owner, group, time, size, device; and the SHA-256 of what it wrote, or `error`.
#[test]
fn headers_equal_gos() {
    let lines = include_str!("../../../../tests/fixtures/go-tar.tsv");
    for line in lines.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |index: usize| fields[index].parse::<i64>().unwrap();
        let size = number(7).try_into().unwrap();
        let target = unhex(fields[2]);
        let (major, minor) = (number(8).try_into().unwrap(), number(9).try_into().unwrap());
        let entry = Entry {
            path: unhex(fields[1]),
            kind: match fields[0] {
                "0" => EntryKind::File { size },
                "1" => EntryKind::Hardlink { target },
                "2" => EntryKind::Symlink { target },
                "3" => EntryKind::Char { major, minor },
                "4" => EntryKind::Block { major, minor },
                "5" => EntryKind::Directory,
                "6" => EntryKind::Fifo,
                other => panic!("{other}"),
            },
            mode: number(3).try_into().unwrap(),
            uid: number(4).try_into().unwrap(),
            gid: number(5).try_into().unwrap(),
            mtime: number(6),
        };
        let presented =
            headers(&entry, &Manner::default()).map(|blocks| Sha256::digest(blocks.concat()));
        match presented {
            Ok(digest) => assert_eq!(format!("{digest:x}"), fields[10], "{entry:?}"),
            Err(_) => assert_eq!("error", fields[10], "{entry:?}"),
        }
    }
}

fn unhex(text: &str) -> PathBuf {
    let digits: Vec<char> = text.chars().collect();
    let bytes = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
        .collect();
    OsString::from_vec(bytes).into()
}

fn file(path: &str, size: u64) -> Entry {
    Entry {
        path: path.into(),
        kind: EntryKind::File { size },
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 0,
    }
}

#[test]
fn what_has_no_place_in_a_tar_is_refused() {
    let symlink = Entry {
        kind: EntryKind::Symlink {
            target: "target\0".into(),
        },
        ..file("link", 0)
    };
    let device = Entry {
        kind: EntryKind::Char {
            major: 1 << 21,
            minor: 0,
        },
        ..file("device", 0)
    };
    let mode = Entry {
        mode: 1 << 21,
        ..file("mode", 0)
    };
    let long = "n".repeat(1 << 20);
    for entry in [
        file("nul\0", 0),
        file("slash/", 0),
        file(&long, 0),
        symlink,
        device,
        mode,
    ] {
        let written = Writer::new(Vec::new()).write(&entry, io::empty());
        assert!(matches!(written, Err(TarError::Unrepresentable { .. })));
    }
}

/// A file may grow or shrink while it is read.
#[test]
fn a_file_is_as_long_as_its_entry() {
    let mut tar = Writer::new(Vec::new());
    tar.write(&file("grown", 3), &b"more than that"[..])
        .unwrap();
    let tar = tar.finish().unwrap();
    assert_eq!(tar.len(), 512 + 512 + 1024);
    assert!(tar[512..].starts_with(b"mor\0"));
    let short = Writer::new(Vec::new()).write(&file("short", 3), &b"le"[..]);
    assert!(matches!(
        short,
        Err(TarError::Short {
            expected: 3,
            presented: 2,
            ..
        })
    ));
}

/// A signal may come between two bytes.
#[test]
fn a_signal_is_not_the_end_of_a_file() {
    struct Interrupted(bool);

    impl Read for Interrupted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = !self.0;
            if self.0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            b"x".as_slice().read(buffer)
        }
    }

    let mut tar = Writer::new(Vec::new());
    tar.write(&file("file", 3), Interrupted(false)).unwrap();
    assert!(tar.finish().unwrap()[512..].starts_with(b"xxx\0"));
}
