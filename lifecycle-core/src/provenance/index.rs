//! How an index came to be: of images, each with provenance of its own.

use intoto::{BuildMetadata, Provenance, ResourceDescriptor, Timestamp};
use oci::Digest;
use serde_json::{Map, Value};

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
    for member in members {
        for dependency in &member.provenance.build_definition.resolved_dependencies {
            if !dependencies.contains(dependency) {
                dependencies.push(dependency.clone());
            }
        }
    }
    provenance.build_definition.resolved_dependencies = dependencies;
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
fn strength(provenance: &Provenance) -> (bool, usize) {
    let definition = &provenance.build_definition;
    let dirty = find(&definition.external_parameters, "/source/git/dirty");
    let namespaces = find(&definition.internal_parameters, "/isolation/namespaces");
    let is_clean = matches!(dirty, None | Some(Value::Bool(false)));
    let namespaces = namespaces.and_then(|it| it.as_array().map(Vec::len));
    (is_clean, namespaces.unwrap_or_default())
}

fn find(parameters: &Map<String, Value>, path: &str) -> Option<Value> {
    let (first, rest) = path.strip_prefix('/')?.split_once('/')?;
    let value = parameters.get(first)?;
    value.pointer(&format!("/{rest}")).cloned()
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
        let two = of(&[clean, bare]).unwrap();
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
    }
}
