//! How a rebased image came to be, as SLSA provenance. `docs/buildtypes/cnb-rebase-v1.md` explains
//! each field.

use intoto::{BuildDefinition, Provenance, ResourceDescriptor};
use oci::Digest;
use serde_json::{Map, Value, json};

use crate::api::PlatformApi;
use crate::provenance::{self, Invocation, Named};

/// Says how to read our parameters: the page `docs/buildtypes/cnb-rebase-v1.md`.
pub const BUILD_TYPE: &str = "https://sealpack.example/docs/buildtypes/cnb-rebase-v1.md";

/// The names that dependencies of ours have: an image that is rebased again has them already.
const OWN: [&str; 3] = ["image before", "provenance before", "run image before"];

/// All that went into a rebase: by digest.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever rebases has to say all of it"
)]
pub struct Ingredients {
    /// Who rebased, when, with what.
    pub invocation: Invocation,
    /// The image that was rebased; its name is the reference that was given.
    pub image: Named,
    /// The run image that it was on, if it says so.
    pub replaced: Option<Named>,
    /// The run image that it is on now.
    pub run_image: Named,
    /// Whether checks were overridden.
    pub force: bool,
    /// The API between platform and lifecycle.
    pub platform_api: PlatformApi,
    /// How the image that was rebased came to be, if that is proven.
    pub before: Option<Before>,
}

/// A statement about the image that is rebased. Whoever fills this in has verified it.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever rebases has to say all of it"
)]
pub struct Before {
    /// What it says.
    pub provenance: Provenance,
    /// The bundle that it was in.
    pub bundle: Digest,
    /// Who signed it.
    pub signer: String,
}

impl Before {
    /// Whether its parameters are of a kind that can be taken over.
    pub fn is_known(provenance: &Provenance) -> bool {
        let build_type = provenance.build_definition.build_type.as_str();
        [provenance::BUILD_TYPE, BUILD_TYPE].contains(&build_type)
    }
}

impl Ingredients {
    /// Claims that the image was made of these.
    ///
    /// What is proven of the image before still holds of the layers that are not the run image's, so its
    /// parameters and dependencies are taken over: a rebased image is no better than it was.
    pub fn provenance(&self) -> Provenance {
        let before = self.before.as_ref();
        let before = before.filter(|it| Before::is_known(&it.provenance));
        let definition = before.map(|it| &it.provenance.build_definition);
        let mut external = definition.map_or_else(Map::new, |it| it.external_parameters.clone());
        let mut internal = definition.map_or_else(Map::new, |it| it.internal_parameters.clone());
        let old_run_image = external.get("runImage").and_then(Value::as_str);
        let old_run_image = old_run_image.map(str::to_owned);
        let dependencies = self.dependencies(definition, old_run_image.as_deref());

        external.insert("runImage".to_owned(), json!(self.run_image.name));
        // An image that was forced once stays one.
        let was_forced =
            external.get("rebase").and_then(|it| it.get("force")) == Some(&json!(true));
        let force = self.force || was_forced;
        let rebase = json!({ "image": self.image.name, "force": force });
        external.insert("rebase".to_owned(), rebase);
        let mut rebase = json!({ "platformApi": self.platform_api.as_str() });
        if let (Some(before), Some(rebase)) = (before, rebase.as_object_mut()) {
            let built = json!({
                "buildType": before.provenance.build_definition.build_type,
                "builderId": before.provenance.run_details.builder.id,
                "signer": before.signer,
            });
            rebase.insert("before".to_owned(), built);
        }
        internal.insert("rebase".to_owned(), rebase);
        Provenance {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE.to_owned(),
                external_parameters: external,
                internal_parameters: internal,
                resolved_dependencies: dependencies,
            },
            run_details: self.invocation.details(),
        }
    }

    /// What the image before was made of, but for its run image; then what this rebase took.
    fn dependencies(
        &self,
        before: Option<&BuildDefinition>,
        old_run_image: Option<&str>,
    ) -> Vec<ResourceDescriptor> {
        let kept = before.map_or(&[][..], |it| &it.resolved_dependencies);
        let kept = kept.iter().filter(|it| {
            Some(it.name.as_str()) != old_run_image && !OWN.contains(&it.name.as_str())
        });
        let called = |name: &str, it: &Named| ResourceDescriptor {
            name: name.to_owned(),
            uri: Some(it.name.clone()),
            ..ResourceDescriptor::of(&it.digest)
        };
        let mut all: Vec<ResourceDescriptor> = kept.cloned().collect();
        // The name may come from a label, and must not pass for something else.
        let name = self.run_image.name.as_str();
        all.push(if name == "source" || OWN.contains(&name) {
            called("run image", &self.run_image)
        } else {
            self.run_image.resource()
        });
        all.push(called("image before", &self.image));
        if let Some(before) = &self.before {
            all.push(ResourceDescriptor {
                name: "provenance before".to_owned(),
                ..ResourceDescriptor::of(&before.bundle)
            });
        }
        all.extend(
            self.replaced
                .iter()
                .map(|it| called("run image before", it)),
        );
        all
    }
}

#[cfg(test)]
mod tests {
    use intoto::Timestamp;

    use super::*;

    fn named(name: &str) -> Named {
        Named {
            name: name.to_owned(),
            uri: None,
            digest: Digest::of(name.as_bytes()),
        }
    }

    fn ingredients(before: Option<Provenance>) -> Ingredients {
        let now: Timestamp = time::OffsetDateTime::UNIX_EPOCH.try_into().unwrap();
        Ingredients {
            invocation: Invocation {
                builder_id: provenance::LOCAL_BUILDER.to_owned(),
                id: "1".to_owned(),
                programs: vec![named("sealpack")],
                started_on: now.clone(),
                finished_on: now,
                byproducts: Vec::new(),
            },
            image: named("registry.example/app:v1"),
            replaced: Some(named("run:1")),
            run_image: named("run:2"),
            force: false,
            platform_api: PlatformApi::V0_15,
            before: before.map(|provenance| Before {
                provenance,
                bundle: Digest::of(b"bundle"),
                signer: "key sha256:1".to_owned(),
            }),
        }
    }

    fn built(build_type: &str) -> Provenance {
        serde_json::from_value(json!({
            "buildDefinition": {
                "buildType": build_type,
                "externalParameters": { "source": { "git": { "dirty": true } }, "runImage": "run:1" },
                "internalParameters": { "isolation": { "namespaces": ["user"] } },
                "resolvedDependencies": [
                    { "name": "source", "digest": { "sha256": "aa" } },
                    { "name": "run:1", "digest": { "sha256": "bb" } },
                ],
            },
            "runDetails": { "builder": { "id": "https://builder.example" } },
        }))
        .unwrap()
    }

    fn names(provenance: &Provenance) -> Vec<&str> {
        let dependencies = &provenance.build_definition.resolved_dependencies;
        dependencies.iter().map(|it| it.name.as_str()).collect()
    }

    #[test]
    fn a_rebased_image_is_no_better_than_it_was() {
        let first = ingredients(Some(built(provenance::BUILD_TYPE))).provenance();
        let definition = &first.build_definition;
        assert_eq!(
            definition.external_parameters["source"]["git"]["dirty"],
            true
        );
        assert_eq!(definition.external_parameters["runImage"], "run:2");
        let namespaces = &definition.internal_parameters["isolation"]["namespaces"];
        assert_eq!(*namespaces, json!(["user"]));
        let expected = [
            "source",
            "run:2",
            "image before",
            "provenance before",
            "run image before",
        ];
        assert_eq!(names(&first), expected);
        // Again: what was before is that of this rebase, and nothing is there twice.
        let second = ingredients(Some(first)).provenance();
        assert_eq!(names(&second), expected);
    }

    #[test]
    fn what_is_not_understood_is_not_taken_over() {
        for before in [None, Some(built("https://other.example/build"))] {
            let is_proven = before.is_some();
            let provenance = ingredients(before).provenance();
            let external = &provenance.build_definition.external_parameters;
            assert_eq!(external.keys().collect::<Vec<_>>(), ["rebase", "runImage"]);
            let has_before = names(&provenance).contains(&"provenance before");
            assert_eq!(has_before, is_proven);
        }
    }
}
