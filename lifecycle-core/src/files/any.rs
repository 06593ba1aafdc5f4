//! Whatever a buildpack says of a layer or wants to be told: as its file has it, or a label.

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

/// For TOML. `null` is left out, also of lists, where upstream fails: the app could not be built again.
impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_toml().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_left_out_of_files() {
        let json = r#"{"b":null,"a":[1,null,{"c":null}],"n":2}"#;
        let any = Any::Json(serde_json::from_str(json).unwrap());
        let text = go::toml::to_string(&any).unwrap();
        assert_eq!(text, "a = [1.0, {}]\nn = 2.0\n");
    }
}
