//! Licences, between the lists of CycloneDX and the expressions of SPDX.

use serde_json::{Value, json};
use spdx::{Expression, ParseMode};

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
    if matches!(text, "NONE" | NOASSERTION) {
        return None;
    }
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

    #[test]
    fn identifiers_are_compared_without_regard_to_case() {
        assert_eq!(expression("apache-2.0").as_deref(), Some("Apache-2.0"));
        assert_eq!(
            expression("mit OR (isc AND gpl-2.0-only WITH classpath-exception-2.0)").as_deref(),
            Some("MIT OR (ISC AND GPL-2.0-only WITH Classpath-exception-2.0)")
        );
        assert_eq!(expression("BSD-like"), None);
        assert_eq!(expression("NOASSERTION"), None);
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
