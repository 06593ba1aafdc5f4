//! Commits and tags as git stores them, as far as health needs. Read as git reads them: what old or
//! odd programs wrote is taken as far as it goes.
//!
//! <https://git-scm.com/docs/gitformat-signature>, and `split_ident_line` of git's `ident.c`

use crate::signature::SignatureKind;

/// What a commit says.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "plain data of one parser")]
pub struct RawCommit<'a> {
    /// The folder's object, in hex.
    pub tree: &'a [u8],
    /// The commits before it, in hex.
    pub parents: Vec<&'a [u8]>,
    /// Who wrote it.
    pub author: Ident<'a>,
    /// Who put it into the history.
    pub committer: Ident<'a>,
    /// The kind of its signature.
    pub signature: Option<SignatureKind>,
}

/// What an annotated tag says.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "plain data of one parser")]
pub struct RawTag<'a> {
    /// The object that it names, in hex.
    pub object: &'a [u8],
    /// When it was made, in seconds since 1970; old ones do not say.
    pub time: Option<i64>,
    /// The kind of its signature.
    pub signature: Option<SignatureKind>,
}

/// Who, and when.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "plain data of one parser")]
pub struct Ident<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The mail address.
    pub mail: &'a [u8],
    /// Seconds since 1970; 0 if it is not readable.
    pub time: i64,
}

impl<'a> RawCommit<'a> {
    /// Reads a commit. `None`: it has no tree, or no author or committer.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut tree = None;
        let mut parents = Vec::new();
        let mut author = None;
        let mut committer = None;
        let mut signature = None;
        for (name, value) in Headers(bytes) {
            match name {
                b"tree" if tree.is_none() => tree = Some(value),
                b"parent" => parents.push(value),
                b"author" if author.is_none() => author = Some(Ident::parse(value)),
                b"committer" if committer.is_none() => committer = Some(Ident::parse(value)),
                // The second is for repositories by SHA-256.
                b"gpgsig" | b"gpgsig-sha256" if signature.is_none() => {
                    signature = Some(SignatureKind::of(value));
                }
                _ => {}
            }
        }
        Some(Self {
            tree: tree?,
            parents,
            author: author?,
            committer: committer?,
            signature,
        })
    }
}

impl<'a> RawTag<'a> {
    /// Reads an annotated tag. `None`: it names no object.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut object = None;
        let mut time = None;
        let mut headers = Headers(bytes);
        for (name, value) in headers.by_ref() {
            match name {
                b"object" if object.is_none() => object = Some(value),
                b"tagger" if time.is_none() => time = Some(Ident::parse(value).time),
                _ => {}
            }
        }
        let signature = headers
            .0
            .split(|it| *it == b'\n')
            .find_map(SignatureKind::armoured);
        Some(Self {
            object: object?,
            time,
            signature,
        })
    }
}

impl<'a> Ident<'a> {
    /// Reads `Name <mail> seconds zone`: the mail address is between the first `<` and the first `>`
    /// after it, the time after the last `>`.
    pub fn parse(line: &'a [u8]) -> Self {
        let Some(open) = line.iter().position(|it| *it == b'<') else {
            return Self {
                name: line.trim_ascii(),
                ..Self::default()
            };
        };
        let (name, rest) = line.split_at(open);
        let rest = rest.get(1..).unwrap_or_default();
        let close = rest.iter().position(|it| *it == b'>');
        let mail = close.and_then(|it| rest.get(..it)).unwrap_or(rest);
        let after = rest.rsplit(|it| *it == b'>').next().unwrap_or_default();
        let seconds = after
            .split(u8::is_ascii_whitespace)
            .find(|it| !it.is_empty())
            .filter(|_| close.is_some())
            .and_then(|it| std::str::from_utf8(it).ok())
            .and_then(|it| it.parse().ok())
            .unwrap_or(0);
        Self {
            name: name.trim_ascii(),
            mail: mail.trim_ascii(),
            time: seconds,
        }
    }
}

/// The headers of an object: names, and values with the lines that go on with them. What is left when
/// they end is the message.
struct Headers<'a>(&'a [u8]);

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let end = self.0.iter().position(|it| *it == b'\n');
            let (line, rest) = match end {
                Some(end) => (
                    self.0.get(..end)?,
                    self.0.get(end + 1..).unwrap_or_default(),
                ),
                None => (self.0, &[][..]),
            };
            if line.is_empty() {
                self.0 = rest;
                return None;
            }
            self.0 = rest;
            // A line that goes on with the header before begins with a space.
            if line.starts_with(b" ") {
                continue;
            }
            let at = line.iter().position(|it| *it == b' ')?;
            let (name, value) = line.split_at(at);
            return Some((name, value.get(1..).unwrap_or_default()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_as_git_reads_it() {
        let text = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nparent aa\nparent bb\nauthor A U Thor <a@x.example> 1700000000 +0100\ncommitter C <c@x.example> 1700000001 +0000\ngpgsig -----BEGIN SSH SIGNATURE-----\n author Forged <f@x.example> 1 +0000\n -----END SSH SIGNATURE-----\nencoding x\n\nauthor In The Message <m@x.example> 2 +0000\n";
        let commit = RawCommit::parse(text).unwrap();
        assert_eq!(commit.parents, [b"aa", b"bb"]);
        assert_eq!(commit.author.name, b"A U Thor");
        assert_eq!(commit.author.mail, b"a@x.example");
        assert_eq!(commit.committer.time, 1_700_000_001);
        assert_eq!(commit.signature, Some(SignatureKind::Ssh));
        assert_eq!(RawCommit::parse(b"tree a\n\nauthor A <a> 1 +0000\n"), None);
    }

    #[test]
    fn odd_idents_are_read_as_far_as_they_go() {
        let read = |text: &'static str| {
            let Ident { name, mail, time } = Ident::parse(text.as_bytes());
            let text = |it| std::str::from_utf8(it).unwrap();
            (text(name), text(mail), time)
        };
        assert_eq!(read("A <a@b> 5 +0000"), ("A", "a@b", 5));
        assert_eq!(read("A <a@b>> 5 +0000"), ("A", "a@b", 5));
        assert_eq!(read(" <> 7"), ("", "", 7));
        assert_eq!(read("nobody"), ("nobody", "", 0));
        assert_eq!(read("A <a@b 5 +0000"), ("A", "a@b 5 +0000", 0));
        assert_eq!(read("A <a@b> 99999999999999999999 +0000"), ("A", "a@b", 0));
    }

    #[test]
    fn signatures_of_tags_are_found_in_their_messages() {
        let tag = |message: &str| {
            let text =
                format!("object aa\ntype commit\ntag v1\ntagger T <t@x> 9 +0000\n\n{message}");
            RawTag::parse(text.as_bytes()).map(|it| (it.time, it.signature))
        };
        let pgp = "v1\n-----BEGIN PGP SIGNATURE-----\nxx\n-----END PGP SIGNATURE-----\n";
        assert_eq!(tag(pgp), Some((Some(9), Some(SignatureKind::OpenPgp))));
        let x509 = "v1\n-----BEGIN SIGNED MESSAGE-----\n";
        assert_eq!(tag(x509), Some((Some(9), Some(SignatureKind::X509))));
        let inside = "v1 -----BEGIN SSH SIGNATURE-----\n";
        assert_eq!(tag(inside), Some((Some(9), None)));
        assert_eq!(RawTag::parse(b"type commit\n\nx"), None);
    }
}
