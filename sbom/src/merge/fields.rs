//! Merges the fields of objects that describe the same thing.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json::{Object, sort};
use crate::license;

/// Something that was said otherwise elsewhere, and is not the value that was kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Other {
    /// Where, e.g. `supplier.name`.
    pub(crate) path: String,
    /// What was said.
    pub(crate) value: String,
}

/// Merges `members` into one: lists are united, objects merged, and where values differ one is
/// kept and the others are added to `others`. The order of `members` does not matter.
pub(crate) fn merge(members: &[Object], path: &str, others: &mut Vec<Other>) -> Object {
    let mut fields: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for member in members {
        for (name, value) in member {
            fields.entry(name).or_default().push(value);
        }
    }
    fields
        .into_iter()
        .map(|(name, values)| {
            let path = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            };
            (name.to_owned(), merge_values(name, values, &path, others))
        })
        .collect()
}

fn merge_values(name: &str, values: Vec<&Value>, path: &str, others: &mut Vec<Other>) -> Value {
    let mut values: Vec<Value> = values.into_iter().cloned().collect();
    sort(&mut values);
    if values.len() > 1 {
        values.retain(|it| !says_nothing(it));
    }
    if values.len() < 2 {
        return values.pop().unwrap_or_default();
    }
    let is_ordered = ORDERED.contains(&name);
    if values.iter().any(Value::is_array) && !is_ordered {
        let mut union: Vec<Value> = Vec::new();
        for value in values {
            match value {
                Value::Array(list) => union.extend(list),
                single => union.push(single),
            }
        }
        sort(&mut union);
        if name == "licenses" {
            license::tidy(&mut union);
        }
        return Value::Array(union);
    }
    if values.iter().all(Value::is_object) && !ATOMIC.contains(&name) {
        let objects: Vec<Object> = values.into_iter().map(crate::json::object).collect();
        return Value::Object(merge(&objects, path, others));
    }
    if name == "scope" {
        // What one document requires is required.
        values.sort_by_key(|it| it.as_str() != Some("required"));
    }
    let mut values = values.into_iter();
    let kept = values.next().unwrap_or_default();
    others.extend(values.map(|value| Other {
        path: path.to_owned(),
        value: match value {
            Value::String(text) => text,
            value => value.to_string(),
        },
    }));
    kept
}

/// Lists whose order means something.
const ORDERED: [&str; 2] = ["frames", "ranges"];
/// Objects whose fields belong together.
const ATOMIC: [&str; 4] = ["packageVerificationCode", "signature", "text", "checksum"];

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => matches!(text.as_str(), "" | license::NOASSERTION),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_lost() {
        let members = [
            json!({"name":"b","tags":["x","y"],"supplier":{"name":"S","url":["u"]},"scope":"optional"}),
            json!({"name":"a","tags":["y","z"],"supplier":{"name":"T"},"scope":"required"}),
            json!({"name":"NOASSERTION","tags":[],"supplier":{},"extra":1}),
        ]
        .map(crate::json::object);
        let mut others = Vec::new();
        let merged = merge(&members, "", &mut others);
        assert_eq!(
            Value::Object(merged.clone()),
            json!({"name":"a","tags":["x","y","z"],"supplier":{"name":"S","url":["u"]},"scope":"required","extra":1})
        );
        let other = |path: &str, value: &str| Other {
            path: path.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(
            others,
            [
                other("name", "b"),
                other("scope", "optional"),
                other("supplier.name", "T")
            ]
        );
        let [a, b, c] = members;
        let mut again = Vec::new();
        assert_eq!(merge(&[c, b, a], "", &mut again), merged);
        assert_eq!(again, others);
    }
}
