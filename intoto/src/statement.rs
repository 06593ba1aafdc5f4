//! Statements: a claim, bound to what it is about.

use std::fmt;

use oci::{Descriptor, Digest};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{Predicate, PredicateType, ResourceDescriptor, json};

/// How many subjects a statement may have, as other verifiers have it.
pub const MAX_SUBJECTS: usize = 1024;
/// How many digests a subject may have, as other verifiers have it.
pub const MAX_DIGESTS: usize = 32;

/// Binds a claim to the artifacts that it is about. There is at least one, each with a digest.
///
/// Written as v1, in one order of fields; v0.1 and v1 are read. Unknown fields are ignored, as the
/// specification asks of readers.
///
/// <https://github.com/in-toto/attestation/blob/v1.1.0/spec/v1/statement.md>
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement<P = Value> {
    #[serde(rename = "_type")]
    version: Version,
    subject: Vec<ResourceDescriptor>,
    predicate_type: PredicateType,
    predicate: P,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String")]
enum Version {
    #[serde(rename = "https://in-toto.io/Statement/v0.1")]
    V01,
    #[serde(rename = "https://in-toto.io/Statement/v1")]
    V1,
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(uri: String) -> Result<Self, String> {
        match uri.as_str() {
            "https://in-toto.io/Statement/v0.1" => Ok(Self::V01),
            "https://in-toto.io/Statement/v1" => Ok(Self::V1),
            _ => Err(format!(
                "`{uri}` is no version of a statement that is known"
            )),
        }
    }
}

impl<P: Predicate> Statement<P> {
    /// Claims `predicate` about the content that `subject` describes.
    pub fn about(subject: &Descriptor, predicate: P) -> Self {
        Self {
            version: Version::V1,
            subject: vec![subject.into()],
            predicate_type: P::TYPE,
            predicate,
        }
    }

    /// Claims `predicate` about each of `subjects`.
    pub fn about_all(
        subjects: Vec<ResourceDescriptor>,
        predicate: P,
    ) -> Result<Self, StatementError> {
        Self::of_type(P::TYPE, subjects, predicate)
    }
}

impl<P> Statement<P> {
    /// Claims `predicate`, which is of `predicate_type` by the caller's word, about each of
    /// `subjects`. For documents that are carried as they are; else see [`Statement::about`].
    pub fn of_type(
        predicate_type: PredicateType,
        subjects: Vec<ResourceDescriptor>,
        predicate: P,
    ) -> Result<Self, StatementError> {
        well_formed(&subjects)?;
        Ok(Self {
            version: Version::V1,
            subject: subjects,
            predicate_type,
            predicate,
        })
    }

    /// What the claim is about. Never empty.
    pub fn subjects(&self) -> &[ResourceDescriptor] {
        &self.subject
    }

    /// The claim.
    pub fn predicate(&self) -> &P {
        &self.predicate
    }

    /// What kind of claim it is.
    pub fn predicate_type(&self) -> &PredicateType {
        &self.predicate_type
    }

    /// Whether the claim is about the content that has `digest`. Names do not count.
    pub fn is_about(&self, digest: &Digest) -> bool {
        self.subject.iter().any(|it| it.has(digest))
    }
}

impl Statement {
    /// Parses the bytes of a statement with a predicate of any kind.
    ///
    /// Refuses repeated keys, anything after the document, subjects without digest, digests that
    /// are not lower-case hex of their length, and more of either than [`MAX_SUBJECTS`] and
    /// [`MAX_DIGESTS`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let raw: Raw = json::from_slice(bytes).map_err(StatementError::Malformed)?;
        well_formed(&raw.subject)?;
        Ok(Self {
            version: raw.version,
            subject: raw.subject,
            predicate_type: raw.predicate_type,
            predicate: raw.predicate,
        })
    }

    /// The claim as a `P`, if it is of that kind and shape.
    pub fn predicate_as<P: Predicate>(&self) -> Result<P, StatementError> {
        if self.predicate_type != P::TYPE {
            return Err(StatementError::OtherType {
                expected: P::TYPE,
                presented: self.predicate_type.clone(),
            });
        }
        parse_predicate(&self.predicate)
    }
}

fn parse_predicate<P: DeserializeOwned>(predicate: &Value) -> Result<P, StatementError> {
    P::deserialize(predicate).map_err(StatementError::Predicate)
}

/// Why bytes are no statement, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// No JSON, or not of this shape.
    #[error("malformed statement")]
    Malformed(#[source] serde_json::Error),
    /// It is about nothing.
    #[error("statement has no subject")]
    NoSubject,
    /// A subject is not identified.
    #[error("subject {position} of the statement has no digest")]
    NoDigest {
        /// Which, from 0.
        position: usize,
    },
    /// A digest cannot be the digest that it says it is.
    #[error("`{value}` is not lower-case hex of the length that {algorithm} has")]
    BadDigest {
        /// The algorithm that it says.
        algorithm: String,
        /// The value.
        value: String,
    },
    /// More than we read.
    #[error("statement has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The claim is of another kind.
    #[error("statement is of type `{presented}`, not `{expected}`")]
    OtherType {
        /// What was asked for.
        expected: PredicateType,
        /// What it is.
        presented: PredicateType,
    },
    /// The claim is not of the shape that its kind has.
    #[error("malformed predicate")]
    Predicate(#[source] serde_json::Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "_type")]
    version: Version,
    #[serde(deserialize_with = "subjects")]
    subject: Vec<ResourceDescriptor>,
    predicate_type: PredicateType,
    #[serde(default)]
    predicate: Value,
}

/// What parsing and making a statement have to hold alike.
fn well_formed(subjects: &[ResourceDescriptor]) -> Result<(), StatementError> {
    if subjects.is_empty() {
        return Err(StatementError::NoSubject);
    }
    if subjects.len() > MAX_SUBJECTS {
        return Err(StatementError::TooMany {
            what: "subjects",
            limit: MAX_SUBJECTS,
        });
    }
    for (position, subject) in subjects.iter().enumerate() {
        if subject.digest.is_empty() {
            return Err(StatementError::NoDigest { position });
        }
        if subject.digest.len() > MAX_DIGESTS {
            return Err(StatementError::TooMany {
                what: "digests of one subject",
                limit: MAX_DIGESTS,
            });
        }
        for (algorithm, value) in &subject.digest {
            // Algorithms that `oci` does not know may have any value: nothing is ever compared
            // with it.
            if matches!(algorithm.as_str(), "sha256" | "sha512")
                && format!("{algorithm}:{value}").parse::<Digest>().is_err()
            {
                return Err(StatementError::BadDigest {
                    algorithm: algorithm.clone(),
                    value: value.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Stops at the limit, before what is beyond costs memory.
fn subjects<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ResourceDescriptor>, D::Error> {
    struct Bounded;

    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<ResourceDescriptor>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_SUBJECTS} subjects")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut subjects = Vec::new();
            while let Some(json::Object(subject)) = seq.next_element()? {
                if subjects.len() == MAX_SUBJECTS {
                    return Err(A::Error::custom(format_args!(
                        "more than {MAX_SUBJECTS} subjects"
                    )));
                }
                subjects.push(subject);
            }
            Ok(subjects)
        }
    }

    deserializer.deserialize_seq(Bounded)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Vsa;

    fn text(subject: &Value) -> String {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subject,
            "predicateType": "https://example.test/x",
            "predicate": {},
            "unknown": 1,
        })
        .to_string()
    }

    fn parse(subject: &Value) -> Result<Statement, StatementError> {
        Statement::parse(text(subject).as_bytes())
    }

    #[test]
    fn both_versions_are_read_and_v1_is_written() {
        let digest = Digest::of(b"x");
        let v1 = text(&json!([{"digest": {"sha256": digest.hex()}}]));
        let v01 = v1.replace("Statement/v1", "Statement/v0.1");
        for good in [&v1, &v01] {
            assert!(Statement::parse(good.as_bytes()).unwrap().is_about(&digest));
        }
        let v2 = v1.replace("Statement/v1", "Statement/v2");
        assert!(Statement::parse(v2.as_bytes()).is_err());
        assert!(Statement::parse(v1.replace("\"_type\"", "\"_TYPE\"").as_bytes()).is_err());

        let written = Statement::of_type(
            PredicateType::COSIGN_SIGN,
            vec![ResourceDescriptor::of(&digest)],
            json!({}),
        );
        assert_eq!(
            serde_json::to_string(&written.unwrap()).unwrap(),
            format!(
                r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#,
                digest.hex()
            )
        );
    }

    #[test]
    fn subjects_must_be_there_and_have_digests() {
        assert!(matches!(parse(&json!([])), Err(StatementError::NoSubject)));
        assert!(matches!(
            parse(&json!(null)),
            Err(StatementError::Malformed(_))
        ));
        let listed = json!([["x", null, {"sha256": Digest::of(b"x").hex()}]]);
        assert!(matches!(parse(&listed), Err(StatementError::Malformed(_))));
        for bad in [json!([{}]), json!([{"name": "x"}]), json!([{"digest": {}}])] {
            assert!(matches!(
                parse(&bad),
                Err(StatementError::NoDigest { position: 0 })
            ));
        }
    }

    #[test]
    fn digests_must_be_lower_case_and_whole() {
        let hex = Digest::of(b"x").hex().to_owned();
        for bad in [
            hex.to_uppercase(),
            hex.replacen('a', "", 1),
            format!("{hex}0"),
        ] {
            assert!(matches!(
                parse(&json!([{"digest": {"sha256": bad}}])),
                Err(StatementError::BadDigest { .. })
            ));
        }
        // Half of a sha512 names nothing.
        assert!(matches!(
            parse(&json!([{"digest": {"sha512": hex}}])),
            Err(StatementError::BadDigest { .. })
        ));
        parse(&json!([{"digest": {"gitCommit": "ABC"}}])).unwrap();
    }

    #[test]
    fn subjects_and_digests_are_bounded() {
        let one = json!({"digest": {"sha256": Digest::of(b"x").hex()}});
        parse(&json!(vec![one.clone(); MAX_SUBJECTS])).unwrap();
        assert!(parse(&json!(vec![one; MAX_SUBJECTS + 1])).is_err());
        let digests: serde_json::Map<_, _> = (0..=MAX_DIGESTS)
            .map(|n| (n.to_string(), json!("0")))
            .collect();
        assert!(matches!(
            parse(&json!([{"digest": digests}])),
            Err(StatementError::TooMany { .. })
        ));
    }

    #[test]
    fn only_the_same_algorithm_matches() {
        let digest = Digest::of(b"x");
        let statement = parse(&json!([{"digest": {"sha3": digest.hex()}, "name": digest.hex()}]));
        assert!(!statement.unwrap().is_about(&digest));
    }

    #[test]
    fn a_predicate_is_not_read_as_another_kind() {
        let statement = parse(&json!([{"digest": {"sha256": Digest::of(b"x").hex()}}])).unwrap();
        assert!(matches!(
            statement.predicate_as::<Vsa>(),
            Err(StatementError::OtherType { .. })
        ));
    }
}
