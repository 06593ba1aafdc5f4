//! SBOMs of every form that is read: one that is understood is written in both formats, the same
//! whether it is there once or twice, and what is written is understood again.

use sbom::{Document, Format, Limits, Sources, read};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "sbom",
    run,
    seeds,
    words: WORDS,
    short: 300,
};

const WORDS: &[&str] = &[
    "\"components\":[",
    "\"dependencies\":[",
    "\"dependsOn\":[\"a\"]",
    "\"bom-ref\":\"a\"",
    "\"licenses\":[{\"expression\":\"MIT OR (ISC\"}]",
    "\"packages\":[",
    "\"relationships\":[",
    "\"relationshipType\":\"DEPENDENCY_OF\"",
    "\"SPDXID\":\"SPDXRef-DOCUMENT\"",
    "\"licenseId\":\"LicenseRef-a\"",
    "\"artifactRelationships\":[",
    "\"purl\":\"pkg:npm/%40a/b@1?c=d#e\"",
    "\"metadata\":{\"component\":",
    "\nPackageName: a\nSPDXID: SPDXRef-a",
    "\nRelationship: SPDXRef-a CONTAINS SPDXRef-b",
    "<text>",
    "</text>",
    "<components><component type=\"library\"><name>a</name></component></components>",
    "<!DOCTYPE a [<!ENTITY b \"c\">]>",
    "<![CDATA[",
    "null",
];

fn seeds() -> Vec<Vec<u8>> {
    [
        r#"{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79","metadata":{"component":{"type":"application","name":"app","bom-ref":"r","components":[{"type":"file","name":"f"}]},"tools":[{"vendor":"v","name":"t"}]},"components":[{"type":"library","bom-ref":"a","group":"@a","name":"b","version":"1","purl":"pkg:npm/%40a/b@1","licenses":[{"license":{"name":"Odd","text":{"content":"text"}}}],"hashes":[{"alg":"SHA-1","content":"85ed0817af83a24ad8da68c2b5094de69833983c"}],"evidence":{"occurrences":[{"location":"/x"}]},"components":[{"type":"operating-system","name":"o"}]}],"dependencies":[{"ref":"r","dependsOn":["a","gone"]}],"vulnerabilities":[{"bom-ref":"v","affects":[{"ref":"a"}]}]}"#,
        r#"{"spdxVersion":"SPDX-2.3","name":"n","SPDXID":"SPDXRef-DOCUMENT","documentNamespace":"https://example.test/n","creationInfo":{"created":"2020-01-01T00:00:00Z","creators":["Tool: t"]},"packages":[{"SPDXID":"SPDXRef-a","name":"a","versionInfo":"1","downloadLocation":"NONE","licenseDeclared":"LicenseRef-1 AND MIT","supplier":"Organization: A (a@b.c)","primaryPackagePurpose":"OPERATING-SYSTEM","externalRefs":[{"referenceCategory":"PACKAGE_MANAGER","referenceType":"purl","referenceLocator":"pkg:npm/a@1"}]},{"SPDXID":"SPDXRef-b","name":"b","downloadLocation":"NOASSERTION"}],"files":[{"SPDXID":"SPDXRef-f","fileName":"./f","checksums":[]}],"relationships":[{"spdxElementId":"SPDXRef-DOCUMENT","relationshipType":"DESCRIBES","relatedSpdxElement":"SPDXRef-a"},{"spdxElementId":"SPDXRef-b","relationshipType":"DEPENDENCY_OF","relatedSpdxElement":"SPDXRef-a"}],"hasExtractedLicensingInfos":[{"licenseId":"LicenseRef-1","extractedText":"t"}]}"#,
        r#"{"artifacts":[{"id":"1","name":"a","version":"1","type":"apk","purl":"pkg:apk/alpine/a@1","locations":[{"path":"/lib/apk/db/installed","layerID":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}],"licenses":["mit"],"metadata":{"maintainer":"A <a@b.c>","pullChecksum":"Q1he0IF6+DokrY2mjCtQlN5pgzmDw="}},{"id":"2","name":"b"}],"artifactRelationships":[{"parent":"1","child":"2","type":"dependency-of"},{"parent":"2","child":"1","type":"contains"}],"descriptor":{"name":"syft","version":"1"}}"#,
        "SPDXVersion: SPDX-2.3\nSPDXID: SPDXRef-DOCUMENT\nDocumentName: n\nCreator: Tool: t\nPackageName: a\nSPDXID: SPDXRef-a\nPackageChecksum: SHA1: 85ed0817af83a24ad8da68c2b5094de69833983c\nPackageDescription: <text>b\nc</text>\nExternalRef: PACKAGE-MANAGER purl pkg:npm/a@1\nRelationship: SPDXRef-DOCUMENT DESCRIBES SPDXRef-a\n",
        r#"<?xml version="1.0"?><bom xmlns="http://cyclonedx.org/schema/bom/1.5" version="1"><components><component type="library" bom-ref="a"><name>a</name><version>1</version><purl>pkg:npm/a@1</purl></component></components><dependencies><dependency ref="a"/></dependencies></bom>"#,
    ]
    .map(|it| it.as_bytes().to_vec())
    .to_vec()
}

fn run(bytes: &[u8]) {
    let limits = Limits {
        document_bytes: 1 << 16,
        ..Limits::default()
    };
    let Ok(document) = read(bytes, "fuzz", &limits) else {
        return;
    };
    let merged = |documents: Vec<&Document>| {
        Sources {
            documents,
            ..Sources::default()
        }
        .merge()
    };
    let once = merged(vec![&document]);
    let twice = merged(vec![&document, &document.clone()]);
    assert_eq!(once.cyclonedx.to_bytes(), twice.cyclonedx.to_bytes());
    assert_eq!(once.spdx.to_bytes(), twice.spdx.to_bytes());
    let limits = Limits::default();
    for (format, written) in [
        (Format::CycloneDx, once.cyclonedx.to_bytes()),
        (Format::Spdx, once.spdx.to_bytes()),
    ] {
        let again = Document::parse(format, &written, "again", &limits);
        assert!(again.is_ok(), "what is written is read: {again:?}");
    }
}
