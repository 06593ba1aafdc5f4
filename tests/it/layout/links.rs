//! Symbolic links in a layout, as Bazel and Nix make them: what is behind them is read, as all tools of the
//! field do, and nothing there is changed.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use oci::store::{GcRoots, read};
use oci::{Descriptor, LayoutStore, MediaType, Selector, Store as _, StoreError, Upload};
use testkit::{Output, Workspace, peer};

use super::{now, push_image, tag};

fn link(target: &Path, path: &Path) {
    fs_err::os::unix::fs::symlink(target, path).unwrap();
}

/// The names of files below `folder`, with what changes when one is written.
fn state(folder: &Path) -> Vec<(String, u64, i64, i64, u64)> {
    let mut found = Vec::new();
    for entry in walkdir(folder) {
        let about = fs_err::symlink_metadata(&entry).unwrap();
        let name = entry.display().to_string();
        found.push((
            name,
            about.len(),
            about.mtime(),
            about.mtime_nsec(),
            about.ino(),
        ));
    }
    found.sort();
    found
}

fn walkdir(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walkdir(&path));
        }
        found.push(path);
    }
    found
}

/// A layout `real` with an image, `v1`, and what is attached to it.
async fn real(workspace: &Workspace) -> (Descriptor, Descriptor) {
    let store = LayoutStore::create(workspace.join("real")).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    let proof = push_image(&store, b"proof", Some(&image)).await;
    (image, proof)
}

/// The same by links: to each blob, to the folder of blobs, and to all that there is.
fn linked(workspace: &Workspace) -> [std::path::PathBuf; 3] {
    let real = workspace.join("real");
    let [files, folder, all] = ["files", "folder", "all"].map(|it| workspace.join(it));
    for path in [&files, &folder] {
        fs_err::create_dir_all(path.join("blobs")).unwrap();
        for name in ["oci-layout", "index.json"] {
            fs_err::copy(real.join(name), path.join(name)).unwrap();
        }
    }
    fs_err::create_dir(files.join("blobs/sha256")).unwrap();
    for entry in fs_err::read_dir(real.join("blobs/sha256")).unwrap() {
        let entry = entry.unwrap();
        let name = files.join("blobs/sha256").join(entry.file_name());
        link(&entry.path(), &name);
    }
    link(&real.join("blobs/sha256"), &folder.join("blobs/sha256"));
    fs_err::create_dir(&all).unwrap();
    for name in ["oci-layout", "index.json", "blobs"] {
        link(&real.join(name), &all.join(name));
    }
    [files, folder, all]
}

#[tokio::test]
async fn what_is_behind_links_is_read() {
    let workspace = Workspace::new();
    let (image, proof) = real(&workspace).await;
    let before = state(&workspace.join("real"));
    for path in linked(&workspace) {
        let store = LayoutStore::open(&path).unwrap();
        let found = store.resolve(&Selector::Tag(tag("v1"))).await.unwrap();
        assert_eq!(found, image);
        assert!(read(&store, &image, 10_000).await.is_ok());
        let attached = store.referrers(&image.digest).await.unwrap();
        assert_eq!(attached.len(), 1);
        assert_eq!(attached[0].digest, proof.digest);

        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (from, to) = (format!("oci:{name}:v1"), format!("oci:copy-{name}:v1"));
        Output::of(&mut workspace.sealpack(["copy", &from, &to])).expect(0);
        let Some(skopeo) = peer("skopeo") else {
            continue;
        };
        let mut skopeo = workspace.command(skopeo);
        skopeo.args(["inspect", "--raw", &from]);
        Output::of(&mut skopeo).expect(0);
    }
    assert_eq!(state(&workspace.join("real")), before);
}

#[tokio::test]
async fn what_is_written_stays_in_the_layout() {
    let workspace = Workspace::new();
    let (image, _) = real(&workspace).await;
    let before = state(&workspace.join("real"));
    let [files, folder, all] = linked(&workspace);

    // A blob that is a link becomes a file of the layout when it is pushed.
    let store = LayoutStore::open(&files).unwrap();
    let bytes = read(&store, &image, 10_000).await.unwrap();
    store.push_manifest(&image, bytes.clone()).await.unwrap();
    let blob = files.join("blobs/sha256").join(image.digest.hex());
    assert!(fs_err::symlink_metadata(&blob).unwrap().is_file());
    store.tag(&image, &tag("v2")).await.unwrap();
    let future = now() + Duration::from_mins(1);
    store.gc(GcRoots::Tagged, future).await.unwrap();
    assert!(read(&store, &image, 10_000).await.is_ok());
    store.delete(&image).await.unwrap();
    assert!(!blob.exists());

    // Through a folder nothing is written, deleted or collected, and what is there is not made to look new.
    let other = Descriptor::of(MediaType::LAYER_TAR, b"other");
    for path in [&folder, &all] {
        let store = LayoutStore::open(path).unwrap();
        let upload = Upload::Bytes(Bytes::from_static(b"other"));
        let pushed = store.push_blob(&other, upload).await.map(|()| 0);
        let deleted = store.delete(&image).await.map(|()| 0);
        let collected = store.gc(GcRoots::Tagged, future).await;
        let again = store.push_manifest(&image, bytes.clone()).await.map(|()| 0);
        for refused in [pushed, deleted, collected, again] {
            let Err(StoreError::Malformed { problem, .. }) = refused else {
                panic!("{refused:?}");
            };
            assert!(problem.contains("is a link"), "{problem}");
        }
        // A tag is in a file that is replaced.
        store.tag(&image, &tag("v2")).await.unwrap();
        let index = fs_err::symlink_metadata(path.join("index.json"));
        assert!(index.unwrap().is_file());
        let found = store.resolve(&Selector::Tag(tag("v2"))).await.unwrap();
        assert_eq!(found.digest, image.digest);
    }
    assert_eq!(state(&workspace.join("real")), before);
}

/// What is not as it says is an error, and that file is not ours to mark.
#[tokio::test]
async fn what_is_wrong_behind_a_link_is_left_as_it_is() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let good = Bytes::from_static(b"good");
    let target = Descriptor::of(MediaType::LAYER_TAR, &good);
    let file = workspace.write("file", "evil");
    let blob = path.join("blobs/sha256").join(target.digest.hex());
    link(&file, &blob);
    let modified = || fs_err::metadata(&file).unwrap().modified().unwrap();
    let before = modified();
    assert!(before > SystemTime::UNIX_EPOCH);
    let mismatch = read(&store, &target, 10).await;
    assert!(matches!(mismatch, Err(StoreError::DigestMismatch { .. })));
    let upload = Upload::Bytes(good.clone());
    store.push_blob(&target, upload).await.unwrap();
    assert_eq!(read(&store, &target, 10).await.unwrap(), good);
    assert_eq!(modified(), before);
    assert_eq!(fs_err::read(&file).unwrap(), b"evil");
}

/// Nor is it where a folder above it is the link.
#[tokio::test]
async fn what_is_wrong_in_a_linked_folder_is_left_as_it_is() {
    let workspace = Workspace::new();
    let (image, _) = real(&workspace).await;
    let [_, folder, all] = linked(&workspace);
    let blob = workspace.join("real/blobs/sha256").join(image.digest.hex());
    let wrong = vec![b'-'; usize::try_from(image.size).unwrap()];
    fs_err::write(&blob, wrong).unwrap();
    let before = state(&workspace.join("real"));
    for path in [&folder, &all] {
        let store = LayoutStore::open(path).unwrap();
        let streamed = read(&store, &image, 10_000).await.map(drop);
        let whole = store.resolve(&Selector::Digest(image.digest.clone())).await;
        for refused in [streamed, whole.map(drop)] {
            assert!(matches!(refused, Err(StoreError::DigestMismatch { .. })));
        }
        assert!(!store.contains(&image).await.unwrap());
    }
    assert_eq!(state(&workspace.join("real")), before);
}

/// What is behind it cannot be checked, and whoever pushes is about to rely on it.
#[tokio::test]
async fn a_link_to_what_cannot_be_read_is_not_counted_on() {
    // Not even root may read it.
    let unreadable = Path::new("/proc/sys/vm/compact_memory");
    if !unreadable.exists() || fs_err::File::open(unreadable).is_ok() {
        return;
    }
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let target = Descriptor::of(MediaType::LAYER_TAR, b"");
    let blob = path.join("blobs/sha256").join(target.digest.hex());
    link(unreadable, &blob);
    assert!(!store.contains(&target).await.unwrap());
    let upload = Upload::Bytes(Bytes::new());
    store.push_blob(&target, upload).await.unwrap();
    assert!(fs_err::symlink_metadata(&blob).unwrap().is_file());
}

/// What it refers to is still needed: the link may lead somewhere again.
#[tokio::test]
async fn nothing_is_collected_where_a_manifest_is_a_link_that_leads_nowhere() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    let blob = path.join("blobs/sha256").join(image.digest.hex());
    let elsewhere = workspace.join("elsewhere");
    fs_err::rename(&blob, &elsewhere).unwrap();
    link(&workspace.join("nowhere"), &blob);
    let before = state(&path.join("blobs"));
    let future = now() + Duration::from_mins(1);
    for roots in [GcRoots::Listed, GcRoots::Tagged] {
        let collected = store.gc(roots, future).await;
        let Err(StoreError::Malformed { problem, .. }) = collected else {
            panic!("{collected:?}");
        };
        assert!(problem.contains("a link that leads nowhere"), "{problem}");
    }
    assert_eq!(state(&path.join("blobs")), before);
}

#[tokio::test]
async fn links_that_lead_nowhere_or_to_other_things_are_errors() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    let blob = path.join("blobs/sha256").join(image.digest.hex());
    let pipe = workspace.join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for target in [&workspace.join("nowhere"), &blob, &pipe, &path] {
        fs_err::remove_file(&blob).unwrap();
        link(target, &blob);
        assert!(store.fetch(&image).await.is_err(), "{}", target.display());
        assert!(!store.contains(&image).await.unwrap_or_default());
    }
    // The lock is made, and never where a link leads.
    let victim = workspace.join("victim");
    link(&victim, &path.join(".lock"));
    let other = push_image(&store, b"other", None).await;
    let refused = store.tag(&other, &tag("v1")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
    assert!(!victim.exists(), "it was made through the link");
}
