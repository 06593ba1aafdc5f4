//! Tables that say what a Go type is: which JSON it is read from, and what Go calls it in errors.

use serde_json::Value;

/// A Go type, as far as `encoding/json` looks at it.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "tables are made of them")]
pub enum Type {
    /// `interface{}`: whatever comes. Numbers are floats.
    Any,
    /// None of Go's: whether there is something, whatever it is. `null` is nothing.
    Presence,
    /// `json.RawMessage`: text to be read later. It is given as a text.
    Raw,
    /// `bool`.
    Bool,
    /// A signed integer of 64 bits, and what its type is called.
    Integer(&'static str),
    /// A string, and what its type is called.
    Text(&'static str),
    /// `[]byte`: base64.
    Bytes,
    /// `time.Time`, or what has one in itself; and what its type is called.
    Time(&'static str),
    /// A type that reads itself from text.
    Own(&'static str, fn(&str) -> Result<(), String>),
    /// A slice.
    List(&'static Self),
    /// A map from strings.
    Map(&'static Self),
    /// A pointer.
    Pointer(&'static Self),
    /// A struct.
    Struct(&'static Struct),
}

/// A struct of Go's.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "tables are made of them")]
pub struct Struct {
    /// Its package.
    pub package: &'static str,
    /// Its name; empty for `struct {}`.
    pub name: &'static str,
    /// Its fields, with those of structs that it embeds.
    pub fields: &'static [Field],
}

/// A field of a struct.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "tables are made of them")]
pub struct Field {
    /// The key in JSON.
    pub key: &'static str,
    /// Of a field that comes with embedded structs: the names of these.
    pub within: &'static [&'static str],
    /// Its type.
    pub of: &'static Type,
}

impl Field {
    /// A field of the struct itself.
    pub const fn new(key: &'static str, of: &'static Type) -> Self {
        Self {
            key,
            within: &[],
            of,
        }
    }

    /// A field that comes with embedded structs.
    pub const fn embedded(
        within: &'static [&'static str],
        key: &'static str,
        of: &'static Type,
    ) -> Self {
        Self { key, within, of }
    }
}

impl Struct {
    /// The field that `key` is for: that of this very name, else one of the same letters.
    pub(super) fn field(&self, key: &str) -> Option<&'static Field> {
        let exact = self.fields.iter().find(|it| it.key == key);
        exact.or_else(|| self.fields.iter().find(|it| is_folded(it.key, key)))
    }
}

/// Whether two keys differ in nothing but the case of letters; `name` is ASCII. Two letters beyond ASCII
/// are others of it in Unicode: the sign of Kelvin, and the long s.
pub fn is_folded(name: &str, key: &str) -> bool {
    let fold = |letter: char| match letter {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        _ => letter.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(key.chars().map(fold))
}

impl Type {
    /// `[]string`.
    pub const TEXTS: Self = Self::List(&Self::STRING);
    /// `map[string]string`.
    pub const TEXTS_BY_NAME: Self = Self::Map(&Self::STRING);
    /// `string`.
    pub const STRING: Self = Self::Text("string");

    /// What Go calls it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Any | Self::Presence => "interface {}".to_owned(),
            Self::Raw => "json.RawMessage".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Bytes => "[]uint8".to_owned(),
            Self::Integer(name) | Self::Text(name) | Self::Time(name) | Self::Own(name, _) => {
                (*name).to_owned()
            }
            Self::List(of) => format!("[]{}", of.name()),
            Self::Map(of) => format!("map[string]{}", of.name()),
            Self::Pointer(to) => format!("*{}", to.name()),
            Self::Struct(Struct { name: "", .. }) => "struct {}".to_owned(),
            Self::Struct(it) => format!("{}.{}", it.package, it.name),
        }
    }

    /// What is there before anything is read.
    pub(super) fn zero(&self) -> Value {
        match self {
            Self::Bool => Value::Bool(false),
            Self::Integer(_) => Value::from(0),
            Self::Text(_) | Self::Own(..) => Value::String(String::new()),
            Self::Time(_) => Value::String("0001-01-01T00:00:00Z".to_owned()),
            Self::Struct(_) => Value::Object(serde_json::Map::new()),
            Self::Any
            | Self::Presence
            | Self::Raw
            | Self::Bytes
            | Self::List(_)
            | Self::Map(_)
            | Self::Pointer(_) => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_any_case() {
        assert!(is_folded("buildpacks", "Buildpac\u{212a}s"));
        assert!(is_folded("sbom", "\u{17f}BOM"));
        assert!(is_folded("os.version", "OS.Version"));
        assert!(!is_folded("sha", "sh\u{e4}"));
        assert!(!is_folded("sha", "sh"));
    }
}
