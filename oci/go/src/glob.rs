//! Patterns of slices, with the meaning that Go's `path/filepath` gives them.
//!
//! | term | matches |
//! |---|---|
//! | `*` | any run of bytes but `/` |
//! | `?` | one character but `/` |
//! | `[a-z]`, `[^a-z]` | one character of these, or none of these |
//! | `\c` | the character `c` |
//!
//! There is no `**`.

/// A pattern that is none. Found only when a name gets far enough to need the broken part, but at
/// the end of a match that fails all of it is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadPattern;

/// The shortest pattern that means the same: `./a/../b//` is `b`.
pub fn clean(pattern: &str) -> String {
    let rooted = pattern.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

/// Whether `pattern` matches all of `name`.
pub fn matches(mut pattern: &[u8], mut name: &[u8]) -> Result<bool, BadPattern> {
    'pattern: while !pattern.is_empty() {
        let (star, chunk, rest) = scan_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(!name.contains(&b'/'));
        }
        if let Some(left) = match_chunk(chunk, name)?
            && (left.is_empty() || !pattern.is_empty())
        {
            name = left;
            continue;
        }
        if star {
            let mut tail = name;
            while let Some((first, after)) = tail.split_first() {
                if *first == b'/' {
                    break;
                }
                tail = after;
                if let Some(left) = match_chunk(chunk, tail)? {
                    if pattern.is_empty() && !left.is_empty() {
                        continue;
                    }
                    name = left;
                    continue 'pattern;
                }
            }
        }
        // Nothing matches any more, but a broken rest is still an error.
        while !pattern.is_empty() {
            let (_, chunk, rest) = scan_chunk(pattern);
            pattern = rest;
            match_chunk(chunk, b"")?;
        }
        return Ok(false);
    }
    Ok(name.is_empty())
}

/// Takes leading stars, then all up to the next star.
fn scan_chunk(pattern: &[u8]) -> (bool, &[u8], &[u8]) {
    let start = pattern.iter().take_while(|it| **it == b'*').count();
    let (_, body) = pattern.split_at(start);
    let mut in_range = false;
    let mut escaped = false;
    let mut end = body.len();
    for (index, byte) in body.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'[' => in_range = true,
            b']' => in_range = false,
            b'*' if !in_range => {
                end = index;
                break;
            }
            _ => {}
        }
    }
    let (chunk, rest) = body.split_at(end);
    (start > 0, chunk, rest)
}

/// What of `name` is left after `chunk`, which has no star; `None` if it does not match.
fn match_chunk<'a>(mut chunk: &[u8], name: &'a [u8]) -> Result<Option<&'a [u8]>, BadPattern> {
    // After a mismatch the chunk is only checked.
    let mut left = Some(name);
    while let Some((first, rest)) = chunk.split_first() {
        if left.is_some_and(<[u8]>::is_empty) {
            left = None;
        }
        match first {
            b'[' => {
                let character = left.map(next_character);
                let (matched, rest) = match_range(rest, character.map(|(it, _)| it))?;
                chunk = rest;
                left = character.filter(|_| matched).map(|(_, after)| after);
            }
            b'?' => {
                left = left
                    .filter(|it| it.first() != Some(&b'/'))
                    .map(|it| next_character(it).1);
                chunk = rest;
            }
            first => {
                let (literal, rest) = if *first == b'\\' {
                    rest.split_first().ok_or(BadPattern)?
                } else {
                    (first, rest)
                };
                chunk = rest;
                left = left.and_then(|it| it.strip_prefix(&[*literal]));
            }
        }
    }
    Ok(left)
}

/// Whether `character` is in the range that starts after its `[`, and what follows its `]`.
fn match_range(mut range: &[u8], character: Option<char>) -> Result<(bool, &[u8]), BadPattern> {
    let negated = range.first() == Some(&b'^');
    if negated {
        range = range.get(1..).unwrap_or_default();
    }
    let mut matched = false;
    let mut count = 0;
    loop {
        if let Some(rest) = range.strip_prefix(b"]")
            && count > 0
        {
            return Ok((matched != negated, rest));
        }
        let (low, rest) = range_character(range)?;
        range = rest;
        let mut high = low;
        if let Some(rest) = range.strip_prefix(b"-") {
            (high, range) = range_character(rest)?;
        }
        matched |= character.is_some_and(|it| low <= it && it <= high);
        count += 1;
    }
}

fn range_character(range: &[u8]) -> Result<(char, &[u8]), BadPattern> {
    let escaped = match range.first() {
        None | Some(b'-' | b']') => return Err(BadPattern),
        Some(b'\\') => range.get(1..).unwrap_or_default(),
        Some(_) => range,
    };
    if escaped.is_empty() {
        return Err(BadPattern);
    }
    let (character, rest) = next_character(escaped);
    // A range that is not closed, or not text, is broken.
    if rest.is_empty() || character == char::REPLACEMENT_CHARACTER {
        return Err(BadPattern);
    }
    Ok((character, rest))
}

/// The first character; one that is not UTF-8 is one byte.
fn next_character(text: &[u8]) -> (char, &[u8]) {
    for length in 1..=text.len().min(4) {
        let (start, rest) = text.split_at(length);
        if let Some(character) = std::str::from_utf8(start)
            .ok()
            .and_then(|it| it.chars().next())
        {
            return (character, rest);
        }
    }
    (
        char::REPLACEMENT_CHARACTER,
        text.get(1..).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (pattern, cleaned) in [
            ("", "."),
            ("./a/../b//", "b"),
            ("a/../..", ".."),
            ("/../x", "/x"),
            ("src/**", "src/**"),
        ] {
            assert_eq!(clean(pattern), cleaned);
        }
    }

    /// The cases of Go's own tests of `filepath.Match`.
    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, name, expected) in [
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*c", "abc", Ok(true)),
            ("a*", "ab/c", Ok(false)),
            ("a*/b", "abc/b", Ok(true)),
            ("a*/b", "a/c/b", Ok(false)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Ok(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Ok(false)),
            ("ab[c]", "abc", Ok(true)),
            ("ab[^c]", "abc", Ok(false)),
            ("ab[^e-g]", "abc", Ok(true)),
            ("a\\*b", "a*b", Ok(true)),
            ("a\\*b", "ab", Ok(false)),
            ("a?b", "a☺b", Ok(true)),
            ("a[^a]b", "a☺b", Ok(true)),
            ("a???b", "a☺b", Ok(false)),
            ("[a-ζ]*", "α", Ok(true)),
            ("*[a-ζ]", "A", Ok(false)),
            ("a?b", "a/b", Ok(false)),
            ("a*b", "a/b", Ok(false)),
            ("[\\]a]", "]", Ok(true)),
            ("[\\-]", "-", Ok(true)),
            ("[x\\-]", "z", Ok(false)),
            ("[]a]", "]", Err(BadPattern)),
            ("[-]", "-", Err(BadPattern)),
            ("[x-]", "x", Err(BadPattern)),
            ("[a-b-c]", "a", Err(BadPattern)),
            ("[", "a", Err(BadPattern)),
            ("[^", "a", Err(BadPattern)),
            ("[^bc", "a", Err(BadPattern)),
            ("a[", "a", Err(BadPattern)),
            ("a[", "ab", Err(BadPattern)),
            ("a[", "x", Err(BadPattern)),
            ("a/b[", "x", Err(BadPattern)),
            ("*x", "xxx", Ok(true)),
            ("src/**", "src/pkg", Ok(true)),
            ("src/**", "src/pkg/one", Ok(false)),
        ] {
            let result = matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(result, expected, "{pattern} {name}");
        }
    }
}
