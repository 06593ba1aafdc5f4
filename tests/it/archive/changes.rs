//! Archives that are written again, and those that others write, too.

use std::fs::{File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use testkit::is_waited_for;

use super::*;

/// An archive with an image `v1`, and that image.
async fn archive_at(path: &Path) -> Descriptor {
    let archive = new_oci_archive(path);
    let image = push_image(&archive, b"first", None).await;
    archive.tag(&image, &tag("v1")).await.unwrap();
    archive.finish().await.unwrap();
    image
}

/// Another image is put in, and the archive is not written yet.
async fn changed(path: &Path) -> ArchiveStore {
    let archive = new_oci_archive(path);
    let image = push_image(&archive, b"second", None).await;
    archive.tag(&image, &tag("v2")).await.unwrap();
    archive
}

fn assert_changed(outcome: Result<(), StoreError>) {
    let StoreError::Unavailable { source, .. } = outcome.unwrap_err() else {
        panic!("it was another error");
    };
    assert!(source.to_string().contains("someone else has changed it"));
}

#[tokio::test]
async fn a_link_to_an_archive_stays_a_link() {
    let workspace = Workspace::new();
    let empty = workspace.write("there/empty.tar", "");
    let full = workspace.join("there/full.tar");
    archive_at(&full).await;
    for target in [empty, full] {
        let link = workspace.join(target.file_name().unwrap());
        fs_err::os::unix::fs::symlink(&target, &link).unwrap();
        changed(&link).await.finish().await.unwrap();
        assert!(fs_err::symlink_metadata(&link).unwrap().is_symlink());
        resolve(&oci_archive(&target), "v2").await;
    }
}

#[tokio::test]
async fn an_archive_keeps_its_permissions_but_none_of_another_kind() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    archive_at(&path).await;
    for (before, after) in [(0o600, 0o600), (0o4640, 0o640)] {
        fs_err::set_permissions(&path, Permissions::from_mode(before)).unwrap();
        let archive = new_oci_archive(&path);
        let layer = format!("{before}");
        let image = push_image(&archive, layer.as_bytes(), None).await;
        archive.tag(&image, &tag("v2")).await.unwrap();
        archive.finish().await.unwrap();
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, after);
    }
}

/// Whoever has it open reads what it was; who has changed nothing writes nothing.
#[tokio::test]
async fn an_archive_is_replaced_and_never_written_over() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let image = archive_at(&path).await;
    let before = fs_err::read(&path).unwrap();
    let mut open = File::open(&path).unwrap();
    let archive = changed(&path).await;
    archive.finish().await.unwrap();
    let mut seen = Vec::new();
    open.read_to_end(&mut seen).unwrap();
    assert!(seen == before);

    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs_err::metadata(path).unwrap());
    let written = inode(&path);
    archive.finish().await.unwrap();
    let archive = new_oci_archive(&path);
    assert!(archive.contains(&image).await.unwrap());
    archive.finish().await.unwrap();
    assert_eq!(inode(&path), written);
}

/// Every sign by which one file can be told from another is looked at.
#[tokio::test]
async fn an_archive_that_others_changed_is_not_replaced() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    archive_at(&path).await;
    let bytes = fs_err::read(&path).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let write = |path: &Path, bytes: &[u8], time: SystemTime| {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .unwrap();
        std::io::Write::write_all(&mut &file, bytes).unwrap();
        file.set_modified(time).unwrap();
    };
    let longer = [&bytes[..], &[0; 512]].concat();
    for (what, bytes, later) in [
        ("another file", &bytes, 0),
        ("longer", &longer, 0),
        ("later", &bytes, 1),
        ("later by a second", &bytes, 1_000_000_000),
    ] {
        fs_err::remove_file(&path).unwrap();
        archive_at(&path).await;
        write(&path, &[], time);
        let archive = changed(&path).await;
        let later = time + Duration::from_nanos(later * 10);
        if what == "another file" {
            let other = workspace.join("other");
            write(&other, bytes, later);
            fs_err::rename(&other, &path).unwrap();
        } else {
            write(&path, bytes, later);
        }
        assert_changed(archive.finish().await);
        assert!(fs_err::read(&path).unwrap() == *bytes, "{what}");
    }
    let archive = changed(&path).await;
    fs_err::remove_file(&path).unwrap();
    assert_changed(archive.finish().await);
    assert!(!path.exists());
}

/// Two wait for the same lock: the second finds that the first has replaced what is locked.
#[tokio::test]
async fn who_waited_looks_again() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let (mine, theirs) = (workspace.join("mine"), workspace.join("theirs"));
    // What is there at the end is theirs, or it was only while we began to wait.
    for is_theirs_at_the_end in [true, false] {
        archive_at(&path).await;
        archive_at(&theirs).await;
        let archive = changed(&path).await;
        fs_err::hard_link(&path, &mine).unwrap();
        if !is_theirs_at_the_end {
            fs_err::rename(&theirs, &path).unwrap();
        }
        let held = File::open(&path).unwrap();
        held.lock().unwrap();
        let finish = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(archive.finish())
        });
        assert!(is_waited_for(&held, || finish.is_finished()));
        let last = if is_theirs_at_the_end { &theirs } else { &mine };
        let expected = fs_err::read(last).unwrap();
        fs_err::rename(last, &path).unwrap();
        held.unlock().unwrap();
        assert_changed(finish.join().unwrap());
        assert!(fs_err::read(&path).unwrap() == expected);
        fs_err::remove_file(&path).unwrap();
        if mine.exists() {
            fs_err::remove_file(&mine).unwrap();
        }
    }
}

/// What is compressed can only be read.
#[tokio::test]
async fn what_cannot_be_written_is_not_changed() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let image = archive_at(&path).await;
    let packed = gzip(&workspace, &fs_err::read(&path).unwrap());
    fs_err::write(&path, &packed).unwrap();
    let archive = new_oci_archive(&path);
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"new");
    let upload = Upload::Bytes(Bytes::from_static(b"new"));
    let manifest = read(&archive, &image, 1 << 20).await.unwrap();
    for refused in [
        archive.push_blob(&layer, upload).await.unwrap_err(),
        archive.push_manifest(&image, manifest).await.unwrap_err(),
        archive.tag(&image, &tag("v2")).await.unwrap_err(),
        archive.delete(&image).await.unwrap_err(),
    ] {
        assert!(
            matches!(refused, StoreError::Unsupported { .. }),
            "{refused:?}"
        );
    }
    archive.finish().await.unwrap();
    assert!(fs_err::read(&path).unwrap() == packed);
}

#[tokio::test]
async fn what_is_deleted_is_gone_with_its_name() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let image = archive_at(&path).await;
    let archive = new_oci_archive(&path);
    let proof = push_image(&archive, b"proof", Some(&image)).await;
    archive.finish().await.unwrap();
    let archive = new_oci_archive(&path);
    assert_eq!(archive.referrers(&image.digest).await.unwrap().len(), 1);
    archive.delete(&proof).await.unwrap();
    assert_eq!(archive.referrers(&image.digest).await.unwrap(), []);
    assert!(!archive.contains(&proof).await.unwrap());
    archive.finish().await.unwrap();
    let archive = new_oci_archive(&path);
    assert!(!archive.contains(&proof).await.unwrap());
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"first");
    let refused = archive.delete(&layer).await;
    assert!(matches!(refused, Err(StoreError::Unsupported { .. })));
    assert!(archive.contains(&layer).await.unwrap());
    archive.delete(&image).await.unwrap();
    archive.finish().await.unwrap();
    let archive = oci_archive(&path);
    assert_eq!(archive.tags().await.unwrap(), []);
    assert!(!archive.contains(&image).await.unwrap());
    // With what only it needed.
    assert!(!archive.contains(&layer).await.unwrap());
    // It may come back.
    let archive = new_oci_archive(&path);
    let again = push_image(&archive, b"first", None).await;
    assert_eq!(again, image);
    archive.tag(&image, &tag("v1")).await.unwrap();
    archive.finish().await.unwrap();
    assert_eq!(resolve(&oci_archive(&path), "v1").await, image);
}

/// What we have written ourselves is no change by others; what others have begun is.
#[tokio::test]
async fn an_archive_is_written_as_often_as_it_is_changed() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let (archive, late) = (new_oci_archive(&path), new_oci_archive(&path));
    push_image(&late, b"late", None).await;
    for layer in ["one", "two"] {
        push_image(&archive, layer.as_bytes(), None).await;
        archive.finish().await.unwrap();
    }
    assert_changed(late.finish().await);
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"two");
    assert!(oci_archive(&path).contains(&layer).await.unwrap());
}

/// Nothing has to be written for that.
#[tokio::test]
async fn what_was_just_pushed_can_be_deleted() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let archive = new_oci_archive(&path);
    let image = push_image(&archive, b"layer", None).await;
    archive.delete(&image).await.unwrap();
    assert!(!archive.contains(&image).await.unwrap());
    archive.finish().await.unwrap();
    assert!(!oci_archive(&path).contains(&image).await.unwrap());
}

/// Each kind of change is one.
#[tokio::test]
async fn every_change_is_written() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let image = archive_at(&path).await;
    let blob = Descriptor::of(MediaType::LAYER_TAR, b"blob");
    let archive = new_oci_archive(&path);
    let upload = Upload::Bytes(Bytes::from_static(b"blob"));
    archive.push_blob(&blob, upload).await.unwrap();
    archive.finish().await.unwrap();
    assert!(oci_archive(&path).contains(&blob).await.unwrap());
    let archive = new_oci_archive(&path);
    archive.tag(&image, &tag("v2")).await.unwrap();
    archive.finish().await.unwrap();
    assert_eq!(resolve(&oci_archive(&path), "v2").await, image);

    // One that is there, and not listed.
    let proof = json!({
        "schemaVersion": 2, "config": Descriptor::of(MediaType::EMPTY, b"{}"),
        "layers": [], "subject": image,
    });
    let proof = Bytes::from(proof.to_string());
    let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &proof);
    let archive = new_oci_archive(&path);
    let upload = Upload::Bytes(proof.clone());
    archive.push_blob(&target, upload).await.unwrap();
    archive.finish().await.unwrap();
    let archive = new_oci_archive(&path);
    assert_eq!(archive.referrers(&image.digest).await.unwrap(), []);
    archive.push_manifest(&target, proof).await.unwrap();
    archive.finish().await.unwrap();
    let found = oci_archive(&path).referrers(&image.digest).await.unwrap();
    assert_eq!(found.len(), 1);
    let archive = new_oci_archive(&path);
    archive.delete(&target).await.unwrap();
    archive.finish().await.unwrap();
    assert!(!oci_archive(&path).contains(&target).await.unwrap());
}

/// What is there is not asked for.
#[tokio::test]
async fn a_blob_that_is_there_is_not_read_again() {
    let workspace = Workspace::new();
    let archive = new_oci_archive(&workspace.join("app.tar"));
    push_image(&archive, b"layer", None).await;
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"layer");
    let broken = StoreError::io("source", "go on", std::io::ErrorKind::BrokenPipe.into());
    let upload = Upload::Stream(Content::new(futures_util::stream::iter([Err(broken)])));
    archive.push_blob(&layer, upload).await.unwrap();
}

/// A few small indexes may lead to a hundred to the eighth.
#[tokio::test]
async fn what_is_met_in_many_ways_is_taken_out_once() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let archive = new_oci_archive(&path);
    let mut last = push_image(&archive, b"old", None).await;
    for _ in 0..8 {
        let index = json!({ "schemaVersion": 2, "manifests": vec![&last; 100] });
        let index = Bytes::from(index.to_string());
        last = Descriptor::of(MediaType::IMAGE_INDEX, &index);
        archive.push_manifest(&last, index).await.unwrap();
    }
    archive.tag(&last, &tag("v1")).await.unwrap();
    archive.finish().await.unwrap();
    let archive = new_oci_archive(&path);
    let new = push_image(&archive, b"new", None).await;
    archive.tag(&new, &tag("v1")).await.unwrap();
    archive.finish().await.unwrap();
    let archive = oci_archive(&path);
    let old = Descriptor::of(MediaType::LAYER_TAR, b"old");
    assert!(!archive.contains(&old).await.unwrap());
    assert!(!archive.contains(&last).await.unwrap());
    assert!(archive.contains(&new).await.unwrap());
}
