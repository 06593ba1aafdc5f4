//! Patterns of artifact rules: Python's `fnmatch`, because the reference implementation has it.
//!
//! `*` is any text, slashes too; `?` one character; `[a-z]` and `[!a-z]` one of, or none of, these.

/// How much more may be compared: patterns and names are a functionary's, time is ours.
#[derive(Debug)]
pub(crate) struct Budget(u64);

/// There was more to compare than is allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Exhausted;

impl Budget {
    pub(crate) fn new(comparisons: u64) -> Self {
        Self(comparisons)
    }

    fn spend(&mut self) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(1).ok_or(Exhausted)?;
        Ok(())
    }
}

/// A parsed pattern.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<Part>);

#[derive(Debug)]
enum Part {
    Any,
    One,
    Literal(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        let mut parts = Vec::new();
        let mut rest = text.as_slice();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            parts.push(match first {
                '*' => Part::Any,
                '?' => Part::One,
                '[' => match class(after) {
                    Some((class, after)) => {
                        rest = after;
                        class
                    }
                    None => Part::Literal('['),
                },
                other => Part::Literal(*other),
            });
        }
        Self(parts)
    }

    /// Whether it matches the whole of `name`. Goes back to the last `*` only, so that the work is
    /// at most the product of the two lengths.
    pub(crate) fn matches(&self, name: &str, budget: &mut Budget) -> Result<bool, Exhausted> {
        let mut parts = self.0.as_slice();
        let mut rest = name.chars();
        let mut retry: Option<(&[Part], std::str::Chars<'_>)> = None;
        loop {
            budget.spend()?;
            if let Some((Part::Any, after)) = parts.split_first() {
                parts = after;
                retry = Some((parts, rest.clone()));
                continue;
            }
            let mut ahead = rest.clone();
            match (parts.split_first(), ahead.next()) {
                (None, None) => return Ok(true),
                (Some((part, after)), Some(character)) if part.matches(character) => {
                    parts = after;
                    rest = ahead;
                }
                _ => {
                    let Some((after_any, from)) = &mut retry else {
                        return Ok(false);
                    };
                    if from.next().is_none() {
                        return Ok(false);
                    }
                    parts = after_any;
                    rest = from.clone();
                }
            }
        }
    }
}

impl Part {
    fn matches(&self, character: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Literal(literal) => *literal == character,
            Self::Class { negated, ranges } => {
                *negated
                    != ranges
                        .iter()
                        .any(|(low, high)| (*low..=*high).contains(&character))
            }
        }
    }
}

/// What follows `[` up to its `]`, which may be the first of the class; none if it is not closed.
fn class(text: &[char]) -> Option<(Part, &[char])> {
    let negated = text.first() == Some(&'!');
    let inside = text.get(usize::from(negated)..)?;
    let close = 1 + inside.get(1..)?.iter().position(|it| *it == ']')?;
    let (mut content, after) = (inside.get(..close)?, inside.get(close + 1..)?);
    let mut ranges = Vec::new();
    while let Some((low, rest)) = content.split_first() {
        content = match rest {
            // One that runs backwards has nothing in it.
            ['-', high, rest @ ..] => {
                ranges.push((*low, *high));
                rest
            }
            rest => {
                ranges.push((*low, *low));
                rest
            }
        };
    }
    Some((Part::Class { negated, ranges }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        let mut budget = Budget::new(1 << 20);
        Pattern::parse(pattern).matches(name, &mut budget).unwrap()
    }

    #[test]
    fn patterns_are_those_of_fnmatch() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "a/b/c"),
            ("src/*.rs", "src/deep/main.rs"),
            ("a?c", "aéc"),
            ("*a*b*", "xxaxxbxx"),
            ("[abc]x", "bx"),
            ("[!abc]x", "dx"),
            ("[a-cx-z]", "y"),
            ("[]]", "]"),
            ("[!]]", "a"),
            ("[a-]", "-"),
            ("[-a]", "-"),
            ("[a-b-c]", "-"),
            ("[a-b-c]", "c"),
            ("[^a]", "^"),
            ("[", "["),
            ("[a", "[a"),
            ("[!", "[!"),
            ("[]", "[]"),
            ("[!z-a]", "q"),
            ("a\\*", "a\\b"),
            (".*", ".git"),
            ("", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("a*", "ba"),
            ("*.rs", "main.rsx"),
            ("[abc]", "d"),
            ("[!abc]", "a"),
            ("[!a]", ""),
            ("[z-a]", "m"),
            ("[^a]", "b"),
            ("A", "a"),
            ("*a*b", "ba"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn work_is_bounded() {
        let pattern = Pattern::parse(&"*a".repeat(200));
        let mut budget = Budget::new(100_000);
        assert_eq!(pattern.matches(&"a".repeat(150), &mut budget), Ok(false));
        let name = format!("{}b", "a".repeat(1 << 20));
        assert_eq!(pattern.matches(&name, &mut budget), Err(Exhausted));
    }
}
