//! Lists of patterns, as git reads `.gitignore`: <https://git-scm.com/docs/gitignore>.
//!
//! `gix-ignore` reads and matches them. The crate `ignore` would not do: to it `{a,b}` is a choice, to
//! git a name.

use gix_ignore::Search;
use gix_ignore::glob::pattern::Case;

/// The most patterns that a list may have.
pub(super) const MAX_PATTERNS: usize = 1000;

/// The most bytes that a pattern may have.
pub(super) const MAX_PATTERN: usize = 1024;

/// The most `**` that a pattern may have: each doubles the time that a match may take.
pub(super) const MAX_FOLDERS: usize = 6;

/// Which files of an app are taken.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the specification knows these")]
pub enum Files {
    /// All of them.
    #[default]
    All,
    /// Those that the patterns mean.
    Include(Patterns),
    /// All but those that the patterns mean.
    Exclude(Patterns),
}

/// A list of patterns. The last one that matches decides.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Patterns(Search);

impl Patterns {
    /// Reads one pattern from each line. Comments and empty lines mean nothing.
    pub fn new<L: AsRef<str>>(lines: impl IntoIterator<Item = L>) -> Self {
        let lines = lines.into_iter().map(|it| it.as_ref().to_owned());
        Self(Search::from_overrides(
            lines,
            gix_ignore::search::Ignore::default(),
        ))
    }

    /// Whether there is none that could match anything.
    pub fn is_empty(&self) -> bool {
        self.0.patterns.iter().all(|it| it.patterns.is_empty())
    }

    /// What the last pattern says that matches this path, of which all folders are looked at
    /// already: whether it is meant. None, if no pattern matches.
    pub(crate) fn says(&self, path: &[u8], is_folder: bool) -> Option<bool> {
        let last =
            self.0
                .pattern_matching_relative_path(path.into(), Some(is_folder), Case::Sensitive)?;
        Some(!last.pattern.is_negative())
    }

    /// Whether the patterns mean this path: itself, or a folder that it lies in. As git has it,
    /// nothing that lies in a folder that is meant can be taken out by a later pattern.
    pub fn mean(&self, path: &[u8], is_folder: bool) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let folders = ends.filter_map(|(end, _)| path.get(..end));
        folders
            .map(|folder| (folder, true))
            .chain([(path, is_folder)])
            .any(|(path, is_folder)| self.says(path, is_folder) == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What git says (2.39), of one list each.
    #[test]
    fn patterns_mean_what_git_has_them_mean() {
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            (&["*.jar"], &["a.jar", "x/y/b.jar", "c.jar/d"], &["a.jarx"]),
            (&["/a"], &["a", "a/b"], &["x/a"]),
            (&["a/b"], &["a/b"], &["x/a/b"]),
            (&["a/"], &["a/b", "x/a/b"], &["a"]),
            (&["a/*"], &["a/b", "a/b/c"], &["a"]),
            (&["a/**"], &["a/b", "a/b/c"], &["a"]),
            (&["**/b"], &["b", "a/b", "a/x/b"], &["ab", "a/xb"]),
            (&["a/**/b"], &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]),
            (&["a**b"], &["ab", "axb", "x/ayb"], &["a/b"]),
            (
                &["*", "!*.rs", "!*/"],
                &["a.c", "src/a.c"],
                &["a.rs", "src/a.rs"],
            ),
            (&["a/", "!a/b"], &["a/b"], &[]),
            (
                &["\\#a", "\\!b", "c\\ "],
                &["#a", "!b", "c "],
                &["a", "b", "c"],
            ),
            (&["# a", "", "!", "/", "x  "], &["x"], &["# a", "x  ", "a"]),
            (&["[a-c]"], &["a", "b", "c"], &["d", "-", "ab"]),
            (&["[!a-c]", "[^x]y"], &["d", "-", "ay"], &["a", "xy", "ab"]),
            (&["[]-]"], &["]", "-"], &["[", "a"]),
            (&["[[:digit:]x]"], &["1", "x"], &["a", ":"]),
            (
                &["[[:nope:]]", "[a", "b\\"],
                &[],
                &["n", "[a", "a", "b", "b\\"],
            ),
            (&["a[b/c]d/x"], &["abd/x"], &["a/d/x"]),
            (&["a?b/x"], &["acb/x"], &["a/b/x"]),
            (&["{a,b}"], &["{a,b}"], &["a", "b"]),
        ];
        for (lines, meant, others) in cases {
            let patterns = Patterns::new(*lines);
            for path in *meant {
                assert!(patterns.mean(path.as_bytes(), false), "{lines:?} {path}");
            }
            for path in *others {
                assert!(!patterns.mean(path.as_bytes(), false), "{lines:?} {path}");
            }
        }
        assert!(Patterns::new(["a/"]).mean(b"x/a", true));
    }
}
