//! Hexadecimal, in lower case: how digests and IDs are written.

/// Two digits for each byte.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let digit = |it: u8| char::from_digit(u32::from(it), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|it| [digit(it >> 4), digit(it & 0xf)])
        .collect()
}

/// The bytes, if there are two digits for each.
pub(crate) fn decode(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|it| u8::try_from(it.to_digit(16)?).ok())
        .collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    Some(pairs.iter().map(|[high, low]| high * 16 + low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(encode(&[0, 0xa5, 0xff]), "00a5ff");
        assert_eq!(decode("00a5ff"), Some(vec![0, 0xa5, 0xff]));
        for other in ["0", "0g", "ää"] {
            assert_eq!(decode(other), None, "{other}");
        }
    }
}
