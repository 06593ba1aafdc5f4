//! A component of the model as a package of SPDX.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::words::{HASHES, hex_digits, is_download_location, of_kind};
use crate::component::{By, Component, License, LinkKind, Party};
use crate::json::{Object, object, push, set, short_hash, sort};
use crate::license::{NOASSERTION, is_expression};

/// The document's own licences, by id.
pub(super) type Extracted = BTreeMap<String, Value>;

/// The package, without `SPDXID`. Licences that are not on SPDX's list are added to `extracted`.
pub(super) fn package(component: &Component, extracted: &mut Extracted) -> Object {
    let name = match &component.group {
        Some(group) => format!("{group}/{}", component.name),
        None => component.name.clone(),
    };
    let mut package = object(json!({
        "name": name,
        "downloadLocation": NOASSERTION,
        "filesAnalyzed": false,
        "licenseConcluded": expression(&component.licenses.concluded, extracted),
        "licenseDeclared": expression(&component.licenses.declared, extracted),
        "copyrightText": component.copyright.as_deref().unwrap_or(NOASSERTION),
        "primaryPackagePurpose": of_kind(component.kind),
    }));
    for (field, value) in [
        ("versionInfo", &component.version),
        ("description", &component.description),
    ] {
        set(&mut package, field, value.as_deref().unwrap_or_default());
    }
    for (field, party) in [
        ("supplier", &component.supplier),
        ("originator", &component.originator),
    ] {
        if let Some(party) = party {
            set(&mut package, field, self::party(party));
        }
    }
    for hash in &component.hashes {
        let word = HASHES.iter().find(|(_, it)| *it == hash.algorithm);
        let is_whole = hex_digits(hash.algorithm).is_none_or(|it| it == hash.value.len());
        if let Some((word, _)) = word.filter(|_| is_whole) {
            let checksum = json!({ "algorithm": word, "checksumValue": hash.value });
            push(&mut package, "checksums", checksum);
        }
    }
    let mut urls: Vec<_> = component.urls.iter().collect();
    urls.sort_unstable_by(|a, b| b.cmp(a));
    for link in urls.into_iter().filter(|it| is_download_location(&it.url)) {
        match link.kind {
            LinkKind::Distribution => set(&mut package, "downloadLocation", link.url.as_str()),
            LinkKind::Website => set(&mut package, "homepage", link.url.as_str()),
            _ => {}
        }
    }
    if let Some(purl) = &component.purl {
        let reference = external_reference("PACKAGE-MANAGER", "purl", purl.as_str());
        push(&mut package, "externalRefs", reference);
    }
    for cpe in &component.cpes {
        let kind = if cpe.starts_with("cpe:2.3:") {
            "cpe23Type"
        } else {
            "cpe22Type"
        };
        let reference = external_reference("SECURITY", kind, cpe);
        push(&mut package, "externalRefs", reference);
    }
    for list in ["checksums", "externalRefs"] {
        if let Some(Value::Array(list)) = package.get_mut(list) {
            sort(list);
        }
    }
    set(&mut package, "sourceInfo", source_info(component));
    let notes: Vec<String> = component
        .properties
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    set(&mut package, "comment", notes.join("\n"));
    package
}

/// Where it was found, a line each, for SPDX has no fields for that.
fn source_info(component: &Component) -> String {
    let mut lines = Vec::new();
    if let Some(source) = &component.source {
        let version = source.version.as_deref().unwrap_or_default();
        let line = format!("built from source package {} {version}", source.name);
        lines.push(line.trim_end().to_owned());
    }
    for found in &component.evidence {
        let mut line = match &found.by {
            By::Finder(finder) => format!("found by {finder}"),
            By::Document(origin) => format!("listed in {origin}"),
        };
        for (word, value) in [
            ("path", found.path.as_deref()),
            ("layer", found.layer.as_ref().map(|it| it.0.as_str())),
            ("buildpack", found.buildpack.as_deref()),
        ] {
            if let Some(value) = value {
                line.push_str(", ");
                line.push_str(word);
                line.push(' ');
                line.push_str(value);
            }
        }
        lines.push(line);
    }
    lines.dedup();
    lines.join("\n")
}

/// The licences as an expression: all of them hold.
fn expression(licenses: &[License], extracted: &mut Extracted) -> String {
    let mut terms: Vec<String> = licenses
        .iter()
        .map(|it| match it {
            License::Expression(expression) if !is_expression(expression) => {
                extract(expression, None, extracted)
            }
            License::Expression(expression) if expression.contains(' ') => {
                format!("({expression})")
            }
            License::Expression(expression) => expression.clone(),
            License::Named { name, text } => extract(name, text.as_deref(), extracted),
        })
        .collect();
    terms.sort();
    terms.dedup();
    match terms.as_slice() {
        [] => NOASSERTION.to_owned(),
        [term] => {
            let bare = term.strip_prefix('(').and_then(|it| it.strip_suffix(')'));
            bare.unwrap_or(term).to_owned()
        }
        _ => terms.join(" AND "),
    }
}

/// Defines a licence that SPDX does not list, and returns its id: one of what it is, so that the
/// same has the same.
fn extract(name: &str, content: Option<&str>, extracted: &mut Extracted) -> String {
    let content = content.unwrap_or(name);
    let bare = name.strip_prefix("LicenseRef-").unwrap_or(name);
    let mut id = slug(bare);
    if id != bare || content != name {
        id = format!("{id}-{}", short_hash(&format!("{name}\n{content}")));
    }
    let id = format!("LicenseRef-{id}");
    let license = json!({ "licenseId": id, "name": name, "extractedText": content });
    extracted.insert(id.clone(), license);
    id
}

pub(super) fn party(party: &Party) -> String {
    let kind = if party.is_person {
        "Person"
    } else {
        "Organization"
    };
    let name = party.name.replace(['\n', '\r'], " ");
    match &party.email {
        Some(email) if *email != party.name => format!("{kind}: {name} ({email})"),
        _ => format!("{kind}: {name}"),
    }
}

fn external_reference(category: &str, kind: &str, locator: &str) -> Value {
    json!({
        "referenceCategory": category,
        "referenceType": kind,
        "referenceLocator": locator,
    })
}

/// What an SPDX id may have in it.
pub(super) fn slug(name: &str) -> String {
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
