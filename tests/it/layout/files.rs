//! The files of a layout: what they may be, who may read them, how they are replaced.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use oci::store::{GcRoots, read};
use oci::{
    Algorithm, Content, Descriptor, Hasher, LayoutStore, MediaType, Selector, Store, StoreError,
    Upload,
};
use testkit::Workspace;

use super::{now, push_image, tag};

fn link(target: &Path, path: &Path) {
    fs_err::os::unix::fs::symlink(target, path).unwrap();
}

fn problem(outcome: Result<LayoutStore, StoreError>) -> String {
    match outcome {
        Err(StoreError::Malformed { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

/// The lock of a layout is a file that nobody else has to know.
#[tokio::test]
async fn many_change_a_layout_at_once_and_leave_no_lock() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let image = push_image(&LayoutStore::create(&path).unwrap(), b"layer", None).await;
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (path, image) = (&path, &image);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                let runtime = runtime.unwrap();
                for round in 0..50 {
                    let store = LayoutStore::open(path).unwrap();
                    let name = tag(&format!("v{writer}.{round}"));
                    runtime.block_on(store.tag(image, &name)).unwrap();
                }
            });
        }
    });
    let tags = LayoutStore::open(&path).unwrap().tags().await.unwrap();
    assert_eq!(tags.len(), 200);
    assert!(!path.join(".lock").exists());
}

#[tokio::test]
async fn what_is_no_plain_file_is_refused_and_not_waited_for() {
    let workspace = Workspace::new();
    for name in ["oci-layout", "index.json"] {
        let path = workspace.join(format!("layout-{name}"));
        LayoutStore::create(&path).unwrap();
        fs_err::remove_file(path.join(name)).unwrap();
        let made = Command::new("mkfifo").arg(path.join(name)).status();
        assert!(made.unwrap().success());
        let refused = problem(LayoutStore::open(&path));
        assert!(refused.contains("is not a plain file"), "{refused}");
    }
    // A pipe by the name of a manifest.
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    let file = path.join("blobs/sha256").join(image.digest.hex());
    fs_err::remove_file(&file).unwrap();
    let made = Command::new("mkfifo").arg(&file).status();
    assert!(made.unwrap().success());
    for refused in [
        store.tag(&image, &tag("v1")).await.unwrap_err(),
        store.fetch(&image).await.unwrap_err(),
    ] {
        assert!(
            matches!(&refused, StoreError::Malformed { problem, .. } if problem.contains("not a plain file")),
            "{refused:?}"
        );
    }
    let empty = Descriptor {
        size: 0,
        ..image.bare()
    };
    assert!(!store.contains(&empty).await.unwrap(), "a pipe has no size");
}

/// Where it is, is up to whoever asks; where its files are is not up to them.
#[tokio::test]
async fn a_layout_may_be_behind_a_link() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    link(&path, &workspace.join("link"));
    let store = LayoutStore::open(workspace.join("link")).unwrap();
    let found = store.resolve(&Selector::Tag(tag("v1"))).await.unwrap();
    assert_eq!(found, image);
    link(&workspace.join("gone"), &workspace.join("nowhere"));
    let missing = LayoutStore::open(workspace.join("nowhere"));
    assert!(missing.unwrap_err().is_not_found());
}

/// Each digest has a folder of its own, made when it is needed.
#[tokio::test]
async fn content_may_have_another_digest() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(b"content");
    let target = Descriptor::new(MediaType::LAYER_TAR, hasher.finish(), 7);
    let upload = Upload::Bytes(Bytes::from_static(b"another"));
    let refused = store.push_blob(&target, upload).await;
    assert!(matches!(refused, Err(StoreError::DigestMismatch { .. })));
    let upload = Upload::Bytes(Bytes::from_static(b"content"));
    store.push_blob(&target, upload).await.unwrap();
    assert_eq!(read(&store, &target, 7).await.unwrap(), "content");
    let file = path.join("blobs/sha512").join(target.digest.hex());
    assert!(file.exists());
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    let future = now() + Duration::from_mins(1);
    assert_eq!(store.gc(GcRoots::Listed, future).await.unwrap(), 7);
    assert!(!file.exists());
}

#[tokio::test]
async fn blobs_that_are_no_folder_are_refused() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    LayoutStore::create(&path).unwrap();
    let folder = path.join("blobs/sha256");
    fs_err::remove_dir(&folder).unwrap();
    fs_err::write(&folder, "").unwrap();
    let refused = problem(LayoutStore::open(&path));
    assert_eq!(refused, "a folder in `blobs` is not a folder");
    fs_err::remove_dir_all(path.join("blobs")).unwrap();
    link(&workspace.write("file", ""), &path.join("blobs"));
    let refused = problem(LayoutStore::open(&path));
    assert_eq!(refused, "`blobs` is not a folder");
}

/// Others may read what we write, as far as they may read what anyone writes here.
#[tokio::test]
async fn others_may_read_a_layout() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    let mode = |path: &Path| fs_err::metadata(path).unwrap().mode() & 0o777;
    let usual = mode(&workspace.write("usual", "")) & 0o644;
    let blob = format!("blobs/sha256/{}", image.digest.hex());
    for name in ["oci-layout", "index.json", &blob] {
        assert_eq!(mode(&path.join(name)), usual, "{name}");
    }
}

#[tokio::test]
async fn a_blob_has_its_name_when_it_is_whole_and_is_not_held_till_then() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let target = Descriptor::of(MediaType::LAYER_TAR, &vec![7; 4 << 20]);
    let file = path.join("blobs/sha256").join(target.digest.hex());
    let watched = file.clone();
    let written = move || -> u64 {
        let files = fs_err::read_dir(watched.parent().unwrap()).unwrap();
        assert!(!watched.exists(), "it is there before it is whole");
        files.map(|it| it.unwrap().metadata().unwrap().len()).sum()
    };
    let chunks = (0..4).map(move |turn| {
        // One piece may be in memory, and one on its way.
        assert!(
            written() >= (u64::max(turn, 2) - 2) << 20,
            "it is held in memory"
        );
        Ok(Bytes::from(vec![7; 1 << 20]))
    });
    let upload = Upload::Stream(Content::new(stream::iter(chunks)));
    store.push_blob(&target, upload).await.unwrap();
    assert!(file.exists());
}

/// Whoever has it open reads what it was.
#[tokio::test]
async fn an_index_is_replaced_and_never_written_over() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    let before = fs_err::read(path.join("index.json")).unwrap();
    let mut open = File::open(path.join("index.json")).unwrap();
    store.tag(&image, &tag("v1")).await.unwrap();
    let mut seen = Vec::new();
    std::io::Read::read_to_end(&mut open, &mut seen).unwrap();
    assert_eq!(seen, before);
    assert_ne!(fs_err::read(path.join("index.json")).unwrap(), before);
}

#[tokio::test]
async fn an_index_too_large_to_be_read_is_not_written() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    let index = path.join("index.json");
    let long = "x".repeat((64 << 20) - 100);
    let text = format!(r#"{{"schemaVersion":2,"manifests":[],"long":"{long}"}}"#);
    fs_err::write(&index, &text).unwrap();
    assert!(text.len() < 64 << 20);
    let error = store.tag(&image, &tag("v1")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(fs_err::read_to_string(&index).unwrap() == text);
    assert_eq!(store.tags().await.unwrap(), []);

    let file = File::options().write(true).open(&index).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    let refused = problem(LayoutStore::open(&path));
    assert_eq!(refused, "a file of it is larger than 67108864 bytes");
    fs_err::write(path.join("oci-layout"), "x".repeat(4097)).unwrap();
    let refused = problem(LayoutStore::open(&path));
    assert_eq!(refused, "a file of it is larger than 4096 bytes");
}

/// What is only ours to read still says what it is.
#[tokio::test]
async fn a_folder_that_cannot_be_written_is_read() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    fs_err::set_permissions(&path, Permissions::from_mode(0o555)).unwrap();
    let store = LayoutStore::open(&path).unwrap();
    let found = store.resolve(&Selector::Tag(tag("v1"))).await.unwrap();
    assert_eq!(found, image);
    fs_err::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}
