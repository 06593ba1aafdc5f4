//! What a forge knows and git does not: issues, change requests and releases, out of an export in the
//! shapes of GitHub's API.
//!
//! The export is one JSON object with any of `issues`, `pulls`, `releases` and `comments`, each a list
//! as `GET /repos/{owner}/{repo}/issues?state=all`, `…/pulls?state=all`, `…/releases` and
//! `…/issues/comments` give it, all pages joined. Other fields, there and in the lists, are not read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::measure::{DAY, Window, median, timestamp};
use crate::predicate::{Forge, ForgeIssues, ForgeReleases, Health};

/// Reads an export, and adds what it says to `health`, as of the same time.
pub fn add(health: &mut Health, export: &[u8]) -> Result<(), ForgeError> {
    let export: Export = intoto::json::from_slice(export).map_err(ForgeError::Json)?;
    let as_of = OffsetDateTime::parse(health.as_of.as_str(), &Rfc3339)
        .map_or(0, OffsetDateTime::unix_timestamp);
    let window = Window { as_of };
    let responses = export.comments.as_deref().map(Responses::of);
    let issues = export.issues.map(|it| {
        // GitHub lists change requests among the issues, too.
        let issues = it.into_iter().filter(|it| it.pull_request.is_none());
        figures(issues, window, responses.as_ref(), false)
    });
    let change_requests = export
        .pulls
        .map(|it| figures(it, window, responses.as_ref(), true));
    health.forge = Some(Forge {
        issues: issues.transpose()?,
        change_requests: change_requests.transpose()?,
        releases: export
            .releases
            .map(|it| releases(&it, window))
            .transpose()?,
    });
    Ok(())
}

/// Why an export cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForgeError {
    /// It is no JSON object in the shapes of GitHub's API.
    #[error("the forge's export is malformed")]
    Json(#[source] serde_json::Error),
    /// A time is none.
    #[error("the forge's export is malformed: `{field}` is `{value}`")]
    Time {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: String,
    },
}

#[derive(Deserialize)]
struct Export {
    issues: Option<Vec<Issue>>,
    pulls: Option<Vec<Issue>>,
    releases: Option<Vec<Release>>,
    comments: Option<Vec<Comment>>,
}

/// An issue or a change request.
#[derive(Deserialize)]
struct Issue {
    number: u64,
    user: Option<User>,
    created_at: String,
    closed_at: Option<String>,
    merged_at: Option<String>,
    pull_request: Option<Present>,
}

#[derive(Deserialize)]
struct User {
    login: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Release {
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    prerelease: bool,
    published_at: Option<String>,
}

#[derive(Deserialize)]
struct Comment {
    issue_url: String,
    user: Option<User>,
    created_at: String,
}

/// Any object.
#[derive(Deserialize)]
struct Present {}

impl User {
    fn is_bot(&self) -> bool {
        self.kind.as_deref() == Some("Bot") || self.login.ends_with("[bot]")
    }
}

/// For each issue, who commented when.
struct Responses<'a>(BTreeMap<u64, Vec<(i64, &'a str)>>);

impl<'a> Responses<'a> {
    fn of(comments: &'a [Comment]) -> Self {
        let mut all: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for comment in comments {
            let number = comment.issue_url.rsplit('/').next();
            let number = number.and_then(|it| it.parse().ok());
            let user = comment.user.as_ref().filter(|it| !it.is_bot());
            let time = seconds("comments[].created_at", &comment.created_at).ok();
            if let (Some(number), Some(user), Some(time)) = (number, user, time) {
                all.entry(number)
                    .or_default()
                    .push((time, user.login.as_str()));
            }
        }
        Self(all)
    }

    /// Seconds until somebody else answered.
    fn to(&self, issue: &Issue, opened: i64, window: Window) -> Option<i64> {
        let author = issue.user.as_ref().map(|it| it.login.as_str());
        let others = self.0.get(&issue.number)?.iter();
        let first = others
            .filter(|(time, login)| Some(*login) != author && window.has(*time) && *time >= opened)
            .map(|(time, _)| *time)
            .min()?;
        Some(first.saturating_sub(opened))
    }
}

fn seconds(field: &'static str, text: &str) -> Result<i64, ForgeError> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map(OffsetDateTime::unix_timestamp)
        .map_err(|_error| ForgeError::Time {
            field,
            value: text.chars().take(40).collect(),
        })
}

fn figures(
    all: impl IntoIterator<Item = Issue>,
    window: Window,
    responses: Option<&Responses<'_>>,
    are_changes: bool,
) -> Result<ForgeIssues, ForgeError> {
    let mut figures = ForgeIssues {
        total: 0,
        open: 0,
        new_last_year: 0,
        closed_last_year: 0,
        accepted_last_year: None,
        closure_ratio_percent: None,
        authors_last_year: 0,
        median_days: None,
        response_median_hours: None,
    };
    let mut accepted = 0;
    let mut durations = Vec::new();
    let mut answers = Vec::new();
    let mut authors = BTreeSet::new();
    for it in all {
        let opened = seconds("created_at", &it.created_at)?;
        let closed = match &it.closed_at {
            Some(closed) => Some(seconds("closed_at", closed)?).filter(|it| window.has(*it)),
            None => None,
        };
        if !window.has(opened) {
            continue;
        }
        figures.total += 1;
        if window.is_last_year(opened) {
            figures.new_last_year += 1;
            answers.extend(responses.and_then(|all| all.to(&it, opened, window)));
            if let Some(user) = it.user.filter(|it| !it.is_bot()) {
                authors.insert(user.login);
            }
        }
        match closed {
            None => figures.open += 1,
            Some(closed) if window.is_last_year(closed) => {
                figures.closed_last_year += 1;
                accepted += u64::from(it.merged_at.is_some());
                durations.push(closed.saturating_sub(opened).max(0) / DAY);
            }
            Some(_) => {}
        }
    }
    let positive = |it: i64| u64::try_from(it).ok();
    figures.authors_last_year = u64::try_from(authors.len()).unwrap_or(u64::MAX);
    figures.median_days = median(durations).and_then(positive);
    figures.response_median_hours = median(answers).and_then(|it| positive(it / 3600));
    if are_changes {
        figures.accepted_last_year = Some(accepted);
        figures.closure_ratio_percent =
            (figures.closed_last_year * 100).checked_div(figures.new_last_year);
    }
    Ok(figures)
}

fn releases(all: &[Release], window: Window) -> Result<ForgeReleases, ForgeError> {
    let mut times = Vec::new();
    for it in all.iter().filter(|it| !it.draft && !it.prerelease) {
        if let Some(published) = &it.published_at {
            let published = seconds("published_at", published)?;
            times.extend(Some(published).filter(|it| window.has(*it)));
        }
    }
    let number = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
    Ok(ForgeReleases {
        total: number(times.len()),
        last_year: number(times.iter().filter(|it| window.is_last_year(**it)).count()),
        last: times.into_iter().max().and_then(timestamp),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{History, Measured, measure};

    fn added(export: &str) -> Result<Forge, String> {
        let history = History {
            time: 1_700_000_000, // 2023-11-14
            ..History::default()
        };
        let mut health = measure(&history, Measured::default());
        add(&mut health, export.as_bytes()).map_err(|it| it.to_string())?;
        Ok(health.forge.unwrap())
    }

    const EXPORT: &str = r#"{
        "issues": [
            {"number": 1, "title": "old", "user": {"login": "a"}, "created_at": "2020-01-01T00:00:00Z", "closed_at": "2023-01-01T00:00:00Z"},
            {"number": 2, "user": {"login": "b", "type": "User"}, "created_at": "2023-11-01T00:00:00Z", "closed_at": "2023-11-03T12:00:00Z"},
            {"number": 3, "user": null, "created_at": "2023-11-01T00:00:00Z", "closed_at": "2023-12-01T00:00:00Z"},
            {"number": 4, "user": {"login": "c"}, "created_at": "2023-12-01T00:00:00Z", "closed_at": null},
            {"number": 5, "user": {"login": "d"}, "created_at": "2023-11-01T00:00:00Z", "closed_at": null, "pull_request": {"url": "x"}}
        ],
        "pulls": [
            {"number": 5, "user": {"login": "d"}, "created_at": "2023-11-01T00:00:00Z", "closed_at": "2023-11-02T00:00:00Z", "merged_at": "2023-11-02T00:00:00Z"},
            {"number": 6, "user": {"login": "x[bot]", "type": "Bot"}, "created_at": "2023-11-01T00:00:00Z", "closed_at": "2023-11-02T00:00:00Z", "merged_at": null}
        ],
        "releases": [
            {"tag_name": "v1", "draft": false, "prerelease": false, "published_at": "2023-10-01T00:00:00Z"},
            {"tag_name": "v2", "draft": true, "prerelease": false, "published_at": null},
            {"tag_name": "v2-rc1", "draft": false, "prerelease": true, "published_at": "2023-11-01T00:00:00Z"}
        ],
        "comments": [
            {"issue_url": "https://api.example/repos/o/r/issues/2", "user": {"login": "b"}, "created_at": "2023-11-01T01:00:00Z"},
            {"issue_url": "https://api.example/repos/o/r/issues/2", "user": {"login": "z[bot]"}, "created_at": "2023-11-01T02:00:00Z"},
            {"issue_url": "https://api.example/repos/o/r/issues/2", "user": {"login": "a"}, "created_at": "2023-11-01T05:30:00Z"}
        ]
    }"#;

    #[test]
    fn githubs_lists_are_counted_as_of_one_time() {
        let forge = added(EXPORT).unwrap();
        let issues = forge.issues.unwrap();
        assert_eq!((issues.total, issues.open), (3, 1));
        assert_eq!((issues.new_last_year, issues.closed_last_year), (2, 2));
        assert_eq!(issues.median_days, Some(2));
        assert_eq!(issues.response_median_hours, Some(5));
        assert_eq!(issues.authors_last_year, 1);
        assert_eq!(issues.closure_ratio_percent, None);
        let changes = forge.change_requests.unwrap();
        assert_eq!((changes.total, changes.open), (2, 0));
        assert_eq!(changes.accepted_last_year, Some(1));
        assert_eq!(changes.closure_ratio_percent, Some(100));
        assert_eq!(changes.authors_last_year, 1);
        assert_eq!(changes.response_median_hours, None);
        let releases = forge.releases.unwrap();
        assert_eq!((releases.total, releases.last_year), (1, 1));
    }

    #[test]
    fn what_is_no_export_is_named() {
        assert_eq!(added("{}").unwrap().issues, None);
        assert_eq!(added("[]").unwrap_err(), "the forge's export is malformed");
        assert_eq!(
            added(r#"{"issues":[],"issues":[]}"#).unwrap_err(),
            "the forge's export is malformed"
        );
        assert_eq!(
            added(r#"{"issues":[{"number":1,"created_at":"yesterday"}]}"#).unwrap_err(),
            "the forge's export is malformed: `created_at` is `yesterday`"
        );
    }
}
