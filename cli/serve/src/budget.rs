//! How long an answer may take: API servers say in the query when they give up.

use std::time::Duration;

use go::flag::parse_duration;

/// The least that is kept back for the way of the answer.
const LEAST: Duration = Duration::from_millis(300);

/// Less than the `timeout` of the query by a tenth (at least 300 ms), and no more than `most`.
pub(crate) fn budget(query: Option<&str>, most: Duration) -> Duration {
    let said = query
        .into_iter()
        .flat_map(|it| it.split('&'))
        .find_map(|it| it.strip_prefix("timeout="))
        .and_then(parse_duration)
        .and_then(|nanoseconds| nanoseconds.try_into().ok())
        .map(Duration::from_nanos);
    match said {
        Some(said) => said.saturating_sub((said / 10).max(LEAST)).min(most),
        None => most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_kept_back() {
        let most = Duration::from_secs(20);
        for (query, milliseconds) in [
            (None, 20_000),
            (Some(""), 20_000),
            (Some("timeout=10s"), 9_000),
            (Some("x=1&timeout=1m0s"), 20_000),
            (Some("timeout=1s"), 700),
            (Some("timeout=1.5s"), 1_200),
            (Some("timeout=500ms"), 200),
            (Some("timeout=200ms"), 0),
            (Some("timeout=-1s"), 20_000),
            (Some("timeout=10"), 20_000),
            (Some("timeout=s"), 20_000),
            (Some("timeout=1e999s"), 20_000),
            (Some("timeout=9999999999999999999999999999999h"), 20_000),
        ] {
            let found = budget(query, most);
            assert_eq!(found, Duration::from_millis(milliseconds), "{query:?}");
        }
    }
}
