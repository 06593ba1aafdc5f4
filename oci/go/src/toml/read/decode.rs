//! Makes Rust values of TOML, as BurntSushi/toml makes Go's: fields in any letters, unknown ones
//! passed over, and its words where a type does not fit.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::value::{Document, Table, Value, key_text};
use super::{TomlError, quoted};

/// The key by which the `toml` crate knows a date.
const DATE: &str = "$__toml_private_datetime";

/// Makes a `T` of a document.
pub(super) fn decode<T: DeserializeOwned>(document: Document) -> Result<T, TomlError> {
    let place = Place {
        lines: &document.lines,
        path: RefCell::new(Vec::new()),
    };
    let root = Value::Table(document.root);
    T::deserialize(Node {
        value: &root,
        place: &place,
    })
    .map_err(|error| match error {
        DecodeError::Placed(text) => TomlError { text },
        DecodeError::Bare(text) => TomlError {
            text: place.with(&text),
        },
    })
}

/// Where in the document we are.
struct Place<'a> {
    lines: &'a BTreeMap<String, usize>,
    path: RefCell<Vec<String>>,
}

impl Place<'_> {
    fn with(&self, text: &str) -> String {
        let path = self.path.borrow();
        if path.is_empty() {
            return format!("toml: {text}");
        }
        let key = key_text(&path);
        let told = quoted(&key);
        match self.lines.get(&key) {
            Some(line) => format!("toml: line {line} (last key {told}): {text}"),
            None => format!("toml: (last key {told}): {text}"),
        }
    }
}

/// Why a value does not fit; with its place, once that is known.
#[derive(Debug)]
enum DecodeError {
    Placed(String),
    Bare(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placed(text) | Self::Bare(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::Bare(text.to_string())
    }
}

#[derive(Clone, Copy)]
struct Node<'a> {
    value: &'a Value,
    place: &'a Place<'a>,
}

impl Node<'_> {
    fn mismatch(&self, wanted: &str) -> DecodeError {
        let found = self.value.go_type();
        DecodeError::Placed(self.place.with(&format!(
            "incompatible types: TOML value has type {found}; destination has type {wanted}"
        )))
    }

    fn placed<T>(&self, result: Result<T, DecodeError>) -> Result<T, DecodeError> {
        result.map_err(|error| match error {
            DecodeError::Bare(text) => DecodeError::Placed(self.place.with(&text)),
            placed @ DecodeError::Placed(_) => placed,
        })
    }

    fn integer(&self) -> Result<i64, DecodeError> {
        match self.value {
            Value::Integer(number) => Ok(*number),
            _ => Err(self.mismatch("integer")),
        }
    }

    fn float(&self) -> Result<f64, DecodeError> {
        match self.value {
            Value::Float(number) => Ok(*number),
            _ => Err(self.mismatch("float")),
        }
    }
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let place = self.place;
        let visited = match self.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(is_true) => visitor.visit_bool(*is_true),
            Value::Date(text) => {
                visitor.visit_map(MapDeserializer::new(std::iter::once((DATE, text.as_str()))))
            }
            Value::Array(items) | Value::Tables(items) => visitor.visit_seq(Items {
                items: items.iter(),
                place,
            }),
            Value::Table(table) => visitor.visit_map(Pairs::all(table, place)),
        };
        self.placed(visited)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Boolean(is_true) => visitor.visit_bool(*is_true),
            _ => Err(self.mismatch("boolean")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Text(text) => self.placed(visitor.visit_str(text)),
            _ => Err(self.mismatch("string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let number = self.integer()?;
        self.placed(visitor.visit_i64(number))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let number = self.float()?;
        self.placed(visitor.visit_f64(number))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Array(_) | Value::Tables(_) => self.deserialize_any(visitor),
            _ => Err(self.mismatch("slice")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let place = self.place;
        match self.value {
            Value::Table(table) => self.placed(visitor.visit_map(Pairs::all(table, place))),
            // Upstream reads any other value as an absent map.
            _ => visitor.visit_map(Pairs {
                rest: Vec::new().into_iter(),
                value: None,
                place,
            }),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let place = self.place;
        match self.value {
            Value::Table(table) => self.placed(visitor.visit_map(Pairs::of(table, fields, place))),
            other => Err(DecodeError::Placed(place.with(&format!(
                "type mismatch for {}: expected table but found {}",
                go_struct(name),
                other.go_type()
            )))),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Text(text) => self.placed(visitor.visit_enum(Variant(text))),
            _ => Err(self.mismatch("string")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

/// The name of a struct of ours in upstream.
fn go_struct(name: &str) -> &str {
    match name {
        "GroupElement" => "buildpack.GroupElement",
        "OrderGroup" => "buildpack.Group",
        "Info" => "buildpack.BpInfo",
        "Require" | "RequireFile" => "buildpack.Require",
        "ProvideFile" => "buildpack.Provide",
        "BomToml" | "BomEntry" => "buildpack.BOMEntry",
        "LaunchProcess" => "buildpack.ProcessEntry",
        "Label" => "buildpack.Label",
        "Unmet" => "buildpack.Unmet",
        "Slice" => "layers.Slice",
        "Process" => "launch.Process",
        "Target" => "buildpack.TargetMetadata",
        "Distro" => "buildpack.OSDistro",
        "ModuleStack" => "buildpack.StackMetadata",
        "SectionsFile" => "buildpack.PlanSections",
        "BuildPlanEntry" => "files.BuildPlanEntry",
        "RunImages" => "files.RunImageForExport",
        "LayerTypes" => "buildpack.typesTable",
        "ImageIdentifier" => "files.ImageIdentifier",
        "RunImage" => "files.RunImage",
        "TargetMetadata" => "files.TargetMetadata",
        "LayersMetadata" => "files.LayersMetadata",
        "LayerSha" => "files.LayerMetadata",
        "BuildpackLayersMetadata" => "buildpack.LayersMetadata",
        "LayerMetadata" => "buildpack.LayerMetadata",
        "Store" => "buildpack.StoreTOML",
        "RunImageFields" => "files.RunImageForRebase",
        "StackMetadata" => "files.Stack",
        "ProjectSource" => "files.ProjectSource",
        "SystemBuildpacks" => "files.System",
        "Buildpacks" => "files.SystemBuildpacks",
        "LaunchBuildpack" => "launch.Buildpack",
        other => other,
    }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Value>,
    place: &'a Place<'a>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let place = self.place;
        self.items
            .next()
            .map(|value| seed.deserialize(Node { value, place }))
            .transpose()
    }
}

/// The name by which a pair is wanted, its key, and its value.
type Pair<'a> = (&'a str, &'a str, Cow<'a, Value>);

/// The pairs of a table that are wanted, each with the name by which it is wanted.
struct Pairs<'a> {
    rest: std::vec::IntoIter<Pair<'a>>,
    value: Option<(&'a str, Cow<'a, Value>)>,
    place: &'a Place<'a>,
}

impl<'a> Pairs<'a> {
    fn all(table: &'a Table, place: &'a Place<'a>) -> Self {
        let pairs: Vec<_> = table
            .iter()
            .map(|(key, value)| (key.as_str(), key.as_str(), Cow::Borrowed(value)))
            .collect();
        Self {
            rest: pairs.into_iter(),
            value: None,
            place,
        }
    }

    /// Those that are fields: a key is the field of its name, or else of its name in other letters.
    fn of(table: &'a Table, fields: &'static [&'static str], place: &'a Place<'a>) -> Self {
        let mut pairs: Vec<Pair<'a>> = Vec::new();
        for (key, value) in table {
            let exact = fields.iter().find(|field| **field == key);
            let field = exact.or_else(|| fields.iter().find(|field| same_letters(field, key)));
            let Some(field) = field.copied() else {
                continue;
            };
            match pairs.iter_mut().find(|(name, _, _)| *name == field) {
                None => pairs.push((field, key, Cow::Borrowed(value))),
                // Given twice, in other letters: tables are taken together. What has the field's own
                // letters counts.
                Some((_, known, there)) => match value {
                    Value::Table(more) if matches!(&**there, Value::Table(_)) => {
                        if let Value::Table(both) = there.to_mut() {
                            for (key, value) in more {
                                if exact.is_some() || !both.contains_key(key) {
                                    both.insert(key.clone(), value.clone());
                                }
                            }
                        }
                        *known = key;
                    }
                    _ if exact.is_some() => (*known, *there) = (key, Cow::Borrowed(value)),
                    _ => {}
                },
            }
        }
        Self {
            rest: pairs.into_iter(),
            value: None,
            place,
        }
    }
}

/// Go's `strings.EqualFold`, for names of fields, which are ASCII.
fn same_letters(field: &str, key: &str) -> bool {
    // Two letters outside of ASCII fold to ASCII ones.
    let key = key.replace('\u{17f}', "s").replace('\u{212a}', "k");
    field.eq_ignore_ascii_case(&key)
}

impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let Some((name, key, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some((key, value));
        let name: StrDeserializer<'_, DecodeError> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let Some((key, value)) = self.value.take() else {
            return Err(DecodeError::Bare("a value without a key".to_owned()));
        };
        let place = self.place;
        place.path.borrow_mut().push(key.to_owned());
        let value = &*value;
        let read = seed.deserialize(Node { value, place });
        if read.is_ok() {
            place.path.borrow_mut().pop();
        }
        read
    }
}

struct Variant<'a>(&'a str);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        let name: StrDeserializer<'_, DecodeError> = self.0.into_deserializer();
        seed.deserialize(name).map(|value| (value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        _seed: T,
    ) -> Result<T::Value, DecodeError> {
        Err(de::Error::custom("a variant with content is not allowed"))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        _visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Err(de::Error::custom("a variant with content is not allowed"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Err(de::Error::custom("a variant with content is not allowed"))
    }
}
