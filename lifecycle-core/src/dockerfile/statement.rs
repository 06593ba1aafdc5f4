//! One statement: its name, its flags, and its arguments in the form that its name asks for.

use go::words::quoted;

use super::lines::Joined;
use super::{HereDocument, Problem};

/// A statement as it stands, whatever it means.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Statement {
    /// Its name, as it is written.
    pub name: String,
    /// Words that begin with `--`, before all others.
    pub flags: Vec<String>,
    /// All else.
    pub arguments: Arguments,
    /// The here-documents that follow it.
    pub documents: Vec<HereDocument>,
    /// The line it begins on, counted from 1.
    pub line: usize,
    /// The line it ends on, with its here-documents.
    pub end: usize,
    /// As it was written, in one line.
    pub text: String,
}

/// Arguments, in their form.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Arguments {
    /// A kind of health check, and the arguments of its command.
    Check(String, Box<Self>),
    /// A list in JSON.
    Json(Vec<String>),
    /// An instruction for builds on top.
    Later(Box<Statement>),
    /// None.
    None,
    /// Names with values.
    Pairs(Vec<Pair>),
    /// All as one text.
    Text(String),
    /// Words, with their quotes.
    Words(Vec<String>),
}

/// A name and its value, with their quotes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Pair {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Whether `=` stood between them, and not a blank.
    pub has_sign: bool,
}

/// How deep `ONBUILD` may be nested; what it may be nested in is for `instruction` to say.
const DEPTH: usize = 8;

/// Takes a statement apart.
pub(super) fn split(joined: Joined, escape: char) -> Result<Statement, Problem> {
    split_at(joined, escape, 0)
}

fn split_at(joined: Joined, escape: char, depth: usize) -> Result<Statement, Problem> {
    let Joined {
        text,
        documents,
        line,
        end,
    } = joined;
    let (name, flags, rest) = head(&text, escape);
    let rest = rest.trim();
    let arguments = match name.to_ascii_uppercase().as_str() {
        "ONBUILD" if rest.is_empty() => Arguments::None,
        "ONBUILD" if depth == DEPTH => {
            return Err(Problem::new("ONBUILD is nested too deep"));
        }
        "ONBUILD" => {
            let inner = Joined {
                text: rest.to_owned(),
                documents: Vec::new(),
                line,
                end,
            };
            Arguments::Later(Box::new(split_at(inner, escape, depth + 1)?))
        }
        other => arguments(other, rest, escape)?,
    };
    Ok(Statement {
        name,
        flags,
        arguments,
        documents,
        line,
        end,
        text,
    })
}

fn arguments(name: &str, rest: &str, escape: char) -> Result<Arguments, Problem> {
    if rest.is_empty() && !matches!(name, "ADD" | "COPY" | "VOLUME") {
        return Ok(Arguments::None);
    }
    Ok(match name {
        "ADD" | "COPY" | "VOLUME" => match json(rest) {
            Some(list) => Arguments::Json(list?),
            None if rest.is_empty() => Arguments::None,
            None => Arguments::Words(blank_separated(rest)),
        },
        "ARG" => Arguments::Words(quoted_words(rest, escape)),
        "CMD" | "ENTRYPOINT" | "RUN" | "SHELL" => text_or_json(rest)?,
        "ENV" | "LABEL" => pairs(name, rest, escape)?,
        "EXPOSE" | "FROM" => Arguments::Words(blank_separated(rest)),
        "HEALTHCHECK" => {
            let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let command = command.trim_start();
            let command = if command.is_empty() {
                Arguments::None
            } else {
                text_or_json(command)?
            };
            Arguments::Check(kind.to_owned(), Box::new(command))
        }
        "MAINTAINER" | "STOPSIGNAL" | "USER" | "WORKDIR" => Arguments::Text(rest.to_owned()),
        _ => Arguments::None,
    })
}

/// The list in JSON that `text` is, if it is one at all. A list with anything but texts in it is an
/// error; what is not JSON is not a list.
pub(super) fn json(text: &str) -> Option<Result<Vec<String>, Problem>> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return None;
    }
    let list: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    let texts = list.into_iter().map(|it| match it {
        serde_json::Value::String(text) => Ok(text),
        _ => Err(Problem::new(
            "when using JSON array syntax, arrays must be comprised of strings only",
        )),
    });
    Some(texts.collect())
}

fn text_or_json(rest: &str) -> Result<Arguments, Problem> {
    Ok(match json(rest) {
        Some(list) => Arguments::Json(list?),
        None => Arguments::Text(rest.to_owned()),
    })
}

/// What BuildKit takes for blanks between words; other white space is part of them.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn blank_separated(text: &str) -> Vec<String> {
    let words = text.split(is_blank).filter(|it| !it.is_empty());
    words.map(str::to_owned).collect()
}

/// Names and values: `a=b c="d e"`, or in the old form `a b c`, which is one.
fn pairs(kind: &str, rest: &str, escape: char) -> Result<Arguments, Problem> {
    let words = quoted_words(rest, escape);
    let Some(first) = words.first() else {
        return Ok(Arguments::None);
    };
    if !first.contains('=') {
        let Some((name, value)) = rest.split_once(is_blank) else {
            let text = format!("{kind} must have two arguments");
            return Err(Problem(text));
        };
        return Ok(Arguments::Pairs(vec![Pair {
            name: name.to_owned(),
            value: value.trim_start_matches(is_blank).to_owned(),
            has_sign: false,
        }]));
    }
    let pairs = words.iter().map(|word| match word.split_once('=') {
        Some((name, value)) => Ok(Pair {
            name: name.to_owned(),
            value: value.to_owned(),
            has_sign: true,
        }),
        None => Err(Problem(format!(
            "Syntax error - can't find = in {}. Must be of the form: name=value",
            quoted(word.as_bytes())
        ))),
    });
    Ok(Arguments::Pairs(pairs.collect::<Result<_, _>>()?))
}

/// Words between blanks; within quotes blanks do not count. Quotes and escapes stay in the words.
fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if matches!(c, '\'' | '"') => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        // Nothing can be escaped within single quotes.
        if c == escape && quote != Some('\'') {
            // At the very end it is left out.
            if let Some(next) = chars.next() {
                word.push(c);
                word.push(next);
            }
            continue;
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The name of an instruction, its flags, and what follows them.
pub(super) fn head(text: &str, escape: char) -> (String, Vec<String>, String) {
    let text = text.trim();
    let (name, rest) = text.split_once(is_blank).unwrap_or((text, ""));
    let (flags, rest) = flags(rest.trim_start_matches(is_blank), escape);
    (name.to_owned(), flags, rest.to_owned())
}

/// The words that begin with `--` before all others, without quotes, and what follows them. A `--`
/// alone ends them.
fn flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (flags, rest);
        }
        let mut flag = String::new();
        let mut quote = None;
        let mut was_quoted = false;
        let mut chars = rest.char_indices();
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            match quote {
                None if c.is_whitespace() => {
                    end = at;
                    break;
                }
                None if matches!(c, '\'' | '"') => {
                    quote = Some(c);
                    was_quoted = true;
                }
                Some(open) if c == open => quote = None,
                _ if c == escape => flag.extend(chars.next().map(|(_at, c)| c)),
                _ => flag.push(c),
            }
        }
        rest = rest.get(end..).unwrap_or_default();
        if flag == "--" {
            return (flags, rest);
        }
        if was_quoted || !flag.is_empty() {
            flags.push(flag);
        }
    }
}
