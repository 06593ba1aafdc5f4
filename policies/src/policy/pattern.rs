//! Which images a policy is about.

use std::fmt;
use std::str::FromStr;

/// A pattern of repositories: `registry.example/team/*`.
///
/// `*` stands for any characters but `/`, `**` for any characters; all else stands for itself. It has
/// to match the whole name, registry and port included. Tags are no part of it: a tag may move, so what
/// an image has to prove must not hang on one.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ImagePattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Part {
    Character(char),
    /// Any characters but `/`.
    Name,
    /// Any characters.
    Path,
}

/// How long a pattern may be: comparing two takes as many steps as both have characters, multiplied.
const MAX_LENGTH: usize = 512;

impl ImagePattern {
    /// Matches every image.
    pub fn all() -> Self {
        Self {
            text: "**".to_owned(),
            parts: vec![Part::Path],
        }
    }

    /// The pattern, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is about the image that is called `name`.
    pub fn matches(&self, name: &str) -> bool {
        // A name that is longer than any repository's takes no time.
        name.len() <= MAX_LENGTH
            && covers(
                &self.parts,
                &name.chars().map(Part::Character).collect::<Vec<_>>(),
            )
    }

    /// Whether each image that `other` is about is one that this is about.
    pub fn covers(&self, other: &Self) -> bool {
        covers(&self.parts, &other.parts)
    }
}

/// Whether `wide` matches whatever `narrow` matches. What `narrow` leaves open, `wide` has to leave open
/// as well.
fn covers(wide: &[Part], narrow: &[Part]) -> bool {
    // For each end of what was read of `narrow`: whether `wide`, as far as it was read, matches it.
    let mut ends = vec![false; narrow.len() + 1];
    if let Some(first) = ends.first_mut() {
        *first = true;
    }
    for part in wide {
        let mut next = vec![false; ends.len()];
        let mut before = false;
        for (at, end) in next.iter_mut().enumerate() {
            let is_end = |at: usize| ends.get(at).copied().unwrap_or(false);
            let read = at.checked_sub(1).and_then(|it| narrow.get(it));
            *end = match part {
                Part::Character(_) => read == Some(part) && at.checked_sub(1).is_some_and(is_end),
                Part::Name => {
                    is_end(at)
                        || (before && !matches!(read, Some(Part::Character('/') | Part::Path)))
                }
                Part::Path => is_end(at) || before,
            };
            before = *end;
        }
        ends = next;
    }
    ends.last().copied().unwrap_or(false)
}

impl FromStr for ImagePattern {
    type Err = ImagePatternError;

    fn from_str(text: &str) -> Result<Self, ImagePatternError> {
        let malformed = |problem| ImagePatternError {
            pattern: text.to_owned(),
            problem,
        };
        if text.is_empty() {
            return Err(malformed("it is empty"));
        }
        if text.len() > MAX_LENGTH {
            return Err(malformed("it is too long"));
        }
        if text.contains('@') {
            return Err(malformed(
                "it names a digest, and patterns are about repositories",
            ));
        }
        // In the host it is the port.
        if text.split('/').skip(1).any(|it| it.contains(':')) {
            return Err(malformed(
                "it names a tag, and patterns are about repositories",
            ));
        }
        let is_allowed =
            |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "._-/:[]*".contains(it);
        if !text.chars().all(is_allowed) {
            return Err(malformed("it has characters that no repository has"));
        }
        let mut parts = Vec::new();
        for character in text.chars() {
            let last = parts.last().copied();
            match (character, last) {
                ('*', Some(Part::Path)) => return Err(malformed("it has `***`")),
                ('*', Some(Part::Name)) => {
                    parts.pop();
                    parts.push(Part::Path);
                }
                ('*', _) => parts.push(Part::Name),
                (other, _) => parts.push(Part::Character(other)),
            }
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text is no pattern of images.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("malformed pattern `{pattern}`: {problem}")]
#[non_exhaustive]
pub struct ImagePatternError {
    /// The text.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> ImagePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_matches_the_whole_name() {
        for (text, name, expected) in [
            ("r.example/team/*", "r.example/team/app", true),
            ("r.example/team/*", "r.example/team/", true),
            ("r.example/team/*", "r.example/team/app/web", false),
            ("r.example/team/**", "r.example/team/app/web", true),
            ("r.example/team/*", "evil.example/r.example/team/app", false),
            ("r.example/team", "r.example/team/app", false),
            ("r.example/*/web", "r.example/app/web", true),
            ("r.example/*-web", "r.example/app-web", true),
            ("r.example:5000/*", "r.example:5000/app", true),
            ("r.example:5000/*", "r.example/app", false),
            ("*.example/app", "r.example/app", true),
            ("*.example/app", "evil/x.example/app", false),
            ("**/app", "r.example/team/app", true),
            ("**", "anything/at/all", true),
        ] {
            assert_eq!(pattern(text).matches(name), expected, "{text} {name}");
        }
        assert!(!ImagePattern::all().matches(&"a".repeat(1 << 20)));
    }

    #[test]
    fn one_pattern_is_narrower_than_another_or_neither_is() {
        for (wide, narrow, expected) in [
            ("**", "r.example/*", true),
            ("r.example/*", "**", false),
            ("r.example/*", "r.example/*", true),
            ("r.example/**", "r.example/*", true),
            ("r.example/*", "r.example/**", false),
            ("r.example/*", "r.example/a*", true),
            ("r.example/a*", "r.example/*", false),
            ("r.example/*/b", "r.example/a/*", false),
            ("r.example/a/*", "r.example/*/b", false),
            ("r.example/**/b", "r.example/*/b", true),
            ("*/app", "*.example/app", true),
            ("r.example/*a*", "r.example/*ba*", true),
        ] {
            assert_eq!(
                pattern(wide).covers(&pattern(narrow)),
                expected,
                "{wide} {narrow}"
            );
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, problem) in [
            ("", "it is empty"),
            (
                "r.example/app:v1",
                "it names a tag, and patterns are about repositories",
            ),
            (
                "r.example/app@sha256:00",
                "it names a digest, and patterns are about repositories",
            ),
            ("r.example/App", "it has characters that no repository has"),
            ("r.example/***", "it has `***`"),
        ] {
            assert_eq!(text.parse::<ImagePattern>().unwrap_err().problem, problem);
        }
        assert!("a".repeat(513).parse::<ImagePattern>().is_err());
    }
}
