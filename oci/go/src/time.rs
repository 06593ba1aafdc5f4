//! Times as Go's package `time` reads and writes them in JSON.

/// `time.RFC3339`.
const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";

/// Reads a time as `Time.UnmarshalJSON` does, which is more lenient than RFC 3339, and gives it as
/// `Time.MarshalJSON` writes it.
///
/// # Errors
///
/// In Go's words.
pub fn normal(text: &[u8]) -> Result<String, String> {
    Reader { text, rest: text }.read()
}

struct Reader<'a> {
    text: &'a [u8],
    rest: &'a [u8],
}

impl Reader<'_> {
    fn read(&mut self) -> Result<String, String> {
        let year = self.year()?;
        self.literal(b'-')?;
        let month = self.number("01", true)?;
        self.in_range("month", (1..=12).contains(&month))?;
        self.literal(b'-')?;
        let day = self.number("02", true)?;
        self.literal(b'T')?;
        let hour = self.number("15", false)?;
        self.in_range("hour", hour < 24)?;
        self.literal(b':')?;
        let minute = self.number("04", true)?;
        self.in_range("minute", minute < 60)?;
        self.literal(b':')?;
        let second = self.number("05", true)?;
        self.in_range("second", second < 60)?;
        let fraction = self.fraction();
        let zone = self.zone()?;
        if !self.rest.is_empty() {
            let extra = format!(": extra text: {}", quoted(self.rest));
            return Err(self.wrong(&extra));
        }
        self.in_range("day", (1..=days(month, year)).contains(&day))?;
        Ok(format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"
        ))
    }

    fn year(&mut self) -> Result<u32, String> {
        let digits = self.rest.get(..4);
        let first = self.rest.first().is_some_and(u8::is_ascii_digit);
        let year = digits
            .filter(|it| first && it.iter().all(u8::is_ascii_digit))
            .ok_or_else(|| self.unread("2006", self.rest))?;
        let year = year.iter().fold(0, |sum, it| sum * 10 + digit(*it));
        self.skip(4);
        Ok(year)
    }

    fn literal(&mut self, letter: u8) -> Result<(), String> {
        if self.rest.first() != Some(&letter) {
            return Err(self.unread(&char::from(letter).to_string(), self.rest));
        }
        self.skip(1);
        Ok(())
    }

    /// A number of two digits; of one, too, if it need not have two.
    fn number(&mut self, layout: &str, is_fixed: bool) -> Result<u32, String> {
        let number = two_digits(self.rest, is_fixed);
        let (number, len) = number.ok_or_else(|| self.unread(layout, self.rest))?;
        self.skip(len);
        Ok(number)
    }

    /// The fraction of a second as Go writes it: nine digits at most, none that is zero at the end.
    fn fraction(&mut self) -> String {
        let Some((b'.' | b',', digits)) = self.rest.split_first() else {
            return String::new();
        };
        let count = digits.iter().take_while(|it| it.is_ascii_digit()).count();
        if count == 0 {
            return String::new();
        }
        let digits: String = digits
            .iter()
            .take(count.min(9))
            .map(|it| char::from(*it))
            .collect();
        self.skip(1 + count);
        match digits.trim_end_matches('0') {
            "" => String::new(),
            digits => format!(".{digits}"),
        }
    }

    fn zone(&mut self) -> Result<String, String> {
        if self.rest.first() == Some(&b'Z') {
            self.skip(1);
            return Ok("Z".to_owned());
        }
        let whole = self.rest;
        let unread = |it: &Self| it.unread("Z07:00", whole);
        let (Some(sign), Some(b':'), Some(hours), Some(minutes)) = (
            whole.first(),
            whole.get(3),
            whole.get(1..3),
            whole.get(4..6),
        ) else {
            return Err(unread(self));
        };
        self.skip(6);
        let hours = two_digits(hours, true);
        let minutes = hours.and(two_digits(minutes, true));
        let number = |it: Option<(u32, usize)>| it.map_or(0, |(number, _)| number);
        self.in_range("time zone offset hour", number(hours) <= 24)?;
        self.in_range("time zone offset minute", number(minutes) <= 60)?;
        if minutes.is_none() || !matches!(sign, b'+' | b'-') {
            return Err(unread(self));
        }
        let offset = number(hours) * 60 + number(minutes);
        Ok(match offset {
            0 => "Z".to_owned(),
            _ => format!("{}{:02}:{:02}", char::from(*sign), offset / 60, offset % 60),
        })
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    fn in_range(&self, what: &str, is_in: bool) -> Result<(), String> {
        if is_in {
            Ok(())
        } else {
            Err(self.wrong(&format!(": {what} out of range")))
        }
    }

    fn wrong(&self, why: &str) -> String {
        format!("parsing time {}{why}", quoted(self.text))
    }

    fn unread(&self, layout: &str, rest: &[u8]) -> String {
        format!(
            "parsing time {} as \"{LAYOUT}\": cannot parse {} as \"{layout}\"",
            quoted(self.text),
            quoted(rest)
        )
    }
}

/// As the package quotes: what is no visible ASCII as bytes.
fn quoted(text: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for byte in text {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(*byte)]),
            b' '..=0x7f => quoted.push(char::from(*byte)),
            _ => quoted.extend(format!("\\x{byte:02x}").chars()),
        }
    }
    quoted.push('"');
    quoted
}

fn two_digits(text: &[u8], is_fixed: bool) -> Option<(u32, usize)> {
    let mut digits = text
        .iter()
        .map_while(|it| it.is_ascii_digit().then(|| digit(*it)));
    let first = digits.next()?;
    match digits.next() {
        Some(second) => Some((first * 10 + second, 2)),
        None if is_fixed => None,
        None => Some((first, 1)),
    }
}

fn digit(letter: u8) -> u32 {
    u32::from(letter.saturating_sub(b'0'))
}

fn days(month: u32, year: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        for (text, written) in [
            ("2020-02-29T01:02:03Z", "2020-02-29T01:02:03Z"),
            ("2020-01-01T1:02:03,500Z", "2020-01-01T01:02:03.5Z"),
            (
                "2020-01-01T01:02:03.1234567891Z",
                "2020-01-01T01:02:03.123456789Z",
            ),
            ("2020-01-01T01:02:03.000+00:00", "2020-01-01T01:02:03Z"),
            ("2020-01-01T01:02:03-01:60", "2020-01-01T01:02:03-02:00"),
            ("0000-01-01T00:00:00+24:00", "0000-01-01T00:00:00+24:00"),
        ] {
            assert_eq!(normal(text.as_bytes()).as_deref(), Ok(written));
        }
    }
}
