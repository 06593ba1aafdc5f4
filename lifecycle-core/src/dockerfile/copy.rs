//! `COPY` and `ADD`.

use super::flags::{Flags, Takes};
use super::here::document;
use super::instruction::words_of;
use super::{Problem, Statement};

/// What `COPY` and `ADD` say, before variables are replaced.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Copy {
    /// What is copied: paths in the context, with wildcards; with `ADD` URLs too.
    pub sources: Vec<String>,
    /// Files whose contents stand in the Dockerfile.
    pub inline: Vec<Inline>,
    /// Where to.
    pub target: String,
    /// `user`, `user:group`, by name or number.
    pub owner: Option<String>,
    /// Permissions.
    pub mode: Option<String>,
    /// Another stage or image to copy from.
    pub from: Option<String>,
    /// Patterns of what is left out.
    pub excludes: Vec<String>,
    /// Whether folders above the sources are copied too.
    pub keeps_parents: bool,
    /// Whether archives are unpacked, if that is said.
    pub unpacks: Option<bool>,
    /// What the content of a URL has to have.
    pub checksum: Option<String>,
}

/// A file whose content stands in the Dockerfile.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Inline {
    /// What it is called.
    pub name: String,
    /// What is in it.
    pub content: String,
    /// Whether variables in it are replaced.
    pub expands: bool,
}

/// Reads the arguments and flags of `command`, which is `COPY` or `ADD`.
pub(super) fn read(command: &str, statement: &Statement) -> Result<Copy, Problem> {
    let known: &[(&'static str, Takes)] = if command == "ADD" {
        &[
            ("checksum", Takes::Text),
            ("chmod", Takes::Text),
            ("chown", Takes::Text),
            ("exclude", Takes::List),
            ("keep-git-dir", Takes::Switch),
            ("link", Takes::Switch),
            ("unpack", Takes::Switch),
        ]
    } else {
        &[
            ("chmod", Takes::Text),
            ("chown", Takes::Text),
            ("exclude", Takes::List),
            ("from", Takes::Text),
            ("link", Takes::Switch),
            ("parents", Takes::Switch),
        ]
    };
    let words = words_of(&statement.arguments);
    let [words @ .., target] = words.as_slice() else {
        return Err(no_target(command));
    };
    if words.is_empty() {
        return Err(no_target(command));
    }
    let flags = Flags::read(&statement.flags, known)?;
    // A word that cannot be read is none.
    let announced = |word: &str| document(word).ok().flatten();
    if announced(target).is_some() {
        let text = format!("{command} cannot accept a heredoc as a destination");
        return Err(Problem(text));
    }
    let mut copy = Copy {
        target: target.clone(),
        owner: flags.text("chown"),
        mode: flags.text("chmod"),
        from: flags.text("from"),
        excludes: flags.list("exclude"),
        keeps_parents: flags.is_on("parents"),
        unpacks: flags.text("unpack").map(|it| it == "true"),
        checksum: flags.text("checksum"),
        ..Copy::default()
    };
    for word in words {
        let Some(announced) = announced(word) else {
            copy.sources.push(word.clone());
            continue;
        };
        let found = statement
            .documents
            .iter()
            .find(|it| it.name == announced.name);
        copy.inline.push(Inline {
            content: found.map(super::HereDocument::text).unwrap_or_default(),
            expands: announced.expands,
            name: announced.name,
        });
    }
    Ok(copy)
}

fn no_target(command: &str) -> Problem {
    Problem(format!(
        "{command} requires at least two arguments, but only one was provided. Destination could not be determined"
    ))
}
