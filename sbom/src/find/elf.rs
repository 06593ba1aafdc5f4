//! Sections of ELF files, read where they lie, not as a whole.
//!
//! <https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html>

use std::io::{self, Read, Seek, SeekFrom};

/// Section and program headers that are read.
const MOST: u64 = 10_000;

/// Bytes of the names of all sections.
const NAMES: u64 = 1 << 20;

pub(super) const MAGIC: &[u8] = b"\x7fELF";

/// An ELF file that has headers.
#[derive(Debug)]
pub(super) struct Elf<R> {
    reader: R,
    size: u64,
    is_64: bool,
    is_big: bool,
    sections: Vec<Section>,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
struct Section {
    name: String,
    kind: u32,
    offset: u64,
    size: u64,
    flags: u64,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// Bytes, in the order and width of the file.
struct Fields<'a> {
    bytes: &'a [u8],
    is_64: bool,
    is_big: bool,
}

impl Fields<'_> {
    fn take(&mut self, size: usize) -> Option<u64> {
        let (field, rest) = self.bytes.split_at_checked(size)?;
        self.bytes = rest;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.is_big {
            field.iter().fold(0, add)
        } else {
            field.iter().rev().fold(0, add)
        })
    }

    fn half(&mut self) -> Option<u64> {
        self.take(2)
    }

    fn word(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok()
    }

    /// As wide as an address.
    fn wide(&mut self) -> Option<u64> {
        self.take(if self.is_64 { 8 } else { 4 })
    }
}

impl<R: Read + Seek> Elf<R> {
    /// None if it is no ELF file, or one of which nothing can be told.
    pub(super) fn open(mut reader: R) -> io::Result<Option<Self>> {
        let size = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        let mut head = Vec::new();
        reader.by_ref().take(64).read_to_end(&mut head)?;
        let (Some(MAGIC), Some(class), Some(order)) = (head.get(..4), head.get(4), head.get(5))
        else {
            return Ok(None);
        };
        let mut elf = Self {
            size,
            is_64: *class == 2,
            is_big: *order == 2,
            reader,
            sections: Vec::new(),
            segments: Vec::new(),
        };
        let Some(header) = elf.header(&head) else {
            return Ok(None);
        };
        elf.read_segments(&header)?;
        elf.read_sections(&header)?;
        Ok(Some(elf))
    }

    fn fields<'a>(&self, bytes: &'a [u8]) -> Fields<'a> {
        Fields {
            bytes,
            is_64: self.is_64,
            is_big: self.is_big,
        }
    }

    fn header(&self, head: &[u8]) -> Option<Header> {
        let mut fields = self.fields(head.get(16..)?);
        fields.half()?; // type
        fields.half()?; // machine
        fields.word()?; // version
        fields.wide()?; // entry
        let (segments, sections) = (fields.wide()?, fields.wide()?);
        fields.word()?; // flags
        fields.half()?; // size of this header
        Some(Header {
            segments,
            segment_size: fields.half()?,
            segment_count: fields.half()?,
            sections,
            section_size: fields.half()?,
            section_count: fields.half()?,
            names: fields.half()?,
        })
    }

    fn read_segments(&mut self, header: &Header) -> io::Result<()> {
        let least = if self.is_64 { 56 } else { 32 };
        let table = self.table(
            header.segments,
            header.segment_size,
            header.segment_count,
            least,
        )?;
        let size = usize::try_from(header.segment_size.max(1)).unwrap_or(1);
        for entry in table.chunks_exact(size) {
            let mut fields = self.fields(entry);
            let segment = if self.is_64 {
                Self::segment_64(&mut fields)
            } else {
                Self::segment_32(&mut fields)
            };
            self.segments.extend(segment);
        }
        Ok(())
    }

    fn segment_64(fields: &mut Fields<'_>) -> Option<Segment> {
        let (kind, flags) = (fields.word()?, fields.word()?);
        let (offset, address) = (fields.wide()?, fields.wide()?);
        fields.wide()?; // physical address
        let size = fields.wide()?;
        Some(Segment {
            kind,
            flags,
            offset,
            address,
            size,
        })
    }

    fn segment_32(fields: &mut Fields<'_>) -> Option<Segment> {
        let kind = fields.word()?;
        let (offset, address) = (fields.wide()?, fields.wide()?);
        fields.wide()?; // physical address
        let size = fields.wide()?;
        fields.wide()?; // size in memory
        let flags = fields.word()?;
        Some(Segment {
            kind,
            flags,
            offset,
            address,
            size,
        })
    }

    fn read_sections(&mut self, header: &Header) -> io::Result<()> {
        let least = if self.is_64 { 64 } else { 40 };
        let table = self.table(
            header.sections,
            header.section_size,
            header.section_count,
            least,
        )?;
        let size = usize::try_from(header.section_size.max(1)).unwrap_or(1);
        let mut found = Vec::new();
        for entry in table.chunks_exact(size) {
            let mut fields = self.fields(entry);
            found.extend(Self::section(&mut fields));
        }
        let names = usize::try_from(header.names)
            .ok()
            .and_then(|it| found.get(it));
        let names = match names {
            Some((_, names)) => self.bytes(names.offset, names.size.min(NAMES))?,
            None => Vec::new(),
        };
        for (name, section) in found {
            let name = usize::try_from(name).ok().and_then(|it| names.get(it..));
            let name = name.unwrap_or_default().split(|it| *it == 0).next();
            let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
            self.sections.push(Section { name, ..section });
        }
        Ok(())
    }

    fn section(fields: &mut Fields<'_>) -> Option<(u32, Section)> {
        let (name, kind) = (fields.word()?, fields.word()?);
        let flags = fields.wide()?;
        fields.wide()?; // address
        let (offset, size) = (fields.wide()?, fields.wide()?);
        let section = Section {
            name: String::new(),
            kind,
            offset,
            size,
            flags,
        };
        Some((name, section))
    }

    /// All entries of a table of headers; none if it makes no sense.
    fn table(&mut self, at: u64, size: u64, count: u64, least: u64) -> io::Result<Vec<u8>> {
        if at == 0 || size < least || count > MOST {
            return Ok(Vec::new());
        }
        self.bytes(at, size * count)
    }

    /// What is at `offset`, as far as the file goes.
    fn bytes(&mut self, offset: u64, size: u64) -> io::Result<Vec<u8>> {
        let size = size.min(self.size.saturating_sub(offset));
        self.reader.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn is_64(&self) -> bool {
        self.is_64
    }

    pub(super) fn is_big(&self) -> bool {
        self.is_big
    }

    /// Whether the system may start it, not only load it.
    pub(super) fn has_interpreter_or_is_static(&self) -> bool {
        const INTERPRETER: u32 = 3;
        const DYNAMIC: u32 = 2;
        let has = |kind| self.segments.iter().any(|it| it.kind == kind);
        has(INTERPRETER) || (!has(DYNAMIC) && has(1))
    }

    pub(super) fn has_sections(&self) -> bool {
        !self.sections.is_empty()
    }

    /// The section `name`, of at most `limit` bytes; none if there is none, or it is not in the file.
    pub(super) fn section_of(&mut self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        const IN_MEMORY_ONLY: u32 = 8;
        const COMPRESSED: u64 = 0x800;
        let found = self.sections.iter().find(|it| it.name == name);
        let Some(found) = found.filter(|it| {
            it.kind != IN_MEMORY_ONLY && it.flags & COMPRESSED == 0 && it.size <= limit
        }) else {
            return Ok(None);
        };
        let (offset, size) = (found.offset, found.size);
        self.bytes(offset, size).map(Some)
    }

    /// The start of the first segment that can be written, at most `limit` bytes.
    pub(super) fn data(&mut self, limit: u64) -> io::Result<Option<Vec<u8>>> {
        const LOAD: u32 = 1;
        let mut found = self.segments.iter();
        let Some(found) = found.find(|it| it.kind == LOAD && it.flags & 3 == 2) else {
            return Ok(None);
        };
        let (offset, size) = (found.offset, found.size.min(limit));
        self.bytes(offset, size).map(Some)
    }

    /// What a running program has at `address`.
    pub(super) fn memory(&mut self, address: u64, size: u64) -> io::Result<Option<Vec<u8>>> {
        let holds = |it: &&Segment| {
            address
                .checked_sub(it.address)
                .is_some_and(|from| from < it.size && size <= it.size - from)
        };
        let Some(found) = self.segments.iter().find(holds) else {
            return Ok(None);
        };
        let offset = found.offset.saturating_add(address - found.address);
        let bytes = self.bytes(offset, size)?;
        Ok((bytes.len() as u64 == size).then_some(bytes))
    }
}

struct Header {
    segments: u64,
    segment_size: u64,
    segment_count: u64,
    sections: u64,
    section_size: u64,
    section_count: u64,
    names: u64,
}
