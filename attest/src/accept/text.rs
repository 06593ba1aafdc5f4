//! Texts that have to match as a whole: exactly, or by an anchored pattern.

use std::cmp::Ordering;
use std::fmt;

use regex::{Regex, RegexBuilder};

/// How large a compiled pattern may be. Patterns are matched in linear time whatever they are.
const MAX_COMPILED: usize = 1 << 20;

/// A text, or a pattern that has to match all of one.
///
/// Patterns are anchored: `https://github\.com/org/.*` does not match
/// `https://evil.test/https://github.com/org/x`.
#[derive(Clone, Debug)]
pub struct TextPattern(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Exact(String),
    Pattern { text: String, regex: Regex },
}

impl TextPattern {
    /// Means `text` and nothing else. An empty text is refused: it would be one that was not set.
    pub fn exact(text: &str) -> Result<Self, TextPatternError> {
        if text.is_empty() {
            return Err(TextPatternError::Empty);
        }
        Ok(Self(Kind::Exact(text.to_owned())))
    }

    /// Means each text that the regular expression `pattern` matches from its beginning to its end.
    pub fn anchored(pattern: &str) -> Result<Self, TextPatternError> {
        if pattern.is_empty() {
            return Err(TextPatternError::Empty);
        }
        let malformed = |source| TextPatternError::Malformed {
            pattern: pattern.to_owned(),
            source: Box::new(source),
        };
        // By itself first: `a)|(b` is no pattern, though it would be one between our parentheses.
        regex(pattern).map_err(malformed)?;
        let regex = regex(&format!("\\A(?:{pattern})\\z")).map_err(malformed)?;
        Ok(Self(Kind::Pattern {
            text: pattern.to_owned(),
            regex,
        }))
    }

    /// Whether it means `text`.
    pub fn matches(&self, text: &str) -> bool {
        match &self.0 {
            Kind::Exact(wanted) => wanted == text,
            Kind::Pattern { regex, .. } => regex.is_match(text),
        }
    }

    /// Whether it means one text only.
    pub fn is_exact(&self) -> bool {
        matches!(self.0, Kind::Exact(_))
    }

    /// The text, or the pattern, as it was given.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kind::Exact(text) | Kind::Pattern { text, .. } => text,
        }
    }
}

fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(MAX_COMPILED).build()
}

impl fmt::Display for TextPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Exact(text) => write!(f, "`{text}`"),
            Kind::Pattern { text, .. } => write!(f, "/{text}/"),
        }
    }
}

impl PartialEq for TextPattern {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for TextPattern {}

impl PartialOrd for TextPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TextPattern {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.is_exact(), self.as_str()).cmp(&(other.is_exact(), other.as_str()))
    }
}

/// Why a text is no pattern.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextPatternError {
    /// Nothing is not anything.
    #[error("empty text where an identity or an issuer has to be named")]
    Empty,
    /// No regular expression, or one that is too large.
    #[error("malformed pattern `{pattern}`")]
    Malformed {
        /// Which.
        pattern: String,
        /// What is wrong with it.
        source: Box<regex::Error>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_or_nothing() {
        let pattern = TextPattern::anchored(r"https://github\.com/org/.*|b").unwrap();
        assert!(pattern.matches("https://github.com/org/x"));
        assert!(pattern.matches("b"));
        for other in [
            "https://evil.test/https://github.com/org/x",
            "https://github.com/org/x\nhttps://evil.test",
            "ab",
            "bb",
            "b\n",
            "",
        ] {
            assert!(!pattern.matches(other), "{other}");
        }
        assert!(TextPattern::anchored("a)|(b").is_err());
        assert!(
            TextPattern::anchored("(?x)a#").is_err(),
            "a comment over the anchor"
        );
        assert!(TextPattern::anchored("").is_err() && TextPattern::exact("").is_err());
        // Neither a comment nor a flag takes the anchors away.
        for pattern in ["(?x) a # b\n", "(?m)a", "(?s)a", "(?m)^a$"] {
            let pattern = TextPattern::anchored(pattern).unwrap();
            assert!(pattern.matches("a"), "{pattern}");
            assert!(
                !pattern.matches("ab") && !pattern.matches("a\nb"),
                "{pattern}"
            );
        }
    }

    #[test]
    fn an_exact_text_is_no_pattern() {
        let exact = TextPattern::exact("a.c").unwrap();
        assert!(exact.matches("a.c") && !exact.matches("abc"));
        assert_ne!(exact, TextPattern::anchored("a.c").unwrap());
    }

    #[test]
    fn a_pattern_that_takes_long_or_much_is_refused_or_takes_neither() {
        assert!(TextPattern::anchored(r"(\w{1000}){1000}").is_err());
        let nested = TextPattern::anchored("(a*)*(a*)*b").unwrap();
        assert!(!nested.matches(&"a".repeat(10_000)));
    }
}
