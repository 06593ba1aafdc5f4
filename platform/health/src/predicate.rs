//! The health of a repository, as a predicate.

use std::collections::BTreeMap;

use intoto::{Predicate, PredicateType, ResourceDescriptor, Timestamp};
use serde::{Deserialize, Serialize};

/// The health of a source repository at one commit: the predicate that
/// `docs/predicates/health-v1.md` describes.
///
/// "Last year" is the 365 days before `as_of`. Contributions are commits that are no merges, by
/// people and not by programs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct Health {
    /// The repository and the commit: `digest.gitCommit`.
    pub source: ResourceDescriptor,
    /// The time from which ages and years count.
    pub as_of: Timestamp,
    /// CHAOSS "Code Changes Commits".
    pub commits: Commits,
    /// CHAOSS "Contributors", "New Contributors", "Contributor Absence Factor".
    pub contributors: Contributors,
    /// CHAOSS "Organizational Diversity", "Elephant Factor".
    pub organizations: Organizations,
    /// CHAOSS "Release Frequency".
    pub releases: Releases,
    /// Signatures that are there, by kind. Not verified.
    pub signatures: Signatures,
    /// The path of each kind of file that healthy projects have, or null.
    pub files: BTreeMap<String, Option<String>>,
    /// The history by quarters of years, the last one last.
    pub quarters: Vec<Quarter>,
    /// What a forge's export says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<Forge>,
}

impl Predicate for Health {
    const TYPE: PredicateType = PredicateType::SEALPACK_HEALTH;
}

/// Commits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct Commits {
    /// All that the commit has in its history, merges included.
    pub total: u64,
    /// Of these, merges.
    pub merges: u64,
    /// Of all, those of the last year.
    pub last_year: u64,
    /// When the oldest was committed.
    pub first: Option<Timestamp>,
    /// When the newest was committed that is not later than `asOf`.
    pub last: Option<Timestamp>,
    /// Commits that say to be later than `asOf`: they count in `total` alone.
    pub postdated: u64,
}

/// People.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct Contributors {
    /// People who contributed: different mail addresses after `.mailmap`.
    pub total: u64,
    /// Different pairs of name and address, as `git shortlog -sne` lists them.
    pub identities: u64,
    /// Contributions: commits of these people that are no merges.
    pub contributions: u64,
    /// People who contributed in the last year.
    pub last_year: u64,
    /// People whose first contribution is of the last year.
    pub new_last_year: u64,
    /// The smallest number of people who made half of all contributions; 0 if there are none.
    pub absence_factor: u64,
    /// The same of the last year.
    pub absence_factor_last_year: u64,
    /// Programs, by the mark `[bot]` in their name.
    pub bots: u64,
    /// Their commits that are no merges.
    pub bot_commits: u64,
    /// The most active people by name, if asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<Contributor>,
}

/// One person.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct Contributor {
    /// The name under which most was contributed.
    pub name: String,
    /// Contributions.
    pub contributions: u64,
    /// Contributions of the last year.
    pub last_year: u64,
    /// When the first was committed.
    pub first: Option<Timestamp>,
    /// When the last was committed.
    pub last: Option<Timestamp>,
}

/// Organisations, by the domains of mail addresses.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct Organizations {
    /// Different organisations.
    pub total: u64,
    /// Those of the last year.
    pub last_year: u64,
    /// The smallest number of organisations with half of the contributions that have one; 0 if none
    /// has.
    pub elephant_factor: u64,
    /// The same of the last year.
    pub elephant_factor_last_year: u64,
    /// Contributions by addresses that speak of no organisation.
    pub unaffiliated: u64,
    /// The most active ones.
    pub most_active: Vec<Organization>,
}

/// One organisation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct Organization {
    /// Its domain.
    pub domain: String,
    /// People of it.
    pub contributors: u64,
    /// Contributions.
    pub contributions: u64,
    /// Contributions of the last year.
    pub last_year: u64,
}

/// Releases: tags with a digit in their name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct Releases {
    /// All, but for those that say to be before a release: `-rc1`, `-beta`.
    pub total: u64,
    /// Those of the last year.
    pub last_year: u64,
    /// Tags that say to be before a release.
    pub prereleases: u64,
    /// The newest that is not later than `asOf`.
    pub last: Option<Release>,
    /// Days between one and the next, the median of the last ten.
    pub median_days: Option<u64>,
}

/// One release.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct Release {
    /// The tag.
    pub name: String,
    /// When it was made.
    pub time: Timestamp,
}

/// Signatures by kind. That one is there does not say that it is good, or by whom it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct Signatures {
    /// Always false: nothing was verified.
    pub verified: bool,
    /// Of all commits.
    pub commits: SignatureCount,
    /// Of the commits of the last year.
    pub commits_last_year: SignatureCount,
    /// Of the tags of releases, those before a release included.
    pub tags: SignatureCount,
}

/// How many there are of each kind.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct SignatureCount {
    /// All.
    pub total: u64,
    /// With any signature.
    pub signed: u64,
    /// `OpenPGP`.
    pub openpgp: u64,
    /// SSH.
    pub ssh: u64,
    /// X.509.
    pub x509: u64,
    /// Another kind.
    pub unknown: u64,
}

/// A quarter of a year.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct Quarter {
    /// `2024-Q1`.
    pub name: String,
    /// Contributions.
    pub contributions: u64,
    /// People who made them.
    pub contributors: u64,
    /// Of these, those whose first it was.
    pub new_contributors: u64,
    /// Organisations.
    pub organizations: u64,
    /// Releases.
    pub releases: u64,
}

/// What a forge's export says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct Forge {
    /// CHAOSS "Issues New", "Issues Closed", "Issue Resolution Duration".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issues: Option<ForgeIssues>,
    /// CHAOSS "Change Requests", "Change Requests Accepted", "Change Request Closure Ratio".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_requests: Option<ForgeIssues>,
    /// Releases that the forge has published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub releases: Option<ForgeReleases>,
}

/// Issues or change requests.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct ForgeIssues {
    /// All that were opened up to `asOf`.
    pub total: u64,
    /// Still open then.
    pub open: u64,
    /// Opened in the last year.
    pub new_last_year: u64,
    /// Closed in the last year.
    pub closed_last_year: u64,
    /// Of change requests: accepted, that is merged, in the last year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_last_year: Option<u64>,
    /// Of change requests: closed for each hundred that were opened in the last year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure_ratio_percent: Option<u64>,
    /// Who opened one in the last year, programs not counted.
    pub authors_last_year: u64,
    /// Whole days from opening to closing, the median of those closed in the last year.
    pub median_days: Option<u64>,
    /// CHAOSS "Time to First Response": hours from opening to the first comment by somebody else, the
    /// median of those opened in the last year that have one. Absent if the export has no comments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_median_hours: Option<u64>,
}

/// Releases that a forge has published.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the predicate's own fields")]
pub struct ForgeReleases {
    /// All, but drafts and those before a release.
    pub total: u64,
    /// Those of the last year.
    pub last_year: u64,
    /// When the newest was published.
    pub last: Option<Timestamp>,
}

/// A kind of file that healthy projects have.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FileKind {
    /// Its name in [`Health::files`].
    pub name: &'static str,
    /// What it is called for people.
    pub title: &'static str,
    /// How its file is called, in lower case, without suffix.
    stems: &'static [&'static str],
    /// Whether a folder of that name will do.
    folder: bool,
}

const fn kind(
    name: &'static str,
    title: &'static str,
    stems: &'static [&'static str],
    folder: bool,
) -> FileKind {
    FileKind {
        name,
        title,
        stems,
        folder,
    }
}

/// The kinds of files that are looked for: in the root, `.github`, `.gitlab` and `docs`.
pub const FILES: &[FileKind] = &[
    kind(
        "changelog",
        "changelog",
        &[
            "changelog",
            "changes",
            "history",
            "news",
            "releases",
            "release-notes",
        ],
        false,
    ),
    kind(
        "codeOfConduct",
        "code of conduct",
        &[
            "code_of_conduct",
            "code-of-conduct",
            "codeofconduct",
            "code_of_conduct_en",
        ],
        false,
    ),
    kind(
        "codeOwners",
        "code owners",
        &["codeowners", "owners"],
        false,
    ),
    kind(
        "contributing",
        "guide for contributors",
        &["contributing", "contribute", "development", "hacking"],
        false,
    ),
    kind("governance", "governance", &["governance"], false),
    kind(
        "license",
        "licence",
        &["license", "licence", "licenses", "copying", "unlicense"],
        true,
    ),
    kind("maintainers", "maintainers", &["maintainers"], false),
    kind("readme", "readme", &["readme"], false),
    kind(
        "securityPolicy",
        "security policy",
        &[
            "security",
            "security_contacts",
            "security-policy",
            "vulnerability",
        ],
        false,
    ),
];

/// Suffixes of texts.
const SUFFIXES: [&str; 9] = [
    "", "adoc", "html", "markdown", "md", "org", "rst", "txt", "yml",
];

impl FileKind {
    /// Whether something called `name`, in lower case, is one.
    pub(crate) fn is_named(&self, name: &str, is_folder: bool) -> bool {
        if is_folder {
            return self.folder && self.stems.contains(&name);
        }
        let (stem, suffix) = name.rsplit_once('.').unwrap_or((name, ""));
        // `LICENSE-MIT`, `COPYING.LESSER`
        let is_variant = self.folder
            && self.stems.iter().any(|it| {
                name.strip_prefix(it)
                    .is_some_and(|rest| rest.starts_with(['-', '.', '_']))
            });
        is_variant || self.stems.contains(&stem) && SUFFIXES.contains(&suffix)
    }
}
