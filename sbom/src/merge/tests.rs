//! What comes of several documents about one image.

mod any;
mod converted;

use std::collections::BTreeSet;

use cyclonedx_bom::prelude::{Bom, Validate};
use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;

use self::any::any_document;
use super::{Merged, Sources, merge};
use crate::component::{
    Completeness, Component, Evidence, Gap, Inventory, Kind, License, Party, RelationKind,
};
use crate::purl::Purl;
use crate::{Document, Format, Limits, Subject};

fn subject() -> Subject {
    Subject {
        name: "registry.example/team/app".to_owned(),
        digest: oci::Digest::of(b"image"),
    }
}

fn document(format: Format, value: &Value) -> Document {
    let bytes = value.to_string().into_bytes();
    Document::parse(
        format,
        &bytes,
        format!("launch/{format}"),
        &Limits::default(),
    )
    .unwrap()
}

fn merged(documents: &[Document]) -> Merged {
    let created = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    let merged = merge(&subject(), created, documents);
    is_valid(&merged);
    merged
}

/// Lets readers that others wrote read what we wrote.
fn is_valid(merged: &Merged) {
    if merged.cyclonedx.spec_version() == "1.5" {
        let bom = Bom::parse_from_json(&*merged.cyclonedx.to_bytes()).expect("CycloneDX is read");
        let result = bom.validate();
        assert!(result.passed(), "{result:?}");
    }
    let spdx: spdx_rs::models::SPDX =
        serde_json::from_slice(&merged.spdx.to_bytes()).expect("SPDX is read");
    let ids: BTreeSet<String> = spdx
        .package_information
        .iter()
        .map(|it| it.package_spdx_identifier.clone())
        .chain(
            spdx.file_information
                .iter()
                .map(|it| it.file_spdx_identifier.clone()),
        )
        .chain(["SPDXRef-DOCUMENT".to_owned()])
        .collect();
    for relationship in &spdx.relationships {
        assert!(ids.contains(&relationship.spdx_element_id));
        assert!(ids.contains(&relationship.related_spdx_element));
    }
}

fn cyclonedx(components: &Value, dependencies: &Value) -> Document {
    document(
        Format::CycloneDx,
        &json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.4",
            "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
            "version": 1,
            "metadata": { "timestamp": "2020-01-01T00:00:00Z", "tools": [{"vendor": "acme", "name": "scan", "version": "1"}] },
            "components": components,
            "dependencies": dependencies,
        }),
    )
}

fn spdx(packages: &Value, relationships: &Value) -> Document {
    document(
        Format::Spdx,
        &json!({
            "spdxVersion": "SPDX-2.2",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": "n",
            "documentNamespace": "https://example.test/n",
            "creationInfo": { "created": "2020-01-01T00:00:00Z", "creators": ["Tool: acme"] },
            "packages": packages,
            "relationships": relationships,
            "hasExtractedLicensingInfos": [{ "licenseId": "LicenseRef-1", "extractedText": packages.to_string() }],
        }),
    )
}

fn named<'a>(list: impl Iterator<Item = &'a Value>, name: &str) -> Vec<&'a Value> {
    list.filter(|it| it.get("name").and_then(Value::as_str) == Some(name))
        .collect()
}

fn zlib(name: &str) -> Value {
    json!({
        "type": "library", "bom-ref": name, "name": "zlib", "version": "1.3.1",
        "purl": "pkg:generic/zlib@1.3.1",
        "licenses": [{"license": {"id": "Zlib"}}],
        "hashes": [{"alg": "SHA-256", "content": oci::Digest::of(name.as_bytes()).hex()}],
        "supplier": {"name": "zlib.net"},
        "properties": [{"name": "found-by", "value": name}],
    })
}

#[test]
fn one_package_in_many_documents_is_one_component() {
    let dependency = |from: &str, to: &str| json!([{"ref": from, "dependsOn": [to]}]);
    let app =
        |name: &str| json!({"type": "application", "bom-ref": "app", "name": name, "version": "1"});
    let documents = [
        cyclonedx(&json!([zlib("a"), app("one")]), &dependency("app", "a")),
        cyclonedx(&json!([zlib("b"), app("two")]), &dependency("app", "b")),
    ];
    let merged = merged(&documents);

    let all = named(merged.cyclonedx.components(), "zlib");
    let [zlib] = *all else { panic!("{all:?}") };
    assert_eq!(zlib["bom-ref"], "a");
    assert_eq!(zlib["hashes"].as_array().unwrap().len(), 2);
    let properties = zlib["properties"].as_array().unwrap();
    for expected in [
        json!({"name": "found-by", "value": "a"}),
        json!({"name": "found-by", "value": "b"}),
        json!({"name": "sealpack:origin", "value": "launch/CycloneDX"}),
    ] {
        assert!(properties.contains(&expected), "{properties:?}");
    }

    // Both apps were called `app`; what they depend on is now called `a`.
    let references: BTreeSet<&str> = ["one", "two"]
        .iter()
        .map(|it| {
            named(merged.cyclonedx.components(), it)[0]["bom-ref"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert_eq!(references.len(), 2);
    assert!(references.iter().all(|it| it.ends_with("-app")));
    let graph = merged.cyclonedx.root()["dependencies"].as_array().unwrap();
    for reference in &references {
        assert!(graph.contains(&json!({"ref": reference, "dependsOn": ["a"]})));
    }
    let root = graph
        .iter()
        .find(|it| it["ref"] == subject().purl())
        .unwrap();
    assert_eq!(root["dependsOn"], json!(references));

    // The same in SPDX, converted.
    let all = named(merged.spdx.packages(), "zlib");
    let [zlib] = *all else { panic!("{all:?}") };
    assert_eq!(zlib["licenseDeclared"], "Zlib");
    assert_eq!(zlib["supplier"], "Organization: zlib.net");
    assert_eq!(zlib["checksums"].as_array().unwrap().len(), 2);
    let relationships = merged.spdx.root()["relationships"].as_array().unwrap();
    let depends = relationships.iter().filter(|it| {
        it["relationshipType"] == "DEPENDS_ON" && it["relatedSpdxElement"] == zlib["SPDXID"]
    });
    assert_eq!(depends.count(), 2);
}

#[test]
fn it_is_about_the_image() {
    let merged = merged(&[]);
    let component = &merged.cyclonedx.root()["metadata"]["component"];
    assert_eq!(component["purl"], subject().purl());
    assert_eq!(component["hashes"][0]["content"], subject().digest.hex());
    assert_eq!(
        merged.cyclonedx.root()["metadata"]["timestamp"],
        "2023-11-14T22:13:20Z"
    );
    let image = merged.spdx.packages().next().unwrap();
    assert_eq!(
        image["externalRefs"][0]["referenceLocator"],
        subject().purl()
    );
    assert_eq!(
        merged.spdx.root()["relationships"],
        json!([{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-Image"}])
    );
}

#[test]
fn what_one_format_knows_is_in_both() {
    let package = json!({
        "SPDXID": "SPDXRef-a", "name": "a", "versionInfo": "1", "downloadLocation": "https://example.test/a.tgz",
        "filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "licenseDeclared": "MIT OR Apache-2.0", "copyrightText": "NONE",
        "supplier": "Organization: Acme (a@example.test)",
        "checksums": [{"algorithm": "SHA1", "checksumValue": "85ed0817af83a24ad8da68c2b5094de69833983c"}],
        "externalRefs": [{"referenceCategory": "PACKAGE_MANAGER", "referenceType": "purl", "referenceLocator": "pkg:npm/a@1"}],
    });
    let own = json!({"SPDXID": "SPDXRef-b", "name": "b", "downloadLocation": "NOASSERTION", "licenseDeclared": "LicenseRef-1"});
    let syft = json!({
        "artifacts": [{"id": "7", "name": "c", "version": "2", "type": "npm", "purl": "pkg:npm/c@2",
            "licenses": [{"value": "BSD-3-Clause", "spdxExpression": "BSD-3-Clause"}], "cpes": [{"cpe": "cpe:2.3:a:c:c:2:*:*:*:*:*:*:*"}]}],
    });
    let relationships = json!([
        {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-b"},
        {"spdxElementId": "SPDXRef-a", "relationshipType": "DEPENDENCY_OF", "relatedSpdxElement": "SPDXRef-b"},
        {"spdxElementId": "SPDXRef-b", "relationshipType": "DEPENDS_ON", "relatedSpdxElement": "SPDXRef-missing"},
    ]);
    let merged = merged(&[
        spdx(&json!([package, own]), &relationships),
        document(Format::Syft, &syft),
    ]);
    let component = |name| named(merged.cyclonedx.components(), name)[0];
    let a = component("a");
    assert_eq!(a["licenses"], json!([{"expression": "MIT OR Apache-2.0"}]));
    assert_eq!(a["purl"], "pkg:npm/a@1");
    assert_eq!(
        a["supplier"],
        json!({"name": "Acme", "contact": [{"email": "a@example.test"}]})
    );
    assert_eq!(a["hashes"][0]["alg"], "SHA-1");
    assert_eq!(
        component("b")["licenses"][0]["license"]["name"],
        "LicenseRef-1"
    );
    assert_eq!(
        component("c")["licenses"],
        json!([{"license": {"id": "BSD-3-Clause"}}])
    );
    let graph = merged.cyclonedx.root()["dependencies"].as_array().unwrap();
    assert!(graph.contains(&json!({"ref": "SPDXRef-b", "dependsOn": ["SPDXRef-a"]})));

    let package = |name| named(merged.spdx.packages(), name)[0];
    assert_eq!(
        package("a")["externalRefs"][0]["referenceCategory"],
        "PACKAGE-MANAGER"
    );
    assert_eq!(package("c")["licenseDeclared"], "BSD-3-Clause");
    assert_eq!(package("c")["versionInfo"], "2");
    let relationships = merged.spdx.root()["relationships"].as_array().unwrap();
    for id in ["SPDXRef-a", "SPDXRef-b"] {
        let contains = json!({"spdxElementId": "SPDXRef-Image", "relationshipType": "CONTAINS", "relatedSpdxElement": id});
        assert!(relationships.contains(&contains));
    }
}

#[test]
fn a_native_package_is_filled_in_from_the_other_format() {
    let known = json!({"type": "library", "bom-ref": "z", "name": "zlib", "version": "1.3.1", "purl": "pkg:generic/zlib@1.3.1", "scope": "required"});
    let package = json!({
        "SPDXID": "SPDXRef-z", "name": "zlib-one", "downloadLocation": "NOASSERTION", "licenseDeclared": "Zlib", "comment": "kept",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:generic/zlib@1.3.1"}],
    });
    let merged = merged(&[
        cyclonedx(&json!([known]), &json!([])),
        spdx(&json!([package]), &json!([])),
    ]);
    let component = merged.cyclonedx.components().next().unwrap();
    assert_eq!(component["name"], "zlib");
    assert_eq!(component["licenses"], json!([{"license": {"id": "Zlib"}}]));
    let package = named(merged.spdx.packages(), "zlib-one")[0];
    assert_eq!(package["comment"], "kept");
    assert_eq!(package["versionInfo"], "1.3.1");
    assert_eq!(merged.spdx.packages().count(), 2);
}

#[test]
fn own_licences_of_one_name_are_told_apart() {
    let package = |id: &str| json!({"SPDXID": "SPDXRef-Package", "name": id, "downloadLocation": "NOASSERTION", "licenseDeclared": "LicenseRef-1 AND MIT"});
    let merged = merged(&[
        spdx(&json!([package("a")]), &json!([])),
        spdx(&json!([package("b")]), &json!([])),
    ]);
    let defined = merged.spdx.root()["hasExtractedLicensingInfos"]
        .as_array()
        .unwrap();
    assert_eq!(defined.len(), 2);
    for name in ["a", "b"] {
        let package = named(merged.spdx.packages(), name)[0];
        let license = package["licenseDeclared"].as_str().unwrap();
        let own = license.strip_suffix(" AND MIT").unwrap();
        let own = defined.iter().find(|it| it["licenseId"] == own).unwrap();
        let text = own["extractedText"].as_str().unwrap();
        assert!(text.contains(&format!(r#""name":"{name}""#)));
    }
}

#[test]
fn newer_versions_and_unknown_fields_are_kept() {
    let newer = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6",
        "metadata": {"component": {"type": "file", "name": "/layers/x", "bom-ref": "root"}, "supplier": {"name": "S"}},
        "components": [{"type": "cryptographic-asset", "name": "key", "bom-ref": "k", "cryptoProperties": {"assetType": "algorithm"}, "future": [1, 2]}],
        "services": [{"name": "s", "bom-ref": "k2"}],
        "vulnerabilities": [{"bom-ref": "v", "id": "CVE-1", "affects": [{"ref": "k"}]}],
        "dependencies": [{"ref": "root", "dependsOn": ["k"]}],
    });
    let other = cyclonedx(
        &json!([{"type": "library", "name": "l", "bom-ref": "k"}]),
        &json!([]),
    );
    let merged = merged(&[document(Format::CycloneDx, &newer), other]);
    let root = merged.cyclonedx.root();
    assert_eq!(root["specVersion"], "1.6");
    let key = named(merged.cyclonedx.components(), "key")[0];
    assert_eq!(key["future"], json!([1, 2]));
    assert_ne!(key["bom-ref"], "k");
    assert_eq!(
        root["vulnerabilities"][0]["affects"][0]["ref"],
        key["bom-ref"]
    );
    assert_eq!(root["services"][0]["bom-ref"], "k2");
    let properties = root["metadata"]["properties"].as_array().unwrap();
    assert!(
        properties
            .contains(&json!({"name": "sealpack:metadata:supplier", "value": r#"{"name":"S"}"#}))
    );
    let link = json!({"type": "bom", "url": "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1"});
    assert!(
        root["externalReferences"]
            .as_array()
            .unwrap()
            .contains(&link)
    );
}

#[test]
fn one_thing_in_two_formats_is_one() {
    let place = |document: Document| document.at("launch/acme_web/config");
    let app =
        json!([{"type": "application", "bom-ref": "web", "name": "web-config", "version": "1"}]);
    let package = json!([{"SPDXID": "SPDXRef-web", "name": "web-config", "versionInfo": "1", "downloadLocation": "NOASSERTION"}]);
    let documents = [
        place(cyclonedx(&app, &json!([]))),
        place(spdx(&package, &json!([]))),
    ];
    let merged = merged(&documents);
    assert_eq!(named(merged.cyclonedx.components(), "web-config").len(), 1);
    assert_eq!(named(merged.spdx.packages(), "web-config").len(), 1);
    // Of another layer, it is another.
    let [one, two] = documents;
    let merged = self::merged(&[one, two.at("launch/acme_web/other")]);
    assert_eq!(named(merged.cyclonedx.components(), "web-config").len(), 2);
    assert_eq!(named(merged.spdx.packages(), "web-config").len(), 2);
}

#[test]
fn a_package_that_one_document_nests_and_another_does_not_stands_once() {
    let nested = json!([{"type": "application", "name": "app", "bom-ref": "app", "components": [zlib("a")]}]);
    let merged = merged(&[
        cyclonedx(&nested, &json!([])),
        cyclonedx(&json!([zlib("b")]), &json!([])),
    ]);
    let app = named(merged.cyclonedx.components(), "app")[0];
    assert_eq!(app["components"].as_array().unwrap().len(), 1);
    assert_eq!(merged.cyclonedx.components().count(), 1);
}

#[test]
fn an_operating_system_is_spelled_as_the_schema_has_it() {
    let package = |purpose: &str| json!({"SPDXID": format!("SPDXRef-{}", purpose.len()), "name": purpose, "downloadLocation": "NOASSERTION", "primaryPackagePurpose": purpose});
    let merged = merged(&[
        cyclonedx(
            &json!([{"type": "operating-system", "name": "native"}]),
            &json!([]),
        ),
        spdx(&json!([package("OPERATING-SYSTEM")]), &json!([])),
        spdx(&json!([package("OPERATING_SYSTEM")]), &json!([])),
    ]);
    for package in merged
        .spdx
        .packages()
        .filter(|it| it["name"] != subject().name)
    {
        assert_eq!(package["primaryPackagePurpose"], "OPERATING_SYSTEM");
    }
    for component in merged.cyclonedx.components() {
        assert_eq!(component["type"], "operating-system");
    }
}

#[test]
fn a_relation_stands_once_in_one_direction() {
    let packages = json!(["a", "b"].map(|it| json!({"SPDXID": format!("SPDXRef-{it}"), "name": it, "downloadLocation": "NOASSERTION"})));
    let relation = |from: &str, kind: &str, to: &str| json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to});
    let merged = merged(&[spdx(
        &packages,
        &json!([
            relation("SPDXRef-a", "DEPENDS_ON", "SPDXRef-b"),
            relation("SPDXRef-b", "DEPENDENCY_OF", "SPDXRef-a"),
            relation("SPDXRef-b", "CONTAINED_BY", "SPDXRef-a"),
            relation("SPDXRef-a", "CONTAINS", "SPDXRef-b"),
            relation("SPDXRef-b", "DEV_DEPENDENCY_OF", "SPDXRef-a"),
        ]),
    )]);
    let relationships = merged.spdx.root()["relationships"].as_array().unwrap();
    let of = |kind: &str| {
        let of_packages = relationships
            .iter()
            .filter(|it| it["spdxElementId"] != "SPDXRef-Image");
        of_packages
            .filter(|it| it["relationshipType"] == kind)
            .count()
    };
    let found = [
        "DEPENDS_ON",
        "DEPENDENCY_OF",
        "CONTAINS",
        "CONTAINED_BY",
        "DEV_DEPENDENCY_OF",
    ];
    assert_eq!(found.map(of), [1, 0, 1, 0, 1]);
}

#[test]
fn a_licence_is_defined_once() {
    let licensed = |name: &str| json!({"type": "library", "name": name, "bom-ref": name, "licenses": [{"license": {"name": "Acme"}}]});
    let own = json!({"SPDXID": "SPDXRef-o", "name": "o", "downloadLocation": "NOASSERTION", "licenseDeclared": "LicenseRef-1 AND LicenseRef-gone"});
    let mut twice = spdx(&json!([own]), &json!([])).root().clone();
    crate::json::push(
        &mut twice,
        "hasExtractedLicensingInfos",
        json!({"licenseId": "LicenseRef-1", "extractedText": "another"}),
    );
    let merged = merged(&[
        cyclonedx(&json!([licensed("a"), licensed("b")]), &json!([])),
        document(Format::Spdx, &Value::from(twice)),
    ]);
    let defined = merged.spdx.root()["hasExtractedLicensingInfos"]
        .as_array()
        .unwrap();
    let ids: Vec<&str> = defined
        .iter()
        .map(|it| it["licenseId"].as_str().unwrap())
        .collect();
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), distinct.len(), "{ids:?}");
    assert!(distinct.contains("LicenseRef-Acme") && distinct.contains("LicenseRef-gone"));
    for package in merged.spdx.packages() {
        let declared = package["licenseDeclared"].as_str().unwrap();
        for id in declared
            .split(" AND ")
            .filter(|it| it.starts_with("LicenseRef-"))
        {
            assert!(distinct.contains(id), "{id} of {ids:?}");
        }
    }
}

#[test]
fn what_syft_knows_is_in_both() {
    let layer = oci::Digest::of(b"layer");
    let artifact = |id: &str, more: Value| {
        let mut artifact = crate::json::object(json!({
            "id": id, "name": id, "version": "1", "type": "deb", "purl": format!("pkg:deb/debian/{id}@1"),
            "locations": [{"path": "/var/lib/dpkg/status", "layerID": layer.as_str()}],
        }));
        crate::json::set(&mut artifact, "metadata", more);
        artifact
    };
    let syft = json!({
        "artifacts": [
            artifact("libc6", json!({"maintainer": "GNU Libc Maintainers <libc@debian.org>", "source": "glibc", "sourceVersion": "1"})),
            artifact("bash", json!({"maintainer": "Matthias Klose <doko@debian.org>"})),
            artifact("jar", json!({"digest": [{"algorithm": "sha1", "value": "85ed0817af83a24ad8da68c2b5094de69833983c"}]})),
        ],
        "artifactRelationships": [
            {"parent": "libc6", "child": "bash", "type": "dependency-of"},
            {"parent": "bash", "child": "jar", "type": "ownership-by-file-overlap"},
        ],
        "descriptor": {"name": "syft", "version": "1.32.0"},
    });
    let merged = merged(&[document(Format::Syft, &syft)]);
    let libc = named(merged.cyclonedx.components(), "libc6")[0];
    assert_eq!(libc["supplier"]["name"], "GNU Libc Maintainers");
    assert_eq!(
        libc["evidence"]["occurrences"][0]["location"],
        "var/lib/dpkg/status"
    );
    let of_layer = json!({"name": "sealpack:layer", "value": layer.as_str()});
    assert!(libc["properties"].as_array().unwrap().contains(&of_layer));
    let bash = named(merged.cyclonedx.components(), "bash")[0];
    assert_eq!(bash["components"][0]["hashes"][0]["alg"], "SHA-1");
    let graph = merged.cyclonedx.root()["dependencies"].as_array().unwrap();
    assert!(graph.contains(&json!({"ref": bash["bom-ref"], "dependsOn": [libc["bom-ref"]]})));

    let package = |name| named(merged.spdx.packages(), name)[0];
    assert_eq!(
        package("libc6")["supplier"],
        "Organization: GNU Libc Maintainers (libc@debian.org)"
    );
    let source = package("libc6")["sourceInfo"].as_str().unwrap();
    assert!(
        source.contains("built from source package glibc 1"),
        "{source}"
    );
    assert!(source.contains(layer.as_str()), "{source}");
    let relationships = merged.spdx.root()["relationships"].as_array().unwrap();
    for (from, kind, to) in [("bash", "DEPENDS_ON", "libc6"), ("bash", "CONTAINS", "jar")] {
        let relation = json!({"spdxElementId": package(from)["SPDXID"], "relationshipType": kind, "relatedSpdxElement": package(to)["SPDXID"]});
        assert!(relationships.contains(&relation), "{relation}");
    }
}

#[test]
fn what_was_found_is_written_in_both() {
    let layer = oci::DiffId(oci::Digest::of(b"layer"));
    let mut found = Inventory {
        completeness: Completeness::Incomplete,
        ..Inventory::default()
    };
    let mut bash = Component::new(Kind::Library, "bash");
    bash.version = Some("5.2".to_owned());
    bash.purl = Purl::parse("pkg:deb/debian/bash@5.2");
    bash.supplier = Some(Party::organization("Debian"));
    bash.licenses.declared = vec![License::of("GPL-3.0-or-later"), License::of("Odd one")];
    bash.evidence = vec![Evidence {
        layer: Some(layer),
        buildpack: Some("acme_bash".to_owned()),
        ..Evidence::found("dpkg", "var/lib/dpkg/status")
    }];
    bash.properties
        .insert("architecture".to_owned(), "amd64".to_owned());
    let bash = found.add(bash);
    let system = found.add(Component::new(Kind::OperatingSystem, "debian"));
    found.relate(bash, RelationKind::DependsOn, system);
    found.relate(bash, RelationKind::DependsOn, system);
    found.gaps.push(Gap {
        path: "usr/bin/odd".to_owned(),
        reason: "executable that no package owns".to_owned(),
    });
    let merged = Sources {
        about: Some(subject().component()),
        created: None,
        documents: Vec::new(),
        found: vec![&found, &found],
    }
    .merge();
    is_valid(&merged);
    let bash = named(merged.cyclonedx.components(), "bash")[0];
    assert_eq!(bash["supplier"]["name"], "Debian");
    assert_eq!(bash["bom-ref"], "pkg:deb/debian/bash@5.2");
    let properties = bash["properties"].to_string();
    for expected in ["found-by", "acme_bash", "amd64", "sealpack:layer"] {
        assert!(properties.contains(expected), "{expected} in {properties}");
    }
    let root = merged.cyclonedx.root();
    assert_eq!(root["compositions"][0]["aggregate"], "incomplete");
    assert!(
        root["metadata"]
            .to_string()
            .contains("executable that no package owns")
    );
    let bash = named(merged.spdx.packages(), "bash")[0];
    assert_eq!(bash["supplier"], "Organization: Debian");
    let declared = bash["licenseDeclared"].as_str().unwrap();
    assert!(
        declared.starts_with("GPL-3.0-or-later AND LicenseRef-Odd-one"),
        "{declared}"
    );
    assert_eq!(bash["comment"], "architecture: amd64");
}

/// Nothing stands twice, and each reference leads somewhere.
fn is_whole(merged: &Merged) {
    let root = merged.spdx.root();
    let distinct = |list: &str, field: fn(&Value) -> String| {
        let list = crate::json::list(root, list);
        let distinct: BTreeSet<String> = list.iter().map(field).collect();
        assert_eq!(distinct.len(), list.len());
        distinct
    };
    let mut ids = BTreeSet::from(["\"SPDXRef-DOCUMENT\"".to_owned()]);
    for list in ["packages", "files", "snippets"] {
        ids.extend(distinct(list, |it| it["SPDXID"].to_string()));
    }
    distinct("hasExtractedLicensingInfos", |it| {
        it["licenseId"].to_string()
    });
    let ends = ["spdxElementId", "relationshipType", "relatedSpdxElement"];
    let mut relations = BTreeSet::new();
    for relation in crate::json::list(root, "relationships") {
        let [from, kind, to] = ends.map(|it| relation[it].to_string());
        for end in [&from, &to] {
            let is_elsewhere = end.contains("DocumentRef-") || end.contains("NOASSERTION");
            assert!(ids.contains(end) || is_elsewhere, "{relation}");
        }
        assert!(relations.insert((from.clone(), kind.clone(), to.clone())));
        if kind == "\"DEPENDENCY_OF\"" {
            let forward = (to, "\"DEPENDS_ON\"".to_owned(), from);
            assert!(!relations.contains(&forward));
        }
    }

    let mut references =
        BTreeSet::from([merged.cyclonedx.root()["metadata"]["component"]["bom-ref"].to_string()]);
    let mut purls = BTreeSet::new();
    let mut left: Vec<&Value> = merged.cyclonedx.components().collect();
    while let Some(component) = left.pop() {
        assert!(references.insert(component["bom-ref"].to_string()));
        if let Some(purl) = component["purl"].as_str().and_then(Purl::parse) {
            assert!(purls.insert(purl.identity()), "{purl} stands twice");
        }
        left.extend(component["components"].as_array().into_iter().flatten());
    }
    // Services and the like have names, too.
    let mut left: Vec<&Value> = merged.cyclonedx.root().values().collect();
    while let Some(value) = left.pop() {
        left.extend(value.as_array().into_iter().flatten());
        left.extend(value.as_object().into_iter().flat_map(|it| it.values()));
        references.extend(value.get("bom-ref").map(Value::to_string));
    }
    for entry in crate::json::list(merged.cyclonedx.root(), "dependencies") {
        let to = entry["dependsOn"].as_array().into_iter().flatten();
        for reference in to.chain([&entry["ref"]]) {
            assert!(references.contains(&reference.to_string()), "{reference}");
        }
    }
}

#[test]
fn an_entry_of_the_dependencies_gives_no_name() {
    let document = cyclonedx(&json!([]), &json!([{ "ref": "b", "bom-ref": "b" }]));
    is_whole(&merge(&subject(), OffsetDateTime::UNIX_EPOCH, &[document]));
}

/// A name that is defined where nothing is carried over, or by what becomes a text, defines nothing.
#[test]
fn a_dependency_leads_to_what_is_written() {
    let dependencies = json!([
        {"ref": "a", "dependsOn": ["c"]},
        {"ref": "c", "dependsOn": ["a"], "provides": ["a"]},
    ]);
    let merge_any = |it: &[Document]| merge(&subject(), OffsetDateTime::UNIX_EPOCH, it);
    let name = json!({"bom-ref": "a", "name": "tool"});
    for (field, value) in [
        ("version", name.clone()),
        ("signature", name.clone()),
        ("metadata", json!({"tools": {"components": [name]}})),
        ("metadata", json!({"manufacture": name})),
    ] {
        let mut root = cyclonedx(
            &json!([{"type": "library", "name": "c", "bom-ref": "c"}]),
            &dependencies,
        )
        .root()
        .clone();
        root.insert(field.to_owned(), value);
        let merged = merge_any(&[document(Format::CycloneDx, &Value::from(root))]);
        is_whole(&merged);
        let entries = crate::json::list(merged.cyclonedx.root(), "dependencies");
        assert!(entries.iter().any(|it| it["ref"] == "c"), "{field}");
    }
    // Of two values one stands.
    let definition = |name: &str| {
        let mut root = cyclonedx(&json!([]), &json!([{ "ref": name }]))
            .root()
            .clone();
        root.insert("definitions".to_owned(), json!({"text": {"bom-ref": name}}));
        document(Format::CycloneDx, &Value::from(root))
    };
    is_whole(&merge_any(&[definition("a"), definition("b")]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_does_not_matter_and_names_are_unique(
        (documents, shuffled) in prop::collection::vec(any_document(), 0..5)
            .prop_flat_map(|it| (Just(it.clone()), Just(it).prop_shuffle()))
    ) {
        let created = OffsetDateTime::UNIX_EPOCH;
        let merged = merge(&subject(), created, &documents);
        let again = merge(&subject(), created, &shuffled);
        prop_assert_eq!(merged.cyclonedx.to_bytes(), again.cyclonedx.to_bytes());
        prop_assert_eq!(merged.spdx.to_bytes(), again.spdx.to_bytes());

        let doubled: Vec<Document> = documents.iter().chain(&shuffled).cloned().collect();
        let doubled = merge(&subject(), created, &doubled);
        prop_assert_eq!(merged.cyclonedx.to_bytes(), doubled.cyclonedx.to_bytes());
        prop_assert_eq!(merged.spdx.to_bytes(), doubled.spdx.to_bytes());
        is_whole(&merged);

        let ids: Vec<&Value> = ["packages", "files", "snippets"]
            .iter()
            .filter_map(|it| merged.spdx.root().get(*it)?.as_array())
            .flatten()
            .map(|it| &it["SPDXID"])
            .collect();
        prop_assert_eq!(ids.iter().map(ToString::to_string).collect::<BTreeSet<_>>().len(), ids.len());
        let names: Vec<&Value> = merged.cyclonedx.components().map(|it| &it["bom-ref"]).collect();
        prop_assert_eq!(names.iter().map(ToString::to_string).collect::<BTreeSet<_>>().len(), names.len());
    }
}
