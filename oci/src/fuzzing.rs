//! Readers of foreign bytes that are not in the API, for the targets in `tests/fuzz` only.

use std::io::Read as _;

use url::Url;

use crate::extract::archive::{Archive, Entry, Kind};
use crate::store::Mirrors;
use crate::store::registry::link;
use crate::tar::{self, EntryKind};
use crate::{ExtractError, Repository};

pub use crate::store::registry::challenge::Challenge;

/// The address of the next page, from the `Link` header of the page at `page`.
pub fn next_page(page: &Url, header: &str) -> Result<Option<Url>, String> {
    link::next_page(page, [header.as_bytes()].into_iter())
}

/// Where `repository` is read from, in order, and whether a place need not be secure.
pub fn sources(
    mirrors: &Mirrors,
    repository: &Repository,
) -> Result<Vec<(Repository, bool)>, String> {
    let (found, origin) = mirrors.sources(repository)?;
    let all = found.into_iter().chain([origin]);
    Ok(all.map(|it| (it.repository, it.insecure)).collect())
}

/// The entries of `archive` that [`tar::Writer`] can write, with their content. Of a device only
/// the kind is read.
pub fn read_tar(
    archive: &[u8],
    longest: usize,
) -> Result<Vec<(tar::Entry, Vec<u8>)>, ExtractError> {
    let mut archive = Archive::new(archive, longest);
    let mut entries = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let mut content = Vec::new();
        let read = archive.read_to_end(&mut content);
        read.map_err(ExtractError::read)?;
        entries.extend(writable(entry).map(|it| (it, content)));
    }
    Ok(entries)
}

fn writable(entry: Entry) -> Option<tar::Entry> {
    let (major, minor) = (0, 0);
    let kind = match entry.kind {
        Kind::File => EntryKind::File { size: entry.size },
        Kind::HardLink => EntryKind::Hardlink { target: entry.link },
        Kind::Symlink => EntryKind::Symlink { target: entry.link },
        Kind::Folder => EntryKind::Directory,
        Kind::Fifo => EntryKind::Fifo,
        Kind::Device(b'3') => EntryKind::Char { major, minor },
        Kind::Device(_) => EntryKind::Block { major, minor },
        Kind::Unknown(_) => return None,
    };
    Some(tar::Entry {
        path: entry.path,
        kind,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
    })
}
