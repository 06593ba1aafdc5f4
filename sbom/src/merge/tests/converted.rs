//! What goes over from one format to the other.

use serde_json::{Value, json};

use super::{cyclonedx, document, merged, named, spdx};
use crate::Format;

/// An SPDX document with one more field.
fn spdx_with(field: &str, value: Value) -> crate::Document {
    let mut root = spdx(&json!([]), &json!([])).root().clone();
    root.insert(field.to_owned(), value);
    document(Format::Spdx, &Value::from(root))
}

fn cyclonedx_with(metadata: Value) -> crate::Document {
    let mut root = cyclonedx(&json!([]), &json!([])).root().clone();
    root.insert("metadata".to_owned(), metadata);
    document(Format::CycloneDx, &Value::from(root))
}

#[test]
fn who_made_an_spdx_document_is_in_cyclonedx() {
    let creators = json!([
        "Tool: syft-1.32.0",
        "Tool: some-tool",
        "Tool: git-lfs-v3.4-beta",
        "Person: Jane Doe (jane@example.test)",
        "Organization: Acme ()",
    ]);
    let creation = json!({"created": "2020-01-01T00:00:00Z", "creators": creators});
    let from_spdx = spdx_with("creationInfo", creation);
    let merged = merged(std::slice::from_ref(&from_spdx));
    let metadata = &merged.cyclonedx.root()["metadata"];
    let tools = metadata["tools"]["components"].as_array().unwrap();
    for (name, version) in [
        ("syft", json!("1.32.0")),
        ("some-tool", Value::Null),
        ("git-lfs", json!("v3.4-beta")),
    ] {
        let is_it = |it: &&Value| it["name"] == name && it["version"] == version;
        assert_eq!(tools.iter().filter(is_it).count(), 1, "{name}: {tools:?}");
    }
    let properties = metadata["properties"].as_array().unwrap();
    for value in ["Person: Jane Doe (jane@example.test)", "Organization: Acme"] {
        let property = json!({"name": "sealpack:metadata:creator", "value": value});
        assert!(properties.contains(&property), "{properties:?}");
    }

    // What a tool says of itself in the same format is enough.
    let syft =
        json!({"type": "application", "author": "anchore", "name": "syft", "version": "1.32.0"});
    let native = cyclonedx_with(json!({"tools": {"components": [syft]}}));
    let merged = super::merged(&[from_spdx, native]);
    let tools = &merged.cyclonedx.root()["metadata"]["tools"]["components"];
    let tools = tools.as_array().unwrap().iter();
    let found: Vec<&Value> = tools.filter(|it| it["name"] == "syft").collect();
    assert_eq!(found, [&syft]);
}

#[test]
fn who_made_a_cyclonedx_document_is_in_spdx() {
    for tools in [
        json!([{"vendor": "anchore", "name": "syft", "version": "1.32.0"}]),
        json!({"components": [{"type": "application", "name": "syft", "version": "1.32.0"}]}),
    ] {
        let merged = merged(&[cyclonedx_with(json!({
            "tools": tools,
            "authors": [{"name": "Jane Doe", "email": "jane@example.test"}],
            "manufacturer": {"name": "Acme"},
        }))]);
        let creators = merged.spdx.root()["creationInfo"]["creators"]
            .as_array()
            .unwrap();
        for creator in [
            "Tool: syft-1.32.0",
            "Person: Jane Doe (jane@example.test)",
            "Organization: Acme",
        ] {
            assert!(creators.contains(&json!(creator)), "{creators:?}");
        }
    }
}

#[test]
fn who_made_what_a_cyclonedx_document_is_about_did_not_make_the_document() {
    let about = |component: Value| {
        let merged = merged(&[cyclonedx_with(json!({
            "component": component,
            "manufacture": {"name": "Acme"},
        }))]);
        let creators = merged.spdx.root()["creationInfo"]["creators"].to_string();
        assert!(!creators.contains("Acme"), "{creators}");
        named(merged.spdx.packages(), "app")[0]["originator"].clone()
    };
    let app = json!({"type": "application", "name": "app"});
    assert_eq!(about(app), "Organization: Acme");
    let other = json!({"type": "application", "name": "app", "author": "Jane"});
    assert!(!about(other).to_string().contains("Acme"));
}

#[test]
fn what_is_needed_to_build_comes_over() {
    let packages = json!(["a", "b"].map(|it| json!({"SPDXID": format!("SPDXRef-{it}"), "name": it, "downloadLocation": "NOASSERTION"})));
    let relation = json!({"spdxElementId": "SPDXRef-b", "relationshipType": "BUILD_DEPENDENCY_OF", "relatedSpdxElement": "SPDXRef-a"});
    let merged = merged(&[spdx(&packages, &json!([relation]))]);
    let name = |it| named(merged.cyclonedx.components(), it)[0]["bom-ref"].clone();
    let dependencies = merged.cyclonedx.root()["dependencies"].as_array().unwrap();
    let edge = json!({"ref": name("a"), "dependsOn": [name("b")]});
    assert!(dependencies.contains(&edge), "{dependencies:?}");
    // It stands once, as it was said.
    let relationships = merged.spdx.root()["relationships"].as_array().unwrap();
    let of_b =
        |it: &&Value| it["spdxElementId"] == "SPDXRef-b" || it["relatedSpdxElement"] == "SPDXRef-b";
    let kinds: Vec<&Value> = relationships
        .iter()
        .filter(of_b)
        .map(|it| &it["relationshipType"])
        .collect();
    assert_eq!(kinds, ["CONTAINS", "BUILD_DEPENDENCY_OF"]);
}

#[test]
fn references_and_addresses_come_over() {
    let reference = |kind: &str, locator: &str| json!({"referenceCategory": "OTHER", "referenceType": kind, "referenceLocator": locator});
    let package = json!([{
        "SPDXID": "SPDXRef-a", "name": "a",
        "downloadLocation": "git+git://git.example.test/a.git@v1",
        "externalRefs": [
            reference("http://spdx.org/rdf/references/purl", "pkg:npm/a@1"),
            reference("CPE23TYPE", "cpe:2.3:a:a:a:1:*:*:*:*:*:*:*"),
        ],
    }]);
    let merged = merged(&[spdx(&package, &json!([]))]);
    let component = named(merged.cyclonedx.components(), "a")[0];
    assert_eq!(component["purl"], "pkg:npm/a@1");
    assert_eq!(component["cpe"], "cpe:2.3:a:a:a:1:*:*:*:*:*:*:*");
    let url = &component["externalReferences"][0]["url"];
    assert_eq!(url, "git+git://git.example.test/a.git@v1");

    let made = json!([{"type": "library", "name": "m", "manufacturer": {"name": "Acme"}}]);
    let merged = super::merged(&[cyclonedx(&made, &json!([]))]);
    let package = named(merged.spdx.packages(), "m")[0];
    assert_eq!(package["originator"], "Organization: Acme");
}

#[test]
fn null_is_nothing() {
    for metadata in [Value::Null, json!({"component": null})] {
        let merged = merged(&[cyclonedx_with(metadata)]);
        assert_eq!(merged.spdx.packages().count(), 1);
    }
}
