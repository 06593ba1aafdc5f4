//! `.dockerignore`: what of a context counts, and the patterns of `--exclude`.
//!
//! A pattern is a path in which `*`, `?`, `[…]` and `\` mean what they mean in Go's `filepath.Match`,
//! and `**` any number of folders. What is below a folder that it matches is matched too; `!` takes
//! back what lines before said.
//!
//! <https://docs.docker.com/build/concepts/context/#dockerignore-files>

use go::glob;
use thiserror::Error;

/// The most bytes of a file of patterns.
pub const MAX_BYTES: usize = 1 << 20;

/// The most patterns that are held against each path.
const MAX_PATTERNS: usize = 10_000;

/// Patterns, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Rule {
    takes_back: bool,
    /// Between slashes.
    parts: Vec<String>,
}

/// A file of patterns that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum IgnoreError {
    /// A malformed pattern.
    #[error("illegal exclusion pattern: {pattern:?}")]
    Pattern {
        /// Which.
        pattern: String,
    },
    /// It is too large.
    #[error("there are more than {MAX_PATTERNS} exclusion patterns, or {MAX_BYTES} bytes of them")]
    TooLarge,
}

impl Ignore {
    /// Reads a `.dockerignore`.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        if text.len() > MAX_BYTES {
            return Err(IgnoreError::TooLarge);
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self::new(lines.map(str::trim).filter(|line| !line.is_empty()))
    }

    /// Takes patterns one by one.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, IgnoreError> {
        let mut rules = Vec::new();
        for text in patterns {
            let illegal = || IgnoreError::Pattern {
                pattern: text.to_owned(),
            };
            let (takes_back, pattern) = match text.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, text),
            };
            if pattern.is_empty() {
                return Err(illegal());
            }
            let clean = glob::clean(pattern);
            let clean = clean.trim_start_matches('/');
            let parts: Vec<String> = clean.split('/').map(str::to_owned).collect();
            for part in &parts {
                glob::matches(part.as_bytes(), b"").map_err(|_bad| illegal())?;
            }
            rules.push(Rule { takes_back, parts });
            if rules.len() > MAX_PATTERNS {
                return Err(IgnoreError::TooLarge);
            }
        }
        Ok(Self { rules })
    }

    /// Whether there is nothing to leave out.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether something below a folder that is left out may count all the same.
    pub fn takes_back(&self) -> bool {
        self.rules.iter().any(|it| it.takes_back)
    }

    /// Whether `path`, which begins at the context and has no `.` or `..` in it, does not count.
    pub fn ignores(&self, path: &[u8]) -> bool {
        let names: Vec<&[u8]> = path
            .split(|byte| *byte == b'/')
            .filter(|it| !it.is_empty())
            .collect();
        let mut ignored = false;
        for rule in &self.rules {
            // A rule that changes nothing need not be looked at.
            if rule.takes_back == ignored && rule.matches_some(&names) {
                ignored = !rule.takes_back;
            }
        }
        ignored
    }
}

impl Rule {
    /// Whether it matches the path of these names, or a folder above it.
    fn matches_some(&self, names: &[&[u8]]) -> bool {
        // `reached[n]`: the parts so far match the first n names.
        let mut reached = vec![false; names.len() + 1];
        if let Some(first) = reached.first_mut() {
            *first = true;
        }
        for part in &self.parts {
            let mut next = vec![false; names.len() + 1];
            if part == "**" {
                let start = reached.iter().position(|it| *it);
                for place in next.iter_mut().skip(start.unwrap_or(names.len() + 1)) {
                    *place = true;
                }
            } else {
                for (index, name) in names.iter().enumerate() {
                    let is_match = reached.get(index) == Some(&true)
                        && glob::matches(part.as_bytes(), name).unwrap_or(false);
                    if is_match && let Some(place) = next.get_mut(index + 1) {
                        *place = true;
                    }
                }
            }
            reached = next;
        }
        // The first is the context itself, which `**` alone does not mean.
        reached.iter().skip(1).any(|it| *it) || self.parts == ["."]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored<'a>(text: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let ignore = Ignore::parse(text).unwrap();
        let paths = paths.iter().copied();
        paths.filter(|it| ignore.ignores(it.as_bytes())).collect()
    }

    #[test]
    fn the_last_line_that_speaks_of_a_path_decides() {
        let paths = [
            "a", "a/b", "a/b/c.md", "c.md", "keep.md", "x/tmp", "x/y/tmp",
        ];
        assert_eq!(ignored("# no\n\n*.md\n!keep.md\n", &paths), ["c.md"]);
        assert_eq!(ignored("/a/\n!a/b/c.md", &paths), ["a", "a/b"]);
        assert_eq!(ignored("**/tmp", &paths), ["x/tmp", "x/y/tmp"]);
        assert_eq!(ignored("x/**", &paths), ["x/tmp", "x/y/tmp"]);
        assert_eq!(ignored("*/*/*", &paths), ["a/b/c.md", "x/y/tmp"]);
        assert_eq!(ignored("./x/../[ac]", &paths), ["a", "a/b", "a/b/c.md"]);
        assert_eq!(ignored("**", &paths), paths);
        assert_eq!(ignored("!a", &paths), Vec::<&str>::new());
    }

    #[test]
    fn a_pattern_that_is_none_is_an_error() {
        for bad in ["!", "[", "a/[b"] {
            Ignore::parse(bad).unwrap_err();
        }
        let many = "a\n".repeat(MAX_PATTERNS + 1);
        assert_eq!(Ignore::parse(&many).unwrap_err(), IgnoreError::TooLarge);
    }

    #[test]
    fn many_stars_do_not_take_long() {
        let ignore = Ignore::parse(&format!("{}x", "**/a/".repeat(500))).unwrap();
        assert!(!ignore.ignores("a/".repeat(1000).as_bytes()));
    }
}
