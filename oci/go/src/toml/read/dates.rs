//! Dates and times, as Go's `time.Parse` takes them for BurntSushi/toml.

use std::fmt::Write as _;

/// The text in the form of RFC 3339, with seconds; `None` if it is neither date nor time.
pub(super) fn canonical(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (Some(date), Some(time)),
        None if bytes.get(2) == Some(&b':') => (None, Some(text)),
        None => (Some(text), None),
    };
    let mut out = String::new();
    if let Some(date) = date {
        let (year, rest) = date.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
        if !(1..=12).contains(&month) || day < 1 || day > days(year, month) {
            return None;
        }
        out = format!("{year:04}-{month:02}-{day:02}");
    }
    if let Some(time) = time {
        if date.is_some() {
            out.push('T');
        }
        push_time(&mut out, time, date.is_some())?;
    }
    Some(out)
}

fn push_time(out: &mut String, time: &str, may_have_zone: bool) -> Option<()> {
    let at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at_checked(at)?;
    let (hour, rest) = clock.split_once(':')?;
    let (minute, second) = rest
        .split_once(':')
        .map_or((rest, None), |(m, s)| (m, Some(s)));
    let (whole, fraction) = match second {
        None => (0, None),
        Some(second) => match second.split_once('.') {
            Some((whole, fraction)) => (digits(whole, 2)?, Some(fraction)),
            None => (digits(second, 2)?, None),
        },
    };
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    if hour > 23 || minute > 59 || whole > 59 {
        return None;
    }
    // Writing to a string cannot fail.
    write!(out, "{hour:02}:{minute:02}:{whole:02}").ok();
    if let Some(fraction) = fraction {
        if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        out.push('.');
        out.push_str(fraction.get(..9).unwrap_or(fraction));
    }
    match zone {
        "" => {}
        _ if !may_have_zone => return None,
        "Z" => out.push('Z'),
        _ => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            if zone.starts_with('Z') || digits(hours, 2)? > 23 || digits(minutes, 2)? > 59 {
                return None;
            }
            out.push_str(zone);
        }
    }
    Some(())
}

fn digits(text: &str, count: usize) -> Option<u32> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn days(year: u32, month: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn dates_that_exist_are_taken() {
        for (text, expected) in [
            ("1979-05-27T07:32:00Z", Some("1979-05-27T07:32:00Z")),
            ("1979-05-27T07:32", Some("1979-05-27T07:32:00")),
            ("2000-02-29", Some("2000-02-29")),
            ("1900-02-29", None),
            ("07:32:00.1234567891", Some("07:32:00.123456789")),
            ("07:32:60", None),
            ("07:32:00Z", None),
            ("7:32:00", None),
            ("1979-5-27", None),
            ("1979-05-27T07:32:00+25:00", None),
            ("1979-05-27T07:32:00.Z", None),
        ] {
            assert_eq!(canonical(text).as_deref(), expected, "{text}");
        }
    }
}
