//! From the lines of a Dockerfile to its statements, each with the here-documents that follow it.
//!
//! Comments and empty lines within a statement that goes on do not end it. What a statement is made of is
//! known to `statement`; here it is only asked whether here-documents follow.

use super::here::{self, HereDocument};
use super::statement::{self, Statement};
use super::{DockerfileError, MAX_LINE, MAX_STATEMENTS, Problem};

/// The lines of one statement, joined.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Joined {
    pub(super) text: String,
    pub(super) documents: Vec<HereDocument>,
    /// The first line, counted from 1.
    pub(super) line: usize,
    /// The last line.
    pub(super) end: usize,
}

/// The escape character, and the statements. Of several problems the first in the text is told; a line
/// that is too long ends the text, and is one when all before it is read.
pub(super) fn read(text: &str) -> Result<(char, Vec<Statement>), DockerfileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut directives = Directives::default();
    let mut statements = Vec::new();
    let mut lines = Lines {
        rest: text,
        count: 0,
        is_cut: false,
    };
    while let Some(raw) = lines.next() {
        let line = lines.count;
        let first = trim_end(raw).trim_start();
        directives.read(first)?;
        if first.starts_with('#') {
            continue;
        }
        let (part, mut goes_on) = continued(first, directives.escape);
        if part.is_empty() && !goes_on {
            continue;
        }
        let mut text = part.to_owned();
        while goes_on {
            let Some(raw) = lines.next() else { break };
            let next = trim_end(raw);
            let inner = next.trim_start();
            if inner.starts_with('#') || inner.is_empty() {
                continue;
            }
            let part;
            (part, goes_on) = continued(next, directives.escape);
            text.push_str(part);
        }
        let joined = Joined {
            text,
            documents: Vec::new(),
            line,
            end: lines.count,
        };
        let mut statement = statement::split(joined, directives.escape)?;
        statement.documents = read_documents(&statement.text, directives.escape, &mut lines)?;
        statement.end = lines.count;
        statements.push(statement);
        if statements.len() > MAX_STATEMENTS {
            return Err(DockerfileError::TooMany);
        }
    }
    if statements.is_empty() {
        return Err(DockerfileError::Nothing);
    }
    if lines.is_cut {
        let text = format!("dockerfile line greater than max allowed size of {MAX_LINE}");
        return Err(Problem(text).into());
    }
    Ok((directives.escape, statements))
}

/// The documents that `statement` says to follow.
fn read_documents(
    statement: &str,
    escape: char,
    lines: &mut Lines<'_>,
) -> Result<Vec<HereDocument>, Problem> {
    let mut documents = here::announced(statement, escape)?;
    for document in &mut documents {
        loop {
            let Some(line) = lines.next() else {
                return Err(Problem::new("unterminated heredoc"));
            };
            let mut end = trim_end(line);
            if document.strips_tabs {
                end = end.trim_start_matches('\t');
            }
            if end == document.name {
                break;
            }
            document.content.push_str(line);
        }
    }
    Ok(documents)
}

/// The line without what lets it go on, and whether it goes on: when its last character that is no
/// blank is the escape character, unless another stands before it.
fn continued(line: &str, escape: char) -> (&str, bool) {
    let trimmed = line.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(part) if !part.ends_with(escape) => (part, true),
        _ => (line, false),
    }
}

fn trim_end(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// The lines that are left, with their ends.
struct Lines<'a> {
    rest: &'a str,
    /// How many were taken.
    count: usize,
    /// Whether a line that is too long ended them.
    is_cut: bool,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = match self.rest.split_once('\n') {
            Some((line, rest)) => (self.rest.get(..=line.len()).unwrap_or(line), rest),
            None => (self.rest, ""),
        };
        if line.strip_suffix('\n').unwrap_or(line).len() > MAX_LINE {
            self.is_cut = true;
            self.rest = "";
            return None;
        }
        self.rest = rest;
        self.count += 1;
        Some(line)
    }
}

/// What comments at the top say to the parser: `# escape=…`, `# syntax=…`, `# check=…`. The first
/// line that is none of these ends them.
#[derive(Debug)]
struct Directives {
    escape: char,
    seen: Vec<String>,
    are_over: bool,
}

impl Default for Directives {
    fn default() -> Self {
        Self {
            escape: '\\',
            seen: Vec::new(),
            are_over: false,
        }
    }
}

impl Directives {
    fn read(&mut self, line: &str) -> Result<(), Problem> {
        if self.are_over {
            return Ok(());
        }
        let Some((name, value)) = line.strip_prefix('#').and_then(directive) else {
            self.are_over = true;
            return Ok(());
        };
        if self.seen.contains(&name) {
            let text = format!("only one {name} parser directive can be used");
            return Err(Problem(text));
        }
        if name == "escape" {
            self.escape = match value {
                "\\" => '\\',
                "`" => '`',
                _ => {
                    let text = format!("invalid escape token '{value}' does not match ` or \\");
                    return Err(Problem(text));
                }
            };
        }
        self.seen.push(name);
        Ok(())
    }
}

/// Name, in lower case, and value of a directive.
fn directive(comment: &str) -> Option<(String, &str)> {
    let (name, value) = comment.trim_start().split_once('=')?;
    let name = name.trim_end();
    let value = value.trim();
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_name = starts_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let name = name.to_ascii_lowercase();
    let is_known = ["check", "escape", "syntax"].contains(&name.as_str());
    (is_name && is_known && !value.is_empty()).then_some((name, value))
}
