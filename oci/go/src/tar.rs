//! Tar archives, written byte for byte as Go's `archive/tar` writes them.
//!
//! A layer is named by the hash of its tar, so two builders agree on a layer only if they agree on
//! every header byte. The buildpacks lifecycle is written in Go and leaves the format to
//! `archive/tar`, hence its rules hold here:
//!
//! | what | how |
//! |---|---|
//! | all fields fit | one USTAR header; a path over 100 bytes is split at a `/` into prefix and name |
//! | a field does not fit | a PAX header (`x`) with one record for each such field, sorted by key, then the header with what fits of it |
//! | numbers | octal, filled with zeros, ended by NUL |
//! | owner names, GNU's form | none, unless an entry of another archive is passed on ([`Writer::write_as`]) |
//! | names | as given, ended by NUL where there is room |
//! | end | two blocks of zeros, and no more |

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;
const OWNER: usize = 32;
/// The record of what a program may do without being root.
pub const CAPABILITY: &str = "SCHILY.xattr.security.capability";
/// As Go's reader has it, so that what we write can be read.
const MAX_PAX_BYTES: usize = 1 << 20;

/// Writes a tar archive.
///
/// After an error the archive is broken, and so is every later call's result.
#[derive(Debug)]
pub struct Writer<W> {
    inner: W,
    buffer: Box<[u8]>,
}

/// What stands in an archive about one file. Owner names, extended attributes and times other than
/// of modification have no place here: they would make layers differ from machine to machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its name, verbatim.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, with setuid, setgid and sticky. At most `0o7777777`.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// When it was modified, in seconds since 1970.
    pub mtime: i64,
}

/// What an entry may say besides, as one that is passed on from another archive: who does so in Go
/// keeps these, so they are part of the layer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "Go keeps these and no more")]
pub struct Manner {
    /// Whether its header is of GNU's own form.
    pub gnu: bool,
    /// The name of its owner.
    pub user: Vec<u8>,
    /// The name of its group.
    pub group: Vec<u8>,
    /// What a program may do without being root, as the attribute `security.capability` has it. In
    /// GNU's form there is no place for it.
    pub capability: Option<Vec<u8>>,
}

/// What an [`Entry`] is about.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "tar knows no more of them")]
pub enum EntryKind {
    /// A file with content.
    File {
        /// Of the content, in bytes.
        size: u64,
    },
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Where it points, verbatim.
        target: PathBuf,
    },
    /// Another name of an earlier entry.
    Hardlink {
        /// The name of that entry.
        target: PathBuf,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    Char {
        /// Its class. At most `0o7777777`.
        major: u32,
        /// Which of its class. At most `0o7777777`.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its class. At most `0o7777777`.
        major: u32,
        /// Which of its class. At most `0o7777777`.
        minor: u32,
    },
}

impl<W: Write> Writer<W> {
    /// Starts an archive.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            buffer: vec![0; 128 << 10].into_boxed_slice(),
        }
    }

    /// Adds one entry.
    ///
    /// Of `content` exactly as many bytes are taken as a file has by `entry`, even if there are
    /// more: a file may grow between being looked at and being read. Entries that are no file take
    /// none; give [`io::empty`].
    pub fn write(&mut self, entry: &Entry, content: impl Read) -> Result<(), TarError> {
        self.write_as(entry, &Manner::default(), content)
    }

    /// The same in the manner of the archive that the entry comes from.
    pub fn write_as(
        &mut self,
        entry: &Entry,
        manner: &Manner,
        content: impl Read,
    ) -> Result<(), TarError> {
        let size = entry.size();
        for block in headers(entry, manner)? {
            self.inner.write_all(&block).map_err(TarError::Write)?;
        }
        self.copy(entry, size, content)?;
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        io::copy(&mut io::repeat(0).take(padding), &mut self.inner).map_err(TarError::Write)?;
        Ok(())
    }

    /// Ends the archive and gives back what it was written to.
    pub fn finish(mut self) -> Result<W, TarError> {
        self.inner
            .write_all(&[0; 2 * BLOCK])
            .map_err(TarError::Write)?;
        Ok(self.inner)
    }

    fn copy(&mut self, entry: &Entry, size: u64, content: impl Read) -> Result<(), TarError> {
        let mut content = content.take(size);
        let mut copied = 0;
        while copied < size {
            let count = match content.read(&mut self.buffer) {
                Ok(0) => {
                    return Err(TarError::Short {
                        path: entry.path.clone(),
                        expected: size,
                        presented: copied,
                    });
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(TarError::Read {
                        path: entry.path.clone(),
                        source,
                    });
                }
            };
            let chunk = self.buffer.get(..count).unwrap_or_default();
            self.inner.write_all(chunk).map_err(TarError::Write)?;
            copied += count as u64;
        }
        Ok(())
    }
}

impl Entry {
    fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size } => size,
            _ => 0,
        }
    }
}

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// The format has no place for it.
    #[error("`{}` cannot be put into a tar: {problem}", path.display())]
    Unrepresentable {
        /// The entry's name.
        path: PathBuf,
        /// What does not fit.
        problem: &'static str,
    },
    /// The content could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The entry's name.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content ended early: the file shrank while it was read.
    #[error("`{}` has {presented} bytes, but had {expected} before", path.display())]
    Short {
        /// The entry's name.
        path: PathBuf,
        /// The size in the entry.
        expected: u64,
        /// What came.
        presented: u64,
    },
    /// The archive could not be written to its place.
    #[error("failed to write the archive")]
    Write(#[source] io::Error),
}

/// All blocks that stand before the content.
fn headers(entry: &Entry, manner: &Manner) -> Result<Vec<[u8; BLOCK]>, TarError> {
    let unrepresentable = |problem| TarError::Unrepresentable {
        path: entry.path.clone(),
        problem,
    };
    let path = entry.path.as_os_str().as_bytes();
    let (flag, target, (major, minor)): (u8, &[u8], (u32, u32)) = match &entry.kind {
        EntryKind::File { .. } => (b'0', b"", (0, 0)),
        EntryKind::Hardlink { target } => (b'1', target.as_os_str().as_bytes(), (0, 0)),
        EntryKind::Symlink { target } => (b'2', target.as_os_str().as_bytes(), (0, 0)),
        EntryKind::Char { major, minor } => (b'3', b"", (*major, *minor)),
        EntryKind::Block { major, minor } => (b'4', b"", (*major, *minor)),
        EntryKind::Directory => (b'5', b"", (0, 0)),
        EntryKind::Fifo => (b'6', b"", (0, 0)),
    };
    if path.contains(&0) || target.contains(&0) {
        return Err(unrepresentable("its name has a NUL byte"));
    }
    if path.ends_with(b"/") && !matches!(flag, b'1' | b'2' | b'5') {
        return Err(unrepresentable("its name ends in `/`"));
    }
    if [entry.mode, major, minor]
        .iter()
        .any(|number| !fits_octal(8, (*number).into()))
    {
        return Err(unrepresentable("its mode or device number is too large"));
    }

    if manner.user.contains(&0) || manner.group.contains(&0) {
        return Err(unrepresentable("the name of its owner has a NUL byte"));
    }
    if manner.gnu {
        return Ok(gnu_headers(
            entry,
            manner,
            (flag, path, target),
            (major, minor),
        ));
    }

    let (mut records, mut ustar) = (BTreeMap::<&str, Vec<u8>>::new(), true);
    let split = split_path(path);
    if path.len() > NAME || !path.is_ascii() {
        records.insert("path", path.to_vec());
        ustar &= split.is_some();
    }
    if target.len() > NAME || !target.is_ascii() {
        records.insert("linkpath", target.to_vec());
        ustar = false;
    }
    for (key, name) in [("uname", &manner.user), ("gname", &manner.group)] {
        if name.len() > OWNER || !name.is_ascii() {
            records.insert(key, name.clone());
            ustar = false;
        }
    }
    if let Some(capability) = &manner.capability {
        records.insert(CAPABILITY, capability.clone());
        ustar = false;
    }
    for (key, width, value) in [
        ("uid", 8, entry.uid.into()),
        ("gid", 8, entry.gid.into()),
        ("size", 12, entry.size().into()),
        ("mtime", 12, i128::from(entry.mtime)),
    ] {
        if !fits_octal(width, value) {
            records.insert(key, value.to_string().into_bytes());
            ustar = false;
        }
    }

    let header = |name: &[u8], prefix: &[u8], target: &[u8]| {
        let mut header = Header([0; BLOCK]);
        header.text(0, NAME, name);
        header.octal(100, 8, entry.mode.into());
        header.octal(108, 8, entry.uid.into());
        header.octal(116, 8, entry.gid.into());
        header.octal(124, 12, entry.size().into());
        header.octal(136, 12, entry.mtime.into());
        header.text(156, 1, &[flag]);
        header.text(157, NAME, target);
        header.text(265, OWNER, &ascii(&manner.user));
        header.text(297, OWNER, &ascii(&manner.group));
        header.octal(329, 8, major.into());
        header.octal(337, 8, minor.into());
        header.text(345, PREFIX, prefix);
        header.finish()
    };
    if ustar {
        let (prefix, name) = split.unwrap_or((b"", path));
        return Ok(vec![header(name, prefix, target)]);
    }
    let mut blocks =
        pax(path, &records).ok_or_else(|| unrepresentable("its name is longer than 1 MiB"))?;
    blocks.push(header(&ascii(path), b"", &ascii(target)));
    Ok(blocks)
}

/// The same in GNU's form: long names stand in entries of their own, large numbers are binary.
fn gnu_headers(
    entry: &Entry,
    manner: &Manner,
    (flag, path, target): (u8, &[u8], &[u8]),
    (major, minor): (u32, u32),
) -> Vec<[u8; BLOCK]> {
    const FORM: [u8; 8] = *b"ustar  \0";
    let mut blocks = Vec::new();
    for (long, name) in [(b"L", path), (b"K", target)] {
        if name.len() > NAME {
            let data = [name, b"\0"].concat();
            let mut header = Header([0; BLOCK]);
            header.text(0, NAME, b"././@LongLink");
            for (at, width) in [(100, 8), (108, 8), (116, 8), (136, 12)] {
                header.octal(at, width, 0);
            }
            header.octal(124, 12, data.len() as i128);
            header.text(156, 1, long);
            blocks.push(header.finish_as(FORM));
            blocks.extend(data.chunks(BLOCK).map(|chunk| {
                let mut block = Header([0; BLOCK]);
                block.text(0, BLOCK, chunk);
                block.0
            }));
        }
    }
    let mut header = Header([0; BLOCK]);
    header.text(0, NAME, path);
    header.number(100, 8, entry.mode.into());
    header.number(108, 8, entry.uid.into());
    header.number(116, 8, entry.gid.into());
    header.number(124, 12, entry.size().into());
    header.number(136, 12, entry.mtime.into());
    header.text(156, 1, &[flag]);
    header.text(157, NAME, target);
    header.text(265, OWNER, &manner.user);
    header.text(297, OWNER, &manner.group);
    header.number(329, 8, major.into());
    header.number(337, 8, minor.into());
    blocks.push(header.finish_as(FORM));
    blocks
}

/// The header of a PAX header, and the records.
fn pax(path: &[u8], records: &BTreeMap<&str, Vec<u8>>) -> Option<Vec<[u8; BLOCK]>> {
    let data: Vec<u8> = records
        .iter()
        .flat_map(|(key, value)| record(key, value))
        .collect();
    if data.len() > MAX_PAX_BYTES {
        return None;
    }
    let mut name = ascii(&pax_name(path));
    name.truncate(NAME);
    while name.last() == Some(&b'/') {
        name.pop();
    }
    let mut header = Header([0; BLOCK]);
    header.text(0, NAME, &name);
    for (at, width) in [(100, 8), (108, 8), (116, 8), (136, 12)] {
        header.octal(at, width, 0);
    }
    header.octal(124, 12, data.len() as i128);
    header.text(156, 1, b"x");
    let mut blocks = vec![header.finish()];
    blocks.extend(data.chunks(BLOCK).map(|chunk| {
        let mut block = Header([0; BLOCK]);
        block.text(0, BLOCK, chunk);
        block.0
    }));
    Some(blocks)
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// `<folder>/PaxHeaders.0/<base>`, cleaned as Go's `path.Join` does.
fn pax_name(path: &[u8]) -> Vec<u8> {
    let base = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let folder = path.strip_suffix(base).unwrap_or_default();
    let rooted = path.first() == Some(&b'/');
    let mut elements: Vec<&[u8]> = Vec::new();
    for element in folder
        .split(|byte| *byte == b'/')
        .chain([b"PaxHeaders.0".as_slice(), base])
    {
        match element {
            b"" | b"." => {}
            b".." => match elements.last() {
                Some(last) if *last != b".." => {
                    elements.pop();
                }
                _ if rooted => {}
                _ => elements.push(element),
            },
            _ => elements.push(element),
        }
    }
    let joined = elements.join(&b'/');
    if rooted {
        [b"/", joined.as_slice()].concat()
    } else {
        joined
    }
}

/// Splits a path that is too long for the name field into prefix and name, if that can be.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME || !path.is_ascii() {
        return None;
    }
    let end = match path.last() {
        _ if path.len() > PREFIX + 1 => PREFIX + 1,
        Some(b'/') => path.len() - 1,
        _ => path.len(),
    };
    let slash = path.get(..end)?.iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (path.get(..slash)?, path.get(slash + 1..)?);
    (!prefix.is_empty() && prefix.len() <= PREFIX && !name.is_empty() && name.len() <= NAME)
        .then_some((prefix, name))
}

fn ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(u8::is_ascii).collect()
}

/// Whether `value` fits into a field of `width` bytes with its NUL.
fn fits_octal(width: usize, value: i128) -> bool {
    (0..1 << (3 * (width - 1))).contains(&value)
}

struct Header([u8; BLOCK]);

impl Header {
    /// What is too long is cut; if that leaves a `/` at the end, a NUL takes the place of the first
    /// such, lest a reader that knows no PAX takes a file for a folder.
    fn text(&mut self, at: usize, width: usize, text: &[u8]) {
        let cut = text.get(..width).unwrap_or(text);
        let mut end = cut.len();
        if text.len() > width {
            while end > 0 && cut.get(end - 1) == Some(&b'/') {
                end -= 1;
            }
        }
        for (index, byte) in cut.iter().enumerate() {
            if let Some(field) = self.0.get_mut(at + index) {
                *field = if index == end { 0 } else { *byte };
            }
        }
    }

    /// What does not fit stands in a PAX record; here it is 0.
    fn octal(&mut self, at: usize, width: usize, value: i128) {
        let value = if fits_octal(width, value) { value } else { 0 };
        self.text(
            at,
            width,
            format!("{value:0digits$o}", digits = width - 1).as_bytes(),
        );
    }

    /// In octal, or where that does not fit, as a binary number whose first bit is set.
    fn number(&mut self, at: usize, width: usize, value: i128) {
        if fits_octal(width, value) {
            return self.octal(at, width, value);
        }
        let bytes = value.to_be_bytes();
        let kept = bytes.get(bytes.len() - width..).unwrap_or_default();
        for (index, byte) in kept.iter().enumerate() {
            if let Some(field) = self.0.get_mut(at + index) {
                *field = if index == 0 { byte | 0x80 } else { *byte };
            }
        }
    }

    fn finish(self) -> [u8; BLOCK] {
        self.finish_as(*b"ustar\x0000")
    }

    fn finish_as(mut self, form: [u8; 8]) -> [u8; BLOCK] {
        self.text(257, 8, &form);
        self.text(148, 8, b"        ");
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.text(148, 8, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests;
