//! Reads a TOML text character by character, and knows on which line an error is to be told.
//!
//! The end of the text is the character NUL, which is allowed nowhere else.

use super::quoted_char;

/// What is wrong, and on which line.
#[derive(Debug)]
pub(super) struct LexError {
    pub(super) line: usize,
    pub(super) text: String,
}

impl LexError {
    pub(super) fn at(line: usize, text: String) -> Self {
        Self { line, text }
    }
}

/// A place in a text.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    input: &'a [u8],
    pub(super) pos: usize,
    pub(super) line: usize,
    at_end: bool,
}

pub(super) const END: char = '\0';

impl<'a> Lexer<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            pos: 0,
            line: 1,
            at_end: false,
        }
    }

    /// The text from `start` to here. What was read is UTF-8.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.between(start, self.pos)
    }

    pub(super) fn between(&self, start: usize, end: usize) -> &'a str {
        let bytes = self.input.get(start..end).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The next character, which is left there.
    pub(super) fn peek(&self) -> Result<char, LexError> {
        self.decode().map(|(c, _)| c)
    }

    /// The next character.
    pub(super) fn next(&mut self) -> Result<char, LexError> {
        if self.pos >= self.input.len() {
            self.at_end = true;
            return Ok(END);
        }
        let (c, width) = self.decode()?;
        self.pos += width;
        if c == '\n' {
            self.line += 1;
        }
        Ok(c)
    }

    fn decode(&self) -> Result<(char, usize), LexError> {
        let rest = self.input.get(self.pos..).unwrap_or_default();
        let Some(&first) = rest.first() else {
            return Ok((END, 0));
        };
        let here = rest.get(..4).unwrap_or(rest);
        let text = match std::str::from_utf8(here) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(here.get(..error.valid_up_to()).unwrap_or_default())
                .unwrap_or_default(),
        };
        let Some(c) = text.chars().next() else {
            return Err(LexError::at(
                self.line,
                format!("invalid UTF-8 byte: 0x{first:02x}"),
            ));
        };
        let is_lone_return = c == '\r' && rest.get(1) != Some(&b'\n');
        let is_allowed = matches!(c, '\t' | '\n' | '\r') && !is_lone_return;
        if c.is_ascii_control() && !is_allowed {
            let code = u32::from(c);
            let text = format!("TOML files cannot contain control characters: '0x{code:02x}'");
            return Err(LexError::at(self.line, text));
        }
        Ok((c, c.len_utf8()))
    }

    /// Takes the next character if it is this one.
    pub(super) fn accept(&mut self, wanted: char) -> Result<bool, LexError> {
        let is_it = self.peek()? == wanted;
        if is_it {
            self.next()?;
        }
        Ok(is_it)
    }

    /// Takes characters as long as they are of a kind.
    pub(super) fn skip(&mut self, is_it: impl Fn(char) -> bool) -> Result<(), LexError> {
        while is_it(self.peek()?) {
            self.next()?;
        }
        Ok(())
    }

    /// An error at this place.
    pub(super) fn error(&self, text: String) -> LexError {
        let ends_a_line = self.pos > 0 && self.input.get(self.pos - 1) == Some(&b'\n');
        let line = self.line - usize::from(self.at_end && ends_a_line);
        LexError::at(line, text)
    }

    /// An error at the end of the line before, as this one begins only after it.
    pub(super) fn error_before(&self, text: String) -> LexError {
        LexError::at(self.line.saturating_sub(1), text)
    }

    /// Reads what follows `"`, up to the next; the text is without escapes undone. The second value
    /// is whether there are any.
    pub(super) fn basic(&mut self) -> Result<(&'a str, bool), LexError> {
        let (start, mut has_escapes) = (self.pos, false);
        loop {
            match self.next()? {
                END => return Err(self.error("unexpected EOF; expected '\"'".to_owned())),
                '\n' | '\r' => return Err(self.newline_in_string()),
                '\\' => {
                    has_escapes = true;
                    self.escape(start)?;
                }
                '"' => return Ok((self.between(start, self.pos - 1), has_escapes)),
                _ => {}
            }
        }
    }

    /// Reads what follows `'`, up to the next.
    pub(super) fn raw(&mut self) -> Result<&'a str, LexError> {
        let start = self.pos;
        loop {
            match self.next()? {
                END => return Err(self.error("unexpected EOF; expected \"'\"".to_owned())),
                '\n' | '\r' => return Err(self.newline_in_string()),
                '\'' => return Ok(self.between(start, self.pos - 1)),
                _ => {}
            }
        }
    }

    fn newline_in_string(&self) -> LexError {
        self.error_before("strings cannot contain newlines".to_owned())
    }

    /// Reads what follows three quotes, up to the next three.
    pub(super) fn lines(&mut self, quote: char) -> Result<&'a str, LexError> {
        let start = self.pos;
        let is_basic = quote == '"';
        loop {
            match self.next()? {
                END if is_basic => {
                    return Err(self.error("unexpected EOF; expected '\"\"\"'".to_owned()));
                }
                END => return Err(self.error("unexpected EOF; expected \"'''\"".to_owned())),
                '\\' if is_basic => match self.peek()? {
                    '\n' | '\r' => {
                        self.next()?;
                    }
                    _ => self.escape(start)?,
                },
                c if c == quote => {
                    if !self.accept(quote)? {
                        continue;
                    }
                    if !self.accept(quote)? {
                        continue;
                    }
                    if self.peek()? != quote {
                        return Ok(self.between(start, self.pos - 3));
                    }
                    // Up to two quotes may stand before the three that end it.
                    let read = self.since(start);
                    if is_basic && read.ends_with("\"\"\"\"\"") && !read.ends_with("\\\"\"\"\"\"") {
                        return Err(self.error("unexpected '\"\"\"\"\"\"'".to_owned()));
                    }
                    if !is_basic && read.ends_with("'''''") {
                        return Err(self.error("unexpected \"''''''\"".to_owned()));
                    }
                    self.pos -= 2;
                }
                _ => {}
            }
        }
    }

    /// Reads what follows a backslash. `start` is where the string began.
    fn escape(&mut self, start: usize) -> Result<(), LexError> {
        let (count, letter, name) = match self.next()? {
            'e' | 'b' | 't' | 'n' | 'f' | 'r' | '"' | ' ' | '\t' | '\\' => return Ok(()),
            'x' => (2, 'x', "two"),
            'u' => (4, 'u', "four"),
            'U' => (8, 'U', "eight"),
            other => {
                let text = format!("invalid escape in string '\\{other}'");
                return Err(if self.at_end {
                    self.error_before(text)
                } else {
                    self.error(text)
                });
            }
        };
        for _ in 0..count {
            if !self.next()?.is_ascii_hexdigit() {
                let read = super::quoted(self.since(start));
                return Err(self.error(format!(
                    "expected {name} hexadecimal digits after '\\{letter}', but got {read} instead"
                )));
            }
        }
        Ok(())
    }

    /// Reads a number, a date or a time that begins here with a digit or a sign.
    pub(super) fn number(&mut self) -> Result<(Number, &'a str), LexError> {
        let start = self.pos;
        let kind = match self.next()? {
            '+' | '-' => self.after_sign(start)?,
            '0' => self.after_zero(start)?,
            _ => self.digits()?,
        };
        let text = self.since(start);
        Ok((
            kind,
            if kind == Number::Date {
                text.trim()
            } else {
                text
            },
        ))
    }

    fn after_sign(&mut self, start: usize) -> Result<Number, LexError> {
        let c = self.next()?;
        let rest = match c {
            'i' => Some(['n', 'f']),
            'n' => Some(['a', 'n']),
            _ => None,
        };
        if let Some([second, third]) = rest {
            if !self.accept(second)? || !self.accept(third)? {
                let read = self.since(start);
                return Err(self.error(format!("invalid float: '{read}'")));
            }
            return Ok(Number::Float);
        }
        match c {
            '.' => Err(self.error("floats must start with a digit, not '.'".to_owned())),
            '0' if matches!(self.peek()?, 'b' | 'o' | 'x') => {
                let text = format!(
                    "cannot use sign with non-decimal numbers: '{}{}'",
                    self.since(start),
                    self.peek()?
                );
                Err(self.error(text))
            }
            '0'..='9' => self.decimal(),
            other => Err(self.error(format!("expected a digit but got {}", quoted_char(other)))),
        }
    }

    fn after_zero(&mut self, start: usize) -> Result<Number, LexError> {
        let (is_digit, name): (fn(char) -> bool, _) = match self.peek()? {
            '0'..='9' => return self.digits(),
            '_' => return self.decimal(),
            '.' | 'e' | 'E' => return self.float(),
            'b' => (|c| matches!(c, '0' | '1'), "a binary"),
            'o' => (|c| matches!(c, '0'..='7'), "an octal"),
            'x' => (|c| c.is_ascii_hexdigit(), "a hexadecimal"),
            _ => return Ok(Number::Integer),
        };
        self.next()?;
        let next = self.peek()?;
        if !is_digit(next) {
            let read = self.since(start);
            return Err(self.error(format!("not {name} number: '{read}{next}'")));
        }
        self.skip(|c| is_digit(c) || c == '_')?;
        Ok(Number::Integer)
    }

    /// A number or a date, after its first digits.
    fn digits(&mut self) -> Result<Number, LexError> {
        self.skip(|c| c.is_ascii_digit())?;
        match self.peek()? {
            '-' | ':' => {
                let is_of_date = |c: char| {
                    c.is_ascii_digit()
                        || matches!(c, '-' | ':' | 'T' | 't' | ' ' | '.' | 'Z' | 'z' | '+')
                };
                self.skip(is_of_date)?;
                Ok(Number::Date)
            }
            '_' => self.decimal(),
            '.' | 'e' | 'E' => self.float(),
            _ => Ok(Number::Integer),
        }
    }

    fn decimal(&mut self) -> Result<Number, LexError> {
        self.skip(|c| c.is_ascii_digit() || c == '_')?;
        match self.peek()? {
            '.' | 'e' | 'E' => self.float(),
            _ => Ok(Number::Integer),
        }
    }

    fn float(&mut self) -> Result<Number, LexError> {
        self.skip(|c| c.is_ascii_digit() || matches!(c, '_' | '.' | '-' | '+' | 'e' | 'E'))?;
        Ok(Number::Float)
    }
}

/// What begins with a digit or a sign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Number {
    Integer,
    Float,
    Date,
}
