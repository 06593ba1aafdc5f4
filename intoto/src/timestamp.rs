//! Points in time, as RFC 3339 text.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time in UTC as people and JSON read it, RFC 3339: `2026-06-01T12:00:00Z`. A time that has no such
/// form, outside of the years 0 to 9999, in another.
pub fn rfc3339(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

/// A point in time, as RFC 3339 text. Made from an argument, never from a clock.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String")]
pub struct Timestamp(String);

impl Timestamp {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<OffsetDateTime> for Timestamp {
    type Error = TimestampError;

    /// In UTC, to the second. Fails outside of the years 0 to 9999.
    fn try_from(at: OffsetDateTime) -> Result<Self, TimestampError> {
        at.to_offset(time::UtcOffset::UTC)
            .replace_nanosecond(0)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok())
            .map(Self)
            .ok_or_else(|| TimestampError {
                text: at.to_string(),
            })
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;

    /// Keeps `text` as it is.
    fn try_from(text: String) -> Result<Self, TimestampError> {
        match OffsetDateTime::parse(&text, &Rfc3339) {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err(TimestampError { text }),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text or a time has no RFC 3339 form.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not an RFC 3339 time")]
#[non_exhaustive]
pub struct TimestampError {
    /// What was given.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_a_time_in_utc_with_all_that_it_says() {
        let at = time::macros::datetime!(2026-06-01 14:00:00.5 +2);
        assert_eq!(rfc3339(at), "2026-06-01T12:00:00.5Z");
        let late = OffsetDateTime::from_unix_timestamp(253_402_300_799).unwrap();
        assert_eq!(rfc3339(late), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn times_are_written_in_utc_to_the_second() {
        let at = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap()
            + time::Duration::milliseconds(5);
        let east = at.to_offset(time::UtcOffset::from_hms(2, 0, 0).unwrap());
        let timestamp = Timestamp::try_from(east).unwrap();
        assert_eq!(timestamp.as_str(), "2023-11-14T22:13:20Z");
        assert_eq!(
            Timestamp::try_from(timestamp.to_string()),
            Ok(timestamp.clone())
        );
        assert!(Timestamp::try_from("yesterday".to_owned()).is_err());
    }
}
