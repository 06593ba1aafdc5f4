//! Makes tables of a TOML text, and finds what is given twice.
//!
//! Which keys may be given again follows BurntSushi/toml in each corner, so its state is kept here
//! as there: the table in scope, the key last read, tables that were only implied.

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::{END, LexError, Lexer, Number};
use super::value::{Document, Table, Value, key_text};
use super::{MAX_DEPTH, TomlError, quoted, quoted_char, scalar};

type Key = Vec<String>;

/// Reads a text.
pub(super) fn parse(input: &[u8]) -> Result<Document, TomlError> {
    let input = [&b"\xff\xfe"[..], b"\xfe\xff", b"\xef\xbb\xbf"]
        .iter()
        .find_map(|mark| input.strip_prefix(*mark))
        .unwrap_or(input);
    if input.iter().take(6).any(|&byte| byte == 0) {
        return Err(TomlError {
            text: "toml: line 1: files cannot contain NULL bytes; probably using UTF-16; \
                   TOML files must be UTF-8"
                .to_owned(),
        });
    }
    let mut parser = Parser {
        lexer: Lexer::new(input),
        context: Key::new(),
        current: String::new(),
        line: 0,
        root: Table::new(),
        lines: BTreeMap::new(),
        arrays: BTreeSet::new(),
        implied: BTreeSet::new(),
        named: 0,
    };
    match parser.run() {
        Ok(()) => Ok(Document {
            root: parser.root,
            lines: parser.lines,
        }),
        Err(LexError { line, text }) => Err(TomlError {
            text: match parser.last_key() {
                key if key.is_empty() => format!("toml: line {line}: {text}"),
                key => format!("toml: line {line} (last key {}): {text}", quoted(&key)),
            },
        }),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The table in scope.
    context: Key,
    /// The key last read in it.
    current: String,
    /// The line of that key.
    line: usize,
    root: Table,
    lines: BTreeMap<String, usize>,
    arrays: BTreeSet<String>,
    implied: BTreeSet<String>,
    /// How many bytes the names of keys have together.
    named: usize,
}

/// Where a table in scope stops being one.
enum Obstacle {
    Missing,
    At(usize),
}

/// The most bytes that the names of keys may have together, each with those of the tables around it.
const MAX_NAMES: usize = 128 << 20;

/// The name of a key; `named`: how many bytes such names have had so far.
fn name(named: &mut usize, line: usize, path: &[String]) -> Result<String, LexError> {
    let name = key_text(path);
    *named = named.saturating_add(name.len());
    if *named > MAX_NAMES {
        let text = format!("the names of keys have more than {MAX_NAMES} bytes together");
        return Err(LexError::at(line, text));
    }
    Ok(name)
}

fn walk<'t>(root: &'t mut Table, context: &[String]) -> Result<&'t mut Table, Obstacle> {
    let mut here = root;
    for (index, key) in context.iter().enumerate() {
        here = match here.get_mut(key) {
            None => return Err(Obstacle::Missing),
            Some(Value::Table(table)) => table,
            Some(Value::Tables(tables)) => match tables.last_mut() {
                Some(Value::Table(table)) => table,
                _ => return Err(Obstacle::At(index)),
            },
            Some(_) => return Err(Obstacle::At(index)),
        };
    }
    Ok(here)
}

impl Parser<'_> {
    fn last_key(&self) -> String {
        match (self.context.is_empty(), self.current.is_empty()) {
            (_, true) => key_text(&self.context),
            (true, false) => self.current.clone(),
            (false, false) => format!("{}.{}", key_text(&self.context), self.current),
        }
    }

    fn run(&mut self) -> Result<(), LexError> {
        loop {
            self.lexer.skip(|c| matches!(c, ' ' | '\t' | '\n' | '\r'))?;
            match self.lexer.peek()? {
                END => return Ok(()),
                '#' => self.comment()?,
                '[' => {
                    self.header()?;
                    self.end_of_item()?;
                }
                _ => {
                    self.pair()?;
                    self.end_of_item()?;
                }
            }
        }
    }

    fn comment(&mut self) -> Result<(), LexError> {
        self.lexer.skip(|c| !matches!(c, '\n' | '\r' | END))
    }

    /// What follows a value or a header on its line.
    fn end_of_item(&mut self) -> Result<(), LexError> {
        self.lexer.skip(is_blank)?;
        match self.lexer.peek()? {
            '#' => self.comment(),
            '\n' | '\r' | END => Ok(()),
            other => {
                self.lexer.next()?;
                Err(self.lexer.error(format!(
                    "expected a top-level item to end with a newline, comment, or EOF, but got {} instead",
                    quoted_char(other)
                )))
            }
        }
    }

    /// `[table]` or `[[table]]`.
    fn header(&mut self) -> Result<(), LexError> {
        self.lexer.next()?;
        let is_array = self.lexer.accept('[')?;
        let start = self.lexer.line;
        let mut key = Key::new();
        loop {
            self.lexer.skip(is_blank)?;
            let part = match self.lexer.peek()? {
                ']' | END => {
                    return Err(self.lexer.error(
                        "unexpected end of table name (table names cannot be empty)".to_owned(),
                    ));
                }
                '.' => {
                    return Err(self.lexer.error(
                        "unexpected table separator (table names cannot be empty)".to_owned(),
                    ));
                }
                _ => self.part()?,
            };
            if key.is_empty() {
                self.line = self.lexer.line;
            }
            key.push(part);
            self.is_shallow(key.len())?;
            self.lexer.skip(is_blank)?;
            match self.lexer.next()? {
                '.' => {}
                ']' => break,
                other => {
                    return Err(self.lexer.error(format!(
                        "expected '.' or ']' to end table name, but got {} instead",
                        quoted_char(other)
                    )));
                }
            }
        }
        if is_array {
            let close = self.lexer.next()?;
            if close != ']' {
                return Err(self.lexer.error(format!(
                    "expected end of table array name delimiter ']', but got {} instead",
                    quoted_char(close)
                )));
            }
        }
        self.enter(&key, is_array)?;
        self.note("", false, start)?;
        Ok(())
    }

    /// A part of a key: bare, possibly of no letters, or quoted.
    fn part(&mut self) -> Result<String, LexError> {
        if self.lexer.accept('"')? {
            let line = self.lexer.line;
            let (text, has_escapes) = self.lexer.basic()?;
            return if has_escapes {
                scalar::unescape(text, line)
            } else {
                Ok(text.to_owned())
            };
        }
        if self.lexer.accept('\'')? {
            return self.lexer.raw().map(str::to_owned);
        }
        let start = self.lexer.pos;
        self.lexer
            .skip(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))?;
        Ok(self.lexer.since(start).to_owned())
    }

    /// The parts of a key, up to and with `=`.
    fn key(&mut self) -> Result<Key, LexError> {
        self.lexer.skip(is_blank)?;
        match self.lexer.peek()? {
            '=' | END => {
                let text = "unexpected '=': key name appears blank";
                return Err(self.lexer.error(text.to_owned()));
            }
            '.' => {
                let text = "unexpected '.': keys cannot start with a '.'";
                return Err(self.lexer.error(text.to_owned()));
            }
            _ => {}
        }
        let mut key = Key::new();
        loop {
            self.lexer.skip(is_blank)?;
            if !key.is_empty() {
                match self.lexer.peek()? {
                    '=' | END => return Err(self.lexer.error("unexpected '='".to_owned())),
                    '.' => return Err(self.lexer.error("unexpected '.'".to_owned())),
                    _ => {}
                }
            }
            let part = self.part()?;
            if key.is_empty() {
                self.line = self.lexer.line;
            }
            key.push(part);
            self.is_shallow(key.len())?;
            self.lexer.skip(is_blank)?;
            match self.lexer.next()? {
                '.' => {}
                '=' => return Ok(key),
                END => {
                    let text = "unexpected EOF; expected key separator '='";
                    return Err(self.lexer.error(text.to_owned()));
                }
                other => {
                    let text = format!(
                        "expected '.' or '=', but got {} instead",
                        quoted_char(other)
                    );
                    return Err(if other == '\n' {
                        self.lexer.error_before(text)
                    } else {
                        self.lexer.error(text)
                    });
                }
            }
        }
    }

    /// `key = value` outside of inline tables.
    fn pair(&mut self) -> Result<(), LexError> {
        let outer = self.context.clone();
        let key = self.key()?;
        self.descend(&key)?;
        let start = self.lexer.line;
        let value = self.value(false, 0)?;
        let is_array = matches!(value, Value::Array(_));
        // Arrays and tables are told by where they begin, strings by where they end.
        let line = match value {
            Value::Array(_) | Value::Table(_) => start,
            _ => self.lexer.line,
        };
        let current = self.current.clone();
        self.set(&current, value)?;
        self.note(&current, is_array, line)?;
        self.context = outer;
        self.current.clear();
        Ok(())
    }

    /// Makes the tables of a dotted key, and its last part the current key.
    fn descend(&mut self, key: &[String]) -> Result<(), LexError> {
        if let [parents @ .., last] = key {
            self.current.clone_from(last);
            for part in parents {
                let mut context = self.context.clone();
                context.push(part.clone());
                self.imply(&context)?;
                self.enter(&context, false)?;
            }
        }
        Ok(())
    }

    fn value(&mut self, is_in_array: bool, depth: usize) -> Result<Value, LexError> {
        self.lexer.skip(is_blank)?;
        self.is_shallow(depth)?;
        match self.lexer.peek()? {
            '0'..='9' | '+' | '-' => self.number(),
            '[' => {
                self.lexer.next()?;
                self.array(depth + 1)
            }
            '{' => {
                self.lexer.next()?;
                self.inline_table(is_in_array, depth + 1)
            }
            quote @ ('"' | '\'') => self.string(quote),
            _ => self.word(),
        }
    }

    fn string(&mut self, quote: char) -> Result<Value, LexError> {
        self.lexer.next()?;
        if self.lexer.accept(quote)? {
            if !self.lexer.accept(quote)? {
                return Ok(Value::Text(String::new()));
            }
            let text = self.lexer.lines(quote)?;
            let text = text
                .strip_prefix('\n')
                .or_else(|| text.strip_prefix("\r\n"))
                .unwrap_or(text);
            return if quote == '\'' {
                Ok(Value::Text(text.to_owned()))
            } else {
                let line = self.lexer.line;
                scalar::unescape(&scalar::joined(text), line).map(Value::Text)
            };
        }
        if quote == '\'' {
            return self.lexer.raw().map(|text| Value::Text(text.to_owned()));
        }
        let (text, has_escapes) = self.lexer.basic()?;
        if has_escapes {
            let line = self.lexer.line;
            scalar::unescape(text, line).map(Value::Text)
        } else {
            Ok(Value::Text(text.to_owned()))
        }
    }

    /// `true`, `false`, `inf`, `nan`, or an error.
    fn word(&mut self) -> Result<Value, LexError> {
        let mut start = self.lexer.pos;
        let first = self.lexer.next()?;
        if first == '.' {
            let text = "floats must start with a digit, not '.'";
            return Err(self.lexer.error(text.to_owned()));
        }
        if matches!(first, 'i' | 'n') {
            let is_number = (self.lexer.accept('n')? && self.lexer.accept('f')?)
                || (self.lexer.accept('a')? && self.lexer.accept('n')?);
            if is_number {
                let line = self.lexer.line;
                return scalar::float(self.lexer.since(start), line);
            }
        }
        if first.is_alphabetic() {
            // What was tried as a number is not told again, but for its last letter.
            start = self.lexer.pos
                - if self.lexer.since(start).len() > first.len_utf8() {
                    1
                } else {
                    first.len_utf8()
                };
            self.lexer.skip(char::is_alphabetic)?;
            return match self.lexer.since(start) {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                other => Err(self.lexer.error(format!(
                    "expected value but found {} instead",
                    quoted(other)
                ))),
            };
        }
        if first == END {
            return Err(self
                .lexer
                .error("unexpected EOF; expected value".to_owned()));
        }
        let text = format!("expected value but found {} instead", quoted_char(first));
        Err(if first == '\n' {
            self.lexer.error_before(text)
        } else {
            self.lexer.error(text)
        })
    }

    fn number(&mut self) -> Result<Value, LexError> {
        let (kind, text) = self.lexer.number()?;
        let line = self.lexer.line;
        match kind {
            Number::Integer => scalar::integer(text, line),
            Number::Float => scalar::float(text, line),
            Number::Date => scalar::date(text, line),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, LexError> {
        let current = self.current.clone();
        self.note(&current, true, self.lexer.line)?;
        let mut items = Vec::new();
        loop {
            self.lexer.skip(is_space)?;
            match self.lexer.peek()? {
                '#' => {
                    self.comment()?;
                    continue;
                }
                ',' => {
                    self.lexer.next()?;
                    return Err(self.lexer.error("unexpected comma".to_owned()));
                }
                ']' => {
                    self.lexer.next()?;
                    return Ok(Value::Array(items));
                }
                _ => items.push(self.value(true, depth)?),
            }
            loop {
                self.lexer.skip(is_space)?;
                match self.lexer.next()? {
                    '#' => self.comment()?,
                    ',' => break,
                    ']' => return Ok(Value::Array(items)),
                    other => {
                        return Err(self.lexer.error(format!(
                            "expected a comma (',') or array terminator (']'), but got {}",
                            or_end(other)
                        )));
                    }
                }
            }
        }
    }

    fn inline_table(&mut self, is_in_array: bool, depth: usize) -> Result<Value, LexError> {
        let (outer, outer_key) = (self.context.clone(), std::mem::take(&mut self.current));
        let mut inner = outer.clone();
        inner.push(outer_key.clone());
        self.context.clone_from(&inner);
        self.imply(&inner)?;
        self.enter(&inner, is_in_array)?;
        let mut table = Table::new();
        'pairs: loop {
            self.lexer.skip(is_space)?;
            match self.lexer.peek()? {
                '#' => {
                    self.comment()?;
                    continue;
                }
                ',' => {
                    self.lexer.next()?;
                    return Err(self.lexer.error("unexpected comma".to_owned()));
                }
                '}' => {
                    self.lexer.next()?;
                    break;
                }
                _ => self.inline_pair(&mut table, depth)?,
            }
            self.context.clone_from(&inner);
            loop {
                self.lexer.skip(is_space)?;
                match self.lexer.next()? {
                    '#' => self.comment()?,
                    ',' => {
                        self.lexer.skip(is_blank)?;
                        if self.lexer.peek()? != '}' {
                            break;
                        }
                    }
                    '}' => break 'pairs,
                    other => {
                        return Err(self.lexer.error(format!(
                            "expected a comma or an inline table terminator '}}', but got {} instead",
                            or_end(other)
                        )));
                    }
                }
            }
        }
        self.context = outer;
        self.current = outer_key;
        Ok(Value::Table(table))
    }

    fn inline_pair(&mut self, table: &mut Table, depth: usize) -> Result<(), LexError> {
        let start = self.lexer.line;
        let key = self.key()?;
        self.descend(&key)?;
        let value = self.value(false, depth)?;
        let is_array = matches!(value, Value::Array(_));
        let current = self.current.clone();
        // Of what an inline table holds hardly more than the keys count for the table around it.
        let shadow = match &value {
            Value::Table(_) => Value::Table(Table::new()),
            Value::Array(_) => Value::Array(Vec::new()),
            plain => plain.clone(),
        };
        self.set(&current, shadow)?;
        self.note(&current, is_array, start)?;
        let mut here = table;
        for part in key.iter().take(key.len().saturating_sub(1)) {
            let below = here
                .entry(part.clone())
                .or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(table) = below else {
                let text = format!("{} is not a table", quoted(&key_text(&self.context)));
                return Err(LexError::at(self.line, text));
            };
            here = table;
        }
        here.insert(current, value);
        Ok(())
    }

    /// Makes `key` the table in scope.
    fn enter(&mut self, key: &[String], is_array: bool) -> Result<(), LexError> {
        self.is_shallow(key.len())?;
        let [parents @ .., last] = key else {
            return Ok(());
        };
        let mut here = &mut self.root;
        for (index, part) in parents.iter().enumerate() {
            let path = parents.get(..=index).unwrap_or_default();
            if !here.contains_key(part) {
                here.insert(part.clone(), Value::Table(Table::new()));
                let name = name(&mut self.named, self.line, path)?;
                self.implied.insert(name);
            }
            here = walk(here, std::slice::from_ref(part)).map_err(|_obstacle| {
                LexError::at(
                    self.line,
                    format!("Key '{}' was already created as a hash.", key_text(path)),
                )
            })?;
        }
        self.context = parents.to_vec();
        if is_array {
            let here = walk(&mut self.root, parents).ok();
            let list = here.map(|here| {
                here.entry(last.clone())
                    .or_insert_with(|| Value::Tables(Vec::new()))
            });
            let Some(Value::Tables(tables)) = list else {
                let text = format!(
                    "Key '{}' was already created and cannot be used as an array.",
                    key_text(key)
                );
                return Err(LexError::at(self.line, text));
            };
            tables.push(Value::Table(Table::new()));
        } else {
            self.set(last, Value::Table(Table::new()))?;
        }
        self.context.push(last.clone());
        Ok(())
    }

    /// Sets a key of the table in scope, if it may be set.
    fn set(&mut self, key: &str, value: Value) -> Result<(), LexError> {
        let mut path = self.context.clone();
        path.push(key.to_owned());
        let line = self.line;
        let defined = |path: &[String]| LexError {
            line,
            text: format!("Key '{}' has already been defined.", key_text(path)),
        };
        let here = walk(&mut self.root, &self.context).map_err(|obstacle| match obstacle {
            Obstacle::At(index) => defined(self.context.get(..=index).unwrap_or_default()),
            Obstacle::Missing => defined(&self.context),
        })?;
        let Some(there) = here.get_mut(key) else {
            here.insert(key.to_owned(), value);
            return Ok(());
        };
        let name = key_text(&path);
        if !self.implied.remove(&name) {
            return Err(defined(&path));
        }
        if self.arrays.contains(&name)
            || matches!((&*there, &value), (Value::Table(_), Value::Table(_))) && !is_empty(&value)
        {
            *there = value;
        }
        Ok(())
    }

    /// Nothing stands deeper than [`MAX_DEPTH`].
    fn is_shallow(&self, depth: usize) -> Result<(), LexError> {
        if depth <= MAX_DEPTH {
            return Ok(());
        }
        let text = "arrays and tables stand too deep in one another";
        Err(self.lexer.error(text.to_owned()))
    }

    /// Remembers that a table is there only because something in it is.
    fn imply(&mut self, path: &[String]) -> Result<(), LexError> {
        let name = name(&mut self.named, self.line, path)?;
        self.implied.insert(name);
        Ok(())
    }

    /// Remembers the line of a key, and whether it is an array.
    fn note(&mut self, key: &str, is_array: bool, line: usize) -> Result<(), LexError> {
        let mut path = self.context.clone();
        if !key.is_empty() {
            path.push(key.to_owned());
        }
        if path.is_empty() {
            path.push(String::new());
        }
        let name = name(&mut self.named, line, &path)?;
        if is_array {
            self.arrays.insert(name.clone());
        } else {
            self.arrays.remove(&name);
        }
        self.lines.insert(name, line);
        Ok(())
    }
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Table(table) if table.is_empty())
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn or_end(c: char) -> String {
    if c == END {
        "end of file".to_owned()
    } else {
        format!("'{c}'")
    }
}
