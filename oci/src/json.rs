//! JSON objects, and nothing else: serde also reads a list as a struct, field by field, so that two
//! readers could see two things in one document.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

/// Reads an object by `read`; a list is an error.
pub(crate) fn object<'de, D, T, F>(deserializer: D, read: F) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    F: ReadObject<'de, T>,
{
    deserializer.deserialize_map(ObjectVisitor(read, PhantomData))
}

/// Reads a value from the entries of an object, whatever they come from.
pub(crate) trait ReadObject<'de, T> {
    /// Reads it.
    fn read<A: MapAccess<'de>>(self, map: MapAccessDeserializer<A>) -> Result<T, A::Error>;
}

struct ObjectVisitor<F, T>(F, PhantomData<T>);

impl<'de, F: ReadObject<'de, T>, T> Visitor<'de> for ObjectVisitor<F, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        self.0.read(MapAccessDeserializer::new(map))
    }
}

/// Reads `null` as nothing: programs in Go write an empty list or map so.
pub(crate) fn null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a map of texts, in which `null` is an empty one, as it is for programs in Go.
pub(crate) fn texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let read = Option::<BTreeMap<String, Option<String>>>::deserialize(deserializer)?;
    let read = read.unwrap_or_default().into_iter();
    Ok(read
        .map(|(name, text)| (name, text.unwrap_or_default()))
        .collect())
}

/// A document as text. Where bytes or escapes are no Unicode, U+FFFD stands in their place, as programs
/// in Go read them: that can be in no digest, and must not hide what is beside it.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    if !(text.contains("\\ud") || text.contains("\\uD")) {
        return text;
    }
    let unit = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut whole = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some((before, after)) = rest.find('\\').and_then(|at| rest.split_at_checked(at)) {
        whole.push_str(before);
        let second = after.get(6..).and_then(unit);
        let (escape, len) = match (unit(after), second) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (after.get(..12), 12),
            (Some(0xd800..=0xdfff), _) => (Some("\\ufffd"), 6),
            _ => {
                let second = after.chars().nth(1).map_or(0, char::len_utf8);
                (after.get(..1 + second), 1 + second)
            }
        };
        whole.push_str(escape.unwrap_or_default());
        rest = after.get(len..).unwrap_or_default();
    }
    whole.push_str(rest);
    Cow::Owned(whole)
}

/// Lets types that derive `#[serde(remote = "Self")]` be read from objects only.
macro_rules! objects_only {
    ($($name:ident),* $(,)?) => {
        $(const _: () = {
            struct Read;

            impl<'de> $crate::json::ReadObject<'de, $name> for Read {
                fn read<A: serde::de::MapAccess<'de>>(
                    self,
                    map: serde::de::value::MapAccessDeserializer<A>,
                ) -> Result<$name, A::Error> {
                    $name::deserialize(map)
                }
            }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    $crate::json::object(deserializer, Read)
                }
            }

            impl serde::Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    $name::serialize(self, serializer)
                }
            }
        };)*
    };
}

pub(crate) use objects_only;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Descriptor, Digest, ImageManifest, Index, Platform};

    #[test]
    fn what_is_no_unicode_is_replaced_and_nothing_else() {
        let cases: [(&[u8], &str); 5] = [
            (
                &br#"{"a":"\ud83d\ude00 \\ud800"}"#[..],
                r#"{"a":"\ud83d\ude00 \\ud800"}"#,
            ),
            (
                br#"["\ud800","\udc00x","\uD83D\uD83D\uDE00"]"#,
                r#"["\ufffd","\ufffdx","\ufffd\uD83D\uDE00"]"#,
            ),
            (b"\"\xff\"", "\"\u{fffd}\""),
            (br"\ud", r"\ud"),
            ("\\ud800\\é\\".as_bytes(), "\\ufffd\\é\\"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(super::text(bytes), expected);
        }
    }

    #[test]
    fn no_list_is_read_as_an_object() {
        fn read<T: serde::de::DeserializeOwned>(value: &Value) -> bool {
            serde_json::from_str::<T>(&value.to_string()).is_ok()
        }
        let platform = json!(["amd64", "linux"]);
        assert!(!read::<Platform>(&platform));
        let descriptor = json!(["application/x.a", Digest::of(b""), 0]);
        assert!(!read::<Descriptor>(&descriptor));
        let index = json!([2, null, []]);
        assert!(!read::<Index>(&index));
        let config =
            json!({ "mediaType": "application/x.a", "digest": Digest::of(b""), "size": 0 });
        assert!(read::<Descriptor>(&config));
        let image = json!([2, null, config, []]);
        assert!(!read::<ImageManifest>(&image));
        // All of them are what serde itself would take for one.
        assert!(Platform::deserialize(platform).is_ok());
        assert!(Descriptor::deserialize(descriptor).is_ok());
        assert!(Index::deserialize(index).is_ok());
        assert!(ImageManifest::deserialize(image).is_ok());
    }
}
