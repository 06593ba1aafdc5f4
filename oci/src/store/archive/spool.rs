//! Archives that are no plain file on disk: compressed ones, and pipes.

use std::fs::File;
use std::io::{self, Cursor, Read as _};
use std::sync::Arc;

use crate::{ExtractError, StoreError};

/// Bytes of an archive that is decompressed or read from a pipe; so much of a disk may be filled.
const BYTES: u64 = 64 << 30;

/// How files begin that are compressed, and what with. Docker's own program reads all of them.
const MAGIC: [(&[u8], Packing); 4] = [
    (&[0x1f, 0x8b], Packing::Known),
    (&[0x28, 0xb5, 0x2f, 0xfd], Packing::Known),
    (b"BZh", Packing::Unknown("bzip2")),
    (&[0xfd, b'7', b'z', b'X', b'Z'], Packing::Unknown("xz")),
];

#[derive(Clone, Copy)]
enum Packing {
    Known,
    Unknown(&'static str),
}

/// `file` itself, and that it is, if it is a plain tar; else what is in it, in a file without a name.
pub(super) fn plain(file: File, place: &str) -> Result<(Arc<File>, bool), StoreError> {
    plain_within(file, place, BYTES)
}

fn plain_within(file: File, place: &str, limit: u64) -> Result<(Arc<File>, bool), StoreError> {
    let failed = |error| StoreError::io(place, "read it", error);
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(StoreError::Malformed {
            place: place.to_owned(),
            problem: "it is a folder".to_owned(),
        });
    }
    let mut head = Vec::new();
    (&file).take(6).read_to_end(&mut head).map_err(failed)?;
    let packing = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
    match packing {
        Some((_, Packing::Unknown(name))) => {
            return Err(StoreError::Malformed {
                place: place.to_owned(),
                problem: format!("it is compressed with {name}, and only gzip and zstd are known"),
            });
        }
        None if metadata.is_file() => return Ok((Arc::new(file), true)),
        _ => {}
    }
    let reader = Cursor::new(head).chain(file);
    let mut reader = crate::extract::decompressed(reader)
        .map_err(|error| unreadable(place, error))?
        .take(limit + 1);
    let mut spooled = tempfile::tempfile().map_err(failed)?;
    let size = io::copy(&mut reader, &mut spooled).map_err(failed)?;
    if size > limit {
        return Err(StoreError::Malformed {
            place: place.to_owned(),
            problem: format!("it is larger than {limit} bytes"),
        });
    }
    Ok((Arc::new(spooled), false))
}

fn unreadable(place: &str, error: ExtractError) -> StoreError {
    StoreError::Unavailable {
        place: place.to_owned(),
        action: "read it".to_owned(),
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn what_is_compressed_is_decompressed_up_to_a_limit() {
        let mut file = tempfile::tempfile().unwrap();
        let mut encoder = flate2::write::GzEncoder::new(&mut file, flate2::Compression::fast());
        encoder.write_all(&[0; 10_000]).unwrap();
        encoder.finish().unwrap();
        file.rewind().unwrap();
        let again = file.try_clone().unwrap();
        let (plain, _) = plain_within(file, "here", 10_000).unwrap();
        assert_eq!(plain.metadata().unwrap().len(), 10_000);
        (&again).rewind().unwrap();
        let refused = plain_within(again, "here", 9_999);
        assert!(matches!(refused, Err(StoreError::Malformed { .. })));
    }

    /// What is endless is not read to its end.
    #[test]
    fn no_more_is_kept_than_the_limit() {
        let (reader, mut writer) = io::pipe().unwrap();
        let endless = std::thread::spawn(move || {
            let zeros = vec![0; 1 << 16];
            (0..1000).try_for_each(|_| writer.write_all(&zeros))
        });
        let reader = File::from(std::os::fd::OwnedFd::from(reader));
        let refused = plain_within(reader, "here", 9_999);
        assert!(matches!(refused, Err(StoreError::Malformed { .. })));
        let error = endless.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
