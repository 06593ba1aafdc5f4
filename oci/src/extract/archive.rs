//! Reads tar: POSIX with PAX, GNU long names, old. What is hostile is an error, never an allocation.
//!
//! <https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13>

use std::ffi::OsStr;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::ExtractError;
use crate::tar::Manner;

const BLOCK: usize = 512;

/// Bytes of the extended headers of one entry.
const EXTENDED: u64 = 1 << 20;

pub(crate) struct Archive<R> {
    reader: R,
    longest: usize,
    /// Of the content of the last entry: what was not read yet, and what fills its last block.
    remaining: u64,
    padding: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
    pub(crate) link: PathBuf,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: i64,
    pub(crate) size: u64,
    pub(crate) manner: Manner,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Folder,
    Fifo,
    Device(u8),
    Unknown(u8),
}

/// What extended headers say of the next entry, in place of its own header.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    capability: Option<Vec<u8>>,
    user: Option<Vec<u8>>,
    group: Option<Vec<u8>>,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(reader: R, longest: usize) -> Self {
        Self {
            reader,
            longest,
            remaining: 0,
            padding: 0,
        }
    }

    /// The next entry; its content is then what is [read](Read) from the archive.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, ExtractError> {
        let mut extended = Extended::default();
        let mut spent = 0;
        loop {
            self.skip(self.remaining + self.padding)?;
            (self.remaining, self.padding) = (0, 0);
            let mut block = [0; BLOCK];
            if !self.read_block(&mut block)? {
                return Ok(None);
            }
            let header = Header(&block);
            header.check()?;
            let size = header.number(124, 12)?;
            let flag = header.flag();
            if matches!(flag, b'x' | b'X' | b'g' | b'L' | b'K') {
                spent += size + BLOCK as u64;
                if spent > EXTENDED {
                    return Err(malformed("its extended headers are larger than 1 MiB"));
                }
                let data = self.read_whole(size)?;
                match flag {
                    b'L' => extended.path = Some(until_nul(&data).to_vec()),
                    b'K' => extended.link = Some(until_nul(&data).to_vec()),
                    b'g' => {}
                    _ => extended.add_records(&data)?,
                }
                continue;
            }
            let entry = self.entry(&header, extended, size)?;
            self.remaining = entry.size;
            self.padding = padding(entry.size);
            return Ok(Some(entry));
        }
    }

    /// What it reads from.
    pub(crate) fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// Leaves the content of the last entry to whoever can get past it without reading it. Returns
    /// how many bytes of the reader that is.
    pub(crate) fn leave_content(&mut self) -> u64 {
        let size = self.remaining + self.padding;
        (self.remaining, self.padding) = (0, 0);
        size
    }

    /// The reader, all of the archive read.
    pub(crate) fn into_inner(mut self) -> Result<R, ExtractError> {
        io::copy(&mut self.reader, &mut io::sink()).map_err(ExtractError::read)?;
        Ok(self.reader)
    }

    fn entry(
        &self,
        header: &Header<'_>,
        extended: Extended,
        size: u64,
    ) -> Result<Entry, ExtractError> {
        let path = extended.path.unwrap_or_else(|| header.path());
        let link = extended
            .link
            .unwrap_or_else(|| until_nul(header.field(157, 100)).to_vec());
        if path.len() > self.longest || link.len() > self.longest {
            return Err(ExtractError::PathTooLong {
                limit: self.longest,
            });
        }
        if path.contains(&0) || link.contains(&0) {
            return Err(malformed("a path has a zero byte in it"));
        }
        let kind = match header.flag() {
            b'0' | 0 if path.ends_with(b"/") => Kind::Folder,
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'5' => Kind::Folder,
            b'6' => Kind::Fifo,
            flag @ (b'3' | b'4') => Kind::Device(flag),
            flag => Kind::Unknown(flag),
        };
        // A size of something without content is of no meaning.
        let has_content = matches!(kind, Kind::File | Kind::Unknown(_));
        let size = extended.size.unwrap_or(size);
        let mode = u32::try_from(header.number(100, 8)? & 0o7777).unwrap_or(0);
        Ok(Entry {
            kind,
            path: to_path(&path),
            link: to_path(&link),
            mode,
            uid: extended.uid.map_or_else(|| header.number(108, 8), Ok)?,
            gid: extended.gid.map_or_else(|| header.number(116, 8), Ok)?,
            mtime: match extended.mtime {
                Some(mtime) => mtime,
                // Before 1970 is of no use to anyone.
                None => i64::try_from(header.number(136, 12).unwrap_or(0)).unwrap_or(0),
            },
            size: if has_content { size } else { 0 },
            manner: Manner {
                gnu: header.field(257, 8) == b"ustar  \0",
                user: extended
                    .user
                    .unwrap_or_else(|| until_nul(header.field(265, 32)).to_vec()),
                group: extended
                    .group
                    .unwrap_or_else(|| until_nul(header.field(297, 32)).to_vec()),
                capability: extended.capability,
            },
        })
    }

    /// Reads a header. False at the end: of the archive, or of what there is.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ExtractError> {
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|it| !it.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(malformed("it ends in the middle of a header")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ExtractError::read(error)),
            }
        }
        Ok(block.iter().any(|byte| *byte != 0))
    }

    fn read_whole(&mut self, size: u64) -> Result<Vec<u8>, ExtractError> {
        let mut data = Vec::new();
        let taken = self.reader.by_ref().take(size).read_to_end(&mut data);
        taken.map_err(ExtractError::read)?;
        if data.len() as u64 != size {
            return Err(malformed("it ends in the middle of an extended header"));
        }
        self.skip(padding(size))?;
        Ok(data)
    }

    fn skip(&mut self, size: u64) -> Result<(), ExtractError> {
        let skipped = io::copy(&mut self.reader.by_ref().take(size), &mut io::sink())
            .map_err(ExtractError::read)?;
        if skipped < size {
            return Err(malformed("it ends in the middle of a file"));
        }
        Ok(())
    }
}

/// The content of the last entry. That it ends early shows when the next one is asked for.
impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.by_ref().take(self.remaining).read(buffer)?;
        self.remaining -= read as u64;
        Ok(read)
    }
}

/// The same, without a copy of it.
impl<R: BufRead> BufRead for Archive<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let filled = self.reader.fill_buf()?;
        let most = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        Ok(filled.get(..most).unwrap_or(filled))
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
        self.remaining = self.remaining.saturating_sub(amount as u64);
    }
}

struct Header<'a>(&'a [u8; BLOCK]);

impl Header<'_> {
    fn field(&self, start: usize, size: usize) -> &[u8] {
        self.0.get(start..start + size).unwrap_or_default()
    }

    fn flag(&self) -> u8 {
        self.field(156, 1).first().copied().unwrap_or(0)
    }

    fn check(&self) -> Result<(), ExtractError> {
        let bytes = self.0.iter().enumerate();
        // The checksum is of the header with spaces in place of itself.
        let plain = |(at, byte): (usize, &u8)| {
            if (148..156).contains(&at) {
                b' '
            } else {
                *byte
            }
        };
        let sum: u64 = bytes.clone().map(|it| u64::from(plain(it))).sum();
        // Some old programs add the bytes as signed.
        let signed: i64 = bytes.map(|it| i64::from(plain(it).cast_signed())).sum();
        let expected = self.number(148, 8)?;
        if expected == sum || i64::try_from(expected).is_ok_and(|it| it == signed) {
            Ok(())
        } else {
            Err(malformed(
                "a header does not have the checksum that it says",
            ))
        }
    }

    fn path(&self) -> Vec<u8> {
        let name = until_nul(self.field(0, 100));
        let prefix = until_nul(self.field(345, 155));
        // GNU's own format has other things in the place of the prefix.
        if self.field(257, 6) == b"ustar\0" && !prefix.is_empty() {
            [prefix, b"/", name].concat()
        } else {
            name.to_vec()
        }
    }

    /// Octal digits, or if the first bit is set, a binary number.
    fn number(&self, start: usize, size: usize) -> Result<u64, ExtractError> {
        let bad = || malformed("a header has a bad number");
        let field = self.field(start, size);
        let Some((first, rest)) = field.split_first() else {
            return Err(bad());
        };
        if first & 0x80 != 0 {
            // The next bit is the sign.
            if first & 0x40 != 0 {
                return Err(bad());
            }
            let mut number = u64::from(first & 0x3f);
            for byte in rest {
                let shifted = number.checked_mul(256).ok_or_else(bad)?;
                number = shifted | u64::from(*byte);
            }
            return within(number).ok_or_else(bad);
        }
        let text = text(until_nul(field)).ok_or_else(bad)?;
        let text = text.trim_matches(' ');
        if text.is_empty() {
            return Ok(0);
        }
        let is_octal = text.bytes().all(|it| matches!(it, b'0'..=b'7'));
        let number = u64::from_str_radix(text, 8).ok().filter(|_| is_octal);
        number.and_then(within).ok_or_else(bad)
    }
}

impl Extended {
    /// PAX records: `LENGTH KEY=VALUE\n`, the length counting all of that.
    fn add_records(&mut self, mut data: &[u8]) -> Result<(), ExtractError> {
        let bad = || malformed("an extended header is broken");
        while !data.is_empty() {
            let space = data.iter().position(|it| *it == b' ').ok_or_else(bad)?;
            let (digits, _) = data.split_at_checked(space).ok_or_else(bad)?;
            let length: usize = text(digits)
                .and_then(|it| it.parse().ok())
                .ok_or_else(bad)?;
            let (record, rest) = data.split_at_checked(length).ok_or_else(bad)?;
            let record = record
                .get(space + 1..)
                .and_then(|it| it.strip_suffix(b"\n"));
            let record = record.ok_or_else(bad)?;
            let equals = record.iter().position(|it| *it == b'=').ok_or_else(bad)?;
            let (key, value) = record.split_at_checked(equals).ok_or_else(bad)?;
            let value = value.get(1..).unwrap_or_default();
            let number = || text(value)?.parse().ok().and_then(within);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"uname" => self.user = Some(value.to_vec()),
                b"gname" => self.group = Some(value.to_vec()),
                b"size" => self.size = Some(number().ok_or_else(bad)?),
                b"uid" => self.uid = Some(number().ok_or_else(bad)?),
                b"gid" => self.gid = Some(number().ok_or_else(bad)?),
                b"mtime" => {
                    let whole = text(value).and_then(|it| it.split('.').next()?.parse().ok());
                    self.mtime = Some(whole.ok_or_else(bad)?);
                }
                key if key == go::tar::CAPABILITY.as_bytes() => {
                    self.capability = Some(value.to_vec());
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(malformed("it has a sparse file, and those are not read"));
                }
                _ => {}
            }
            data = rest;
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Sizes and owners fit into 63 bits, so sums of two of them cannot overflow.
fn within(number: u64) -> Option<u64> {
    (number <= i64::MAX.cast_unsigned()).then_some(number)
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|it| *it == 0).next().unwrap_or_default()
}

fn to_path(bytes: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(bytes)).to_owned()
}

fn malformed(problem: &str) -> ExtractError {
    ExtractError::Malformed {
        problem: problem.to_owned(),
    }
}
