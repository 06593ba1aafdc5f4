//! Commits and tags of git: whatever is read is a part of what was given.

use health::fuzzing::{Ident, RawCommit, RawTag};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "git_objects",
    run,
    seeds,
    words: &[
        "tree ",
        "parent ",
        "author ",
        "committer ",
        "gpgsig ",
        "gpgsig-sha256 ",
        "object ",
        "tagger ",
        "\n",
        "\n\n",
        " <",
        "> ",
        ">",
        " +0000",
        "-----BEGIN SSH SIGNATURE-----",
        "-----BEGIN PGP SIGNATURE-----",
        "9223372036854775808",
        "-1",
    ],
    short: 20_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let commit = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nparent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A U Thor <a@x.example> 1700000000 +0100\ncommitter C <c@x.example> 1700000001 -0030\ngpgsig -----BEGIN SSH SIGNATURE-----\n U1NIU0lH\n -----END SSH SIGNATURE-----\nencoding ISO-8859-1\n\nmessage\n";
    let tag = "object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag v1\ntagger T <t@x.example> 1700000000 +0000\n\nv1\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n";
    [commit, tag].map(|it| it.as_bytes().to_vec()).into()
}

fn run(data: &[u8]) {
    let part = |it: &[u8]| it.is_empty() || data.windows(it.len()).any(|part| part == it);
    let ident = |it: &Ident<'_>| {
        assert!(part(it.name) && part(it.mail));
        assert!(!it.name.contains(&b'\n') && !it.mail.contains(&b'\n'));
        assert!(!it.mail.contains(&b'>'));
    };
    if let Some(commit) = RawCommit::parse(data) {
        ident(&commit.author);
        ident(&commit.committer);
        assert!(part(commit.tree));
        assert!(commit.parents.len() < data.len());
    }
    if let Some(tag) = RawTag::parse(data) {
        assert!(part(tag.object));
    }
}
