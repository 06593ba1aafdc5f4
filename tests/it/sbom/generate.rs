//! `sealpack sbom`: what is in images, folders and files, and what other tools think of how we say it.

use std::path::Path;

use serde_json::Value;
use testkit::{FakeBuildpack, Output, Project, Workspace, peer, skipped};

use crate::build::json;

const LEFT_PAD: &str = r#"{"name":"left-pad","version":"1.3.0","license":"MIT"}"#;
const STATUS: &str = "\
Package: libc6
Status: install ok installed
Architecture: amd64
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Source: glibc
Version: 2.41-12
Description: GNU C Library: Shared libraries

Package: bash
Status: install ok installed
Architecture: amd64
Maintainer: Matthias Klose <doko@debian.org>
Version: 5.2.37-2
Depends: libc6 (>= 2.38)
Description: GNU Bourne Again SHell
";
const RELEASE: &str = "ID=debian\nVERSION_ID=\"13\"\nPRETTY_NAME=\"Debian GNU/Linux 13\"\n";

/// What asks CycloneDX's own validator.
const SCRIPT: &str = "\
import sys, json
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = open(sys.argv[1]).read()
version = SchemaVersion.from_version(json.loads(text)['specVersion'])
error = JsonStrictValidator(version).validate_str(text)
print('valid' if error is None else str(error)[:3000])
";

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// All components, nested ones too.
fn components(document: &Value) -> Vec<&Value> {
    let mut left = vec![document];
    let mut found = Vec::new();
    while let Some(it) = left.pop() {
        let nested = it["components"].as_array().into_iter().flatten();
        for component in nested {
            found.push(component);
            left.push(component);
        }
    }
    found
}

fn with_purl<'a>(document: &'a Value, purl: &str) -> &'a Value {
    let all = components(document);
    let found: Vec<&&Value> = all
        .iter()
        .filter(|it| it["purl"].as_str().is_some_and(|it| it.starts_with(purl)))
        .collect();
    assert_eq!(found.len(), 1, "{purl} in {document:#}");
    found[0]
}

fn property<'a>(component: &'a Value, name: &str) -> Option<&'a str> {
    let mut properties = component["properties"].as_array()?.iter();
    properties.find(|it| it["name"] == name)?["value"].as_str()
}

/// What CycloneDX's own validator says, by the schema and strictly.
fn is_valid_cyclonedx(workspace: &Workspace, path: &Path) {
    // It lies in the environment of Python that holds another peer.
    let python = peer("in-toto-verify")
        .and_then(|it| it.canonicalize().ok())
        .map(|it| it.with_file_name("python3"));
    let Some(python) = python.filter(|it| it.is_file()) else {
        return skipped("CycloneDX's validator is not on this machine");
    };
    let said = Output::of(workspace.command(python).args(["-c", SCRIPT]).arg(path));
    if said.stderr.contains("ModuleNotFoundError") {
        return skipped("CycloneDX's validator is not on this machine");
    }
    assert_eq!(said.stdout.trim(), "valid", "{}", said.stderr);
}

#[test]
fn an_image_says_what_is_in_it_however_it_is_asked() {
    let project = Project::new(&[FakeBuildpack::typical(), FakeBuildpack::new("test/second")]);
    project.write("app/node_modules/left-pad/package.json", LEFT_PAD);
    let image = "oci:out:app";
    let built = project.build(image).expect(0);
    assert!(!built.stderr.contains("sbom  0 components"));

    let look = |name: &str| {
        let cyclonedx = format!("cyclonedx={name}.cdx.json");
        let spdx = format!("spdx={name}.spdx.json");
        let arguments = ["sbom", "generate", image, "--name", "app"];
        project
            .run(&[&arguments[..], &["--format", &cyclonedx, "--format", &spdx]].concat())
            .expect(0);
        let [cyclonedx, spdx] = ["cdx", "spdx"].map(|it| project.join(format!("{name}.{it}.json")));
        is_valid_cyclonedx(project.workspace(), &cyclonedx);
        (read(&cyclonedx), read(&spdx))
    };
    let (cyclonedx, spdx) = look("one");
    let left_pad = with_purl(&cyclonedx, "pkg:npm/left-pad@1.3.0");
    assert_eq!(property(left_pad, "sealpack:from"), Some("app"));
    assert_eq!(property(left_pad, "sealpack:found-by"), Some("node"));
    let layer = property(left_pad, "sealpack:layer").unwrap();
    let facts = json(&project.run(&["inspect", image, "--output", "json"]));
    assert!(facts["layers"].to_string().contains(layer), "{facts:#}");
    assert_eq!(left_pad["licenses"][0]["license"]["id"], "MIT");
    let location = left_pad["evidence"]["occurrences"][0]["location"].as_str();
    assert_eq!(
        location,
        Some("workspace/node_modules/left-pad/package.json")
    );
    // What buildpacks say is there, too, and what no finder finds.
    for name in ["lib", "fake", "launcher"] {
        let all = components(&cyclonedx);
        assert!(
            all.iter().any(|it| it["name"] == name),
            "{name} in {cyclonedx:#}"
        );
    }
    let packages = spdx["packages"].as_array().unwrap();
    assert_eq!(packages.len(), components(&cyclonedx).len() + 1);

    // The same again, and what was attested of it when it was built.
    assert_eq!((cyclonedx.clone(), spdx), look("two"));
    let claim = project
        .run(&[
            "verify",
            image,
            "--key",
            "test.pub",
            "--claim",
            "cyclonedx",
            "--output",
            "json",
        ])
        .expect(0);
    let attested = json(&claim)["claims"][0]["statements"][0]["statement"]["predicate"].clone();
    assert_eq!(with_purl(&attested, "pkg:npm/left-pad"), left_pad);
    assert_eq!(components(&attested).len(), components(&cyclonedx).len());
    let launcher = with_purl(&attested, "pkg:generic/sealpack-launcher@");
    assert_eq!(launcher["hashes"][0]["alg"], "SHA-256");
}

#[test]
fn a_folder_is_the_root_of_a_file_system() {
    let workspace = Workspace::new();
    workspace.write("root/etc/os-release", RELEASE);
    workspace.write("root/var/lib/dpkg/status", STATUS);
    let run = |arguments: &[&str]| Output::of(&mut workspace.sealpack(arguments)).expect(0);
    let document = json(&run(&["sbom", "generate", "root"]));
    let libc = with_purl(&document, "pkg:deb/debian/libc6@2.41-12");
    let bash = with_purl(&document, "pkg:deb/debian/bash@5.2.37-2");
    assert_eq!(document["metadata"]["component"]["name"], "root");
    let edge = document["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["ref"] == bash["bom-ref"]);
    assert_eq!(edge.unwrap()["dependsOn"][0], libc["bom-ref"]);
    let path = workspace.write("root.cdx.json", document.to_string());
    is_valid_cyclonedx(&workspace, &path);

    // Through the other format and back, the same packages.
    run(&[
        "sbom",
        "convert",
        "root.cdx.json",
        "--format",
        "spdx=root.spdx.json",
    ]);
    let spdx = read(&workspace.join("root.spdx.json"));
    assert_eq!(
        spdx["packages"].as_array().unwrap().len(),
        components(&document).len() + 1
    );
    let back = json(&run(&["sbom", "convert", "root.spdx.json"]));
    let purls = |document: &Value| {
        let mut purls: Vec<String> = components(document)
            .iter()
            .filter_map(|it| it["purl"].as_str().map(str::to_owned))
            .collect();
        purls.sort();
        purls
    };
    assert_eq!(purls(&back), purls(&document));
    let merged = json(&run(&[
        "sbom",
        "merge",
        "root.cdx.json",
        "root.spdx.json",
        "--name",
        "both",
    ]));
    assert_eq!(purls(&merged), purls(&document));
}

#[test]
fn older_forms_are_read_and_what_is_none_is_named() {
    let workspace = Workspace::new();
    workspace.write(
        "a.xml",
        r#"<bom xmlns="http://cyclonedx.org/schema/bom/1.5" version="1"><components><component type="library"><name>a</name><version>1</version><purl>pkg:npm/a@1</purl></component></components></bom>"#,
    );
    workspace.write(
        "a.spdx",
        "SPDXVersion: SPDX-2.3\nSPDXID: SPDXRef-DOCUMENT\nDocumentName: a\nPackageName: a\nSPDXID: SPDXRef-a\nPackageVersion: 1\nPackageDownloadLocation: NONE\nExternalRef: PACKAGE-MANAGER purl pkg:npm/a@1\n",
    );
    workspace.write("laughs.xml", "<!DOCTYPE a [<!ENTITY b \"ha\">]><a>&b;</a>");
    workspace.write("odd.json", "{\"a\":1}");
    let run = |arguments: &[&str]| Output::of(&mut workspace.sealpack(arguments));
    for file in ["a.xml", "a.spdx"] {
        let document = json(&run(&["sbom", "convert", file]).expect(0));
        with_purl(&document, "pkg:npm/a@1");
        let generated = json(&run(&["sbom", "generate", file]).expect(0));
        assert_eq!(components(&generated).len(), components(&document).len());
    }
    for (arguments, expected) in [
        (["convert", "laughs.xml"], "a document type is not allowed"),
        (
            ["convert", "odd.json"],
            "not an SBOM in CycloneDX (JSON, XML), SPDX 2 (JSON, tag-value) or Syft JSON",
        ),
        (
            ["generate", "no/such:@place"],
            "file or folder `no/such:@place` not found",
        ),
    ] {
        let output = run(&[&["sbom"], &arguments[..]].concat()).expect(2);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
    let twice = ["--format", "spdx", "--format", "cyclonedx"];
    let output = run(&[&["sbom", "convert", "a.spdx"], &twice[..]].concat()).expect(2);
    assert!(
        output
            .stderr
            .contains("only one document can go to standard output")
    );
}
