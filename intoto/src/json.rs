//! JSON as signed things need it: one meaning for every reader.
//!
//! Two parsers that resolve a repeated key differently read two different claims under one
//! signature, so a document with one is refused.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// How many keys the objects around one place may have together. Real documents have hundreds.
const MAX_KEYS: usize = 1 << 18;

/// Parses `bytes`, all of them, as one JSON object without repeated keys, at most 128 deep.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let keys = Cell::new(0);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Unique { keys: &keys }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    serde_json::from_slice(bytes).map(|Object(it)| it)
}

/// A `T` that is written as an object.
///
/// What derives `Deserialize` can be read from a list of its fields too, as no other reader does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "it is what is in it")]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keyed<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Keyed<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Keyed(PhantomData))
    }
}

/// Reads `null` as if the field were not there, as in-toto asks of readers.
pub(crate) fn null_is_unset<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Walks over any value and keeps nothing of it but the keys of the objects that are open.
#[derive(Clone, Copy)]
struct Unique<'a> {
    keys: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let outside = self.keys.get();
        let mut own = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if let Some(key) = own.replace(key) {
                return Err(A::Error::custom(format_args!("repeated key `{key}`")));
            }
            self.keys.set(outside + own.len());
            if self.keys.get() > MAX_KEYS {
                return Err(A::Error::custom(format_args!("more than {MAX_KEYS} keys")));
            }
            map.next_value_seed(self)?;
            self.keys.set(outside + own.len());
        }
        self.keys.set(outside);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_repeated_key_is_refused_wherever_it_stands() {
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"b":[{"a":1,"a":2}]}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"c":{"a":null,"d":0,"a":null}}}"#,
        ] {
            let error = from_slice::<Value>(bad.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("repeated key `a`"), "{error}");
        }
        from_slice::<Value>(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}],"c":1.5}"#).unwrap();
    }

    #[test]
    fn a_list_is_no_object() {
        #[derive(Debug, Deserialize)]
        struct One {
            _field: u8,
        }
        from_slice::<One>(br#"{"_field":1}"#).unwrap();
        assert!(serde_json::from_slice::<One>(b"[1]").is_ok());
        for bad in ["[1]", "1", "null"] {
            assert!(from_slice::<One>(bad.as_bytes()).is_err(), "{bad}");
        }
        let inner = from_slice::<std::collections::BTreeMap<String, Object<One>>>;
        assert!(inner(br#"{"a":{"_field":1}}"#).is_ok());
        assert!(inner(br#"{"a":[1]}"#).is_err());
    }

    #[test]
    fn depth_keys_and_tail_are_bounded() {
        let nested = |depth| {
            let text = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
            from_slice::<Value>(text.as_bytes())
        };
        nested(100).unwrap();
        assert!(nested(200).is_err());
        assert!(from_slice::<Value>(b"{} {}").is_err());
        assert!(from_slice::<Value>(b"{}x").is_err());
        let many: Vec<_> = (0..=MAX_KEYS).map(|n| format!("\"{n}\":0")).collect();
        let error = from_slice::<Value>(format!("{{{}}}", many.join(",")).as_bytes());
        assert!(error.unwrap_err().to_string().contains("more than"));
    }
}
