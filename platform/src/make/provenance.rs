//! How a builder image or a package came to be, as SLSA provenance. `docs/buildtypes/cnb-made-v1.md` explains
//! each field.

use std::collections::BTreeMap;

use intoto::{BuildDefinition, Provenance, ResourceDescriptor};
use lifecycle_core::provenance::{Invocation, Named};
use serde_json::{Map, Value, json};

/// Says how to read our parameters: the page `docs/buildtypes/cnb-made-v1.md`.
pub const BUILD_TYPE: &str = "https://sealpack.example/docs/buildtypes/cnb-made-v1.md";

/// The name of the description among what something was made of.
const DESCRIPTION: &str = "description";

/// All that went into an image that was made: by digest.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever makes something has to say all of it"
)]
pub struct Ingredients<'a> {
    /// Who made it, when, with what.
    pub invocation: Invocation,
    /// What was made: `builder`, `buildpack` or `extension`.
    pub kind: &'a str,
    /// The file that says what it is made of, as the user named it; none for a folder by itself.
    pub description: Option<&'a Named>,
    /// What it is for.
    pub target: String,
    /// The labels that the user asked for.
    pub labels: &'a BTreeMap<String, String>,
    /// Which modules share a layer, as the user said it.
    pub flatten: &'a [String],
    /// The images that apps run on, by name: a builder names them, and nothing of them is in it.
    pub run_images: &'a [String],
    /// What it was made of.
    pub made_of: &'a [Named],
}

impl Ingredients<'_> {
    /// Claims that the image was made of these.
    pub fn provenance(&self) -> Provenance {
        let described = self.description.map(|it| ResourceDescriptor {
            name: DESCRIPTION.to_owned(),
            uri: Some(it.name.clone()),
            ..ResourceDescriptor::of(&it.digest)
        });
        let made_of = self.made_of.iter().map(Named::resource);
        Provenance {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE.to_owned(),
                external_parameters: self.parameters(),
                internal_parameters: Map::new(),
                resolved_dependencies: described.into_iter().chain(made_of).collect(),
            },
            run_details: self.invocation.details(),
        }
    }

    /// What was asked for. A policy refuses what it does not know, so it hears of nothing that is empty.
    fn parameters(&self) -> Map<String, Value> {
        let description = self.description.map(|it| json!(it.name));
        let some = |is_some: bool, value: Value| is_some.then_some(value);
        let all = [
            ("kind", Some(json!(self.kind))),
            ("description", description),
            ("target", Some(json!(self.target))),
            ("labels", some(!self.labels.is_empty(), json!(self.labels))),
            (
                "flatten",
                some(!self.flatten.is_empty(), json!(self.flatten)),
            ),
            (
                "runImages",
                some(!self.run_images.is_empty(), json!(self.run_images)),
            ),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use intoto::Timestamp;
    use oci::Digest;

    use super::*;

    #[test]
    fn all_that_went_in_has_a_digest_and_nothing_empty_is_a_parameter() {
        let named = |name: &str| Named {
            name: name.to_owned(),
            uri: None,
            digest: Digest::of(name.as_bytes()),
        };
        let now: Timestamp = "2026-01-01T00:00:00Z".to_owned().try_into().unwrap();
        let file = named("builder.toml");
        let ingredients = Ingredients {
            invocation: Invocation {
                builder_id: "https://example.org/maker".to_owned(),
                id: "1".to_owned(),
                programs: vec![named("sealpack")],
                started_on: now.clone(),
                finished_on: now,
                byproducts: Vec::new(),
            },
            kind: "builder",
            description: Some(&file),
            target: "linux/amd64".to_owned(),
            labels: &BTreeMap::new(),
            flatten: &[],
            run_images: &["run".to_owned()],
            made_of: &[named("base"), named("lifecycle"), named("a@1")],
        };
        let definition = ingredients.provenance().build_definition;
        let parameters: Vec<_> = definition.external_parameters.keys().collect();
        assert_eq!(parameters, ["description", "kind", "runImages", "target"]);
        let dependencies = &definition.resolved_dependencies;
        let names: Vec<_> = dependencies.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["description", "base", "lifecycle", "a@1"]);
        assert!(
            dependencies
                .iter()
                .all(|it| it.digest.contains_key("sha256"))
        );
    }
}
