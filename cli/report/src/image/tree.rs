//! What is attached to an image, and to that, as a tree.

use intoto::PredicateType;
use oci::{Node, Relation};
use serde::Serialize;

use crate::page::{Markup, Tone};

/// What names the kind of claim in a referrer's annotations: the registry's word, a hint.
const PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";

/// How many are shown in a page.
const SHOWN: usize = 300;

/// A manifest in the tree below an image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TreeNode {
    /// How far from the image.
    pub depth: usize,
    /// `image`, `child` (of an index) or `referrer`.
    pub relation: &'static str,
    /// Of the manifest.
    pub digest: String,
    /// Of the manifest.
    pub media_type: String,
    /// Bytes of the manifest.
    pub size: u64,
    /// What it is by its own word, which nobody has checked.
    pub label: String,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl TreeNode {
    pub(super) fn of(node: &Node) -> Self {
        let relation = match node.relation {
            Relation::Child => "child",
            Relation::Referrer => "referrer",
            Relation::Root => "image",
        };
        Self {
            depth: node.depth,
            relation,
            digest: node.descriptor.digest.to_string(),
            media_type: node.descriptor.media_type.to_string(),
            size: node.descriptor.size,
            label: label(node, relation),
            problem: node.problem.clone(),
        }
    }
}

fn label(node: &Node, relation: &str) -> String {
    if let Some(kind) = node.annotations.get(PREDICATE_TYPE) {
        let known = kind.parse::<PredicateType>().ok();
        return known
            .and_then(|it| it.short_name())
            .unwrap_or(kind)
            .to_owned();
    }
    if let Some(it) = &node.descriptor.platform {
        return format!("{}/{}", it.os, it.architecture);
    }
    match (relation, &node.artifact_type) {
        ("referrer", Some(artifact_type)) => artifact_type.to_string(),
        _ => node.descriptor.media_type.to_string(),
    }
}

/// Writes the nodes as lists in lists.
pub(super) fn write(nodes: &[TreeNode], into: &mut Markup) {
    let shown = nodes.get(..nodes.len().min(SHOWN)).unwrap_or_default();
    let mut rest = shown;
    branch(&mut rest, into);
    if nodes.len() > shown.len() {
        let more = format!("{} more are not shown.", nodes.len() - shown.len());
        into.leaf("p", "faint", &more);
    }
}

/// Writes the first node of `rest`, all beside it, and all below them.
fn branch(rest: &mut &[TreeNode], into: &mut Markup) {
    let Some(depth) = rest.first().map(|it| it.depth) else {
        return;
    };
    into.element("ul", &[("class", "tree")], |it| {
        while let Some((node, after)) = rest.split_first() {
            if node.depth < depth {
                return;
            }
            *rest = after;
            it.element("li", &[], |it| {
                match &node.problem {
                    Some(problem) => it.badge(Tone::Bad, &format!("unreadable: {problem}")),
                    None => it.leaf("b", "", &node.label),
                }
                it.text(" ");
                it.leaf("span", "code", &node.digest);
                if rest.first().is_some_and(|it| it.depth > node.depth) {
                    branch(rest, it);
                }
            });
        }
    });
}
