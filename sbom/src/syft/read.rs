//! Reads Syft's own JSON into the model.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use oci::DiffId;
use serde_json::Value;

use crate::component::{
    By, Component, Evidence, Hash, HashAlgorithm, Kind, License, Link, LinkKind, Party,
    RelationKind, SourcePackage, Tool,
};
use crate::json::{Object, list, objects, text};
use crate::purl::Purl;
use crate::reading::Reading;

/// Reads a document. Nothing of it is written again in its own format.
///
/// <https://github.com/anchore/syft/tree/v1.32.0/schema/json>
pub(crate) fn read(root: &Object, origin: &str) -> Reading {
    let mut reading = Reading::default();
    for artifact in objects(root, "artifacts") {
        let component = component(artifact, origin);
        let id = text(artifact, "id").unwrap_or_default();
        reading.add(component, id, Object::new());
    }
    if let Some(descriptor) = root.get("descriptor").and_then(Value::as_object)
        && let Some(name) = text(descriptor, "name")
    {
        reading.inventory.tools.push(Tool {
            vendor: None,
            name: name.to_owned(),
            version: text(descriptor, "version").map(str::to_owned),
        });
    }
    let names = reading.names();
    let mut relations = Vec::new();
    for entry in objects(root, "artifactRelationships") {
        let end = |field| names.get(text(entry, field)?).copied();
        let (Some(parent), Some(child)) = (end("parent"), end("child")) else {
            continue;
        };
        relations.extend(match text(entry, "type") {
            Some("contains" | "ownership-by-file-overlap") => {
                Some((parent, RelationKind::Contains, child))
            }
            Some("dependency-of") => Some((child, RelationKind::DependsOn, parent)),
            _ => None,
        });
    }
    for (from, kind, to) in relations {
        reading.inventory.relate(from, kind, to);
    }
    reading
}

fn component(artifact: &Object, origin: &str) -> Component {
    let owned = |field| text(artifact, field).map(str::to_owned);
    let empty = Object::new();
    let metadata = artifact.get("metadata").and_then(Value::as_object);
    let metadata = metadata.unwrap_or(&empty);
    let mut component = Component {
        kind: match text(artifact, "type") {
            Some("binary") => Kind::Application,
            _ => Kind::Library,
        },
        purl: text(artifact, "purl").and_then(Purl::parse),
        name: owned("name").unwrap_or_default(),
        version: owned("version"),
        // Before schema 16 a list of texts; since then of objects, and so are licences.
        cpes: list(artifact, "cpes")
            .iter()
            .filter_map(|it| it.as_str().or_else(|| it.get("cpe")?.as_str()))
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect(),
        evidence: evidence(artifact, origin),
        ..Component::default()
    };
    for license in list(artifact, "licenses") {
        let value = license.as_str().or_else(|| {
            let license = license.as_object()?;
            text(license, "spdxExpression").or_else(|| text(license, "value"))
        });
        let concluded = license.get("type").and_then(Value::as_str) == Some("concluded");
        if let Some(value) = value.filter(|it| !it.is_empty()) {
            if concluded {
                component.licenses.concluded.push(License::of(value));
            } else {
                component.licenses.declared.push(License::of(value));
            }
        }
    }
    about(&mut component, metadata);
    component
}

fn evidence(artifact: &Object, origin: &str) -> Vec<Evidence> {
    let by = || By::Document(origin.to_owned());
    let mut evidence: Vec<Evidence> = objects(artifact, "locations")
        .filter_map(|it| {
            // A layer's id is the digest of its uncompressed tar.
            let layer = text(it, "layerID").and_then(|it| it.parse().ok());
            Some(Evidence {
                layer: layer.map(DiffId),
                path: Some(text(it, "path")?.trim_start_matches('/').to_owned()),
                by: by(),
                buildpack: None,
            })
        })
        .collect();
    if evidence.is_empty() {
        evidence.push(Evidence {
            layer: None,
            path: None,
            by: by(),
            buildpack: None,
        });
    }
    evidence
}

/// What the database or manifest of the package's ecosystem said.
fn about(component: &mut Component, metadata: &Object) {
    let owned = |field| text(metadata, field).map(str::to_owned);
    component.description = owned("description");
    component.supplier = ["vendor", "maintainer"]
        .iter()
        .find_map(|it| text(metadata, it))
        .and_then(Party::parse);
    component.originator = text(metadata, "author")
        .and_then(Party::parse)
        .map(|mut it| {
            it.email = it.email.take().or_else(|| owned("authorEmail"));
            it
        });
    // `source` of dpkg, `originPackage` of apk, `sourceRpm` of rpm.
    let source = ["source", "originPackage", "sourceRpm"]
        .iter()
        .find_map(|it| owned(it));
    component.source = source.map(|name| SourcePackage {
        name,
        version: owned("sourceVersion"),
    });
    for (field, kind) in [
        ("homepage", LinkKind::Website),
        ("url", LinkKind::Website),
        ("repository", LinkKind::Sources),
    ] {
        if let Some(url) = text(metadata, field).filter(|it| it.starts_with("http")) {
            component.urls.push(Link {
                kind,
                url: url.to_owned(),
            });
        }
    }
    if let Some(architecture) = owned("architecture") {
        let properties: &mut BTreeMap<String, String> = &mut component.properties;
        properties.insert("architecture".to_owned(), architecture);
    }
    for digest in objects(metadata, "digest") {
        let algorithm = text(digest, "algorithm").map(str::to_ascii_lowercase);
        let algorithm = match algorithm.as_deref() {
            Some("md5") => HashAlgorithm::Md5,
            Some("sha1" | "sha-1") => HashAlgorithm::Sha1,
            Some("sha256" | "sha-256") => HashAlgorithm::Sha256,
            Some("sha512" | "sha-512") => HashAlgorithm::Sha512,
            _ => continue,
        };
        let value = text(digest, "value").unwrap_or_default();
        component.hashes.extend(Hash::hex(algorithm, value));
    }
    // Of a crate, in `Cargo.lock`.
    if let Some(checksum) = text(metadata, "checksum").filter(|it| it.len() == 64) {
        let hash = Hash::hex(HashAlgorithm::Sha256, checksum);
        component.hashes.extend(hash);
    }
    // Of a package of apk: `Q1` and a SHA-1 in base64.
    let checksum = text(metadata, "pullChecksum").and_then(|it| it.strip_prefix("Q1"));
    if let Some(value) = checksum.and_then(hex_of_base64).filter(|it| it.len() == 40) {
        component.hashes.push(Hash {
            algorithm: HashAlgorithm::Sha1,
            value,
        });
    }
}

/// What `text` is in hex, if it is base64.
fn hex_of_base64(text: &str) -> Option<String> {
    let mut bits = 0_u32;
    let mut count = 0;
    let mut hex = String::new();
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            let byte = bits >> count;
            // Writing to a string does not fail.
            write!(hex, "{byte:02x}").unwrap_or_default();
            bits &= (1 << count) - 1;
        }
    }
    Some(hex)
}
