//! Texts of JSON as Go reads them, and base64.

use std::str;

/// Reads what stands between the quotes of a text: what is no Unicode becomes U+FFFD, byte by byte.
pub(super) fn unquoted(text: &[u8]) -> String {
    let mut read = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|it| *it == b'\\') {
        let (plain, escape) = rest.split_at_checked(at).unwrap_or_default();
        push_lossy(&mut read, plain);
        let letter = match escape.get(1) {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let (letter, len) = unescaped(escape);
                read.push(letter);
                rest = escape.get(len..).unwrap_or_default();
                continue;
            }
            Some(it) => char::from(*it),
            None => break,
        };
        read.push(letter);
        rest = escape.get(2..).unwrap_or_default();
    }
    push_lossy(&mut read, rest);
    read
}

/// Text in which each byte that is no Unicode is U+FFFD.
pub(super) fn mended(text: &[u8]) -> String {
    let mut read = String::with_capacity(text.len());
    push_lossy(&mut read, text);
    read
}

fn push_lossy(read: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        read.push_str(chunk.valid());
        read.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

/// The letter that `\uXXXX` stands for, and how long that is: two of them may be one.
fn unescaped(escape: &[u8]) -> (char, usize) {
    let first = unit(escape).unwrap_or_default();
    if let Some(letter) = char::from_u32(u32::from(first)) {
        return (letter, 6);
    }
    let second = escape.get(6..).and_then(unit);
    let pair = second.and_then(|it| char::decode_utf16([first, it]).next()?.ok());
    match pair {
        Some(letter) => (letter, 12),
        None => (char::REPLACEMENT_CHARACTER, 6),
    }
}

fn unit(escape: &[u8]) -> Option<u16> {
    let digits = escape.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The bytes of which `text` is the base64, as `base64.StdEncoding` reads it: line ends do not count.
pub(super) fn base64(text: &[u8]) -> Result<Vec<u8>, String> {
    let corrupt = |at: usize| Err(format!("illegal base64 data at input byte {at}"));
    let mut letters = text
        .iter()
        .enumerate()
        .filter(|(_, it)| !matches!(it, b'\r' | b'\n'));
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    loop {
        let mut bits = 0_u32;
        let mut count = 0;
        while count < 4 {
            let Some((at, letter)) = letters.next() else {
                return if count == 0 {
                    Ok(bytes)
                } else {
                    corrupt(text.len().saturating_sub(count))
                };
            };
            if let Some(value) = (0_u32..).zip(ALPHABET).find(|(_, it)| *it == letter) {
                bits = bits << 6 | value.0;
                count += 1;
                continue;
            }
            if *letter != b'=' || count < 2 {
                return corrupt(at);
            }
            if count == 2 {
                match letters.next() {
                    Some((_, b'=')) => {}
                    Some((at, _)) => return corrupt(at),
                    None => return corrupt(text.len()),
                }
            }
            if let Some((at, _)) = letters.next() {
                return corrupt(at);
            }
            bits <<= 6 * (4 - count);
            bytes.extend(bits.to_be_bytes().get(1..count).unwrap_or_default());
            return Ok(bytes);
        }
        bytes.extend(bits.to_be_bytes().get(1..).unwrap_or_default());
    }
}

/// The base64 of `bytes`.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(chunk.get(at).copied().unwrap_or_default())
        });
        for at in 0..4 {
            let letter = ALPHABET.get(bits >> (18 - 6 * at) & 63);
            let letter = letter.filter(|_| at <= chunk.len()).unwrap_or(&b'=');
            text.push(char::from(*letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_read_as_go_reads_them() {
        for (text, read) in [
            (&br"a\/\b\f\n\r\t\\"[..], "a/\u{8}\u{c}\n\r\t\\"),
            (br"\u00e9\ud83d\ude00", "é😀"),
            (br"\ud83d\ud83d\ude00\udc00x", "\u{fffd}😀\u{fffd}x"),
            (b"\xe2\x82x\xff", "\u{fffd}\u{fffd}x\u{fffd}"),
        ] {
            assert_eq!(unquoted(text), read);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_as_base64_is_read_back(bytes: Vec<u8>) {
            prop_assert_eq!(base64(to_base64(&bytes).as_bytes()), Ok(bytes));
        }
    }
}
