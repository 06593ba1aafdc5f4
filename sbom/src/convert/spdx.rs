use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{COMMON_HASHES, HASHES, PURPOSES, is_download_location};
use crate::json::{Object, object, objects, push, set, text};
use crate::license::{NOASSERTION, to_licenses};

/// The packages of an SPDX document as a CycloneDX document.
pub(crate) fn spdx_to_cyclonedx(root: &Object) -> Object {
    let extracted: Vec<&Object> = objects(root, "hasExtractedLicensingInfos").collect();
    let components: Vec<Value> = objects(root, "packages")
        .map(|it| component(it, &extracted).into())
        .collect();
    let packages: Vec<&str> = objects(root, "packages")
        .filter_map(|it| text(it, "SPDXID"))
        .collect();
    let mut dependencies: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for relationship in objects(root, "relationships") {
        let (Some(from), Some(kind), Some(to)) = (
            text(relationship, "spdxElementId"),
            text(relationship, "relationshipType"),
            text(relationship, "relatedSpdxElement"),
        ) else {
            continue;
        };
        match kind {
            "DEPENDS_ON" => dependencies.entry(from).or_default().push(to),
            "DEPENDENCY_OF" | "RUNTIME_DEPENDENCY_OF" => {
                dependencies.entry(to).or_default().push(from);
            }
            _ => {}
        }
    }
    let packages: std::collections::BTreeSet<&str> = packages.into_iter().collect();
    let dependencies: Vec<Value> = dependencies
        .into_iter()
        .filter(|(from, _)| packages.contains(from))
        .map(|(from, to)| {
            let to: Vec<&str> = to.into_iter().filter(|it| packages.contains(it)).collect();
            json!({ "ref": from, "dependsOn": to })
        })
        .collect();
    let mut converted = Object::new();
    set(&mut converted, "components", components);
    set(&mut converted, "dependencies", dependencies);
    converted
}

fn component(package: &Object, extracted: &[&Object]) -> Object {
    let kind = PURPOSES
        .iter()
        .find(|(_, purpose)| text(package, "primaryPackagePurpose") == Some(purpose))
        .map_or("library", |(kind, _)| kind);
    let mut component = object(json!({
        "type": kind,
        "name": text(package, "name").unwrap_or_default(),
        "bom-ref": text(package, "SPDXID").unwrap_or_default(),
    }));
    for (from, to) in [
        ("versionInfo", "version"),
        ("description", "description"),
        ("copyrightText", "copyright"),
    ] {
        if let Some(value) = known(package, from) {
            set(&mut component, to, value);
        }
    }
    let supplier = known(package, "supplier").and_then(|it| it.split_once(": "));
    if let Some((_, supplier)) = supplier {
        set(&mut component, "supplier", json!({ "name": supplier }));
    }
    let licenses = known(package, "licenseDeclared")
        .or_else(|| known(package, "licenseConcluded"))
        .map(|it| to_licenses(it, extracted))
        .unwrap_or_default();
    set(&mut component, "licenses", licenses);
    for checksum in objects(package, "checksums") {
        let (Some(algorithm), Some(value)) =
            (text(checksum, "algorithm"), text(checksum, "checksumValue"))
        else {
            continue;
        };
        let cyclonedx = HASHES.iter().find(|(_, spdx)| *spdx == algorithm);
        let common = COMMON_HASHES.iter().find(|it| **it == algorithm);
        if let Some(algorithm) = cyclonedx.map(|(cyclonedx, _)| cyclonedx).or(common) {
            let hash = json!({ "alg": algorithm, "content": value });
            push(&mut component, "hashes", hash);
        }
    }
    for (field, kind) in [
        ("downloadLocation", "distribution"),
        ("homepage", "website"),
    ] {
        if let Some(url) = known(package, field).filter(|it| is_download_location(it)) {
            let reference = json!({ "type": kind, "url": url });
            push(&mut component, "externalReferences", reference);
        }
    }
    if let Some(purl) = purl(package) {
        set(&mut component, "purl", purl);
    }
    let cpe = objects(package, "externalRefs")
        .filter(|it| text(it, "referenceType") == Some("cpe23Type"))
        .find_map(|it| text(it, "referenceLocator"));
    set(&mut component, "cpe", cpe.unwrap_or_default());
    component
}

/// The package URL of an SPDX package.
pub(crate) fn purl(package: &Object) -> Option<&str> {
    objects(package, "externalRefs")
        .filter(|it| text(it, "referenceType") == Some("purl"))
        .find_map(|it| text(it, "referenceLocator"))
}

fn known<'a>(package: &'a Object, field: &str) -> Option<&'a str> {
    text(package, field).filter(|it| !matches!(*it, NOASSERTION | "NONE"))
}
