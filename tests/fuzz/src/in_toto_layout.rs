//! A layout of in-toto: only what its owner signed is ever accepted.

use crate::Target;
use crate::in_toto::{WORDS, With, is_accepted, of_kind, said};

pub(crate) const TARGET: Target = Target {
    name: "in_toto_layout",
    run,
    seeds: || of_kind("layout"),
    words: WORDS,
    short: 3_000,
};

fn run(data: &[u8]) {
    let nothing_else = With {
        name: "",
        bytes: b"",
    };
    if is_accepted(data, &nothing_else) {
        let said_now = said(data);
        assert!(
            of_kind("layout").iter().any(|it| said(it) == said_now),
            "nobody signed that"
        );
    }
}
