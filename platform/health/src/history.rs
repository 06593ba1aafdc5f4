//! What a repository holds, as far as health is measured by it.

use std::collections::BTreeMap;

use crate::signature::SignatureKind;

/// What a repository holds, read and checked, as far as health is measured by it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// The commit that it is the history of, in hex.
    pub commit: String,
    /// When that commit was made, in seconds since 1970.
    pub time: i64,
    /// Where the repository came from, without credentials.
    pub uri: Option<String>,
    /// Every commit before it, and itself, in no order.
    pub contributions: Vec<Contribution>,
    /// Who wrote them, as `.mailmap` has it: one for each name and address.
    pub people: Vec<Person>,
    /// The tags that name commits, by name.
    pub tags: Vec<Tag>,
    /// Of the kinds of [`FILES`](crate::FILES), the paths of those that the commit has.
    pub files: BTreeMap<&'static str, String>,
}

/// One commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "plain data")]
pub struct Contribution {
    /// Who wrote it: which of [`History::people`].
    pub author: usize,
    /// When it was put into the history, in seconds since 1970.
    pub time: i64,
    /// Whether it joins lines of history.
    pub is_merge: bool,
    /// The kind of its signature.
    pub signature: Option<SignatureKind>,
}

/// An author's name and address.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "plain data")]
pub struct Person {
    /// The name.
    pub name: String,
    /// The mail address.
    pub mail: String,
}

impl Person {
    /// What makes two of them one: the address, in lower case; without one, the name.
    pub(crate) fn key(&self) -> String {
        if self.mail.is_empty() {
            self.name.clone()
        } else {
            self.mail.to_ascii_lowercase()
        }
    }

    /// Whether it is a program, by the mark that forges give the names of theirs.
    pub(crate) fn is_bot(&self) -> bool {
        let local = self.mail.rsplit_once('@').map_or("", |(local, _)| local);
        self.name.ends_with("[bot]") || local.ends_with("[bot]")
    }
}

/// A tag that names a commit.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "plain data")]
pub struct Tag {
    /// The name.
    pub name: String,
    /// The commit, in hex.
    pub commit: String,
    /// When it was made; of a tag that does not say, when its commit was.
    pub time: i64,
    /// The kind of its signature.
    pub signature: Option<SignatureKind>,
    /// Whether it is an object of its own, which can be signed.
    pub is_annotated: bool,
}
