//! What lies where in a tar file. It is read once, by its headers alone; nothing is unpacked.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path};
use std::sync::Arc;

use super::section::Section;
use super::spool;
use crate::extract::archive::{Archive, Kind};
use crate::{Digest, ExtractError, StoreError};

/// More than an image with 100,000 referrers has.
const ENTRIES: usize = 500_000;
/// Bytes of all names.
const NAMES: usize = 64 << 20;
/// Bytes of one name.
const NAME: usize = 4096;

/// The files in a tar file, by name.
#[derive(Debug)]
pub(super) struct Members {
    place: String,
    file: Arc<File>,
    /// Whether `file` is what lies at the path, not a copy of what was compressed or came by a pipe.
    pub(super) is_original: bool,
    by_name: BTreeMap<String, Member>,
    /// Names that are there twice: one reader would take the first, another the last.
    ambiguous: BTreeSet<String>,
}

#[derive(Clone, Debug)]
enum Member {
    File {
        start: u64,
        size: u64,
    },
    /// To another member. No link ever leads out: this is a map, not a file system.
    Link(String),
}

impl Members {
    /// Indexes `file`, a tar, plain or compressed with gzip or zstd.
    pub(super) fn read(file: File, place: &str) -> Result<Self, StoreError> {
        Self::read_within(file, place, ENTRIES, NAMES)
    }

    fn read_within(
        file: File,
        place: &str,
        most_entries: usize,
        most_names: usize,
    ) -> Result<Self, StoreError> {
        let (file, is_original) = spool::plain(file, place)?;
        let mut members = Self {
            place: place.to_owned(),
            file,
            is_original,
            by_name: BTreeMap::new(),
            ambiguous: BTreeSet::new(),
        };
        members.index(most_entries, most_names)?;
        Ok(members)
    }

    fn index(&mut self, most_entries: usize, most_names: usize) -> Result<(), StoreError> {
        let length = self
            .file
            .metadata()
            .map_err(|error| self.failed(error))?
            .len();
        let whole = Section {
            file: Arc::clone(&self.file),
            start: 0,
            size: length,
        };
        let mut archive = Archive::new(whole.reader(), NAME);
        let (mut entries, mut names) = (0, 0);
        while let Some(entry) = archive.next_entry().map_err(|it| self.no_tar(it))? {
            let start = archive.get_mut().position();
            let end = start.saturating_add(entry.size);
            if end > length {
                return Err(self.malformed("it ends in the middle of a file"));
            }
            let rest = archive.leave_content();
            archive.get_mut().skip(rest);
            entries += 1;
            names += entry.path.as_os_str().len() + entry.link.as_os_str().len();
            if entries > most_entries || names > most_names {
                return Err(StoreError::TooMany {
                    place: self.place.clone(),
                    what: "files",
                    limit: most_entries,
                });
            }
            let Some(name) = normal(&entry.path) else {
                continue;
            };
            let size = entry.size;
            let member = match entry.kind {
                Kind::File => Member::File { start, size },
                Kind::HardLink => match normal(&entry.link) {
                    Some(link) => Member::Link(link),
                    None => continue,
                },
                Kind::Symlink => match beside(&name, &entry.link) {
                    Some(link) => Member::Link(link),
                    None => continue,
                },
                _ => continue,
            };
            match self.by_name.entry(name) {
                Entry::Vacant(vacant) => drop(vacant.insert(member)),
                Entry::Occupied(first) => drop(self.ambiguous.insert(first.key().clone())),
            }
        }
        Ok(())
    }

    /// The file called `name`, if it is there, and once.
    pub(super) fn section(&self, name: &str) -> Result<Option<Section>, StoreError> {
        let Some(name) = normal(Path::new(name)) else {
            return Ok(None);
        };
        if self.ambiguous.contains(&name) {
            return Err(self.malformed(format!("it holds `{name}` twice")));
        }
        Ok(self.first(&name))
    }

    /// The file called `name`, whose content is checked by whoever reads it: so that it may be there
    /// twice does no harm.
    pub(super) fn checked(&self, name: &str) -> Option<Section> {
        self.first(&normal(Path::new(name))?)
    }

    /// The blob `digest`.
    pub(super) fn blob(&self, digest: &Digest) -> Option<Section> {
        self.checked(&blob_name(digest))
    }

    /// The blobs that are there.
    pub(super) fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.by_name.keys().filter_map(|name| {
            let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
            format!("{algorithm}:{hex}").parse().ok()
        })
    }

    /// Reads the file called `name`, of at most `limit` bytes.
    pub(super) fn small(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(section) = self.section(name)? else {
            return Ok(None);
        };
        if section.size > limit {
            return Err(self.malformed(format!("its `{name}` is larger than {limit} bytes")));
        }
        let mut content = Vec::new();
        let mut reader = section.reader();
        reader
            .read_to_end(&mut content)
            .map_err(|error| self.failed(error))?;
        Ok(Some(content))
    }

    fn first(&self, name: &str) -> Option<Section> {
        let member = match self.by_name.get(name)? {
            // One link, as Docker's own archives have it, so that there is no circle.
            Member::Link(target) => self.by_name.get(target)?,
            file @ Member::File { .. } => file,
        };
        let Member::File { start, size } = *member else {
            return None;
        };
        Some(Section {
            file: Arc::clone(&self.file),
            start,
            size,
        })
    }

    pub(super) fn malformed(&self, problem: impl Into<String>) -> StoreError {
        StoreError::Malformed {
            place: self.place.clone(),
            problem: problem.into(),
        }
    }

    pub(super) fn failed(&self, source: io::Error) -> StoreError {
        StoreError::io(&self.place, "read it", source)
    }

    fn no_tar(&self, error: ExtractError) -> StoreError {
        match error {
            ExtractError::Malformed { problem } => {
                self.malformed(format!("it is not a tar file: {problem}"))
            }
            other => StoreError::Unavailable {
                place: self.place.clone(),
                action: "read it".to_owned(),
                source: other.into(),
            },
        }
    }
}

/// The name of the blob `digest` in a layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// `path` without `.` and a root; None if it goes up, or is no text: then nobody asks for it.
fn normal(path: &Path) -> Option<String> {
    let mut name = String::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => {
                if !name.is_empty() {
                    name.push('/');
                }
                name.push_str(part.to_str()?);
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => return None,
        }
    }
    Some(name).filter(|it| !it.is_empty())
}

/// Where a symbolic link called `name` leads to.
fn beside(name: &str, link: &Path) -> Option<String> {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for component in link.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::tar::{Entry, EntryKind, Writer};

    #[test]
    fn more_names_than_the_limits_are_refused() {
        let mut tar = Writer::new(tempfile::tempfile().unwrap());
        for path in ["one", "two"] {
            let entry = Entry {
                path: path.into(),
                kind: EntryKind::Symlink {
                    target: "target".into(),
                },
                mode: 0o777,
                uid: 0,
                gid: 0,
                mtime: 0,
            };
            tar.write(&entry, io::empty()).unwrap();
        }
        let mut file = tar.finish().unwrap();
        file.flush().unwrap();
        let read = |entries: usize, names: usize| {
            let mut file = file.try_clone().unwrap();
            io::Seek::rewind(&mut file).unwrap();
            Members::read_within(file, "here", entries, names)
        };
        read(2, 18).unwrap();
        for (entries, names) in [(1, 18), (2, 17)] {
            let refused = read(entries, names);
            assert!(matches!(refused, Err(StoreError::TooMany { .. })));
        }
    }
}
