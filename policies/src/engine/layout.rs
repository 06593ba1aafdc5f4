//! Times as Go writes and reads them: by a layout, which is the time `Mon Jan 2 15:04:05 MST 2006` as
//! it should look. Rules name layouts in `time.format` and `time.parse_ns`.
//!
//! Source: <https://pkg.go.dev/time#pkg-constants>; compared with Go's own results in
//! `tests/fixtures/go-time`.

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

/// The layouts that rules may call by a name.
const NAMED: [(&str, &str); 10] = [
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("RFC3339", RFC3339),
    ("RFC3339Nano", RFC3339_NANO),
];

pub(super) const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
pub(super) const RFC3339_NANO: &str = "2006-01-02T15:04:05.999999999Z07:00";

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// How a number is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pad {
    None,
    Space,
    Zero,
}

/// A part of a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    Year,
    ShortYear,
    Month(Pad),
    MonthName,
    ShortMonthName,
    Day(Pad),
    YearDay(Pad),
    DayName,
    ShortDayName,
    Hour,
    Hour12(Pad),
    Minute(Pad),
    Second(Pad),
    /// A sign and so many digits, which may be fewer if they end in zeros.
    Fraction {
        sign: char,
        digits: usize,
        trims: bool,
    },
    UpperHalf,
    LowerHalf,
    ZoneName,
    Offset {
        /// UTC is `Z`.
        zulu: bool,
        colons: bool,
        /// Hours; hours and minutes; hours, minutes and seconds.
        parts: usize,
    },
}

const fn offset(zulu: bool, colons: bool, parts: usize) -> Field {
    Field::Offset {
        zulu,
        colons,
        parts,
    }
}

/// What stands for each part; of two that fit the first counts.
const FIELDS: [(&str, Field); 33] = [
    ("January", Field::MonthName),
    ("Jan", Field::ShortMonthName),
    ("Monday", Field::DayName),
    ("Mon", Field::ShortDayName),
    ("MST", Field::ZoneName),
    ("01", Field::Month(Pad::Zero)),
    ("02", Field::Day(Pad::Zero)),
    ("03", Field::Hour12(Pad::Zero)),
    ("04", Field::Minute(Pad::Zero)),
    ("05", Field::Second(Pad::Zero)),
    ("06", Field::ShortYear),
    ("002", Field::YearDay(Pad::Zero)),
    ("15", Field::Hour),
    ("1", Field::Month(Pad::None)),
    ("2006", Field::Year),
    ("2", Field::Day(Pad::None)),
    ("__2", Field::YearDay(Pad::Space)),
    ("_2", Field::Day(Pad::Space)),
    ("3", Field::Hour12(Pad::None)),
    ("4", Field::Minute(Pad::None)),
    ("5", Field::Second(Pad::None)),
    ("PM", Field::UpperHalf),
    ("pm", Field::LowerHalf),
    ("-070000", offset(false, false, 3)),
    ("-07:00:00", offset(false, true, 3)),
    ("-0700", offset(false, false, 2)),
    ("-07:00", offset(false, true, 2)),
    ("-07", offset(false, false, 1)),
    ("Z070000", offset(true, false, 3)),
    ("Z07:00:00", offset(true, true, 3)),
    ("Z0700", offset(true, false, 2)),
    ("Z07:00", offset(true, true, 2)),
    ("Z07", offset(true, false, 1)),
];

/// The text before the next part of a layout, the part, and what is left of the layout.
fn next(layout: &str) -> (&str, Option<Field>, &str) {
    for (at, c) in layout.char_indices() {
        let (before, rest) = layout.split_at(at);
        if matches!(c, '.' | ',')
            && let Some((field, rest)) = fraction(c, rest)
        {
            return (before, Some(field), rest);
        }
        for (text, field) in FIELDS {
            let Some(after) = rest.strip_prefix(text) else {
                continue;
            };
            let is_word = matches!(field, Field::ShortMonthName | Field::ShortDayName)
                && after.starts_with(|c: char| c.is_ascii_lowercase());
            let is_year = text == "_2" && after.starts_with("006");
            if !is_word && !is_year {
                return (before, Some(field), after);
            }
        }
    }
    (layout, None, "")
}

/// A fraction at the start of a layout, such as `.000` or `,999`.
fn fraction(sign: char, layout: &str) -> Option<(Field, &str)> {
    let digits = layout.get(1..)?;
    let digit = digits.chars().next().filter(|it| matches!(it, '0' | '9'))?;
    let rest = digits.trim_start_matches(digit);
    let field = Field::Fraction {
        sign,
        digits: digits.len() - rest.len(),
        trims: digit == '9',
    };
    (!rest.starts_with(|c: char| c.is_ascii_digit())).then_some((field, rest))
}

/// The layout that `name` stands for, or `name` itself.
pub(super) fn named(name: &str) -> &str {
    let found = NAMED.iter().find(|(it, _)| *it == name);
    found.map_or(name, |(_, layout)| layout)
}

/// Writes a time.
pub(super) fn format(time: &Zoned, mut layout: &str) -> String {
    let mut text = String::new();
    while !layout.is_empty() {
        let (before, field, rest) = next(layout);
        text.push_str(before);
        if let Some(field) = field {
            text.push_str(&write(time, field));
        }
        layout = rest;
    }
    text
}

fn write(time: &Zoned, field: Field) -> String {
    let short = |names: &[&str], index: i8| name(names, index).chars().take(3).collect();
    let hour12 = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    match field {
        Field::Year => format!("{:04}", time.year()),
        Field::ShortYear => format!("{:02}", time.year().rem_euclid(100)),
        Field::Month(pad) => number(time.month().into(), pad, 2),
        Field::MonthName => name(&MONTHS, time.month() - 1).to_owned(),
        Field::ShortMonthName => short(&MONTHS, time.month() - 1),
        Field::Day(pad) => number(time.day().into(), pad, 2),
        Field::YearDay(pad) => number(time.day_of_year(), pad, 3),
        Field::DayName => day_name(time).to_owned(),
        Field::ShortDayName => short(&DAYS, time.weekday().to_sunday_zero_offset()),
        Field::Hour => number(time.hour().into(), Pad::Zero, 2),
        Field::Hour12(pad) => number(hour12.into(), pad, 2),
        Field::Minute(pad) => number(time.minute().into(), pad, 2),
        Field::Second(pad) => number(time.second().into(), pad, 2),
        Field::Fraction {
            sign,
            digits,
            trims,
        } => {
            let all = format!("{:09}", time.subsec_nanosecond());
            let digits: String = all
                .chars()
                .chain("0".chars().cycle())
                .take(digits)
                .collect();
            let digits = if trims {
                digits.trim_end_matches('0')
            } else {
                &digits
            };
            match digits {
                "" => String::new(),
                digits => format!("{sign}{digits}"),
            }
        }
        Field::UpperHalf => if time.hour() < 12 { "AM" } else { "PM" }.to_owned(),
        Field::LowerHalf => if time.hour() < 12 { "am" } else { "pm" }.to_owned(),
        Field::ZoneName => {
            let info = time.time_zone().to_offset_info(time.timestamp());
            info.abbreviation().to_owned()
        }
        Field::Offset {
            zulu,
            colons,
            parts,
        } => {
            let seconds = time.offset().seconds();
            if zulu && seconds == 0 {
                return "Z".to_owned();
            }
            // Go finds the sign in whole minutes.
            let sign = if seconds / 60 < 0 { '-' } else { '+' };
            let seconds = seconds.abs();
            let numbers = [seconds / 3600, seconds / 60 % 60, seconds % 60];
            let numbers: Vec<String> = numbers
                .iter()
                .take(parts)
                .map(|it| format!("{it:02}"))
                .collect();
            format!("{sign}{}", numbers.join(if colons { ":" } else { "" }))
        }
    }
}

/// The name of the day of the week, such as `Monday`.
pub(super) fn day_name(time: &Zoned) -> &'static str {
    name(&DAYS, time.weekday().to_sunday_zero_offset())
}

fn name<'a>(names: &[&'a str], index: i8) -> &'a str {
    let name = usize::try_from(index).ok().and_then(|it| names.get(it));
    name.copied().unwrap_or_default()
}

fn number(number: i16, pad: Pad, width: usize) -> String {
    match pad {
        Pad::None => number.to_string(),
        Pad::Space => format!("{number:width$}"),
        Pad::Zero => format!("{number:0width$}"),
    }
}

/// Reads a time; what the layout does not name is zero, or UTC. `None` if the text has another form, or
/// there is no such time.
pub(super) fn parse(layout: &str, text: &str) -> Option<Timestamp> {
    let mut reader = Reader { text };
    let mut found = Found::default();
    let mut layout = layout;
    loop {
        let (before, field, rest) = next(layout);
        reader.skip(before)?;
        let Some(field) = field else {
            return reader.text.is_empty().then(|| found.time())?;
        };
        found.read(&mut reader, field, rest)?;
        layout = rest;
    }
}

/// What was read of a time.
#[derive(Debug, Default)]
struct Found {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    year_day: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    /// Whether it is the afternoon, if that is said.
    afternoon: Option<bool>,
    /// The distance from UTC, in seconds.
    offset: i32,
}

impl Found {
    fn read(&mut self, reader: &mut Reader<'_>, field: Field, rest: &str) -> Option<()> {
        match field {
            Field::Year => self.year = reader.digits(4, 4)?,
            Field::ShortYear => {
                let year = reader.digits(2, 2)?;
                self.year = year + if year >= 69 { 1900 } else { 2000 };
            }
            Field::Month(pad) => self.month = Some(reader.within(pad, 1..=12)?),
            Field::MonthName => self.month = Some(reader.name(&MONTHS, usize::MAX)? + 1),
            Field::ShortMonthName => self.month = Some(reader.name(&MONTHS, 3)? + 1),
            Field::Day(pad) => self.day = Some(reader.within(pad, 0..=99)?),
            Field::YearDay(pad) => {
                if pad == Pad::Space {
                    reader.spaces(2);
                }
                let least = if pad == Pad::Zero { 3 } else { 1 };
                self.year_day = Some(reader.digits(least, 3)?);
            }
            Field::DayName => {
                reader.name(&DAYS, usize::MAX)?;
            }
            Field::ShortDayName => {
                reader.name(&DAYS, 3)?;
            }
            Field::Hour => self.hour = reader.within(Pad::None, 0..=23)?,
            Field::Hour12(pad) => self.hour = reader.within(pad, 0..=12)?,
            Field::Minute(pad) => self.minute = reader.within(pad, 0..=59)?,
            Field::Second(pad) => {
                self.second = reader.within(pad, 0..=59)?;
                // A fraction may follow that the layout does not name.
                if !matches!(next(rest).1, Some(Field::Fraction { .. })) {
                    self.nanosecond = reader.fraction(1, usize::MAX).unwrap_or_default();
                }
            }
            Field::Fraction { trims: true, .. } => {
                if let Some(nanosecond) = reader.fraction(1, 9) {
                    self.nanosecond = nanosecond;
                }
            }
            Field::Fraction { digits, .. } => self.nanosecond = reader.fraction(digits, digits)?,
            Field::UpperHalf => self.afternoon = Some(reader.either("AM", "PM")?),
            Field::LowerHalf => self.afternoon = Some(reader.either("am", "pm")?),
            Field::ZoneName => self.offset = reader.zone()?,
            Field::Offset {
                zulu,
                colons,
                parts,
            } => self.offset = reader.offset(zulu, colons, parts)?,
        }
        Some(())
    }

    fn time(&self) -> Option<Timestamp> {
        let date = match self.year_day {
            Some(day) => {
                let first = Date::new(self.year, 1, 1).ok()?;
                let date = first.with().day_of_year(day).build().ok()?;
                let fits = |said: Option<i8>, is: i8| said.is_none_or(|it| it == is);
                (fits(self.month, date.month()) && fits(self.day, date.day())).then_some(date)?
            }
            None => Date::new(self.year, self.month.unwrap_or(1), self.day.unwrap_or(1)).ok()?,
        };
        let hour = match (self.afternoon, self.hour) {
            (Some(true), hour) if hour < 12 => hour + 12,
            (Some(false), 12) => 0,
            (_, hour) => hour,
        };
        let time = date.at(hour, self.minute, self.second, self.nanosecond);
        let zone = TimeZone::fixed(Offset::from_seconds(self.offset).ok()?);
        Some(time.to_zoned(zone).ok()?.timestamp())
    }
}

/// What is left of a text.
struct Reader<'a> {
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a str> {
        let (taken, rest) = self.text.split_at_checked(bytes)?;
        self.text = rest;
        Some(taken)
    }

    /// Skips what the layout says literally; blanks stand for any number of blanks.
    fn skip(&mut self, mut literal: &str) -> Option<()> {
        while let Some(c) = literal.chars().next() {
            if c == ' ' {
                if !self.text.is_empty() && !self.text.starts_with(' ') {
                    return None;
                }
                literal = literal.trim_start_matches(' ');
                self.text = self.text.trim_start_matches(' ');
            } else {
                self.text = self.text.strip_prefix(c)?;
                literal = literal.get(c.len_utf8()..)?;
            }
        }
        Some(())
    }

    fn spaces(&mut self, most: usize) {
        for _ in 0..most {
            self.text = self.text.strip_prefix(' ').unwrap_or(self.text);
        }
    }

    /// How many digits stand here.
    fn count(&self) -> usize {
        self.text.bytes().take_while(u8::is_ascii_digit).count()
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<i16> {
        let count = self.count().min(most);
        (count >= least).then(|| self.take(count))??.parse().ok()
    }

    fn within(&mut self, pad: Pad, range: std::ops::RangeInclusive<i16>) -> Option<i8> {
        if pad == Pad::Space {
            self.spaces(1);
        }
        let number = self.digits(if pad == Pad::Zero { 2 } else { 1 }, 2)?;
        range.contains(&number).then(|| number.try_into().ok())?
    }

    /// A name of a list, in any case, of which only so many letters count.
    fn name(&mut self, names: &[&str], letters: usize) -> Option<i8> {
        let found = names.iter().position(|it| {
            let it = it.get(..letters.min(it.len())).unwrap_or(it);
            let text = self.text.get(..it.len());
            text.is_some_and(|text| text.eq_ignore_ascii_case(it))
        })?;
        self.take(letters.min(names.get(found)?.len()))?;
        i8::try_from(found).ok()
    }

    /// Whether the second of two texts stands here, if one of them does.
    fn either(&mut self, first: &str, second: &str) -> Option<bool> {
        let taken = self.take(first.len())?;
        (taken == first || taken == second).then_some(taken == second)
    }

    /// A fraction of a second with a sign before it, in nanoseconds.
    fn fraction(&mut self, least: usize, most: usize) -> Option<i32> {
        let digits = self.text.strip_prefix(['.', ','])?;
        let count = Reader { text: digits }.count().min(most);
        let nanoseconds = digits.get(..count.min(9)).filter(|_| count >= least)?;
        self.take(1 + count)?;
        format!("{nanoseconds:0<9}").parse().ok()
    }

    /// The abbreviation of a zone. Which zone it means is not known: it counts as UTC, but for `GMT+3`.
    fn zone(&mut self) -> Option<i32> {
        let upper = |it: &&u8| it.is_ascii_uppercase();
        let count = self
            .text
            .bytes()
            .take(6)
            .take_while(|it| upper(&it))
            .count();
        let has = |text: &str| self.text.starts_with(text);
        if has("UTC") {
            self.take(3)?;
        } else if has("ChST") || has("MeST") {
            self.take(4)?;
        } else if has("GMT") {
            self.take(3)?;
            return Some(self.signed_hours().unwrap_or_default() * 3600);
        } else if has("+") || has("-") {
            (self.text.len() >= 3).then(|| self.signed_hours())??;
        } else {
            let name = self.take(count)?;
            let fits = match count {
                3 => true,
                4 => name.ends_with('T') || name == "WITA",
                5 => name.ends_with('T'),
                _ => false,
            };
            fits.then_some(())?;
        }
        Some(0)
    }

    /// A sign and hours below 24; nothing is taken if they do not stand here.
    fn signed_hours(&mut self) -> Option<i32> {
        let count = match self.text.strip_prefix(['+', '-']) {
            Some(text) => Reader { text }.count(),
            None => 0,
        };
        let text = self.text.get(..1 + count).filter(|_| count > 0)?;
        let hours: i32 = text.parse().ok().filter(|it| (-23..=23).contains(it))?;
        self.take(text.len())?;
        Some(hours)
    }

    fn offset(&mut self, zulu: bool, colons: bool, parts: usize) -> Option<i32> {
        if zulu && let Some(rest) = self.text.strip_prefix('Z') {
            self.text = rest;
            return Some(0);
        }
        let sign = match self.take(1)? {
            "+" => 1,
            "-" => -1,
            _ => return None,
        };
        let mut seconds = 0;
        for (part, most, size) in [(0, 24, 3600), (1, 60, 60), (2, 60, 1)] {
            if part >= parts {
                break;
            }
            if colons && part > 0 {
                self.text = self.text.strip_prefix(':')?;
            }
            let number = i32::from(self.digits(2, 2)?);
            seconds += (number <= most).then_some(number * size)?;
        }
        Some(sign * seconds)
    }
}
