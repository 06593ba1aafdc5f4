//! Merges what documents say and what was found into one account of one thing.
//!
//! 1. Each document is read into the model ([`Reading`]); what the model does not know stays with
//!    its component and with its document.
//! 2. What is the same is found out, once for all formats ([`crate::identity`]).
//! 3. What is said of one thing is merged in the model, and so are relations: each stands once.
//! 4. Each format writes the result: what documents of this format said of a component stands as
//!    they said it, and the model fills in the rest.

mod component;
pub(crate) mod fields;
pub(crate) mod makers;
pub(crate) mod names;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use time::OffsetDateTime;

use self::fields::Other;
use crate::component::{
    By, Completeness, Component, Evidence, Gap, Inventory, Kind, Node, Party, RelationKind,
};
use crate::cyclonedx::{self, CycloneDx};
use crate::document::Document;
use crate::format::Format;
use crate::identity::{self, Source};
use crate::json::{Object, short_hash, text};
use crate::reading::Reading;
use crate::spdx::{self, Spdx};
use crate::subject::Subject;

/// What is in an image, in both formats.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// As CycloneDX.
    pub cyclonedx: CycloneDx,
    /// As SPDX.
    pub spdx: Spdx,
}

/// Merges all documents of an image into one CycloneDX and one SPDX document about `subject`:
/// [`Sources::merge`] where nothing was found otherwise.
pub fn merge<'a>(
    subject: &Subject,
    created: OffsetDateTime,
    documents: impl IntoIterator<Item = &'a Document>,
) -> Merged {
    Sources {
        about: Some(subject.component()),
        created: Some(created),
        documents: documents.into_iter().collect(),
        found: Vec::new(),
    }
    .merge()
}

/// What goes into a merged SBOM.
#[derive(Clone, Debug, Default)]
pub struct Sources<'a> {
    /// What it is about. None if it is about what its documents are about, which must be one then.
    pub about: Option<Component>,
    /// All that it says of time. Use the image's.
    pub created: Option<OffsetDateTime>,
    /// Documents that others wrote.
    pub documents: Vec<&'a Document>,
    /// What was found by looking.
    pub found: Vec<&'a Inventory>,
}

impl Sources<'_> {
    /// Merges all of it.
    ///
    /// - The same in any order gives the same bytes: names and the serial number come from the
    ///   content.
    /// - One component that several documents list is written once, with all that they say. Where
    ///   they contradict one another one value stands and the others are properties (CycloneDX) or
    ///   annotations (SPDX).
    /// - What is known from one format only is in the other, too, as far as that has words for it;
    ///   where both know a component, what documents of a format say comes first in it.
    /// - CycloneDX is written as 1.5, or as the newest version among `documents`; SPDX as 2.3.
    pub fn merge(&self) -> Merged {
        let merging = self.united();
        Merged {
            cyclonedx: CycloneDx::from_root(cyclonedx::write::write(&merging)),
            spdx: Spdx::from_root(spdx::write::write(&merging)),
        }
    }

    fn united(&self) -> Merging {
        let mut parts = self.parts();
        let sources: Vec<Source<'_>> = parts
            .iter()
            .map(|it| Source {
                inventory: &it.reading.inventory,
                place: it.format.map(|_| it.place.as_str()),
                is_nested: it.format == Some(Format::CycloneDx),
            })
            .collect();
        let identities = identity::identities(&sources);
        let mut members: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
        for (part, identities) in identities.iter().enumerate() {
            for (index, identity) in identities.iter().enumerate() {
                members.entry(identity).or_default().push((part, index));
            }
        }

        // What all of it is about, unless we are told.
        let roots: BTreeSet<&str> = parts
            .iter()
            .zip(&identities)
            .filter_map(|(part, identities)| identities.get(part.reading.root?))
            .map(String::as_str)
            .collect();
        let told = self.about.clone();
        let root = roots.first().filter(|_| told.is_none() && roots.len() == 1);
        let its_own = root.and_then(|it| members.remove_entry(*it));
        let about = match its_own {
            Some((identity, members)) => Group::new(identity, members, &parts),
            None => Group {
                identity: String::new(),
                component: told.unwrap_or_else(|| nameless(&parts)),
                others: Vec::new(),
                members: Vec::new(),
                parent: None,
            },
        };
        let mut groups: Vec<Group> = members
            .into_iter()
            .map(|(identity, members)| Group::new(identity, members, &parts))
            .collect();

        let mut nodes: Vec<Vec<Node>> = identities
            .iter()
            .map(|it| vec![Node::Subject; it.len()])
            .collect();
        for (index, group) in groups.iter().enumerate() {
            for (part, member) in &group.members {
                if let Some(node) = nodes.get_mut(*part).and_then(|it| it.get_mut(*member)) {
                    *node = Node::Component(index);
                }
            }
        }
        let relations = relations(&parts, &nodes);
        nest(&mut groups, &relations);
        for (part, nodes) in parts.iter_mut().zip(nodes) {
            part.nodes = nodes;
        }
        let found = || self.found.iter();
        Merging {
            about,
            groups,
            relations,
            created: self.created,
            completeness: found().map(|it| it.completeness).max(),
            gaps: found().flat_map(|it| it.gaps.iter().cloned()).collect(),
            authors: found().flat_map(|it| it.authors.iter().cloned()).collect(),
            parts,
        }
    }

    fn parts(&self) -> Vec<Part> {
        // A document that is there twice says nothing new; it only has two origins.
        let mut distinct: BTreeMap<(Format, String, Option<&str>), Distinct<'_>> = BTreeMap::new();
        for document in &self.documents {
            let text = serde_json::to_string(document.root()).unwrap_or_default();
            let hash = short_hash(&text);
            distinct
                .entry((document.format(), hash, document.place()))
                .or_insert_with(|| Distinct {
                    document,
                    origins: BTreeSet::new(),
                })
                .origins
                .insert(document.origin());
        }
        let mut roots: Vec<Object> = distinct
            .values()
            .map(|it| it.document.root().clone())
            .collect();
        spdx::write::separate(&mut roots);
        let mut parts = Vec::new();
        for (((format, hash, place), distinct), mut root) in distinct.into_iter().zip(roots) {
            let mut origins = distinct.origins.into_iter();
            let origin = origins.next().unwrap_or_default();
            let mut reading = match format {
                Format::CycloneDx => cyclonedx::read::read(&mut root, origin),
                Format::Spdx => spdx::read::read(&mut root, origin),
                Format::Syft => crate::syft::read::read(&root, origin),
            };
            for origin in origins {
                for component in &mut reading.inventory.components {
                    component.evidence.push(Evidence {
                        layer: None,
                        path: None,
                        by: By::Document(origin.to_owned()),
                        buildpack: None,
                    });
                }
            }
            parts.push(Part {
                place: place.unwrap_or(&hash).to_owned(),
                hash,
                format: Some(format),
                root,
                reading,
                nodes: Vec::new(),
            });
        }
        parts.extend(self.found.iter().map(|it| {
            let count = it.components.len();
            Part {
                hash: String::new(),
                place: String::new(),
                format: None,
                root: Object::new(),
                reading: Reading {
                    inventory: (*it).clone(),
                    root: None,
                    references: vec![String::new(); count],
                    fields: vec![Object::new(); count],
                },
                nodes: Vec::new(),
            }
        }));
        parts
    }
}

/// A document, and where all it is.
struct Distinct<'a> {
    document: &'a Document,
    origins: BTreeSet<&'a str>,
}

/// What a document is about that does not say so.
fn nameless(parts: &[Part]) -> Component {
    let names = parts.iter().filter_map(|it| text(&it.root, "name"));
    Component::new(Kind::Other, names.min().unwrap_or("unknown"))
}

/// All that was read, with what is the same put together.
#[derive(Debug)]
pub(crate) struct Merging {
    /// What it is about; its members are none if that is not from a document.
    pub(crate) about: Group,
    /// What is in it, sorted by what makes each what it is.
    pub(crate) groups: Vec<Group>,
    /// How these stand to one another: each relation once.
    pub(crate) relations: BTreeSet<(Node, RelationKind, Node)>,
    pub(crate) created: Option<OffsetDateTime>,
    /// Whether what was found is all there is; none if nobody looked.
    pub(crate) completeness: Option<Completeness>,
    pub(crate) gaps: BTreeSet<Gap>,
    pub(crate) authors: BTreeSet<Party>,
    pub(crate) parts: Vec<Part>,
}

/// A document, or what was found.
#[derive(Debug)]
pub(crate) struct Part {
    /// Tells a document from others; empty if it is none.
    pub(crate) hash: String,
    place: String,
    /// Its format, if it is a document.
    pub(crate) format: Option<Format>,
    /// What is left of it without its components.
    pub(crate) root: Object,
    pub(crate) reading: Reading,
    /// By component, which of the groups it belongs to.
    pub(crate) nodes: Vec<Node>,
}

/// One component of the result.
#[derive(Debug)]
pub(crate) struct Group {
    /// What makes it what it is.
    pub(crate) identity: String,
    /// All that is said of it.
    pub(crate) component: Component,
    /// What was said otherwise.
    pub(crate) others: Vec<Other>,
    /// Who says so: part and component.
    pub(crate) members: Vec<(usize, usize)>,
    /// The group that it is a part of, where a format can say that of one only.
    pub(crate) parent: Option<usize>,
}

impl Group {
    fn new(identity: &str, members: Vec<(usize, usize)>, parts: &[Part]) -> Self {
        let components: Vec<&Component> = members
            .iter()
            .filter_map(|(part, index)| parts.get(*part)?.reading.inventory.components.get(*index))
            .collect();
        let (component, others) = component::unite(&components);
        Self {
            identity: identity.to_owned(),
            component,
            others,
            members,
            parent: None,
        }
    }

    /// What documents of `format` say of it, with the number of the part.
    pub(crate) fn fields<'a>(
        &'a self,
        format: Format,
        parts: &'a [Part],
    ) -> impl Iterator<Item = (usize, &'a Object)> {
        self.members.iter().filter_map(move |(part, index)| {
            let it = parts.get(*part)?;
            let fields = it.reading.fields.get(*index)?;
            (it.format == Some(format)).then_some((*part, fields))
        })
    }

    /// What documents call it, those of `format` first.
    pub(crate) fn reference<'a>(&'a self, format: Format, parts: &'a [Part]) -> Option<&'a str> {
        let references = self.members.iter().filter_map(|(part, index)| {
            let part = parts.get(*part)?;
            let name = part.reading.references.get(*index)?;
            (!name.is_empty()).then_some((part.format != Some(format), name.as_str()))
        });
        references.min().map(|(_, name)| name)
    }
}

impl Part {
    /// Its names for components, by group.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, Node)> {
        let names = self.reading.references.iter().map(String::as_str);
        names
            .zip(self.nodes.iter().copied())
            .filter(|(name, _)| !name.is_empty())
    }
}

fn relations(parts: &[Part], nodes: &[Vec<Node>]) -> BTreeSet<(Node, RelationKind, Node)> {
    let mut relations = BTreeSet::new();
    for (part, nodes) in parts.iter().zip(nodes) {
        let group = |node| match node {
            Node::Subject => Some(Node::Subject),
            Node::Component(index) => nodes.get(index).copied(),
        };
        for relation in &part.reading.inventory.relations {
            if let (Some(from), Some(to)) = (group(relation.from), group(relation.to))
                && from != to
                && to != Node::Subject
            {
                relations.insert((from, relation.kind, to));
            }
        }
    }
    relations
}

/// Gives each group that others contain one parent, so that no group is below itself.
fn nest(groups: &mut [Group], relations: &BTreeSet<(Node, RelationKind, Node)>) {
    for (from, kind, to) in relations {
        let (Node::Component(from), RelationKind::Contains, Node::Component(to)) =
            (*from, *kind, *to)
        else {
            continue;
        };
        let mut above = Some(from);
        let mut steps = 0;
        while let Some(index) = above.filter(|it| *it != to && steps < DEPTH) {
            above = groups.get(index).and_then(|it| it.parent);
            steps += 1;
        }
        if let Some(group) = groups.get_mut(to)
            && group.parent.is_none()
            && above.is_none()
        {
            group.parent = Some(from);
        }
    }
    // What was put together from below may have become deeper than that.
    for index in 0..groups.len() {
        let mut above = groups.get(index).and_then(|it| it.parent);
        for _ in 0..DEPTH {
            above = above.and_then(|it| groups.get(it)?.parent);
        }
        if let Some(group) = groups.get_mut(index).filter(|_| above.is_some()) {
            group.parent = None;
        }
    }
}

/// How deep components are nested, at most; readers have limits, too.
const DEPTH: usize = 32;

/// `2026-01-31T12:00:00Z`, as both formats have it.
pub(crate) fn timestamp(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// A UUID from the content of a document: what RFC 9562 calls version 8.
pub(crate) fn uuid(root: &Object) -> String {
    let text = serde_json::to_string(root).unwrap_or_default();
    let digest = oci::Digest::of(text.as_bytes());
    let mut uuid = String::new();
    for (index, digit) in digest.hex().chars().take(32).enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            uuid.push('-');
        }
        uuid.push(match index {
            12 | 16 => '8',
            _ => digit,
        });
    }
    uuid
}

/// What `native` documents say, with what `generated` knows besides.
pub(crate) fn fill(native: &mut Object, generated: Object) {
    for (name, value) in generated {
        let stands = native.entry(name).or_insert(Value::Null);
        if stands.is_null() || *stands == crate::license::NOASSERTION {
            *stands = value;
        }
    }
}

/// The name of this program in the documents that it writes.
pub(crate) const TOOL: &str = "sealpack";
/// Its version.
pub(crate) const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");
