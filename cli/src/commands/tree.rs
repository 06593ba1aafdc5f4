//! `sealpack tree`: what is attached to an image, and to that.

use std::collections::{BTreeMap, BTreeSet};

use attest::Accept;
use clap::Args;
use intoto::PredicateType;
use oci::{Descriptor, Digest, Limits, Node, Reference, Relation, Store};
use serde::Serialize;

use crate::args::{Access, IdentityArgs, Printed};
use crate::digest_tags;
use crate::environment::Environment;
use crate::error::CommandError;
use crate::images::Lookup;
use crate::typed;
use crate::ui::{Tone, Ui};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sealpack tree oci:out:app
  And who is known to have signed what:
    sealpack tree registry.example/app:v1 --key release.pub")]
pub(crate) struct Tree {
    /// The image.
    #[arg(value_parser = typed::image)]
    pub(crate) image: Reference,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What names the kind of claim in a referrer's annotations: the registry's word, a hint.
const PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";

/// What `sealpack tree --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
struct Report {
    image: String,
    /// Parents before children, in the order of the tree.
    nodes: Vec<Entry>,
    /// Tags by which cosign 1 and 2 attached something to the image. Nobody has checked it.
    #[serde(rename = "digestTags", skip_serializing_if = "Vec::is_empty")]
    digest_tags: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    depth: usize,
    /// `image`, `child` (of an index) or `referrer`.
    relation: &'static str,
    digest: String,
    media_type: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    /// What the referrer says to claim. Nobody has checked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicate_type: Option<String>,
    /// Who signed it, of those who were named: that is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(crate) async fn run(
    args: Tree,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let images = Lookup::new(&args.access, environment, ui);
    ui.begin("tree", args.image.to_string());
    let found = images.find(&args.image).await?;
    let nodes = oci::walk(&*found.store, &found.descriptor, &Limits::default()).await?;
    let mut report = Report {
        image: found.reference.to_string(),
        nodes: nodes.iter().map(Entry::of).collect(),
        digest_tags: digest_tags::of(&found).await,
    };
    let signers = signers(&args.identity, &*found.store, &nodes, environment).await?;
    for (entry, node) in report.nodes.iter_mut().zip(&nodes) {
        entry.signer = signers.get(&node.descriptor.digest).cloned();
    }
    ui.result(args.printed.output, &report, print)
}

/// Who signed which of the referrers, of those who are named.
async fn signers(
    identity: &IdentityArgs,
    store: &dyn Store,
    nodes: &[Node],
    environment: &Environment,
) -> Result<BTreeMap<Digest, String>, CommandError> {
    let mut known = BTreeMap::new();
    let named = identity.signers(environment)?;
    if named.is_empty() {
        return Ok(known);
    }
    // What a referrer says to claim only tells what to look for.
    let said = nodes
        .iter()
        .filter_map(|it| it.annotations.get(PREDICATE_TYPE)?.parse().ok());
    let kinds: BTreeSet<PredicateType> = said.chain([PredicateType::COSIGN_SIGN]).collect();
    let accepted: Vec<_> = kinds
        .iter()
        .flat_map(|kind| {
            named.iter().map(|signer| Accept {
                predicate_type: kind.clone(),
                signer: signer.clone(),
            })
        })
        .collect();
    let trust = identity.trust(&accepted)?;
    let mut above: Vec<&Node> = Vec::new();
    let mut subjects: BTreeMap<&Digest, &Descriptor> = BTreeMap::new();
    for node in nodes {
        above.truncate(node.depth);
        if let (Relation::Referrer, Some(subject)) = (node.relation, above.last()) {
            subjects.insert(&subject.descriptor.digest, &subject.descriptor);
        }
        above.push(node);
    }
    for subject in subjects.values() {
        let proof = gate::prove(store, subject, &accepted, &trust, &Limits::default()).await?;
        for it in &proof.verified {
            if let Some(manifest) = it.manifest() {
                known.insert(manifest.digest.clone(), it.signer().to_string());
            }
        }
    }
    Ok(known)
}

impl Entry {
    fn of(node: &Node) -> Self {
        let platform = node.descriptor.platform.as_ref().map(|it| {
            let variant = it
                .variant
                .as_ref()
                .map_or(String::new(), |it| format!("/{it}"));
            format!("{}/{}{variant}", it.os, it.architecture)
        });
        Self {
            depth: node.depth,
            relation: match node.relation {
                Relation::Child => "child",
                Relation::Referrer => "referrer",
                Relation::Root => "image",
            },
            digest: node.descriptor.digest.to_string(),
            media_type: node.descriptor.media_type.to_string(),
            size: node.descriptor.size,
            artifact_type: node.artifact_type.as_ref().map(ToString::to_string),
            predicate_type: node.annotations.get(PREDICATE_TYPE).cloned(),
            signer: None,
            platform,
            problem: node.problem.clone(),
        }
    }

    /// What it is, in a few words.
    fn label(&self) -> String {
        if let Some(problem) = &self.problem {
            return format!("unreadable: {problem}");
        }
        if let Some(predicate_type) = &self.predicate_type {
            let name = predicate_type
                .parse::<PredicateType>()
                .ok()
                .and_then(|it| it.short_name());
            return name.unwrap_or(predicate_type).to_owned();
        }
        if let Some(platform) = &self.platform {
            return platform.clone();
        }
        match (self.relation, &self.artifact_type) {
            ("referrer", Some(artifact_type)) => artifact_type.clone(),
            _ => self.media_type.clone(),
        }
    }
}

fn print(ui: &Ui, report: &Report) {
    ui.line(&report.image);
    for (at, entry) in report.nodes.iter().enumerate().skip(1) {
        let after = report.nodes.get(at + 1..).unwrap_or_default();
        // Whether another one at `depth` follows below the same parent.
        let goes_on = |depth: usize| {
            after
                .iter()
                .take_while(|it| it.depth >= depth)
                .any(|it| it.depth == depth)
        };
        let mut branch = String::new();
        for depth in 1..entry.depth {
            branch.push_str(if goes_on(depth) { "│  " } else { "   " });
        }
        branch.push_str(if goes_on(entry.depth) {
            "├─ "
        } else {
            "└─ "
        });
        let tone = if entry.problem.is_some() {
            Tone::Odd
        } else {
            Tone::Label
        };
        let signer = entry.signer.as_ref().map_or(String::new(), |it| {
            format!("  {}", ui.paint(Tone::Good, format_args!("✓ {it}")))
        });
        ui.line(format_args!(
            "{}{}  {}{signer}",
            ui.paint(Tone::Faint, branch),
            ui.paint(tone, entry.label()),
            ui.paint(Tone::Faint, &entry.digest),
        ));
    }
    for tag in &report.digest_tags {
        ui.line(format_args!(
            "{}  {} in cosign's old format, which cannot be verified yet",
            ui.paint(Tone::Odd, tag),
            digest_tags::holds(tag),
        ));
    }
}
