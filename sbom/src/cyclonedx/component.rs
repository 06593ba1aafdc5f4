//! A component of the model as one of CycloneDX.

use serde_json::{Value, json};

use super::words::{HASHES, LINKS, hex_digits, of_kind};
use crate::component::{By, Component, License, Party};
use crate::json::{Object, object, push, set, sort};
use crate::license::{is_license_id, tidy};

/// The component, without `bom-ref` and without what is nested in it. Evidence goes into
/// properties, and paths into `evidence`, too.
pub(super) fn component(component: &Component) -> Object {
    let mut fields = object(json!({
        "type": of_kind(component.kind),
        "name": component.name,
    }));
    for (name, value) in [
        ("group", &component.group),
        ("version", &component.version),
        ("description", &component.description),
        ("copyright", &component.copyright),
    ] {
        set(&mut fields, name, value.as_deref().unwrap_or_default());
    }
    if let Some(purl) = &component.purl {
        set(&mut fields, "purl", purl.as_str());
    }
    if let Some(supplier) = &component.supplier {
        set(&mut fields, "supplier", organization(supplier));
    }
    if let Some(maker) = &component.originator {
        let author = match &maker.email {
            Some(email) if *email != maker.name => format!("{} <{email}>", maker.name),
            _ => maker.name.clone(),
        };
        set(&mut fields, "author", author);
    }
    // What was concluded is worth more than nothing, and less than what its makers say.
    let licenses = match component.licenses.declared.as_slice() {
        [] => &component.licenses.concluded,
        _ => &component.licenses.declared,
    };
    set(&mut fields, "licenses", self::licenses(licenses));
    for hash in &component.hashes {
        let word = HASHES.iter().find(|(_, it)| *it == hash.algorithm);
        if let Some((word, _)) = word
            && hash.value.len() == hex_digits(hash.algorithm)
        {
            let hash = json!({ "alg": word, "content": hash.value });
            push(&mut fields, "hashes", hash);
        }
    }
    for link in &component.urls {
        let word = LINKS.iter().find(|(_, it)| *it == link.kind);
        if let Some((word, _)) = word.filter(|_| is_iri(&link.url)) {
            let reference = json!({ "type": word, "url": link.url });
            push(&mut fields, "externalReferences", reference);
        }
    }
    let mut cpes = component.cpes.iter();
    if let Some(cpe) = cpes.next() {
        set(&mut fields, "cpe", cpe.as_str());
    }
    for cpe in cpes {
        property(&mut fields, "cpe", cpe);
    }
    if let Some(source) = &component.source {
        let version = source.version.as_deref().unwrap_or_default();
        let source = format!("{} {version}", source.name);
        property(&mut fields, "source-package", source.trim());
    }
    for (name, value) in &component.properties {
        property(&mut fields, name, value);
    }
    evidence(&mut fields, component);
    for list in ["properties", "externalReferences", "hashes"] {
        if let Some(Value::Array(list)) = fields.get_mut(list) {
            sort(list);
        }
    }
    fields
}

fn evidence(fields: &mut Object, component: &Component) {
    let mut occurrences = Vec::new();
    for found in &component.evidence {
        match &found.by {
            By::Document(origin) => property(fields, "origin", origin),
            By::Finder(finder) => property(fields, "found-by", finder),
        }
        if let Some(layer) = &found.layer {
            property(fields, "layer", layer.0.as_str());
        }
        if let Some(buildpack) = &found.buildpack {
            property(fields, "buildpack", buildpack);
        }
        if let Some(path) = &found.path {
            occurrences.push(json!({ "location": path }));
        }
    }
    sort(&mut occurrences);
    if !occurrences.is_empty() {
        set(fields, "evidence", json!({ "occurrences": occurrences }));
    }
}

/// Adds a property of ours.
fn property(fields: &mut Object, name: &str, value: &str) {
    let name = format!("sealpack:{name}");
    let property = json!({ "name": name, "value": value });
    push(fields, "properties", property);
}

pub(super) fn organization(party: &Party) -> Object {
    let mut fields = object(json!({ "name": party.name }));
    if let Some(url) = party.url.as_deref().filter(|it| is_iri(it)) {
        set(&mut fields, "url", json!([url]));
    }
    if let Some(email) = party.email.as_deref().filter(|it| is_email(it)) {
        set(&mut fields, "contact", json!([{ "email": email }]));
    }
    fields
}

/// The licences as CycloneDX allows them: many, or one expression.
fn licenses(licenses: &[License]) -> Vec<Value> {
    let mut entries: Vec<Value> = licenses
        .iter()
        .map(|it| match it {
            License::Expression(id) if is_license_id(id) => json!({ "license": { "id": id } }),
            License::Expression(expression) => json!({ "expression": expression }),
            License::Named { name, text } => {
                let mut license = object(json!({ "name": name }));
                if let Some(content) = text.as_ref().filter(|it| *it != name) {
                    set(&mut license, "text", json!({ "content": content }));
                }
                json!({ "license": license })
            }
        })
        .collect();
    tidy(&mut entries);
    entries
}

/// Whether the schemas take `text` as an IRI reference.
fn is_iri(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|it| it.is_ascii_graphic())
        && !text.contains(['<', '>', '"', '{', '}', '|', '\\', '^', '`', '[', ']'])
        && text.matches('#').count() <= 1
        && percent_is_fine(text)
}

/// Whether each `%` starts two hex digits.
fn percent_is_fine(text: &str) -> bool {
    let mut parts = text.split('%');
    parts.next();
    parts.all(|it| {
        let mut digits = it.chars();
        let mut is_digit = || digits.next().is_some_and(|it| it.is_ascii_hexdigit());
        is_digit() && is_digit()
    })
}

/// Whether the schemas take `text` as an address for mail, as far as one can be sure.
fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(user, host)| {
        let is_plain = |it: &str| {
            !it.is_empty()
                && it
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || b"-_.+".contains(&it))
        };
        is_plain(user)
            && is_plain(host)
            && host.contains('.')
            && ![user, host]
                .iter()
                .any(|it| it.starts_with('.') || it.ends_with('.') || it.contains(".."))
            && !host.contains(['_', '+'])
    })
}
