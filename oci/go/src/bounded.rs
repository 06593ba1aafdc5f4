//! Reading up to a limit.

use std::io::{self, Read};

/// All that `reader` gives, if that is at most `limit` bytes; `None` if there is more. It never gives
/// the beginning alone: whoever reads would take it for the whole.
pub fn read_at_most(reader: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|it| it.len() as u64 <= limit))
}

/// The same of text; what is not UTF-8 is an error.
pub fn read_text_at_most(reader: impl Read, limit: u64) -> io::Result<Option<String>> {
    let bytes = read_at_most(reader, limit)?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_is_not_read_in_part() {
        assert_eq!(read_at_most(&b"abc"[..], 3).unwrap().unwrap(), b"abc");
        assert_eq!(read_at_most(&b"abcd"[..], 3).unwrap(), None);
        assert_eq!(read_at_most(io::repeat(0), 3).unwrap(), None);
        assert_eq!(
            read_at_most(&b"abc"[..], u64::MAX).unwrap().unwrap(),
            b"abc"
        );
        assert_eq!(read_text_at_most(&b"abc"[..], 3).unwrap().unwrap(), "abc");
        assert_eq!(read_text_at_most(&b"abcd"[..], 3).unwrap(), None);
        assert_eq!(read_text_at_most("aé".as_bytes(), 1).unwrap(), None);
        assert!(read_text_at_most(&b"\xff"[..], 3).is_err());
    }
}
