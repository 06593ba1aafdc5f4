//! `include` and `exclude` of `project.toml` mean what git has the same patterns mean in its own
//! lists.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;

use platform::project::Patterns;
use testkit::{GitRepository, Workspace};

/// What patterns are made of, and what is special in them.
const PIECES: [&str; 30] = [
    "a",
    "b",
    "c",
    ".c",
    "A",
    "1",
    "-",
    "]",
    "/",
    "/",
    "/",
    "*",
    "*",
    "**/",
    "/**",
    "/**/",
    "?",
    "!",
    "#",
    " ",
    "\\ ",
    "\\*",
    "\\a",
    "[ab]",
    "[!a]",
    "[^b-c1]",
    "[[:alpha:]]",
    "[]-]",
    "[",
    "{a,b}",
];

/// Names of files and folders, with all that is special in patterns.
const NAMES: [&str; 14] = [
    "a", "b", "c", "ab", "a.c", "b.c", "A", "1", "-", "a]", "*", "a b", "{a,b}", "#a",
];

/// The same numbers each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn path(&mut self) -> String {
        let names: Vec<_> = (0..=self.below(4)).map(|_| self.of(&NAMES)).collect();
        names.join("/")
    }

    fn pattern(&mut self) -> String {
        loop {
            let pieces: Vec<_> = (0..=self.below(5)).map(|_| self.of(&PIECES)).collect();
            let pattern = pieces.concat();
            // Before 2.53, git takes `**` for folders behind any text without a wildcard, other
            // than its documentation says.
            let stray = pattern.match_indices("**").any(|(at, _)| {
                !matches!(pattern.as_bytes()[..at].last(), None | Some(b'/' | b'!'))
            });
            if !stray {
                return pattern;
            }
        }
    }
}

#[test]
fn patterns_mean_what_git_says() {
    let workspace = Workspace::new();
    let Some(repository) = GitRepository::new(&workspace, "app") else {
        return;
    };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut paths = BTreeSet::new();
    for _ in 0..60 {
        let path = random.path();
        let file = repository.folder().join(&path);
        // Where there is a file or folder already, another round may have more luck.
        if fs_err::create_dir_all(file.parent().unwrap()).is_ok()
            && !file.exists()
            && fs_err::write(&file, "").is_ok()
        {
            let folders = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
            let folders = folders.map(ToOwned::to_owned);
            paths.extend(folders.chain([path.clone()]));
        }
    }
    assert!(paths.len() > 40, "{paths:?}");
    let question: Vec<&str> = paths.iter().map(String::as_str).collect();
    let question = format!("{}\0", question.join("\0"));
    let mut meant = 0;
    for _ in 0..400 {
        let lines: Vec<_> = (0..=random.below(4)).map(|_| random.pattern()).collect();
        let list = repository.folder().join(".git/info/exclude");
        fs_err::write(list, format!("{}\n", lines.join("\n"))).unwrap();
        let expected = ignored(&repository, &question);
        let patterns = Patterns::new(&lines);
        for path in &paths {
            let is_folder = repository.folder().join(path).is_dir();
            assert_eq!(
                patterns.mean(path.as_bytes(), is_folder),
                expected.contains(path),
                "`{path}` by {lines:?}"
            );
        }
        meant += expected.len();
    }
    assert!(
        meant > 1000,
        "patterns that mean nothing test nothing: {meant}"
    );
}

/// Which of the paths git ignores.
fn ignored(repository: &GitRepository<'_>, question: &str) -> BTreeSet<String> {
    let mut child = repository
        .command(&["check-ignore", "--no-index", "-z", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(question.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    // 1: none of them.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}
