//! Files that are read whole, up to a limit.

use std::path::Path;

use crate::error::{CommandError, Message};

/// What is in the file `path`, if that is at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, CommandError> {
    let file = fs_err::File::open(path).map_err(CommandError::undecided)?;
    let read = oci::read_at_most(file, limit);
    whole(read.map_err(CommandError::undecided)?, path, limit)
}

/// What was read of `path`, or why it was not: there is more of it than `limit` bytes.
pub(crate) fn whole<T>(read: Option<T>, path: &Path, limit: u64) -> Result<T, CommandError> {
    read.ok_or_else(|| too_large(path, limit).into())
}

/// There is more in `path` than `limit` bytes.
pub(crate) fn too_large(path: &Path, limit: u64) -> Message {
    const MIB: u64 = 1 << 20;
    let limit = if limit >= MIB && limit.is_multiple_of(MIB) {
        format!("{} MiB", limit / MIB)
    } else {
        format!("{limit} bytes")
    };
    Message(format!("`{}` is larger than {limit}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_is_not_read_in_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "abcd").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"abcd");
        assert!(read(&path, 3).is_err());
        let said = |limit| too_large(Path::new("file"), limit).0;
        assert_eq!(said(3), "`file` is larger than 3 bytes");
        assert_eq!(said(2 << 20), "`file` is larger than 2 MiB");
        assert_eq!(said((2 << 20) + 1), "`file` is larger than 2097153 bytes");
    }
}
