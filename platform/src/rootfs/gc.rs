//! Frees layers that nobody uses.
//!
//! A lock is also when its layer was used last. Locks stay: whoever waits for one has it open.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::layer::{remove, size_of};
use super::{RootStore, RootfsError};
use crate::sandbox::UserMap;

/// What was freed, and what was not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct FreedLayers {
    /// How many layers.
    pub layers: u64,
    /// How many bytes their files had.
    pub bytes: u64,
    /// How many stay: they are in use, or were a while ago.
    pub kept: u64,
    /// How many stay because their files belong to users that whoever runs us has no more.
    pub foreign: u64,
}

impl RootStore {
    /// Frees all layers that nobody uses, and nobody has used since `before`.
    pub async fn collect(&self, before: SystemTime) -> Result<FreedLayers, RootfsError> {
        let mut freed = FreedLayers::default();
        for folder in folders(&self.folder)? {
            let map = name(&folder).and_then(UserMap::named);
            for place in folders(&folder)? {
                let Some(hex) = name(&place).map(|it| it.trim_end_matches(".new").to_owned())
                else {
                    continue;
                };
                let is_ours = hex.len() == 64 && hex.bytes().all(|it| it.is_ascii_hexdigit());
                if !is_ours {
                    continue;
                }
                let lock = fs::OpenOptions::new()
                    .create(true)
                    .truncate(false)
                    .write(true)
                    .open(folder.join(format!("{hex}.lock")))?;
                let used = lock.metadata()?.modified()?;
                match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) if used <= before => {}
                    Ok(()) | Err(Errno::WOULDBLOCK) => {
                        freed.kept += 1;
                        continue;
                    }
                    Err(error) => return Err(io::Error::from(error).into()),
                }
                let Some(map) = &map else {
                    freed.foreign += 1;
                    continue;
                };
                let bytes = size_of(&place);
                remove(&place, &self.enter, map, &self.cancel).await?;
                freed.layers += 1;
                freed.bytes += bytes;
            }
        }
        Ok(freed)
    }
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// The folders in `folder`; none, if it is not there.
fn folders(folder: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
