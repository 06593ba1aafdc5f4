//! SBOM files of a build, as they lie below `<layers>/sbom`.

mod find;
mod generate;

use std::path::Path;

use sbom::{CollectError, Limits, Scope, collect};

const CYCLONEDX: &str = r#"{"bomFormat":"CycloneDX","specVersion":"1.5"}"#;

fn write(layers: &Path, path: &str, content: &str) {
    let path = layers.join("sbom").join(path);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, content).unwrap();
}

#[test]
fn all_files_of_the_scope_are_found_with_where_they_are_from() {
    let layers = tempfile::tempdir().unwrap();
    let layers = layers.path();
    assert_eq!(
        collect(layers, Scope::Launch, &Limits::default()).unwrap(),
        []
    );
    write(layers, "launch/b_x/sbom.cdx.json", CYCLONEDX);
    write(
        layers,
        "launch/b_x/layer/sbom.spdx.json",
        r#"{"spdxVersion":"SPDX-2.3"}"#,
    );
    write(
        layers,
        "launch/a/layer/sbom.syft.json",
        r#"{"artifacts":[]}"#,
    );
    write(
        layers,
        "launch/buildpacksio_lifecycle/launcher/own.sbom.cdx.json",
        CYCLONEDX,
    );
    write(layers, "build/a/sbom.cdx.json", CYCLONEDX);
    write(layers, "launch/sbom.legacy.json", "null");
    write(layers, "launch/a/layer/notes.txt", "no SBOM");
    let found = collect(layers, Scope::Launch, &Limits::default()).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|it| (it.path.as_str(), it.buildpack.as_str(), it.layer.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("launch/a/layer/sbom.syft.json", "a", Some("layer")),
            ("launch/b_x/layer/sbom.spdx.json", "b_x", Some("layer")),
            ("launch/b_x/sbom.cdx.json", "b_x", None),
            (
                "launch/buildpacksio_lifecycle/launcher/own.sbom.cdx.json",
                "buildpacksio_lifecycle",
                Some("launcher")
            ),
        ]
    );
    assert_eq!(
        collect(layers, Scope::Build, &Limits::default())
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_broken_file_is_named() {
    let layers = tempfile::tempdir().unwrap();
    let layers = layers.path();
    write(layers, "launch/a/sbom.cdx.json", CYCLONEDX);
    write(
        layers,
        "launch/b/sbom.cdx.json",
        r#"{"bomFormat":"CycloneDX","#,
    );
    let error = collect(layers, Scope::Launch, &Limits::default()).unwrap_err();
    assert!(matches!(&error, CollectError::Document { .. }));
    assert!(error.to_string().ends_with("sbom/launch/b/sbom.cdx.json`"));
}

#[test]
fn limits_and_links_are_errors() {
    let layers = tempfile::tempdir().unwrap();
    let layers = layers.path();
    write(layers, "launch/a/sbom.cdx.json", CYCLONEDX);
    let limits = Limits {
        document_bytes: 10,
        ..Limits::default()
    };
    assert!(matches!(
        collect(layers, Scope::Launch, &limits),
        Err(CollectError::Document { .. })
    ));
    let limits = Limits {
        documents: 0,
        ..Limits::default()
    };
    assert!(matches!(
        collect(layers, Scope::Launch, &limits),
        Err(CollectError::TooManyDocuments { .. })
    ));
    write(layers, "outside.json", CYCLONEDX);
    std::os::unix::fs::symlink(
        layers.join("sbom/outside.json"),
        layers.join("sbom/launch/a/sbom.spdx.json"),
    )
    .unwrap();
    assert!(matches!(
        collect(layers, Scope::Launch, &Limits::default()),
        Err(CollectError::NotAFile { .. })
    ));
}
