//! Lines of a file that may have been made to hurt: each of limited length.

use std::io::{self, BufRead, Read as _};

/// A line longer than this is no line of a package database.
const LONGEST: u64 = 1 << 20;

/// Gives the lines of `reader`, without their ends, to `take`, until that says no. Returns what went
/// wrong: what comes after that was not read.
pub(super) fn each_line(
    mut reader: impl BufRead,
    mut take: impl FnMut(&str) -> bool,
) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        number += 1;
        let read = reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == LONGEST && line.last() != Some(&b'\n') {
            return Ok(Some(format!(
                "line {number} is longer than {LONGEST} bytes"
            )));
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if !take(text.strip_suffix('\r').unwrap_or(text)) {
            return Ok(None);
        }
    }
}
