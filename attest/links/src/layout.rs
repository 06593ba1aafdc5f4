//! A layout: who may do which step, with what, and what comes out.

use std::collections::{BTreeMap, BTreeSet};

use intoto::json::Object;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{Key, KeyId, Limits, Rule, Signed, UnsupportedKey};

/// The supply chain as its owner wants it.
/// [in-toto 1.0](https://github.com/in-toto/specification/blob/v1.0/in-toto-spec.md), section 4.3.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Layout {
    /// From then on it says nothing any more.
    pub expires: OffsetDateTime,
    /// The functionaries' keys, by the names that steps use.
    pub keys: BTreeMap<String, LayoutKey>,
    /// In the order in which they are done: what the last one makes is the product.
    pub steps: Vec<Step>,
    /// Commands that a verifier is asked to run.
    pub inspections: Vec<Inspection>,
}

/// A key that a layout lists.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a key is one that we can use or it is not"
)]
pub enum LayoutKey {
    /// One that we can check signatures of.
    Known(Key),
    /// One that we cannot.
    Unsupported(UnsupportedKey),
}

/// What is to be done, by whom.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// Its name: a part of the names of files.
    pub name: String,
    /// What it may take.
    pub expected_materials: Vec<Rule>,
    /// What it may make.
    pub expected_products: Vec<Rule>,
    /// Who may do it, by the names of their keys.
    pub functionaries: Vec<KeyId>,
    /// How many of them must have.
    pub threshold: u32,
    /// What is to be run. A link that says otherwise is no reason to refuse.
    pub expected_command: Vec<String>,
}

/// A command that a verifier is asked to run on the product.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Inspection {
    /// Its name.
    pub name: String,
    /// The command.
    pub run: Vec<String>,
}

#[derive(Deserialize)]
struct Wire {
    expires: String,
    keys: BTreeMap<String, Value>,
    steps: Vec<Object<WireStep>>,
    inspect: Vec<Object<WireInspection>>,
}

#[derive(Deserialize)]
struct WireStep {
    name: String,
    #[serde(default)]
    expected_materials: Vec<Rule>,
    #[serde(default)]
    expected_products: Vec<Rule>,
    #[serde(default)]
    pubkeys: Vec<String>,
    #[serde(default)]
    expected_command: Vec<String>,
    #[serde(default = "one")]
    threshold: u32,
}

#[derive(Deserialize)]
struct WireInspection {
    name: String,
    #[serde(default)]
    run: Vec<String>,
    #[serde(default)]
    expected_materials: Vec<Rule>,
    #[serde(default)]
    expected_products: Vec<Rule>,
}

fn one() -> u32 {
    1
}

impl Layout {
    /// What `signed` says, if it is a layout. Proves nothing by itself.
    pub fn of(signed: &Signed, limits: &Limits) -> Result<Self, LayoutError> {
        if signed.kind() != "layout" {
            return Err(LayoutError::OtherType {
                presented: signed.kind().to_owned(),
            });
        }
        let Object(wire) =
            Object::<Wire>::deserialize(signed.content()).map_err(LayoutError::Malformed)?;
        wire.within(limits)?;
        let mut names = BTreeSet::new();
        let steps = wire.steps.iter().map(|Object(it)| &it.name);
        let inspections = wire.inspect.iter().map(|Object(it)| &it.name);
        for name in steps.chain(inspections) {
            if !is_file_name(name) {
                return Err(LayoutError::Name { name: name.clone() });
            }
            if !names.insert(name) {
                return Err(LayoutError::Twice { name: name.clone() });
            }
        }
        Ok(Self {
            expires: expires(&wire.expires)?,
            keys: wire
                .keys
                .iter()
                .map(|(id, description)| Ok((id.clone(), layout_key(id, description)?)))
                .collect::<Result<_, _>>()?,
            steps: wire
                .steps
                .into_iter()
                .map(|Object(it)| step(it))
                .collect::<Result<_, _>>()?,
            inspections: wire
                .inspect
                .into_iter()
                .map(|Object(it)| Inspection {
                    name: it.name,
                    run: it.run,
                })
                .collect(),
        })
    }
}

impl Wire {
    fn within(&self, limits: &Limits) -> Result<(), LayoutError> {
        let of_steps = self
            .steps
            .iter()
            .map(|Object(it)| it.expected_materials.len() + it.expected_products.len());
        let of_inspections = self
            .inspect
            .iter()
            .map(|Object(it)| it.expected_materials.len() + it.expected_products.len());
        let rules = of_steps.chain(of_inspections).sum();
        let steps = self.steps.len() + self.inspect.len();
        for (what, count, limit) in [
            ("steps", steps, limits.steps),
            ("rules", rules, limits.rules),
            ("keys", self.keys.len(), limits.keys),
        ] {
            if count > limit {
                return Err(LayoutError::TooMany { what, limit });
            }
        }
        Ok(())
    }
}

/// A name becomes part of the name of a file, and of nothing else.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && !name
            .chars()
            .any(|it| matches!(it, '/' | '\\') || it.is_control())
}

/// in-toto has one form of time, in UTC.
fn expires(text: &str) -> Result<OffsetDateTime, LayoutError> {
    let malformed = || LayoutError::Expires {
        text: text.to_owned(),
    };
    if text.len() != "2030-01-01T00:00:00Z".len() || !text.ends_with('Z') {
        return Err(malformed());
    }
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .ok_or_else(malformed)
}

fn layout_key(id: &str, description: &Value) -> Result<LayoutKey, LayoutError> {
    let malformed = || LayoutError::KeyId { id: id.to_owned() };
    let key_id = KeyId::parse(id).ok_or_else(malformed)?;
    // Signatures are looked up by the name that the key has for itself: there must be one only.
    if description.get("keyid").and_then(Value::as_str) != Some(id) {
        return Err(malformed());
    }
    Ok(match Key::parse(key_id, description) {
        Ok(key) => LayoutKey::Known(key),
        Err(unsupported) => LayoutKey::Unsupported(unsupported),
    })
}

fn step(wire: WireStep) -> Result<Step, LayoutError> {
    if wire.threshold == 0 {
        return Err(LayoutError::Threshold { step: wire.name });
    }
    Ok(Step {
        functionaries: wire
            .pubkeys
            .into_iter()
            .map(|id| KeyId::parse(&id).ok_or(LayoutError::KeyId { id }))
            .collect::<Result<_, _>>()?,
        name: wire.name,
        expected_materials: wire.expected_materials,
        expected_products: wire.expected_products,
        threshold: wire.threshold,
        expected_command: wire.expected_command,
    })
}

/// Why a layout cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever asks for a reason handles all"
)]
pub enum LayoutError {
    /// Something else.
    #[error("metadata of type `{presented}`, not `layout`")]
    OtherType {
        /// What it says.
        presented: String,
    },
    /// Fields are missing or are not what they should be.
    #[error("malformed layout")]
    Malformed(#[source] serde_json::Error),
    /// More than is looked at.
    #[error("more than {limit} {what} in the layout")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are.
        limit: usize,
    },
    /// A name that cannot be part of a file's name.
    #[error("malformed name of a step: `{name}`")]
    Name {
        /// The name.
        name: String,
    },
    /// Two steps, or a step and an inspection, with one name.
    #[error("two steps are called `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// No time as in-toto writes it.
    #[error("malformed time of expiry: `{text}`")]
    Expires {
        /// What is there.
        text: String,
    },
    /// A key without a name, or with two.
    #[error("malformed key ID: `{id}`")]
    KeyId {
        /// What is there.
        id: String,
    },
    /// A step that nobody needs to have done.
    #[error("step `{step}` has a threshold of 0")]
    Threshold {
        /// Its name.
        step: String,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(layout: &Value) -> Result<Layout, LayoutError> {
        let text = json!({"signatures": [], "signed": layout}).to_string();
        let signed = Signed::parse(text.as_bytes(), &Limits::default()).unwrap();
        Layout::of(&signed, &Limits::default())
    }

    fn good() -> Value {
        json!({
            "_type": "layout",
            "expires": "2030-01-01T00:00:00Z",
            "readme": "",
            "keys": {"ab": {"keyid": "ab", "keytype": "gpg"}},
            "steps": [{
                "_type": "step", "name": "build", "threshold": 1, "pubkeys": ["ab"],
                "expected_command": ["make"],
                "expected_materials": [["ALLOW", "*"]],
                "expected_products": [["MATCH", "*", "WITH", "PRODUCTS", "FROM", "build"]],
            }],
            "inspect": [{"_type": "inspection", "name": "look", "run": ["ls"],
                "expected_materials": [], "expected_products": []}],
        })
    }

    #[test]
    fn a_layout_is_read() {
        let layout = parse(&good()).unwrap();
        assert_eq!(layout.steps[0].expected_materials[0].to_string(), "ALLOW *");
        assert_eq!(layout.inspections[0].run, ["ls"]);
        assert!(matches!(layout.keys["ab"], LayoutKey::Unsupported(_)));
        assert_eq!(layout.expires.year(), 2030);
    }

    #[test]
    fn what_is_no_layout_is_refused() {
        let cases: [(&str, Value, &str); 12] = [
            ("/_type", json!("link"), "metadata of type `link`"),
            ("/expires", json!("2030-01-01"), "malformed time of expiry"),
            (
                "/expires",
                json!("2030-01-35T00:00:00Z"),
                "malformed time of expiry",
            ),
            (
                "/expires",
                json!("2030-01-01T00:00:00+01:00"),
                "malformed time of expiry",
            ),
            ("/keys/ab/keyid", json!("cd"), "malformed key ID: `ab`"),
            (
                "/steps/0/pubkeys/0",
                json!("key"),
                "malformed key ID: `key`",
            ),
            ("/steps/0/name", json!("../up"), "malformed name of a step"),
            (
                "/steps/0/name",
                json!(".hidden"),
                "malformed name of a step",
            ),
            (
                "/steps/0/name",
                json!("look"),
                "two steps are called `look`",
            ),
            ("/steps/0/threshold", json!(0), "threshold of 0"),
            ("/steps/0/threshold", json!(-1), "malformed layout"),
            (
                "/steps/0/expected_materials/0",
                json!(["PERMIT", "*"]),
                "malformed layout",
            ),
        ];
        for (place, value, message) in cases {
            let mut layout = good();
            *layout.pointer_mut(place).unwrap() = value;
            let error = parse(&layout).unwrap_err();
            assert!(error.to_string().contains(message), "{place}: {error}");
        }
        let mut layout = good();
        let step = layout["steps"][0].clone();
        layout["steps"] = (0..1_001)
            .map(|n| {
                let mut step = step.clone();
                step["name"] = json!(format!("step-{n}"));
                step
            })
            .collect();
        assert_eq!(
            parse(&layout).unwrap_err().to_string(),
            "more than 1000 steps in the layout"
        );
    }
}
