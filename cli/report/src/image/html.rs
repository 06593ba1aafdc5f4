//! The report about an image as one HTML page.

use std::collections::BTreeMap;

use intoto::PredicateType;
use policies::Verdict;

use super::{ImageReport, tree};
use crate::page::{Cell, Column, Markup, Page, Table, Tone};

/// What is said where nobody said whom to accept.
const NOBODY: &str = "No key, identity or policy was given, so nothing here is verified: what is attached is shown by its own word.";

pub(super) fn page(report: &ImageReport) -> Page {
    let (tone, word) = match (&report.verdict, report.believed) {
        (Some(verdict), _) if verdict.accepted() => (Tone::Good, "accepted"),
        (Some(_), _) => (Tone::Bad, "rejected"),
        (None, true) if report.claims.is_empty() => (Tone::Odd, "nothing proven"),
        (None, true) => (Tone::Good, "verified"),
        (None, false) => (Tone::Odd, "not verified"),
    };
    let mut page = Page::new(report.image.as_str())
        .badge(tone, word)
        .subtitle("Container image: what is attached, proven and in it")
        .footer("Written by sealpack.")
        .section("image", "Image", image(report));
    if let Some(verdict) = &report.verdict {
        page = page.section("verdict", "Verdict", self::verdict(verdict));
    }
    page = page
        .section("proof", "Proof", proof(report))
        .section("attached", "Attached", attached(report))
        .section("components", "Components", components(report));
    if !report.components.is_empty() {
        page = page.section("licences", "Licences", licenses(report));
    }
    if let Some(health) = &report.health {
        let mut body = crate::health::summary(health);
        body.append(&crate::health::over_time(health));
        page = page.section("health", "Health of the source", body);
    }
    page
}

fn image(report: &ImageReport) -> Markup {
    let mut out = Markup::new();
    let own = [
        ("digest", report.digest.as_str()),
        ("media type", report.media_type.as_str()),
    ];
    let facts = report
        .facts
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    out.facts(own.into_iter().chain(facts));
    out
}

fn verdict(verdict: &Verdict) -> Markup {
    let mut out = Markup::new();
    if verdict.findings().is_empty() {
        out.paragraph("The policy accepts this image.");
    } else {
        let mut table = Table::new(
            "findings",
            [
                Column::text("Rule"),
                Column::text("Finding"),
                Column::text("What to do"),
            ],
        );
        for it in verdict.findings() {
            table.push([
                Cell::toned(Tone::Bad, &it.rule),
                Cell::new(&it.message),
                Cell::new(it.solution.clone().unwrap_or_default()),
            ]);
        }
        table.write(&mut out);
    }
    if !verdict.satisfied().is_empty() {
        out.leaf("h3", "", "Met");
        out.element("p", &[("class", "badges")], |it| {
            for satisfied in verdict.satisfied() {
                let claim = satisfied.claim.as_ref().map(PredicateType::name);
                let text = claim.map_or_else(
                    || satisfied.rule.clone(),
                    |claim| format!("{}: {claim}", satisfied.rule),
                );
                it.badge(Tone::Good, &text);
                it.text(" ");
            }
        });
    }
    let mut facts = vec![("policy", verdict.policy().to_string())];
    if let Some(level) = verdict.build_level() {
        facts.push(("SLSA build level", level.to_string()));
    }
    out.facts(facts.iter().map(|(name, value)| (*name, value.as_str())));
    out
}

fn proof(report: &ImageReport) -> Markup {
    let mut out = Markup::new();
    if !report.believed {
        out.paragraph(NOBODY);
    } else if report.claims.is_empty() {
        out.paragraph("Nothing attached is by somebody who was named.");
    }
    if !report.claims.is_empty() {
        let mut table = Table::new(
            "claims",
            [
                Column::text("Claim"),
                Column::text("State"),
                Column::code("Signer"),
                Column::code("Bundle"),
            ],
        );
        for it in &report.claims {
            let state = if it.proven {
                Cell::toned(Tone::Good, "proven")
            } else {
                Cell::toned(Tone::Odd, "not verified")
            };
            table.push([
                Cell::new(it.predicate_type.name()),
                state,
                Cell::new(it.signer.clone().unwrap_or_else(|| "unknown".to_owned())),
                Cell::new(&it.bundle),
            ]);
        }
        table.write(&mut out);
    }
    if !report.unproven.is_empty() {
        out.leaf("h3", "", "Attached, and proves nothing");
        let mut table = Table::new("unproven", [Column::code("Referrer"), Column::text("Why")]);
        for it in &report.unproven {
            table.push([Cell::new(&it.manifest), Cell::new(&it.reason)]);
        }
        table.write(&mut out);
    }
    if report.unread > 0 {
        let text = format!(
            "{} more referrers were not looked at: there are more than the limit.",
            report.unread
        );
        out.paragraph(&text);
    }
    out
}

fn attached(report: &ImageReport) -> Markup {
    let mut out = Markup::new();
    if report.tree.len() <= 1 && report.digest_tags.is_empty() {
        out.paragraph("Nothing is attached.");
    }
    tree::write(&report.tree, &mut out);
    for it in &report.digest_tags {
        out.paragraph(&format!(
            "In cosign's old format, which cannot be verified yet: {it}"
        ));
    }
    out.leaf(
        "p",
        "faint",
        "Kinds are by the word of whoever attached them.",
    );
    out
}

fn components(report: &ImageReport) -> Markup {
    let mut out = Markup::new();
    if report.sboms.is_empty() {
        out.paragraph(if report.believed {
            "No SBOM is proven."
        } else {
            "No SBOM is attached."
        });
        return out;
    }
    let sboms: Vec<_> = report
        .sboms
        .iter()
        .map(|it| {
            let state = if it.proven { "proven" } else { "not verified" };
            let name = it.predicate_type.name();
            format!("{name}: {} components, {state}", it.components)
        })
        .collect();
    out.leaf("p", "faint", &sboms.join("; "));
    let mut table = Table::new(
        "component-list",
        [
            Column::text("Name"),
            Column::text("Version"),
            Column::text("Licences"),
            Column::text("Type"),
            Column::code("Package URL"),
        ],
    );
    for it in &report.components {
        let cells = [&it.name, &it.version, &it.licenses, &it.kind, &it.purl];
        table.push(cells.map(Cell::new));
    }
    table.write(&mut out);
    out
}

fn licenses(report: &ImageReport) -> Markup {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for it in &report.components {
        *counts.entry(&it.licenses).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    let mut table = Table::new(
        "license-list",
        [Column::text("Licence"), Column::number("Components")],
    );
    for (license, count) in counts {
        let license = if license.is_empty() {
            Cell::toned(Tone::Faint, "not said")
        } else {
            Cell::new(license)
        };
        table.push([license, Cell::new(count.to_string())]);
    }
    let mut out = Markup::new();
    table.write(&mut out);
    out
}
