//! What BuildKit's parser was recorded to make of Dockerfiles and words, ours makes of them, too
//! (`tests/fixtures/dockerfile`).

use lifecycle_core::dockerfile::words::{Style, expand, split_words};
use lifecycle_core::dockerfile::{Arguments, Dockerfile, HereDocument, Statement, statements};
use serde_json::{Value, json};
use testkit::repository;

/// Cases in which we differ, and why: one that is the same after all has to leave the list.
const DIFFERENT: &[(&[&str], &str)] = &[
    (
        &[
            "RUN: json surrogates",
            "CMD: json surrogates",
            "ENTRYPOINT: json surrogates",
            "SHELL: json surrogates",
            "VOLUME: json surrogates",
            "COPY: json surrogates",
            "HEALTHCHECK CMD: json surrogates",
        ],
        "half a surrogate is no text, so the list is none",
    ),
    (
        &["only ARG"],
        "that there is no stage is said at once; there when one is to be built",
    ),
];

fn is_different(name: &str) -> bool {
    DIFFERENT.iter().any(|(names, _why)| names.contains(&name))
}

fn cases(file: &str) -> Vec<Value> {
    let folder = repository().join("tests/fixtures/dockerfile");
    let text = fs_err::read_to_string(folder.join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn dockerfiles_are_taken_apart_as_by_buildkit() {
    let mut wrong = Vec::new();
    for case in cases("parse.json") {
        let name = case["name"].as_str().unwrap();
        let text = case["text"].as_str().unwrap();
        let mut ours = json!({"name": name, "text": text});
        match statements(text) {
            Ok((escape, found)) => {
                let found: Vec<Value> = found.iter().map(|it| statement(it, true)).collect();
                ours["escape"] = json!(escape);
                ours["statements"] = json!(found);
                // That there is no stage is told by who applies it.
                let parsed = Dockerfile::parse(text);
                let has_meaning = parsed.is_ok_and(|it| !it.stages.is_empty());
                ours["meaningless"] = json!(!has_meaning);
            }
            Err(_) => ours["error"] = json!(true),
        }
        let mut theirs = case.clone();
        if case.get("error").is_some() {
            theirs["error"] = json!(true);
        } else {
            theirs["meaningless"] = json!(case.get("meaningless").is_some());
        }
        let is_known = is_different(name);
        if (ours != theirs) != is_known {
            let said = case.get("error").or_else(|| case.get("meaningless"));
            let ours_said = Dockerfile::parse(text).err().map(|it| it.to_string());
            wrong.push(format!(
                "{name}: {text:?}\n  theirs {theirs}\n  ours   {ours}\n  {said:?}, {ours_said:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), wrong.len());
}

/// All instructions.
const KNOWN: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// As it was recorded. Lines count for whole statements only.
fn statement(it: &Statement, is_whole: bool) -> Value {
    let mut value = json!({"name": it.name});
    let mut inner = Vec::new();
    let is_unknown = !KNOWN.contains(&it.name.to_ascii_uppercase().as_str());
    let (arguments, is_json) = texts(&it.arguments, is_unknown, &mut inner);
    value["arguments"] = json!(arguments);
    if is_json {
        value["json"] = json!(true);
    }
    if !it.flags.is_empty() {
        value["flags"] = json!(it.flags);
    }
    if !inner.is_empty() {
        value["inner"] = json!(inner);
    }
    if !it.documents.is_empty() {
        let documents: Vec<Value> = it.documents.iter().map(document).collect();
        value["heredocs"] = json!(documents);
    }
    if is_whole {
        value["line"] = json!(it.line);
        value["end"] = json!(it.end);
    }
    value
}

fn texts(arguments: &Arguments, is_unknown: bool, inner: &mut Vec<Value>) -> (Vec<String>, bool) {
    match arguments {
        Arguments::Check(kind, command) => {
            let (mut found, is_json) = texts(command, false, inner);
            found.insert(0, kind.clone());
            (found, is_json)
        }
        Arguments::Json(words) => (words.clone(), true),
        Arguments::Later(it) => {
            inner.push(statement(it, false));
            (Vec::new(), false)
        }
        Arguments::Pairs(pairs) => {
            let triples = pairs.iter().flat_map(|it| {
                let sign = if it.has_sign { "=" } else { "" };
                [it.name.clone(), it.value.clone(), sign.to_owned()]
            });
            (triples.collect(), false)
        }
        Arguments::Text(text) => (vec![text.clone()], false),
        Arguments::Words(words) => (words.clone(), false),
        // An unknown instruction is recorded with one argument, which is empty.
        _ if is_unknown => (vec![String::new()], false),
        _ => (Vec::new(), false),
    }
}

fn document(it: &HereDocument) -> Value {
    json!({
        "name": it.name,
        "content": it.content,
        "expands": it.expands,
        "strips_tabs": it.strips_tabs,
    })
}

#[test]
fn variables_are_replaced_as_by_buildkit() {
    let lookup = |name: &str| {
        let value = match name {
            "HOME" => "/root",
            "EMPTY" => "",
            "SPACES" => " a  b ",
            "FILE" => "a/b.tar.gz",
            "QUOTED" => "x\"y'z",
            "STARS" => "a*b?c",
            "ONE" => "1",
            "UNI" => "äöü",
            "_x9" => "under",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let mut wrong = Vec::new();
    for case in cases("words.json") {
        let text = case["text"].as_str().unwrap();
        let escape = case["escape"].as_str().unwrap().chars().next().unwrap();
        let style = Style::new(escape);
        let word = expand(text, &style, &lookup);
        let words = split_words(text, &style, &lookup);
        let is_same = if case.get("error").is_some() {
            word.is_err() && words.is_err()
        } else {
            let listed = case["words"].as_array().cloned().unwrap_or_default();
            word.as_deref().ok() == case["word"].as_str()
                && words.as_ref().ok().map(|it| json!(it)) == Some(json!(listed))
        };
        if !is_same {
            wrong.push(format!("{case}\n  ours {word:?} {words:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), wrong.len());
}
