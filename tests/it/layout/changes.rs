//! Layouts that others change, too.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use oci::store::{ArchiveForm, ArchiveStore, GcRoots, read};
use oci::{Descriptor, Digest, LayoutStore, MediaType, Selector, Store, StoreError, Upload};
use testkit::{Workspace, is_waited_for};

use super::{now, push_image, tag};

/// Runs `work` on another thread while `.lock` of `layout` is held. Whether it waits for that.
fn waits(layout: &Path, work: impl FnOnce() + Send + 'static) -> bool {
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(layout.join(".lock"))
        .unwrap();
    lock.lock().unwrap();
    let thread = thread::spawn(work);
    let waits = is_waited_for(&lock, || thread.is_finished());
    lock.unlock().unwrap();
    thread.join().unwrap();
    waits
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(work)
}

#[test]
fn whoever_changes_a_layout_waits_until_nobody_else_does() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = block_on(push_image(&store, b"layer", None));
    let (other, target) = (store.clone(), image.clone());
    assert!(waits(&path, move || {
        block_on(other.tag(&target, &tag("v1"))).unwrap();
    }));
    let other = store.clone();
    assert!(waits(&path, move || {
        block_on(other.gc(GcRoots::Listed, SystemTime::UNIX_EPOCH)).unwrap();
    }));
    let half = workspace.join("half");
    fs_err::create_dir(&half).unwrap();
    let made = half.clone();
    assert!(waits(&half, move || {
        LayoutStore::create(made).unwrap();
    }));
}

/// Every sign by which one `index.json` can be told from another is looked at.
#[tokio::test]
async fn an_index_that_others_changed_is_read_again() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v0")).await.unwrap();
    let index = path.join("index.json");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let write = |path: &Path, text: &str, time: SystemTime| {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .unwrap();
        std::io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
        file.set_modified(time).unwrap();
    };
    let mut text = fs_err::read_to_string(&index).unwrap();
    write(&index, &text, time);
    assert_eq!(store.tags().await.unwrap(), [tag("v0")]);

    // A new file, as we write it.
    text = text.replace("\"v0\"", "\"v1\"");
    write(&workspace.join("new"), &text, time);
    fs_err::rename(workspace.join("new"), &index).unwrap();
    assert_eq!(store.tags().await.unwrap(), [tag("v1")]);
    // The same file with other content, as other tools do: longer, then later.
    text = text.replace("\"v1\"", "\"v02\"");
    write(&index, &text, time);
    assert_eq!(store.tags().await.unwrap(), [tag("v02")]);
    for (name, by) in [
        ("v03", Duration::from_nanos(10)),
        ("v04", Duration::from_nanos(1_000_000_010)),
    ] {
        let before = store.tags().await.unwrap().remove(0);
        text = text.replace(before.as_str(), name);
        write(&index, &text, time + by);
        assert_eq!(store.tags().await.unwrap(), [tag(name)]);
    }
}

/// What others attach is found, by a store that was asked before.
#[tokio::test]
async fn referrers_that_others_attach_or_delete_are_noticed() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let (store, other) = (
        LayoutStore::create(&path).unwrap(),
        LayoutStore::create(&path).unwrap(),
    );
    let image = push_image(&store, b"image", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    assert_eq!(store.referrers(&image.digest).await.unwrap(), []);
    let proof = push_image(&other, b"proof", Some(&image)).await;
    assert_eq!(store.referrers(&image.digest).await.unwrap().len(), 1);
    store.delete(&proof).await.unwrap();
    assert_eq!(store.referrers(&image.digest).await.unwrap(), []);
    assert_eq!(other.referrers(&image.digest).await.unwrap(), []);
    push_image(&other, b"proof", Some(&image)).await;
    assert_eq!(store.referrers(&image.digest).await.unwrap().len(), 1);
}

fn age(path: &Path, digest: &Digest, time: SystemTime) {
    let file = path.join("blobs/sha256").join(digest.hex());
    let file = File::options().write(true).open(file).unwrap();
    file.set_modified(time).unwrap();
}

/// Someone is about to refer to it.
#[tokio::test]
async fn what_was_asked_for_or_pushed_again_is_not_garbage_yet() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    let manifest = read(&store, &image, 1 << 20).await.unwrap();
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"layer");
    let config = Descriptor::of(MediaType::EMPTY, b"{}");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let limit = now() - Duration::from_hours(1);
    for target in [&image, &layer, &config] {
        age(&path, &target.digest, long_ago);
    }
    assert!(store.contains(&layer).await.unwrap());
    store.push_manifest(&image, manifest).await.unwrap();
    assert_eq!(store.gc(GcRoots::Listed, limit).await.unwrap(), config.size);
    assert!(store.contains(&layer).await.unwrap());
    assert!(store.contains(&image).await.unwrap());
}

/// Only what a layout makes is taken away, and only what is old.
#[tokio::test]
async fn garbage_is_what_a_layout_made_and_nothing_needs() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    let future = now() + Duration::from_mins(1);
    let blobs = path.join("blobs/sha256");
    fs_err::write(path.join("README"), "ours").unwrap();
    fs_err::write(blobs.join("README"), "ours").unwrap();
    fs_err::create_dir(blobs.join(".tmp-folder")).unwrap();
    fs_err::create_dir(blobs.join(Digest::of(b"folder").hex())).unwrap();
    fs_err::write(path.join(".tmp-1"), "12345").unwrap();
    let victim = workspace.write("victim", "a long text");
    let link = blobs.join(".tmp-link");
    fs_err::os::unix::fs::symlink(&victim, &link).unwrap();
    let index = || fs_err::metadata(path.join("index.json")).unwrap().ino();
    let written = index();
    for roots in [GcRoots::Listed, GcRoots::Tagged] {
        assert_eq!(store.gc(roots, SystemTime::UNIX_EPOCH).await.unwrap(), 0);
    }
    assert_eq!(index(), written, "there was nothing to change");
    assert_eq!(store.gc(GcRoots::Listed, future).await.unwrap(), 5);
    assert!(victim.exists());
    assert!(path.join("README").exists() && blobs.join("README").exists());
    let found = store.resolve(&Selector::Tag(tag("v1"))).await.unwrap();
    assert_eq!(found, image);
}

#[tokio::test]
async fn nothing_is_taken_away_if_a_manifest_cannot_be_read() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    let orphan = Descriptor::of(MediaType::LAYER_TAR, b"orphan");
    let upload = Upload::Bytes(Bytes::from_static(b"orphan"));
    store.push_blob(&orphan, upload).await.unwrap();
    let junk = Descriptor::of(MediaType::IMAGE_MANIFEST, b"no manifest");
    let upload = Upload::Bytes(Bytes::from_static(b"no manifest"));
    store.push_blob(&junk, upload).await.unwrap();
    let index = path.join("index.json");
    let text = fs_err::read_to_string(&index).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let entries = json["manifests"].as_array_mut().unwrap();
    entries.push(serde_json::to_value(&junk).unwrap());
    fs_err::write(&index, json.to_string()).unwrap();
    let future = now() + Duration::from_mins(1);
    let refused = store.gc(GcRoots::Listed, future).await;
    assert!(matches!(refused, Err(StoreError::Manifest { .. })));
    assert!(store.contains(&orphan).await.unwrap());
}

/// A half-made layout may have been another's, who has listed something since.
#[tokio::test]
async fn what_is_listed_in_half_a_layout_stays() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    fs_err::remove_file(path.join("oci-layout")).unwrap();
    fs_err::write(path.join(".tmp-index"), "{").unwrap();
    let store = LayoutStore::create(&path).unwrap();
    let found = store.resolve(&Selector::Tag(tag("v1"))).await.unwrap();
    assert_eq!(found, image);
}

#[tokio::test]
async fn only_manifests_that_are_there_are_listed() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("layout")).unwrap();
    let image = push_image(&store, b"layer", None).await;
    let lost = Descriptor::of(MediaType::IMAGE_MANIFEST, b"lost");
    assert!(store.list(&lost).await.unwrap_err().is_not_found());
    let long = Descriptor {
        size: image.size + 1,
        ..image.clone()
    };
    let refused = store.list(&long).await;
    assert!(matches!(refused, Err(StoreError::SizeMismatch { .. })));
    store.list(&image).await.unwrap();
    assert_eq!(store.only().await.unwrap(), image);
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"layer");
    let refused = store.delete(&layer).await;
    assert!(matches!(refused, Err(StoreError::Unsupported { .. })));
    assert!(store.contains(&layer).await.unwrap());
}

/// The only image is one that is neither proof of another nor a list of proof.
#[tokio::test]
async fn the_only_image_is_the_only_one() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("layout")).unwrap();
    assert!(store.only().await.unwrap_err().is_not_found());
    let image = push_image(&store, b"layer", None).await;
    push_image(&store, b"proof", Some(&image)).await;
    let signature = push_image(&store, b"signature", None).await;
    let name = tag(&format!("sha256-{}.sig", image.digest.hex()));
    store.tag(&signature, &name).await.unwrap();
    store.tag(&image, &tag("v1")).await.unwrap();
    store.tag(&image, &tag("v2")).await.unwrap();
    assert_eq!(store.only().await.unwrap(), image);
    // Not every name of that form is made of a digest.
    let other = push_image(&store, b"other", None).await;
    for name in [
        format!("sha256-{}", "x".repeat(64)),
        format!("sha256-{}", "0".repeat(63)),
        "0".repeat(64),
    ] {
        store.tag(&other, &tag(&name)).await.unwrap();
        let refused = store.only().await;
        assert!(matches!(refused, Err(StoreError::Malformed { .. })));
        store.delete(&other).await.unwrap();
        push_image(&store, b"other", None).await;
    }
}

/// What a listing says that a manifest is counts only if it is the media type of one.
#[tokio::test]
async fn a_digest_is_resolved_by_what_the_manifest_is() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    let index = path.join("index.json");
    let text = fs_err::read_to_string(&index).unwrap();
    let text = text.replacen(image.media_type.as_str(), "text/plain", 1);
    fs_err::write(&index, text).unwrap();
    let selector = Selector::Digest(image.digest.clone());
    assert_eq!(store.resolve(&selector).await.unwrap(), image);
    let selector = Selector::Digest(Digest::of(b"layer"));
    let refused = store.resolve(&selector).await;
    assert!(matches!(refused, Err(StoreError::Manifest { .. })));
}

/// Where only the list under a fallback tag leads to it, and stays.
#[tokio::test]
async fn what_was_deleted_is_no_referrer_whatever_lists_it() {
    let workspace = Workspace::new();
    let layout = LayoutStore::create(workspace.join("layout")).unwrap();
    let path = workspace.join("archive.tar");
    let archive = ArchiveStore::create(path, ArchiveForm::Oci, None).unwrap();
    let stores: [&dyn Store; 2] = [&layout, &archive];
    for store in stores {
        let image = push_image(store, b"image", None).await;
        let proof = serde_json::json!({
            "schemaVersion": 2, "config": Descriptor::of(MediaType::EMPTY, b"{}"),
            "layers": [], "subject": image,
        });
        let proof = Bytes::from(proof.to_string());
        let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &proof);
        let upload = Upload::Bytes(proof);
        store.push_blob(&target, upload).await.unwrap();
        let list = serde_json::json!({ "schemaVersion": 2, "manifests": [target] });
        let list = Bytes::from(list.to_string());
        let fallback = Descriptor::of(MediaType::IMAGE_INDEX, &list);
        store.push_manifest(&fallback, list).await.unwrap();
        let name = tag(&format!("sha256-{}", image.digest.hex()));
        store.tag(&fallback, &name).await.unwrap();
        assert_eq!(store.referrers(&image.digest).await.unwrap().len(), 1);
        store.delete(&target).await.unwrap();
        assert_eq!(store.referrers(&image.digest).await.unwrap(), []);
    }
}

/// Then none of them is listed.
#[tokio::test]
async fn manifests_that_cannot_be_written_are_an_error() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"image", None).await;
    let before = fs_err::read(path.join("index.json")).unwrap();
    let proofs = ["one", "two"].map(|which| {
        let proof = serde_json::json!({
            "schemaVersion": 2, "config": Descriptor::of(MediaType::EMPTY, b"{}"),
            "layers": [], "subject": image, "annotations": { "which": which },
        });
        let proof = Bytes::from(proof.to_string());
        (Descriptor::of(MediaType::IMAGE_MANIFEST, &proof), proof)
    });
    fs_err::remove_dir_all(path.join("blobs/sha256")).unwrap();
    let refused = store.push_manifests(proofs.to_vec()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
    assert!(fs_err::read(path.join("index.json")).unwrap() == before);
}

/// That it is there already is no reason to believe what comes by its name.
#[tokio::test]
async fn what_is_pushed_again_is_checked() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("layout")).unwrap();
    let image = push_image(&store, b"image", None).await;
    let good = read(&store, &image, 1 << 20).await.unwrap();
    let text = std::str::from_utf8(&good).unwrap();
    let evil = text.replace('2', "3");
    let refused = store.push_manifest(&image, evil.into()).await;
    assert!(matches!(refused, Err(StoreError::DigestMismatch { .. })));
    let longer = format!("{text} ");
    let refused = store.push_manifest(&image, longer.into()).await;
    assert!(matches!(refused, Err(StoreError::SizeMismatch { .. })));
}

#[tokio::test]
async fn content_has_one_size() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("layout")).unwrap();
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"layer");
    push_image(&store, b"layer", None).await;
    for size in [0, 4, 6] {
        let wrong = Descriptor {
            size,
            ..layer.clone()
        };
        assert!(!store.contains(&wrong).await.unwrap());
        let refused = store.fetch(&wrong).await;
        assert!(matches!(refused, Err(StoreError::SizeMismatch { .. })));
    }
}

/// Whoever finds a manifest to be broken says so to all.
#[tokio::test]
async fn a_manifest_that_was_found_broken_is_not_there() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"image", None).await;
    let file = path.join("blobs/sha256").join(image.digest.hex());
    let mut content = fs_err::read(&file).unwrap();
    content[1] ^= 1;
    fs_err::write(&file, content).unwrap();
    assert!(store.contains(&image).await.unwrap());
    let by_digest = Selector::Digest(image.digest.clone());
    let refused = store.resolve(&by_digest).await;
    assert!(matches!(refused, Err(StoreError::DigestMismatch { .. })));
    assert!(!store.contains(&image).await.unwrap());
}
