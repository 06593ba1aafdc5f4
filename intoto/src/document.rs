//! Which document a predicate is: what has to be in one of a known kind before it is signed as that.
//!
//! Who reads claims tolerates more, and believes none of it unasked; who signs one says that it is one.

use std::fmt;

use serde_json::Value;

use crate::PredicateType;

/// What a field has to hold.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// A text, and not an empty one.
    Text,
    /// A text, which may be empty: `BuildKit` writes `"builder": {"id": ""}`.
    TextOrNone,
    /// A text that begins so.
    Begins(&'static str),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    Object,
    /// An object; Go writes none as `null`.
    ObjectOrNull,
    List,
}

/// A kind of document, what people call one, and fields that each has: of several in a row, one.
type Known = (
    PredicateType,
    &'static str,
    &'static [&'static [(&'static str, Shape)]],
);

static KNOWN: [Known; 7] = [
    (
        PredicateType::CYCLONEDX,
        "a CycloneDX document",
        &[&[("bomFormat", Shape::Begins("CycloneDX"))]],
    ),
    (
        PredicateType::SPDX,
        "an SPDX document",
        // As of 3.0 it is JSON-LD.
        &[
            &[
                ("spdxVersion", Shape::Begins("SPDX-")),
                ("@graph", Shape::List),
            ],
            &[
                ("spdxVersion", Shape::Begins("SPDX-")),
                ("@context", Shape::Text),
            ],
        ],
    ),
    (
        PredicateType::SLSA_PROVENANCE_V1,
        "SLSA provenance v1",
        &[
            &[("buildDefinition.buildType", Shape::Text)],
            &[("buildDefinition.externalParameters", Shape::ObjectOrNull)],
            &[("runDetails.builder.id", Shape::TextOrNone)],
        ],
    ),
    (
        PredicateType::SLSA_PROVENANCE_V02,
        "SLSA provenance v0.2",
        &[
            &[("builder.id", Shape::TextOrNone)],
            &[("buildType", Shape::Text)],
        ],
    ),
    (
        PredicateType::SLSA_VSA_V1,
        "a SLSA verification summary",
        &[
            &[("verifier.id", Shape::Text)],
            &[("resourceUri", Shape::Text)],
            &[("policy", Shape::Object)],
            &[("verificationResult", Shape::OneOf(&["PASSED", "FAILED"]))],
            &[("verifiedLevels", Shape::List)],
        ],
    ),
    (
        PredicateType::COSIGN_VULN,
        "a vulnerability report of cosign's form",
        &[
            // The text of its specification has several, the program one.
            &[("scanner", Shape::Object), ("scanners", Shape::List)],
            &[("metadata", Shape::Object)],
        ],
    ),
    (
        PredicateType::OPENVEX,
        "an OpenVEX document",
        &[
            &[("@context", Shape::Begins("https://openvex.dev/ns"))],
            &[("author", Shape::Text)],
            &[("statements", Shape::List)],
        ],
    ),
];

impl PredicateType {
    /// Why `predicate` is not what this kind of claim holds; nothing if it is, or if nobody here knows the
    /// kind. Looks only at what a document of the kind always has.
    pub fn misfit(&self, predicate: &Value) -> Option<Misfit> {
        let (_, document, fields) = KNOWN.iter().find(|(kind, _, _)| kind == self)?;
        fields.iter().find_map(|any| {
            let is_there = |(path, shape): &(&str, Shape)| {
                at(predicate, path).is_some_and(|it| shape.holds(it))
            };
            let (field, shape) = any.first().filter(|_| !any.iter().any(is_there))?;
            Some(Misfit {
                document,
                field,
                problem: match at(predicate, field) {
                    None => "is missing".to_owned(),
                    Some(_) => shape.to_string(),
                },
            })
        })
    }

    /// The kind of claim that `predicate` is by what it holds.
    pub fn of_document(predicate: &Value) -> Option<Self> {
        let mut kinds = KNOWN.iter().map(|(kind, _, _)| kind);
        kinds.find(|it| it.misfit(predicate).is_none()).cloned()
    }
}

/// What a document lacks to be what it is said to be.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Misfit {
    /// What it is said to be, with its article.
    pub document: &'static str,
    /// Where to look.
    pub field: &'static str,
    problem: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            document,
            field,
            problem,
        } = self;
        write!(f, "not {document}: `{field}` {problem}")
    }
}

/// What is at `path`, names with dots between.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |it, name| it.get(name))
}

impl Shape {
    fn holds(self, value: &Value) -> bool {
        let text = value.as_str();
        match self {
            Self::Text => text.is_some_and(|it| !it.trim().is_empty()),
            Self::TextOrNone => text.is_some(),
            Self::Begins(start) => text.is_some_and(|it| it.starts_with(start)),
            Self::OneOf(texts) => text.is_some_and(|it| texts.contains(&it)),
            Self::Object => value.is_object(),
            Self::ObjectOrNull => value.is_object() || value.is_null(),
            Self::List => value.is_array(),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => write!(f, "is not a text, or empty"),
            Self::TextOrNone => write!(f, "is not a text"),
            Self::Begins(start) => write!(f, "does not begin with `{start}`"),
            Self::OneOf(texts) => write!(f, "is not `{}`", texts.join("` or `")),
            Self::Object | Self::ObjectOrNull => write!(f, "is not an object"),
            Self::List => write!(f, "is not a list"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> [(PredicateType, Value); 7] {
        [
            (PredicateType::CYCLONEDX, json!({"bomFormat": "CycloneDX"})),
            (PredicateType::SPDX, json!({"spdxVersion": "SPDX-2.3"})),
            (
                PredicateType::SLSA_PROVENANCE_V1,
                json!({
                    "buildDefinition": {"buildType": "t", "externalParameters": {}},
                    "runDetails": {"builder": {"id": "b"}},
                }),
            ),
            (
                PredicateType::SLSA_PROVENANCE_V02,
                json!({"builder": {"id": "b"}, "buildType": "t"}),
            ),
            (
                PredicateType::SLSA_VSA_V1,
                json!({
                    "verifier": {"id": "v"},
                    "resourceUri": "r",
                    "policy": {"uri": "p"},
                    "verificationResult": "PASSED",
                    "verifiedLevels": [],
                }),
            ),
            (
                PredicateType::COSIGN_VULN,
                json!({"scanner": {"uri": "s", "result": {}}, "metadata": {}}),
            ),
            (
                PredicateType::OPENVEX,
                json!({"@context": "https://openvex.dev/ns/v0.2.0", "author": "a", "statements": []}),
            ),
        ]
    }

    /// What is left of `value` without one field, for each field of any depth.
    fn less(value: &Value) -> Vec<Value> {
        let mut found = Vec::new();
        let Value::Object(fields) = value else {
            return found;
        };
        for (name, inner) in fields {
            let mut without = fields.clone();
            without.remove(name);
            found.push(without.into());
            for inner in less(inner) {
                let mut other = fields.clone();
                other.insert(name.clone(), inner);
                found.push(other.into());
            }
        }
        found
    }

    #[test]
    fn each_kind_is_told_from_the_others() {
        for (kind, document) in good() {
            assert_eq!(kind.misfit(&document), None, "{kind}");
            assert_eq!(PredicateType::of_document(&document), Some(kind.clone()));
            for (other, _) in good().iter().filter(|(it, _)| *it != kind) {
                assert!(other.misfit(&document).is_some(), "{other} of {kind}");
            }
            for nonsense in [json!({}), json!(null), json!([1]), json!("x")] {
                assert!(kind.misfit(&nonsense).is_some(), "{kind}");
            }
        }
        let other: PredicateType = "https://example.test/x".parse().unwrap();
        assert_eq!(other.misfit(&json!({})), None);
        assert_eq!(PredicateType::of_document(&json!({})), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let [_, _, v1, v02, vsa, _, vex] = good();
        for (kind, document) in [v1, v02] {
            for document in less(&document) {
                assert!(kind.misfit(&document).is_some(), "{document}");
            }
        }
        let said = |kind: &PredicateType, document: &Value| kind.misfit(document).unwrap();
        assert_eq!(
            said(&PredicateType::SLSA_PROVENANCE_V1, &json!({})).to_string(),
            "not SLSA provenance v1: `buildDefinition.buildType` is missing"
        );
        // Any JSON-LD has a graph.
        assert_eq!(
            said(&PredicateType::SPDX, &json!({"@graph": []})).to_string(),
            "not an SPDX document: `spdxVersion` is missing"
        );
        let mut summary = vsa.1;
        summary["verificationResult"] = "passed".into();
        assert_eq!(
            said(&vsa.0, &summary).to_string(),
            "not a SLSA verification summary: `verificationResult` is not `PASSED` or `FAILED`"
        );
        let mut document = vex.1;
        document["@context"] = "https://example.test".into();
        assert_eq!(
            said(&vex.0, &document).to_string(),
            "not an OpenVEX document: `@context` does not begin with `https://openvex.dev/ns`"
        );
    }

    #[test]
    fn other_forms_are_read() {
        for (kind, document) in [
            (PredicateType::SPDX, json!({"@context": "c", "@graph": []})),
            (
                PredicateType::COSIGN_VULN,
                json!({"scanners": [], "metadata": {}}),
            ),
            (
                PredicateType::SLSA_PROVENANCE_V1,
                json!({
                    "buildDefinition": {"buildType": "t", "externalParameters": null},
                    "runDetails": {"builder": {"id": "b"}},
                }),
            ),
            (
                PredicateType::SLSA_PROVENANCE_V1,
                json!({
                    "buildDefinition": {"buildType": "t", "externalParameters": {}},
                    "runDetails": {"builder": {"id": ""}},
                }),
            ),
            (
                PredicateType::SLSA_PROVENANCE_V02,
                json!({"builder": {"id": ""}, "buildType": "t"}),
            ),
        ] {
            assert_eq!(kind.misfit(&document), None, "{kind}");
        }
    }
}
