//! What is in an image, of its SBOMs: components, licences, as rows.

use std::collections::BTreeMap;

use intoto::PredicateType;
use serde::Serialize;
use serde_json::Value;

use super::ImageReport;

/// How many components are shown.
const MAX_COMPONENTS: usize = 100_000;
/// How deep components lie in components.
const MAX_DEPTH: usize = 16;
/// How much of a text is shown.
const MAX_TEXT: usize = 400;

/// Something that is in an image, by an SBOM.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version, or nothing.
    pub version: String,
    /// Its licences, with `, ` between them, or nothing.
    pub licenses: String,
    /// What sort of thing: `library`, `application`, …; nothing in SPDX.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its package URL, or nothing.
    pub purl: String,
}

/// An SBOM.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Listed {
    /// Its format, as a kind of claim.
    pub predicate_type: PredicateType,
    /// Whether it was verified, and is by somebody who was named.
    pub proven: bool,
    /// How many components it has.
    pub components: usize,
}

/// Adds what an SBOM lists. What two of them list is shown once.
pub(super) fn show(
    report: &mut ImageReport,
    document: &Value,
    predicate_type: &PredicateType,
    proven: bool,
) {
    let mut found = Vec::new();
    if *predicate_type == PredicateType::CYCLONEDX {
        cyclonedx(document, 0, &mut found);
    } else {
        spdx(document, &mut found);
    }
    report.sboms.push(Listed {
        predicate_type: predicate_type.clone(),
        proven,
        components: found.len(),
    });
    let mut all: BTreeMap<(String, String, String), Component> = BTreeMap::new();
    for it in std::mem::take(&mut report.components)
        .into_iter()
        .chain(found)
    {
        let package = it.purl.split(['?', '#']).next().unwrap_or_default();
        let key = (it.name.clone(), it.version.clone(), package.to_owned());
        let known = all.entry(key).or_insert_with(|| it.clone());
        // What one of them does not say, another may.
        for (field, other) in [
            (&mut known.licenses, it.licenses),
            (&mut known.kind, it.kind),
            (&mut known.purl, it.purl),
        ] {
            if field.is_empty() {
                *field = other;
            }
        }
    }
    report.components = all.into_values().take(MAX_COMPONENTS).collect();
}

fn cyclonedx(holder: &Value, depth: usize, found: &mut Vec<Component>) {
    let list = holder.get("components").and_then(Value::as_array);
    for it in list.into_iter().flatten() {
        if found.len() >= MAX_COMPONENTS || depth >= MAX_DEPTH {
            return;
        }
        let licenses = it.get("licenses").and_then(Value::as_array);
        let licenses = licenses.into_iter().flatten().filter_map(|it| {
            let license = it.get("license");
            it.get("expression")
                .or_else(|| license?.get("id"))
                .or_else(|| license?.get("name"))
                .and_then(Value::as_str)
        });
        let licenses: Vec<_> = licenses.collect();
        let group = string(it, "group");
        let name = string(it, "name");
        found.push(Component {
            name: if group.is_empty() {
                name
            } else {
                format!("{group}/{name}")
            },
            version: string(it, "version"),
            licenses: short(&licenses.join(", ")),
            kind: string(it, "type"),
            purl: string(it, "purl"),
        });
        cyclonedx(it, depth + 1, found);
    }
}

fn spdx(document: &Value, found: &mut Vec<Component>) {
    let described = described(document);
    let list = document.get("packages").and_then(Value::as_array);
    for it in list.into_iter().flatten().take(MAX_COMPONENTS) {
        // The package that stands for the image is not in it.
        if it
            .get("SPDXID")
            .and_then(Value::as_str)
            .is_some_and(|it| described.contains(&it))
        {
            continue;
        }
        let license = |name| Some(string(it, name)).filter(|it| is_license(it));
        let references = it.get("externalRefs").and_then(Value::as_array);
        let purl = references.into_iter().flatten().find_map(|it| {
            let is_purl = it.get("referenceType")?.as_str()? == "purl";
            is_purl.then(|| string(it, "referenceLocator"))
        });
        found.push(Component {
            name: string(it, "name"),
            version: string(it, "versionInfo"),
            licenses: license("licenseConcluded")
                .or_else(|| license("licenseDeclared"))
                .unwrap_or_default(),
            kind: string(it, "primaryPackagePurpose").to_lowercase(),
            purl: purl.unwrap_or_default(),
        });
    }
}

/// What an SPDX document is about.
fn described(document: &Value) -> Vec<&str> {
    let list = document.get("relationships").and_then(Value::as_array);
    let relations = list.into_iter().flatten().filter_map(|it| {
        let is_subject = it.get("relationshipType")?.as_str()? == "DESCRIBES";
        is_subject.then(|| it.get("relatedSpdxElement")?.as_str())?
    });
    relations.take(16).collect()
}

fn is_license(text: &str) -> bool {
    !text.is_empty() && text != "NOASSERTION" && text != "NONE"
}

fn string(of: &Value, field: &str) -> String {
    short(of.get(field).and_then(Value::as_str).unwrap_or_default())
}

fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use oci::{Descriptor, MediaType};
    use serde_json::json;

    use super::*;

    fn report() -> ImageReport {
        ImageReport::new("x", &Descriptor::of(MediaType::IMAGE_MANIFEST, b"x"))
    }

    #[test]
    fn what_two_documents_list_is_shown_once() {
        let mut report = report();
        let cyclonedx = json!({"components": [
            {"type": "library", "name": "a", "version": "1", "purl": "pkg:deb/debian/a@1?arch=amd64",
             "licenses": [{"license": {"id": "MIT"}}, {"expression": "Apache-2.0 OR MIT"}],
             "components": [{"type": "file", "group": "g", "name": "inner"}]},
        ]});
        let spdx = json!({
            "packages": [
                {"SPDXID": "SPDXRef-image", "name": "image"},
                {"SPDXID": "SPDXRef-a", "name": "a", "versionInfo": "1", "licenseConcluded": "NOASSERTION", "licenseDeclared": "MIT",
                 "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:deb/debian/a@1"}]},
                {"SPDXID": "SPDXRef-b", "name": "b", "licenseConcluded": "ISC"},
            ],
            "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-image"}],
        });
        show(&mut report, &cyclonedx, &PredicateType::CYCLONEDX, true);
        show(&mut report, &spdx, &PredicateType::SPDX, true);
        let shown: Vec<_> = report
            .components
            .iter()
            .map(|it| format!("{} {} [{}] {}", it.name, it.version, it.licenses, it.kind))
            .collect();
        assert_eq!(
            shown,
            [
                "a 1 [MIT, Apache-2.0 OR MIT] library",
                "b  [ISC] ",
                "g/inner  [] file"
            ]
        );
        assert_eq!(
            report
                .sboms
                .iter()
                .map(|it| it.components)
                .collect::<Vec<_>>(),
            [2, 2]
        );
    }

    #[test]
    fn hostile_documents_end() {
        let mut deep = json!({"name": "x"});
        for _ in 0..100 {
            deep = json!({"name": "x".repeat(1000), "components": [deep]});
        }
        let mut report = report();
        show(
            &mut report,
            &json!({"components": [deep, 1, null]}),
            &PredicateType::CYCLONEDX,
            false,
        );
        show(&mut report, &json!([1]), &PredicateType::SPDX, false);
        assert_eq!(
            report
                .sboms
                .iter()
                .map(|it| it.components)
                .collect::<Vec<_>>(),
            [18, 0]
        );
        assert!(
            report
                .components
                .iter()
                .all(|it| it.name.chars().count() <= MAX_TEXT + 1)
        );
    }
}
