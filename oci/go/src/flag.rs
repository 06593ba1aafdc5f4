//! Command lines by the rules of Go's `flag` package, and with its words.
//!
//! `-x v`, `-x=v`, `--x v` and `--x=v` are the same; a switch takes its value only after `=`. Flags
//! end at `--` or at the first argument that is none.

use std::collections::BTreeMap;

use crate::words::quoted;

/// What a flag takes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "each kind of flag is meant")]
pub enum Value {
    /// Any text.
    Text(String),
    /// Nothing, or after `=` what Go's `ParseBool` knows.
    Switch(bool),
    /// A number: decimal, `0x…`, `0o…`, `0b…` or with a leading zero octal.
    Number(i64),
    /// A time like `1h30m` or `-1s`, in nanoseconds.
    Duration(i64),
    /// Any text; each use adds one.
    List(Vec<String>),
}

/// A flag.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "each field has to be given")]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// What it is for; a line of the usage.
    pub usage: &'static str,
    /// The value that it has when it is not given.
    pub default: Value,
}

/// A command line, taken apart.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a command line has no more")]
pub struct Parsed {
    /// All flags, with their values.
    pub values: BTreeMap<&'static str, Value>,
    /// What came after the flags.
    pub arguments: Vec<String>,
}

/// Why a command line was not taken apart. Each wants the usage on stderr.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FlagError {
    /// The usage alone was asked for.
    #[error("")]
    Help,
    /// Too many dashes, or no name.
    #[error("bad flag syntax: {argument}")]
    Syntax {
        /// All of it.
        argument: String,
    },
    /// A flag that is not defined.
    #[error("flag provided but not defined: -{name}")]
    Undefined {
        /// Its name.
        name: String,
    },
    /// The command line ends before its value.
    #[error("flag needs an argument: -{name}")]
    NoValue {
        /// Its name.
        name: String,
    },
    /// The value is neither yes nor no.
    #[error("invalid boolean value {value:?} for -{name}: parse error")]
    Switch {
        /// Its name.
        name: String,
        /// What was given.
        value: String,
    },
    /// The value cannot be read.
    #[error("invalid value {value:?} for flag -{name}: {cause}")]
    Invalid {
        /// Its name.
        name: String,
        /// What was given.
        value: String,
        /// Why not, in Go's words.
        cause: &'static str,
    },
}

/// Takes `arguments` apart by `flags`.
pub fn parse(flags: &[Flag], arguments: &[String]) -> Result<Parsed, FlagError> {
    let mut values: BTreeMap<_, _> = flags
        .iter()
        .map(|it| (it.name, it.default.clone()))
        .collect();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.as_slice().first() {
        if argument.len() < 2 || !argument.starts_with('-') {
            break;
        }
        rest.next();
        if argument == "--" {
            break;
        }
        let bare = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'))
            .unwrap_or(argument);
        if bare.is_empty() || bare.starts_with(['-', '=']) {
            return Err(FlagError::Syntax {
                argument: argument.clone(),
            });
        }
        let (name, given) = match bare.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (bare, None),
        };
        let Some(value) = values.get_mut(name) else {
            return Err(match name {
                "help" | "h" => FlagError::Help,
                _ => FlagError::Undefined {
                    name: name.to_owned(),
                },
            });
        };
        let given = match (&value, given) {
            (_, Some(given)) => given,
            (Value::Switch(_), None) => "true",
            (_, None) => rest.next().ok_or_else(|| FlagError::NoValue {
                name: name.to_owned(),
            })?,
        };
        set(value, name, given)?;
    }
    Ok(Parsed {
        values,
        arguments: rest.cloned().collect(),
    })
}

fn set(value: &mut Value, name: &str, given: &str) -> Result<(), FlagError> {
    let invalid = |cause| FlagError::Invalid {
        name: name.to_owned(),
        value: given.to_owned(),
        cause,
    };
    match value {
        Value::Text(text) => given.clone_into(text),
        Value::List(list) => list.push(given.to_owned()),
        Value::Switch(switch) => {
            *switch = parse_bool(given).ok_or_else(|| FlagError::Switch {
                name: name.to_owned(),
                value: given.to_owned(),
            })?;
        }
        Value::Number(number) => *number = parse_int(given).map_err(invalid)?,
        Value::Duration(duration) => {
            *duration = parse_duration(given).ok_or_else(|| invalid("parse error"))?;
        }
    }
    Ok(())
}

/// The text that goes to stderr with a [`FlagError`], about a program of this name.
pub fn usage(program: &str, flags: &[Flag]) -> String {
    let mut text = format!("Usage of {program}:\n");
    let mut flags: Vec<_> = flags.iter().collect();
    flags.sort_by_key(|it| it.name);
    for Flag {
        name,
        usage,
        default,
    } in flags
    {
        let (kind, shown) = match default {
            Value::Text(text) if text.is_empty() => (" string", None),
            Value::Text(text) => (" string", Some(quoted(text.as_bytes()))),
            Value::Switch(switch) => ("", switch.then(|| "true".to_owned())),
            Value::Number(0) => (" int", None),
            Value::Number(number) => (" int", Some(number.to_string())),
            Value::Duration(0) => (" duration", None),
            Value::Duration(duration) => (" duration", Some(format_duration(*duration))),
            Value::List(list) if list.is_empty() => (" value", None),
            Value::List(list) => (" value", Some(format!("[{}]", list.join(" ")))),
        };
        let shown = shown
            .map(|it| format!(" (default {it})"))
            .unwrap_or_default();
        text.extend(["  -", name, kind, "\n    \t", usage, &shown, "\n"]);
    }
    text
}

/// Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Go's `strconv.ParseInt(text, 0, 64)`.
pub fn parse_int(text: &str) -> Result<i64, &'static str> {
    const SYNTAX: &str = "parse error";
    const RANGE: &str = "value out of range";
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefix = unsigned.get(..2).unwrap_or_default().to_ascii_lowercase();
    let (radix, digits) = match prefix.as_str() {
        "0x" => (16, unsigned.get(2..)),
        "0o" => (8, unsigned.get(2..)),
        "0b" => (2, unsigned.get(2..)),
        _ if unsigned.len() > 1 && unsigned.starts_with('0') => (8, unsigned.get(1..)),
        _ => (10, Some(unsigned)),
    };
    let has_prefix = radix != 10;
    let digits = digits.ok_or(SYNTAX)?;
    // An underscore may stand between digits, and after a prefix.
    let is_spaced = !digits.ends_with('_')
        && !digits.contains("__")
        && (has_prefix || !digits.starts_with('_'));
    let digits = digits.replace('_', "");
    if digits.is_empty() || !is_spaced || !digits.chars().all(|it| it.is_digit(radix)) {
        return Err(SYNTAX);
    }
    let magnitude = i128::from_str_radix(&digits, radix).map_err(|_too_large| RANGE)?;
    i64::try_from(if is_negative { -magnitude } else { magnitude }).map_err(|_too_large| RANGE)
}

/// Go's `strconv.Atoi`: decimal only.
pub fn parse_decimal(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Go's `time.ParseDuration`, in nanoseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut nanoseconds: u128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let whole = rest
            .find(|it: char| !it.is_ascii_digit())
            .unwrap_or(rest.len());
        let (digits, after) = rest.split_at_checked(whole)?;
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => {
                let end = after
                    .find(|it: char| !it.is_ascii_digit())
                    .unwrap_or(after.len());
                after.split_at_checked(end)?
            }
            None => ("", after),
        };
        if digits.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after
            .find(|it: char| it.is_ascii_digit() || it == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: u128 = if digits.is_empty() {
            0
        } else {
            digits.parse().ok()?
        };
        nanoseconds = nanoseconds.checked_add(whole.checked_mul(unit)?)?;
        let mut scale = unit;
        for digit in fraction.chars().take(18) {
            scale /= 10;
            nanoseconds = nanoseconds.checked_add(u128::from(digit.to_digit(10)?) * scale)?;
        }
        rest = after;
    }
    let nanoseconds = i128::try_from(nanoseconds).ok()?;
    i64::try_from(if is_negative {
        -nanoseconds
    } else {
        nanoseconds
    })
    .ok()
}

/// What Go's `time.ParseDuration` says of a text that is no duration.
pub fn duration_problem(text: &str) -> String {
    let quoted = quoted(text.as_bytes());
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = |it: char| it.is_ascii_digit();
    while !rest.is_empty() {
        let after = rest.trim_start_matches(is_number);
        let has_digits = after.len() < rest.len();
        let (after, has_fraction) = match after.strip_prefix('.') {
            Some(fraction) => {
                let end = fraction.trim_start_matches(is_number);
                (end, end.len() < fraction.len())
            }
            None => (after, false),
        };
        if !has_digits && !has_fraction {
            break;
        }
        let end = after
            .find(|it| is_number(it) || it == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end).unwrap_or((after, ""));
        let is_unit = ["ns", "us", "\u{b5}s", "\u{3bc}s", "ms", "s", "m", "h"].contains(&unit);
        if unit.is_empty() {
            return format!("time: missing unit in duration {quoted}");
        }
        if !is_unit {
            let unit = crate::words::quoted(unit.as_bytes());
            return format!("time: unknown unit {unit} in duration {quoted}");
        }
        rest = next;
    }
    format!("time: invalid duration {quoted}")
}

/// Go's text of a `time.Duration` of so many nanoseconds: `1h0m0s`, `1.5s`, `250ms`, `-12.5µs`.
pub fn format_duration(duration: i64) -> String {
    let text = format_length(duration.unsigned_abs().into());
    if duration < 0 {
        format!("-{text}")
    } else {
        text
    }
}

fn format_length(nanoseconds: u128) -> String {
    let decimal = |unit: u128, suffix: &str| {
        let whole = nanoseconds / unit;
        let width = unit.ilog10() as usize;
        let fraction = format!("{:0width$}", nanoseconds % unit);
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() {
            format!("{whole}{suffix}")
        } else {
            format!("{whole}.{fraction}{suffix}")
        }
    };
    match nanoseconds {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => decimal(1_000, "\u{b5}s"),
        1_000_000..1_000_000_000 => decimal(1_000_000, "ms"),
        1_000_000_000..60_000_000_000 => decimal(1_000_000_000, "s"),
        _ => {
            let minutes = nanoseconds / 60_000_000_000;
            let seconds = format_seconds(nanoseconds % 60_000_000_000);
            if minutes < 60 {
                format!("{minutes}m{seconds}")
            } else {
                format!("{}h{}m{seconds}", minutes / 60, minutes % 60)
            }
        }
    }
}

fn format_seconds(nanoseconds: u128) -> String {
    let fraction = format!("{:09}", nanoseconds % 1_000_000_000);
    let fraction = fraction.trim_end_matches('0');
    let whole = nanoseconds / 1_000_000_000;
    if fraction.is_empty() {
        format!("{whole}s")
    } else {
        format!("{whole}.{fraction}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    fn flags() -> Vec<Flag> {
        let flag = |name, default| Flag {
            name,
            usage: "what it is for",
            default,
        };
        vec![
            flag("uid", Value::Number(1000)),
            flag("daemon", Value::Switch(false)),
            flag("layers", Value::Text("/layers".to_owned())),
            flag("tag", Value::List(Vec::new())),
            flag("ttl", Value::Duration(336 * HOUR)),
            flag("none", Value::Duration(0)),
            flag("mirrors", Value::List(vec!["a".to_owned(), "b".to_owned()])),
        ]
    }

    fn parsed(arguments: &[&str]) -> Result<Parsed, FlagError> {
        let arguments: Vec<_> = arguments.iter().map(|&it| it.to_owned()).collect();
        parse(&flags(), &arguments)
    }

    #[test]
    fn each_form_of_a_flag_is_known() {
        let all = [
            "-uid",
            "0x3e8",
            "--daemon",
            "-layers=/x=y",
            "--tag",
            "a",
            "-tag=b",
            "-ttl",
            "1h",
            "app",
            "-uid",
        ];
        let parsed = parsed(&all).unwrap();
        assert_eq!(parsed.values["uid"], Value::Number(1000));
        assert_eq!(parsed.values["daemon"], Value::Switch(true));
        assert_eq!(parsed.values["layers"], Value::Text("/x=y".to_owned()));
        assert_eq!(
            parsed.values["tag"],
            Value::List(vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(parsed.values["ttl"], Value::Duration(HOUR));
        assert_eq!(parsed.arguments, ["app", "-uid"]);
    }

    #[test]
    fn flags_end_at_two_dashes() {
        assert_eq!(
            parsed(&["-daemon", "--", "-uid"]).unwrap().arguments,
            ["-uid"]
        );
        assert_eq!(parsed(&["-"]).unwrap().arguments, ["-"]);
        assert_eq!(parsed(&["-daemon", "true"]).unwrap().arguments, ["true"]);
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_go() {
        for (arguments, expected) in [
            (&["-nope"][..], "flag provided but not defined: -nope"),
            (&["---x"], "bad flag syntax: ---x"),
            (&["-=x"], "bad flag syntax: -=x"),
            (&["-layers"], "flag needs an argument: -layers"),
            (
                &["-daemon=maybe"],
                "invalid boolean value \"maybe\" for -daemon: parse error",
            ),
            (
                &["-uid", "abc"],
                "invalid value \"abc\" for flag -uid: parse error",
            ),
            (
                &["-uid=9223372036854775808"],
                "invalid value \"9223372036854775808\" for flag -uid: value out of range",
            ),
            (
                &["-ttl", "3"],
                "invalid value \"3\" for flag -ttl: parse error",
            ),
        ] {
            assert_eq!(parsed(arguments).unwrap_err().to_string(), expected);
        }
        assert_eq!(parsed(&["-h"]).unwrap_err(), FlagError::Help);
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("01750", Ok(1000)),
            ("0b11", Ok(3)),
            ("0o17", Ok(15)),
            ("-5", Ok(-5)),
            ("+5", Ok(5)),
            ("0x_ff", Ok(255)),
            ("1_000", Ok(1000)),
            ("_1", Err("parse error")),
            ("08", Err("parse error")),
            ("", Err("parse error")),
            ("-", Err("parse error")),
            ("0x", Err("parse error")),
            ("\u{e9}", Err("parse error")),
        ] {
            assert_eq!(parse_int(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (text, written) in [
            ("336h", "336h0m0s"),
            ("1h30m", "1h30m0s"),
            ("1.5s", "1.5s"),
            ("250ms", "250ms"),
            (".5h", "30m0s"),
            ("12.5us", "12.5\u{b5}s"),
            ("90s", "1m30s"),
            ("0", "0s"),
            ("-1s", "-1s"),
            ("-1h1m", "-1h1m0s"),
            ("+1ns", "1ns"),
        ] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), written);
        }
        for bad in [
            "",
            "3",
            "h",
            "1x",
            "1h ",
            "-",
            "--1h",
            "99999999999999h",
            "1..5h",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_usage_is_that_of_go() {
        let usage = usage("lifecycle", &flags());
        assert!(usage.starts_with(
            "Usage of lifecycle:\n  -daemon\n    \twhat it is for\n  -layers string\n"
        ));
        assert!(usage.contains("  -none duration\n    \twhat it is for\n"));
        assert!(usage.contains("  -mirrors value\n    \twhat it is for (default [a b])\n"));
        assert!(usage.contains("  -tag value\n    \twhat it is for\n"));
        assert!(usage.contains("  -ttl duration\n    \twhat it is for (default 336h0m0s)\n"));
        assert!(usage.ends_with("  -uid int\n    \twhat it is for (default 1000)\n"));
    }
}
