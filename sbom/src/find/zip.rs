//! The members of a zip archive, by its central directory.
//!
//! <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>

use std::io::{self, Read, Seek, SeekFrom};

/// Bytes of the central directory.
const DIRECTORY: u64 = 64 << 20;
const MEMBERS: u64 = 500_000;
/// How far before its end an archive may say where its directory is.
const TAIL: u64 = (64 << 10) + 22;

/// A part of an archive that is an archive: its bytes are those from `start` on.
#[derive(Debug)]
pub(super) struct Part<R> {
    reader: R,
    start: u64,
    size: u64,
    at: u64,
}

impl<R: Read + Seek> Part<R> {
    pub(super) fn new(reader: R, start: u64, size: u64) -> Self {
        Self {
            reader,
            start,
            size,
            at: 0,
        }
    }
}

impl<R: Read + Seek> Read for Part<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|it| !it.is_empty()) else {
            return Ok(0);
        };
        self.reader
            .seek(SeekFrom::Start(self.start.saturating_add(self.at)))?;
        let read = self.reader.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<R: Read + Seek> Seek for Part<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    method: u16,
    packed: u64,
    pub(super) size: u64,
    header: u64,
}

impl Member {
    /// Whether its bytes stand in the archive as they are.
    pub(super) fn is_stored(&self) -> bool {
        self.method == 0 && self.packed == self.size
    }
}

#[derive(Debug)]
pub(super) struct Zip<R> {
    reader: R,
    size: u64,
    /// What stands before the archive, as in one that starts itself.
    before: u64,
}

/// Little-endian numbers, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, size: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(field)
    }

    fn number(&mut self, size: usize) -> Option<u64> {
        let field = self.bytes(size)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0, |sum, it| sum << 8 | u64::from(*it)),
        )
    }
}

impl<R: Read + Seek> Zip<R> {
    /// Those members that `wanted` names; a sentence if it is no archive.
    pub(super) fn open(
        mut reader: R,
        wanted: impl Fn(&str) -> bool,
    ) -> io::Result<Result<(Self, Vec<Member>), String>> {
        let size = reader.seek(SeekFrom::End(0))?;
        let mut zip = Self {
            reader,
            size,
            before: 0,
        };
        let Some((at, directory, count)) = zip.directory()? else {
            return Ok(Err("it is no zip archive".to_owned()));
        };
        if directory > DIRECTORY || count > MEMBERS {
            return Ok(Err("it has too many members".to_owned()));
        }
        let bytes = zip.bytes(at, directory)?;
        let mut fields = Fields(&bytes);
        let mut members = Vec::new();
        for _ in 0..count {
            let Some(member) = member(&mut fields) else {
                return Ok(Err("its directory is malformed".to_owned()));
            };
            if wanted(&member.name) {
                members.push(member);
            }
        }
        Ok(Ok((zip, members)))
    }

    /// Where the central directory is, how large, and of how many members.
    fn directory(&mut self) -> io::Result<Option<(u64, u64, u64)>> {
        let start = self.size.saturating_sub(TAIL);
        let tail = self.bytes(start, TAIL)?;
        let is_end = |at: &usize| {
            tail.get(*at..)
                .is_some_and(|it| it.starts_with(b"PK\x05\x06"))
        };
        let Some(at) = (0..tail.len().saturating_sub(21)).rev().find(is_end) else {
            return Ok(None);
        };
        let mut fields = Fields(tail.get(at + 10..).unwrap_or_default());
        let (Some(mut count), Some(mut size), Some(mut offset)) =
            (fields.number(2), fields.number(4), fields.number(4))
        else {
            return Ok(None);
        };
        let mut end = start + at as u64;
        if count == 0xffff || size == 0xffff_ffff || offset == 0xffff_ffff {
            let locator = tail.get(at.saturating_sub(20)..at).unwrap_or_default();
            let mut fields = Fields(locator);
            if fields.bytes(4) == Some(b"PK\x06\x07") {
                fields.number(4);
                let record = fields.number(8).unwrap_or(u64::MAX);
                let record_bytes = self.bytes(record, 56)?;
                let mut fields = Fields(&record_bytes);
                if fields.bytes(4) != Some(b"PK\x06\x06") {
                    return Ok(None);
                }
                fields.bytes(28);
                let numbers = (fields.number(8), fields.number(8), fields.number(8));
                let (Some(all), Some(bytes), Some(from)) = numbers else {
                    return Ok(None);
                };
                (count, size, offset, end) = (all, bytes, from, record);
            }
        }
        let Some(at) = end.checked_sub(size) else {
            return Ok(None);
        };
        self.before = at.saturating_sub(offset);
        Ok(Some((at, size, count)))
    }

    fn bytes(&mut self, offset: u64, size: u64) -> io::Result<Vec<u8>> {
        if offset > self.size {
            return Ok(Vec::new());
        }
        self.reader.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Where the bytes of `member` begin.
    fn start_of(&mut self, member: &Member) -> io::Result<Option<u64>> {
        let at = self.before.saturating_add(member.header);
        let header = self.bytes(at, 30)?;
        let mut fields = Fields(&header);
        if fields.bytes(4) != Some(b"PK\x03\x04") || fields.bytes(22).is_none() {
            return Ok(None);
        }
        let (Some(name), Some(extra)) = (fields.number(2), fields.number(2)) else {
            return Ok(None);
        };
        Ok(Some(at.saturating_add(30 + name + extra)))
    }

    /// The content of `member`; none if it is larger than `limit`, or broken.
    pub(super) fn read(&mut self, member: &Member, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if member.size > limit {
            return Ok(None);
        }
        let Some(start) = self.start_of(member)? else {
            return Ok(None);
        };
        self.reader.seek(SeekFrom::Start(start))?;
        let packed = self.reader.by_ref().take(member.packed);
        let mut content = Vec::new();
        let read = match member.method {
            0 => packed.take(limit + 1).read_to_end(&mut content),
            8 => flate2::read::DeflateDecoder::new(packed)
                .take(limit + 1)
                .read_to_end(&mut content),
            _ => return Ok(None),
        };
        let is_whole = read.is_ok() && content.len() as u64 <= limit;
        Ok(is_whole.then_some(content))
    }

    /// The bytes of `member`, which is [stored](Member::is_stored), where they are.
    pub(super) fn part(&mut self, member: &Member) -> io::Result<Option<Part<&mut R>>> {
        let Some(start) = self.start_of(member)? else {
            return Ok(None);
        };
        Ok(Some(Part::new(&mut self.reader, start, member.size)))
    }
}

fn member(fields: &mut Fields<'_>) -> Option<Member> {
    if fields.bytes(4)? != b"PK\x01\x02" {
        return None;
    }
    fields.bytes(6)?; // versions, flags
    let method = u16::try_from(fields.number(2)?).ok()?;
    fields.bytes(8)?; // time, checksum
    let (mut packed, mut size) = (fields.number(4)?, fields.number(4)?);
    let (name, extra, comment) = (fields.number(2)?, fields.number(2)?, fields.number(2)?);
    fields.bytes(8)?; // disk, attributes
    let mut header = fields.number(4)?;
    let name = fields.bytes(usize::try_from(name).ok()?)?;
    let mut extra = Fields(fields.bytes(usize::try_from(extra).ok()?)?);
    fields.bytes(usize::try_from(comment).ok()?)?;
    while let (Some(tag), Some(length)) = (extra.number(2), extra.number(2)) {
        let mut value = Fields(extra.bytes(usize::try_from(length).ok()?)?);
        if tag == 1 {
            for field in [&mut size, &mut packed, &mut header] {
                if *field == 0xffff_ffff {
                    *field = value.number(8)?;
                }
            }
        }
    }
    Some(Member {
        name: String::from_utf8_lossy(name).into_owned(),
        method,
        packed,
        size,
        header,
    })
}
