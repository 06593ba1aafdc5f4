//! Dockerfiles, the words in them, and `.dockerignore`: what is read stands in the text, what is
//! made of it keeps to its limits.

use std::collections::BTreeMap;

use lifecycle_core::dockerfile::ignore::Ignore;
use lifecycle_core::dockerfile::words::{MAX_BYTES, Style, expand, split_words};
use lifecycle_core::dockerfile::{Dockerfile, statements};

use crate::{Target, folder};

pub(crate) const TARGET: Target = Target {
    name: "dockerfile",
    run,
    seeds,
    words: &[
        "ADD ",
        "ARG ",
        "CMD ",
        "COPY ",
        "ENV ",
        "FROM ",
        "HEALTHCHECK ",
        "LABEL ",
        "ONBUILD ",
        "RUN ",
        "SHELL ",
        "USER ",
        "VOLUME ",
        "WORKDIR ",
        "<<E\n",
        "<<-'E'\n",
        "\nE\n",
        "\\\n",
        "# escape=`\n",
        "# syntax=",
        "--chown=",
        "--mount=",
        "[\"a\", \"b\"]",
        "${a:-",
        "${a/",
        "${a##*",
        "\"",
        "'",
        "}",
        "!",
        "**/",
    ],
    short: 20_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let file = folder().join("../fixtures/dockerfile/parse.json");
    let text = fs_err::read(file).expect("is there");
    let cases: Vec<BTreeMap<String, serde_json::Value>> =
        serde_json::from_slice(&text).expect("is JSON");
    let texts = cases.iter().filter_map(|it| it.get("text")?.as_str());
    texts.step_by(7).map(|it| it.as_bytes().to_vec()).collect()
}

fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = text.lines().count();
    if let Ok((_escape, found)) = statements(&text) {
        let mut last = 0;
        for it in found {
            assert!(last < it.line && it.line <= it.end && it.end <= lines);
            last = it.end;
        }
    }
    if let Ok(file) = Dockerfile::parse(&text) {
        // `ARG` alone is a file, too.
        assert!(!file.stages.is_empty() || !file.args.is_empty());
        for step in file.stages.iter().flat_map(|it| &it.steps) {
            words(&step.text, file.escape);
        }
    }
    if let Ok(ignore) = Ignore::parse(&text) {
        let _is_ignored = ignore.ignores(b"a/b.c/d");
    }
    words(&text, '\\');
}

/// The same variables are replaced in a text whether it is cut into words or not.
fn words(text: &str, escape: char) {
    let lookup = |name: &str| match name {
        "a" => Some("b c/d".to_owned()),
        "b" => Some(String::new()),
        _ => None,
    };
    for style in [Style::new(escape), Style::document(escape)] {
        let whole = expand(text, &style, &lookup);
        let parts = split_words(text, &style, &lookup);
        assert_eq!(whole.as_ref().err(), parts.as_ref().err());
        if let (Ok(whole), Ok(parts)) = (whole, parts) {
            assert!(whole.len() <= 65 * MAX_BYTES);
            let length: usize = parts.iter().map(String::len).sum();
            assert!(length <= whole.len(), "{whole:?} {parts:?}");
        }
    }
}
