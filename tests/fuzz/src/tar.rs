//! Tar: what is read of an archive is bounded by it, and is written as what reads the same.

use std::path::Path;

use oci::fuzzing::read_tar;
use oci::tar::{Entry, EntryKind, TarError, Writer};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "tar",
    run,
    seeds,
    words: WORDS,
    short: 10_000,
};

pub(crate) const WORDS: &[&str] = &[
    "ustar\0\x30\x30",
    "ustar  \0",
    "././@LongLink",
    "12 path=ab\n",
    "12 size=10\n",
    "15 linkpath=ab\n",
    "12 mtime=-1\n",
    "13 mtime=1.5\n",
    "11 uid=999\n",
    "20 GNU.sparse.map=1\n",
    "../",
    ".wh.",
    ".wh..wh..opq",
];

const BLOCK: usize = 512;
const LONGEST: usize = 300;

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let path = |it: &str| Path::new(it).to_owned();
    let long = "folder/".repeat(20) + "é";
    let kinds = [
        ("a/", EntryKind::Directory),
        ("a/b", EntryKind::File { size: 5 }),
        (
            "a/c",
            EntryKind::Symlink {
                target: path("../x"),
            },
        ),
        (
            "a/d",
            EntryKind::Hardlink {
                target: path("a/b"),
            },
        ),
        ("p", EntryKind::Fifo),
        ("n", EntryKind::Char { major: 1, minor: 3 }),
        ("s", EntryKind::Block { major: 8, minor: 0 }),
        ("a/.wh.b", EntryKind::File { size: 0 }),
        (
            long.as_str(),
            EntryKind::Symlink {
                target: path(&long),
            },
        ),
    ];
    let entries = kinds
        .into_iter()
        .enumerate()
        .map(|(at, (name, kind))| Entry {
            path: path(name),
            kind,
            mode: 0o755,
            uid: if at % 2 == 0 { 1000 } else { 1 << 40 },
            gid: 0,
            mtime: if at % 3 == 0 { -1 } else { 315_532_801 },
        });
    let mut seeds: Vec<Vec<u8>> = entries
        .map(|entry| {
            let written = write(&[(entry.clone(), content_of(&entry))]);
            [b"\x00".as_slice(), &written.unwrap_or_default()].concat()
        })
        .collect();
    seeds.push(seeds.concat());
    seeds
}

fn content_of(entry: &Entry) -> Vec<u8> {
    match entry.kind {
        EntryKind::File { size } => (0..size).map(|it| it.to_le_bytes()[0]).collect(),
        _ => Vec::new(),
    }
}

/// An even first byte sets checksums right, so that more than the checksum is looked at.
fn run(data: &[u8]) {
    let Some((first, archive)) = data.split_first() else {
        return;
    };
    let mut archive = archive.to_vec();
    if first % 2 == 0 {
        set_checksums(&mut archive);
    }
    let Ok(entries) = read_tar(&archive, LONGEST) else {
        return;
    };
    assert!(entries.len() <= archive.len() / BLOCK);
    let mut total = 0;
    for (entry, content) in &entries {
        total += content.len();
        let (path, target) = (entry.path.as_os_str(), target(entry));
        assert!(path.len() <= LONGEST && target.len() <= LONGEST);
        assert!(
            ![path, target]
                .iter()
                .any(|it| it.as_encoded_bytes().contains(&0))
        );
        assert!(entry.mode <= 0o7777);
        match entry.kind {
            EntryKind::File { size } => assert_eq!(size, content.len() as u64),
            _ => assert!(content.is_empty()),
        }
    }
    assert!(total <= archive.len());
    // The writer has no place for some names.
    if let Ok(written) = write(&entries) {
        let again = read_tar(&written, LONGEST).expect("was just written");
        assert_eq!(again, entries);
        let names = |of: &[(Entry, Vec<u8>)]| -> Vec<_> {
            let pair = |it: &Entry| (it.path.clone().into_os_string(), target(it).to_owned());
            of.iter().map(|(entry, _)| pair(entry)).collect()
        };
        assert_eq!(names(&again), names(&entries));
    }
}

fn target(entry: &Entry) -> &std::ffi::OsStr {
    match &entry.kind {
        EntryKind::Symlink { target } | EntryKind::Hardlink { target } => target.as_os_str(),
        _ => "".as_ref(),
    }
}

fn write(entries: &[(Entry, Vec<u8>)]) -> Result<Vec<u8>, TarError> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        writer.write(entry, content.as_slice())?;
    }
    writer.finish()
}

/// Gives each block that looks like a header the checksum that it should have.
pub(crate) fn set_checksums(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(BLOCK) {
        if block.get(257..262) != Some(b"ustar") {
            continue;
        }
        if let Some(field) = block.get_mut(148..156) {
            field.fill(b' ');
        }
        let sum: u32 = block.iter().map(|it| u32::from(*it)).sum();
        if let Some(field) = block.get_mut(148..156) {
            field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}
