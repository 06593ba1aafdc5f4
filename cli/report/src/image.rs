//! One image: what it is, what is attached to it, what is proven by whom, what a policy says, what is in
//! it, and how healthy the source is that it came from.

mod components;
mod html;
mod text;
mod tree;

use ::health::Health;
use attest::{Attached, Bundle, Content, Verified};
use intoto::{PredicateType, Statement};
use oci::Descriptor;
use policies::Verdict;
use serde::Serialize;

pub use components::{Component, Listed};
pub use tree::TreeNode;

/// What `sealpack report` shows. Its JSON is described in `docs/output.md`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ImageReport {
    /// The reference that was given, by digest.
    pub image: String,
    /// Of the manifest.
    pub digest: String,
    /// Of the manifest.
    pub media_type: String,
    /// Facts of the config, each with its name.
    pub facts: Vec<(String, String)>,
    /// What a policy says, if one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Whether somebody to believe was named. If not, nothing is proven, and what is attached is
    /// shown as what it says to be.
    pub believed: bool,
    /// What is claimed of it: first what is proven.
    pub claims: Vec<Claim>,
    /// What is attached but proves nothing.
    pub unproven: Vec<Unproven>,
    /// How many referrers were not looked at, because there are more than the limit.
    pub unread: usize,
    /// The image, and what is attached: parents before children.
    pub tree: Vec<TreeNode>,
    /// Tags by which cosign 1 and 2 attached something to the image. Nobody has checked it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub digest_tags: Vec<String>,
    /// The SBOMs whose components are shown.
    pub sboms: Vec<Listed>,
    /// What is in it.
    pub components: Vec<Component>,
    /// The health of its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Box<Health>>,
}

/// One claim.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Claim {
    /// What kind of claim.
    pub predicate_type: PredicateType,
    /// Whether it was verified, and is by somebody who was named.
    pub proven: bool,
    /// Who made it; absent if that is not proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// The referrer that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// The bundle in it.
    pub bundle: String,
}

/// What is attached but proves nothing.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub struct Unproven {
    /// Why.
    pub reason: String,
    /// The referrer.
    pub manifest: String,
}

impl Unproven {
    /// One referrer, and why it proves nothing.
    pub fn new(manifest: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            manifest: manifest.into(),
        }
    }
}

impl ImageReport {
    /// A report about the image that `image` names, with nothing attached.
    pub fn new(image: impl Into<String>, descriptor: &Descriptor) -> Self {
        Self {
            image: image.into(),
            digest: descriptor.digest.to_string(),
            media_type: descriptor.media_type.to_string(),
            facts: Vec::new(),
            verdict: None,
            believed: false,
            claims: Vec::new(),
            unproven: Vec::new(),
            unread: 0,
            tree: Vec::new(),
            digest_tags: Vec::new(),
            sboms: Vec::new(),
            components: Vec::new(),
            health: None,
        }
    }

    /// The same with a fact about the image, if there is something to say.
    pub fn fact(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.facts.push((name.to_owned(), value));
        }
        self
    }

    /// The same with what [`oci::walk`] met.
    pub fn tree(mut self, nodes: &[oci::Node]) -> Self {
        self.tree = nodes.iter().map(TreeNode::of).collect();
        self
    }

    /// The same with the tags by which cosign 1 and 2 attached something.
    pub fn digest_tags(mut self, tags: Vec<String>) -> Self {
        self.digest_tags = tags;
        self
    }

    /// The same with what was proven by somebody who was named.
    pub fn proven(mut self, verified: &[Verified]) -> Self {
        self.believed = true;
        for it in verified {
            self.claims.push(Claim {
                predicate_type: it.predicate_type().clone(),
                proven: true,
                signer: Some(it.signer().to_string()),
                manifest: it.manifest().map(|it| it.digest.to_string()),
                bundle: it.bundle().to_string(),
            });
            self.show(it.statement(), true);
        }
        self
    }

    /// The same with what is attached, by its own word: for a report without anybody to believe.
    pub fn claimed(mut self, attached: &[Attached]) -> Self {
        for it in attached {
            let Ok(bundle) = Bundle::parse(it.bundle.clone()) else {
                continue;
            };
            let Content::Envelope(envelope) = bundle.content() else {
                continue;
            };
            let Ok(statement) = Statement::<serde_json::Value>::parse(envelope.payload()) else {
                continue;
            };
            self.claims.push(Claim {
                predicate_type: statement.predicate_type().clone(),
                proven: false,
                signer: None,
                manifest: Some(it.manifest.digest.to_string()),
                bundle: bundle.digest().to_string(),
            });
            self.show(&statement, false);
        }
        self
    }

    /// The same with what is attached but proves nothing.
    pub fn unproven(mut self, mut unproven: Vec<Unproven>, unread: usize) -> Self {
        unproven.sort();
        self.unproven = unproven;
        self.unread = unread;
        self
    }

    /// The same with what a policy says.
    pub fn judged(mut self, verdict: Verdict) -> Self {
        self.verdict = Some(verdict);
        self
    }

    /// Whether it was judged, and turned away.
    pub fn is_rejected(&self) -> bool {
        self.verdict.as_ref().is_some_and(|it| !it.accepted())
    }

    /// The report as a page of its own.
    pub fn page(&self) -> crate::page::Page {
        html::page(self)
    }

    /// The report as lines of text.
    pub fn text(&self) -> String {
        text::text(self)
    }

    /// Takes from a statement what is shown of its kind.
    fn show(&mut self, statement: &Statement<serde_json::Value>, proven: bool) {
        let kind = statement.predicate_type();
        if *kind == PredicateType::SEALPACK_HEALTH && self.health.is_none() {
            self.health = statement.predicate_as::<Health>().ok().map(Box::new);
        } else if *kind == PredicateType::CYCLONEDX || *kind == PredicateType::SPDX {
            components::show(self, statement.predicate(), kind, proven);
        }
    }
}
