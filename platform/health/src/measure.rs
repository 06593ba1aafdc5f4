//! From a history to figures. Each is defined in `docs/health.md`; nothing here reads anything.

use std::collections::{BTreeMap, BTreeSet};

use intoto::{ResourceDescriptor, Timestamp};
use time::OffsetDateTime;

use crate::predicate::{
    Commits, Contributor, Contributors, FILES, Health, Organization, Organizations, Quarter,
    Release, Releases, SignatureCount, Signatures,
};
use crate::quarter::QuarterOfYear;
use crate::{Contribution, History, SignatureKind, Tag, organization};

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;
/// "The last year".
pub(crate) const YEAR: i64 = 365 * DAY;

/// How many organisations are named.
const NAMED_ORGANIZATIONS: usize = 25;
/// How many quarters are told: forty years.
const MAX_QUARTERS: usize = 160;
/// How many releases say how often there is one.
const CADENCE: usize = 10;

/// What is measured, and how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "plain data")]
pub struct Measured {
    /// The time from which ages and years count, in seconds since 1970; the commit's own without one.
    pub as_of: Option<i64>,
    /// How many people are named.
    pub named_people: usize,
}

/// Measures the health that `history` shows.
pub fn measure(history: &History, how: Measured) -> Health {
    let as_of = how.as_of.unwrap_or(history.time).max(0);
    let people = People::of(history);
    let window = Window { as_of };
    let releases = releases(&history.tags, window);
    let organizations = people.organizations();
    Health {
        source: ResourceDescriptor {
            uri: history.uri.as_ref().map(|it| format!("git+{it}")),
            digest: BTreeMap::from([("gitCommit".to_owned(), history.commit.clone())]),
            ..ResourceDescriptor::default()
        },
        as_of: timestamp(as_of).unwrap_or_else(epoch),
        commits: commits(&history.contributions, window),
        contributors: people.contributors(history, window, how.named_people),
        organizations: organizations_of(&people, &organizations, window),
        signatures: signatures(history, &releases.tags, window),
        files: FILES
            .iter()
            .map(|it| (it.name.to_owned(), history.files.get(it.name).cloned()))
            .collect(),
        quarters: quarters(&people, &organizations, &releases.final_times, window),
        releases: releases.figures,
        forge: None,
    }
}

/// The time that figures are of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) as_of: i64,
}

impl Window {
    /// Whether it was by then.
    pub(crate) fn has(self, time: i64) -> bool {
        time <= self.as_of
    }

    /// Whether it was in the year before.
    pub(crate) fn is_last_year(self, time: i64) -> bool {
        self.has(time) && time > self.as_of.saturating_sub(YEAR)
    }
}

pub(crate) fn timestamp(seconds: i64) -> Option<Timestamp> {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()?
        .try_into()
        .ok()
}

fn epoch() -> Timestamp {
    OffsetDateTime::UNIX_EPOCH
        .try_into()
        .expect("1970 has a form in RFC 3339")
}

/// The smallest number of those who have half of all together; 0 if there is nothing.
pub(crate) fn half_of(counts: impl IntoIterator<Item = u64>) -> u64 {
    let mut counts: Vec<u64> = counts.into_iter().filter(|it| *it > 0).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let all: u128 = counts.iter().map(|it| u128::from(*it)).sum();
    let mut sum = 0_u128;
    let mut number = 0;
    for count in counts {
        if sum * 2 >= all {
            break;
        }
        sum += u128::from(count);
        number += 1;
    }
    number
}

/// The middle of several; of two middles, the smaller.
pub(crate) fn median(mut of: Vec<i64>) -> Option<i64> {
    of.sort_unstable();
    of.get(of.len().checked_sub(1)? / 2).copied()
}

fn len(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

fn count<T>(of: impl IntoIterator<Item = T>) -> u64 {
    len(of.into_iter().count())
}

fn commits(all: &[Contribution], window: Window) -> Commits {
    let dated = || all.iter().map(|it| it.time).filter(|it| window.has(*it));
    Commits {
        total: len(all.len()),
        merges: count(all.iter().filter(|it| it.is_merge)),
        last_year: count(dated().filter(|it| window.is_last_year(*it))),
        first: dated().min().and_then(timestamp),
        last: dated().max().and_then(timestamp),
        postdated: len(all.len()) - count(dated()),
    }
}

/// What one person contributed.
#[derive(Clone, Debug, Default)]
struct Work {
    /// Contributions by name.
    names: BTreeMap<String, u64>,
    mail: String,
    is_bot: bool,
    /// When each was committed.
    times: Vec<i64>,
}

/// All who contributed, by their key.
#[derive(Debug)]
struct People(Vec<Work>);

impl People {
    fn of(history: &History) -> Self {
        let mut by_key: BTreeMap<String, Work> = BTreeMap::new();
        let keys: Vec<_> = history.people.iter().map(|it| (it.key(), it)).collect();
        for it in history.contributions.iter().filter(|it| !it.is_merge) {
            let Some((key, person)) = keys.get(it.author) else {
                continue;
            };
            let work = by_key.entry(key.clone()).or_default();
            *work.names.entry(person.name.clone()).or_default() += 1;
            work.mail.clone_from(&person.mail);
            work.is_bot |= person.is_bot();
            work.times.push(it.time);
        }
        Self(by_key.into_values().collect())
    }

    fn humans(&self) -> impl Iterator<Item = &Work> {
        self.0.iter().filter(|it| !it.is_bot)
    }

    /// The organisation of each, in the same order.
    fn organizations(&self) -> Vec<Option<String>> {
        self.0.iter().map(|it| organization(&it.mail)).collect()
    }

    fn contributors(&self, history: &History, window: Window, named: usize) -> Contributors {
        let bots = || self.0.iter().filter(|it| it.is_bot);
        let authors: BTreeSet<usize> = history
            .contributions
            .iter()
            .filter(|it| !it.is_merge)
            .map(|it| it.author)
            .collect();
        let first = |it: &&Work| {
            it.times
                .iter()
                .min()
                .is_some_and(|it| window.is_last_year(*it))
        };
        Contributors {
            total: count(self.humans()),
            identities: len(authors.len()),
            contributions: self.humans().map(|it| len(it.times.len())).sum(),
            last_year: count(self.humans().filter(|it| it.last_year(window) > 0)),
            new_last_year: count(self.humans().filter(first)),
            absence_factor: half_of(self.humans().map(|it| len(it.times.len()))),
            absence_factor_last_year: half_of(self.humans().map(|it| it.last_year(window))),
            bots: count(bots()),
            bot_commits: bots().map(|it| len(it.times.len())).sum(),
            people: self.named(window, named),
        }
    }

    fn named(&self, window: Window, most: usize) -> Vec<Contributor> {
        let mut people: Vec<_> = self.humans().map(|it| it.named(window)).collect();
        // Those before are in the order of their addresses, which stays among equals.
        people.sort_by(|a, b| (b.contributions, &a.name).cmp(&(a.contributions, &b.name)));
        people.truncate(most);
        people
    }
}

impl Work {
    fn last_year(&self, window: Window) -> u64 {
        count(self.times.iter().filter(|it| window.is_last_year(**it)))
    }

    fn named(&self, window: Window) -> Contributor {
        let most = self
            .names
            .iter()
            .max_by_key(|(name, count)| (**count, *name));
        let dated = || self.times.iter().copied().filter(|it| window.has(*it));
        Contributor {
            name: most.map(|(name, _)| name.clone()).unwrap_or_default(),
            contributions: len(self.times.len()),
            last_year: self.last_year(window),
            first: dated().min().and_then(timestamp),
            last: dated().max().and_then(timestamp),
        }
    }
}

fn organizations_of(
    people: &People,
    organizations: &[Option<String>],
    window: Window,
) -> Organizations {
    let mut by_domain: BTreeMap<&str, Organization> = BTreeMap::new();
    let mut unaffiliated = 0;
    for (work, domain) in people.0.iter().zip(organizations) {
        if work.is_bot {
            continue;
        }
        let Some(domain) = domain else {
            unaffiliated += len(work.times.len());
            continue;
        };
        let found = by_domain.entry(domain).or_insert_with(|| Organization {
            domain: domain.clone(),
            contributors: 0,
            contributions: 0,
            last_year: 0,
        });
        found.contributors += 1;
        found.contributions += len(work.times.len());
        found.last_year += work.last_year(window);
    }
    let mut all: Vec<_> = by_domain.into_values().collect();
    all.sort_by(|a, b| (b.contributions, &a.domain).cmp(&(a.contributions, &b.domain)));
    Organizations {
        total: len(all.len()),
        last_year: count(all.iter().filter(|it| it.last_year > 0)),
        elephant_factor: half_of(all.iter().map(|it| it.contributions)),
        elephant_factor_last_year: half_of(all.iter().map(|it| it.last_year)),
        unaffiliated,
        most_active: all.into_iter().take(NAMED_ORGANIZATIONS).collect(),
    }
}

/// Releases, and the tags that they are counted by.
struct Found<'a> {
    figures: Releases,
    /// Of all releases, those before a release included.
    tags: Vec<&'a Tag>,
    /// When each release was, those before one not included.
    final_times: Vec<i64>,
}

fn releases(tags: &[Tag], window: Window) -> Found<'_> {
    let tags: Vec<_> = tags
        .iter()
        .filter(|it| it.name.bytes().any(|b| b.is_ascii_digit()) && window.has(it.time))
        .collect();
    let (before, finals): (Vec<&Tag>, Vec<&Tag>) =
        tags.iter().partition(|it| is_prerelease(&it.name));
    let last = finals.iter().max_by_key(|it| (it.time, &it.name));
    // Several tags of one commit are one release to wait for.
    let mut by_commit: BTreeMap<&str, i64> = BTreeMap::new();
    for it in &finals {
        let time = by_commit.entry(&it.commit).or_insert(it.time);
        *time = it.time.min(*time);
    }
    let mut times: Vec<_> = by_commit.into_values().collect();
    times.sort_unstable();
    let recent = times.get(times.len().saturating_sub(CADENCE + 1)..);
    let gaps: Vec<_> = recent
        .unwrap_or_default()
        .windows(2)
        .filter_map(|it| Some(it.last()?.saturating_sub(*it.first()?) / DAY))
        .collect();
    Found {
        figures: Releases {
            total: len(finals.len()),
            last_year: count(finals.iter().filter(|it| window.is_last_year(it.time))),
            prereleases: len(before.len()),
            last: last.and_then(|it| {
                Some(Release {
                    name: it.name.clone(),
                    time: timestamp(it.time)?,
                })
            }),
            median_days: median(gaps).and_then(|it| u64::try_from(it).ok()),
        },
        final_times: finals.iter().map(|it| it.time).collect(),
        tags,
    }
}

/// Whether a tag says to be before a release: a word for it that no letter touches.
pub(crate) fn is_prerelease(name: &str) -> bool {
    const WORDS: [&str; 8] = [
        "alpha", "beta", "dev", "nightly", "pre", "preview", "rc", "snapshot",
    ];
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|it: char| !it.is_ascii_alphabetic());
    words.any(|it| WORDS.contains(&it))
}

fn signatures(history: &History, tags: &[&Tag], window: Window) -> Signatures {
    let all = &history.contributions;
    let last_year = all.iter().filter(|it| window.is_last_year(it.time));
    Signatures {
        verified: false,
        commits: SignatureCount::of(all.iter().map(|it| it.signature)),
        commits_last_year: SignatureCount::of(last_year.map(|it| it.signature)),
        tags: SignatureCount::of(tags.iter().map(|it| it.signature)),
    }
}

impl SignatureCount {
    fn of(all: impl Iterator<Item = Option<SignatureKind>>) -> Self {
        let mut counts = Self::default();
        for it in all {
            counts.total += 1;
            let Some(kind) = it else {
                continue;
            };
            counts.signed += 1;
            match kind {
                SignatureKind::OpenPgp => counts.openpgp += 1,
                SignatureKind::Ssh => counts.ssh += 1,
                SignatureKind::X509 => counts.x509 += 1,
                SignatureKind::Unknown => counts.unknown += 1,
            }
        }
        counts
    }
}

fn quarters(
    people: &People,
    organizations: &[Option<String>],
    releases: &[i64],
    window: Window,
) -> Vec<Quarter> {
    #[derive(Default)]
    struct Sum<'a> {
        contributions: u64,
        contributors: BTreeSet<usize>,
        new_contributors: u64,
        organizations: BTreeSet<&'a str>,
        releases: u64,
    }

    let mut sums: BTreeMap<QuarterOfYear, Sum<'_>> = BTreeMap::new();
    let quarter = |time: i64| QuarterOfYear::of(time).filter(|_| window.has(time));
    for (at, (work, domain)) in people.0.iter().zip(organizations).enumerate() {
        if work.is_bot {
            continue;
        }
        for quarter in work.times.iter().filter_map(|it| quarter(*it)) {
            let sum = sums.entry(quarter).or_default();
            sum.contributions += 1;
            sum.contributors.insert(at);
            sum.organizations.extend(domain.as_deref());
        }
        if let Some(first) = work.times.iter().min().and_then(|it| quarter(*it)) {
            sums.entry(first).or_default().new_contributors += 1;
        }
    }
    for quarter in releases.iter().filter_map(|it| quarter(*it)) {
        sums.entry(quarter).or_default().releases += 1;
    }

    // From the last one backwards, so that what is cut off is oldest, and none is left out.
    let mut told = Vec::new();
    let first = sums.keys().next().copied();
    let mut at = quarter(window.as_of);
    while let Some(quarter) = at.filter(|it| told.len() < MAX_QUARTERS && Some(*it) >= first) {
        let sum = sums.remove(&quarter).unwrap_or_default();
        told.push(Quarter {
            name: quarter.name(),
            contributions: sum.contributions,
            contributors: len(sum.contributors.len()),
            new_contributors: sum.new_contributors,
            organizations: len(sum.organizations.len()),
            releases: sum.releases,
        });
        at = quarter.before();
    }
    told.reverse();
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Person;

    #[test]
    fn half_of_all_is_what_chaoss_says() {
        // The example of CHAOSS's page on the metric, and that of the elephant factor's.
        assert_eq!(half_of([1000, 202, 90, 33, 332, 343, 42, 433]), 2);
        assert_eq!(half_of([1; 8]), 4);
        assert_eq!(half_of([50, 25, 25]), 1);
        assert_eq!(half_of([1]), 1);
        assert_eq!(half_of([0, 0]), 0);
        assert_eq!(half_of([]), 0);
        assert_eq!(half_of([u64::MAX, u64::MAX, u64::MAX]), 2);
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![5, 1, 3]), Some(3));
        assert_eq!(median(vec![4, 1, 3, 2]), Some(2));
    }

    #[test]
    fn tags_before_a_release_say_so() {
        for (name, expected) in [
            ("v1.0.0", false),
            ("curl-8_9_1", false),
            ("v1.0.0-rc1", true),
            ("v1.0.0-rc.1", true),
            ("rc-8_13_0-1", true),
            ("v1-BETA", true),
            ("search-1.0", false),
            ("precious-1.0", false),
        ] {
            assert_eq!(is_prerelease(name), expected, "{name}");
        }
    }

    fn history() -> History {
        let person = |name: &str, mail: &str| Person {
            name: name.to_owned(),
            mail: mail.to_owned(),
        };
        let at = |author, days: i64, is_merge| Contribution {
            author,
            time: days * DAY,
            is_merge,
            signature: None,
        };
        History {
            commit: "00".repeat(20),
            time: 1000 * DAY,
            people: vec![
                person("A", "a@one.example"),
                person("Á", "A@One.Example"),
                person("B", "b@gmail.com"),
                person("dependabot[bot]", "bot@two.example"),
            ],
            contributions: vec![
                at(0, 1, false),
                at(1, 990, false),
                at(1, 991, false),
                at(2, 999, false),
                at(2, 1000, true),
                at(2, 2000, false),
                at(3, 999, false),
            ],
            ..History::default()
        }
    }

    #[test]
    fn people_are_their_addresses() {
        let health = measure(
            &history(),
            Measured {
                as_of: None,
                named_people: 9,
            },
        );
        let Contributors { people, .. } = &health.contributors;
        let names: Vec<_> = people
            .iter()
            .map(|it| (it.name.as_str(), it.contributions))
            .collect();
        assert_eq!(names, [("Á", 3), ("B", 2)]);
        let it = &health.contributors;
        assert_eq!((it.total, it.identities, it.contributions), (2, 4, 5));
        assert_eq!((it.last_year, it.new_last_year), (2, 1));
        assert_eq!((it.absence_factor, it.absence_factor_last_year), (1, 1));
        assert_eq!((it.bots, it.bot_commits), (1, 1));
        let it = &health.organizations;
        assert_eq!((it.total, it.unaffiliated, it.elephant_factor), (1, 2, 1));
        assert_eq!(health.commits.postdated, 1);
        assert_eq!((health.commits.total, health.commits.last_year), (7, 5));
    }

    #[test]
    fn the_time_is_an_argument() {
        let later = Measured {
            as_of: Some(1400 * DAY),
            named_people: 0,
        };
        let health = measure(&history(), later);
        assert_eq!(health.contributors.last_year, 0);
        assert_eq!(health.contributors.people, []);
        assert_eq!(health.contributors.absence_factor_last_year, 0);
        assert_eq!(health.as_of.as_str(), "1973-11-01T00:00:00Z");
        assert_eq!(
            health.quarters.len(),
            16,
            "those without a commit are there"
        );
    }

    #[test]
    fn impossible_times_cost_nothing() {
        let mut odd = history();
        for (it, time) in odd
            .contributions
            .iter_mut()
            .zip([i64::MIN, i64::MAX, -1, 0])
        {
            it.time = time;
        }
        odd.time = i64::MAX;
        let health = measure(&odd, Measured::default());
        assert_eq!(health.as_of.as_str(), "1970-01-01T00:00:00Z");
        let far = Measured {
            as_of: Some(253_402_300_799),
            named_people: 0,
        };
        assert_eq!(measure(&odd, far).quarters.len(), MAX_QUARTERS);
    }
}
