//! Images in tar files: round trips, and what is cut off.

mod changes;
mod docker;
mod hostile;
mod limits;
mod tools;
mod unnamed;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use oci::store::{ArchiveForm, ArchiveStore, read};
use oci::tar::{Entry, EntryKind, Writer};
use oci::{
    Content, CopyOptions, Descriptor, DiffId, Digest, ImageManifest, LayoutStore, MediaType,
    MemoryStore, Selector, Store, StoreError, Tag, Upload, copy_graph,
};
use serde_json::{Value, json};
use testkit::{Output, Project, Workspace, peer, skipped};

use crate::layout::push_image;

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

fn all() -> CopyOptions {
    CopyOptions {
        referrers: true,
        ..CopyOptions::default()
    }
}

fn oci_archive(path: &Path) -> ArchiveStore {
    ArchiveStore::open(path, ArchiveForm::Oci, None).unwrap()
}

fn new_oci_archive(path: &Path) -> ArchiveStore {
    ArchiveStore::create(path, ArchiveForm::Oci, None).unwrap()
}

fn docker_archive(path: &Path, name: Option<&str>) -> ArchiveStore {
    let name = name.map(|it| it.parse().unwrap());
    ArchiveStore::open(path, ArchiveForm::Docker, name).unwrap()
}

fn new_docker_archive(path: &Path, name: Option<&str>) -> ArchiveStore {
    let name = name.map(|it| it.parse().unwrap());
    ArchiveStore::create(path, ArchiveForm::Docker, name).unwrap()
}

async fn resolve(store: &dyn Store, name: &str) -> Descriptor {
    store.resolve(&Selector::Tag(tag(name))).await.unwrap()
}

/// A tar of these files.
fn tarred(files: &[(&str, &[u8])]) -> Vec<u8> {
    let entries = files.iter().map(|(name, content)| {
        let size = content.len() as u64;
        (*name, EntryKind::File { size }, *content)
    });
    tarred_entries(&entries.collect::<Vec<_>>())
}

fn tarred_entries(entries: &[(&str, EntryKind, &[u8])]) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for (path, kind, content) in entries {
        let entry = Entry {
            path: path.into(),
            kind: kind.clone(),
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
        };
        tar.write(&entry, *content).unwrap();
    }
    tar.finish().unwrap()
}

fn symlink(target: &str) -> EntryKind {
    EntryKind::Symlink {
        target: target.into(),
    }
}

/// The config of an image of these layers.
fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|it| DiffId(Digest::of(it))).collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Cmd": ["/bin/busybox", "echo", "hello from an archive"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    config.to_string().into_bytes()
}

/// An image that runs, if there is a busybox to run.
async fn push_runnable(store: &dyn Store) -> Descriptor {
    let busybox = fs_err::read("/bin/busybox").unwrap_or_default();
    let layer = tarred(&[("bin/busybox", &busybox)]);
    push_with_config(store, &[&layer]).await
}

async fn push_with_config(store: &dyn Store, layers: &[&[u8]]) -> Descriptor {
    let config_bytes = config(layers);
    let config = Descriptor::of(MediaType::IMAGE_CONFIG, &config_bytes);
    let upload = Upload::Bytes(config_bytes.into());
    store.push_blob(&config, upload).await.unwrap();
    let mut blobs = Vec::new();
    for layer in layers {
        let blob = Descriptor::of(MediaType::LAYER_TAR, layer);
        let upload = Upload::Bytes(layer.to_vec().into());
        store.push_blob(&blob, upload).await.unwrap();
        blobs.push(blob);
    }
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        config,
        layers: blobs,
        annotations: BTreeMap::new(),
        subject: None,
        artifact_type: None,
    };
    let bytes = Bytes::from(serde_json::to_vec(&manifest).unwrap());
    let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &bytes);
    store.push_manifest(&target, bytes).await.unwrap();
    target
}

/// The content of one file of a tar.
fn member(path: &Path, name: &str) -> Vec<u8> {
    let output = Command::new("tar")
        .arg("-xOf")
        .args([path, Path::new(name)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{name} of {}", path.display());
    output.stdout
}

fn member_json(path: &Path, name: &str) -> Value {
    serde_json::from_slice(&member(path, name)).unwrap()
}

/// What lies in the folder of `path`, but for folders.
fn beside(path: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(path.parent().unwrap()).unwrap();
    let entries = entries.map(|it| it.unwrap());
    let mut names: Vec<String> = entries
        .filter(|it| it.file_type().unwrap().is_file())
        .map(|it| it.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_graph_arrives_in_an_archive_and_comes_back() {
    let workspace = Workspace::new();
    for form in [ArchiveForm::Oci, ArchiveForm::Docker] {
        let src = MemoryStore::new();
        let root = push_with_config(&src, &[b"one", b"two", b"one"]).await;
        let proof = push_image(&src, b"proof", Some(&root)).await;
        push_image(&src, b"proof of a proof", Some(&proof)).await;

        let path = workspace.join(format!("{form:?}.tar"));
        let name = Some("registry.example/app".parse().unwrap());
        let archive = ArchiveStore::create(&path, form, name.clone()).unwrap();
        copy_graph(&src, &archive, &root, &all(), &())
            .await
            .unwrap();
        archive.tag(&root, &tag("v1")).await.unwrap();
        assert!(!path.exists(), "it is written as a whole, at the end");
        archive.finish().await.unwrap();

        let archive = ArchiveStore::open(&path, form, name.clone()).unwrap();
        assert_eq!(archive.tags().await.unwrap(), [tag("v1")]);
        assert_eq!(resolve(&archive, "v1").await, root);
        assert_eq!(archive.referrers(&root.digest).await.unwrap().len(), 1);
        let back = MemoryStore::new();
        let copied = copy_graph(&archive, &back, &root, &all(), &())
            .await
            .unwrap();
        assert_eq!((copied.referrers, copied.new.manifests), (2, 3));
        let expected = read(&src, &proof, 1 << 20).await.unwrap();
        assert_eq!(read(&back, &proof, 1 << 20).await.unwrap(), expected);

        // The same content is the same file, and writing it again changes nothing.
        let first = fs_err::read(&path).unwrap();
        let other = workspace.join(format!("other-{form:?}.tar"));
        for path in [&other, &path] {
            let archive = ArchiveStore::create(path, form, name.clone()).unwrap();
            copy_graph(&back, &archive, &root, &all(), &())
                .await
                .unwrap();
            archive.tag(&root, &tag("v1")).await.unwrap();
            archive.finish().await.unwrap();
            assert!(fs_err::read(path).unwrap() == first, "{form:?}");
        }
    }
}

#[tokio::test]
async fn what_is_in_an_archive_stays_until_its_last_tag_moves() {
    let workspace = Workspace::new();
    for form in [ArchiveForm::Oci, ArchiveForm::Docker] {
        let path = workspace.join(format!("{form:?}.tar"));
        let name = Some("app".parse().unwrap());
        let open = || ArchiveStore::create(&path, form, name.clone()).unwrap();

        let archive = open();
        let old = push_with_config(&archive, &[b"shared", b"old"]).await;
        let proof = push_image(&archive, b"proof", Some(&old)).await;
        let kept = push_with_config(&archive, &[b"kept"]).await;
        archive.tag(&old, &tag("v1")).await.unwrap();
        archive.tag(&old, &tag("latest")).await.unwrap();
        archive.tag(&kept, &tag("kept")).await.unwrap();
        archive.finish().await.unwrap();

        let archive = open();
        let new = push_with_config(&archive, &[b"shared", b"new"]).await;
        archive.tag(&new, &tag("latest")).await.unwrap();
        archive.finish().await.unwrap();
        assert_eq!(resolve(&open(), "v1").await, old);
        assert_eq!(open().referrers(&old.digest).await.unwrap().len(), 1);

        let archive = open();
        archive.tag(&new, &tag("v1")).await.unwrap();
        archive.finish().await.unwrap();
        let archive = open();
        assert_eq!(resolve(&archive, "kept").await, kept);
        assert_eq!(resolve(&archive, "v1").await, new);
        assert_eq!(resolve(&archive, "latest").await, new);
        for gone in [
            &old,
            &proof,
            &Descriptor::of(MediaType::LAYER_TAR, b"old"),
            &Descriptor::of(MediaType::LAYER_TAR, b"proof"),
        ] {
            assert!(!archive.contains(gone).await.unwrap(), "{form:?} {gone:?}");
        }
        for there in [b"shared".as_slice(), b"new", b"kept"] {
            let there = Descriptor::of(MediaType::LAYER_TAR, there);
            assert!(archive.contains(&there).await.unwrap(), "{there:?}");
        }
    }
}

#[tokio::test]
async fn names_in_a_docker_archive_are_those_that_docker_shows() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let archive = new_docker_archive(&path, Some("app"));
    let one = push_with_config(&archive, &[b"one"]).await;
    archive.tag(&one, &tag("v1")).await.unwrap();
    archive.finish().await.unwrap();
    let archive = new_docker_archive(&path, Some("localhost:5000/me/app"));
    let two = push_with_config(&archive, &[b"two"]).await;
    archive.tag(&one, &tag("v1")).await.unwrap();
    archive.tag(&two, &tag("v2")).await.unwrap();
    archive.finish().await.unwrap();

    let listed = member_json(&path, "manifest.json");
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(
        listed[0]["RepoTags"],
        json!(["app:v1", "localhost:5000/me/app:v1"])
    );
    assert_eq!(listed[1]["RepoTags"], json!(["localhost:5000/me/app:v2"]));
    let layer = listed[1]["Layers"][0].as_str().unwrap();
    assert_eq!(member(&path, layer), b"two");
    let index = member_json(&path, "index.json");
    assert_eq!(
        index["manifests"][0]["annotations"],
        json!({
            "io.containerd.image.name": "docker.io/library/app:v1",
            "org.opencontainers.image.ref.name": "v1",
        })
    );
    assert_eq!(
        resolve(&docker_archive(&path, Some("app")), "v1").await,
        one
    );
    let other = docker_archive(&path, Some("localhost:5000/me/app"));
    assert_eq!(other.tags().await.unwrap(), [tag("v1"), tag("v2")]);
    // As a layout, it has the tags alone.
    assert_eq!(resolve(&oci_archive(&path), "v2").await, two);

    let several = docker_archive(&path, None).only().await.unwrap_err();
    assert!(several.to_string().contains("localhost:5000/me/app:v2"));
    let missing = docker_archive(&path, Some("other")).only().await;
    assert!(missing.unwrap_err().is_not_found());
}

#[tokio::test]
async fn an_image_without_a_name_is_the_one_without_a_name() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let mut last = None;
    for layer in [b"one", b"two"] {
        let archive = new_docker_archive(&path, None);
        let image = push_with_config(&archive, &[layer]).await;
        archive.tag(&image, &Tag::latest()).await.unwrap();
        archive.finish().await.unwrap();
        last = Some(image);
    }
    assert_eq!(
        member_json(&path, "manifest.json")[0]["RepoTags"],
        json!(null)
    );
    let found = docker_archive(&path, None).only().await.unwrap();
    assert_eq!(Some(found), last);
}

#[tokio::test]
async fn an_index_is_no_image_for_docker() {
    let workspace = Workspace::new();
    let archive = new_docker_archive(&workspace.join("app.tar"), Some("app"));
    let content = br#"{"schemaVersion":2,"manifests":[]}"#.as_slice();
    let index = Descriptor::of(MediaType::IMAGE_INDEX, content);
    archive.push_manifest(&index, content.into()).await.unwrap();
    let refused = archive.tag(&index, &tag("v1")).await;
    assert!(matches!(refused, Err(StoreError::Unsupported { .. })));
}

/// As `docker save` wrote it until version 24: plain layers, and a link where one is there twice.
fn saved() -> (Vec<u8>, Vec<Vec<u8>>) {
    let layers = vec![
        tarred(&[("a", b"1")]),
        tarred(&[("b", b"2")]),
        tarred(&[("a", b"1")]),
    ];
    let parts: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let config = config(&parts);
    let listed = json!([{
        "Config": "config.json",
        "RepoTags": ["app:v1", "<none>:<none>"],
        "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar"],
    }]);
    let plain = |content: &[u8]| EntryKind::File {
        size: content.len() as u64,
    };
    let listed = listed.to_string();
    let saved = tarred_entries(&[
        ("./1/layer.tar", plain(&layers[0]), &layers[0]),
        ("2/layer.tar", plain(&layers[1]), &layers[1]),
        ("3/layer.tar", symlink("../1/layer.tar"), b""),
        ("config.json", plain(&config), &config),
        ("manifest.json", plain(listed.as_bytes()), listed.as_bytes()),
    ]);
    (saved, layers)
}

#[tokio::test]
async fn what_docker_saves_becomes_the_image_that_crane_would_push() {
    let workspace = Workspace::new();
    let (saved, layers) = saved();
    let path = workspace.write("app.tar", &saved);
    let archive = docker_archive(&path, Some("docker.io/library/app"));
    assert_eq!(archive.tags().await.unwrap(), [tag("v1")]);
    let image = resolve(&archive, "v1").await;
    assert_eq!(image.media_type, MediaType::DOCKER_MANIFEST);
    let bytes = read(&archive, &image, 1 << 20).await.unwrap();
    let manifest: ImageManifest = serde_json::from_slice(&bytes).unwrap();
    for (descriptor, layer) in manifest.layers.iter().zip(&layers) {
        assert_eq!(descriptor.media_type, MediaType::DOCKER_LAYER_GZIP);
        let stored = read(&archive, descriptor, 1 << 20).await.unwrap();
        assert_eq!(gunzip(&workspace, &stored), *layer);
    }
    assert_eq!(manifest.layers[0], manifest.layers[2]);
    // The digest holds wherever it is asked for first.
    let other = docker_archive(&path, None);
    let by_digest = Selector::Digest(image.digest.clone());
    assert_eq!(other.resolve(&by_digest).await.unwrap(), image);

    // Written again, with something attached, it is the same image.
    let archive = new_docker_archive(&path, None);
    let found = archive.only().await.unwrap();
    push_image(&archive, b"proof", Some(&found)).await;
    archive.finish().await.unwrap();
    let archive = docker_archive(&path, Some("app"));
    assert_eq!(resolve(&archive, "v1").await, image);
    assert_eq!(archive.referrers(&image.digest).await.unwrap().len(), 1);

    let (Some(crane), Some(registry)) = (peer("crane"), registry(&workspace)) else {
        return;
    };
    fs_err::write(&path, &saved).unwrap();
    let pushed = format!("{}/app:v1", registry.host());
    let mut push = workspace.command(crane);
    let output = Output::of(push.arg("push").arg(&path).arg(&pushed)).expect(0);
    assert!(
        output.stdout.contains(image.digest.as_str()),
        "{}",
        output.stdout
    );
}

fn registry(workspace: &Workspace) -> Option<testkit::Server> {
    testkit::olareg(workspace.path()).or_else(|| testkit::docker_registry(workspace.path()))
}

fn gunzip(workspace: &Workspace, bytes: &[u8]) -> Vec<u8> {
    let path = workspace.write("to-gunzip", bytes);
    let input = fs_err::File::open(path).unwrap().into_parts().0;
    let output = Command::new("gzip").arg("-dc").stdin(input).output();
    output.unwrap().stdout
}

fn gzip(workspace: &Workspace, bytes: &[u8]) -> Vec<u8> {
    let path = workspace.write("to-gzip", bytes);
    let input = fs_err::File::open(path).unwrap().into_parts().0;
    let output = Command::new("gzip").arg("-c").stdin(input).output();
    output.unwrap().stdout
}

#[tokio::test]
async fn compressed_archives_and_compressed_layers_are_read() {
    let workspace = Workspace::new();
    let (saved, _) = saved();
    let path = workspace.write("app.tar", &saved);
    let image = docker_archive(&path, None).only().await.unwrap();
    let path = workspace.write("app.tar.gz", gzip(&workspace, &saved));
    assert_eq!(docker_archive(&path, None).only().await.unwrap(), image);
    // It could only be written as what its name says it is not.
    let archive = new_docker_archive(&path, Some("app"));
    let image = archive.only().await.unwrap_err();
    assert!(image.is_not_found(), "it has another tag");
    let image = resolve(&archive, "v1").await;
    let refused = archive.tag(&image, &tag("v2")).await;
    assert!(matches!(refused, Err(StoreError::Unsupported { .. })));

    let layer = tarred(&[("a", b"1")]);
    let packed = gzip(&workspace, &layer);
    let listed = br#"[{"Config":"c","RepoTags":null,"Layers":["l.tar.gz"]}]"#.as_slice();
    let files = tarred(&[
        ("c", &config(&[&layer])),
        ("l.tar.gz", &packed),
        ("manifest.json", listed),
    ]);
    let archive = docker_archive(&workspace.write("packed.tar", files), None);
    let image = archive.only().await.unwrap();
    let bytes = read(&archive, &image, 1 << 20).await.unwrap();
    let manifest: ImageManifest = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(manifest.layers[0].digest, Digest::of(&packed));
}

#[tokio::test]
async fn what_another_wrote_meanwhile_is_not_lost() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    for round in 0..2 {
        let (one, two) = (new_oci_archive(&path), new_oci_archive(&path));
        for (archive, layer) in [(&one, "one"), (&two, "two")] {
            let layer = format!("{layer} {round}");
            let image = push_image(archive, layer.as_bytes(), None).await;
            archive.tag(&image, &tag("v1")).await.unwrap();
        }
        one.finish().await.unwrap();
        let written = fs_err::read(&path).unwrap();
        let refused = two.finish().await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { .. }));
        assert!(fs_err::read(&path).unwrap() == written);
        assert_eq!(beside(&path), ["app.tar"]);
    }
}

#[tokio::test]
async fn a_file_that_is_no_archive_is_not_overwritten() {
    let workspace = Workspace::new();
    let path = workspace.write("letter.txt", "Dear reader");
    for form in [ArchiveForm::Oci, ArchiveForm::Docker] {
        assert!(ArchiveStore::create(&path, form, None).is_err());
    }
    // But what `mktemp` makes may be written.
    let path = workspace.write("empty", "");
    let archive = new_oci_archive(&path);
    let image = push_image(&archive, b"layer", None).await;
    archive.tag(&image, &tag("v1")).await.unwrap();
    archive.finish().await.unwrap();
    assert_eq!(resolve(&oci_archive(&path), "v1").await, image);
}

#[tokio::test]
async fn a_killed_writer_leaves_the_archive_as_it_was() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    let archive = new_oci_archive(&path);
    let image = push_image(&archive, b"first", None).await;
    archive.tag(&image, &tag("first")).await.unwrap();
    archive.finish().await.unwrap();
    let before = fs_err::read(&path).unwrap();
    let mut changed = 0;
    for round in 0..12 {
        let mut victim = workspace
            .command(std::env::current_exe().unwrap())
            .args(["--exact", "archive::write_until_killed"])
            .env("SEALPACK_TEST_ARCHIVE", &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(15 + 10 * round)).await;
        victim.kill().unwrap();
        victim.wait().unwrap();
        let archive = oci_archive(&path);
        let first = resolve(&archive, "first").await;
        assert_eq!(first, image);
        for tag in archive.tags().await.unwrap() {
            let found = archive.resolve(&Selector::Tag(tag)).await.unwrap();
            let back = MemoryStore::new();
            copy_graph(&archive, &back, &found, &all(), &())
                .await
                .unwrap();
        }
        changed += usize::from(fs_err::read(&path).unwrap() != before);
        // Nothing is left behind, but in one moment the new file by this name.
        let mut left = beside(&path);
        left.retain(|it| it != ".app.tar.sealpack-new");
        assert_eq!(left, ["app.tar"]);
    }
    assert!(changed > 0, "it was killed before it wrote anything");
    // Which the next writer takes away.
    workspace.write(".app.tar.sealpack-new", "left");
    let archive = new_oci_archive(&path);
    archive.tag(&image, &tag("third")).await.unwrap();
    archive.finish().await.unwrap();
    assert_eq!(beside(&path), ["app.tar"]);
}

/// Not a test of its own: what is killed above.
#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "the process that starts this one says where to write"
)]
async fn write_until_killed() {
    let Some(path) = std::env::var_os("SEALPACK_TEST_ARCHIVE") else {
        return;
    };
    for round in 0.. {
        let archive = new_oci_archive(Path::new(&path));
        let layer = vec![b'x'; 4 << 20];
        let layer = [layer.as_slice(), format!("{round}").as_bytes()].concat();
        let image = push_image(&archive, &layer, None).await;
        archive.tag(&image, &tag("second")).await.unwrap();
        archive.finish().await.unwrap();
    }
}
