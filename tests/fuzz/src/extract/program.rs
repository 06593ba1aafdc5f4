//! Archives from few bytes: eight for each entry. So that a change of one byte is another archive
//! that is well formed, of names that meet each other.

use std::ffi::OsString;
use std::path::Path;

use oci::tar::{Entry, EntryKind, Writer};

/// Names by number; see [`path`] for the first and the last.
const NAMES: [&str; 14] = [
    "a",
    "b",
    "link",
    "..",
    "file",
    ".wh.a",
    ".wh.file",
    ".wh..wh..opq",
    "canary",
    "directory",
    ".wh.link",
    ".wh...",
    ".",
    "a-name-that-is-so-long-that-four-of-it-do-not-fit-into-the-header-of-an-archive",
];

/// A few more than [`super::ENTRIES`].
const STEPS: usize = 28;

/// By name: the kinds that one entry may be of.
const FILE: u8 = 0;
const FOLDER: u8 = 3;
const SYMLINK: u8 = 4;
const HARD_LINK: u8 = 6;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    // Kind, path (two), target (two), mode (two), size.
    [
        // A file through a link to the canary, by `..` and from the root.
        vec![
            [SYMLINK, 0x30, 0x00, 0x49, 0x00, 0o7, 0xff, 0],
            [FILE, 0x35, 0x00, 0x00, 0x00, 0o6, 0x44, 9],
        ],
        vec![
            [SYMLINK, 0x30, 0x00, 0xf9, 0x00, 0o7, 0xff, 0],
            [FOLDER, 0x31, 0x00, 0x00, 0x00, 0x0f, 0xff, 0],
            [FILE, 0x31, 0x50, 0x00, 0x00, 0x0f, 0xff, 99],
        ],
        // A hard link to what is beside the directory, then a file over it.
        vec![
            [HARD_LINK, 0x50, 0x00, 0x49, 0x50, 0o6, 0x44, 0],
            [FILE, 0x50, 0x00, 0x00, 0x00, 0o6, 0x44, 20],
        ],
        // A folder that becomes a link, with its mode set at the end.
        vec![
            [FOLDER, 0x12, 0x00, 0x00, 0x00, 0x01, 0xed, 0],
            [FILE, 0x12, 0x50, 0x00, 0x00, 0x01, 0xa4, 3],
            [SYMLINK, 0x10, 0x00, 0x44, 0x90, 0o7, 0xff, 0],
        ],
        // Whiteouts.
        vec![
            [FOLDER, 0x10, 0x00, 0x00, 0x00, 0x01, 0xed, 0],
            [FILE, 0x15, 0x00, 0x00, 0x00, 0x01, 0xa4, 3],
            [FILE, 0x18, 0x00, 0x00, 0x00, 0, 0, 0],
            [FILE, 0x60, 0x00, 0x00, 0x00, 0, 0, 0],
            [FILE, 0x3b, 0x00, 0x00, 0x00, 0, 0, 0],
        ],
        // Pipes, devices, a file of more than one block.
        vec![
            [7, 0x10, 0x00, 0x00, 0x00, 0x01, 0xed, 0],
            [8, 0x20, 0x00, 0x00, 0x00, 0x01, 0xed, 0],
            [9, 0x50, 0x00, 0x00, 0x00, 0x01, 0xed, 0],
            [1, 0xee, 0xe1, 0x00, 0x00, 0x01, 0xed, 200],
        ],
    ]
    .map(|it| it.concat())
    .into()
}

/// The archive that `program` says. `root` is where the root's name leads.
pub(super) fn archive(program: &[u8], root: &Path) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for step in program.as_chunks().0.iter().take(STEPS) {
        let (entry, content) = entry(*step, root);
        // Some have no place in an archive.
        drop(writer.write(&entry, content.as_slice()));
    }
    writer.finish().expect("memory takes all")
}

fn entry(step: [u8; 8], root: &Path) -> (Entry, Vec<u8>) {
    let [kind, a, b, c, d, high, low, size] = step;
    let target = path([c, d], root).into();
    let mut content = Vec::new();
    let kind = match kind & 0x0f {
        0..=2 => {
            content = vec![size; usize::from(size) << (kind & 3)];
            EntryKind::File {
                size: content.len() as u64,
            }
        }
        FOLDER => EntryKind::Directory,
        SYMLINK | 5 => EntryKind::Symlink { target },
        HARD_LINK => EntryKind::Hardlink { target },
        7 => EntryKind::Fifo,
        8 => EntryKind::Char { major: 1, minor: 3 },
        9 => EntryKind::Block { major: 7, minor: 0 },
        10 => EntryKind::File {
            size: (u64::from(size) << 32) * u64::from(high & 1),
        },
        _ => EntryKind::Directory,
    };
    let entry = Entry {
        path: path([a, b], root).into(),
        kind,
        mode: u32::from(u16::from_be_bytes([high, low]) & 0o7777),
        uid: u64::from(high >> 4) * 1000,
        gid: u64::from(high >> 6) << 30,
        mtime: i64::from(low) - 3,
    };
    (entry, content)
}

/// Four bits are a name: 0 none, 15 the root of the sandbox, which makes the path one from the root
/// of all.
fn path(bytes: [u8; 2], root: &Path) -> OsString {
    let mut path = OsString::new();
    for number in bytes.into_iter().flat_map(|it| [it >> 4, it & 15]) {
        if number == 0 {
            continue;
        }
        if !path.is_empty() {
            path.push("/");
        }
        match NAMES.get(usize::from(number) - 1) {
            Some(name) => path.push(name),
            None => path.push(root),
        }
    }
    path
}
