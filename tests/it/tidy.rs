//! Rules of the architecture that no compiler checks.

use std::collections::BTreeSet;

use testkit::repository;

/// Each crate, and all that it may depend on among our own. The order is that of the data.
const MAY_USE: &[(&str, &[&str])] = &[
    ("oci/go", &[]),
    ("oci/net", &[]),
    ("oci", &["go", "net"]),
    ("intoto", &["oci"]),
    ("sbom", &["oci", "intoto"]),
    ("lifecycle-core/launch", &["go"]),
    ("lifecycle-core", &["go", "oci", "intoto", "sbom", "launch"]),
    ("attest", &["oci", "intoto"]),
    ("attest/links", &["go", "oci", "intoto", "attest"]),
    ("attest/keyless", &["net", "attest"]),
    ("policies", &["oci", "intoto", "attest"]),
    ("policies/admission", &["oci"]),
    (
        "policies/gate",
        &["go", "oci", "intoto", "attest", "policies"],
    ),
    (
        "platform",
        &["go", "oci", "intoto", "sbom", "lifecycle-core"],
    ),
    ("cli/serve", &["go", "oci", "policies", "admission", "gate"]),
    ("platform/health", &["oci", "intoto"]),
    (
        "cli/report",
        &["oci", "intoto", "sbom", "attest", "policies", "health"],
    ),
    ("cli/otlp", &["net"]),
    ("cli/launcher", &["go", "launch"]),
    ("cli/lifecycle", &["go", "oci", "lifecycle-core", "otlp"]),
    (
        "cli",
        &[
            "go",
            "net",
            "oci",
            "intoto",
            "sbom",
            "lifecycle-core",
            "attest",
            "keyless",
            "links",
            "policies",
            "admission",
            "gate",
            "platform",
            "health",
            "report",
            "serve",
            "lifecycle",
            "otlp",
        ],
    ),
    (
        "tests",
        &[
            "go",
            "oci",
            "intoto",
            "sbom",
            "lifecycle-core",
            "attest",
            "links",
            "policies",
            "gate",
            "platform",
            "health",
            "report",
        ],
    ),
    ("tests/conformance", &["oci", "intoto", "attest"]),
    (
        "tests/fuzz",
        &[
            "go",
            "oci",
            "sbom",
            "lifecycle-core",
            "attest",
            "keyless",
            "links",
            "admission",
            "platform",
            "health",
        ],
    ),
];

/// A library that only these crates may name, and why.
const ONLY: [(&str, &[&str], &str); 11] = [
    (
        "gix",
        &["platform/health"],
        "repositories are read in one place",
    ),
    (
        "regorus",
        &["policies"],
        "the engine stays behind `policies`",
    ),
    (
        "reqwest",
        &["oci/net"],
        "how servers are reached is decided in one place",
    ),
    (
        "ring",
        &["attest"],
        "signatures are made and checked in one place",
    ),
    (
        "p256",
        &["attest"],
        "signatures are made and checked in one place",
    ),
    (
        "webpki",
        &["attest"],
        "certificates are believed in one place",
    ),
    (
        "sigstore-trust-root",
        &["attest"],
        "Sigstore's crates break often; their types stay behind ours",
    ),
    ("sigstore-sign", &[], "it is a peer in tests"),
    (
        "sigstore-verify",
        &[],
        "it is a second opinion in tests, never the gate",
    ),
    ("indicatif", &["cli"], "only `cli` speaks to the user"),
    (
        "tracing-subscriber",
        &["cli/otlp"],
        "libraries emit spans, programs decide who hears of them",
    ),
];

fn dependencies(folder: &str) -> Vec<String> {
    let text = fs_err::read_to_string(repository().join(folder).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    manifest
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .map(|it| it.keys().cloned().collect())
        .unwrap_or_default()
}

#[test]
fn crates_depend_only_upstream() {
    let name = |folder: &'static str| folder.rsplit('/').next().unwrap_or(folder);
    let ours: BTreeSet<_> = MAY_USE.iter().map(|(folder, _)| name(folder)).collect();
    for &(folder, may_use) in MAY_USE {
        for dependency in dependencies(folder) {
            assert!(
                !ours.contains(dependency.as_str()) || may_use.contains(&dependency.as_str()),
                "{folder} must not depend on {dependency}: data flows the other way"
            );
        }
    }
}

#[test]
fn libraries_stay_behind_their_walls() {
    for &(folder, _) in MAY_USE {
        for dependency in dependencies(folder) {
            for (library, allowed, why) in ONLY {
                assert!(
                    dependency != library || allowed.contains(&folder),
                    "{folder} must not name {library}: {why}"
                );
            }
        }
    }
}

#[test]
fn every_member_is_known_here() {
    let text = fs_err::read_to_string(repository().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let members: Vec<_> = manifest["workspace"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    for member in &members {
        assert!(
            MAY_USE.iter().any(|(folder, _)| folder == member),
            "say in tidy.rs what {member} may depend on"
        );
    }
    assert_eq!(members.len(), MAY_USE.len());
}

/// Many a list of what is to be ignored has these names, and code in such a folder is lost unseen.
#[test]
fn no_folder_of_code_has_the_name_of_a_product() {
    const PRODUCTS: [&str; 6] = ["bin", "build", "dist", "obj", "out", "target"];
    let mut folders = vec![repository().to_owned()];
    while let Some(folder) = folders.pop() {
        let is_code = folder.components().any(|it| it.as_os_str() == "src");
        for entry in fs_err::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            if !entry.file_type().unwrap().is_dir() || name.starts_with('.') {
                continue;
            }
            let is_product = PRODUCTS.contains(&name);
            // Cargo wants programs in `src/bin`.
            let is_known =
                name == "bin" && entry.path().parent().is_some_and(|it| it.ends_with("src"));
            assert!(
                !is_code || !is_product || is_known,
                "{} has a name that is often ignored",
                entry.path().display()
            );
            if !is_product || is_known {
                folders.push(entry.path());
            }
        }
    }
}
