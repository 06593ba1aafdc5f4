//! A link: what one step took and made.

use attest::key::{KeyError, PrivateKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Artifacts, Key, KeyId, Signed, UnsupportedKey};

/// Evidence of a step. [in-toto 1.0](https://github.com/in-toto/specification/blob/v1.0/in-toto-spec.md),
/// section 4.4.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a link is all that it says")]
pub struct Link {
    /// The step.
    pub name: String,
    /// What ran.
    pub command: Vec<String>,
    /// What was there before.
    pub materials: Artifacts,
    /// What was there after.
    pub products: Artifacts,
    /// What else came of it: nothing that a layout's rules see.
    #[serde(default)]
    pub byproducts: Map<String, Value>,
    /// Where it ran: nothing that a layout's rules see.
    #[serde(default)]
    pub environment: Map<String, Value>,
}

/// A signed link, and the name under which readers look for it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a file is name and content")]
pub struct LinkFile {
    /// `STEP.KEYID8.link`.
    pub name: String,
    /// The content.
    pub bytes: Vec<u8>,
}

impl Link {
    /// Signs it, in in-toto's own wrapper, which all implementations read.
    ///
    /// The same link and P-256 or Ed25519 key give the same bytes.
    pub fn sign(&self, key: &PrivateKey) -> Result<LinkFile, SignLinkError> {
        let by = Key::of(key.public_key().clone()).map_err(SignLinkError::Key)?;
        let mut content = serde_json::to_value(self).map_err(SignLinkError::Serialize)?;
        if let Value::Object(fields) = &mut content {
            fields.insert("_type".to_owned(), "link".into());
        }
        Ok(LinkFile {
            name: file_name(&self.name, by.id()),
            bytes: Signed::sign(&content, &[key])?,
        })
    }

    /// What `signed` says, if it is a link. Proves nothing by itself.
    pub fn of(signed: &Signed) -> Result<Self, LinkError> {
        if signed.kind() != "link" {
            return Err(LinkError::OtherType {
                presented: signed.kind().to_owned(),
            });
        }
        intoto::json::Object::deserialize(signed.content())
            .map(|intoto::json::Object(link)| link)
            .map_err(LinkError::Malformed)
    }
}

/// Where the link of `step` by `key` is looked for.
pub(crate) fn file_name(step: &str, key: &KeyId) -> String {
    format!("{step}.{}.link", key.prefix())
}

/// Materials or products of a link, by their names alone.
pub(crate) fn names(artifacts: &Artifacts) -> impl Iterator<Item = &str> {
    artifacts.keys().map(String::as_str)
}

/// Why a link cannot be signed.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "whoever signs handles all")]
pub enum SignLinkError {
    /// Readers would not take a signature by it.
    #[error("the key cannot sign links")]
    Key(#[source] UnsupportedKey),
    /// No JSON form.
    #[error("failed to serialize the link")]
    Serialize(#[source] serde_json::Error),
    /// Canonical JSON has no such number.
    #[error("failed to serialize the link: a number in it is not an integer")]
    Fraction,
    /// The key failed.
    #[error("failed to sign the link")]
    Sign(#[source] KeyError),
}

/// Why something signed is not a link.
#[derive(Debug, thiserror::Error)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever asks for a reason handles all"
)]
pub enum LinkError {
    /// Something else.
    #[error("metadata of type `{presented}`, not `link`")]
    OtherType {
        /// What it says.
        presented: String,
    },
    /// Fields are missing or are not what they should be.
    #[error("malformed link")]
    Malformed(#[source] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use oci::Digest;
    use serde_json::json;

    use super::*;
    use crate::{Hashes, Limits};

    fn link() -> Link {
        Link {
            name: "build".to_owned(),
            command: vec!["build".to_owned()],
            products: BTreeMap::from([("a\\n\"b".to_owned(), Hashes::of(&Digest::of(b"x")))]),
            ..Link::default()
        }
    }

    #[test]
    fn what_is_signed_is_read_and_verified() {
        let key = PrivateKey::generate().unwrap();
        let file = link().sign(&key).unwrap();
        assert_eq!(file, link().sign(&key).unwrap(), "not deterministic");
        let by = Key::of(key.public_key().clone()).unwrap();
        assert_eq!(file.name, format!("build.{}.link", by.id().prefix()));

        let signed = Signed::parse(&file.bytes, &Limits::default()).unwrap();
        assert!(signed.is_signed_by(&by));
        assert_eq!(Link::of(&signed).unwrap(), link());

        let other = PrivateKey::generate().unwrap();
        assert!(!signed.is_signed_by(&Key::of(other.public_key().clone()).unwrap()));
        let changed = String::from_utf8(file.bytes).unwrap();
        for (from, to) in [
            ("\"name\": \"build\"", "\"name\": \"other\""),
            ("\"environment\": {}", "\"environment\": {}, \"more\": 1"),
            ("\"command\"", "\"cmd\": [], \"command\""),
        ] {
            let changed = changed.replacen(from, to, 1);
            let signed = Signed::parse(changed.as_bytes(), &Limits::default()).unwrap();
            assert!(!signed.is_signed_by(&by), "{from}");
        }
    }

    #[test]
    fn what_is_not_a_link_is_refused() {
        for (text, message) in [
            ("[]", "malformed metadata of in-toto"),
            (r#"{"signatures":[]}"#, "either `signed` or `payload`"),
            (
                r#"{"signatures":[],"signed":{},"payload":"","payloadType":""}"#,
                "either `signed` or `payload`",
            ),
            (r#"{"signatures":[],"signed":{"a":1.5}}"#, "not an integer"),
            (
                r#"{"signatures":[],"payload":"","payloadType":"text/plain"}"#,
                "payload of type `text/plain`",
            ),
            (
                r#"{"signatures":[],"payload":"*","payloadType":"application/vnd.in-toto+json"}"#,
                "malformed base64",
            ),
            (
                r#"{"signatures":[],"payload":"e30=e","payloadType":"application/vnd.in-toto+json"}"#,
                "malformed base64",
            ),
            (
                r#"{"signatures":[],"signed":{"_type":"link","_type":"link"}}"#,
                "malformed metadata of in-toto",
            ),
        ] {
            let error = Signed::parse(text.as_bytes(), &Limits::default()).unwrap_err();
            assert!(error.to_string().contains(message), "{text}: {error}");
        }
        let short = Limits {
            file_bytes: 3,
            ..Limits::default()
        };
        let error = Signed::parse(b"{}  ", &short).unwrap_err();
        assert_eq!(error.to_string(), "more than 3 bytes");

        for content in [
            json!({"_type": "layout"}),
            json!({"_type": "link"}),
            json!({"_type": "link", "name": "a", "command": [], "products": {},
                "materials": {"a": {}}}),
            json!({"_type": "link", "name": "a", "command": [], "products": {},
                "materials": {"a": {"sha256": "xyz"}}}),
            json!(["link", "a", [], {}, {}]),
        ] {
            let text = json!({"signatures": [], "signed": content}).to_string();
            let signed = Signed::parse(text.as_bytes(), &Limits::default()).unwrap();
            assert!(Link::of(&signed).is_err(), "{content}");
        }
    }
}
