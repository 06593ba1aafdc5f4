//! The values of a hash of Berkeley DB that are too large for its pages: those of RPM are.
//!
//! <https://github.com/berkeleydb/libdb/blob/v5.3.28/src/dbinc/db_page.h>

use std::io::{self, Read, Seek, SeekFrom};

use super::{Database, LARGEST, Pages};

const MAGIC: u64 = 0x0006_1561;
const HEADER: usize = 26;

pub(super) fn read<R: Read + Seek>(mut reader: R, database: &mut Database) -> io::Result<()> {
    let mut head = Vec::new();
    reader.seek(SeekFrom::Start(0))?;
    reader.by_ref().take(72).read_to_end(&mut head)?;
    let magic = head.get(12..16).unwrap_or_default();
    let order = match (little(magic), big(magic)) {
        (MAGIC, _) => little,
        (_, MAGIC) => big,
        _ => {
            database.fail("it is no database that RPM has");
            return Ok(());
        }
    };
    let field = |at: usize| head.get(at..at + 4).map(order).unwrap_or_default();
    let page = usize::try_from(field(20)).unwrap_or(0);
    let is_encrypted = head.get(24) != Some(&0);
    if !(512..=1 << 16).contains(&page) || !page.is_power_of_two() || is_encrypted {
        database.fail("its header is malformed");
        return Ok(());
    }
    let mut pages = Pages::new(reader, page)?;
    for number in 1..pages.count() {
        let page = pages.read(number)?;
        // Unsorted and sorted pages of a hash.
        if !matches!(page.get(25), Some(2 | 13)) {
            continue;
        }
        for value in values(&page, order) {
            let Some(bytes) = overflow(&mut pages, value, order)? else {
                database.fail("its pages are missing or lead in circles");
                continue;
            };
            if !database.add(&bytes) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The first page and the length of each value of a page that lies elsewhere.
fn values(page: &[u8], order: fn(&[u8]) -> u64) -> Vec<(u64, u64)> {
    const ELSEWHERE: u8 = 3;
    let count = page.get(20..22).map(order).unwrap_or_default();
    let offsets = page.get(HEADER..).unwrap_or_default().chunks_exact(2);
    let offsets = offsets.take(usize::try_from(count).unwrap_or(0));
    // Keys and values take turns.
    let values = offsets.skip(1).step_by(2).filter_map(|offset| {
        let item = page.get(usize::try_from(order(offset)).ok()?..)?;
        if item.first() != Some(&ELSEWHERE) {
            return None;
        }
        Some((order(item.get(4..8)?), order(item.get(8..12)?)))
    });
    values.collect()
}

fn overflow<R: Read + Seek>(
    pages: &mut Pages<R>,
    (first, length): (u64, u64),
    order: fn(&[u8]) -> u64,
) -> io::Result<Option<Vec<u8>>> {
    const OVERFLOW: u8 = 7;
    if length > LARGEST {
        return Ok(None);
    }
    let length = usize::try_from(length).unwrap_or(0);
    let mut bytes = Vec::new();
    let mut next = first;
    while bytes.len() < length {
        let number = usize::try_from(next).unwrap_or(0);
        let Some(page) = pages.take(number)? else {
            return Ok(None);
        };
        if page.get(25) != Some(&OVERFLOW) || number == 0 {
            return Ok(None);
        }
        let used = page.get(22..24).map(order).unwrap_or_default();
        let used = usize::try_from(used).unwrap_or(0);
        let Some(content) = page.get(HEADER..HEADER + used).filter(|it| !it.is_empty()) else {
            return Ok(None);
        };
        bytes.extend_from_slice(content);
        next = page.get(16..20).map(order).unwrap_or_default();
    }
    bytes.truncate(length);
    Ok(Some(bytes))
}

fn little(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, it| sum << 8 | u64::from(*it))
}

fn big(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, it| sum << 8 | u64::from(*it))
}
