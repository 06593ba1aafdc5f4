//! The packages of RPM's own database format: slots that point at blobs.
//!
//! <https://github.com/rpm-software-management/rpm/blob/rpm-4.20.x/lib/backend/ndb/rpmpkg.c>

use std::io::{self, Read, Seek, SeekFrom};

use super::{Database, LARGEST};

const SLOT: usize = 16;
const BLOCK: u64 = 16;
const PAGE: u64 = 4096;
/// Pages of slots.
const PAGES: u64 = 4096;

pub(super) fn read<R: Read + Seek>(mut reader: R, database: &mut Database) -> io::Result<()> {
    let size = reader.seek(SeekFrom::End(0))?;
    let mut at = |offset: u64, length: u64| {
        reader.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        reader.by_ref().take(length).read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    let head = at(0, 32)?;
    let pages = head.get(12..16).map(number).unwrap_or_default();
    if !head.starts_with(b"RpmP") || pages == 0 || pages > PAGES {
        database.fail("its header is malformed");
        return Ok(());
    }
    // Each blob lies elsewhere, so all of them are not larger than the file.
    let mut left = size;
    let slots = at(0, pages * PAGE)?;
    // The header takes the place of two slots.
    for slot in slots.chunks_exact(SLOT).skip(2) {
        let field = |at: usize| slot.get(at..at + 4).map(number).unwrap_or_default();
        let (package, block, blocks) = (field(4), field(8), field(12));
        if !slot.starts_with(b"Slot") || package == 0 {
            continue;
        }
        let blob = at(block * BLOCK, 16)?;
        let field = |at: usize| blob.get(at..at + 4).map(number).unwrap_or_default();
        let length = field(12);
        let fits = length <= LARGEST && length + 28 <= blocks * BLOCK && length <= left;
        if !blob.starts_with(b"BlbS") || field(4) != package || !fits {
            database.fail("a slot of it leads to no package");
            continue;
        }
        left -= length;
        let bytes = at(block * BLOCK + 16, length)?;
        if !database.add(&bytes) {
            break;
        }
    }
    Ok(())
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, it| sum << 8 | u64::from(*it))
}
