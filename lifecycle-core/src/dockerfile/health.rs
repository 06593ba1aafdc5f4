//! `HEALTHCHECK`: a command, and how often it is run.

use go::flag::{duration_problem, parse_duration};
use go::words::quoted;

use super::Problem;
use super::flags::{Flags, Takes};
use super::instruction::{Form, form, too_few};
use super::statement::{Arguments, Statement};

/// `HEALTHCHECK`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HealthCheck {
    /// The command; none if an image shall not be asked.
    pub command: Option<Form>,
    /// How often, as Go writes durations.
    pub interval: Option<String>,
    /// How long it may take.
    pub timeout: Option<String>,
    /// How long it may fail at the start.
    pub start_period: Option<String>,
    /// How often meanwhile.
    pub start_interval: Option<String>,
    /// How often it may fail.
    pub retries: Option<String>,
}

/// The flags with durations, in the order in which they are looked at.
const DURATIONS: [&str; 4] = ["interval", "timeout", "start-period", "start-interval"];

/// The shortest duration but none, in nanoseconds.
const MIN_DURATION: i64 = 1_000_000;

/// Reads the statement.
pub(super) fn read(statement: &Statement) -> Result<HealthCheck, Problem> {
    let Arguments::Check(kind, command) = &statement.arguments else {
        return Err(too_few("HEALTHCHECK"));
    };
    let kind = kind.to_uppercase();
    // Flags of no check are not looked at.
    let flags = if kind == "NONE" {
        Flags::default()
    } else {
        let mut known = DURATIONS.map(|it| (it, Takes::Text)).to_vec();
        known.push(("retries", Takes::Text));
        Flags::read(&statement.flags, &known)?
    };
    let command = match (kind.as_str(), command.as_ref()) {
        ("NONE", Arguments::Json(words)) if words.is_empty() => None,
        ("NONE", Arguments::None) => None,
        ("NONE", _) => {
            return Err(Problem::new("HEALTHCHECK NONE takes no arguments"));
        }
        ("CMD", Arguments::None) => {
            return Err(Problem::new("Missing command after HEALTHCHECK CMD"));
        }
        ("CMD", Arguments::Json(words)) if words.is_empty() => {
            return Err(Problem::new("Missing command after HEALTHCHECK CMD"));
        }
        ("CMD", command) => Some(form(command)),
        (other, _) => {
            let other = quoted(other.as_bytes());
            return Err(Problem(format!(
                "Unknown type {other} in HEALTHCHECK (try CMD)"
            )));
        }
    };
    for name in DURATIONS {
        check_duration(name, &flags.text(name).unwrap_or_default())?;
    }
    check_retries(&flags.text("retries").unwrap_or_default())?;
    Ok(HealthCheck {
        command,
        interval: flags.text("interval"),
        timeout: flags.text("timeout"),
        start_period: flags.text("start-period"),
        start_interval: flags.text("start-interval"),
        retries: flags.text("retries"),
    })
}

fn check_duration(name: &str, text: &str) -> Result<(), Problem> {
    if text.is_empty() {
        return Ok(());
    }
    match parse_duration(text) {
        None => Err(Problem(duration_problem(text))),
        Some(length) if length != 0 && length < MIN_DURATION => Err(Problem(format!(
            "Interval \"{name}\" cannot be less than 1ms"
        ))),
        Some(_) => Ok(()),
    }
}

fn check_retries(text: &str) -> Result<(), Problem> {
    if text.is_empty() {
        return Ok(());
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    let what = match text.parse::<i32>() {
        Ok(count) if count < 0 => {
            return Err(Problem(format!("--retries cannot be negative ({count})")));
        }
        Ok(_) => return Ok(()),
        Err(_) if is_number => "value out of range",
        Err(_) => "invalid syntax",
    };
    let text = quoted(text.as_bytes());
    Err(Problem(format!("strconv.ParseInt: parsing {text}: {what}")))
}
