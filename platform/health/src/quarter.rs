//! Quarters of a year.

use time::OffsetDateTime;

/// A quarter of a year: `2024-Q1`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct QuarterOfYear {
    year: i32,
    /// 0 to 3.
    quarter: u8,
}

impl QuarterOfYear {
    /// The one that this time is in, in UTC; `None` before 1970 and after 9999.
    pub(crate) fn of(seconds: i64) -> Option<Self> {
        let at = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        (at.year() >= 1970).then(|| Self {
            year: at.year(),
            quarter: (u8::from(at.month()) - 1) / 3,
        })
    }

    /// The one before; `None` before 1970.
    pub(crate) fn before(self) -> Option<Self> {
        match self {
            Self {
                year: 1970,
                quarter: 0,
            } => None,
            Self { year, quarter: 0 } => Some(Self {
                year: year - 1,
                quarter: 3,
            }),
            Self { year, quarter } => Some(Self {
                year,
                quarter: quarter - 1,
            }),
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> String {
        format!("{:04}-Q{}", self.year, self.quarter + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_has_four() {
        let name = |seconds| QuarterOfYear::of(seconds).map(QuarterOfYear::name);
        assert_eq!(name(0).as_deref(), Some("1970-Q1"));
        assert_eq!(name(1_704_067_199).as_deref(), Some("2023-Q4"));
        assert_eq!(name(1_704_067_200).as_deref(), Some("2024-Q1"));
        assert_eq!(name(-1), None);
        assert_eq!(name(i64::MAX), None);
        let first = QuarterOfYear::of(1_704_067_200).unwrap();
        assert_eq!(first.before().unwrap().name(), "2023-Q4");
        assert_eq!(QuarterOfYear::of(0).unwrap().before(), None);
    }
}
