use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::fields::Other;
use super::{Member, Part, TOOL, TOOL_VERSION, merge_members, names, uuid};
use crate::convert::{purl, relationship};
use crate::json::{Object, object, objects, push, set, short_hash, sort, take_list, text, texts};
use crate::license::NOASSERTION;
use crate::subject::Subject;

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";

/// Merges `parts`, all of them SPDX by now.
pub(super) fn merge(subject: &Subject, created: &str, mut parts: Vec<Part>) -> Object {
    // 1. Licences and documents that have one name and mean different things get another name.
    for (list, field) in [
        ("hasExtractedLicensingInfos", "licenseId"),
        ("externalDocumentRefs", "externalDocumentId"),
    ] {
        separate(&mut parts, list, field);
    }

    // 2. Find out which elements are the same, and give each a name that is unique.
    let mut elements: Vec<Element> = LISTS
        .iter()
        .flat_map(|list| group(&mut parts, list))
        .collect();
    let mut renames = name(&mut elements, &parts);
    for renames in &mut renames {
        renames.insert(DOCUMENT.to_owned(), DOCUMENT.to_owned());
    }

    // 3. Merge, with the new names.
    let mut lists: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for element in elements {
        let list = element.list;
        let merged = element.merge(&parts, &renames, created);
        lists.entry(list).or_default().push(merged);
    }
    lists
        .entry("packages")
        .or_default()
        .push(image(subject).into());
    for list in lists.values_mut() {
        list.sort_by_cached_key(|it| it.get("SPDXID").map(Value::to_string));
    }
    let relationships = relationships(&parts, &renames, &lists);
    let creation = creation_info(&parts, created);
    let mut root = merge_rest(parts, &renames, created);
    for (name, list) in lists {
        set(&mut root, name, list);
    }
    set(&mut root, "relationships", relationships);
    set(&mut root, "creationInfo", creation);
    set(&mut root, "spdxVersion", "SPDX-2.3");
    set(&mut root, "dataLicense", "CC0-1.0");
    set(&mut root, "SPDXID", DOCUMENT);
    set(&mut root, "name", subject.name.as_str());
    let namespace = format!("urn:uuid:{}", uuid(&root));
    set(&mut root, "documentNamespace", namespace);
    root
}

/// The lists of elements that have an `SPDXID`.
const LISTS: [&str; 3] = ["packages", "files", "snippets"];

/// Renames, in each part, what is in `list` under an id that another part uses for another thing.
/// The new id is a hash of the thing, so that what is the same has the same.
fn separate(parts: &mut [Part], list: &str, field: &str) {
    let mut things: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for thing in parts.iter().flat_map(|it| objects(&it.root, list)) {
        let id = text(thing, field).unwrap_or_default().to_owned();
        things.entry(id).or_default().insert(content(thing, field));
    }
    things.retain(|_, contents| contents.len() > 1);
    for part in parts {
        let renames: BTreeMap<String, String> = objects(&part.root, list)
            .filter_map(|thing| {
                let id = text(thing, field)?;
                things.get(id)?;
                let new = format!("{id}-{}", short_hash(&content(thing, field)));
                Some((id.to_owned(), new))
            })
            .collect();
        if !renames.is_empty() {
            for (key, value) in &mut part.root {
                rewrite(key, value, &renames);
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

/// An element of the merged document.
struct Element {
    list: &'static str,
    identity: String,
    name: String,
    members: Vec<Member>,
}

/// Takes a list out of all parts and puts what describes the same element together.
fn group(parts: &mut [Part], list: &'static str) -> Vec<Element> {
    let mut groups: BTreeMap<String, Vec<Member>> = BTreeMap::new();
    for (index, part) in parts.iter_mut().enumerate() {
        for fields in take_list(&mut part.root, list) {
            let fields = object(fields);
            let identity = identity(list, &fields);
            groups.entry(identity).or_default().push(Member {
                part: index,
                fields,
            });
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

/// What tells elements apart: of packages, the purl if there is one.
fn identity(list: &str, element: &Object) -> String {
    let field = |name| text(element, name).unwrap_or_default();
    match list {
        "packages" => super::identity(purl(element), || {
            let purpose = text(element, "primaryPackagePurpose").unwrap_or("LIBRARY");
            json!([purpose, field("name"), field("versionInfo")])
        }),
        "files" => {
            let mut checksums = crate::json::list(element, "checksums").to_vec();
            sort(&mut checksums);
            json!([field("fileName"), checksums]).to_string()
        }
        _ => content(element, "SPDXID"),
    }
}

/// Names the elements, and returns by part what has become of the names in it.
fn name(elements: &mut [Element], parts: &[Part]) -> Vec<BTreeMap<String, String>> {
    let is_native = |part: usize| parts.get(part).is_some_and(|it| it.is_native);
    let wanted: Vec<(&str, &str)> = elements
        .iter()
        .map(|element| {
            let name = element
                .members
                .iter()
                .filter_map(|it| Some((!is_native(it.part), text(&it.fields, "SPDXID")?)))
                .min()
                .map_or("", |(_, name)| name);
            (element.identity.as_str(), name)
        })
        .collect();
    let mut taken = BTreeSet::from([DOCUMENT.to_owned(), IMAGE.to_owned()]);
    let names = names::assign(&wanted, &mut taken, |hash, name| {
        let name = name.strip_prefix("SPDXRef-").unwrap_or(name);
        format!("SPDXRef-{hash}-{name}")
    });
    let mut renames = vec![BTreeMap::new(); parts.len()];
    for (element, name) in elements.iter_mut().zip(names) {
        for member in &element.members {
            if let (Some(renames), Some(old)) =
                (renames.get_mut(member.part), text(&member.fields, "SPDXID"))
            {
                let renames: &mut BTreeMap<String, String> = renames;
                renames
                    .entry(old.to_owned())
                    .or_insert_with(|| name.clone());
            }
        }
        element.name = name;
    }
    renames
}

impl Element {
    fn merge(self, parts: &[Part], renames: &[BTreeMap<String, String>], created: &str) -> Value {
        let is_package = self.list == "packages";
        let members: Vec<Member> = self
            .members
            .into_iter()
            .map(|mut member| {
                member.fields.remove("SPDXID");
                if is_package {
                    // Left out, it means the same as `true`.
                    member.fields.entry("filesAnalyzed").or_insert(true.into());
                }
                if let Some(renames) = renames.get(member.part) {
                    for (key, value) in &mut member.fields {
                        rewrite(key, value, renames);
                    }
                }
                member
            })
            .collect();
        let (mut element, mut others) = merge_members(members, parts);
        if is_package {
            others.retain(|it| it.path != "filesAnalyzed");
            // The code is over files that were analyzed.
            let is_analyzed = element.contains_key("packageVerificationCode")
                || element.get("filesAnalyzed") == Some(&true.into());
            set(&mut element, "filesAnalyzed", is_analyzed);
        }
        for reference in element
            .get_mut("externalRefs")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            // SPDX 2.2 spells its categories with an underscore.
            if let Some(Value::String(category)) = reference.get_mut("referenceCategory") {
                *category = category.replace('_', "-");
            }
        }
        if let Some(Value::Array(references)) = element.get_mut("externalRefs") {
            sort(references);
        }
        for Other { path, value } in others {
            push(
                &mut element,
                "annotations",
                annotation(&path, &value, created),
            );
        }
        set(&mut element, "SPDXID", self.name);
        element.into()
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

/// The package that the document is about.
fn image(subject: &Subject) -> Object {
    let algorithm = match subject.digest.algorithm() {
        oci::Algorithm::Sha512 => "SHA512",
        _ => "SHA256",
    };
    object(json!({
        "SPDXID": IMAGE,
        "name": subject.name,
        "versionInfo": subject.digest.as_str(),
        "downloadLocation": NOASSERTION,
        "filesAnalyzed": false,
        "licenseConcluded": NOASSERTION,
        "licenseDeclared": NOASSERTION,
        "copyrightText": NOASSERTION,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{ "algorithm": algorithm, "checksumValue": subject.digest.hex() }],
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": subject.purl(),
        }],
    }))
}

/// All relations: what the documents say, and that the image contains all that they describe.
fn relationships(
    parts: &[Part],
    renames: &[BTreeMap<String, String>],
    lists: &BTreeMap<&str, Vec<Value>>,
) -> Vec<Value> {
    let mut relationships = vec![relationship(DOCUMENT, "DESCRIBES", IMAGE)];
    for (part, renames) in parts.iter().zip(renames) {
        for entry in objects(&part.root, "relationships") {
            // An id that the document does not define could mean something else in another.
            let target = |field| {
                let old = text(entry, field)?;
                let is_elsewhere = old.starts_with("DocumentRef-");
                let is_nothing = matches!(old, "NONE" | NOASSERTION);
                renames
                    .get(old)
                    .cloned()
                    .or_else(|| (is_elsewhere || is_nothing).then(|| old.to_owned()))
            };
            let (Some(from), Some(to)) = (target("spdxElementId"), target("relatedSpdxElement"))
            else {
                continue;
            };
            let kind = text(entry, "relationshipType");
            // The merged document describes the image alone, and the image contains the rest.
            let describes = from == DOCUMENT && kind == Some("DESCRIBES");
            let is_described = to == DOCUMENT && kind == Some("DESCRIBED_BY");
            if describes || is_described || (from == to && from != DOCUMENT) {
                continue;
            }
            let mut entry = entry.clone();
            set(&mut entry, "spdxElementId", from);
            set(&mut entry, "relatedSpdxElement", to);
            relationships.push(entry.into());
        }
    }
    let packages = lists.get("packages").into_iter().flatten();
    let packages = packages.filter_map(|it| it.get("SPDXID")?.as_str());
    relationships.extend(
        packages
            .filter(|it| *it != IMAGE)
            .map(|it| relationship(IMAGE, "CONTAINS", it)),
    );
    sort(&mut relationships);
    relationships
}

/// Who made the documents that went in, and us.
fn creation_info(parts: &[Part], created: &str) -> Object {
    let infos = || {
        parts
            .iter()
            .filter_map(|it| it.root.get("creationInfo")?.as_object())
    };
    let mut creators: BTreeSet<String> = infos()
        .flat_map(|it| texts(it, "creators"))
        .map(str::to_owned)
        .collect();
    creators.insert(format!("Tool: {TOOL}-{TOOL_VERSION}"));
    let mut comments: BTreeSet<&str> = infos().filter_map(|it| text(it, "comment")).collect();
    let merged: BTreeSet<String> = parts
        .iter()
        .filter_map(|it| text(&it.root, "documentNamespace"))
        .map(|it| format!("Merged from {it}"))
        .collect();
    comments.extend(merged.iter().map(String::as_str));
    let comments: Vec<&str> = comments.into_iter().collect();
    let mut info = object(json!({
        "created": created,
        "creators": creators.into_iter().collect::<Vec<String>>(),
    }));
    set(&mut info, "comment", comments.join("\n"));
    let versions = infos().filter_map(|it| text(it, "licenseListVersion"));
    set(
        &mut info,
        "licenseListVersion",
        versions.max().unwrap_or_default(),
    );
    info
}

/// Unites what is left of the documents.
fn merge_rest(parts: Vec<Part>, renames: &[BTreeMap<String, String>], created: &str) -> Object {
    let mut roots = Vec::new();
    for (mut part, renames) in parts.into_iter().zip(renames) {
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
            part.root.remove(field);
        }
        for (key, value) in &mut part.root {
            rewrite(key, value, renames);
        }
        roots.push(part.root);
    }
    let mut others = Vec::new();
    let mut rest = super::fields::merge(&roots, "", &mut others);
    for Other { path, value } in others {
        push(&mut rest, "annotations", annotation(&path, &value, created));
    }
    rest
}
