//! Variables in the words of a Dockerfile: `$x`, `${x}`, `${x:-y}`, `${x:+y}`, `${x:?y}`, `${x#y}`,
//! `${x%y}`, `${x/y/z}`, with quotes and escapes.
//!
//! <https://docs.docker.com/reference/dockerfile/#environment-replacement>

use std::iter::Peekable;
use std::mem;
use std::str::Chars;

use thiserror::Error;

use super::pattern::Pattern;
pub use super::pattern::PatternError;

/// The most bytes that a text may have with its variables replaced.
pub const MAX_BYTES: usize = 1 << 20;

/// How deep `${…}` may be nested.
const DEPTH: usize = 64;

/// What counts in a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to choose")]
pub struct Style {
    /// What escapes a character: `\` or `` ` ``.
    pub escape: char,
    /// What quotes are.
    pub quotes: Quotes,
    /// Whether escapes stay.
    pub raw_escapes: bool,
    /// Whether variables that are not set stay.
    pub keeps_unset: bool,
}

/// What quotes are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to choose")]
pub enum Quotes {
    /// Characters like others, as in here-documents.
    Ignored,
    /// They quote, and stay.
    Kept,
    /// They quote, and go.
    Removed,
}

impl Style {
    /// That of instructions.
    pub fn new(escape: char) -> Self {
        Self {
            escape,
            quotes: Quotes::Removed,
            raw_escapes: false,
            keeps_unset: false,
        }
    }

    /// That of here-documents.
    pub fn document(escape: char) -> Self {
        Self {
            quotes: Quotes::Ignored,
            ..Self::new(escape)
        }
    }
}

/// Looks up a variable.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Replaces the variables of `text`, which stays one word.
pub fn expand(text: &str, style: &Style, lookup: &Lookup<'_>) -> Result<String, WordError> {
    let mut scan = Scan::new(text, style, lookup);
    Ok(scan.until(None, style.raw_escapes)?.text)
}

/// Replaces the variables of `text`, and cuts it at blanks; those within quotes do not count.
pub fn split_words(
    text: &str,
    style: &Style,
    lookup: &Lookup<'_>,
) -> Result<Vec<String>, WordError> {
    let mut scan = Scan::new(text, style, lookup);
    Ok(scan.until(None, style.raw_escapes)?.into_words())
}

/// Why variables cannot be replaced. In BuildKit's words, where it has some.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum WordError {
    /// `${` that makes no sense.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// A variable that has to be set, and is not, or is empty.
    #[error("{name}: {message}")]
    Demanded {
        /// Which.
        name: String,
        /// What the text says for this case.
        message: String,
    },
    /// Substitutions within each other.
    #[error("substitutions are nested deeper than {DEPTH}")]
    Nested,
    /// A pattern with an escape that there is not.
    #[error("invalid pattern ({pattern}) in substitution: {source}")]
    Pattern {
        /// Which.
        pattern: String,
        /// Why.
        source: PatternError,
    },
    /// A pattern, or what it is held against, is too large.
    #[error(
        "a pattern in a substitution may have {} bytes, and what it is held against {}",
        Pattern::MAX,
        Pattern::MAX_VALUE
    )]
    PatternTooLarge,
    /// The result is too large.
    #[error("the text has more than {MAX_BYTES} bytes with its variables replaced")]
    TooLarge,
    /// A quote or a substitution without its end.
    #[error("unexpected end of statement while looking for matching {what}")]
    Unended {
        /// What would end it.
        what: &'static str,
    },
    /// A substitution of an unknown kind.
    #[error("unsupported modifier ({modifier}) in substitution")]
    UnknownModifier {
        /// What stands after the name.
        modifier: String,
    },
}

/// A text and, besides, the words that it is made of.
#[derive(Default)]
struct Found {
    text: String,
    words: Vec<String>,
    word: String,
    in_word: bool,
}

impl Found {
    /// A character that ends a word if it is a blank.
    fn push(&mut self, c: char) {
        self.text.push(c);
        self.push_to_words(c);
    }

    fn push_to_words(&mut self, c: char) {
        if !c.is_whitespace() {
            self.word.push(c);
            self.in_word = true;
        } else if self.in_word && !self.word.is_empty() {
            self.words.push(mem::take(&mut self.word));
            self.in_word = false;
        }
    }

    /// What is part of a word, whatever it is.
    fn push_raw(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
        self.in_word = true;
    }

    /// The value of a variable: part of the text, cut at its blanks.
    fn push_value(&mut self, value: &str) {
        self.text.push_str(value);
        for c in value.chars() {
            self.push_to_words(c);
        }
    }

    fn into_words(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

struct Scan<'a> {
    chars: Peekable<Chars<'a>>,
    style: &'a Style,
    lookup: &'a Lookup<'a>,
    depth: usize,
    raw_escapes: bool,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str, style: &'a Style, lookup: &'a Lookup<'a>) -> Self {
        Self {
            chars: text.chars().peekable(),
            style,
            lookup,
            depth: 0,
            raw_escapes: style.raw_escapes,
        }
    }

    /// All up to `stop`, which is taken, or to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<Found, WordError> {
        let before = mem::replace(&mut self.raw_escapes, raw_escapes);
        let found = self.read_until(stop);
        self.raw_escapes = before;
        found
    }

    fn read_until(&mut self, stop: Option<char>) -> Result<Found, WordError> {
        let mut found = Found::default();
        while let Some(&c) = self.chars.peek() {
            if found.text.len() > MAX_BYTES {
                return Err(WordError::TooLarge);
            }
            if stop == Some(c) {
                self.chars.next();
                return Ok(found);
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    found.push_value(&value);
                }
                '<' => found.push_raw(&self.angle()),
                '\'' if self.style.quotes != Quotes::Ignored => {
                    found.push_raw(&self.single_quoted()?);
                }
                '"' if self.style.quotes != Quotes::Ignored => {
                    found.push_raw(&self.double_quoted()?);
                }
                _ => {
                    self.chars.next();
                    if c != self.style.escape {
                        found.push(c);
                        continue;
                    }
                    if self.raw_escapes {
                        found.push_raw(c.encode_utf8(&mut [0; 4]));
                    }
                    // At the very end it escapes nothing.
                    if let Some(escaped) = self.chars.next() {
                        found.push_raw(escaped.encode_utf8(&mut [0; 4]));
                    }
                }
            }
        }
        match stop {
            None => Ok(found),
            Some('/') => Err(WordError::Unended { what: "'/'" }),
            Some(_) => Err(WordError::Unended { what: "'}'" }),
        }
    }

    /// All characters up to the next quote.
    fn single_quoted(&mut self) -> Result<String, WordError> {
        let mut text = String::new();
        self.quote_to(&mut text);
        for c in self.chars.by_ref() {
            if c == '\'' {
                if self.style.quotes == Quotes::Kept {
                    text.push(c);
                }
                return Ok(text);
            }
            text.push(c);
        }
        Err(WordError::Unended {
            what: "single-quote",
        })
    }

    /// All characters up to the next quote, with variables replaced. `\` escapes only what would mean
    /// something here.
    fn double_quoted(&mut self) -> Result<String, WordError> {
        let mut text = String::new();
        self.quote_to(&mut text);
        while let Some(&c) = self.chars.peek() {
            if text.len() > MAX_BYTES {
                return Err(WordError::TooLarge);
            }
            match c {
                '"' => {
                    self.quote_to(&mut text);
                    return Ok(text);
                }
                '$' => text.push_str(&self.dollar()?),
                _ => {
                    self.chars.next();
                    if c != self.style.escape {
                        text.push(c);
                        continue;
                    }
                    if self.raw_escapes {
                        text.push(c);
                    }
                    match self.chars.peek() {
                        None => {}
                        Some(&next) if matches!(next, '"' | '$') || next == c => {
                            self.chars.next();
                            text.push(next);
                        }
                        Some(_) => text.push(c),
                    }
                }
            }
        }
        Err(WordError::Unended {
            what: "double-quote",
        })
    }

    /// Takes a quote, which stays if quotes do.
    fn quote_to(&mut self, text: &mut String) {
        let quote = self.chars.next();
        if self.style.quotes == Quotes::Kept {
            text.extend(quote);
        }
    }

    /// `<<` and the blanks after it belong to the word that follows: together they may announce a
    /// here-document.
    fn angle(&mut self) -> String {
        let mut text = String::from("<");
        self.chars.next();
        if self.chars.next_if_eq(&'<').is_some() {
            text.push('<');
            while let Some(c) = self.chars.next_if(|c| matches!(c, '\t' | '\r' | ' ')) {
                text.push(c);
            }
        }
        text
    }

    /// What stands for `$…`.
    fn dollar(&mut self) -> Result<String, WordError> {
        self.chars.next();
        if self.chars.peek() != Some(&'{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match (self.lookup)(&name) {
                None if self.style.keeps_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.chars.next();
        match self.chars.peek() {
            None => return Err(WordError::Unended { what: "'}'" }),
            Some('{' | '}' | ':') => return Err(WordError::BadSubstitution),
            Some(_) => {}
        }
        if self.depth == DEPTH {
            return Err(WordError::Nested);
        }
        self.depth += 1;
        let value = self.substitution();
        self.depth -= 1;
        value
    }

    /// What stands for `${…}`, from the name on.
    fn substitution(&mut self) -> Result<String, WordError> {
        let name = self.name();
        let value = (self.lookup)(&name);
        let mut modifier = String::new();
        modifier.extend(self.chars.next());
        let empty_is_unset = modifier == ":";
        if empty_is_unset {
            modifier.extend(self.chars.next());
        }
        let unset_text = |rest: &str| format!("${{{name}{modifier}{rest}}}");
        let keeps = self.style.keeps_unset && value.is_none();
        let is_there = value
            .as_ref()
            .is_some_and(|it| !empty_is_unset || !it.is_empty());
        match modifier.as_str() {
            "}" if keeps => Ok(format!("${{{name}}}")),
            "}" => Ok(value.unwrap_or_default()),
            "-" | ":-" | "+" | ":+" | "?" | ":?" => {
                let word = self.until(Some('}'), false)?.text;
                if keeps {
                    return Ok(unset_text(&word));
                }
                match (modifier.trim_start_matches(':'), is_there) {
                    ("-", false) | ("+", true) => Ok(word),
                    ("+", false) => Ok(String::new()),
                    ("?", false) => Err(WordError::Demanded {
                        message: demand(&word, value.is_some()),
                        name,
                    }),
                    _ => Ok(value.unwrap_or_default()),
                }
            }
            "#" | "%" => {
                let word = self.until(Some('}'), true)?.text;
                if keeps {
                    return Ok(unset_text(&word));
                }
                let (is_longest, pattern) = match word.strip_prefix(modifier.as_str()) {
                    Some(pattern) => (true, pattern),
                    None => (false, word.as_str()),
                };
                let value = value.unwrap_or_default();
                let pattern = parse(pattern, &value)?;
                Ok(if modifier == "#" {
                    pattern.without_prefix(&value, is_longest)
                } else {
                    pattern.without_suffix(&value, is_longest)
                })
            }
            "/" => {
                let replaces_all = self.chars.next_if_eq(&'/').is_some();
                let pattern = self.until(Some('/'), true)?.text;
                let replacement = self.until(Some('}'), true)?.text;
                if keeps {
                    return Ok(unset_text(&format!("{pattern}/{replacement}")));
                }
                let value = value.unwrap_or_default();
                let pattern = parse(&pattern, &value)?;
                // At most as often as the value has characters, and once more.
                let most = (value.len() + 1).saturating_mul(replacement.len());
                if replaces_all && most > 64 * MAX_BYTES {
                    return Err(WordError::TooLarge);
                }
                let replaced = pattern.replace(&value, &replacement, replaces_all);
                if replaced.len() > MAX_BYTES {
                    return Err(WordError::TooLarge);
                }
                Ok(replaced)
            }
            "" => Err(WordError::Unended { what: "'}'" }),
            _ => Err(WordError::UnknownModifier { modifier }),
        }
    }

    /// A name: letters, digits and `_`; or digits only; or one special character.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if let Some(&first) = self.chars.peek() {
            if first.is_numeric() {
                while let Some(c) = self.chars.next_if(|c| c.is_numeric()) {
                    name.push(c);
                }
                return name;
            }
            if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
                name.extend(self.chars.next());
                return name;
            }
        }
        while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(c);
        }
        name
    }
}

/// The pattern to hold against `value`; the time that it takes grows with both.
fn parse(pattern: &str, value: &str) -> Result<Pattern, WordError> {
    if pattern.len() > Pattern::MAX || value.len() > Pattern::MAX_VALUE {
        return Err(WordError::PatternTooLarge);
    }
    Pattern::parse(pattern).map_err(|source| WordError::Pattern {
        pattern: pattern.to_owned(),
        source,
    })
}

fn demand(message: &str, is_set: bool) -> String {
    match (message, is_set) {
        ("", false) => "is not allowed to be unset".to_owned(),
        ("", true) => "is not allowed to be empty".to_owned(),
        (message, _) => message.to_owned(),
    }
}
