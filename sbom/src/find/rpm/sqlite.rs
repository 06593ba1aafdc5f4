//! The blobs of the table `Packages` of a `SQLite` file.
//!
//! <https://www.sqlite.org/fileformat2.html>

use std::io::{self, Read, Seek, SeekFrom};

use super::{Database, LARGEST, Pages};

/// How deep a tree may be; 2³² pages make less.
const DEPTH: usize = 32;

/// One database, with what its header says.
struct Reader<R> {
    pages: Pages<R>,
    /// Bytes of a page that are used.
    usable: usize,
}

/// Why a tree was not read to its end.
enum Stop {
    Io(io::Error),
    Malformed(&'static str),
    /// Nobody wants more.
    Enough,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

const CIRCLE: Stop = Stop::Malformed("its pages are missing or lead in circles");
const CELL: Stop = Stop::Malformed("a page of it is malformed");

pub(super) fn read<R: Read + Seek>(mut reader: R, database: &mut Database) -> io::Result<()> {
    let mut head = Vec::new();
    reader.seek(SeekFrom::Start(0))?;
    reader.by_ref().take(100).read_to_end(&mut head)?;
    let page = head.get(16..18).map(number).unwrap_or_default();
    let page = if page == 1 { 1 << 16 } else { page };
    let reserved = usize::from(head.get(20).copied().unwrap_or_default());
    if head.len() < 100 || page < 512 || !page.is_power_of_two() || reserved > 64 {
        database.fail("its header is malformed");
        return Ok(());
    }
    let mut reader = Reader {
        pages: Pages::new(reader, page)?,
        usable: page - reserved,
    };
    let mut root = None;
    let found = reader.walk(1, 0, &mut |record| {
        let columns = columns(record);
        if columns.first() == Some(&&b"table"[..]) && columns.get(1) == Some(&&b"Packages"[..]) {
            root = columns.get(3).map(|it| number(it));
            return false;
        }
        true
    });
    let outcome = match (found, root) {
        (Ok(()) | Err(Stop::Enough), Some(root)) => reader.walk(root, 0, &mut |record| {
            // The number of a package is the row's, so its column is empty.
            match columns(record).get(1) {
                Some(blob) => database.add(blob),
                None => true,
            }
        }),
        (Ok(()) | Err(Stop::Enough), None) => Err(Stop::Malformed("it has no table `Packages`")),
        (Err(stop), _) => Err(stop),
    };
    match outcome {
        Ok(()) | Err(Stop::Enough) => Ok(()),
        Err(Stop::Malformed(problem)) => {
            database.fail(problem);
            Ok(())
        }
        Err(Stop::Io(error)) => Err(error),
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Gives each record of the tree at page `number`, counted from 1, to `take`, until that says no.
    fn walk(
        &mut self,
        number: usize,
        depth: usize,
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), Stop> {
        let index = number.checked_sub(1).ok_or(CIRCLE)?;
        if depth > DEPTH {
            return Err(CIRCLE);
        }
        let page = self.pages.take(index)?.ok_or(CIRCLE)?;
        let header = page.get(if index == 0 { 100 } else { 0 }..).ok_or(CELL)?;
        let kind = header.first().copied();
        let cells = header.get(3..5).map(self::number).ok_or(CELL)?;
        let pointers = match kind {
            Some(5) => header.get(12..),
            Some(13) => header.get(8..),
            _ => return Err(CELL),
        };
        let pointers = pointers.and_then(|it| it.get(..cells * 2)).ok_or(CELL)?;
        for pointer in pointers.chunks_exact(2) {
            let cell = page.get(self::number(pointer)..).ok_or(CELL)?;
            if kind == Some(5) {
                let child = cell.get(..4).map(self::number).ok_or(CELL)?;
                self.walk(child, depth + 1, take)?;
            } else {
                let record = self.record(cell)?;
                if !take(&record) {
                    return Err(Stop::Enough);
                }
            }
        }
        if kind == Some(5) {
            let last = header.get(8..12).map(self::number).ok_or(CELL)?;
            self.walk(last, depth + 1, take)?;
        }
        Ok(())
    }

    /// The payload of a cell, with what overflowed to other pages.
    fn record(&mut self, cell: &[u8]) -> Result<Vec<u8>, Stop> {
        let (size, rest) = varint(cell).ok_or(CELL)?;
        let (_, rest) = varint(rest).ok_or(CELL)?;
        if size > LARGEST {
            return Err(Stop::Malformed("a package of it is too large"));
        }
        let size = usize::try_from(size).map_err(|_large| CELL)?;
        let most = self.usable - 35;
        if size <= most {
            return rest.get(..size).map(<[u8]>::to_vec).ok_or(CELL);
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let local = least + (size - least) % (self.usable - 4);
        let local = if local <= most { local } else { least };
        let mut record = rest.get(..local).ok_or(CELL)?.to_vec();
        let mut next = rest.get(local..local + 4).map(number).ok_or(CELL)?;
        while record.len() < size {
            let index = next.checked_sub(1).ok_or(CIRCLE)?;
            let page = self.pages.take(index)?.ok_or(CIRCLE)?;
            next = page.get(..4).map(number).ok_or(CELL)?;
            let wanted = (size - record.len()).min(self.usable - 4);
            record.extend_from_slice(page.get(4..4 + wanted).ok_or(CELL)?);
        }
        Ok(record)
    }
}

/// The columns of a record, as bytes.
fn columns(record: &[u8]) -> Vec<&[u8]> {
    let read = || {
        let (size, _) = varint(record)?;
        let (header, mut body) = record.split_at_checked(usize::try_from(size).ok()?)?;
        let (_, mut header) = varint(header)?;
        let mut columns = Vec::new();
        while !header.is_empty() && columns.len() < 100 {
            let (kind, rest) = varint(header)?;
            header = rest;
            let size = match kind {
                0 | 8 | 9 => 0,
                1..=4 => kind,
                5 => 6,
                6 | 7 => 8,
                kind => (kind.checked_sub(12)?) / 2,
            };
            let (column, rest) = body.split_at_checked(usize::try_from(size).ok()?)?;
            body = rest;
            columns.push(column);
        }
        Some(columns)
    };
    read().unwrap_or_default()
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        if index == 8 {
            return Some((value << 8 | u64::from(*byte), bytes.get(9..)?));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

fn number(bytes: &[u8]) -> usize {
    let add = |sum: usize, it: &u8| sum.wrapping_shl(8) | usize::from(*it);
    bytes.iter().fold(0, add)
}
