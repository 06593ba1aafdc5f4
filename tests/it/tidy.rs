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

/// All files of a kind in our own rooms: what is below version control, less what tests only read.
fn files(ending: &str) -> Vec<std::path::PathBuf> {
    const NOT_CODE: [&str; 4] = ["tests/fixtures", "tests/golden", "tests/cases", "target"];
    let mut folders = vec![repository().to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let name = entry.file_name();
            let hidden = name.to_str().is_some_and(|it| it.starts_with('.'));
            let below = path.strip_prefix(repository()).unwrap();
            if hidden || NOT_CODE.iter().any(|it| below == std::path::Path::new(it)) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                // Products of builds lie in folders of this name, wherever.
                if name != "target" {
                    folders.push(path);
                }
            } else if name.to_str().is_some_and(|it| it.ends_with(ending)) {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(!files.is_empty());
    files
}

/// `tests.rs` says by its name what it is for.
#[test]
fn every_file_says_first_what_it_is_for() {
    for file in files(".rs") {
        let text = fs_err::read_to_string(&file).unwrap();
        let is_told = text.starts_with("//! ") || text.starts_with("#![doc = include_str!");
        assert!(
            is_told || file.ends_with("tests.rs"),
            "{} does not begin with `//!`, and what it is for",
            file.display()
        );
    }
}

/// A module with others in it is `name.rs` beside `name/`.
#[test]
fn modules_are_named_in_one_way() {
    for file in files(".rs") {
        assert!(
            !file.ends_with("mod.rs"),
            "{} is `mod.rs`: name it for the module, beside its folder",
            file.display()
        );
    }
}

/// Each library and program has a README that says what is missing.
#[test]
fn every_crate_tells_its_shortcomings() {
    for &(folder, _) in MAY_USE {
        if folder.starts_with("tests") {
            continue;
        }
        let path = repository().join(folder).join("README.md");
        let text = fs_err::read_to_string(&path).unwrap();
        let is_told = ["\n## Shortcomings\n", "\n## Not there yet\n"]
            .iter()
            .any(|it| text.contains(it));
        assert!(is_told, "{} has no shortcomings", path.display());
    }
}

/// The numbered table of attacks and the tests that are named for its rows.
#[test]
fn rows_of_attacks_have_their_tests() {
    let read = |path: &str| fs_err::read_to_string(repository().join(path)).unwrap();
    let manual = read("attest/src/manual.rs");
    let tests = [
        "tests/it/attacks.rs",
        "tests/it/gate.rs",
        "tests/it/policy.rs",
    ]
    .map(read)
    .concat();
    let rows: Vec<&str> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .filter(|line| line.starts_with(|it: char| it.is_ascii_digit()))
        .collect();
    for (at, row) in rows.iter().enumerate() {
        let number = at + 1;
        assert!(row.starts_with(&format!("{number} |")), "row {number}");
        let name = format!("row_{number:02}");
        assert_eq!(
            row.contains(&name),
            tests.contains(&format!("fn {name}_")),
            "row {number} does not say which test it has"
        );
    }
    assert!(!rows.is_empty());
}
