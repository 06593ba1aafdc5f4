//! How much of an archive is read, and which of it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::*;

/// A tar of files of which only the size matters: they have no bytes but zeros, and take no room.
fn write_sparse(path: &Path, files: &[(&str, u64)], rest: &[u8]) {
    let file = File::create(path).unwrap();
    let mut at = 0;
    for (name, size) in files {
        let content = std::io::repeat(0);
        let entry = Entry {
            path: name.into(),
            kind: EntryKind::File { size: *size },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
        };
        let mut header = HeaderOnly(Vec::new());
        // It ends with an error once it has the header.
        Writer::new(&mut header).write(&entry, content).unwrap_err();
        file.write_all_at(&header.0, at).unwrap();
        at += 512 + size.next_multiple_of(512);
    }
    file.write_all_at(rest, at).unwrap();
}

struct HeaderOnly(Vec<u8>);

impl std::io::Write for HeaderOnly {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() >= 512 {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn problem(path: &Path, form: ArchiveForm) -> String {
    match ArchiveStore::open(path, form, None) {
        Err(StoreError::Malformed { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

/// The form; files of zeros; the rest of the tar; what is said of it.
type Case<'a> = (ArchiveForm, &'a [(&'a str, u64)], &'a [u8], &'a str);

#[test]
fn documents_that_are_too_large_are_not_read() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let version = br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice();
    let listed = |count: usize| {
        let image = json!({ "Config": "c", "Layers": [] });
        let listed = Value::from(vec![image; count]).to_string();
        tarred(&[("manifest.json", listed.as_bytes())])
    };
    let many_layers = json!([{ "Config": "c", "Layers": vec!["l"; 5001] }]).to_string();
    let many_layers = tarred(&[("c", b"{}"), ("manifest.json", many_layers.as_bytes())]);
    let end = tarred(&[]);
    let oci = ArchiveForm::Oci;
    let docker = ArchiveForm::Docker;
    let cases: [Case<'_>; 6] = [
        (
            oci,
            &[("oci-layout", 4097)],
            &end,
            "its `oci-layout` is larger than 4096 bytes",
        ),
        (
            oci,
            &[("index.json", (64 << 20) + 1)],
            &tarred(&[("oci-layout", version)]),
            "its `index.json` is larger than 67108864 bytes",
        ),
        (
            docker,
            &[("manifest.json", (4 << 20) + 1)],
            &end,
            "its `manifest.json` is larger than 4194304 bytes",
        ),
        (
            docker,
            &[("c", (128 << 20) + 1)],
            &listed(1),
            "its `c` is larger than 134217728 bytes",
        ),
        (
            docker,
            &[("c", 50 << 20)],
            &listed(3),
            "the configs in it are too large",
        ),
        (
            docker,
            &[],
            &many_layers,
            "an image in it has more than 5000 layers",
        ),
    ];
    for (form, files, rest, expected) in cases {
        write_sparse(&path, files, rest);
        assert_eq!(problem(&path, form), expected);
    }
}

#[test]
fn names_that_are_too_long_are_refused() {
    let workspace = Workspace::new();
    let long = "n".repeat(4097);
    let path = workspace.write("app.tar", tarred(&[(&long, b"")]));
    let refused = ArchiveStore::open(&path, ArchiveForm::Docker, None).unwrap_err();
    let StoreError::Unavailable { source, .. } = refused else {
        panic!("{refused:?}");
    };
    let text = source.to_string();
    assert_eq!(text, "the archive has a path of more than 4096 bytes");
}

#[test]
fn a_folder_is_no_archive() {
    let workspace = Workspace::new();
    let home = workspace.join("home");
    assert_eq!(problem(&home, ArchiveForm::Oci), "it is a folder");
    let refused = ArchiveStore::create(&home, ArchiveForm::Oci, None);
    assert!(matches!(refused, Err(StoreError::Unsupported { .. })));
}

/// A manifest is small, whatever a name or a listing says.
#[tokio::test]
async fn a_manifest_is_read_within_the_limit_and_checked() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let archive = new_oci_archive(&path);
    let image = push_image(&archive, b"layer", None).await;
    archive.tag(&image, &tag("v1")).await.unwrap();
    let large = Descriptor::of(MediaType::IMAGE_MANIFEST, &vec![b' '; (4 << 20) + 1]);
    let upload = Upload::Bytes(vec![b' '; (4 << 20) + 1].into());
    archive.push_blob(&large, upload).await.unwrap();
    let refused = archive
        .resolve(&Selector::Digest(large.digest.clone()))
        .await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    let refused = archive.tag(&large, &tag("v2")).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    archive.finish().await.unwrap();

    let mut bytes = fs_err::read(&path).unwrap();
    let manifest = read(&archive, &image, 1 << 20).await.unwrap();
    let at = bytes
        .windows(manifest.len())
        .position(|it| it == manifest)
        .unwrap();
    bytes[at + manifest.len() - 2] ^= 1;
    fs_err::write(&path, bytes).unwrap();
    let archive = oci_archive(&path);
    let by_digest = Selector::Digest(image.digest.clone());
    for refused in [
        archive.resolve(&by_digest).await.unwrap_err(),
        archive.tag(&image, &tag("v2")).await.unwrap_err(),
        archive.referrers(&image.digest).await.unwrap_err(),
    ] {
        assert!(
            matches!(refused, StoreError::DigestMismatch { .. }),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn content_has_one_size() {
    let workspace = Workspace::new();
    let archive = new_oci_archive(&workspace.join("app.tar"));
    let image = push_image(&archive, b"layer", None).await;
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"layer");
    for target in [&image, &layer] {
        assert!(archive.contains(target).await.unwrap());
        let long = Descriptor {
            size: target.size + 1,
            ..target.clone()
        };
        assert!(!archive.contains(&long).await.unwrap());
        let refused = archive.fetch(&long).await;
        assert!(matches!(refused, Err(StoreError::SizeMismatch { .. })));
    }
    let long = Descriptor {
        size: image.size + 1,
        ..image
    };
    let refused = archive.tag(&long, &tag("v1")).await;
    assert!(matches!(refused, Err(StoreError::SizeMismatch { .. })));
}

/// What has been opened may be cut by another.
#[tokio::test]
async fn an_archive_that_shrinks_is_noticed() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let archive = new_oci_archive(&path);
    let layer = vec![7; 2 << 20];
    let image = push_image(&archive, &layer, None).await;
    archive.tag(&image, &tag("v1")).await.unwrap();
    archive.finish().await.unwrap();
    let archive = oci_archive(&path);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(1 << 20).unwrap();
    let layer = Descriptor::of(MediaType::LAYER_TAR, &layer);
    let refused = read(&archive, &layer, 10 << 20).await;
    assert!(matches!(refused, Err(StoreError::SizeMismatch { .. })));
}

/// The error comes after as many bytes as there should be.
#[tokio::test]
async fn content_that_breaks_off_is_not_taken() {
    let workspace = Workspace::new();
    let archive = new_oci_archive(&workspace.join("app.tar"));
    let target = Descriptor::of(MediaType::LAYER_TAR, b"good");
    let broken = StoreError::io("source", "go on", std::io::ErrorKind::BrokenPipe.into());
    let chunks = [Ok(Bytes::from_static(b"good")), Err(broken)];
    let upload = Upload::Stream(Content::new(futures_util::stream::iter(chunks)));
    let refused = archive.push_blob(&target, upload).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
    assert!(!archive.contains(&target).await.unwrap());
}

/// What is wrong is noticed before it is as long as it should be: who takes it for whole then, is
/// right.
#[tokio::test]
async fn what_is_wrong_never_gets_as_long_as_it_should_be() {
    use futures_util::StreamExt as _;

    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let archive = new_oci_archive(&path);
    let image = push_image(&archive, b"a layer that changes", None).await;
    archive.tag(&image, &tag("v1")).await.unwrap();
    archive.finish().await.unwrap();
    let mut bytes = fs_err::read(&path).unwrap();
    let at = bytes.windows(7).position(|it| it == b"a layer").unwrap();
    bytes[at] = b'A';
    fs_err::write(&path, bytes).unwrap();
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"a layer that changes");
    let mut content = oci_archive(&path).fetch(&layer).await.unwrap();
    let mut length = 0;
    while let Some(Ok(chunk)) = content.next().await {
        length += chunk.len() as u64;
    }
    assert!(length < layer.size, "{length}");
}

/// What is next to it belongs to other content.
#[tokio::test]
async fn content_that_is_too_long_spoils_no_other() {
    use futures_util::StreamExt as _;

    let workspace = Workspace::new();
    let archive = new_oci_archive(&workspace.join("app.tar"));
    let one = Descriptor::of(MediaType::LAYER_TAR, b"one");
    let two = Descriptor::of(MediaType::LAYER_TAR, b"two");
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel::<()>();
    let chunks = futures_util::stream::once(async move {
        begun.send(()).unwrap();
        wait.await.unwrap();
        Ok(Bytes::from_static(b"one and more"))
    });
    let upload = Upload::Stream(Content::new(chunks.boxed()));
    let other = archive.clone();
    let pushing = tokio::spawn(async move { other.push_blob(&one, upload).await });
    begins.await.unwrap();
    let upload = Upload::Bytes(Bytes::from_static(b"two"));
    archive.push_blob(&two, upload).await.unwrap();
    go.send(()).unwrap();
    let refused = pushing.await.unwrap();
    assert!(matches!(refused, Err(StoreError::SizeMismatch { .. })));
    assert_eq!(read(&archive, &two, 100).await.unwrap(), "two");
}
