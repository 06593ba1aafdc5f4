//! Small helpers on JSON. Objects are sorted maps, so a value has one text only.

use serde_json::{Map, Value};

pub(crate) type Object = Map<String, Value>;

/// The text of `object[key]`, unless it is empty.
pub(crate) fn text<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    object
        .get(key)
        .and_then(Value::as_str)
        .filter(|it| !it.is_empty())
}

/// The entries of the list `object[key]`; none if there is no such list.
pub(crate) fn list<'a>(object: &'a Object, key: &str) -> &'a [Value] {
    object
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The objects in the list `object[key]`.
pub(crate) fn objects<'a>(object: &'a Object, key: &str) -> impl Iterator<Item = &'a Object> {
    list(object, key).iter().filter_map(Value::as_object)
}

/// The texts in the list `object[key]`.
pub(crate) fn texts<'a>(object: &'a Object, key: &str) -> impl Iterator<Item = &'a str> {
    list(object, key).iter().filter_map(Value::as_str)
}

/// Sets `object[key]`, unless there is nothing to set.
pub(crate) fn set(object: &mut Object, key: &str, value: impl Into<Value>) {
    let value = value.into();
    let is_empty = match &value {
        Value::Null => true,
        Value::String(it) => it.is_empty(),
        Value::Array(it) => it.is_empty(),
        Value::Object(it) => it.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    if !is_empty {
        object.insert(key.to_owned(), value);
    }
}

/// Adds `entry` to the list `object[key]`.
pub(crate) fn push(object: &mut Object, key: &str, entry: Value) {
    let list = object
        .entry(key)
        .or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(list) = list {
        list.push(entry);
    }
}

/// Takes the list `object[key]` out.
pub(crate) fn take_list(object: &mut Object, key: &str) -> Vec<Value> {
    match object.remove(key) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// Sorts by text and removes what is there twice.
pub(crate) fn sort(list: &mut Vec<Value>) {
    list.sort_by_cached_key(Value::to_string);
    list.dedup();
}

/// The object that a `json!({…})` makes.
pub(crate) fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// The first 16 hex digits of a digest of `text`: names that depend on nothing but content.
pub(crate) fn short_hash(text: &str) -> String {
    let digest = oci::Digest::of(text.as_bytes());
    digest.hex().chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_sorted() {
        // Cargo unifies features: if a dependency turns on `serde_json/preserve_order`, what is
        // written here depends on the order of what was read.
        let value: Value = serde_json::from_str(r#"{"b":1,"a":2}"#).unwrap();
        assert_eq!(value.to_string(), r#"{"a":2,"b":1}"#);
    }
}
