//! Reads CycloneDX into the model.

use serde_json::Value;

use super::words::{HASHES, KINDS, LINKS};
use crate::component::{
    By, Component, Evidence, Hash, Kind, License, Licenses, Link, Node, Party, RelationKind, Tool,
};
use crate::json::{Object, objects, take_list, text, texts};
use crate::purl::Purl;
use crate::reading::Reading;

/// Reads a document and takes its components out of `root`; all else stays.
///
/// Nested components are parts of those that they are nested in.
pub(crate) fn read(root: &mut Object, origin: &str) -> Reading {
    let mut reading = Reading::default();
    let metadata = root.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata {
        // A list, or as of 1.5 components and services.
        let current = metadata.get("tools").and_then(Value::as_object);
        let lists = ["components", "services"].into_iter();
        let current = current.into_iter().flat_map(|it| {
            let lists = lists.clone();
            lists.flat_map(move |list| objects(it, list))
        });
        let tools = objects(metadata, "tools").chain(current);
        reading.inventory.tools = tools.filter_map(tool).collect();
        let people = objects(metadata, "authors").filter_map(|it| party(it, true));
        let organisation = |name| party(metadata.get(name)?.as_object()?, false);
        // Who made the document. Up to 1.6 `manufacture` is who made what it is about.
        let maker = organisation("manufacturer");
        let manufacturer = organisation("manufacture");
        reading.inventory.authors = people.chain(maker).collect();
        if let Some(Value::Object(main)) = metadata.remove("component") {
            reading.root = Some(0);
            add(&mut reading, main, None, origin);
            let root = reading.inventory.components.first_mut();
            if let Some(it) = root.filter(|it| it.originator.is_none()) {
                it.originator = manufacturer;
            }
        }
    }
    for component in take_list(root, "components") {
        add(&mut reading, crate::json::object(component), None, origin);
    }
    let mut edges = Vec::new();
    let names = reading.names();
    for dependency in objects(root, "dependencies") {
        let Some(from) = text(dependency, "ref").and_then(|it| names.get(it)) else {
            continue;
        };
        let to = texts(dependency, "dependsOn").filter_map(|it| names.get(it));
        edges.extend(to.map(|to| (*from, *to)));
    }
    for (from, to) in edges {
        let inventory = &mut reading.inventory;
        inventory.relate(from, RelationKind::DependsOn, to);
    }
    reading
}

fn add(reading: &mut Reading, mut fields: Object, parent: Option<Node>, origin: &str) {
    let parts = take_list(&mut fields, "components");
    let component = component(&fields, origin);
    let reference = match fields.remove("bom-ref") {
        Some(Value::String(reference)) => reference,
        _ => String::new(),
    };
    let node = reading.add(component, &reference, fields);
    if let Some(parent) = parent {
        let inventory = &mut reading.inventory;
        inventory.relate(parent, RelationKind::Contains, node);
    }
    for part in parts {
        add(reading, crate::json::object(part), Some(node), origin);
    }
}

/// One component, without those nested in it.
fn component(fields: &Object, origin: &str) -> Component {
    let owned = |name| text(fields, name).map(str::to_owned);
    let kind = KINDS
        .iter()
        .find(|(word, _)| text(fields, "type") == Some(word))
        .map_or(Kind::Library, |(_, kind)| *kind);
    let supplier = fields.get("supplier").and_then(Value::as_object);
    let maker = objects(fields, "authors")
        .next()
        .and_then(|it| party(it, true))
        .or_else(|| text(fields, "author").and_then(Party::parse))
        .or_else(|| text(fields, "publisher").and_then(Party::parse))
        .or_else(|| party(fields.get("manufacturer")?.as_object()?, false));
    let mut evidence = vec![Evidence {
        layer: None,
        path: None,
        by: By::Document(origin.to_owned()),
        buildpack: None,
    }];
    if let Some(found) = fields.get("evidence").and_then(Value::as_object) {
        let paths = objects(found, "occurrences").filter_map(|it| text(it, "location"));
        let paths: Vec<&str> = paths.collect();
        if !paths.is_empty() {
            evidence.clear();
        }
        evidence.extend(paths.into_iter().map(|path| Evidence {
            layer: None,
            path: Some(path.trim_start_matches('/').to_owned()),
            by: By::Document(origin.to_owned()),
            buildpack: None,
        }));
    }
    Component {
        kind,
        purl: text(fields, "purl").and_then(Purl::parse),
        group: owned("group"),
        name: owned("name").unwrap_or_default(),
        version: owned("version"),
        cpes: owned("cpe").into_iter().collect(),
        supplier: supplier.and_then(|it| party(it, false)),
        originator: maker,
        description: owned("description"),
        licenses: licenses(fields),
        copyright: owned("copyright"),
        hashes: objects(fields, "hashes")
            .filter_map(|it| {
                let name = text(it, "alg")?;
                let (_, algorithm) = HASHES.iter().find(|(word, _)| *word == name)?;
                Hash::hex(*algorithm, text(it, "content")?)
            })
            .collect(),
        urls: objects(fields, "externalReferences")
            .filter_map(|it| {
                let name = text(it, "type")?;
                let (_, kind) = LINKS.iter().find(|(word, _)| *word == name)?;
                Some(Link {
                    kind: *kind,
                    url: text(it, "url")?.to_owned(),
                })
            })
            .collect(),
        evidence,
        ..Component::default()
    }
}

fn party(fields: &Object, is_person: bool) -> Option<Party> {
    let contact = objects(fields, "contact").next();
    let name = text(fields, "name").or_else(|| contact.and_then(|it| text(it, "name")));
    Some(Party {
        is_person,
        name: name?.to_owned(),
        email: text(fields, "email")
            .or_else(|| contact.and_then(|it| text(it, "email")))
            .map(str::to_owned),
        url: texts(fields, "url").next().map(str::to_owned),
    })
}

fn licenses(fields: &Object) -> Licenses {
    let mut licenses = Licenses::default();
    for entry in objects(fields, "licenses") {
        let inner = entry.get("license").and_then(Value::as_object);
        let license = if let Some(expression) = text(entry, "expression") {
            License::of(expression)
        } else if let Some(id) = inner.and_then(|it| text(it, "id")) {
            License::of(id)
        } else if let Some(name) = inner.and_then(|it| text(it, "name")) {
            let content = inner
                .and_then(|it| it.get("text"))
                .and_then(Value::as_object)
                .filter(|it| !it.contains_key("encoding"))
                .and_then(|it| text(it, "content"));
            License::Named {
                name: name.to_owned(),
                text: content.map(str::to_owned),
            }
        } else {
            continue;
        };
        let acknowledgement = [Some(entry), inner]
            .into_iter()
            .flatten()
            .find_map(|it| text(it, "acknowledgement"));
        if acknowledgement == Some("concluded") {
            licenses.concluded.push(license);
        } else {
            licenses.declared.push(license);
        }
    }
    licenses
}

fn tool(fields: &Object) -> Option<Tool> {
    Some(Tool {
        vendor: text(fields, "vendor")
            .or_else(|| text(fields, "publisher"))
            .map(str::to_owned),
        name: text(fields, "name")?.to_owned(),
        version: text(fields, "version").map(str::to_owned),
    })
}
