//! Figures, held against those of git's own commands.

use std::collections::{BTreeMap, BTreeSet};

use insta::assert_snapshot;
use serde_json::Value;
use testkit::{GitRepository, Output, Workspace, peer, skipped};

use super::{DAY, START, measured, project, says, tag};

#[test]
fn figures_are_said() {
    let workspace = Workspace::new();
    let Some(_project) = project(&workspace) else {
        return;
    };
    assert_snapshot!(says(&workspace, &["project", "--people", "2"]), @r"
exit: 0
--- stdout
health of a source repository

source
  commit                    7f7d682f47a1f9e7f3fae69746bab24db2c7524f
  as of                     2025-12-21T00:00:00Z

people
  contributors              5  (4 in the last year, 3 of them new)
  absence factor            2  (2 in the last year)
  organisations             2  (1 in the last year)
  elephant factor           1  (1 in the last year)
  programs                  1  (2 commits)

activity
  commits                   12  (1 merge; 7 in the last year)
  first commit              2024-01-01
  last commit               2025-12-21
  releases                  2  (1 in the last year; 1 before a release)
  last release              2025-05-25  (v1.1.0)
  days between releases     506  (median of the last ten)

signatures
  commits with one          0 %  (0 of 12)
  of the last year          0 %  (0 of 7)
  tags with one             0 %  (0 of 3)

files
  changelog                 missing
  code of conduct           missing
  code owners               missing
  guide for contributors    docs/CONTRIBUTING.md
  governance                missing
  licence                   LICENSE
  maintainers               missing
  readme                    README.md
  security policy           .github/SECURITY.md

most active people
        4  2024-01-01 – 2024-01-04  Ada Example
        2  2024-04-10 – 2025-12-01  Bob

most active organisations
        4  one.example  1 person
        2  two.example  2 people

quarters       contributions  contributors  new  organisations  releases
  2025-Q4                  3             3    2              1         0
  2025-Q3                  0             0    0              0         0
  2025-Q2                  1             1    1              1         1
  2025-Q1                  0             0    0              0         0
  2024-Q4                  0             0    0              0         0
  2024-Q3                  0             0    0              0         0
  2024-Q2                  1             1    1              0         0
  2024-Q1                  4             1    1              1         1

Signatures are counted where they are there; none is verified.
--- stderr
");
}

#[test]
fn figures_are_those_of_git() {
    let workspace = Workspace::new();
    let Some(repository) = project(&workspace) else {
        return;
    };
    sign(&workspace, &repository);
    let figures = Figures::of(&repository, "HEAD");
    figures.compare(&measured(&workspace, &["project"]));
    assert_eq!((figures.people, figures.bots), (5, 1));
}

/// The same with repositories that are named by the environment: `SEALPACK_HEALTH_REPOSITORIES`,
/// folders with `:` between them. What is printed then stands in docs/health.md.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests are told by the environment where the repositories are"
)]
fn figures_of_named_repositories_are_those_of_git() {
    let named = std::env::var_os("SEALPACK_HEALTH_REPOSITORIES").unwrap_or_default();
    let workspace = Workspace::new();
    for folder in std::env::split_paths(&named).filter(|it| !it.as_os_str().is_empty()) {
        let Some(repository) = GitRepository::open(&workspace, &folder) else {
            return;
        };
        let figures = Figures::of(&repository, "HEAD");
        eprintln!("{}: {figures:#?}", folder.display());
        figures.compare(&measured(&workspace, &[folder.to_str().unwrap()]));
    }
}

#[test]
fn signatures_are_counted_by_kind() {
    let workspace = Workspace::new();
    let Some(repository) = project(&workspace) else {
        return;
    };
    let before = measured(&workspace, &["project"]);
    assert_eq!(before["signatures"]["commits"]["signed"], 0);
    if !sign(&workspace, &repository) {
        return;
    }
    let after = measured(&workspace, &["project"]);
    let commits = &after["signatures"]["commits"];
    assert_eq!(
        (&commits["signed"], &commits["ssh"]),
        (&2.into(), &2.into())
    );
    assert_eq!(after["signatures"]["tags"]["ssh"], 1);
    assert_eq!(after["signatures"]["verified"], false);
}

#[test]
fn the_same_commit_gives_the_same_figures() {
    let workspace = Workspace::new();
    let Some(repository) = project(&workspace) else {
        return;
    };
    let figures = measured(&workspace, &["project"]);
    repository.write("later", "x");
    repository.git(&["clone", "--quiet", "--bare", ".", "../bare"]);
    let bare = GitRepository::open(&workspace, workspace.join("bare")).unwrap();
    bare.git(&["gc", "--quiet"]);
    bare.git(&["remote", "remove", "origin"]);
    let url = format!("file://{}", workspace.join("bare").display());
    for place in ["project/docs", "bare", &url] {
        assert_eq!(measured(&workspace, &[place]), figures, "{place}");
    }
    repository.commit("New <new@three.example>", START + 800 * DAY, &[]);
    let named = measured(&workspace, &["project", "--revision", "HEAD~1"]);
    assert_eq!(named, figures);
    assert_ne!(measured(&workspace, &["project"]), figures);
}

#[test]
fn the_time_is_what_was_given() {
    let workspace = Workspace::new();
    let Some(_project) = project(&workspace) else {
        return;
    };
    let later = measured(&workspace, &["project", "--as-of", "2030-01-01"]);
    assert_eq!(later["asOf"], "2030-01-01T00:00:00Z");
    assert_eq!(later["contributors"]["lastYear"], 0);
    assert_eq!(later["contributors"]["total"], 5);
    let earlier = measured(&workspace, &["project", "--as-of", "2024-02-01T00:00:00Z"]);
    assert_eq!(earlier["contributors"]["lastYear"], 1);
    assert_eq!(earlier["releases"]["total"], 1);
    assert_eq!(earlier["commits"]["last"], "2024-01-04T00:00:00Z");
    assert_eq!(earlier["commits"]["postdated"], 8);
}

#[test]
fn a_forges_export_is_added() {
    let workspace = Workspace::new();
    let Some(_project) = project(&workspace) else {
        return;
    };
    let export = r#"{"issues": [{"number": 1, "user": {"login": "a"}, "created_at": "2025-12-01T00:00:00Z", "closed_at": null}]}"#;
    workspace.write("forge.json", export);
    let health = measured(&workspace, &["project", "--forge", "forge.json"]);
    assert_eq!(health["forge"]["issues"]["open"], 1);
    assert_eq!(health["forge"]["changeRequests"], Value::Null);
}

#[test]
fn a_page_has_plots_and_loads_nothing() {
    let workspace = Workspace::new();
    let Some(_project) = project(&workspace) else {
        return;
    };
    let page = [
        "health",
        "project",
        "--html",
        "health.html",
        "--people",
        "9",
    ];
    Output::of(&mut workspace.sealpack(page)).expect(0);
    let html = fs_err::read_to_string(workspace.join("health.html")).unwrap();
    assert_eq!(html.matches("<svg").count(), 4);
    assert!(html.contains("default-src &#39;none&#39;"), "{html}");
    for word in ["src=", "url(", "@import", "http://"] {
        assert!(!html.contains(word), "{word}");
    }
}

/// Signs two commits and a tag by a key of SSH; false if this machine cannot.
fn sign(workspace: &Workspace, repository: &GitRepository<'_>) -> bool {
    let Some(keygen) = peer("ssh-keygen") else {
        return false;
    };
    let key = workspace.join("key");
    let mut generate = workspace.command(keygen);
    generate
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key);
    Output::of(&mut generate).expect(0);
    let version = repository.git(&["version"]);
    let minor = version
        .split('.')
        .nth(1)
        .and_then(|it| it.parse::<u32>().ok());
    if version.starts_with("git version 2.") && minor.is_some_and(|it| it < 34) {
        skipped("this git does not sign by keys of SSH");
        return false;
    }
    repository.git(&["config", "gpg.format", "ssh"]);
    repository.git(&["config", "user.signingKey", key.to_str().unwrap()]);
    for day in 0..2 {
        repository.commit(
            "Ada Example <ada@one.example>",
            START + (721 + day) * DAY,
            &["-S"],
        );
    }
    let tag = ["tag", "--sign", "-m", "x", "v2.0.0"];
    repository.at(
        "Ada Example <ada@one.example>",
        START + 722 * DAY,
        &tag,
        &[],
    );
    true
}

/// The figures as git's own commands give them.
#[derive(Debug)]
struct Figures {
    commit: String,
    commits: u64,
    merges: u64,
    commits_last_year: u64,
    first: i64,
    last: i64,
    identities: u64,
    contributions: u64,
    people: u64,
    people_last_year: u64,
    new_last_year: u64,
    absence_factor: u64,
    absence_factor_last_year: u64,
    bots: u64,
    openpgp: u64,
    ssh: u64,
    releases: u64,
    prereleases: u64,
    releases_last_year: u64,
    signed_tags: u64,
}

impl Figures {
    fn of(repository: &GitRepository<'_>, revision: &str) -> Self {
        let number =
            |arguments: &[&str]| -> u64 { repository.git(arguments).trim().parse().unwrap() };
        let as_of = repository.git(&["log", "-1", "--format=%ct", revision]);
        let as_of: i64 = as_of.trim().parse().unwrap();
        let is_last_year = |it: i64| it <= as_of && it > as_of - 365 * DAY;
        let times: Vec<i64> = repository
            .git(&["log", "--format=%ct", revision])
            .lines()
            .map(|it| it.parse().unwrap())
            .filter(|it| *it <= as_of)
            .collect();

        // `git shortlog -sne`: "   12\tName <mail>".
        let shortlog = repository.git(&["shortlog", "-sne", "--no-merges", revision]);
        let mut by_person: BTreeMap<String, u64> = BTreeMap::new();
        let mut bots = BTreeSet::new();
        for line in shortlog.lines() {
            let (count, author) = line.trim().split_once('\t').unwrap();
            let (name, mail) = author.rsplit_once('<').unwrap();
            let mail = mail.trim_end_matches('>').to_lowercase();
            if is_bot(name.trim(), &mail) {
                bots.insert(mail.clone());
            }
            let key = if mail.is_empty() {
                name.trim().to_owned()
            } else {
                mail
            };
            *by_person.entry(key).or_default() += count.parse::<u64>().unwrap();
        }
        by_person.retain(|it, _| !bots.contains(it));

        let log = repository.git(&["log", "--no-merges", "--format=%ct%x09%aE%x09%aN", revision]);
        let mut last_year: BTreeMap<String, u64> = BTreeMap::new();
        let mut firsts: BTreeMap<String, i64> = BTreeMap::new();
        for line in log.lines() {
            let fields: Vec<_> = line.splitn(3, '\t').collect();
            let time: i64 = fields[0].parse().unwrap();
            let mail = fields[1].to_lowercase();
            let person = if mail.is_empty() {
                fields[2].to_owned()
            } else {
                mail
            };
            if bots.contains(&person) {
                continue;
            }
            let first = firsts.entry(person.clone()).or_insert(time);
            *first = time.min(*first);
            if is_last_year(time) {
                *last_year.entry(person).or_default() += 1;
            }
        }

        let raw = repository
            .command(&["rev-list", "--header", revision])
            .output()
            .unwrap();
        let raw = String::from_utf8_lossy(&raw.stdout).into_owned();
        let signed = |kind: &str| {
            let begin = format!("\ngpgsig -----BEGIN {kind} SIGNATURE-----");
            let headers = raw.split('\0').map(|it| it.split("\n\n").next().unwrap());
            headers.filter(|it| it.contains(&begin)).count() as u64
        };
        let tags = Tags::of(repository, as_of);
        let releases = || tags.0.iter().filter(|it| !it.is_prerelease);
        Self {
            commit: repository.git(&["rev-parse", revision]).trim().to_owned(),
            commits: number(&["rev-list", "--count", revision]),
            merges: number(&["rev-list", "--count", "--min-parents=2", revision]),
            commits_last_year: times.iter().filter(|it| is_last_year(**it)).count() as u64,
            first: *times.iter().min().unwrap(),
            last: *times.iter().max().unwrap(),
            identities: shortlog.lines().count() as u64,
            contributions: by_person.values().sum(),
            people: by_person.len() as u64,
            people_last_year: last_year.len() as u64,
            new_last_year: firsts.values().filter(|it| is_last_year(**it)).count() as u64,
            absence_factor: half(by_person.values().copied().collect()),
            absence_factor_last_year: half(last_year.values().copied().collect()),
            bots: bots.len() as u64,
            openpgp: signed("PGP"),
            ssh: signed("SSH"),
            releases: releases().count() as u64,
            prereleases: tags.0.len() as u64 - releases().count() as u64,
            releases_last_year: releases().filter(|it| is_last_year(it.time)).count() as u64,
            signed_tags: tags.0.iter().filter(|it| it.is_signed).count() as u64,
        }
    }

    fn compare(&self, health: &Value) {
        let seconds = |it: &Value| {
            let text = it.as_str().unwrap();
            let time =
                time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
            time.unwrap().unix_timestamp()
        };
        assert_eq!(
            health["source"]["digest"]["gitCommit"],
            self.commit.as_str()
        );
        assert_eq!(seconds(&health["commits"]["first"]), self.first);
        assert_eq!(seconds(&health["commits"]["last"]), self.last);
        for (path, expected) in [
            ("/commits/total", self.commits),
            ("/commits/merges", self.merges),
            ("/commits/lastYear", self.commits_last_year),
            ("/contributors/identities", self.identities),
            ("/contributors/contributions", self.contributions),
            ("/contributors/total", self.people),
            ("/contributors/lastYear", self.people_last_year),
            ("/contributors/newLastYear", self.new_last_year),
            ("/contributors/absenceFactor", self.absence_factor),
            (
                "/contributors/absenceFactorLastYear",
                self.absence_factor_last_year,
            ),
            ("/contributors/bots", self.bots),
            ("/signatures/commits/total", self.commits),
            ("/signatures/commits/openpgp", self.openpgp),
            ("/signatures/commits/ssh", self.ssh),
            ("/signatures/tags/signed", self.signed_tags),
            ("/releases/total", self.releases),
            ("/releases/prereleases", self.prereleases),
            ("/releases/lastYear", self.releases_last_year),
        ] {
            assert_eq!(health.pointer(path), Some(&expected.into()), "{path}");
        }
    }
}

/// The tags of releases, by `git for-each-ref`.
struct Tags(Vec<Release>);

struct Release {
    time: i64,
    is_prerelease: bool,
    is_signed: bool,
}

impl Tags {
    fn of(repository: &GitRepository<'_>, as_of: i64) -> Self {
        let format = "--format=%(creatordate:unix)%09%(objecttype)%09%(*objecttype)%09%(if)%(contents:signature)%(then)signed%(end)%09%(refname:lstrip=2)";
        let text = repository.git(&["for-each-ref", format, "refs/tags"]);
        let mut releases = Vec::new();
        for line in text.lines() {
            let fields: Vec<_> = line.splitn(5, '\t').collect();
            let name = fields[4].to_lowercase();
            let is_commit = fields[1] == "commit" || fields[2] == "commit";
            let time: i64 = fields[0].parse().unwrap_or(0);
            if !is_commit || !name.bytes().any(|it| it.is_ascii_digit()) || time > as_of {
                continue;
            }
            let mut words = name.split(|it: char| !it.is_ascii_alphabetic());
            let before = [
                "alpha", "beta", "dev", "nightly", "pre", "preview", "rc", "snapshot",
            ];
            releases.push(Release {
                time,
                is_prerelease: words.any(|it| before.contains(&it)),
                is_signed: fields[3] == "signed" && fields[1] == "tag",
            });
        }
        Self(releases)
    }
}

fn is_bot(name: &str, mail: &str) -> bool {
    name.ends_with("[bot]")
        || mail
            .split('@')
            .next()
            .is_some_and(|it| it.ends_with("[bot]"))
}

/// How many of the largest make half.
fn half(mut counts: Vec<u64>) -> u64 {
    counts.sort_unstable();
    let all: u64 = counts.iter().sum();
    let mut number = 0;
    let mut sum = 0;
    while sum * 2 < all {
        sum += counts.pop().unwrap();
        number += 1;
    }
    number
}

#[test]
fn tags_of_one_commit_are_one_release_to_wait_for() {
    let workspace = Workspace::new();
    let Some(repository) = GitRepository::new(&workspace, "tags") else {
        return;
    };
    for (at, day) in [0, 10, 40].into_iter().enumerate() {
        repository.commit("A <a@one.example>", START + day * DAY, &[]);
        tag(&repository, &format!("v{at}"), START + day * DAY);
        tag(&repository, &format!("module/v{at}"), START + day * DAY);
    }
    let health = measured(&workspace, &["tags"]);
    assert_eq!(health["releases"]["total"], 6);
    assert_eq!(health["releases"]["medianDays"], 10);
}
