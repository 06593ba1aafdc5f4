//! What of a file system is looked into, and what is kept of it.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write as _};

/// Decides what is looked into, and what is kept of that. Knows nothing of layers.
pub trait Pick: Send {
    /// What is kept of a file.
    type Kept: Send + Sync;

    /// Whether the content of a file is wanted. Asked of each file, so quick.
    fn wants(&mut self, file: &FileInfo<'_>) -> bool;

    /// What is to be kept of a file that is wanted.
    fn keep(&mut self, file: &FileInfo<'_>, content: &mut FileContent<'_>) -> Option<Self::Kept>;

    /// What is to be kept of a file that is wanted and could not be had.
    fn miss(&mut self, file: &FileInfo<'_>, missed: Missed) -> Option<Self::Kept>;
}

/// A file, before it is read.
#[derive(Clone, Copy, Debug)]
pub struct FileInfo<'a> {
    /// Where it is, without a leading slash: `usr/bin/env`. In it no folder is a symbolic link. Bytes
    /// that are no UTF-8 have become replacement characters.
    pub path: &'a str,
    /// How large it is, in bytes.
    pub size: u64,
    /// Its permissions.
    pub mode: u32,
    /// Its first bytes, 64 at most.
    pub head: &'a [u8],
}

/// Why a file could not be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Missed {
    /// It is larger than this.
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// It is a hard link to a file that was not looked into.
    LinkedElsewhere,
    /// The file system did not let us.
    Unreadable,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "larger than {limit} bytes"),
            Self::LinkedElsewhere => f.write_str("a hard link to a file that was not looked into"),
            Self::Unreadable => f.write_str("not readable"),
        }
    }
}

/// The bytes of a file, in memory or, if they are many, in a temporary file.
#[derive(Debug)]
pub struct FileContent<'a>(Where<'a>);

#[derive(Debug)]
enum Where<'a> {
    Memory(Cursor<&'a [u8]>),
    File { file: &'a mut File, size: u64 },
}

impl<'a> FileContent<'a> {
    /// The bytes `content`.
    pub fn of(content: &'a [u8]) -> Self {
        Self(Where::Memory(Cursor::new(content)))
    }

    /// How many bytes these are.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Where::Memory(content) => content.get_ref().len() as u64,
            Where::File { size, .. } => *size,
        }
    }

    /// All of it, if it is in memory.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match &self.0 {
            Where::Memory(content) => Some(content.get_ref()),
            Where::File { .. } => None,
        }
    }

    /// All of it, if it is at most `limit` bytes.
    pub fn all(&mut self, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if self.size() > limit {
            return Ok(None);
        }
        self.seek(SeekFrom::Start(0))?;
        let mut all = Vec::with_capacity(usize::try_from(self.size()).unwrap_or(0));
        self.take(limit).read_to_end(&mut all)?;
        Ok(Some(all))
    }
}

impl Read for FileContent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Where::Memory(content) => content.read(buffer),
            Where::File { file, .. } => file.read(buffer),
        }
    }
}

impl Seek for FileContent<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.0 {
            Where::Memory(content) => content.seek(to),
            Where::File { file, .. } => file.seek(to),
        }
    }
}

/// Where content is put that is looked into: one after the other, so one place does.
#[derive(Debug, Default)]
pub(super) struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
}

impl Spool {
    /// Takes `head` and all of `rest`, of at most `size` bytes together; what is more than `most` goes
    /// to a temporary file.
    pub(super) fn fill(
        &mut self,
        head: &[u8],
        rest: &mut impl Read,
        size: u64,
        most: u64,
    ) -> io::Result<FileContent<'_>> {
        let left = size.saturating_sub(head.len() as u64);
        if size <= most {
            self.memory.clear();
            self.memory.extend_from_slice(head);
            rest.take(left).read_to_end(&mut self.memory)?;
            return Ok(FileContent::of(&self.memory));
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(head)?;
        let copied = io::copy(&mut rest.take(left), file)?;
        file.seek(SeekFrom::Start(0))?;
        let size = head.len() as u64 + copied;
        Ok(FileContent(Where::File { file, size }))
    }
}
