//! Whatever a buildpack says of a layer or wants to be told: as its file has it, or a label.

use serde::ser::{Error as _, SerializeMap as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that buildpacks make up. TOML has dates and integers, which JSON has not; JSON has `null`.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "what it can come from")]
pub enum Any {
    /// From a file.
    Toml(toml::Value),
    /// From a label. A number is a float, as Go has it that does not know what it is to become.
    Json(serde_json::Value),
}

impl Any {
    /// The value as a file has it, as far as there is one: without `null`.
    pub fn to_toml(&self) -> Option<toml::Value> {
        match self {
            Self::Toml(value) => Some(value.clone()),
            Self::Json(value) => without_null(value),
        }
    }
}

impl From<toml::Value> for Any {
    fn from(value: toml::Value) -> Self {
        Self::Toml(value)
    }
}

impl From<toml::Table> for Any {
    fn from(table: toml::Table) -> Self {
        Self::Toml(toml::Value::Table(table))
    }
}

fn without_null(value: &serde_json::Value) -> Option<toml::Value> {
    use serde_json::Value;

    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => toml::Value::Boolean(*truth),
        Value::Number(number) => toml::Value::Float(number.as_f64().unwrap_or_default()),
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Array(list) => toml::Value::Array(list.iter().filter_map(without_null).collect()),
        Value::Object(entries) => {
            let entries = entries.iter();
            let entries = entries.filter_map(|(key, it)| Some((key.clone(), without_null(it)?)));
            toml::Value::Table(entries.collect())
        }
    })
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        toml::Value::deserialize(deserializer).map(Self::Toml)
    }
}

/// For TOML, as Go writes it there: an entry that is `null` is left out, an element cannot be.
impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Toml(value) => value.serialize(serializer),
            Self::Json(value) => Json(value).serialize(serializer),
        }
    }
}

struct Json<'a>(&'a serde_json::Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde_json::Value;

        match self.0 {
            Value::Null => serializer.serialize_none(),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::Number(number) => serializer.serialize_f64(number.as_f64().unwrap_or_default()),
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(list) => {
                if list.iter().any(Value::is_null) {
                    let problem = "toml: cannot encode array with nil element";
                    return Err(S::Error::custom(problem));
                }
                let mut items = serializer.serialize_seq(Some(list.len()))?;
                for it in list {
                    items.serialize_element(&Self(it))?;
                }
                items.end()
            }
            Value::Object(entries) => {
                let mut map = serializer.serialize_map(None)?;
                for (key, it) in entries.iter().filter(|(_, it)| !it.is_null()) {
                    map.serialize_entry(key, &Self(it))?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_left_out_of_tables_and_cannot_be_in_lists() {
        let of = |json: &str| Any::Json(serde_json::from_str(json).unwrap());
        let written = |json: &str| go::toml::to_string(&of(json));
        let text = written(r#"{"b":null,"a":[1,{"c":null}],"n":2}"#).unwrap();
        assert_eq!(text, "a = [1.0, {}]\nn = 2.0\n");
        let error = written(r#"{"a":[{"b":[null]}]}"#).unwrap_err();
        let problem = "toml: cannot encode array with nil element";
        assert_eq!(error.to_string(), problem);
        let toml = of(r#"{"a":[null,1],"b":null}"#).to_toml();
        assert_eq!(
            toml,
            Some("a = [1.0]".parse::<toml::Table>().unwrap().into())
        );
    }
}
