//! Documents as nobody writes them, for properties that hold of all.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Document, Format, Limits};

/// JSON that is shaped like an SBOM only as far as `Document::parse` looks.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "a",
            "b",
            "MIT",
            "NOASSERTION",
            "SPDXRef-DOCUMENT",
            "pkg:npm/a@1?b&a#c",
            "LicenseRef-1 OR ("
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let key = prop::sample::select(vec![
            "bom-ref",
            "name",
            "type",
            "version",
            "purl",
            "licenses",
            "license",
            "id",
            "expression",
            "hashes",
            "properties",
            "supplier",
            "components",
            "metadata",
            "tools",
            "component",
            "externalReferences",
            "annotations",
            "checksums",
            "externalRefs",
            "referenceType",
            "referenceLocator",
            "licenseDeclared",
            "licenseId",
            "hasExtractedLicensingInfos",
            "SPDXID",
            "filesAnalyzed",
            "creationInfo",
            "creators",
            "ref",
            "dependsOn",
            "evidence",
            "scope",
            "text",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.prop_map(str::to_owned), inner, 0..6)
                .prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

/// A document of one of the formats, of any content.
pub(super) fn any_document() -> impl Strategy<Value = Document> {
    let entry = |required: &'static [&'static str]| {
        (
            any_value(),
            prop::sample::select(vec!["a", "b", "SPDXRef-c"]),
        )
            .prop_map(move |(value, name)| {
                let mut entry = crate::json::object(value);
                for field in required {
                    entry.insert((*field).to_owned(), name.into());
                }
                Value::from(entry)
            })
    };
    let list = move |required| prop::collection::vec(entry(required), 0..4);
    let cyclonedx = (any_value(), list(&["name", "type"]), list(&["ref"])).prop_map(
        |(root, components, dependencies)| {
            let mut root = crate::json::object(root);
            root.insert("bomFormat".to_owned(), "CycloneDX".into());
            root.insert("specVersion".to_owned(), "1.6".into());
            root.insert("components".to_owned(), components.into());
            root.insert("dependencies".to_owned(), dependencies.into());
            (Format::CycloneDx, root)
        },
    );
    let spdx = (
        any_value(),
        list(&["name", "SPDXID"]),
        list(&["spdxElementId", "relatedSpdxElement", "relationshipType"]),
        list(&["fileName", "SPDXID"]),
    )
        .prop_map(|(root, packages, relationships, files)| {
            let mut root = crate::json::object(root);
            root.insert("spdxVersion".to_owned(), "SPDX-2.3".into());
            root.insert("packages".to_owned(), packages.into());
            root.insert("relationships".to_owned(), relationships.into());
            root.insert("files".to_owned(), files.into());
            (Format::Spdx, root)
        });
    let syft = list(&["name"]).prop_map(|artifacts| {
        (
            Format::Syft,
            crate::json::object(json!({"artifacts": artifacts})),
        )
    });
    prop_oneof![cyclonedx, spdx, syft].prop_filter_map("not read", |(format, root)| {
        let bytes = Value::from(root).to_string().into_bytes();
        Document::parse(format, &bytes, "test", &Limits::default()).ok()
    })
}
