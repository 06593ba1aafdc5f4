//! Patterns of `${x#y}`, `${x%y}` and `${x/y/z}`: `*` is any text, `?` any character, `\` makes one
//! of these literal. Sets in brackets there are none.

use thiserror::Error;

/// A pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Any,
    Literal(char),
    One,
}

/// An escape that means nothing.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error("invalid escape '\\{}'", escaped.map(String::from).unwrap_or_default())]
#[non_exhaustive]
pub struct PatternError {
    /// What is escaped, if anything is.
    pub escaped: Option<char>,
}

impl Pattern {
    /// The most characters of a pattern.
    pub(super) const MAX: usize = 1024;

    /// The most bytes of a value that it is held against.
    pub(super) const MAX_VALUE: usize = 64 * 1024;

    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => match chars.next() {
                    // Those two have to be escaped to be in a substitution at all.
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Part::Literal(c),
                    escaped => return Err(PatternError { escaped }),
                },
                c => Part::Literal(c),
            });
        }
        // Two of them say no more than one.
        parts.dedup_by(|a, b| *a == Part::Any && *b == Part::Any);
        Ok(Self(parts))
    }

    /// `value` without the shortest, or longest, beginning that is as the pattern says.
    pub(super) fn without_prefix(&self, value: &str, is_longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let end = self.ends(&chars, is_longest).unwrap_or_default();
        chars.iter().skip(end).collect()
    }

    /// `value` without the shortest, or longest, end that is as the pattern says.
    pub(super) fn without_suffix(&self, value: &str, is_longest: bool) -> String {
        let chars: Vec<char> = value.chars().rev().collect();
        let reversed = Self(self.0.iter().copied().rev().collect());
        let end = reversed.ends(&chars, is_longest).unwrap_or_default();
        chars.iter().skip(end).rev().collect()
    }

    /// `value` with the first, or each, longest part that is as the pattern says replaced.
    pub(super) fn replace(&self, value: &str, replacement: &str, all: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let ends = self.longest(&chars);
        let mut result = String::new();
        let mut at = 0;
        let mut is_done = false;
        loop {
            let found = ends.get(at).copied().flatten().filter(|_end| !is_done);
            if let Some(end) = found {
                result.push_str(replacement);
                is_done = !all;
                if end > at {
                    at = end;
                    if at == chars.len() {
                        return result;
                    }
                    continue;
                }
            }
            // What is as long as nothing is found once before each character.
            let Some(c) = chars.get(at) else {
                return result;
            };
            result.push(*c);
            at += 1;
        }
    }

    /// Where the longest part that begins at each place ends, from the last to the first: each is made
    /// of the next, so the time is that of both lengths multiplied, whatever they are.
    fn longest(&self, chars: &[char]) -> Vec<Option<usize>> {
        let parts = &self.0;
        let mut ends = vec![None; chars.len() + 1];
        let mut after: Vec<Option<usize>> = vec![None; parts.len() + 1];
        for at in (0..=chars.len()).rev() {
            let c = chars.get(at);
            let mut here = vec![None; parts.len() + 1];
            if let Some(last) = here.last_mut() {
                *last = Some(at);
            }
            for (index, part) in parts.iter().enumerate().rev() {
                let skipped = here.get(index + 1).copied().flatten();
                let next = after.get(index + 1).copied().flatten();
                let stayed = after.get(index).copied().flatten();
                let end = match part {
                    Part::Any => skipped.max(stayed),
                    Part::One if c.is_some() => next,
                    Part::Literal(it) if c == Some(it) => next,
                    Part::One | Part::Literal(_) => None,
                };
                if let Some(place) = here.get_mut(index) {
                    *place = end;
                }
            }
            if let Some(end) = ends.get_mut(at) {
                *end = here.first().copied().flatten();
            }
            after = here;
        }
        ends
    }

    /// Where the shortest, or longest, beginning of `chars` that is as the pattern says ends.
    ///
    /// Each place in the pattern that may be reached is followed at once, so the time is that of both
    /// lengths multiplied, whatever they are.
    fn ends(&self, chars: &[char], is_longest: bool) -> Option<usize> {
        let parts = &self.0;
        let mut places = vec![false; parts.len() + 1];
        let mut found = None;
        mark(&mut places, parts, 0);
        for end in 0..=chars.len() {
            if places.last() == Some(&true) {
                found = Some(end);
                if !is_longest {
                    return found;
                }
            }
            let Some(c) = chars.get(end) else { break };
            let mut next = vec![false; places.len()];
            let mut is_any = false;
            for (at, part) in parts.iter().enumerate() {
                if places.get(at) != Some(&true) {
                    continue;
                }
                let to = match part {
                    Part::Any => at,
                    Part::Literal(it) if it == c => at + 1,
                    Part::One => at + 1,
                    Part::Literal(_) => continue,
                };
                is_any = true;
                mark(&mut next, parts, to);
            }
            if !is_any {
                break;
            }
            places = next;
        }
        found
    }
}

/// Marks a place as reached, and those that are reached from it without a character.
fn mark(places: &mut [bool], parts: &[Part], mut at: usize) {
    loop {
        if let Some(place) = places.get_mut(at) {
            *place = true;
        }
        if parts.get(at) != Some(&Part::Any) {
            return;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn beginnings_and_ends_are_cut_short_or_long() {
        let prefix = |text: &str, longest| pattern(text).without_prefix("a/b/c.d.e", longest);
        let suffix = |text: &str, longest| pattern(text).without_suffix("a/b/c.d.e", longest);
        assert_eq!(prefix("*/", false), "b/c.d.e");
        assert_eq!(prefix("*/", true), "c.d.e");
        assert_eq!(suffix(".*", false), "a/b/c.d");
        assert_eq!(suffix(".*", true), "a/b/c");
        assert_eq!(prefix("x", true), "a/b/c.d.e");
        assert_eq!(prefix("?/?/", false), "c.d.e");
        assert_eq!(suffix("\\*", false), "a/b/c.d.e");
    }

    #[test]
    fn parts_are_replaced_once_or_everywhere() {
        let replace = |text: &str, value: &str, all| pattern(text).replace(value, "-", all);
        assert_eq!(replace("/", "a/b/c", false), "a-b/c");
        assert_eq!(replace("/", "a/b/c", true), "a-b-c");
        assert_eq!(replace("?b*", "abcabc", false), "-");
        assert_eq!(replace("*", "", true), "-");
        assert_eq!(replace("", "ab", false), "-ab");
        assert_eq!(replace("", "ab", true), "-a-b-");
        assert_eq!(replace("x", "ab", true), "ab");
    }

    #[test]
    fn an_escape_has_something_to_escape() {
        for bad in ["\\", "\\x", "\\\\\\"] {
            Pattern::parse(bad).unwrap_err();
        }
        assert_eq!(pattern("\\\\\\}").without_prefix("\\}a", false), "a");
    }

    #[test]
    fn a_pattern_made_to_take_long_does_not() {
        let pattern = pattern(&"*a".repeat(500));
        let value = "a".repeat(499);
        assert_eq!(pattern.without_prefix(&value, true), value);
        assert_eq!(pattern.replace(&value, "", true), value);
    }
}
