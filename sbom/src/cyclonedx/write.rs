//! Writes what was merged as CycloneDX.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::component::{component, organization};
use crate::component::{Completeness, Node, RelationKind};
use crate::format::Format;
use crate::json::{Object, list, object, push, set, sort, take_list, text, texts};
use crate::merge::fields::{self, Other};
use crate::merge::makers;
use crate::merge::{Group, Merging, Part, TOOL, TOOL_VERSION, fill, names, timestamp, uuid};
use crate::purl::Purl;

/// The document.
pub(crate) fn write(merging: &Merging) -> Object {
    let is_native = |it: &&Part| it.format == Some(Format::CycloneDx);
    let natives = || merging.parts.iter().filter(is_native);
    let version = natives()
        .filter_map(|it| text(&it.root, "specVersion"))
        .chain(["1.5"])
        .max()
        .unwrap_or("1.5")
        .to_owned();
    let mut writer = Writer::new(merging);
    writer.name_others();
    writer.name_components();
    let components = writer.components();
    let (mut metadata, mut root) = writer.rest();
    set(&mut metadata, "component", writer.about());
    // What was merged away, or stands as a text now, takes the names in it along.
    let mut defined = BTreeSet::new();
    let written = metadata.values().chain(root.values()).chain(&components);
    for value in written {
        names_in(value, &mut defined);
    }
    let dependencies = writer.dependencies(&defined);
    if let Some(completeness) = merging.completeness {
        let aggregate = match completeness {
            Completeness::Complete => "complete",
            Completeness::Incomplete => "incomplete",
            Completeness::Unknown => "unknown",
        };
        let composition = json!({ "aggregate": aggregate, "assemblies": [writer.subject] });
        push(&mut root, "compositions", composition);
    }
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

/// What the names of properties start with that hold what could not stand where it was.
const OTHER: &str = "sealpack:other";

struct Writer<'a> {
    merging: &'a Merging,
    /// What the document is about, as references call it.
    subject: String,
    /// The names that were given.
    taken: BTreeSet<String>,
    /// By group, its name.
    names: Vec<String>,
    /// By part, what has become of the names in it.
    renames: Vec<BTreeMap<String, String>>,
}

impl<'a> Writer<'a> {
    fn new(merging: &'a Merging) -> Self {
        let about = &merging.about;
        let subject = about
            .component
            .purl
            .as_ref()
            .map(|it| it.as_str().to_owned())
            .or_else(|| {
                let name = about.reference(Format::CycloneDx, &merging.parts);
                name.map(str::to_owned)
            })
            .unwrap_or_else(|| "sealpack:subject".to_owned());
        Self {
            merging,
            taken: BTreeSet::from([subject.clone()]),
            subject,
            names: Vec::new(),
            renames: vec![BTreeMap::new(); merging.parts.len()],
        }
    }

    fn name(&self, node: Node) -> Option<&str> {
        match node {
            Node::Subject => Some(&self.subject),
            Node::Component(index) => self.names.get(index).map(String::as_str),
        }
    }

    /// The parts of this format, with their numbers.
    fn natives(&self) -> impl Iterator<Item = (usize, &'a Part)> {
        let parts = self.merging.parts.iter().enumerate();
        parts.filter(|(_, it)| it.format == Some(Format::CycloneDx))
    }

    /// Gives each component a name: the one that a document gives it if it can be had.
    fn name_components(&mut self) {
        let merging = self.merging;
        let wanted: Vec<(&str, &str)> = merging
            .groups
            .iter()
            .map(|group| {
                let name = group.reference(Format::CycloneDx, &merging.parts);
                let purl = group.component.purl.as_ref().map(Purl::as_str);
                (group.identity.as_str(), name.or(purl).unwrap_or_default())
            })
            .collect();
        self.names = names::assign(&wanted, &mut self.taken, |hash, name| match name {
            "" => format!("component-{hash}"),
            name => format!("{hash}-{name}"),
        });
        for (index, part) in merging.parts.iter().enumerate() {
            for (old, node) in part.names() {
                let new = self.name(node).map(str::to_owned);
                if let (Some(renames), Some(new)) = (self.renames.get_mut(index), new) {
                    renames.entry(old.to_owned()).or_insert(new);
                }
            }
        }
    }

    /// Gives what is no component but has a name one that nothing else has: services,
    /// vulnerabilities, licences and so on.
    fn name_others(&mut self) {
        let merging = self.merging;
        let mut found: Vec<(usize, BTreeSet<String>)> = Vec::new();
        let mut avoid = self.taken.clone();
        for (index, part) in self.natives() {
            let mut names = BTreeSet::new();
            // What stands in the list of dependencies gives no name, whatever it says: none of it is
            // carried over but the edges.
            for (_, value) in part.root.iter().filter(|(key, _)| *key != "dependencies") {
                names_in(value, &mut names);
            }
            for value in part.reading.fields.iter().flat_map(Object::values) {
                names_in(value, &mut names);
            }
            found.push((index, names));
        }
        for part in &merging.parts {
            avoid.extend(part.reading.references.iter().cloned());
        }
        let identities: Vec<(usize, String, &str)> = found
            .iter()
            .flat_map(|(index, names)| {
                let hash = merging.parts.get(*index).map_or("", |it| it.hash.as_str());
                names
                    .iter()
                    .map(move |name| (*index, format!("{hash}\u{1e}{name}"), name.as_str()))
            })
            .collect();
        let wanted: Vec<(&str, &str)> = identities
            .iter()
            .map(|(_, identity, name)| (identity.as_str(), *name))
            .collect();
        let names = names::assign(&wanted, &mut avoid, |hash, name| format!("{hash}-{name}"));
        for ((part, _, old), new) in identities.iter().zip(names) {
            self.taken.insert(new.clone());
            if let Some(renames) = self.renames.get_mut(*part) {
                renames.insert((*old).to_owned(), new);
            }
        }
    }

    /// All components, each below what it is a part of.
    fn components(&self) -> Vec<Value> {
        let mut children: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (index, group) in self.merging.groups.iter().enumerate() {
            children.entry(group.parent).or_default().push(index);
        }
        self.below(None, &children)
    }

    fn below(
        &self,
        parent: Option<usize>,
        children: &BTreeMap<Option<usize>, Vec<usize>>,
    ) -> Vec<Value> {
        let mut components = Vec::new();
        for index in children.get(&parent).into_iter().flatten() {
            let (Some(group), Some(name)) =
                (self.merging.groups.get(*index), self.names.get(*index))
            else {
                continue;
            };
            let mut component = self.component(group);
            set(&mut component, "bom-ref", name.as_str());
            let parts = self.below(Some(*index), children);
            set(&mut component, "components", parts);
            components.push(component.into());
        }
        sort_components(&mut components);
        components
    }

    fn component(&self, group: &Group) -> Object {
        let fields: Vec<Object> = group
            .fields(Format::CycloneDx, &self.merging.parts)
            .map(|(part, fields)| {
                let mut fields = fields.clone();
                if let Some(renames) = self.renames.get(part) {
                    rewrite(&mut fields, renames);
                }
                fields
            })
            .collect();
        let mut others = Vec::new();
        let mut merged = fields::merge(&fields, "", &mut others);
        let mut generated = component(&group.component);
        let properties = take_list(&mut generated, "properties");
        if merged.is_empty() {
            others.clone_from(&group.others);
        }
        fill(&mut merged, generated);
        for property in properties {
            push(&mut merged, "properties", property);
        }
        for Other { path, value } in others {
            let name = format!("{OTHER}:{path}");
            let property = json!({ "name": name, "value": value });
            push(&mut merged, "properties", property);
        }
        if let Some(Value::Array(properties)) = merged.get_mut("properties") {
            sort(properties);
        }
        merged
    }

    /// What the document is about.
    fn about(&self) -> Object {
        let mut about = self.component(&self.merging.about);
        set(&mut about, "bom-ref", self.subject.as_str());
        about
    }

    /// What depends on what, of all that is `defined`. The subject depends on what nothing else depends on.
    fn dependencies(&self, defined: &BTreeSet<String>) -> Vec<Value> {
        let mut graph: BTreeMap<String, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
        for (index, part) in self.natives() {
            let renames = self.renames.get(index);
            for entry in list(&part.root, "dependencies") {
                let Some(entry) = entry.as_object() else {
                    continue;
                };
                // A name that the document does not define could mean something else in another.
                let target = |old: &str| match renames.and_then(|it| it.get(old)) {
                    Some(new) => defined.contains(new).then(|| new.clone()),
                    None => old.starts_with("urn:cdx:").then(|| old.to_owned()),
                };
                let Some(from) = text(entry, "ref").and_then(target) else {
                    continue;
                };
                let edges = graph.entry(from.clone()).or_default();
                for kind in ["dependsOn", "provides"] {
                    let to = texts(entry, kind)
                        .filter_map(target)
                        .filter(|it| *it != from);
                    edges.entry(kind).or_default().extend(to);
                }
            }
        }
        for (from, kind, to) in &self.merging.relations {
            if matches!(kind, RelationKind::DependsOn | RelationKind::NeedsToBuild)
                && let (Some(from), Some(to)) = (self.name(*from), self.name(*to))
            {
                let edges = graph.entry(from.to_owned()).or_default();
                let edges = edges.entry("dependsOn").or_default();
                edges.insert(to.to_owned());
            }
        }
        let needed: BTreeSet<&String> = graph
            .values()
            .flat_map(|it| it.values().flatten())
            .collect();
        let groups = self.merging.groups.iter().zip(&self.names);
        let roots: BTreeSet<String> = groups
            .filter(|(group, name)| group.parent.is_none() && !needed.contains(name))
            .map(|(_, name)| name.clone())
            .collect();
        graph
            .entry(self.subject.clone())
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

    /// The metadata, without what the document is about, and all else that documents say.
    fn rest(&self) -> (Object, Object) {
        let mut roots: Vec<(Object, &BTreeMap<String, String>)> = self
            .natives()
            .filter_map(|(index, part)| {
                let mut root = part.root.clone();
                root.remove("dependencies");
                Some((root, self.renames.get(index)?))
            })
            .collect();
        let mut metadata = tools(self.merging, roots.iter_mut().map(|(root, _)| root));
        let merging = self.merging;
        if let Some(created) = merging.created {
            set(&mut metadata, "timestamp", timestamp(created));
        }
        let authors: Vec<Value> = merging
            .authors
            .iter()
            .map(|it| {
                let mut author = object(json!({ "name": it.name }));
                set(
                    &mut author,
                    "email",
                    it.email.as_deref().unwrap_or_default(),
                );
                author.into()
            })
            .collect();
        set(&mut metadata, "authors", authors);
        if let Some(supplier) = &merging.about.component.supplier {
            set(&mut metadata, "supplier", organization(supplier));
        }
        let mut rest = merge_rest(roots);
        let mut properties = take_list(&mut rest, "sealpack:metadata");
        if merging.created.is_none() {
            properties.push(json!({ "name": "sealpack:created", "value": "unknown" }));
        }
        for author in makers::authors(merging, Format::CycloneDx) {
            let kind = if author.is_person {
                "Person"
            } else {
                "Organization"
            };
            let mail = author.email.as_ref().map(|it| format!(" ({it})"));
            let value = format!("{kind}: {}{}", author.name, mail.unwrap_or_default());
            properties.push(json!({ "name": "sealpack:metadata:creator", "value": value }));
        }
        for gap in &merging.gaps {
            let value = format!("{}: {}", gap.path, gap.reason);
            properties.push(json!({ "name": "sealpack:gap", "value": value }));
        }
        sort(&mut properties);
        set(&mut metadata, "properties", properties);
        (metadata, rest)
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

/// Metadata that name us and all the tools that `roots` and what was found name. Takes what it uses
/// out of `roots`.
fn tools<'a>(merging: &Merging, roots: impl Iterator<Item = &'a mut Object>) -> Object {
    let us = json!({ "type": "application", "name": TOOL, "version": TOOL_VERSION });
    let mut tools = Vec::new();
    let mut others = vec![us];
    for tool in makers::tools(merging, Format::CycloneDx) {
        let mut component = object(json!({ "type": "application", "name": tool.name }));
        let version = tool.version.as_deref().unwrap_or_default();
        set(&mut component, "version", version);
        let vendor = tool.vendor.as_deref().unwrap_or_default();
        set(&mut component, "publisher", vendor);
        others.push(component.into());
    }
    let mut services = Vec::new();
    for root in roots {
        let metadata = root.get_mut("metadata").and_then(Value::as_object_mut);
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
    // A tool that wrote both formats is one tool, and says more of itself in this one.
    let said = |it: &Value| (it.get("name").cloned(), it.get("version").cloned());
    let native: Vec<_> = tools.iter().map(said).collect();
    others.retain(|it| !native.contains(&said(it)));
    tools.extend(others);
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
    object(json!({ "tools": used }))
}

/// Unites what is left of the documents. What was said of a document as a whole is kept as
/// properties of the merged one, under `sealpack:metadata`.
fn merge_rest(documents: Vec<(Object, &BTreeMap<String, String>)>) -> Object {
    let mut roots = Vec::new();
    let mut properties = Vec::new();
    for (mut root, renames) in documents {
        let serial_number = text(&root, "serialNumber").map(|serial_number| {
            let id = serial_number.trim_start_matches("urn:uuid:");
            let version = root.get("version").and_then(Value::as_u64);
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
            root.remove(field);
        }
        if let Some(link) = serial_number {
            let reference = json!({ "type": "bom", "url": link });
            push(&mut root, "externalReferences", reference);
        }
        if let Some(Value::Object(metadata)) = root.remove("metadata") {
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
        rewrite(&mut root, renames);
        roots.push(root);
    }
    let mut others = Vec::new();
    let mut rest = fields::merge(&roots, "", &mut others);
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
