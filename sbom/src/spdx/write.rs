//! Writes what was merged as SPDX 2.3.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::package::{Extracted, package, slug};
use super::read::ends;
use crate::component::{Completeness, Kind, Node, RelationKind};
use crate::format::Format;
use crate::json::{Object, object, objects, push, set, short_hash, sort, take_list, text, texts};
use crate::license::NOASSERTION;
use crate::merge::fields::{self, Other};
use crate::merge::makers;
use crate::merge::{Group, Merging, Part, TOOL, TOOL_VERSION, fill, names, timestamp, uuid};

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";
const ROOT: &str = "SPDXRef-Root";

/// Lists of elements that are no packages and have an `SPDXID`.
const LISTS: [&str; 2] = ["files", "snippets"];

/// The document.
pub(crate) fn write(merging: &Merging) -> Object {
    // SPDX demands a time.
    let created = merging.created.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let mut writer = Writer {
        merging,
        created: timestamp(created),
        subject: if merging.about.component.kind == Kind::Container {
            IMAGE
        } else {
            ROOT
        },
        names: Vec::new(),
        renames: vec![BTreeMap::new(); merging.parts.len()],
        extracted: Extracted::new(),
    };
    let mut roots: Vec<(usize, Object)> = writer
        .natives()
        .map(|(index, part)| (index, part.root.clone()))
        .collect();
    let elements: Vec<Element> = LISTS
        .iter()
        .flat_map(|list| group(&mut roots, list))
        .collect();
    let elements = writer.name(elements);

    let mut packages = vec![writer.about()];
    for (index, group) in merging.groups.iter().enumerate() {
        let mut package = writer.package(group);
        let name = writer.names.get(index).cloned().unwrap_or_default();
        set(&mut package, "SPDXID", name);
        packages.push(package.into());
    }
    let mut lists = BTreeMap::from([("packages", packages)]);
    for element in elements {
        let list = element.list;
        let merged = writer.element(element);
        lists.entry(list).or_default().push(merged);
    }
    for list in lists.values_mut() {
        list.sort_by_cached_key(|it| it.get("SPDXID").map(Value::to_string));
    }
    let relationships = writer.relationships(&roots);
    let creation = writer.creation_info(&roots);
    let mut root = writer.rest(roots);
    for (name, list) in lists {
        set(&mut root, name, list);
    }
    for gap in &merging.gaps {
        let note = annotation(
            "gap",
            &format!("{}: {}", gap.path, gap.reason),
            &writer.created,
        );
        push(&mut root, "annotations", note);
    }
    let completeness = match merging.completeness {
        Some(Completeness::Complete) => Some("complete"),
        Some(Completeness::Incomplete) => Some("incomplete"),
        _ => None,
    };
    if let Some(completeness) = completeness {
        let note = annotation("completeness", completeness, &writer.created);
        push(&mut root, "annotations", note);
    }
    set(&mut root, "relationships", relationships);
    set(&mut root, "creationInfo", creation);
    set(&mut root, "spdxVersion", "SPDX-2.3");
    set(&mut root, "dataLicense", "CC0-1.0");
    set(&mut root, "SPDXID", DOCUMENT);
    set(&mut root, "name", merging.about.component.name.as_str());
    define(&mut root, writer.extracted, &writer.created);
    let namespace = format!("urn:uuid:{}", uuid(&root));
    set(&mut root, "documentNamespace", namespace);
    root
}

/// Renames, in each SPDX document among `roots`, licences and documents under an id that another
/// uses for another thing. The new id is a hash of the thing, so that what is the same has the same.
pub(crate) fn separate(roots: &mut [Object]) {
    for (list, field) in [
        ("hasExtractedLicensingInfos", "licenseId"),
        ("externalDocumentRefs", "externalDocumentId"),
    ] {
        let mut things: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for thing in roots.iter().flat_map(|it| objects(it, list)) {
            let id = text(thing, field).unwrap_or_default().to_owned();
            things.entry(id).or_default().insert(content(thing, field));
        }
        things.retain(|_, contents| contents.len() > 1);
        for root in &mut *roots {
            let renames: BTreeMap<String, String> = objects(root, list)
                .filter_map(|thing| {
                    let id = text(thing, field)?;
                    things.get(id)?;
                    let new = format!("{id}-{}", short_hash(&content(thing, field)));
                    Some((id.to_owned(), new))
                })
                .collect();
            if !renames.is_empty() {
                for (key, value) in root.iter_mut() {
                    rewrite(key, value, &renames);
                }
            }
        }
    }
}

/// What a thing is, but for its id.
fn content(thing: &Object, id: &str) -> String {
    let mut thing = thing.clone();
    thing.remove(id);
    Value::Object(thing).to_string()
}

/// A file or snippet of the merged document.
struct Element {
    list: &'static str,
    identity: String,
    name: String,
    members: Vec<(usize, Object)>,
}

/// Takes a list out of all documents and puts what describes the same element together.
fn group(roots: &mut [(usize, Object)], list: &'static str) -> Vec<Element> {
    let mut groups: BTreeMap<String, Vec<(usize, Object)>> = BTreeMap::new();
    for (part, root) in roots {
        for fields in take_list(root, list) {
            let fields = object(fields);
            let identity = identity(list, &fields);
            groups.entry(identity).or_default().push((*part, fields));
        }
    }
    groups
        .into_iter()
        .map(|(identity, members)| Element {
            list,
            identity: format!("{list}\u{1e}{identity}"),
            name: String::new(),
            members,
        })
        .collect()
}

/// What tells files and snippets apart.
fn identity(list: &str, element: &Object) -> String {
    if list == "files" {
        let mut checksums = crate::json::list(element, "checksums").to_vec();
        sort(&mut checksums);
        let name = text(element, "fileName").unwrap_or_default();
        return json!([name, checksums]).to_string();
    }
    content(element, "SPDXID")
}

struct Writer<'a> {
    merging: &'a Merging,
    created: String,
    /// What the document is about, as relations call it.
    subject: &'static str,
    /// By group, its name.
    names: Vec<String>,
    /// By part, what has become of the names in it.
    renames: Vec<BTreeMap<String, String>>,
    /// Licences that components have and SPDX does not list.
    extracted: Extracted,
}

impl<'a> Writer<'a> {
    /// The parts of this format, with their numbers.
    fn natives(&self) -> impl Iterator<Item = (usize, &'a Part)> {
        let parts = self.merging.parts.iter().enumerate();
        parts.filter(|(_, it)| it.format == Some(Format::Spdx))
    }

    fn node(&self, node: Node) -> Option<&str> {
        match node {
            Node::Subject => Some(self.subject),
            Node::Component(index) => self.names.get(index).map(String::as_str),
        }
    }

    /// Names packages and `elements`, and notes what has become of the names in each part.
    fn name(&mut self, mut elements: Vec<Element>) -> Vec<Element> {
        let merging = self.merging;
        let packages: Vec<(&str, String)> = merging
            .groups
            .iter()
            .map(|group| {
                let name = group.reference(Format::Spdx, &merging.parts);
                let name = name.filter(|it| is_id(it)).map(str::to_owned);
                let name = name.unwrap_or_else(|| {
                    let slug = slug(&group.component.name);
                    let hash = short_hash(&group.identity);
                    format!("SPDXRef-Package-{slug}-{hash}")
                });
                (group.identity.as_str(), name)
            })
            .collect();
        let others = elements.iter().map(|element| {
            let names = element.members.iter();
            let name = names.filter_map(|(_, it)| text(it, "SPDXID")).min();
            (element.identity.as_str(), name.unwrap_or_default())
        });
        let wanted: Vec<(&str, &str)> = packages
            .iter()
            .map(|(identity, name)| (*identity, name.as_str()))
            .chain(others)
            .collect();
        let mut taken = BTreeSet::from([DOCUMENT, IMAGE, ROOT].map(str::to_owned));
        let mut names = names::assign(&wanted, &mut taken, |hash, name| {
            let name = name.strip_prefix("SPDXRef-").unwrap_or(name);
            format!("SPDXRef-{hash}-{name}")
        });
        let others = names.split_off(merging.groups.len().min(names.len()));
        self.names = names;
        for (index, part) in merging.parts.iter().enumerate() {
            for (old, node) in part.names() {
                let new = self.node(node).map(str::to_owned);
                if let (Some(renames), Some(new)) = (self.renames.get_mut(index), new) {
                    renames.entry(old.to_owned()).or_insert(new);
                }
            }
        }
        for (element, name) in elements.iter_mut().zip(others) {
            for (part, fields) in &element.members {
                if let (Some(renames), Some(old)) =
                    (self.renames.get_mut(*part), text(fields, "SPDXID"))
                {
                    let renames: &mut BTreeMap<String, String> = renames;
                    renames
                        .entry(old.to_owned())
                        .or_insert_with(|| name.clone());
                }
            }
            element.name = name;
        }
        for renames in &mut self.renames {
            renames.insert(DOCUMENT.to_owned(), DOCUMENT.to_owned());
        }
        elements
    }

    /// The package that the document is about.
    fn about(&mut self) -> Value {
        let mut about = self.package(&self.merging.about);
        set(&mut about, "SPDXID", self.subject);
        // Where an image was found goes without saying.
        if self.merging.about.members.is_empty() {
            about.remove("sourceInfo");
        }
        about.into()
    }

    fn package(&mut self, group: &Group) -> Object {
        let native: Vec<Object> = group
            .fields(Format::Spdx, &self.merging.parts)
            .map(|(part, fields)| {
                let mut fields = fields.clone();
                // Left out, it means the same as `true`.
                fields.entry("filesAnalyzed").or_insert(true.into());
                if let Some(purpose) = text(&fields, "primaryPackagePurpose") {
                    // The text of the specification has a dash where the schema has none.
                    let purpose = purpose.replace('-', "_");
                    set(&mut fields, "primaryPackagePurpose", purpose);
                }
                self.rename(part, &mut fields);
                fields
            })
            .collect();
        let mut others = Vec::new();
        let mut merged = fields::merge(&native, "", &mut others);
        let mut component = group.component.clone();
        if native.is_empty() {
            others.clone_from(&group.others);
        } else if merged.contains_key("licenseDeclared") {
            // Licences that only stand in what others say need not be defined.
            component.licenses.declared.clear();
        }
        fill(&mut merged, package(&component, &mut self.extracted));
        others.retain(|it| it.path != "filesAnalyzed");
        // The code is over files that were analyzed.
        let is_analyzed = merged.contains_key("packageVerificationCode")
            || merged.get("filesAnalyzed") == Some(&true.into());
        set(&mut merged, "filesAnalyzed", is_analyzed);
        if let Some(Value::Array(references)) = merged.get_mut("externalRefs") {
            for reference in &mut *references {
                // SPDX 2.2 spells its categories with an underscore.
                if let Some(Value::String(category)) = reference.get_mut("referenceCategory") {
                    *category = category.replace('_', "-");
                }
            }
            sort(references);
        }
        for Other { path, value } in others {
            let note = annotation(&path, &value, &self.created);
            push(&mut merged, "annotations", note);
        }
        merged
    }

    fn element(&self, element: Element) -> Value {
        let members: Vec<Object> = element
            .members
            .into_iter()
            .map(|(part, mut fields)| {
                fields.remove("SPDXID");
                self.rename(part, &mut fields);
                fields
            })
            .collect();
        let mut others = Vec::new();
        let mut merged = fields::merge(&members, "", &mut others);
        for Other { path, value } in others {
            let note = annotation(&path, &value, &self.created);
            push(&mut merged, "annotations", note);
        }
        set(&mut merged, "SPDXID", element.name);
        merged.into()
    }

    fn rename(&self, part: usize, fields: &mut Object) {
        if let Some(renames) = self.renames.get(part) {
            for (key, value) in fields.iter_mut() {
                rewrite(key, value, renames);
            }
        }
    }

    /// All relations, each once and in one direction: what the documents say, what the model
    /// knows, and that the subject contains all of it.
    fn relationships(&self, roots: &[(usize, Object)]) -> Vec<Value> {
        let mut relations: BTreeMap<(String, String, String), Vec<Object>> = BTreeMap::new();
        for (part, root) in roots {
            let renames = self.renames.get(*part);
            for entry in objects(root, "relationships") {
                let Some((from, kind, to)) = ends(entry) else {
                    continue;
                };
                // An id that the document does not define could mean something else in another.
                let target = |old: &str| {
                    let is_elsewhere = old.starts_with("DocumentRef-");
                    let is_nothing = matches!(old, "NONE" | NOASSERTION);
                    let new = renames.and_then(|it| it.get(old)).cloned();
                    new.or_else(|| (is_elsewhere || is_nothing).then(|| old.to_owned()))
                };
                let (Some(from), Some(to)) = (target(from), target(to)) else {
                    continue;
                };
                // The merged document describes its subject alone.
                let describes = from == DOCUMENT && kind == "DESCRIBES";
                if describes || (from == to && from != DOCUMENT) {
                    continue;
                }
                let mut more = entry.clone();
                for field in ["spdxElementId", "relationshipType", "relatedSpdxElement"] {
                    more.remove(field);
                }
                relations
                    .entry((from, kind.to_owned(), to))
                    .or_default()
                    .push(more);
            }
        }
        let mut relate = |from: &str, kind: &str, to: &str| {
            let key = (from.to_owned(), kind.to_owned(), to.to_owned());
            relations.entry(key).or_default();
        };
        relate(DOCUMENT, "DESCRIBES", self.subject);
        for name in &self.names {
            relate(self.subject, "CONTAINS", name);
        }
        for (from, kind, to) in &self.merging.relations {
            let (Some(from), Some(to)) = (self.node(*from), self.node(*to)) else {
                continue;
            };
            match kind {
                RelationKind::BuiltFrom => relate(from, "DESCENDANT_OF", to),
                RelationKind::Contains => relate(from, "CONTAINS", to),
                RelationKind::DependsOn => relate(from, "DEPENDS_ON", to),
                RelationKind::NeedsToBuild => relate(to, "BUILD_DEPENDENCY_OF", from),
            }
        }
        relations
            .into_iter()
            .map(|((from, kind, to), more)| {
                let mut others = Vec::new();
                let mut entry = fields::merge(&more, "", &mut others);
                let comments = others.into_iter().filter(|it| it.path == "comment");
                let comments: Vec<String> = text(&entry, "comment")
                    .map(str::to_owned)
                    .into_iter()
                    .chain(comments.map(|it| it.value))
                    .collect();
                set(&mut entry, "comment", comments.join("\n"));
                set(&mut entry, "spdxElementId", from);
                set(&mut entry, "relationshipType", kind);
                set(&mut entry, "relatedSpdxElement", to);
                entry.into()
            })
            .collect()
    }

    /// Who made the documents that went in, and us.
    fn creation_info(&self, roots: &[(usize, Object)]) -> Object {
        let infos = || {
            let infos = roots.iter().filter_map(|(_, it)| it.get("creationInfo"));
            infos.filter_map(Value::as_object)
        };
        let mut creators: BTreeSet<String> = infos()
            .flat_map(|it| texts(it, "creators"))
            .map(str::to_owned)
            .collect();
        creators.insert(format!("Tool: {TOOL}-{TOOL_VERSION}"));
        for tool in makers::tools(self.merging, Format::Spdx) {
            let version = tool.version.as_ref().map(|it| format!("-{it}"));
            let version = version.unwrap_or_default();
            creators.insert(format!("Tool: {}{version}", tool.name));
        }
        let authors = makers::authors(self.merging, Format::Spdx);
        for author in self.merging.authors.iter().chain(authors) {
            creators.insert(super::package::party(author));
        }
        let mut comments: BTreeSet<&str> = infos().filter_map(|it| text(it, "comment")).collect();
        let merged: BTreeSet<String> = roots
            .iter()
            .filter_map(|(_, it)| text(it, "documentNamespace"))
            .map(|it| format!("Merged from {it}"))
            .collect();
        comments.extend(merged.iter().map(String::as_str));
        if self.merging.created.is_none() {
            comments.insert("When it was created is unknown");
        }
        let comments: Vec<&str> = comments.into_iter().collect();
        let mut info = object(json!({
            "created": self.created,
            "creators": creators.into_iter().collect::<Vec<String>>(),
        }));
        set(&mut info, "comment", comments.join("\n"));
        // Readers that know an older list are told why they do not know a licence.
        let mut numbers = spdx::identifiers::VERSION.split('.');
        let ours = [numbers.next(), numbers.next()].map(Option::unwrap_or_default);
        set(&mut info, "licenseListVersion", ours.join("."));
        info
    }

    /// Unites what is left of the documents.
    fn rest(&self, documents: Vec<(usize, Object)>) -> Object {
        let mut roots = Vec::new();
        for (part, mut root) in documents {
            for field in [
                "SPDXID",
                "creationInfo",
                "dataLicense",
                // Said by relations.
                "documentDescribes",
                "documentNamespace",
                "name",
                "relationships",
                "spdxVersion",
            ] {
                root.remove(field);
            }
            self.rename(part, &mut root);
            roots.push(root);
        }
        let mut others = Vec::new();
        let mut rest = fields::merge(&roots, "", &mut others);
        for Other { path, value } in others {
            let note = annotation(&path, &value, &self.created);
            push(&mut rest, "annotations", note);
        }
        rest
    }
}

/// Whether `id` is one that an element may have.
fn is_id(id: &str) -> bool {
    id.strip_prefix("SPDXRef-").is_some_and(|it| {
        let is_fine = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-');
        !it.is_empty() && it.bytes().all(is_fine)
    })
}

/// Defines each licence of the document's own once, and each that a package names.
fn define(root: &mut Object, extracted: Extracted, created: &str) {
    let mut defined: BTreeMap<String, Vec<Object>> = BTreeMap::new();
    let own = take_list(root, "hasExtractedLicensingInfos");
    for license in own.into_iter().chain(extracted.into_values()) {
        let license = object(license);
        let id = text(&license, "licenseId").unwrap_or_default().to_owned();
        defined.entry(id).or_default().push(license);
    }
    let mut named = BTreeSet::new();
    for list in ["packages", "files", "snippets"] {
        for element in objects(root, list) {
            for field in ["licenseConcluded", "licenseDeclared"] {
                named_licenses(text(element, field).unwrap_or_default(), &mut named);
            }
            for field in ["licenseInfoFromFiles", "licenseInfoInFiles"] {
                for expression in texts(element, field) {
                    named_licenses(expression, &mut named);
                }
            }
        }
    }
    for id in named {
        defined.entry(id.clone()).or_insert_with(|| {
            let text = "No document gives the text of this licence.";
            let license = json!({ "licenseId": id, "extractedText": text });
            vec![object(license)]
        });
    }
    let mut list = Vec::new();
    for (id, licenses) in defined {
        let mut others = Vec::new();
        list.push(fields::merge(&licenses, "", &mut others).into());
        for Other { path, value } in others {
            let note = annotation(&format!("{id}.{path}"), &value, created);
            push(root, "annotations", note);
        }
    }
    set(root, "hasExtractedLicensingInfos", Value::Array(list));
}

/// The document's own licences that an expression names.
fn named_licenses(expression: &str, named: &mut BTreeSet<String>) {
    let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '+');
    for token in expression.split(|c| !is_id(c)) {
        if token.starts_with("LicenseRef-") {
            named.insert(token.trim_end_matches('+').to_owned());
        }
    }
}

/// A note of something that a document said otherwise.
fn annotation(path: &str, value: &str, created: &str) -> Value {
    json!({
        "annotationDate": created,
        "annotationType": "OTHER",
        "annotator": format!("Tool: {TOOL}-{TOOL_VERSION}"),
        "comment": format!("{path}: {value}"),
    })
}

/// Fields that hold the ids of elements, licences or documents, alone, in a list or in an
/// expression.
const REFERENCES: [&str; 13] = [
    "externalDocumentId",
    "fileDependencies",
    "hasFiles",
    "licenseConcluded",
    "licenseDeclared",
    "licenseId",
    "licenseInfoFromFiles",
    "licenseInfoInFiles",
    "licenseInfoInSnippets",
    "reference",
    "relatedSpdxElement",
    "snippetFromFile",
    "spdxElementId",
];

/// Replaces the ids in `value`, which stands under `key`, by those in `renames`.
fn rewrite(key: &str, value: &mut Value, renames: &BTreeMap<String, String>) {
    match value {
        Value::String(ids) if REFERENCES.contains(&key) => {
            let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
            let mut rewritten = String::with_capacity(ids.len());
            let mut rest = ids.as_str();
            while let Some(first) = rest.chars().next() {
                let end = rest
                    .find(|c: char| is_id(c) != is_id(first))
                    .unwrap_or(rest.len());
                let (token, after) = rest.split_at(end);
                rewritten.push_str(renames.get(token).map_or(token, String::as_str));
                rest = after;
            }
            *ids = rewritten;
        }
        Value::Array(list) => {
            for entry in list {
                rewrite(key, entry, renames);
            }
        }
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                rewrite(key, value, renames);
            }
        }
        _ => {}
    }
}
