use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::fields::Other;
use super::{Member, Part, TOOL, TOOL_VERSION, merge_members, names, uuid};
use crate::json::{Object, object, push, set, sort, take_list, text, texts};
use crate::subject::Subject;

/// Merges `parts`, all of them CycloneDX by now.
pub(super) fn merge(subject: &Subject, created: &str, mut parts: Vec<Part>) -> Object {
    let version = parts
        .iter()
        .filter_map(|it| text(&it.root, "specVersion"))
        .chain(["1.5"])
        .max()
        .unwrap_or("1.5")
        .to_owned();
    let subject_ref = subject.purl();

    // 1. Take the components out, and find out which are the same.
    let mut members = Vec::new();
    for (index, part) in parts.iter_mut().enumerate() {
        let main = part
            .root
            .get_mut("metadata")
            .and_then(Value::as_object_mut)
            .and_then(|it| it.remove("component"));
        for component in main
            .into_iter()
            .chain(take_list(&mut part.root, "components"))
        {
            let mut fields = object(component);
            for origin in &part.origins {
                push(
                    &mut fields,
                    "properties",
                    json!({ "name": ORIGIN, "value": origin }),
                );
            }
            members.push(Member {
                part: index,
                fields,
            });
        }
    }
    let mut nodes = group(members, "");

    // 2. Give everything that has a name one that is unique.
    let mut renames: Vec<BTreeMap<String, String>> = vec![BTreeMap::new(); parts.len()];
    let mut taken = BTreeSet::from([subject_ref.clone()]);
    rename_others(&parts, &nodes, &mut taken, &mut renames);
    name_nodes(&mut nodes, &parts, &mut taken, &mut renames);

    // 3. Merge, with the new names.
    let mut components: Vec<Value> = nodes
        .into_iter()
        .map(|it| it.merge(&parts, &renames))
        .collect();
    sort_components(&mut components);
    let dependencies = dependencies(&mut parts, &renames, &subject_ref, &components);
    let mut metadata = metadata(subject, created, &mut parts);
    let mut rest = merge_rest(parts, &renames);
    if let Some(properties) = rest.remove("sealpack:metadata") {
        set(&mut metadata, "properties", properties);
    }
    let mut root = rest;
    set(
        &mut root,
        "$schema",
        format!("http://cyclonedx.org/schema/bom-{version}.schema.json"),
    );
    set(&mut root, "bomFormat", "CycloneDX");
    set(&mut root, "specVersion", version);
    set(&mut root, "version", 1);
    set(&mut root, "metadata", metadata);
    set(&mut root, "components", components);
    set(&mut root, "dependencies", dependencies);
    let serial_number = format!("urn:uuid:{}", uuid(&root));
    set(&mut root, "serialNumber", serial_number);
    root
}

/// The property that says which files a component is from.
const ORIGIN: &str = "sealpack:origin";
/// What the names of properties start with that hold what could not stand where it was.
const OTHER: &str = "sealpack:other";

/// A component of the merged document.
struct Node {
    /// What makes it what it is, below what makes its parents what they are.
    path: String,
    name: String,
    members: Vec<Member>,
    children: Vec<Node>,
}

/// Puts what describes the same component together, level by level.
fn group(members: Vec<Member>, parent: &str) -> Vec<Node> {
    let mut groups: BTreeMap<String, Vec<Member>> = BTreeMap::new();
    for member in members {
        groups
            .entry(identity(&member.fields))
            .or_default()
            .push(member);
    }
    groups
        .into_iter()
        .map(|(identity, mut members)| {
            let path = format!("{parent}\u{1e}{identity}");
            let children = members
                .iter_mut()
                .flat_map(|member| {
                    let part = member.part;
                    take_list(&mut member.fields, "components")
                        .into_iter()
                        .map(move |it| Member {
                            part,
                            fields: object(it),
                        })
                })
                .collect();
            Node {
                children: group(children, &path),
                path,
                name: String::new(),
                members,
            }
        })
        .collect()
}

/// What tells components apart: the purl if there is one.
fn identity(component: &Object) -> String {
    let field = |name| text(component, name).unwrap_or_default();
    super::identity(text(component, "purl"), || {
        json!([
            field("type"),
            field("group"),
            field("name"),
            field("version")
        ])
    })
}

impl Node {
    fn visit<'a>(&'a self, found: &mut Vec<&'a Self>) {
        found.push(self);
        for child in &self.children {
            child.visit(found);
        }
    }

    /// The names that the documents give it.
    fn references(&self) -> impl Iterator<Item = (usize, &str)> {
        self.members
            .iter()
            .filter_map(|it| Some((it.part, text(&it.fields, "bom-ref")?)))
    }

    fn take_names(&mut self, names: &mut impl Iterator<Item = String>) {
        self.name = names.next().unwrap_or_default();
        for child in &mut self.children {
            child.take_names(names);
        }
    }

    fn merge(self, parts: &[Part], renames: &[BTreeMap<String, String>]) -> Value {
        let members = self
            .members
            .into_iter()
            .map(|mut member| {
                member.fields.remove("bom-ref");
                if let Some(renames) = renames.get(member.part) {
                    rewrite(&mut member.fields, renames);
                }
                member
            })
            .collect();
        let (mut component, others) = merge_members(members, parts);
        for Other { path, value } in others {
            let name = format!("{OTHER}:{path}");
            let property = json!({ "name": name, "value": value });
            push(&mut component, "properties", property);
        }
        if let Some(Value::Array(properties)) = component.get_mut("properties") {
            sort(properties);
        }
        set(&mut component, "bom-ref", self.name);
        let mut children: Vec<Value> = self
            .children
            .into_iter()
            .map(|it| it.merge(parts, renames))
            .collect();
        sort_components(&mut children);
        set(&mut component, "components", children);
        component.into()
    }
}

fn name_nodes(
    nodes: &mut [Node],
    parts: &[Part],
    taken: &mut BTreeSet<String>,
    renames: &mut [BTreeMap<String, String>],
) {
    let names = {
        let mut all = Vec::new();
        for node in nodes.iter() {
            node.visit(&mut all);
        }
        let wanted: Vec<(&str, &str)> = all
            .iter()
            .map(|node| {
                let is_native = |part: usize| parts.get(part).is_some_and(|it| it.is_native);
                let name = node
                    .references()
                    // A name that someone chose is better than one that was converted.
                    .min_by_key(|(part, name)| (!is_native(*part), *name))
                    .map_or("", |(_, name)| name);
                (node.path.as_str(), name)
            })
            .collect();
        let names = names::assign(&wanted, taken, |hash, name| match name {
            "" => format!("component-{hash}"),
            name => format!("{hash}-{name}"),
        });
        for (node, name) in all.iter().zip(&names) {
            for (part, old) in node.references() {
                if let Some(renames) = renames.get_mut(part) {
                    renames
                        .entry(old.to_owned())
                        .or_insert_with(|| name.clone());
                }
            }
        }
        names
    };
    let mut names = names.into_iter();
    for node in nodes {
        node.take_names(&mut names);
    }
}

/// Renames what is no component but has a name: services, vulnerabilities, licences and so on.
fn rename_others(
    parts: &[Part],
    nodes: &[Node],
    taken: &mut BTreeSet<String>,
    renames: &mut [BTreeMap<String, String>],
) {
    let mut found: Vec<BTreeSet<String>> = vec![BTreeSet::new(); parts.len()];
    for (part, found) in parts.iter().zip(&mut found) {
        for value in part.root.values() {
            names_in(value, found);
        }
    }
    let mut all = Vec::new();
    for node in nodes {
        node.visit(&mut all);
    }
    for member in all.iter().flat_map(|it| &it.members) {
        if let Some(found) = found.get_mut(member.part) {
            for value in member.fields.values() {
                names_in(value, found);
            }
        }
    }
    let components: BTreeSet<&str> = all
        .iter()
        .flat_map(|it| it.references())
        .map(|(_, name)| name)
        .collect();
    let mut avoid = taken.clone();
    avoid.extend(components.iter().map(|it| (*it).to_owned()));
    let identities: Vec<(usize, String, &str)> = parts
        .iter()
        .zip(&found)
        .enumerate()
        .flat_map(|(index, (part, found))| {
            found
                .iter()
                .map(move |name| (index, format!("{}\u{1e}{name}", part.hash), name.as_str()))
        })
        .collect();
    let wanted: Vec<(&str, &str)> = identities
        .iter()
        .map(|(_, identity, name)| (identity.as_str(), *name))
        .collect();
    let names = names::assign(&wanted, &mut avoid, |hash, name| format!("{hash}-{name}"));
    for ((part, _, old), new) in identities.iter().zip(names) {
        taken.insert(new.clone());
        if let Some(renames) = renames.get_mut(*part) {
            renames.insert((*old).to_owned(), new);
        }
    }
}

/// The names that are given in `value`.
fn names_in(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(list) => {
            for entry in list {
                names_in(entry, found);
            }
        }
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(name) if key == "bom-ref" => {
                        found.insert(name.clone());
                    }
                    value => names_in(value, found),
                }
            }
        }
        _ => {}
    }
}

/// Fields that hold the names of other things, alone or in a list.
const REFERENCES: [&str; 10] = [
    "assemblies",
    "bom-ref",
    "cipherRef",
    "dependencies",
    "dependsOn",
    "provides",
    "ref",
    "subjects",
    "tools",
    "vulnerabilities",
];

/// Replaces names by those in `renames`.
fn rewrite(object: &mut Object, renames: &BTreeMap<String, String>) {
    for (key, value) in object.iter_mut() {
        rewrite_value(value, REFERENCES.contains(&key.as_str()), renames);
    }
}

fn rewrite_value(value: &mut Value, is_reference: bool, renames: &BTreeMap<String, String>) {
    match value {
        Value::String(name) if is_reference => {
            if let Some(new) = renames.get(name.as_str()) {
                name.clone_from(new);
            }
        }
        Value::Array(list) => {
            for entry in list {
                rewrite_value(entry, is_reference, renames);
            }
        }
        Value::Object(object) => rewrite(object, renames),
        _ => {}
    }
}

/// What depends on what. The image depends on what nothing else depends on.
fn dependencies(
    parts: &mut [Part],
    renames: &[BTreeMap<String, String>],
    subject_ref: &str,
    components: &[Value],
) -> Vec<Value> {
    let top: Vec<&str> = components
        .iter()
        .filter_map(|it| it.get("bom-ref")?.as_str())
        .collect();
    let mut graph: BTreeMap<String, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
    for (part, renames) in parts.iter_mut().zip(renames) {
        for entry in take_list(&mut part.root, "dependencies") {
            let entry = object(entry);
            // A name that the document does not define could mean something else in another.
            let target = |old: &str| match renames.get(old) {
                Some(new) => Some(new.clone()),
                None => old.starts_with("urn:cdx:").then(|| old.to_owned()),
            };
            let Some(from) = text(&entry, "ref").and_then(target) else {
                continue;
            };
            let edges = graph.entry(from.clone()).or_default();
            for kind in ["dependsOn", "provides"] {
                let to = texts(&entry, kind)
                    .filter_map(target)
                    .filter(|it| *it != from);
                edges.entry(kind).or_default().extend(to);
            }
        }
    }
    let needed: BTreeSet<&String> = graph
        .values()
        .flat_map(|it| it.values().flatten())
        .collect();
    let roots: BTreeSet<String> = top
        .iter()
        .map(|it| (*it).to_owned())
        .filter(|it| !needed.contains(it))
        .collect();
    graph
        .entry(subject_ref.to_owned())
        .or_default()
        .entry("dependsOn")
        .or_default()
        .extend(roots);
    graph
        .into_iter()
        .map(|(from, edges)| {
            let mut entry = object(json!({ "ref": from }));
            for (kind, to) in edges {
                set(&mut entry, kind, to.into_iter().collect::<Vec<String>>());
            }
            entry.into()
        })
        .collect()
}

/// The metadata of the merged document. Takes what it uses out of `parts`.
fn metadata(subject: &Subject, created: &str, parts: &mut [Part]) -> Object {
    let mut tools = vec![json!({ "type": "application", "name": TOOL, "version": TOOL_VERSION })];
    let mut services = Vec::new();
    for part in parts.iter_mut() {
        let metadata = part.root.get_mut("metadata").and_then(Value::as_object_mut);
        let Some(metadata) = metadata else { continue };
        // A time of their own would make the document depend on when it was made.
        metadata.remove("timestamp");
        match metadata.remove("tools") {
            // As it was before 1.5.
            Some(Value::Array(list)) => tools.extend(list.into_iter().map(|it| {
                let mut tool = object(it);
                let vendor = tool.remove("vendor").unwrap_or_default();
                tool.insert("type".to_owned(), "application".into());
                if text(&tool, "name").is_none() {
                    set(&mut tool, "name", vendor.clone());
                }
                set(&mut tool, "publisher", vendor);
                tool.into()
            })),
            Some(Value::Object(mut current)) => {
                tools.extend(take_list(&mut current, "components"));
                services.extend(take_list(&mut current, "services"));
            }
            _ => {}
        }
    }
    tools.retain(|it| it.get("name").is_some_and(Value::is_string));
    for tool in &mut tools {
        if let Some(tool) = tool.as_object_mut() {
            // Nothing refers to a tool, and the names of tools are not unique.
            tool.remove("bom-ref");
        }
    }
    sort(&mut tools);
    sort(&mut services);
    let mut used = object(json!({ "components": tools }));
    set(&mut used, "services", services);
    let purl = subject.purl();
    object(json!({
        "timestamp": created,
        "tools": used,
        "component": {
            "type": "container",
            "bom-ref": purl,
            "name": subject.name,
            "version": subject.digest.as_str(),
            "purl": purl,
            "hashes": [{
                "alg": match subject.digest.algorithm() {
                    oci::Algorithm::Sha512 => "SHA-512",
                    _ => "SHA-256",
                },
                "content": subject.digest.hex(),
            }],
        },
    }))
}

/// Unites what is left of the documents. What was said of a document as a whole is kept as
/// properties of the merged one, under `sealpack:metadata`.
fn merge_rest(parts: Vec<Part>, renames: &[BTreeMap<String, String>]) -> Object {
    let mut roots = Vec::new();
    let mut properties = Vec::new();
    for (mut part, renames) in parts.into_iter().zip(renames) {
        if !part.is_native {
            continue;
        }
        let serial_number = text(&part.root, "serialNumber").map(|serial_number| {
            let id = serial_number.trim_start_matches("urn:uuid:");
            let version = part.root.get("version").and_then(Value::as_u64);
            format!("urn:cdx:{id}/{}", version.unwrap_or(1))
        });
        // The signature is over the document as it was.
        for field in [
            "$schema",
            "bomFormat",
            "serialNumber",
            "signature",
            "specVersion",
            "version",
        ] {
            part.root.remove(field);
        }
        if let Some(link) = serial_number {
            let reference = json!({ "type": "bom", "url": link });
            push(&mut part.root, "externalReferences", reference);
        }
        if let Some(Value::Object(metadata)) = part.root.remove("metadata") {
            for (name, value) in metadata {
                if name == "properties" {
                    properties.extend(value.as_array().cloned().unwrap_or_default());
                    continue;
                }
                let value = match value {
                    Value::String(text) => text,
                    value => value.to_string(),
                };
                let name = format!("sealpack:metadata:{name}");
                properties.push(json!({ "name": name, "value": value }));
            }
        }
        rewrite(&mut part.root, renames);
        roots.push(part.root);
    }
    let mut others = Vec::new();
    let mut rest = super::fields::merge(&roots, "", &mut others);
    for Other { path, value } in others {
        let name = format!("{OTHER}:{path}");
        properties.push(json!({ "name": name, "value": value }));
    }
    sort(&mut properties);
    set(&mut rest, "sealpack:metadata", properties);
    rest
}

fn sort_components(components: &mut [Value]) {
    components.sort_by_cached_key(|it| {
        let field = |name| {
            it.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        ["name", "version", "purl", "bom-ref"].map(field)
    });
}
