//! Times in rules: Open Policy Agent's functions below `time`, but for the clock.
//!
//! regorus has them, too, with names and rules of all zones as tables of pointers, which the loader
//! would have to go through at every start of the program. Here zones come from the database that
//! `jiff` carries as plain bytes.
//!
//! Source: <https://www.openpolicyagent.org/docs/policy-reference/builtins/time>.

use jiff::civil::{Date, DateTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};
use regorus::Value;

use super::layout;

/// What a function makes of its arguments; an error says what is wrong with them.
type Function = fn(&[Value]) -> Result<Value, String>;

/// The functions: their name, how many arguments each has, and what it does.
pub(super) const FUNCTIONS: [(&str, u8, Function); 9] = [
    ("time.add_date", 4, add_date),
    ("time.clock", 1, clock),
    ("time.date", 1, date),
    ("time.diff", 2, diff),
    ("time.format", 1, format),
    ("time.parse_duration_ns", 1, parse_duration),
    ("time.parse_ns", 2, parse),
    ("time.parse_rfc3339_ns", 1, parse_rfc3339),
    ("time.weekday", 1, weekday),
];

fn add_date(arguments: &[Value]) -> Result<Value, String> {
    let [time, years, months, days] = arguments else {
        return Err("four arguments are wanted".to_owned());
    };
    let time = moment(time)?.0;
    let [years, months, days] = [years, months, days].map(|it| it.as_i64().ok());
    // Like Go's: the 31st of a month that has 30 days is the first of the next.
    let added = || {
        let months = (i64::from(time.month()) - 1).checked_add(months?)?;
        let year = i64::from(time.year()).checked_add(years?)?;
        let year = year.checked_add(months.div_euclid(12))?;
        let month = i8::try_from(months.rem_euclid(12)).ok()? + 1;
        let first = Date::new(year.try_into().ok()?, month, 1).ok()?;
        let days = days?.checked_add(i64::from(time.day()) - 1)?;
        let date = first
            .checked_add(jiff::Span::new().try_days(days).ok()?)
            .ok()?;
        let time = date
            .to_datetime(time.time())
            .to_zoned(time.time_zone().clone());
        nanoseconds(time.ok()?.timestamp())
    };
    added().ok_or_else(|| "the date is out of range".to_owned())
}

fn clock(arguments: &[Value]) -> Result<Value, String> {
    let time = only(arguments)?.0;
    Ok(numbers([time.hour(), time.minute(), time.second()]))
}

fn date(arguments: &[Value]) -> Result<Value, String> {
    let time = only(arguments)?.0;
    let [month, day] = [time.month(), time.day()].map(i16::from);
    Ok(numbers([time.year(), month, day]))
}

fn weekday(arguments: &[Value]) -> Result<Value, String> {
    Ok(Value::from(layout::day_name(&only(arguments)?.0)))
}

/// Years, months, days, hours, minutes and seconds between two times.
fn diff(arguments: &[Value]) -> Result<Value, String> {
    let [a, b] = arguments else {
        return Err("two arguments are wanted".to_owned());
    };
    let (a, b) = (moment(a)?.0, moment(b)?.0);
    let b = b.with_time_zone(a.time_zone().clone());
    let (from, to) = if a > b { (b, a) } else { (a, b) };
    let parts = |it: DateTime| {
        let [month, day, hour, minute, second] =
            [it.month(), it.day(), it.hour(), it.minute(), it.second()].map(i16::from);
        [it.year(), month, day, hour, minute, second]
    };
    let before = parts(from.datetime());
    let mut parts = parts(to.datetime());
    let days = i16::from(from.days_in_month());
    let sizes = [0, 12, days, 24, 60, 60];
    let mut borrowed = 0;
    for ((part, before), size) in parts.iter_mut().zip(before).zip(sizes).rev() {
        *part -= before + borrowed;
        borrowed = i16::from(*part < 0);
        if *part < 0 {
            *part += size;
        }
    }
    Ok(numbers(parts))
}

fn format(arguments: &[Value]) -> Result<Value, String> {
    let (time, layout) = only(arguments)?;
    let layout = layout.unwrap_or(layout::RFC3339_NANO);
    Ok(Value::from(layout::format(&time, layout::named(layout))))
}

fn parse(arguments: &[Value]) -> Result<Value, String> {
    let [layout, value] = arguments else {
        return Err("two arguments are wanted".to_owned());
    };
    let (layout, value) = (text(layout)?, text(value)?);
    layout::parse(layout::named(layout), value)
        .and_then(nanoseconds)
        .ok_or_else(|| format!("`{value}` is not a time of the form `{layout}`"))
}

fn parse_rfc3339(arguments: &[Value]) -> Result<Value, String> {
    let value = text(arguments.first().unwrap_or(&Value::Undefined))?;
    layout::parse(layout::RFC3339, value)
        .and_then(nanoseconds)
        .ok_or_else(|| format!("`{value}` is not a time as RFC 3339 has it"))
}

fn parse_duration(arguments: &[Value]) -> Result<Value, String> {
    let value = text(arguments.first().unwrap_or(&Value::Undefined))?;
    duration(value)
        .map(Value::from)
        .ok_or_else(|| format!("`{value}` is not a duration such as `1h30m`"))
}

/// A duration as Go writes it, such as `-1.5h` or `2m3s`, in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut sum: i128 = 0;
    let mut is_first = true;
    while is_first || !rest.is_empty() {
        is_first = false;
        let whole = digits(rest);
        rest = rest.get(whole.len()..)?;
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            fraction = digits(after);
            rest = after.get(fraction.len()..)?;
        }
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit = rest.find(|c: char| c == '.' || c.is_ascii_digit());
        let (name, after) = rest.split_at(unit.unwrap_or(rest.len()));
        rest = after;
        let unit: i128 = match name {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        sum = sum.checked_add(i128::from(whole).checked_mul(unit)?)?;
        // More than 15 digits are below a nanosecond, whatever the unit.
        let fraction = fraction.get(..15).unwrap_or(fraction);
        if !fraction.is_empty() {
            let size = 10_i128.checked_pow(fraction.len().try_into().ok()?)?;
            sum = sum.checked_add(fraction.parse::<i128>().ok()? * unit / size)?;
        }
    }
    i64::try_from(if is_negative { -sum } else { sum }).ok()
}

/// The digits that `text` starts with.
fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

/// The only argument, a time, with the layout that it may come with.
fn only(arguments: &[Value]) -> Result<(Zoned, Option<&str>), String> {
    moment(arguments.first().unwrap_or(&Value::Undefined))
}

/// A time: nanoseconds since 1970, alone or in a list with a zone and a layout.
fn moment(value: &Value) -> Result<(Zoned, Option<&str>), String> {
    let wrong =
        || format!("`{value}` is not a time: nanoseconds, or a list of these and a time zone");
    let list = match value {
        Value::Array(list) => list.as_slice(),
        value => std::slice::from_ref(value),
    };
    let (time, zone, layout) = match list {
        [time] => (time, "UTC", None),
        [time, zone] => (time, text(zone)?, None),
        [time, zone, layout] => (time, text(zone)?, Some(text(layout)?)),
        _ => return Err(wrong()),
    };
    let time = time.as_i64().ok().ok_or_else(wrong)?;
    let time = Timestamp::from_nanosecond(time.into())
        .ok()
        .ok_or_else(wrong)?;
    let zone = match zone {
        "UTC" | "" => TimeZone::UTC,
        // Rules judge alike on every machine, so there is no `Local`.
        zone => TimeZoneDatabase::bundled()
            .get(zone)
            .ok()
            .ok_or_else(|| format!("`{zone}` is not a time zone"))?,
    };
    Ok((time.to_zoned(zone), layout))
}

fn text(value: &Value) -> Result<&str, String> {
    let text = value.as_string().ok().map(AsRef::as_ref);
    text.ok_or_else(|| format!("`{value}` is not a text"))
}

fn nanoseconds(time: Timestamp) -> Option<Value> {
    i64::try_from(time.as_nanosecond()).ok().map(Value::from)
}

fn numbers<T: Into<i64>>(numbers: impl IntoIterator<Item = T>) -> Value {
    let numbers: Vec<Value> = numbers
        .into_iter()
        .map(|it| Value::from(it.into()))
        .collect();
    Value::from(numbers)
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;

    #[test]
    fn they_do_what_go_does() {
        let call = |name: &str, arguments: &[Json]| {
            let (_, _, function) = FUNCTIONS.iter().find(|it| it.0 == name).unwrap();
            let arguments: Vec<Value> = arguments.iter().cloned().map(Value::from).collect();
            let result = function(&arguments);
            result.map_or(Json::Null, |it| it.to_json_str().unwrap().parse().unwrap())
        };
        let cases = include_str!("../../../tests/fixtures/go-time/times.jsonl");
        let mut failed = Vec::new();
        for line in cases.lines() {
            let case: Json = line.parse().unwrap();
            let field = |name: &str| match &case[name] {
                Json::Null if matches!(name, "time" | "other") => 0.into(),
                Json::Null => "".into(),
                value => value.clone(),
            };
            let [zone, layout, text] = ["zone", "layout", "text"].map(field);
            let time = Json::from(vec![field("time"), zone.clone()]);
            let result = match case["do"].as_str().unwrap() {
                "format" => call("time.format", &[vec![field("time"), zone, layout].into()]),
                "parse" => call("time.parse_ns", &[layout, text]),
                "duration" => call("time.parse_duration_ns", &[text]),
                "add" => {
                    let [years, months, days] = [0, 1, 2].map(|it| case["add"][it].clone());
                    call("time.add_date", &[time, years, months, days])
                }
                "diff" => call("time.diff", &[time, vec![field("other"), zone].into()]),
                name => call(&format!("time.{name}"), &[time]),
            };
            if result != case["gives"] {
                failed.push(format!("{line}\n  {result}"));
            }
        }
        assert!(failed.is_empty(), "{}\n{}", failed.len(), failed.join("\n"));
        assert!(cases.lines().count() > 1000);
    }

    #[test]
    fn what_is_no_time_is_an_error() {
        let error = |value: Json| clock(&[Value::from(value)]).unwrap_err();
        let form = "is not a time: nanoseconds, or a list of these and a time zone";
        assert_eq!(error("x".into()), format!("`\"x\"` {form}"));
        assert_eq!(error(Json::Array(Vec::new())), format!("`[]` {form}"));
        let zoned = |zone: &str| error(vec![Json::from(1), zone.into()].into());
        assert_eq!(zoned("Local"), "`Local` is not a time zone");
        assert_eq!(
            zoned("../../etc/passwd"),
            "`../../etc/passwd` is not a time zone"
        );
    }
}
