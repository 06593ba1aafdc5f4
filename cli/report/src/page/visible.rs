//! Text with nothing hidden in it.

use std::borrow::Cow;

/// `text` with what cannot be seen shown by its number: control characters, characters that turn the
/// direction of writing, and those without width that have no place in a name.
///
/// Joiners (U+200C, U+200D) stay: Persian and emoji need them.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_or_hides_is_shown_by_its_number() {
        assert_eq!(visible("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(visible("a\u{0}\u{1b}\r"), "a\\u{0}\\u{1b}\\u{d}");
        for same in ["lines\n\tand tabs", "שלום", "می\u{200c}خواهم", "日本"] {
            assert!(matches!(visible(same), Cow::Borrowed(it) if it == same));
        }
    }
}
