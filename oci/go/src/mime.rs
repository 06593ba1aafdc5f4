//! Media types as Go's package `mime` reads them.

use std::collections::BTreeMap;

/// The media type that `text` begins with, in lower letters, if its parameters are well formed, as
/// `mime.ParseMediaType`.
///
/// # Errors
///
/// In Go's words, what is wrong with it.
pub fn media_type(text: &str) -> Result<String, &'static str> {
    let (base, mut rest) = match text.find(';') {
        Some(at) => text.split_at_checked(at).unwrap_or((text, "")),
        None => (text, ""),
    };
    let base = base.to_lowercase();
    let base = base.trim();
    check(base)?;
    let mut given = BTreeMap::new();
    while !rest.trim_start().is_empty() {
        let Some((name, value, next)) = parameter(rest.trim_start()) else {
            // One more at the end is none.
            if rest.trim() == ";" {
                break;
            }
            return Err("mime: invalid media parameter");
        };
        if given.get(&name).is_some_and(|it| *it != value) {
            return Err("mime: duplicate parameter name");
        }
        given.insert(name, value);
        rest = next;
    }
    Ok(base.to_owned())
}

fn check(base: &str) -> Result<(), &'static str> {
    let (kind, rest) = token(base);
    if kind.is_empty() {
        return Err("mime: no media type");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let Some(rest) = rest.strip_prefix('/') else {
        return Err("mime: expected slash after first token");
    };
    match token(rest) {
        ("", _) => Err("mime: expected token after slash"),
        (_, "") => Ok(()),
        _ => Err("mime: unexpected content after media subtype"),
    }
}

/// A parameter with the `;` before it: its name in lower letters, its value, and what follows.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let (name, rest) = token(text.strip_prefix(';')?.trim_start());
    if name.is_empty() {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let (value, after) = value(rest)?;
    Some((name.to_ascii_lowercase(), value, after))
}

/// A value, which is a token or stands in quotes, and what follows. Of nothing there is none.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        return (!value.is_empty()).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Some((value, chars.as_str())),
            '\r' | '\n' => return None,
            '\\' => {
                let mut after = chars.clone();
                // Before all else it means itself.
                match after.next().filter(|it| is_special(*it)) {
                    Some(special) => {
                        value.push(special);
                        chars = after;
                    }
                    None => value.push(c),
                }
            }
            _ => value.push(c),
        }
    }
    None
}

fn token(text: &str) -> (&str, &str) {
    let is_token = |it: char| it.is_ascii_graphic() && !is_special(it);
    let end = text.find(|it| !is_token(it)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn is_special(c: char) -> bool {
    "()<>@,;:\\\"/[]?=".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_looked_at_and_left_out() {
        for text in [
            "Application/SPDX+json",
            " application/spdx+json ;",
            "application/spdx+json; v=2 ; w=\"a\\\"b;c\"",
            "application/spdx+json;v=2;V=2",
            "application/spdx+json;v*0=a;v*1=b ; ",
        ] {
            let found = media_type(text);
            assert_eq!(found.as_deref(), Ok("application/spdx+json"), "{text}");
        }
        assert_eq!(media_type("form-data").as_deref(), Ok("form-data"));
    }

    #[test]
    fn what_is_none_is_told_in_the_words_of_go() {
        for (text, expected) in [
            ("", "mime: no media type"),
            (";a=b", "mime: no media type"),
            ("/b", "mime: no media type"),
            ("a b", "mime: expected slash after first token"),
            ("a/", "mime: expected token after slash"),
            ("a/b c", "mime: unexpected content after media subtype"),
            ("a/b;c", "mime: invalid media parameter"),
            ("a/b;=c", "mime: invalid media parameter"),
            ("a/b;c=", "mime: invalid media parameter"),
            ("a/b;c=\"d", "mime: invalid media parameter"),
            ("a/b;;", "mime: invalid media parameter"),
            ("a/b;c=d e", "mime: invalid media parameter"),
            ("a/b;c=d;c=e", "mime: duplicate parameter name"),
        ] {
            assert_eq!(media_type(text), Err(expected), "{text}");
        }
    }
}
