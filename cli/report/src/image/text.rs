//! The report about an image as text for a terminal.

use super::ImageReport;
use crate::page::visible;

pub(super) fn text(report: &ImageReport) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(visible(text.trim_end()).as_ref());
        out.push('\n');
    };
    line(report.image.clone());
    line(format!("  {:12}{}", "media type", report.media_type));
    for (name, value) in &report.facts {
        line(format!("  {name:12}{value}"));
    }
    if let Some(verdict) = &report.verdict {
        let word = if verdict.accepted() {
            "accepted"
        } else {
            "rejected"
        };
        line(format!("\nverdict: {word}"));
        for it in verdict.causes() {
            line(format!("  {}: {}", it.rule, it.message));
        }
    }
    line("\nproof".to_owned());
    if !report.believed {
        line("  nothing is verified: no key, identity or policy was given".to_owned());
    } else if report.claims.is_empty() {
        line("  nothing is signed by an accepted signer".to_owned());
    }
    for it in &report.claims {
        let signer = it.signer.as_deref().unwrap_or("not verified");
        line(format!("  {:16}{signer}", it.predicate_type.name()));
    }
    for it in &report.unproven {
        line(format!("  proves nothing: {}: {}", it.manifest, it.reason));
    }
    if report.unread > 0 {
        line(format!(
            "  {} more referrers were not looked at",
            report.unread
        ));
    }
    line(format!(
        "\nattached: {}",
        report.tree.len().saturating_sub(1)
    ));
    for it in &report.digest_tags {
        line(format!(
            "  in cosign's old format, which cannot be verified yet: {it}"
        ));
    }
    line(format!("components: {}", report.components.len()));
    for it in &report.sboms {
        let state = if it.proven { "" } else { ", not verified" };
        line(format!(
            "  {}: {}{state}",
            it.predicate_type.name(),
            it.components
        ));
    }
    if let Some(health) = &report.health {
        let people = &health.contributors;
        line(format!(
            "health of the source: {} people in the last year, absence factor {}",
            people.last_year, people.absence_factor_last_year
        ));
    }
    out
}
