//! Here-documents: `<<END`, `<<-END`, `<<"END"`, several in one instruction.

use super::Problem;
use super::words::{Quotes, Style, expand, split_words};

/// Text that follows an instruction, up to a line with its name.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct HereDocument {
    /// Its name, which is what ends it, and the file that `COPY` makes of it.
    pub name: String,
    /// Whether variables in it are replaced: not if any of its name was quoted.
    pub expands: bool,
    /// Whether tabs at the beginning of lines do not count.
    pub strips_tabs: bool,
    /// Its lines.
    pub content: String,
}

impl HereDocument {
    /// Its lines, without the tabs that do not count.
    pub fn text(&self) -> String {
        if self.strips_tabs {
            let lines = self.content.split_inclusive('\n');
            lines.map(|line| line.trim_start_matches('\t')).collect()
        } else {
            self.content.clone()
        }
    }
}

/// The instructions that may have here-documents.
const TAKES: &[&str] = &["ADD", "COPY", "RUN"];

/// The most here-documents of one instruction.
const MAX: usize = 100;

/// The documents that follow a statement, without their contents.
pub(super) fn announced(statement: &str, escape: char) -> Result<Vec<HereDocument>, Problem> {
    if !statement.contains("<<") || !takes_documents(statement, escape, true) {
        return Ok(Vec::new());
    }
    let style = Style {
        quotes: Quotes::Kept,
        raw_escapes: true,
        keeps_unset: true,
        ..Style::new('\\')
    };
    // A line whose quotes do not end has none.
    let words = split_words(statement, &style, &|_name| None).unwrap_or_default();
    let mut documents = Vec::new();
    for word in words {
        documents.extend(document(&word)?);
        if documents.len() > MAX {
            let text = format!("more than {MAX} heredocs in one instruction");
            return Err(Problem(text));
        }
    }
    Ok(documents)
}

/// Whether `statement` is an instruction that may have here-documents, or `ONBUILD` with one. The
/// exec form has none.
fn takes_documents(statement: &str, escape: char, may_nest: bool) -> bool {
    let (name, _flags, rest) = super::statement::head(statement, escape);
    match name.to_ascii_uppercase().as_str() {
        "ONBUILD" => may_nest && takes_documents(rest.trim(), escape, false),
        name => TAKES.contains(&name) && super::statement::json(&rest).is_none(),
    }
}

/// The document that `word` announces, if it does.
pub(super) fn document(word: &str) -> Result<Option<HereDocument>, Problem> {
    let word = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = word.strip_prefix("<<") else {
        return Ok(None);
    };
    let (rest, strips_tabs) = match rest.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let style = |quotes| Style {
        quotes,
        keeps_unset: true,
        ..Style::new('\\')
    };
    let unset = |_name: &str| None;
    let words = split_words(rest, &style(Quotes::Removed), &unset)?;
    let [name] = words.as_slice() else {
        return Ok(None);
    };
    let quoted = expand(rest, &style(Quotes::Kept), &unset)?;
    let quotes = |text: &str| text.chars().filter(|c| matches!(c, '\'' | '"')).count();
    Ok(Some(HereDocument {
        expands: quotes(name) == quotes(&quoted),
        name: name.clone(),
        strips_tabs,
        content: String::new(),
    }))
}
