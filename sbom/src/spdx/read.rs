//! Reads SPDX 2 into the model.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::words::{HASHES, PURPOSES};
use crate::component::{
    By, Component, Evidence, Hash, Kind, License, Licenses, Link, LinkKind, Node, Party,
    RelationKind,
};
use crate::json::{Object, object, objects, take_list, text, texts};
use crate::license::NOASSERTION;
use crate::merge::makers;
use crate::purl::Purl;
use crate::reading::Reading;

/// Reads a document and takes its packages out of `root`; all else stays.
pub(crate) fn read(root: &mut Object, origin: &str) -> Reading {
    let mut reading = Reading::default();
    let extracted: BTreeMap<&str, &Object> = objects(root, "hasExtractedLicensingInfos")
        .filter_map(|it| Some((text(it, "licenseId")?, it)))
        .collect();
    let components: Vec<Component> = objects(root, "packages")
        .map(|it| component(it, &extracted, origin))
        .collect();
    for (component, fields) in components.into_iter().zip(take_list(root, "packages")) {
        let mut fields = object(fields);
        let reference = match fields.remove("SPDXID") {
            Some(Value::String(reference)) => reference,
            _ => String::new(),
        };
        reading.add(component, &reference, fields);
    }

    if let Some(creation) = root.get("creationInfo").and_then(Value::as_object) {
        reading.inventory.tools = makers::spdx_tools(creation).collect();
        let authors = texts(creation, "creators").filter(|it| !it.starts_with("Tool:"));
        reading.inventory.authors = authors.filter_map(party).collect();
    }

    let names = reading.names();
    let mut described: BTreeSet<&str> = texts(root, "documentDescribes").collect();
    let mut relations = Vec::new();
    for entry in objects(root, "relationships") {
        let Some((from, kind, to)) = ends(entry) else {
            continue;
        };
        if kind == "DESCRIBES" && from == "SPDXRef-DOCUMENT" {
            described.insert(to);
        }
        if let (Some(from), Some(to)) = (names.get(from), names.get(to)) {
            relations.extend(match kind {
                // The other way round, and written so again.
                "BUILD_DEPENDENCY_OF" => Some((*to, RelationKind::NeedsToBuild, *from)),
                kind => relation_kind(kind).map(|it| (*from, it, *to)),
            });
        }
    }
    let described: Vec<Node> = described
        .iter()
        .filter_map(|it| names.get(it).copied())
        .collect();
    if let [Node::Component(root)] = described.as_slice() {
        reading.root = Some(*root);
    }
    for (from, kind, to) in relations {
        // That what a document is about contains all that it lists goes without saying.
        if kind != RelationKind::Contains || !described.contains(&from) {
            reading.inventory.relate(from, kind, to);
        }
    }
    reading
}

/// What a relation says, in the direction that the model has: from, kind, to.
pub(super) fn ends(entry: &Object) -> Option<(&str, &str, &str)> {
    let from = text(entry, "spdxElementId")?;
    let kind = text(entry, "relationshipType")?;
    let to = text(entry, "relatedSpdxElement")?;
    let forward = REVERSED.iter().find(|(it, _)| *it == kind);
    Some(match forward {
        Some((_, forward)) => (to, forward, from),
        None => (from, kind, to),
    })
}

/// Relations that SPDX has in both directions, and what the other is called.
const REVERSED: [(&str, &str); 4] = [
    ("CONTAINED_BY", "CONTAINS"),
    ("DEPENDENCY_OF", "DEPENDS_ON"),
    ("DESCRIBED_BY", "DESCRIBES"),
    ("ANCESTOR_OF", "DESCENDANT_OF"),
];

fn relation_kind(kind: &str) -> Option<RelationKind> {
    match kind {
        "CONTAINS" => Some(RelationKind::Contains),
        "DEPENDS_ON" => Some(RelationKind::DependsOn),
        "DESCENDANT_OF" => Some(RelationKind::BuiltFrom),
        _ => None,
    }
}

fn component(package: &Object, extracted: &BTreeMap<&str, &Object>, origin: &str) -> Component {
    let purpose = text(package, "primaryPackagePurpose").map(|it| it.replace('-', "_"));
    let kind = PURPOSES
        .iter()
        .find(|(word, _)| purpose.as_deref() == Some(word))
        .map_or(Kind::Library, |(_, kind)| *kind);
    let owned = |field| known(package, field).map(str::to_owned);
    let locators = |wanted: &'static [&'static str]| {
        objects(package, "externalRefs")
            .filter(move |it| {
                // In any letters, or as RDF has it: `http://spdx.org/rdf/references/purl`.
                let kind = text(it, "referenceType").unwrap_or_default();
                let kind = kind.rsplit('/').next().unwrap_or_default();
                wanted.iter().any(|it| it.eq_ignore_ascii_case(kind))
            })
            .filter_map(|it| text(it, "referenceLocator"))
    };
    let mut urls = Vec::new();
    for (field, kind) in [
        ("downloadLocation", LinkKind::Distribution),
        ("homepage", LinkKind::Website),
    ] {
        if let Some(url) = known(package, field).filter(|it| super::words::is_download_location(it))
        {
            urls.push(Link {
                kind,
                url: url.to_owned(),
            });
        }
    }
    let licenses = |field| {
        let found = known(package, field);
        found.map(|it| license(it, extracted)).into_iter().collect()
    };
    Component {
        kind,
        purl: locators(&["purl"]).find_map(Purl::parse),
        group: None,
        name: owned("name").unwrap_or_default(),
        version: owned("versionInfo"),
        cpes: locators(&["cpe23Type", "cpe22Type"])
            .map(str::to_owned)
            .collect(),
        supplier: known(package, "supplier").and_then(party),
        originator: known(package, "originator").and_then(party),
        description: owned("description").or_else(|| owned("summary")),
        licenses: Licenses {
            declared: licenses("licenseDeclared"),
            concluded: licenses("licenseConcluded"),
        },
        copyright: owned("copyrightText"),
        hashes: objects(package, "checksums")
            .filter_map(|it| {
                let name = text(it, "algorithm")?;
                let (_, algorithm) = HASHES.iter().find(|(word, _)| *word == name)?;
                Hash::hex(*algorithm, text(it, "checksumValue")?)
            })
            .collect(),
        urls,
        evidence: vec![Evidence {
            layer: None,
            path: None,
            by: By::Document(origin.to_owned()),
            buildpack: None,
        }],
        ..Component::default()
    }
}

fn license(expression: &str, extracted: &BTreeMap<&str, &Object>) -> License {
    match extracted.get(expression) {
        Some(own) => {
            let name = text(own, "name").filter(|it| *it != NOASSERTION);
            License::Named {
                name: name.unwrap_or(expression).to_owned(),
                text: text(own, "extractedText").map(str::to_owned),
            }
        }
        None => License::of(expression),
    }
}

/// `Organization: Acme (a@example.test)`.
fn party(text: &str) -> Option<Party> {
    let (kind, name) = text.split_once(':')?;
    let name = name.trim();
    let with_email = name
        .strip_suffix(')')
        .and_then(|it| it.rsplit_once('('))
        .filter(|(_, email)| email.is_empty() || email.contains('@'));
    let (name, email) = match with_email {
        Some((name, email)) => (name.trim(), email.trim()),
        None => (name, ""),
    };
    (!name.is_empty()).then(|| Party {
        is_person: kind.trim() == "Person",
        name: name.to_owned(),
        email: (!email.is_empty()).then(|| email.to_owned()),
        url: None,
    })
}

fn known<'a>(package: &'a Object, field: &str) -> Option<&'a str> {
    text(package, field).filter(|it| !matches!(*it, NOASSERTION | "NONE"))
}
