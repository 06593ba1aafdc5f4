//! Archives that are broken, or made to hurt.

use super::*;

#[tokio::test]
async fn hostile_docker_archives_are_refused() {
    let workspace = Workspace::new();
    let layer = tarred(&[("a", b"1")]);
    let good = config(&[&layer]);
    let listed = br#"[{"Config":"c","Layers":["l"]}]"#.as_slice();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("ends in the middle of a header", b"no tar at all".to_vec()),
        ("it has no `manifest.json`", tarred(&[("c", &good)])),
        (
            "it holds `manifest.json` twice",
            tarred(&[
                ("c", &good),
                ("l", &layer),
                ("manifest.json", listed),
                ("./manifest.json", listed),
            ]),
        ),
        (
            "it holds `c` twice",
            tarred(&[
                ("c", &good),
                ("l", &layer),
                ("c", b"{}"),
                ("manifest.json", listed),
            ]),
        ),
        (
            "`manifest.json` cannot be read",
            tarred(&[("manifest.json", br#"{"Config":"c"}"#)]),
        ),
        (
            "`manifest.json` cannot be read",
            tarred(&[("manifest.json", br#"[["c",null,["l"]]]"#)]),
        ),
        (
            "names `c`, which is not in it",
            tarred(&[("l", &layer), ("manifest.json", listed)]),
        ),
        (
            "names `l`, which is not in it",
            tarred(&[("c", &good), ("manifest.json", listed)]),
        ),
        (
            "is not what the config says",
            tarred(&[
                ("c", &good),
                ("l", b"another layer"),
                ("manifest.json", listed),
            ]),
        ),
        (
            "1 layers, but 2 diff IDs",
            tarred(&[
                ("c", &config(&[&layer, &layer])),
                ("l", &layer),
                ("manifest.json", listed),
            ]),
        ),
        (
            "a config in it is none",
            tarred(&[("c", b"[]"), ("l", &layer), ("manifest.json", listed)]),
        ),
        (
            "names `../c`, which is not in it",
            tarred(&[
                ("../c", &good),
                ("manifest.json", br#"[{"Config":"../c","Layers":[]}]"#),
            ]),
        ),
        (
            "names `/etc/passwd`, which is not in it",
            tarred(&[(
                "manifest.json",
                br#"[{"Config":"/etc/passwd","Layers":[]}]"#,
            )]),
        ),
    ];
    for (expected, archive) in cases {
        assert_refused(&workspace, expected, archive).await;
    }
}

#[tokio::test]
async fn links_and_devices_in_docker_archives_are_no_files() {
    let workspace = Workspace::new();
    let listed = br#"[{"Config":"c","Layers":[]}]"#.as_slice();
    let size = listed.len() as u64;
    let listed = ("manifest.json", EntryKind::File { size }, listed);
    let good = config(&[]);
    let size = good.len() as u64;
    let file = |name| (name, EntryKind::File { size }, good.as_slice());
    for entries in [
        // Out of the archive and back, or over another link, as no Docker has it.
        vec![("c", symlink("../d"), b"".as_slice()), file("d")],
        vec![("c", symlink("/d"), b""), file("d")],
        vec![
            ("c", symlink("d"), b""),
            ("d", symlink("e"), b""),
            file("e"),
        ],
        vec![("c", symlink("/etc/passwd"), b"".as_slice())],
        vec![
            ("c", symlink("d"), b"".as_slice()),
            ("d", symlink("c"), b""),
        ],
        vec![("c", EntryKind::Char { major: 1, minor: 5 }, b"".as_slice())],
    ] {
        let entries = [entries, vec![listed.clone()]].concat();
        let archive = tarred_entries(&entries);
        assert_refused(&workspace, "names `c`, which is not in it", archive).await;
    }
}

async fn assert_refused(workspace: &Workspace, expected: &str, archive: Vec<u8>) {
    let path = workspace.write("app.tar", archive);
    let error = match ArchiveStore::open(&path, ArchiveForm::Docker, None) {
        Ok(archive) => archive.only().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(error.to_string().contains(expected), "{error} / {expected}");
    assert!(matches!(error, StoreError::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn hostile_layouts_in_archives_are_refused() {
    let workspace = Workspace::new();
    let version = br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice();
    let index = br#"{"schemaVersion":2,"manifests":[]}"#.as_slice();
    let mut cut = tarred(&[("oci-layout", version), ("index.json", index)]);
    cut.truncate(1024 + 512 + 10);
    let cases = [
        (
            "it is not an OCI image layout",
            tarred(&[("index.json", index)]),
        ),
        (
            "it is not an OCI image layout",
            tarred(&[("oci-layout", version)]),
        ),
        ("ends in the middle of a file", cut),
        (
            "says version `2`",
            tarred(&[
                ("oci-layout", br#"{"imageLayoutVersion":"2"}"#),
                ("index.json", index),
            ]),
        ),
        (
            "it holds `index.json` twice",
            tarred(&[
                ("oci-layout", version),
                ("index.json", index),
                ("index.json", index),
            ]),
        ),
        (
            "`index.json` cannot be read",
            tarred(&[("oci-layout", version), ("index.json", b"{}")]),
        ),
        ("compressed with xz", b"\xfd7zXZ\0and so on".to_vec()),
    ];
    for (expected, content) in cases {
        let path = workspace.write("app.tar", content);
        let error = ArchiveStore::open(&path, ArchiveForm::Oci, None).unwrap_err();
        assert!(error.to_string().contains(expected), "{error} / {expected}");
    }
}

/// A listing says what is there, and how large it is; neither is believed.
#[tokio::test]
async fn what_a_tag_names_must_be_there() {
    let workspace = Workspace::new();
    let manifest = br#"{"schemaVersion":2,"manifests":[]}"#.as_slice();
    let good = Descriptor::of(MediaType::IMAGE_INDEX, manifest);
    let long = Descriptor {
        size: good.size + 1,
        ..good.clone()
    };
    let lost = Descriptor::of(MediaType::IMAGE_INDEX, b"lost");
    for (target, is_there) in [(&good, true), (&long, false), (&lost, false)] {
        let mut listed = json!(target);
        listed["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1" });
        let index = json!({ "schemaVersion": 2, "manifests": [listed] }).to_string();
        let files = tarred(&[
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
            ("index.json", index.as_bytes()),
            (&format!("blobs/sha256/{}", good.digest.hex()), manifest),
        ]);
        let archive = oci_archive(&workspace.write("app.tar", files));
        match archive.resolve(&Selector::Tag(tag("v1"))).await {
            Ok(found) => assert!(is_there && found == good),
            Err(error) => {
                assert!(!is_there, "{error:?}");
                assert!(matches!(error, StoreError::Malformed { .. }), "{error:?}");
            }
        }
    }
}

/// Some programs leave out what fills the last block, and the end.
#[tokio::test]
async fn an_archive_may_end_after_its_last_byte() {
    let workspace = Workspace::new();
    let files = tarred(&[
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json", br#"{"schemaVersion":2,"manifests":[]}"#),
    ]);
    let end = files.iter().rposition(|it| *it != 0).unwrap();
    let archive = oci_archive(&workspace.write("app.tar", &files[..=end]));
    assert_eq!(archive.tags().await.unwrap(), []);
}

#[tokio::test]
async fn what_comes_from_an_archive_is_what_was_asked_for() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let archive = new_oci_archive(&path);
    let image = push_image(&archive, b"a layer that changes", None).await;
    archive.tag(&image, &tag("v1")).await.unwrap();
    archive.finish().await.unwrap();
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"a layer that changes");
    let archive = oci_archive(&path);
    let longer = Descriptor {
        size: 21,
        ..layer.clone()
    };
    let refused = read(&archive, &longer, 100).await;
    assert!(matches!(refused, Err(StoreError::SizeMismatch { .. })));

    let mut bytes = fs_err::read(&path).unwrap();
    let at = bytes.windows(7).position(|it| it == b"a layer").unwrap();
    bytes[at] = b'A';
    fs_err::write(&path, bytes).unwrap();
    let refused = read(&oci_archive(&path), &layer, 100).await;
    assert!(matches!(refused, Err(StoreError::DigestMismatch { .. })));
}

#[tokio::test]
async fn what_is_pushed_is_checked() {
    let workspace = Workspace::new();
    let archive = new_oci_archive(&workspace.join("app.tar"));
    let target = Descriptor::of(MediaType::LAYER_TAR, b"good");
    for (content, what) in [(b"evil".as_slice(), "digest"), (b"longer", "size")] {
        let stream = futures_util::stream::iter([Ok(Bytes::from(content))]);
        for upload in [
            Upload::Bytes(content.into()),
            Upload::File(workspace.write("layer", content)),
            Upload::Stream(Content::new(stream)),
        ] {
            let error = archive.push_blob(&target, upload).await.unwrap_err();
            let as_expected = match what {
                "digest" => matches!(error, StoreError::DigestMismatch { .. }),
                _ => matches!(error, StoreError::SizeMismatch { .. }),
            };
            assert!(as_expected, "{error:?}");
            assert!(!archive.contains(&target).await.unwrap());
        }
    }
    let manifest = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
    let target = Descriptor {
        size: manifest.len() as u64,
        ..Descriptor::of(MediaType::IMAGE_INDEX, b"another")
    };
    let refused = archive.push_manifest(&target, manifest).await;
    assert!(matches!(refused, Err(StoreError::DigestMismatch { .. })));
    assert!(!archive.contains(&target).await.unwrap());
}

/// It is not waited for until it ends.
#[tokio::test]
async fn endless_content_is_cut_off() {
    let workspace = Workspace::new();
    let archive = new_oci_archive(&workspace.join("app.tar"));
    let target = Descriptor::of(MediaType::LAYER_TAR, b"good");
    let endless = futures_util::stream::repeat_with(|| Ok(Bytes::from_static(b"good")));
    let upload = Upload::Stream(Content::new(endless));
    let refused = archive.push_blob(&target, upload).await;
    assert!(matches!(refused, Err(StoreError::SizeMismatch { .. })));
}
