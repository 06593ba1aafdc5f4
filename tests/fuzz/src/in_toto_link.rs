//! A link of in-toto: only what its functionary signed is ever accepted.

use crate::Target;
use crate::in_toto::{WORDS, With, fixtures, is, is_accepted, of_kind, said};

pub(crate) const TARGET: Target = Target {
    name: "in_toto_link",
    run,
    seeds: || of_kind("link"),
    words: WORDS,
    short: 3_000,
};

fn run(data: &[u8]) {
    let layout = fixtures().get("root.layout").expect("is there");
    for (name, good) in fixtures() {
        let with = With { name, bytes: data };
        if is(name, "link") && is_accepted(layout, &with) {
            assert_eq!(said(data), said(good), "nobody signed that");
        }
    }
}
