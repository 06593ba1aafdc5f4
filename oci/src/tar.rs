//! Tar archives: others', entry by entry, to be written again; and how Go writes them.

use std::io::{self, Read};

use crate::ExtractError;
use crate::extract::archive::{Archive, Kind};

/// What a [`Reader`] gives and a layer is made of.
pub use go::tar::{Entry, EntryKind, Manner, TarError, Writer};

/// Reads a tar archive, plain or compressed with gzip or zstd: POSIX with PAX, GNU's form, old. What
/// is hostile is an error, never an allocation.
///
/// After [`next_entry`](Self::next_entry), the content of that entry is what is read from it.
#[expect(
    missing_debug_implementations,
    reason = "what it reads need not have one"
)]
pub struct Reader<'a> {
    archive: Archive<Box<dyn Read + 'a>>,
    entries: u64,
    limit: u64,
}

/// An entry of an archive of others.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Seen {
    /// What it says. Of devices, major and minor number are left out.
    pub entry: Entry,
    /// How it is written.
    pub manner: Manner,
}

impl<'a> Reader<'a> {
    /// Reads `reader`, no more than `entries` entries, with paths of at most `path` bytes. Whoever
    /// does not trust the archive limits its bytes.
    pub fn new(reader: impl Read + 'a, entries: u64, path: usize) -> Result<Self, ExtractError> {
        Ok(Self {
            archive: Archive::new(crate::extract::decompressed(reader)?, path),
            entries: 0,
            limit: entries,
        })
    }

    /// The next entry; none at the end.
    pub fn next_entry(&mut self) -> Result<Option<Seen>, ExtractError> {
        let Some(found) = self.archive.next_entry()? else {
            return Ok(None);
        };
        self.entries += 1;
        if self.entries > self.limit {
            return Err(ExtractError::TooManyEntries { limit: self.limit });
        }
        let kind = match found.kind {
            Kind::File => EntryKind::File { size: found.size },
            Kind::HardLink => EntryKind::Hardlink { target: found.link },
            Kind::Symlink => EntryKind::Symlink { target: found.link },
            Kind::Folder => EntryKind::Directory,
            Kind::Fifo => EntryKind::Fifo,
            Kind::Device(b'3') => EntryKind::Char { major: 0, minor: 0 },
            Kind::Device(_) => EntryKind::Block { major: 0, minor: 0 },
            Kind::Unknown(flag) => {
                return Err(ExtractError::UnknownType {
                    path: found.path,
                    flag,
                });
            }
        };
        Ok(Some(Seen {
            entry: Entry {
                path: found.path,
                kind,
                mode: found.mode,
                uid: found.uid,
                gid: found.gid,
                mtime: found.mtime,
            },
            manner: found.manner,
        }))
    }
}

/// What `reader` has, decompressed if it is compressed with gzip or zstd. Whoever does not trust it
/// limits what is read.
pub fn decompressed<'a>(reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>, ExtractError> {
    crate::extract::decompressed(reader)
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.archive.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::Writer;
    use super::*;

    /// In both forms, with names that do not fit, what is written is what was read, byte for byte.
    #[test]
    fn what_is_passed_on_stays_as_it_was() {
        let long = "folder/".repeat(20) + "name";
        for gnu in [false, true] {
            let manner = Manner {
                gnu,
                user: b"root".to_vec(),
                group: b"wheel".to_vec(),
                // GNU's form has no place for it.
                capability: (!gnu).then(|| b"\x01\0\0\x02\0".to_vec()),
            };
            let mut writer = Writer::new(Vec::new());
            for path in ["short", &long, "é"] {
                let entry = |kind| Entry {
                    path: path.into(),
                    kind,
                    mode: 0o755,
                    uid: 3_000_000,
                    gid: 0,
                    mtime: 315_532_801,
                };
                let file = entry(EntryKind::File { size: 3 });
                writer.write_as(&file, &manner, &b"abc"[..]).unwrap();
                let target = PathBuf::from(&long);
                let link = entry(EntryKind::Symlink { target });
                writer.write_as(&link, &manner, io::empty()).unwrap();
            }
            let first = writer.finish().unwrap();
            let mut reader = Reader::new(&first[..], 10, 4096).unwrap();
            let mut again = Writer::new(Vec::new());
            while let Some(seen) = reader.next_entry().unwrap() {
                assert_eq!(seen.manner.user, b"root");
                assert_eq!(seen.manner.gnu, gnu);
                again
                    .write_as(&seen.entry, &seen.manner, &mut reader)
                    .unwrap();
            }
            assert!(again.finish().unwrap() == first, "gnu: {gnu}");
        }
    }

    #[test]
    fn entries_have_a_limit() {
        let mut writer = Writer::new(Vec::new());
        for path in ["a", "b"] {
            let entry = Entry {
                path: path.into(),
                kind: EntryKind::Directory,
                mode: 0o755,
                uid: 0,
                gid: 0,
                mtime: 0,
            };
            writer.write(&entry, io::empty()).unwrap();
        }
        let tar = writer.finish().unwrap();
        let mut reader = Reader::new(&tar[..], 1, 10).unwrap();
        assert!(reader.next_entry().unwrap().is_some());
        assert!(matches!(
            reader.next_entry(),
            Err(ExtractError::TooManyEntries { limit: 1 })
        ));
    }
}
