//! Times as everybody in this field writes them: RFC 3339.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `2026-06-01T12:00:00Z`.
pub(crate) fn text(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    #[test]
    fn a_time_is_written_as_in_json() {
        let time = datetime!(2026-06-01 12:00:00 UTC);
        assert_eq!(super::text(time), "2026-06-01T12:00:00Z");
    }
}
