//! Whether files changed: by their stamps, since a volume of Kubernetes is swapped by a symbolic link,
//! which is no event about the files in it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use oci::{Algorithm, Digest, Hasher};

/// Entries that are looked at, and how deep folders may nest.
const MAX_ENTRIES: usize = 10_000;
const MAX_DEPTH: usize = 4;

/// Changes when any of these files changes, or any in these folders. What is not there counts, too.
pub(crate) fn stamp(paths: &[PathBuf]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut left = MAX_ENTRIES;
    for path in paths {
        add(path, 0, &mut left, &mut hasher);
    }
    hasher.finish()
}

fn add(path: &Path, depth: usize, left: &mut usize, hasher: &mut Hasher) {
    if depth > MAX_DEPTH || *left == 0 {
        return;
    }
    *left -= 1;
    hasher.update(path.as_os_str().as_encoded_bytes());
    // What a link leads to is what is read.
    let Ok(found) = std::fs::metadata(path) else {
        hasher.update(b" absent\n");
        return;
    };
    let stamp = (
        found.dev(),
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
    );
    hasher.update(format!(" {stamp:?}\n").as_bytes());
    if !found.is_dir() {
        return;
    }
    let Ok(entries) = std::fs::read_dir(path) else {
        return;
    };
    let mut entries: Vec<_> = entries
        .take(MAX_ENTRIES)
        .filter_map(|it| Some(it.ok()?.path()))
        .collect();
    entries.sort();
    for entry in entries {
        add(&entry, depth + 1, left, hasher);
    }
}
