//! The health of a repository, shown.

use std::fmt::{Display, Write as _};

use ::health::{FILES, Forge, ForgeIssues, Health, SignatureCount};

use crate::page::{Cell, Column, Markup, Page, Plot, Table, Tone, visible};

/// What every form says of signatures.
const UNVERIFIED: &str = "Signatures are counted where they are there; none is verified.";

/// The health as lines of text.
pub fn text(health: &Health) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&format!("health of {}", visible(&name(health))));
    for (title, facts) in groups(health) {
        line(&format!("\n{title}"));
        for Fact { name, value, note } in facts {
            let note = if note.is_empty() {
                String::new()
            } else {
                format!("  {note}")
            };
            line(&format!(
                "  {name:<26}{}{}",
                visible(&value),
                visible(&note)
            ));
        }
    }
    if !health.contributors.people.is_empty() {
        line("\nmost active people");
        for it in &health.contributors.people {
            let years = format!("{} – {}", day(it.first.as_ref()), day(it.last.as_ref()));
            line(&format!(
                "  {:>7}  {years}  {}",
                it.contributions,
                visible(&it.name)
            ));
        }
    }
    if !health.organizations.most_active.is_empty() {
        line("\nmost active organisations");
        for it in health.organizations.most_active.iter().take(10) {
            let people = plural(it.contributors, "person", "people");
            line(&format!(
                "  {:>7}  {}  {people}",
                it.contributions,
                visible(&it.domain)
            ));
        }
    }
    line("\nquarters       contributions  contributors  new  organisations  releases");
    for it in health.quarters.iter().rev().take(8) {
        line(&format!(
            "  {:<13}{:>13}{:>14}{:>5}{:>15}{:>10}",
            it.name,
            it.contributions,
            it.contributors,
            it.new_contributors,
            it.organizations,
            it.releases
        ));
    }
    line(&format!("\n{UNVERIFIED}"));
    out
}

/// The health as a page of its own.
pub fn page(health: &Health) -> Page {
    let page = Page::new(name(health))
        .subtitle(format!(
            "Community health, as of {}",
            day(Some(&health.as_of))
        ))
        .footer(
            "Written by sealpack. Figures are defined in docs/health.md, by the names of CHAOSS.",
        );
    sections(health)
        .into_iter()
        .fold(page, |page, (id, title, body)| {
            page.section(id, title, body)
        })
}

/// The sections of the page, each with what its link is called.
fn sections(health: &Health) -> Vec<(&'static str, &'static str, Markup)> {
    let mut all = vec![
        ("summary", "Summary", summary(health)),
        ("time", "Over time", over_time(health)),
    ];
    if !health.contributors.people.is_empty() {
        all.push(("people", "People", people(health)));
    }
    if !health.organizations.most_active.is_empty() {
        all.push(("organizations", "Organisations", organizations(health)));
    }
    all.push(("figures", "All figures", figures(health)));
    all.push(("files", "Files", files(health)));
    all
}

/// What matters, in a few tiles.
pub fn summary(health: &Health) -> Markup {
    let mut out = Markup::new();
    let people = &health.contributors;
    let orgs = &health.organizations;
    let last = health.commits.last.as_ref();
    let release = health.releases.last.as_ref();
    let tiles = [
        (
            people.last_year.to_string(),
            "contributors in the last year",
        ),
        (people.new_last_year.to_string(), "of them new"),
        (
            people.absence_factor_last_year.to_string(),
            "people made half of it (absence factor)",
        ),
        (
            orgs.elephant_factor_last_year.to_string(),
            "organisations made half of it (elephant factor)",
        ),
        (
            health.commits.last_year.to_string(),
            "commits in the last year",
        ),
        (
            health.releases.last_year.to_string(),
            "releases in the last year",
        ),
        (
            percent(&health.signatures.commits_last_year),
            "of its commits carry a signature",
        ),
        (day(last), "last commit"),
        (day(release.map(|it| &it.time)), "last release"),
    ];
    out.element("div", &[("class", "tiles")], |it| {
        for (value, name) in tiles {
            it.element("div", &[("class", "tile")], |it| {
                it.leaf("b", "", &value);
                it.leaf("span", "", name);
            });
        }
    });
    out.leaf("p", "faint", UNVERIFIED);
    out
}

pub(crate) fn over_time(health: &Health) -> Markup {
    let mut out = Markup::new();
    let quarters = &health.quarters;
    let labels = || quarters.iter().map(|it| it.name.as_str());
    Plot::new("Contributions by quarter", labels())
        .series("contributions", quarters.iter().map(|it| it.contributions))
        .write(&mut out);
    Plot::new("People by quarter", labels())
        .series(
            "returning",
            quarters
                .iter()
                .map(|it| it.contributors.saturating_sub(it.new_contributors)),
        )
        .series("new", quarters.iter().map(|it| it.new_contributors))
        .write(&mut out);
    Plot::new("Organisations by quarter", labels())
        .series("organisations", quarters.iter().map(|it| it.organizations))
        .write(&mut out);
    Plot::new("Releases by quarter", labels())
        .series("releases", quarters.iter().map(|it| it.releases))
        .write(&mut out);
    out
}

fn people(health: &Health) -> Markup {
    let mut table = Table::new(
        "most-active-people",
        [
            Column::text("Name"),
            Column::number("Contributions"),
            Column::number("Last year"),
            Column::text("First"),
            Column::text("Last"),
        ],
    );
    for it in &health.contributors.people {
        table.push([
            Cell::new(&it.name),
            Cell::new(it.contributions.to_string()),
            Cell::new(it.last_year.to_string()),
            Cell::new(day(it.first.as_ref())),
            Cell::new(day(it.last.as_ref())),
        ]);
    }
    let mut out = Markup::new();
    table.write(&mut out);
    out
}

fn organizations(health: &Health) -> Markup {
    let mut table = Table::new(
        "most-active-organizations",
        [
            Column::text("Domain"),
            Column::number("Contributions"),
            Column::number("Last year"),
            Column::number("People"),
        ],
    );
    for it in &health.organizations.most_active {
        table.push([
            Cell::new(&it.domain),
            Cell::new(it.contributions.to_string()),
            Cell::new(it.last_year.to_string()),
            Cell::new(it.contributors.to_string()),
        ]);
    }
    let mut out = Markup::new();
    table.write(&mut out);
    let unaffiliated = format!(
        "{} contributions are by addresses that speak of no organisation: mailboxes for everybody, hidden addresses.",
        health.organizations.unaffiliated
    );
    out.leaf("p", "faint", &unaffiliated);
    out
}

fn figures(health: &Health) -> Markup {
    let mut out = Markup::new();
    for (title, facts) in groups(health).into_iter().filter(|(it, _)| *it != "files") {
        out.leaf("h3", "", title);
        let facts: Vec<_> = facts
            .iter()
            .map(|it| {
                let value = format!("{} {}", it.value, it.note);
                (it.name.as_str(), value.trim_end().to_owned())
            })
            .collect();
        out.facts(facts.iter().map(|(name, value)| (*name, value.as_str())));
    }
    out
}

fn files(health: &Health) -> Markup {
    let mut table = Table::new(
        "files-found",
        [
            Column::text("File"),
            Column::text("Found"),
            Column::code("Path"),
        ],
    );
    for kind in FILES {
        let path = health.files.get(kind.name).and_then(Option::as_ref);
        let found = match path {
            Some(_) => Cell::toned(Tone::Good, "there"),
            None => Cell::toned(Tone::Odd, "missing"),
        };
        table.push([
            Cell::new(kind.title),
            found,
            Cell::new(path.cloned().unwrap_or_default()),
        ]);
    }
    let mut out = Markup::new();
    table.write(&mut out);
    out.leaf("p", "faint", "Looked for in the root, .github, .gitlab and docs. A forge may show files of another repository of the same owner.");
    out
}

/// One figure.
struct Fact {
    name: String,
    value: String,
    note: String,
}

fn fact(name: &str, value: impl Display, note: impl Into<String>) -> Fact {
    Fact {
        name: name.to_owned(),
        value: value.to_string(),
        note: note.into(),
    }
}

/// All figures, in groups.
fn groups(health: &Health) -> Vec<(&'static str, Vec<Fact>)> {
    let mut groups = vec![
        ("source", source(health)),
        ("people", contributors(health)),
        ("activity", activity(health)),
        ("signatures", signatures(health)),
        ("files", found_files(health)),
    ];
    if let Some(forge) = &health.forge {
        groups.push(("forge", of_forge(forge)));
    }
    groups
}

fn source(health: &Health) -> Vec<Fact> {
    let commit = health.source.digest.get("gitCommit");
    vec![
        fact("commit", commit.map_or("", String::as_str), ""),
        fact("as of", health.as_of.as_str(), ""),
    ]
}

fn contributors(health: &Health) -> Vec<Fact> {
    let people = &health.contributors;
    let orgs = &health.organizations;
    let last_year = |it: u64| format!("({it} in the last year)");
    vec![
        fact(
            "contributors",
            people.total,
            format!(
                "({} in the last year, {} of them new)",
                people.last_year, people.new_last_year
            ),
        ),
        fact(
            "absence factor",
            people.absence_factor,
            last_year(people.absence_factor_last_year),
        ),
        fact("organisations", orgs.total, last_year(orgs.last_year)),
        fact(
            "elephant factor",
            orgs.elephant_factor,
            last_year(orgs.elephant_factor_last_year),
        ),
        fact(
            "programs",
            people.bots,
            format!("({})", plural(people.bot_commits, "commit", "commits")),
        ),
    ]
}

fn activity(health: &Health) -> Vec<Fact> {
    let commits = &health.commits;
    let releases = &health.releases;
    let mut facts = vec![
        fact(
            "commits",
            commits.total,
            format!(
                "({}; {} in the last year)",
                plural(commits.merges, "merge", "merges"),
                commits.last_year
            ),
        ),
        fact("first commit", day(commits.first.as_ref()), ""),
        fact("last commit", day(commits.last.as_ref()), ""),
        fact(
            "releases",
            releases.total,
            format!(
                "({} in the last year; {} before a release)",
                releases.last_year, releases.prereleases
            ),
        ),
    ];
    if let Some(last) = &releases.last {
        facts.push(fact(
            "last release",
            day(Some(&last.time)),
            format!("({})", last.name),
        ));
    }
    if let Some(days) = releases.median_days {
        facts.push(fact(
            "days between releases",
            days,
            "(median of the last ten)",
        ));
    }
    if commits.postdated > 0 {
        facts.push(fact(
            "dated later",
            commits.postdated,
            "(commits that say to be later than this report)",
        ));
    }
    facts
}

fn signatures(health: &Health) -> Vec<Fact> {
    let it = &health.signatures;
    [
        ("commits with one", &it.commits),
        ("of the last year", &it.commits_last_year),
        ("tags with one", &it.tags),
    ]
    .into_iter()
    .map(|(name, count)| fact(name, percent(count), kinds(count)))
    .collect()
}

fn found_files(health: &Health) -> Vec<Fact> {
    FILES
        .iter()
        .map(|kind| {
            let path = health.files.get(kind.name).and_then(Option::as_ref);
            fact(kind.title, path.map_or("missing", String::as_str), "")
        })
        .collect()
}

fn of_forge(forge: &Forge) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (name, it) in [
        ("issues", &forge.issues),
        ("change requests", &forge.change_requests),
    ] {
        if let Some(it) = it {
            facts.extend(of_issues(name, it));
        }
    }
    if let Some(it) = &forge.releases {
        let note = format!(
            "({} in the last year; last {})",
            it.last_year,
            day(it.last.as_ref())
        );
        facts.push(fact("published releases", it.total, note));
    }
    facts
}

fn of_issues(name: &str, it: &ForgeIssues) -> Vec<Fact> {
    let mut facts = vec![fact(
        name,
        it.total,
        format!(
            "({} open; {} new and {} closed in the last year, by {})",
            it.open,
            it.new_last_year,
            it.closed_last_year,
            plural(it.authors_last_year, "person", "people")
        ),
    )];
    if let Some(accepted) = it.accepted_last_year {
        facts.push(fact("  accepted", accepted, "(in the last year)"));
    }
    if let Some(ratio) = it.closure_ratio_percent {
        facts.push(fact("  closure ratio", format!("{ratio} %"), ""));
    }
    if let Some(days) = it.median_days {
        facts.push(fact("  days to close", days, "(median)"));
    }
    if let Some(hours) = it.response_median_hours {
        facts.push(fact("  hours to first response", hours, "(median)"));
    }
    facts
}

/// What is shown of where the source is.
fn name(health: &Health) -> String {
    match &health.source.uri {
        Some(uri) => uri.strip_prefix("git+").unwrap_or(uri).to_owned(),
        None => "a source repository".to_owned(),
    }
}

fn day(time: Option<&intoto::Timestamp>) -> String {
    let text = time.map_or("never", intoto::Timestamp::as_str);
    text.split('T').next().unwrap_or_default().to_owned()
}

fn percent(of: &SignatureCount) -> String {
    match (of.signed * 100).checked_div(of.total) {
        Some(percent) => format!("{percent} %"),
        None => "none".to_owned(),
    }
}

fn kinds(of: &SignatureCount) -> String {
    let mut text = format!("({} of {}", of.signed, of.total);
    let kinds = [
        ("OpenPGP", of.openpgp),
        ("SSH", of.ssh),
        ("X.509", of.x509),
        ("unknown", of.unknown),
    ];
    let mut separator = ": ";
    for (name, count) in kinds.iter().filter(|(_, count)| *count > 0) {
        write!(text, "{separator}{count} {name}").unwrap_or_default();
        separator = ", ";
    }
    text.push(')');
    text
}

fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
