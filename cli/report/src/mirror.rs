//! What a mirror run did: as JSON, and as a page.

use oci::Digest;
use policies::Finding;
use serde::Serialize;

use crate::page::{Cell, Column, Markup, Page, Table, Tone};

/// What a run did. Serialises in `camelCase`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Mirrored {
    /// Where the images go.
    pub destination: String,
    /// Whether nothing was to be written.
    pub dry_run: bool,
    /// How many images there are of each status.
    pub counts: Counts,
    /// The images, in the order in which they were named.
    pub images: Vec<Entry>,
}

/// How many images there are of each status.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Counts {
    /// See [`Status::Mirrored`].
    pub mirrored: usize,
    /// See [`Status::There`].
    pub there: usize,
    /// See [`Status::Planned`].
    pub planned: usize,
    /// See [`Status::Held`].
    pub held: usize,
    /// See [`Status::Refused`].
    pub refused: usize,
    /// See [`Status::Undecided`].
    pub undecided: usize,
    /// See [`Status::Failed`].
    pub failed: usize,
}

/// One image. Serialises in `camelCase`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "whoever mirrors fills it")]
pub struct Entry {
    /// As it was named.
    pub source: String,
    /// By digest, if it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Where it goes; empty if it is not known which images there are.
    pub destination: String,
    /// What became of it.
    pub status: Status,
    /// Its digest, if it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What the policy that judged it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What the policy has against it.
    pub findings: Vec<Finding>,
    /// Why it stopped, and what is attached and proves nothing.
    pub problems: Vec<String>,
    /// What to do about why it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How many statements the verdict rests on.
    pub proofs: usize,
    /// How many attachments prove nothing.
    pub unproven: usize,
    /// Manifests that were moved.
    pub new_manifests: usize,
    /// Blobs that were moved.
    pub new_blobs: usize,
    /// Bytes of both.
    pub new_bytes: u64,
    /// Bytes that were there.
    pub skipped_bytes: u64,
    /// Attached manifests that are there now.
    pub referrers: usize,
    /// What is said to be attached, but is broken, and was not copied.
    pub dropped: Vec<String>,
}

/// What became of an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "each is shown in its own way")]
pub enum Status {
    /// It was copied, judged again, and tagged.
    Mirrored,
    /// The destination had all of it.
    There,
    /// It would be mirrored.
    Planned,
    /// It was accepted, and not mirrored, because others were not.
    Held,
    /// The policy says no.
    Refused,
    /// It is not known what the policy says.
    Undecided,
    /// It could not be copied, or arrived without its proof.
    Failed,
}

impl Status {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Mirrored => "mirrored",
            Self::There => "there already",
            Self::Planned => "planned",
            Self::Held => "held back",
            Self::Refused => "refused",
            Self::Undecided => "undecided",
            Self::Failed => "failed",
        }
    }

    const fn tone(self) -> Tone {
        match self {
            Self::Mirrored | Self::There => Tone::Good,
            Self::Planned => Tone::Faint,
            Self::Held | Self::Undecided => Tone::Odd,
            Self::Refused | Self::Failed => Tone::Bad,
        }
    }
}

impl Entry {
    /// One that is still to be found.
    pub fn new(source: String) -> Self {
        Self {
            source,
            image: None,
            destination: String::new(),
            status: Status::Planned,
            digest: None,
            policy: None,
            findings: Vec::new(),
            problems: Vec::new(),
            hint: None,
            proofs: 0,
            unproven: 0,
            new_manifests: 0,
            new_blobs: 0,
            new_bytes: 0,
            skipped_bytes: 0,
            referrers: 0,
            dropped: Vec::new(),
        }
    }
}

impl Mirrored {
    /// What became of `images`.
    pub fn new(destination: &str, dry_run: bool, images: Vec<Entry>) -> Self {
        let mut counts = Counts::default();
        for entry in &images {
            *match entry.status {
                Status::Mirrored => &mut counts.mirrored,
                Status::There => &mut counts.there,
                Status::Planned => &mut counts.planned,
                Status::Held => &mut counts.held,
                Status::Refused => &mut counts.refused,
                Status::Undecided => &mut counts.undecided,
                Status::Failed => &mut counts.failed,
            } += 1;
        }
        Self {
            destination: destination.to_owned(),
            dry_run,
            counts,
            images,
        }
    }

    /// As one self-contained page.
    pub fn page(&self) -> String {
        let Counts {
            refused,
            undecided,
            failed,
            ..
        } = self.counts;
        let (tone, word) = match (refused, undecided + failed) {
            (0, 0) if self.dry_run => (Tone::Good, "nothing to say against it"),
            (0, 0) => (Tone::Good, "all there"),
            (_, 0) => (Tone::Bad, "some refused"),
            _ => (Tone::Bad, "incomplete"),
        };
        let kind = if self.dry_run {
            "What would be mirrored"
        } else {
            "What was mirrored"
        };
        let bytes: u64 = self.images.iter().map(|it| it.new_bytes).sum();
        let mut summary = Markup::new();
        let all = [
            ("images", self.images.len()),
            (Status::Mirrored.words(), self.counts.mirrored),
            (Status::There.words(), self.counts.there),
            (Status::Planned.words(), self.counts.planned),
            (Status::Held.words(), self.counts.held),
            (Status::Refused.words(), refused),
            (Status::Undecided.words(), undecided),
            (Status::Failed.words(), failed),
        ];
        let mut facts: Vec<_> = all
            .iter()
            .filter(|(name, count)| *count > 0 || *name == "images")
            .map(|(name, count)| (*name, count.to_string()))
            .collect();
        facts.push(("bytes moved", bytes.to_string()));
        summary.facts(facts.iter().map(|(name, value)| (*name, value.as_str())));

        let mut page = Page::new(format!("Mirror to {}", self.destination))
            .subtitle(kind)
            .badge(tone, word)
            .footer("Written by sealpack mirror")
            .section("summary", "Summary", summary);
        let reasons = self.reasons();
        if !reasons.is_empty() {
            let mut body = Markup::new();
            reasons.write(&mut body);
            page = page.section("reasons", "What is wrong", body);
        }
        let mut body = Markup::new();
        self.table().write(&mut body);
        page.section("images", "Images", body).html()
    }

    fn reasons(&self) -> Table {
        let columns = [
            Column::code("image"),
            Column::text("status"),
            Column::text("rule"),
            Column::text("reason"),
            Column::text("solution"),
        ];
        let mut table = Table::new("reasons-table", columns);
        for entry in &self.images {
            let status = || Cell::toned(entry.status.tone(), entry.status.words());
            for it in &entry.findings {
                table.push([
                    Cell::new(&entry.source),
                    status(),
                    Cell::new(&it.rule),
                    Cell::new(&it.message),
                    Cell::new(it.solution.as_deref().unwrap_or_default()),
                ]);
            }
            let broken = entry.dropped.iter().map(|it| format!("not copied: {it}"));
            for problem in entry.problems.iter().cloned().chain(broken) {
                table.push([
                    Cell::new(&entry.source),
                    status(),
                    Cell::new(""),
                    Cell::new(problem),
                ]);
            }
        }
        table
    }

    fn table(&self) -> Table {
        let columns = [
            Column::code("source"),
            Column::text("status"),
            Column::code("destination"),
            Column::code("digest"),
            Column::text("policy"),
            Column::number("proofs"),
            Column::number("referrers"),
            Column::number("new bytes"),
            Column::number("bytes there"),
        ];
        let mut table = Table::new("images-table", columns);
        for entry in &self.images {
            let digest = entry.digest.as_ref().map(ToString::to_string);
            table.push([
                Cell::new(&entry.source),
                Cell::toned(entry.status.tone(), entry.status.words()),
                Cell::new(&entry.destination),
                Cell::new(digest.unwrap_or_default()),
                Cell::new(entry.policy.as_deref().unwrap_or_default()),
                Cell::new(entry.proofs.to_string()),
                Cell::new(entry.referrers.to_string()),
                Cell::new(entry.new_bytes.to_string()),
                Cell::new(entry.skipped_bytes.to_string()),
            ]);
        }
        table
    }

    /// How many images have this status.
    pub fn count(&self, status: Status) -> usize {
        self.images.iter().filter(|it| it.status == status).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_became_of_each() {
        let entry = |source: &str, status, problem: &str| Entry {
            status,
            destination: format!("m.example/{source}"),
            problems: Vec::from_iter((!problem.is_empty()).then(|| problem.to_owned())),
            ..Entry::new(source.to_owned())
        };
        let all = vec![
            entry("good", Status::Mirrored, ""),
            entry("bad", Status::Refused, "<b>nobody</b> signed it"),
        ];
        let report = Mirrored::new("m.example/", false, all);
        let page = report.page();
        assert!(
            page.contains("&lt;b&gt;nobody&lt;/b&gt; signed it") && page.contains("some refused")
        );
        assert!(page.contains("m.example/good") && !page.contains("held back"));
        assert_eq!((report.counts.mirrored, report.counts.refused), (1, 1));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["images"][1]["status"], "refused");
        assert!(json["images"][0].get("digest").is_none());
        let good = Mirrored::new("m.example/", false, report.images[..1].to_vec());
        assert!(good.page().contains("all there") && !good.page().contains("What is wrong"));
    }
}
