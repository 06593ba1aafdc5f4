//! How an index came to be: of images, each with provenance of its own.

use intoto::{BuildMetadata, Provenance, ResourceDescriptor, Timestamp};
use oci::Digest;
use serde_json::Value;

/// An image of an index.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever builds has to say all of it"
)]
pub struct Member {
    /// What it runs on: `linux/arm64/v8`.
    pub platform: String,
    /// Which image it is.
    pub image: Digest,
    /// How it came to be.
    pub provenance: Provenance,
}

/// Claims that the index was made of `members`, and of all that they were made of; none for no members.
///
/// Parameters that the members share are the index's. Where they differ, the index has those of the
/// member that promises the least: whose source was not committed, then who was isolated the least.
pub fn of_index(
    members: &[Member],
    invocation_id: &str,
    finished_on: &Timestamp,
    byproducts: Vec<ResourceDescriptor>,
) -> Option<Provenance> {
    let weakest = members.iter().min_by_key(|it| strength(&it.provenance))?;
    let mut provenance = weakest.provenance.clone();
    let mut dependencies: Vec<ResourceDescriptor> = members
        .iter()
        .map(|it| ResourceDescriptor {
            name: it.platform.clone(),
            ..ResourceDescriptor::of(&it.image)
        })
        .collect();
    // What one of them does not say, all together do not say either.
    let all_have_source = members.iter().all(|it| {
        let all = &it.provenance.build_definition.resolved_dependencies;
        all.iter().any(|it| it.name == "source")
    });
    for member in members {
        for dependency in &member.provenance.build_definition.resolved_dependencies {
            let is_said = all_have_source || dependency.name != "source";
            if is_said && !dependencies.contains(dependency) {
                dependencies.push(dependency.clone());
            }
        }
    }
    provenance.build_definition.resolved_dependencies = dependencies;
    // Who is isolated the least need not be the one whose source was not committed.
    let isolation = members
        .iter()
        .map(|it| isolation(&it.provenance))
        .min_by_key(|it| isolated(*it))
        .flatten()
        .cloned();
    let internal = &mut provenance.build_definition.internal_parameters;
    internal.remove("isolation");
    internal.extend(isolation.map(|it| ("isolation".to_owned(), it)));
    let metadata = members.iter().map(|it| &it.provenance.run_details.metadata);
    provenance.run_details.metadata = BuildMetadata {
        invocation_id: Some(invocation_id.to_owned()),
        started_on: metadata.clone().find_map(|it| it.started_on.clone()),
        finished_on: Some(finished_on.clone()),
    };
    provenance.run_details.byproducts = byproducts;
    Some(provenance)
}

/// How much a statement promises: more is better.
fn strength(provenance: &Provenance) -> (bool, (bool, usize)) {
    let source = provenance
        .build_definition
        .external_parameters
        .get("source");
    let dirty = source.and_then(|it| it.pointer("/git/dirty"));
    let is_clean = matches!(dirty, None | Some(Value::Bool(false)));
    (is_clean, isolated(isolation(provenance)))
}

fn isolation(provenance: &Provenance) -> Option<&Value> {
    let internal = &provenance.build_definition.internal_parameters;
    internal.get("isolation")
}

/// Whether there was no network, and how many namespaces there were: more is better.
fn isolated(isolation: Option<&Value>) -> (bool, usize) {
    let network = isolation.and_then(|it| it.get("network"));
    let namespaces = isolation.and_then(|it| it.get("namespaces")?.as_array());
    (
        network.is_some_and(|it| it == "none"),
        namespaces.map_or(0, Vec::len),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn member(platform: &str, dirty: bool, namespaces: &[&str]) -> Member {
        let provenance = json!({
            "buildDefinition": {
                "buildType": "t",
                "externalParameters": { "source": { "git": { "dirty": dirty } } },
                "internalParameters": { "isolation": { "namespaces": namespaces } },
                "resolvedDependencies": [
                    { "name": "source", "digest": { "sha256": "aa" } },
                    { "name": platform, "digest": { "sha256": "bb" } },
                ],
            },
            "runDetails": { "builder": { "id": "b" }, "metadata": { "startedOn": "2026-01-01T00:00:00Z" } },
        });
        Member {
            platform: platform.to_owned(),
            image: Digest::of(platform.as_bytes()),
            provenance: serde_json::from_value(provenance).unwrap(),
        }
    }

    #[test]
    fn an_index_promises_no_more_than_the_weakest_of_its_images() {
        let now: Timestamp = time::OffsetDateTime::UNIX_EPOCH.try_into().unwrap();
        let of = |members: &[Member]| of_index(members, "1", &now, Vec::new());
        assert_eq!(of(&[]), None);
        let clean = member("linux/amd64", false, &["user", "mount"]);
        let bare = member("linux/arm64", false, &[]);
        let dirty = member("linux/arm", true, &["user", "mount"]);
        let all = of(&[clean.clone(), bare.clone(), dirty]).unwrap();
        let external = &all.build_definition.external_parameters;
        assert_eq!(external["source"]["git"]["dirty"], true);
        let two = of(&[clean, bare.clone()]).unwrap();
        let internal = &two.build_definition.internal_parameters;
        assert_eq!(internal["isolation"]["namespaces"], json!([]));
        let dependencies = &two.build_definition.resolved_dependencies;
        let names: Vec<_> = dependencies.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "linux/amd64",
                "linux/arm64",
                "source",
                "linux/amd64",
                "linux/arm64"
            ]
        );

        // One weakness does not hide another.
        let mut without = bare;
        let definition = &mut without.provenance.build_definition;
        definition
            .resolved_dependencies
            .retain(|it| it.name != "source");
        let dirty = member("linux/amd64", true, &["user"]);
        let mixed = of(&[dirty, without]).unwrap().build_definition;
        assert_eq!(mixed.external_parameters["source"]["git"]["dirty"], true);
        assert_eq!(
            mixed.internal_parameters["isolation"]["namespaces"],
            json!([])
        );
        assert!(
            mixed
                .resolved_dependencies
                .iter()
                .all(|it| it.name != "source")
        );
    }
}
