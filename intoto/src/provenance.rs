//! SLSA provenance, as plain data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::null_is_unset;
use crate::{Predicate, PredicateType, ResourceDescriptor, Timestamp};

/// How an artifact was built. Plain data: who claims it and whether it is true is for others.
///
/// <https://slsa.dev/spec/v1.2/build-provenance>
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What went in.
    pub build_definition: BuildDefinition,
    /// What happened.
    pub run_details: RunDetails,
}

impl Predicate for Provenance {
    const TYPE: PredicateType = PredicateType::SLSA_PROVENANCE_V1;
}

/// What went into a build: as much as is needed to run it again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// A URI that says how to read the parameters.
    pub build_type: String,
    /// What whoever asked for the build could choose.
    #[serde(deserialize_with = "null_is_unset")]
    pub external_parameters: Map<String, Value>,
    /// What the builder chose.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "Map::is_empty"
    )]
    pub internal_parameters: Map<String, Value>,
    /// What was fetched: source, images, buildpacks.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub resolved_dependencies: Vec<ResourceDescriptor>,
}

/// One run of a build.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RunDetails {
    /// Who ran it.
    pub builder: Builder,
    /// Which run it was.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "BuildMetadata::is_empty"
    )]
    pub metadata: BuildMetadata,
    /// What came out besides the subject.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub byproducts: Vec<ResourceDescriptor>,
}

/// Who ran a build. Believe it only from a signer who may speak for this `id`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Builder {
    /// A URI that stands for everything that has to be trusted.
    pub id: String,
    /// What the builder itself depends on.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub builder_dependencies: Vec<ResourceDescriptor>,
    /// The builder's components and their versions.
    #[serde(
        default,
        deserialize_with = "null_is_unset",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub version: BTreeMap<String, String>,
}

/// Which run of a build it was.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildMetadata {
    /// Names the run, for the builder's own logs. Older builders write `invocationID`.
    #[serde(
        default,
        alias = "invocationID",
        skip_serializing_if = "Option::is_none"
    )]
    pub invocation_id: Option<String>,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_on: Option<Timestamp>,
    /// When it finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_on: Option<Timestamp>,
}

impl BuildMetadata {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_unset_and_unset_is_not_written() {
        let bare = json!({
            "buildDefinition": {"buildType": "https://example.test/t", "externalParameters": {}},
            "runDetails": {"builder": {"id": "https://example.test/b"}},
        });
        let nulls = json!({
            "buildDefinition": {
                "buildType": "https://example.test/t",
                "externalParameters": {},
                "internalParameters": null,
                "resolvedDependencies": null,
            },
            "runDetails": {
                "builder": {"id": "https://example.test/b", "version": null, "builderDependencies": null},
                "metadata": null,
                "byproducts": null,
            },
        });
        let provenance = Provenance::deserialize(&nulls).unwrap();
        assert_eq!(Provenance::deserialize(&bare).unwrap(), provenance);
        assert_eq!(serde_json::to_value(&provenance).unwrap(), bare);
    }

    #[test]
    fn what_is_required_is_required() {
        for (part, field) in [
            ("buildDefinition", "buildType"),
            ("buildDefinition", "externalParameters"),
            ("runDetails", "builder"),
        ] {
            let mut value = json!({
                "buildDefinition": {"buildType": "t", "externalParameters": {}},
                "runDetails": {"builder": {"id": "b"}},
            });
            Provenance::deserialize(&value).unwrap();
            value[part].as_object_mut().unwrap().remove(field);
            assert!(Provenance::deserialize(&value).is_err(), "{field}");
        }
    }

    #[test]
    fn the_old_name_of_the_invocation_is_read() {
        let metadata = BuildMetadata::deserialize(&json!({"invocationID": "7"})).unwrap();
        assert_eq!(metadata.invocation_id.as_deref(), Some("7"));
    }
}
