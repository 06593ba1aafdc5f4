//! Layers that we made ourselves: hashed once, and not copied where they need not be.

use std::convert::Infallible;
use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use oci::layer::{self, Compression, Layer};
use oci::store::{ArchiveForm, ArchiveStore, GcRoots, LayoutStore, read};
use oci::tar::{Entry, EntryKind};
use oci::{Descriptor, DiffId, Digest, MediaType, Store, StoreError, Upload};
use testkit::Workspace;

use super::now;

/// A layer that holds one file.
fn make(folder: &Path, content: &[u8]) -> Layer {
    let entry = Entry {
        path: "file".into(),
        kind: EntryKind::File {
            size: content.len() as u64,
        },
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 1,
    };
    let made = layer::write(&folder.join("made"), Compression::GoGzip, |tar| {
        tar.write(&entry, content).unwrap();
        Ok::<_, Infallible>(())
    });
    made.unwrap()
}

async fn push(store: &dyn Store, target: &Descriptor, layer: &Layer) -> Result<(), StoreError> {
    store
        .push_blob(target, Upload::Layer(Box::new(layer.clone())))
        .await
}

/// The layer is there, byte for byte.
async fn assert_holds(store: &dyn Store, layer: &Layer, content: &[u8]) {
    let limit = layer.descriptor.size;
    let held = read(store, &layer.descriptor, limit).await.unwrap();
    assert_eq!(held, content);
}

fn blobs(workspace: &Workspace) -> Vec<std::path::PathBuf> {
    let folder = workspace.join("layout/blobs/sha256");
    let entries = fs_err::read_dir(folder).unwrap();
    entries.map(|it| it.unwrap().path()).collect()
}

#[tokio::test]
async fn a_layer_on_the_same_disk_is_taken_over() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("layout")).unwrap();
    let layer = make(workspace.path(), b"content");
    let content = fs_err::read(&layer.file).unwrap();
    push(&store, &layer.descriptor, &layer).await.unwrap();
    let [blob] = &blobs(&workspace)[..] else {
        panic!("one blob, and nothing else");
    };
    let (ours, theirs) = (
        fs_err::metadata(blob).unwrap(),
        fs_err::metadata(&layer.file).unwrap(),
    );
    assert_eq!(ours.ino(), theirs.ino());
    assert_eq!(ours.permissions().mode() & 0o7777, 0o644);
    fs_err::remove_file(&layer.file).unwrap();
    assert_holds(&store, &layer, &content).await;
}

#[tokio::test]
async fn a_layer_on_another_disk_is_copied() {
    let (workspace, other) = (Workspace::new(), Workspace::in_memory());
    let store = LayoutStore::create(workspace.join("layout")).unwrap();
    let layer = make(other.path(), &vec![7; 3_000_000]);
    push(&store, &layer.descriptor, &layer).await.unwrap();
    let content = fs_err::read(&layer.file).unwrap();
    assert_holds(&store, &layer, &content).await;
    assert_eq!(blobs(&workspace).len(), 1);
}

#[tokio::test]
async fn a_link_is_not_taken_over_in_place_of_what_it_points_at() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("layout")).unwrap();
    let mut layer = make(workspace.path(), b"content");
    let link = workspace.join("link");
    std::os::unix::fs::symlink(&layer.file, &link).unwrap();
    layer.file = link;
    push(&store, &layer.descriptor, &layer).await.unwrap();
    let [blob] = &blobs(&workspace)[..] else {
        panic!("one blob, and nothing else");
    };
    assert!(fs_err::symlink_metadata(blob).unwrap().is_file());
}

/// What is in a pipe has no size, and is not there any more when it was read.
#[tokio::test]
async fn only_a_plain_file_is_taken_over() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("layout")).unwrap();
    let pipe = workspace.join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    // Neither side waits for the other.
    let _both = File::options().read(true).write(true).open(&pipe).unwrap();
    let layer = Layer {
        descriptor: Descriptor::of(MediaType::LAYER_TAR, b""),
        diff_id: DiffId(Digest::of(b"")),
        uncompressed_size: 0,
        file: pipe,
    };
    push(&store, &layer.descriptor, &layer).await.unwrap();
    let [blob] = &blobs(&workspace)[..] else {
        panic!("one blob, and nothing else");
    };
    assert!(fs_err::symlink_metadata(blob).unwrap().is_file());
}

/// It may have been made long before it is pushed, and nothing refers to it yet.
#[tokio::test]
async fn a_layer_that_was_taken_over_is_not_garbage_yet() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("layout")).unwrap();
    let layer = make(workspace.path(), b"content");
    let file = File::options().write(true).open(&layer.file).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_modified(long_ago).unwrap();
    push(&store, &layer.descriptor, &layer).await.unwrap();
    let limit = now() - Duration::from_hours(1);
    assert_eq!(store.gc(GcRoots::Listed, limit).await.unwrap(), 0);
    assert!(store.contains(&layer.descriptor).await.unwrap());
}

#[tokio::test]
async fn an_archive_takes_layers_too() {
    let workspace = Workspace::new();
    let path = workspace.join("archive.tar");
    let store = ArchiveStore::create(&path, ArchiveForm::Oci, None).unwrap();
    let layer = make(workspace.path(), b"content");
    push(&store, &layer.descriptor, &layer).await.unwrap();
    let content = fs_err::read(&layer.file).unwrap();
    assert_holds(&store, &layer, &content).await;
}

#[tokio::test]
async fn what_is_said_of_a_layer_counts_for_that_layer_only() {
    let workspace = Workspace::new();
    let layout = LayoutStore::create(workspace.join("layout")).unwrap();
    let path = workspace.join("archive.tar");
    let archive = ArchiveStore::create(&path, ArchiveForm::Oci, None).unwrap();
    let layer = make(workspace.path(), b"content");
    // Of the same size, and something else.
    let other = Descriptor {
        digest: Digest::of(b"other"),
        ..layer.descriptor.clone()
    };
    let stores: [&dyn Store; 2] = [&layout, &archive];
    for store in stores {
        let pushed = push(store, &other, &layer).await;
        assert!(matches!(pushed, Err(StoreError::DigestMismatch { .. })));
    }
    // One that was cut off since.
    let file = fs_err::OpenOptions::new().write(true).open(&layer.file);
    file.unwrap().file().set_len(10).unwrap();
    for store in stores {
        let pushed = push(store, &layer.descriptor, &layer).await;
        assert!(matches!(pushed, Err(StoreError::SizeMismatch { .. })));
    }
    assert_eq!(blobs(&workspace), [] as [&Path; 0]);
}
