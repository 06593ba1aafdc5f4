//! What is claimed about builders and packages that are made: what is in them, and what they were made of.

use std::collections::BTreeSet;

use oci::Digest;
use serde_json::Value;
use testkit::{Output, Workspace};

use super::{MADE, image, workspace};
use crate::build::json;

/// The one statement of this kind about an image, whose signature is checked.
fn statement(workspace: &Workspace, image: &str, claim: &str) -> Value {
    let verify = ["verify", image, "--key", "test.pub", "--claim", claim];
    let verify = [&verify[..], &["--output", "json"]].concat();
    let report = json(&Output::of(&mut workspace.sealpack(verify)).expect(0));
    report["claims"][0]["statements"][0]["statement"].clone()
}

/// Dependencies by name: each with its digest and where it is from.
fn dependencies(provenance: &Value) -> Vec<(String, String, Option<String>)> {
    let all = &provenance["predicate"]["buildDefinition"]["resolvedDependencies"];
    let of = |it: &Value| {
        let text = |it: &Value| it.as_str().map(str::to_owned);
        (
            text(&it["name"]).unwrap(),
            text(&it["digest"]["sha256"]).unwrap(),
            text(&it["uri"]),
        )
    };
    all.as_array().unwrap().iter().map(of).collect()
}

#[tokio::test]
async fn what_is_made_says_what_it_was_made_of() {
    let workspace = workspace().await;
    let one = ["buildpack", "package", "oci:packages:one", "--path", "one"];
    let one = json(&Output::of(workspace.sealpack(one).args(["--output", "json"])).expect(0));
    let toml = fs_err::read_to_string(workspace.join("builder.toml")).unwrap();
    let toml = toml.replacen("uri = \"one\"", "uri = \"oci:packages:one\"", 1);
    workspace.write("builder.toml", toml);
    for (name, arguments) in MADE {
        let destination = format!("oci:out:{name}");
        let more = [
            "--key",
            "test.key",
            "--label",
            "a=b",
            "--builder-id",
            "https://x.example",
        ];
        let made = [arguments, &more, &[&destination]].concat();
        Output::of(&mut workspace.sealpack(made)).expect(0);
        let provenance = statement(&workspace, &destination, "provenance");
        let definition = &provenance["predicate"]["buildDefinition"];
        let parameters = &definition["externalParameters"];
        let kind = name
            .split('-')
            .next()
            .unwrap()
            .replace("package", "buildpack");
        assert_eq!(parameters["kind"], kind);
        assert_eq!(parameters["labels"]["a"], "b");
        let builder = &provenance["predicate"]["runDetails"]["builder"];
        assert_eq!(builder["id"], "https://x.example");

        let found = dependencies(&provenance);
        let names: Vec<_> = found.iter().map(|(name, ..)| name.as_str()).collect();
        let expected = match kind.as_str() {
            "builder" => &[
                "description",
                "base",
                "lifecycle",
                "example/one@1.2.3",
                "example/two@0.0.1",
                "example/two@0.0.2",
                "example/all@1.0.0",
                "example/ext@0.9.0",
            ][..],
            "buildpack" => &[
                "description",
                "example/all@1.0.0",
                "example/one@1.2.3",
                "example/two@0.0.1",
            ],
            _ => &["description", "example/ext@0.9.0"],
        };
        assert_eq!(names, expected, "{name}");
        let (_, digest, uri) = &found[0];
        let uri = uri.as_ref().unwrap();
        let described = fs_err::read(workspace.join(uri)).unwrap();
        assert_eq!(*digest, Digest::of(&described).hex(), "{uri}");
        if kind == "builder" {
            let (_, base) = image(&workspace, "base", "1").await;
            let lifecycle = Digest::of(&fs_err::read(workspace.join("lifecycle.tar")).unwrap());
            assert_eq!(found[1].1, base.descriptor().digest.hex());
            assert_eq!(found[1].2.as_deref(), Some("oci:base:1"));
            assert_eq!(found[2].1, lifecycle.hex());
            let package = one["digest"].as_str().unwrap();
            assert_eq!(format!("sha256:{}", found[3].1), package);
            assert_eq!(parameters["runImages"][0], "registry.example/run:1");
        }
        // In both SBOMs: each of them, by name and version.
        let modules = names.iter().filter(|it| it.contains('@'));
        let modules: BTreeSet<String> = modules.map(|it| (*it).to_owned()).collect();
        let cyclonedx = statement(&workspace, &destination, "cyclonedx");
        let listed = |all: &Value, version: &str| -> BTreeSet<String> {
            let name = |it: &Value| {
                let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
                format!("{}@{}", text("name"), text(version))
            };
            all.as_array().unwrap().iter().map(name).collect()
        };
        let components = listed(&cyclonedx["predicate"]["components"], "version");
        assert!(modules.is_subset(&components), "{name}: {components:?}");
        let spdx = statement(&workspace, &destination, "spdx");
        let packages = listed(&spdx["predicate"]["packages"], "versionInfo");
        assert!(modules.is_subset(&packages), "{name}: {packages:?}");
        assert_eq!(components.contains("lifecycle@0.21.0"), kind == "builder");
        // The tree shows each.
        let tree = ["tree", &destination, "--key", "test.pub"];
        let tree = Output::of(&mut workspace.sealpack(tree)).expect(0).stdout;
        for claim in ["provenance", "cyclonedx", "spdx", "signature"] {
            assert!(tree.contains(claim), "{claim} in {tree}");
        }
    }
}
