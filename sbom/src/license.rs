//! Licences, between the lists of CycloneDX and the expressions of SPDX.

use serde_json::{Value, json};
use spdx::{Expression, ParseMode};

use crate::json::{Object, object, set, short_hash, text};

/// What SPDX writes where nothing is known.
pub(crate) const NOASSERTION: &str = "NOASSERTION";

const MODE: ParseMode = ParseMode {
    allow_slash_as_or_operator: false,
    allow_imprecise_license_names: false,
    allow_postfix_plus_on_gpl: true,
    allow_deprecated: true,
    allow_unknown: false,
};

/// Whether `expression` is one by the SPDX grammar, and all its licences are on SPDX's list or
/// defined in the document.
pub(crate) fn is_expression(expression: &str) -> bool {
    // The parser recurses; no real expression is as long as this.
    expression.len() <= 4096
        && expression.matches('(').count() <= 100
        && Expression::parse_mode(expression, MODE).is_ok()
}

/// Whether `id` is on SPDX's list of licences, written just as it is there.
pub(crate) fn is_license_id(id: &str) -> bool {
    spdx::license_id(id).is_some_and(|it| it.name == id)
}

/// `text` as an SPDX expression, with its licences spelled as they are on SPDX's list; none if it
/// is none. SPDX compares identifiers without regard to case.
pub(crate) fn expression(text: &str) -> Option<String> {
    let text = text.trim();
    if is_expression(text) {
        return Some(text.to_owned());
    }
    let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let mut spelled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|c: char| is_id(c) != is_id(first))
            .unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        spelled.push_str(listed(token).unwrap_or(token));
        rest = after;
    }
    is_expression(&spelled).then_some(spelled)
}

/// A licence or exception of SPDX's list, as it is spelled there.
fn listed(id: &str) -> Option<&'static str> {
    // Only what differs in case comes here, which is little of what there is.
    let licenses = spdx::identifiers::LICENSES.iter().map(|it| it.name);
    let exceptions = spdx::identifiers::EXCEPTIONS.iter().map(|it| it.name);
    let mut all = licenses.chain(exceptions);
    all.find(|it| it.eq_ignore_ascii_case(id))
}

/// The `licenses` of a CycloneDX component as an SPDX expression: all of them hold. What is not
/// on SPDX's list is added to `extracted`, the document's own licences.
pub(crate) fn to_expression<'a>(
    licenses: impl Iterator<Item = &'a Object>,
    extracted: &mut Vec<Value>,
) -> Option<String> {
    let mut terms: Vec<String> = licenses
        .filter_map(|entry| {
            if let Some(expression) = text(entry, "expression") {
                return Some(if !is_expression(expression) {
                    extract(expression, None, extracted)
                } else if expression.contains(' ') {
                    format!("({expression})")
                } else {
                    expression.to_owned()
                });
            }
            let license = entry.get("license")?.as_object()?;
            if let Some(id) = text(license, "id").filter(|it| is_license_id(it)) {
                return Some(id.to_owned());
            }
            let name = text(license, "id").or_else(|| text(license, "name"))?;
            let content = license
                .get("text")
                .and_then(Value::as_object)
                .filter(|it| !it.contains_key("encoding"))
                .and_then(|it| text(it, "content"));
            Some(extract(name, content, extracted))
        })
        .collect();
    terms.sort();
    terms.dedup();
    match terms.as_slice() {
        [] => None,
        [term] => {
            let bare = term.strip_prefix('(').and_then(|it| it.strip_suffix(')'));
            Some(bare.unwrap_or(term).to_owned())
        }
        _ => Some(terms.join(" AND ")),
    }
}

/// Defines a licence that SPDX does not list, and returns its id.
fn extract(name: &str, content: Option<&str>, extracted: &mut Vec<Value>) -> String {
    let content = content.unwrap_or(name);
    let mut id: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .take(60)
        .collect();
    if id != name || content != name {
        id = format!("{id}-{}", short_hash(&format!("{name}\n{content}")));
    }
    let id = format!("LicenseRef-{id}");
    extracted.push(json!({ "licenseId": id, "name": name, "extractedText": content }));
    id
}

/// An SPDX licence expression as the `licenses` of a CycloneDX component; none if it says nothing.
/// `extracted` are the document's own licences.
pub(crate) fn to_licenses(expression: &str, extracted: &[&Object]) -> Vec<Value> {
    let expression = expression.trim();
    if matches!(expression, "" | "NONE" | NOASSERTION) {
        return Vec::new();
    }
    if is_license_id(expression) {
        return vec![json!({ "license": { "id": expression } })];
    }
    let own = extracted
        .iter()
        .find(|it| text(it, "licenseId") == Some(expression));
    if let Some(own) = own {
        let name = text(own, "name").filter(|it| *it != NOASSERTION);
        let mut license = object(json!({ "name": name.unwrap_or(expression) }));
        if let Some(content) = text(own, "extractedText").filter(|it| Some(*it) != name) {
            set(&mut license, "text", json!({ "content": content }));
        }
        return vec![json!({ "license": license })];
    }
    if is_expression(expression) {
        return vec![json!({ "expression": expression })];
    }
    vec![json!({ "license": { "name": expression } })]
}

/// Makes a merged list of `licenses` one that CycloneDX allows: either licences, or one expression
/// alone. An expression among others becomes a licence of that name, for whether all of them hold
/// or any is not known.
pub(crate) fn tidy(licenses: &mut Vec<Value>) {
    let ids: Vec<Value> = licenses
        .iter()
        .filter_map(|it| it.get("license")?.get("id").cloned())
        .collect();
    licenses.retain(|it| it.get("expression").is_none_or(|it| !ids.contains(it)));
    if licenses.len() > 1 {
        for entry in licenses.iter_mut() {
            if let Some(expression) = entry.get("expression").and_then(Value::as_str) {
                *entry = if is_license_id(expression) {
                    json!({ "license": { "id": expression } })
                } else {
                    json!({ "license": { "name": expression } })
                };
            }
        }
    }
    crate::json::sort(licenses);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(licenses: &Value) -> (Option<String>, Vec<Value>) {
        let mut extracted = Vec::new();
        let licenses = licenses.as_array().unwrap().iter();
        let expression = to_expression(licenses.filter_map(Value::as_object), &mut extracted);
        (expression, extracted)
    }

    #[test]
    fn known_licences_stay_themselves() {
        assert_eq!(expression(&json!([])), (None, vec![]));
        for (licenses, expected) in [
            (json!([{"license":{"id":"MIT"}}]), "MIT"),
            (
                json!([{"expression":"MIT OR Apache-2.0"}]),
                "MIT OR Apache-2.0",
            ),
            (
                json!([{"license":{"id":"GPL-2.0"}},{"expression":"MIT OR ISC"}]),
                "(MIT OR ISC) AND GPL-2.0",
            ),
        ] {
            assert_eq!(expression(&licenses), (Some(expected.to_owned()), vec![]));
        }
    }

    #[test]
    fn unknown_licences_are_defined_in_the_document() {
        let (id, extracted) = expression(&json!([{"license":{"name":"Acme"}}]));
        assert_eq!(id.as_deref(), Some("LicenseRef-Acme"));
        assert_eq!(
            extracted,
            [json!({"licenseId":"LicenseRef-Acme","name":"Acme","extractedText":"Acme"})]
        );
        let definition = extracted.first().and_then(Value::as_object).unwrap();
        assert_eq!(
            to_licenses("LicenseRef-Acme", &[definition]),
            [json!({"license":{"name":"Acme"}})]
        );
        let (id, _) = expression(&json!([{"expression":"MIT OR (evil"}]));
        assert!(id.unwrap().starts_with("LicenseRef-MIT-OR--evil-"));
    }

    #[test]
    fn what_is_no_expression_is_not_written_as_one() {
        assert_eq!(to_licenses("NOASSERTION", &[]), [] as [Value; 0]);
        assert_eq!(to_licenses("MIT", &[]), [json!({"license":{"id":"MIT"}})]);
        assert_eq!(to_licenses("mit", &[]), [json!({"license":{"name":"mit"}})]);
        assert_eq!(
            to_licenses("MIT AND ISC", &[]),
            [json!({"expression":"MIT AND ISC"})]
        );
        assert!(!is_expression(&"(".repeat(100_000)));
    }

    #[test]
    fn an_expression_stands_alone() {
        let mut licenses = vec![
            json!({"expression":"MIT"}),
            json!({"expression":"MIT OR ISC"}),
            json!({"license":{"id":"MIT"}}),
        ];
        tidy(&mut licenses);
        assert_eq!(
            licenses,
            [
                json!({"license":{"id":"MIT"}}),
                json!({"license":{"name":"MIT OR ISC"}})
            ]
        );
    }
}
