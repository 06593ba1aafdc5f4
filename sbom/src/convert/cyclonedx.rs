use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{COMMON_HASHES, HASHES, PURPOSES, is_download_location};
use crate::json::{Object, object, objects, push, set, short_hash, text, texts};
use crate::license::{NOASSERTION, to_expression};

/// The components of a CycloneDX document as an SPDX document.
pub(crate) fn cyclonedx_to_spdx(root: &Object) -> Object {
    let mut spdx = Spdx::default();
    let main = root
        .get("metadata")
        .and_then(|it| it.get("component"))
        .and_then(Value::as_object);
    for component in main.into_iter().chain(objects(root, "components")) {
        spdx.add(component, None);
    }
    for dependency in objects(root, "dependencies") {
        let Some(from) = text(dependency, "ref").and_then(|it| spdx.ids.get(it)) else {
            continue;
        };
        for to in texts(dependency, "dependsOn").filter_map(|it| spdx.ids.get(it)) {
            spdx.relationships
                .push(relationship(from, "DEPENDS_ON", to));
        }
    }
    let mut converted = Object::new();
    set(&mut converted, "packages", spdx.packages);
    set(&mut converted, "relationships", spdx.relationships);
    set(&mut converted, "hasExtractedLicensingInfos", spdx.extracted);
    converted
}

#[derive(Default)]
struct Spdx {
    /// `SPDXID`s by `bom-ref`.
    ids: BTreeMap<String, String>,
    packages: Vec<Value>,
    relationships: Vec<Value>,
    extracted: Vec<Value>,
}

impl Spdx {
    fn add(&mut self, component: &Object, parent: Option<&str>) {
        let name = text(component, "name").unwrap_or_default();
        // The list is as long as its names are distinct, so its length makes the id unique.
        let id = format!(
            "SPDXRef-Package-{}-{}",
            slug(name),
            short_hash(&format!(
                "{}{}",
                self.packages.len(),
                Value::from(component.clone())
            ))
        );
        if let Some(reference) = text(component, "bom-ref") {
            self.ids
                .entry(reference.to_owned())
                .or_insert_with(|| id.clone());
        }
        if let Some(parent) = parent {
            self.relationships
                .push(relationship(parent, "CONTAINS", &id));
        }
        let package = package(component, &id, &mut self.extracted);
        self.packages.push(package.into());
        for nested in objects(component, "components") {
            self.add(nested, Some(&id));
        }
    }
}

fn package(component: &Object, id: &str, extracted: &mut Vec<Value>) -> Object {
    let name = text(component, "name").unwrap_or_default();
    let name = match text(component, "group") {
        Some(group) => format!("{group}/{name}"),
        None => name.to_owned(),
    };
    let declared = to_expression(objects(component, "licenses"), extracted);
    let mut package = object(json!({
        "SPDXID": id,
        "name": name,
        "downloadLocation": NOASSERTION,
        "filesAnalyzed": false,
        "licenseConcluded": NOASSERTION,
        "licenseDeclared": declared.as_deref().unwrap_or(NOASSERTION),
        "copyrightText": text(component, "copyright").unwrap_or(NOASSERTION),
    }));
    let version = text(component, "version").unwrap_or_default();
    set(&mut package, "versionInfo", version);
    let description = text(component, "description").unwrap_or_default();
    set(&mut package, "description", description);
    let supplier = component.get("supplier").and_then(Value::as_object);
    if let Some(supplier) = supplier.and_then(|it| text(it, "name")) {
        set(
            &mut package,
            "supplier",
            format!("Organization: {supplier}"),
        );
    }
    let purpose = PURPOSES
        .iter()
        .find(|(kind, _)| text(component, "type") == Some(kind))
        .map_or("OTHER", |(_, purpose)| purpose);
    set(&mut package, "primaryPackagePurpose", purpose);
    for hash in objects(component, "hashes") {
        let (Some(algorithm), Some(content)) = (text(hash, "alg"), text(hash, "content")) else {
            continue;
        };
        let spdx = HASHES.iter().find(|(cyclonedx, _)| *cyclonedx == algorithm);
        let common = COMMON_HASHES.iter().find(|it| **it == algorithm);
        if let Some(algorithm) = spdx.map(|(_, spdx)| spdx).or(common) {
            let content = content.to_lowercase();
            let checksum = json!({ "algorithm": algorithm, "checksumValue": content });
            push(&mut package, "checksums", checksum);
        }
    }
    for reference in objects(component, "externalReferences") {
        let url = text(reference, "url").filter(|it| is_download_location(it));
        match (text(reference, "type"), url) {
            (Some("distribution"), Some(url)) => set(&mut package, "downloadLocation", url),
            (Some("website"), Some(url)) => set(&mut package, "homepage", url),
            _ => {}
        }
    }
    if let Some(purl) = text(component, "purl") {
        let reference = external_reference("PACKAGE-MANAGER", "purl", purl);
        push(&mut package, "externalRefs", reference);
    }
    if let Some(cpe) = text(component, "cpe") {
        let kind = if cpe.starts_with("cpe:2.3:") {
            "cpe23Type"
        } else {
            "cpe22Type"
        };
        push(
            &mut package,
            "externalRefs",
            external_reference("SECURITY", kind, cpe),
        );
    }
    package
}

pub(crate) fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn external_reference(category: &str, kind: &str, locator: &str) -> Value {
    json!({
        "referenceCategory": category,
        "referenceType": kind,
        "referenceLocator": locator,
    })
}

/// What an `SPDXID` may have in it.
fn slug(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .take(60)
        .collect()
}
