//! How an image came to be, as SLSA provenance. `docs/buildtypes/cnb-v1.md` explains each field.

mod index;

use std::collections::BTreeMap;

use intoto::{
    BuildDefinition, BuildMetadata, Builder, DigestSet, Provenance, ResourceDescriptor, RunDetails,
    Timestamp,
};
use oci::Digest;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::api::PlatformApi;

pub use index::{Member, of_index};

/// Says how to read our parameters: the page `docs/buildtypes/cnb-v1.md`.
pub const BUILD_TYPE: &str = "https://sealpack.example/docs/buildtypes/cnb-v1.md";

/// The builder that a build on somebody's own machine names: who holds the key, vouches.
pub const LOCAL_BUILDER: &str = "https://sealpack.example/docs/buildtypes/cnb-v1.md#local-builder";

/// All that went into a build, and what it ran in: by digest.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever builds has to say all of it"
)]
pub struct Ingredients {
    /// Who built, when, with what.
    pub invocation: Invocation,
    /// The app's source.
    pub source: Source,
    /// The `project.toml`, if there was one.
    pub project: Option<Named>,
    /// The `builder.toml`.
    pub builder: Named,
    /// The buildpacks that took part, in order.
    pub buildpacks: Vec<Named>,
    /// The extensions that took part, in order.
    pub extensions: Vec<Named>,
    /// What the app runs on.
    pub run_image: Named,
    /// The version of the lifecycle.
    pub lifecycle_version: String,
    /// The API between platform and lifecycle.
    pub platform_api: PlatformApi,
    /// What the user gave the buildpacks: a value for what was written on the command line, none
    /// for what was passed on from the user's own environment and may be secret.
    pub env: BTreeMap<String, Option<String>>,
    /// The default process that the user asked for.
    pub process_type: Option<String>,
    /// Which network buildpacks saw: `none` or `host`.
    pub network: String,
    /// What else of the machine they saw, as the user said it: `SOURCE:TARGET` and `:rw`, if it could be
    /// written.
    pub volumes: Vec<String>,
    /// How buildpacks were kept from the machine.
    pub isolation: Value,
    /// Whether layers of an earlier build could be used.
    pub cache: bool,
}

/// One run of whatever makes an image: a build, a rebase, the making of a builder.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever makes something has to say all of it"
)]
pub struct Invocation {
    /// Who vouches for it, by URI.
    pub builder_id: String,
    /// Tells this run from all others.
    pub id: String,
    /// The programs that did it.
    pub programs: Vec<Named>,
    /// When it began.
    pub started_on: Timestamp,
    /// When the image was done.
    pub finished_on: Timestamp,
    /// What came out besides the image.
    pub byproducts: Vec<Named>,
}

impl Invocation {
    /// What provenance says of it; programs of whoever builds have versions, of which ours is one.
    pub fn details(&self) -> RunDetails {
        let resources = |all: &[Named]| all.iter().map(Named::resource).collect();
        let ours = ("sealpack".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        RunDetails {
            builder: Builder {
                id: self.builder_id.clone(),
                builder_dependencies: resources(&self.programs),
                version: BTreeMap::from([ours]),
            },
            metadata: BuildMetadata {
                invocation_id: Some(self.id.clone()),
                started_on: Some(self.started_on.clone()),
                finished_on: Some(self.finished_on.clone()),
            },
            byproducts: resources(&self.byproducts),
        }
    }
}

/// The source of an app.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever builds has to say all of it"
)]
pub struct Source {
    /// The content of the app's folder.
    pub tree: Digest,
    /// Where it stands in version control, if it does.
    pub git: Option<Git>,
}

/// A place in version control.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever builds has to say all of it"
)]
pub struct Git {
    /// The repository, without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The commit, in hex.
    pub commit: String,
    /// The app's folder in the repository; empty for its root.
    pub path: String,
    /// Whether the folder holds anything that is not in the commit.
    pub dirty: bool,
}

/// Something with a name and a digest.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever builds has to say all of it"
)]
pub struct Named {
    /// The name.
    pub name: String,
    /// Where it comes from, or which package it is.
    pub uri: Option<String>,
    /// Its content.
    pub digest: Digest,
}

impl Ingredients {
    /// Claims that the image was made of these.
    pub fn provenance(&self) -> Provenance {
        let mut run_details = self.invocation.details();
        let lifecycle = ("lifecycle".to_owned(), self.lifecycle_version.clone());
        run_details.builder.version.extend([lifecycle]);
        Provenance {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE.to_owned(),
                external_parameters: self.external_parameters(),
                internal_parameters: self.internal_parameters(),
                resolved_dependencies: self.resolved_dependencies(),
            },
            run_details,
        }
    }

    fn external_parameters(&self) -> Map<String, Value> {
        let mut source = json!({ "tree": self.source.tree });
        if let (Some(git), Some(source)) = (&self.source.git, source.as_object_mut()) {
            source.insert("git".to_owned(), json!(git));
        }
        let modules: Vec<_> = self.buildpacks.iter().map(|it| it.name.clone()).collect();
        // A policy refuses what it does not know: so it hears of these only where there are some.
        let volumes = (!self.volumes.is_empty()).then(|| json!(self.volumes));
        let extensions: Vec<_> = self.extensions.iter().map(|it| it.name.clone()).collect();
        let extensions = (!extensions.is_empty()).then(|| json!(extensions));
        let parameters = [
            ("source".to_owned(), source),
            ("builder".to_owned(), json!({ "uri": self.builder.uri })),
            ("runImage".to_owned(), json!(self.run_image.name)),
            ("buildpacks".to_owned(), json!(modules)),
            ("env".to_owned(), json!(self.env)),
            ("processType".to_owned(), json!(self.process_type)),
            ("network".to_owned(), json!(self.network)),
        ];
        let volumes = volumes.map(|it| ("volumes".to_owned(), it));
        let extensions = extensions.map(|it| ("extensions".to_owned(), it));
        parameters
            .into_iter()
            .chain(volumes)
            .chain(extensions)
            .collect()
    }

    fn internal_parameters(&self) -> Map<String, Value> {
        let root = self.isolation.get("root").and_then(Value::as_str);
        let environment = match root {
            Some("image" | "image-of-one-user") => "builder-image",
            _ => "host",
        };
        Map::from_iter([
            ("platformApi".to_owned(), json!(self.platform_api.as_str())),
            ("buildEnvironment".to_owned(), json!(environment)),
            ("isolation".to_owned(), self.isolation.clone()),
            ("cache".to_owned(), json!(self.cache)),
        ])
    }

    fn resolved_dependencies(&self) -> Vec<ResourceDescriptor> {
        let mut source = ResourceDescriptor {
            name: "source".to_owned(),
            ..ResourceDescriptor::of(&self.source.tree)
        };
        if let Some(git) = &self.source.git {
            // A commit says what the source is only if nothing else lay in the folder.
            if !git.dirty {
                source
                    .digest
                    .insert("gitCommit".to_owned(), git.commit.clone());
            }
            source.uri = git.uri.as_ref().map(|it| format!("git+{it}"));
        }
        let others = self
            .project
            .iter()
            .chain([&self.builder, &self.run_image])
            .chain(&self.buildpacks)
            .chain(&self.extensions);
        std::iter::once(source)
            .chain(others.map(Named::resource))
            .collect()
    }
}

impl Named {
    /// As provenance names it.
    pub fn resource(&self) -> ResourceDescriptor {
        ResourceDescriptor {
            name: self.name.clone(),
            uri: self.uri.clone(),
            digest: DigestSet::from([(
                self.digest.algorithm().name().to_owned(),
                self.digest.hex().to_owned(),
            )]),
            ..ResourceDescriptor::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingredients() -> Ingredients {
        let named = |name: &str| Named {
            name: name.to_owned(),
            uri: None,
            digest: Digest::of(name.as_bytes()),
        };
        Ingredients {
            invocation: Invocation {
                builder_id: LOCAL_BUILDER.to_owned(),
                id: "1".to_owned(),
                programs: vec![named("lifecycle")],
                started_on: time::OffsetDateTime::UNIX_EPOCH.try_into().unwrap(),
                finished_on: time::OffsetDateTime::UNIX_EPOCH.try_into().unwrap(),
                byproducts: vec![named("report.toml")],
            },
            source: Source {
                tree: Digest::of(b"tree"),
                git: Some(Git {
                    uri: Some("https://git.example/app".to_owned()),
                    commit: "0".repeat(40),
                    path: String::new(),
                    dirty: false,
                }),
            },
            project: Some(named("project.toml")),
            builder: named("builder"),
            buildpacks: vec![named("example/rust@0.1.0")],
            extensions: Vec::new(),
            run_image: named("run"),
            lifecycle_version: "0.21.17".to_owned(),
            platform_api: PlatformApi::V0_15,
            env: BTreeMap::from([("SECRET".to_owned(), None)]),
            process_type: None,
            network: "none".to_owned(),
            volumes: Vec::new(),
            isolation: json!({}),
            cache: true,
        }
    }

    #[test]
    fn all_that_went_in_has_a_digest() {
        let provenance = ingredients().provenance();
        let dependencies = &provenance.build_definition.resolved_dependencies;
        let names: Vec<_> = dependencies.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "source",
                "project.toml",
                "builder",
                "run",
                "example/rust@0.1.0"
            ]
        );
        assert!(
            dependencies
                .iter()
                .all(|it| it.digest.contains_key("sha256"))
        );
        assert_eq!(
            dependencies[0].digest.get("gitCommit"),
            Some(&"0".repeat(40))
        );
    }

    #[test]
    fn a_run_says_who_when_and_with_what() {
        let ingredients = ingredients();
        let details = ingredients.invocation.details();
        assert_eq!(details.builder.id, LOCAL_BUILDER);
        assert_eq!(details.builder.builder_dependencies[0].name, "lifecycle");
        assert_eq!(details.byproducts[0].name, "report.toml");
        assert_eq!(details.metadata.invocation_id.as_deref(), Some("1"));
        assert!(details.metadata.started_on.is_some() && details.metadata.finished_on.is_some());
        let version = ingredients.provenance().run_details.builder.version;
        let names: Vec<_> = version.keys().collect();
        assert_eq!(names, ["lifecycle", "sealpack"]);
    }

    #[test]
    fn a_commit_is_no_digest_of_a_dirty_folder() {
        let mut ingredients = ingredients();
        ingredients.source.git.as_mut().unwrap().dirty = true;
        let provenance = ingredients.provenance();
        let source = &provenance.build_definition.resolved_dependencies[0];
        assert!(!source.digest.contains_key("gitCommit"));
        assert_eq!(
            provenance.build_definition.external_parameters["source"]["git"]["dirty"],
            true
        );
    }
}
