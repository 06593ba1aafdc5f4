//! The plain tar of a layer, kept beside what is made of it.

use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use fs_err::File;
use tempfile::{NamedTempFile, TempPath};

/// Where the plain tar of a layer is kept while the layer is hashed or written.
///
/// If there is a file that may have the same content, the two are compared: what is equal to the file
/// that is there need not be written again. From the first difference on the tar is written to a new
/// file.
///
/// What fails here does not fail the layer: then there is no plain tar.
#[derive(Debug)]
pub struct Plain {
    folder: PathBuf,
    /// As long as all is the same as there.
    known: Option<Known>,
    new: Option<NamedTempFile>,
    is_lost: bool,
}

/// A file whose beginning is what was passed.
#[derive(Debug)]
struct Known {
    file: File,
    /// Of the beginning, in bytes.
    length: u64,
    buffer: Vec<u8>,
}

/// Where a plain tar is.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it was there before, or is new")]
pub enum PlainTar {
    /// The file that was there has it, byte for byte.
    Same,
    /// It is in this file, which is removed when this is dropped.
    New(TempPath),
}

impl Plain {
    /// Keeps the tar in a new file in `folder`, unless it is what the file `known` has. That one need
    /// not be there.
    pub fn new(known: Option<&Path>, folder: &Path) -> Self {
        let known = known.and_then(|it| File::open(it).ok());
        Self {
            folder: folder.to_owned(),
            known: known.map(|file| Known {
                file,
                length: 0,
                buffer: Vec::new(),
            }),
            new: None,
            is_lost: false,
        }
    }

    /// Takes the next bytes.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        if !self.is_lost && self.try_pass(bytes).is_err() {
            // Half of it is of no use, and the layer itself may need the room.
            (self.known, self.new) = (None, None);
            self.is_lost = true;
        }
    }

    fn try_pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(known) = &mut self.known {
            // What cannot be read is not the same either.
            if known.has_next(bytes).unwrap_or(false) {
                return Ok(());
            }
        }
        self.new_file()?.write_all(bytes)
    }

    /// Where it is, all bytes being passed.
    pub(super) fn finish(mut self) -> Option<PlainTar> {
        if self.is_lost {
            return None;
        }
        if self.known.as_mut().is_some_and(Known::is_at_end) {
            return Some(PlainTar::Same);
        }
        self.new_file().ok()?;
        Some(PlainTar::New(self.new?.into_temp_path()))
    }

    /// The new file, with all that was passed.
    fn new_file(&mut self) -> io::Result<&mut NamedTempFile> {
        let new = if let Some(new) = self.new.take() {
            new
        } else {
            let mut new = NamedTempFile::new_in(&self.folder)?;
            if let Some(mut known) = self.known.take() {
                known.copy_beginning(new.as_file_mut())?;
            }
            new
        };
        Ok(self.new.insert(new))
    }
}

impl Known {
    /// Whether `bytes` come next in it.
    fn has_next(&mut self, bytes: &[u8]) -> io::Result<bool> {
        self.buffer.resize(bytes.len(), 0);
        self.file.read_exact(&mut self.buffer)?;
        let is_same = self.buffer == bytes;
        if is_same {
            self.length += bytes.len() as u64;
        }
        Ok(is_same)
    }

    fn is_at_end(&mut self) -> bool {
        matches!(self.file.read(&mut [0]), Ok(0))
    }

    fn copy_beginning(&mut self, target: &mut std::fs::File) -> io::Result<()> {
        self.file.rewind()?;
        let copied = io::copy(&mut self.file.file_mut().take(self.length), target)?;
        if copied == self.length {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_tar_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let mut plain = Plain::new(None, folder.path());
        plain.pass(b"x");
        let (_, path) = plain.new.take().unwrap().into_parts();
        let cannot_be_written = std::fs::File::open(&path).unwrap();
        plain.new = Some(NamedTempFile::from_parts(cannot_be_written, path));
        plain.pass(b"y");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
        assert!(plain.finish().is_none());
    }
}
