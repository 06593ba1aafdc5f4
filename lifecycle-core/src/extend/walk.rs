//! How all files are, by what the file system says of them: nothing is read or hashed.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The most files of an image.
const MAX_FILES: usize = 10_000_000;

/// All by which a change is seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct State {
    mode: u32,
    owner: (u32, u32),
    size: u64,
    device: u64,
    modified: (i64, i64),
    /// When anything of it was changed, and which file it is; of files only.
    changed: Option<(i64, i64, u64)>,
}

impl State {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let is_dir = metadata.is_dir();
        let changed = (metadata.ctime(), metadata.ctime_nsec(), metadata.ino());
        Self {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            size: if is_dir { 0 } else { metadata.size() },
            device: metadata.rdev(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: metadata.is_file().then_some(changed),
        }
    }

    pub(super) fn is_dir(&self) -> bool {
        self.is(0o040_000)
    }

    pub(super) fn is_file(&self) -> bool {
        self.is(0o100_000)
    }

    pub(super) fn is_symlink(&self) -> bool {
        self.is(0o120_000)
    }

    /// Whether it says, in a layer of overlayfs, that what is below is gone.
    pub(super) fn is_whiteout(&self) -> bool {
        self.is(0o020_000) && self.device == 0
    }

    /// Whether a copy of one is like the other, but for content.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let plain = |it: &Self| Self {
            changed: None,
            ..*it
        };
        plain(self) == plain(other)
    }

    fn is(&self, kind: u32) -> bool {
        self.mode & 0o170_000 == kind
    }
}

/// All that is below `root`, but for `left_out` and what is below that. Paths begin at the root, those
/// of `left_out` with a `/`.
pub(super) fn walk(root: &Path, left_out: &[PathBuf]) -> io::Result<BTreeMap<PathBuf, State>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            // It may go while we look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if left_out.contains(&Path::new("/").join(&path)) {
                continue;
            }
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, State::of(&metadata));
            if found.len() > MAX_FILES {
                let text = format!("the image has more than {MAX_FILES} files");
                return Err(io::Error::other(text));
            }
        }
    }
    Ok(found)
}
