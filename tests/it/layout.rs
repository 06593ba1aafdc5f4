//! Layouts on disk: what real tools wrote, what is broken, what is interrupted.

mod changes;
mod files;
mod links;
mod made;
mod names;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;
use oci::store::{GcRoots, read};
use oci::{
    Content, Descriptor, Digest, ImageManifest, LayoutStore, Limits, MediaType, Selector, Store,
    StoreError, Tag, Upload, walk,
};
use testkit::{Workspace, peer};

const IMAGE: &str = "sha256:900ba210f34615e96cc5560c1177cc82499c1460eb6bb418199a63d512713ded";
const ARM: &str = "sha256:0470b6d22442f4b227fdebbd218ae89b557d0010375619d511c0a9f6c9e8d73b";
const INDEX: &str = "sha256:c6f3e4f68abb748aab3e6f1869017556e325ca97b11d4a6c4b7e00412b555d03";

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

fn digest(text: &str) -> Digest {
    text.parse().unwrap()
}

/// Pushes an image with `layer` and no config to speak of, attached to `subject` if there is one.
pub(crate) async fn push_image(
    store: &dyn Store,
    layer: &[u8],
    subject: Option<&Descriptor>,
) -> Descriptor {
    let config = Descriptor::of(MediaType::EMPTY, b"{}");
    let blob = Descriptor::of(MediaType::LAYER_TAR, layer);
    let mut manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        config: config.clone(),
        layers: vec![blob.clone()],
        annotations: BTreeMap::new(),
        subject: subject.map(Descriptor::bare),
        artifact_type: None,
    };
    if subject.is_some() {
        manifest.artifact_type = Some("application/x-proof".into());
        manifest.annotations = BTreeMap::from([("which".to_owned(), "this one".to_owned())]);
    }
    let bytes = Bytes::from(serde_json::to_vec(&manifest).unwrap());
    let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &bytes);
    let upload = Upload::Bytes(Bytes::from_static(b"{}"));
    store.push_blob(&config, upload).await.unwrap();
    let upload = Upload::Bytes(layer.to_vec().into());
    store.push_blob(&blob, upload).await.unwrap();
    store.push_manifest(&target, bytes).await.unwrap();
    target
}

/// Reads all that the tags lead to, to the last byte. Returns the number of manifests.
async fn read_everything(store: &LayoutStore) -> usize {
    let mut manifests = 0;
    for tag in store.tags().await.unwrap() {
        let root = store.resolve(&Selector::Tag(tag)).await.unwrap();
        for node in walk(store, &root, &Limits::default()).await.unwrap() {
            assert_eq!(node.problem, None);
            manifests += 1;
            for blob in &node.blobs {
                let mut content = store.fetch(blob).await.unwrap();
                while let Some(chunk) = content.next().await {
                    chunk.unwrap();
                }
            }
        }
    }
    manifests
}

#[tokio::test]
async fn referrers_that_real_tools_left_are_found() {
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let cases = [
        ("cosign-v3-key", IMAGE, vec![bundle; 4]),
        ("cosign-v3-fallback-tag", IMAGE, vec![bundle; 4]),
        ("cosign-v3-index", INDEX, vec![bundle]),
        ("cosign-v3-index", IMAGE, vec![bundle]),
        ("cosign-v3-index", ARM, vec![bundle]),
        (
            "attached-unsigned",
            IMAGE,
            vec!["application/spdx+json", "application/vnd.cyclonedx+json"],
        ),
        ("attached-unsigned", ARM, vec![]),
        ("cosign-legacy", IMAGE, vec![]),
    ];
    for (name, subject, expected) in cases {
        let store = LayoutStore::open(fixture(name)).unwrap();
        let found = store.referrers(&digest(subject)).await.unwrap();
        let mut types: Vec<_> = found
            .iter()
            .map(|it| it.artifact_type.as_ref().unwrap().as_str())
            .collect();
        types.sort_unstable();
        assert_eq!(types, expected, "{name} {subject}");
        assert!(found.is_sorted_by_key(|it| &it.digest));
        for referrer in &found {
            read(&store, referrer, 1 << 20).await.unwrap();
        }
        read_everything(&store).await;
    }
}

/// Where only the index under the fallback tag lists them.
#[tokio::test]
async fn referrers_behind_a_fallback_tag_alone_are_found() {
    let workspace = Workspace::new();
    let path = copy_fixture("cosign-v3-fallback-tag", &workspace);
    let index = path.join("index.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&fs_err::read(&index).unwrap()).unwrap();
    let entries = json["manifests"].as_array_mut().unwrap();
    entries.retain(|it| it.get("annotations").is_some());
    assert_eq!(entries.len(), 2);
    fs_err::write(&index, json.to_string()).unwrap();

    let store = LayoutStore::open(&path).unwrap();
    assert_eq!(store.referrers(&digest(IMAGE)).await.unwrap().len(), 4);
    let only = store.only().await.unwrap();
    assert_eq!(only.digest, digest(IMAGE));
}

fn copy_fixture(name: &str, workspace: &Workspace) -> PathBuf {
    let to = workspace.join(name);
    fs_err::create_dir_all(to.join("blobs/sha256")).unwrap();
    let from = fixture(name);
    for file in ["oci-layout", "index.json"] {
        fs_err::copy(from.join(file), to.join(file)).unwrap();
    }
    for blob in fs_err::read_dir(from.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        fs_err::copy(blob.path(), to.join("blobs/sha256").join(blob.file_name())).unwrap();
    }
    to
}

#[tokio::test]
async fn half_a_layout_is_refused_with_the_reason() {
    let workspace = Workspace::new();
    let problem = |path: &Path| match LayoutStore::open(path) {
        Err(StoreError::Malformed { problem, .. }) => problem,
        other => panic!("{other:?}"),
    };
    assert!(LayoutStore::open(workspace.join("none")).is_err_and(|it| it.is_not_found()));
    let path = workspace.join("layout");
    fs_err::create_dir(&path).unwrap();
    assert_eq!(problem(&path), "it has no `oci-layout` file");
    workspace.write("layout/oci-layout", "{");
    assert!(problem(&path).starts_with("`oci-layout` cannot be read: "));
    workspace.write("layout/oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#);
    assert_eq!(
        problem(&path),
        "`oci-layout` says version `2.0.0`, and only `1.0.0` is known"
    );
    workspace.write("layout/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    assert_eq!(problem(&path), "it has no folder `blobs`");
    fs_err::create_dir(path.join("blobs")).unwrap();
    assert_eq!(problem(&path), "it has no `index.json` file");
    workspace.write("layout/index.json", r#"{"schemaVersion":2,"manif"#);
    assert!(problem(&path).starts_with("`index.json` cannot be read: "));

    // One whose making was broken off is mended, anything else left alone.
    fs_err::remove_file(path.join("oci-layout")).unwrap();
    fs_err::remove_file(path.join("index.json")).unwrap();
    LayoutStore::create(&path).unwrap();
    LayoutStore::create(&path).unwrap();
    workspace.write("home/letter", "dear");
    match LayoutStore::create(workspace.join("home")) {
        Err(StoreError::Malformed { problem, .. }) => {
            assert_eq!(problem, "it is no layout, and not empty: it holds `letter`");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs_err::read_dir(workspace.join("home")).unwrap().count(), 1);
}

#[tokio::test]
async fn what_a_tag_names_must_be_there_and_be_named_once() {
    let workspace = Workspace::new();
    let path = copy_fixture("cosign-v3-key", &workspace);
    let store = LayoutStore::open(&path).unwrap();
    let selector = Selector::Tag(tag("image"));
    let image = store.resolve(&selector).await.unwrap();
    assert_eq!(image.digest, digest(IMAGE));
    let by_digest = store.resolve(&Selector::Digest(digest(IMAGE))).await;
    assert_eq!(by_digest.unwrap(), image);
    let missing = store.resolve(&Selector::Tag(tag("other"))).await;
    assert!(missing.is_err_and(|it| it.is_not_found()));

    let index = path.join("index.json");
    let good = fs_err::read_to_string(&index).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&good).unwrap();
    let name = serde_json::json!({ "org.opencontainers.image.ref.name": "image" });
    json["manifests"][1]["annotations"] = name;
    fs_err::write(&index, json.to_string()).unwrap();
    match store.resolve(&selector).await {
        Err(StoreError::Malformed { problem, .. }) => {
            assert_eq!(problem, "`index.json` has the tag `image` twice");
        }
        other => panic!("{other:?}"),
    }
    // Setting the tag makes it good again.
    store.tag(&image, &tag("image")).await.unwrap();
    assert_eq!(store.resolve(&selector).await.unwrap(), image);

    fs_err::write(&index, &good).unwrap();
    fs_err::remove_file(path.join("blobs/sha256").join(image.digest.hex())).unwrap();
    match store.resolve(&selector).await {
        Err(StoreError::Malformed { problem, .. }) => assert!(problem.contains("missing")),
        other => panic!("{other:?}"),
    }
    assert!(store.tag(&image, &tag("v2")).await.is_err());
}

#[tokio::test]
async fn a_flipped_bit_in_any_blob_is_noticed() {
    let workspace = Workspace::new();
    let path = copy_fixture("cosign-v3-key", &workspace);
    let mut tried = 0;
    for blob in fs_err::read_dir(path.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap().path();
        let good = fs_err::read(&blob).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs_err::write(&blob, bad).unwrap();
        assert!(first_problem(&path).await, "{}", blob.display());
        fs_err::write(&blob, [&good[..], b"\n"].concat()).unwrap();
        assert!(first_problem(&path).await, "{}", blob.display());
        fs_err::write(&blob, good).unwrap();
        tried += 1;
    }
    assert_eq!(tried, 12);
    assert!(!first_problem(&path).await);
}

/// Whether anything below the tag `image` is not what it should be.
async fn first_problem(path: &Path) -> bool {
    let store = LayoutStore::open(path).unwrap();
    let Ok(root) = store.resolve(&Selector::Tag(tag("image"))).await else {
        return true;
    };
    let Ok(nodes) = walk(&store, &root, &Limits::default()).await else {
        return true;
    };
    for node in nodes {
        if node.problem.is_some() {
            return true;
        }
        for blob in &node.blobs {
            if read(&store, blob, 1 << 20).await.is_err() {
                return true;
            }
        }
    }
    false
}

#[tokio::test]
async fn what_is_no_plain_file_is_not_opened() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let target = Descriptor::of(MediaType::LAYER_TAR, b"secret");
    let blob = path.join("blobs/sha256").join(target.digest.hex());
    let made = Command::new("mkfifo").arg(&blob).status().unwrap();
    assert!(made.success());
    assert!(store.fetch(&target).await.is_err());

    fs_err::remove_file(&blob).unwrap();
    fs_err::remove_dir(path.join("blobs/sha256")).unwrap();
    let file = workspace.write("file", "");
    fs_err::os::unix::fs::symlink(file, path.join("blobs/sha256")).unwrap();
    assert!(LayoutStore::open(&path).is_err());
}

#[tokio::test]
async fn a_blob_that_is_not_as_described_leaves_nothing() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("layout")).unwrap();
    let target = Descriptor::of(MediaType::LAYER_TAR, &vec![7; 3_000_000]);
    let chunks = |byte: u8, count: usize| {
        let chunk = Bytes::from(vec![byte; 1000]);
        let chunks = futures_util::stream::iter((0..count).map(move |_| Ok(chunk.clone())));
        Upload::Stream(Content::new(chunks))
    };
    let mismatch = store.push_blob(&target, chunks(8, 3000)).await;
    assert!(matches!(mismatch, Err(StoreError::DigestMismatch { .. })));
    let short = store.push_blob(&target, chunks(7, 2999)).await;
    assert!(matches!(short, Err(StoreError::SizeMismatch { .. })));
    let endless = store.push_blob(&target, chunks(7, usize::MAX)).await;
    assert!(matches!(endless, Err(StoreError::SizeMismatch { .. })));
    let blobs = workspace.join("layout/blobs/sha256");
    assert_eq!(fs_err::read_dir(&blobs).unwrap().count(), 0);

    store.push_blob(&target, chunks(7, 3000)).await.unwrap();
    let content = read(&store, &target, 3_000_000).await.unwrap();
    assert_eq!(content.len(), 3_000_000);
    // A second push does not read what it is given.
    store.push_blob(&target, chunks(8, 1)).await.unwrap();
    let other = Descriptor::of(MediaType::LAYER_TAR, b"from a file");
    let file = workspace.write("file", "from a file");
    store.push_blob(&other, Upload::File(file)).await.unwrap();
    assert_eq!(read(&store, &other, 100).await.unwrap(), "from a file");
}

#[tokio::test]
async fn a_file_that_is_not_as_described_leaves_nothing() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("layout")).unwrap();
    let target = Descriptor::of(MediaType::LAYER_TAR, &vec![7; 3_000_000]);
    let good = vec![7; 3_000_000];
    for wrong in [&[&good[1..], b"8"].concat(), &good[1..], &[]] {
        let file = workspace.join("file");
        fs_err::write(&file, wrong).unwrap();
        let before = fs_err::metadata(&file).unwrap().modified().unwrap();
        store
            .push_blob(&target, Upload::File(file.clone()))
            .await
            .unwrap_err();
        let after = fs_err::metadata(&file).unwrap().modified().unwrap();
        assert_eq!(before, after);
    }
    let blobs = workspace.join("layout/blobs/sha256");
    assert_eq!(fs_err::read_dir(&blobs).unwrap().count(), 0);
}

/// It looks right until someone reads it; then the next push mends it.
#[tokio::test]
async fn what_was_found_broken_is_written_anew() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let layer = vec![7; 3_000_000];
    let image = push_image(&store, &layer, None).await;
    store.tag(&image, &tag("app")).await.unwrap();
    let target = Descriptor::of(MediaType::LAYER_TAR, &layer);
    let manifest = read(&store, &image, 1 << 20).await.unwrap();
    for target in [&target, &image] {
        let file = path.join("blobs/sha256").join(target.digest.hex());
        let mut content = fs_err::read(&file).unwrap();
        content[100] ^= 1;
        fs_err::write(&file, &content).unwrap();
        assert!(store.contains(target).await.unwrap());
        // It stays, so that whoever reads it again is not told that there is nothing.
        for _ in 0..2 {
            let error = read(&store, target, 10 << 20).await.unwrap_err();
            assert!(matches!(error, StoreError::DigestMismatch { .. }));
            assert!(!store.contains(target).await.unwrap());
        }
    }
    let upload = Upload::Bytes(layer.into());
    store.push_blob(&target, upload).await.unwrap();
    store.push_manifest(&image, manifest).await.unwrap();
    assert!(store.contains(&image).await.unwrap());
    assert_eq!(read_everything(&store).await, 1);
}

#[tokio::test]
async fn deleting_and_collecting_free_what_nothing_needs() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let old = push_image(&store, b"old", None).await;
    let new = push_image(&store, b"new", None).await;
    let proof_of_old = push_image(&store, b"proof of old", Some(&old)).await;
    let proof = push_image(&store, b"proof", Some(&new)).await;
    let proof_of_proof = push_image(&store, b"proof of proof", Some(&proof)).await;
    store.tag(&old, &tag("app")).await.unwrap();
    store.tag(&new, &tag("app")).await.unwrap();
    let orphan = Descriptor::of(MediaType::LAYER_TAR, b"orphan");
    let upload = Upload::Bytes(Bytes::from_static(b"orphan"));
    store.push_blob(&orphan, upload).await.unwrap();
    workspace.write("layout/blobs/sha256/.tmp-1", "12345");

    let (past, future) = (SystemTime::UNIX_EPOCH, now() + Duration::from_mins(1));
    assert_eq!(store.gc(GcRoots::Listed, past).await.unwrap(), 0);
    assert_eq!(store.gc(GcRoots::Listed, future).await.unwrap(), 6 + 5);
    assert!(store.contains(&old).await.unwrap());
    let freed = store.gc(GcRoots::Tagged, future).await.unwrap();
    assert_eq!(
        freed,
        old.size + proof_of_old.size + 3 + b"proof of old".len() as u64
    );
    assert!(!store.contains(&old).await.unwrap());
    assert_eq!(store.referrers(&old.digest).await.unwrap(), []);
    assert_eq!(store.referrers(&proof.digest).await.unwrap().len(), 1);
    assert_eq!(read_everything(&store).await, 3);

    store.delete(&proof_of_proof).await.unwrap();
    store.delete(&proof_of_proof).await.unwrap();
    assert_eq!(store.referrers(&proof.digest).await.unwrap(), []);
    assert!(store.delete(&orphan).await.is_err());
}

fn now() -> SystemTime {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().metadata().unwrap().modified().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_lose_nothing() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let subject = Descriptor::of(MediaType::IMAGE_MANIFEST, b"elsewhere");
    let mut writers = Vec::new();
    for writer in 0..4 {
        let (path, subject) = (path.clone(), subject.clone());
        writers.push(tokio::spawn(async move {
            // Each with its own view of the layout, as if it were another process.
            let store = LayoutStore::create(path).unwrap();
            for turn in 0..25 {
                let layer = format!("{writer} {turn}");
                let proof = push_image(&store, layer.as_bytes(), Some(&subject)).await;
                let name = tag(&format!("t{writer}-{turn}"));
                store.tag(&proof, &name).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let store = LayoutStore::open(&path).unwrap();
    assert_eq!(store.tags().await.unwrap().len(), 100);
    assert_eq!(store.referrers(&subject.digest).await.unwrap().len(), 100);
    assert_eq!(read_everything(&store).await, 100);
}

/// Kills a writer, or two at once, at a hundred points, and each time looks at what is left.
#[tokio::test]
async fn a_killed_writer_leaves_a_good_layout() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let blobs = path.join("blobs/sha256");
    let files = || std::fs::read_dir(&blobs).map_or(0, Iterator::count);
    let (mut grown, mut at_work) = (0, 0);
    for turn in 0..100_u64 {
        let before = files();
        let start = |_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "layout::write_until_killed"])
                .arg(format!("{VICTIM}{}", path.display()))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut victims: Vec<Child> = (0..=turn % 2).map(start).collect();
        // From its first file on it gets a little further each time, through a few images; a few
        // times it dies before that.
        let patience = if turn % 20 == 0 { 0 } else { 100_000 };
        (0..patience).any(|_| {
            std::thread::sleep(Duration::from_micros(200));
            files() > before
        });
        at_work += usize::from(files() > before);
        std::thread::sleep(Duration::from_micros(turn * 173));
        for victim in &mut victims {
            victim.kill().unwrap();
            victim.wait().unwrap();
        }
        let store = LayoutStore::create(&path).unwrap();
        let tags = store.tags().await.unwrap();
        assert!(tags.len() >= grown, "tags were lost at {turn}");
        grown = tags.len();
        if turn % 10 == 9 {
            read_everything(&store).await;
        }
        for tag in tags {
            let image = store.resolve(&Selector::Tag(tag)).await.unwrap();
            assert_eq!(store.referrers(&image.digest).await.unwrap().len(), 1);
        }
    }
    assert!(grown > 20, "only {grown} images were tagged");
    assert!(at_work > 80, "only {at_work} were killed at work");
}

const VICTIM: &str = "victim:";

/// The victim of the test above; without its argument it has nothing to do.
#[tokio::test]
async fn write_until_killed() {
    let Some(path) = std::env::args().find_map(|it| it.strip_prefix(VICTIM).map(str::to_owned))
    else {
        return;
    };
    let store = LayoutStore::create(path).unwrap();
    let begun = store.tags().await.unwrap().len();
    for turn in begun..begun + 1000 {
        let image = push_image(&store, format!("layer {turn}").as_bytes(), None).await;
        let proof = format!("proof {turn}");
        push_image(&store, proof.as_bytes(), Some(&image)).await;
        store.tag(&image, &tag(&format!("t{turn}"))).await.unwrap();
    }
}

/// The list is written once for all of them, and read once.
#[tokio::test]
async fn thousands_of_referrers_are_listed() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("layout")).unwrap();
    let image = push_image(&store, b"image", None).await;
    store.tag(&image, &tag("app")).await.unwrap();
    let manifests: Vec<(Descriptor, Bytes)> = (0..2000)
        .map(|turn| {
            let manifest = serde_json::json!({
                "schemaVersion": 2,
                "mediaType": MediaType::IMAGE_MANIFEST,
                "config": Descriptor::of(MediaType::EMPTY, b"{}"),
                "layers": [],
                "subject": image,
                "annotations": { "turn": turn.to_string() },
            });
            let content = Bytes::from(manifest.to_string());
            let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &content);
            (target, content)
        })
        .collect();
    store.push_manifests(manifests).await.unwrap();
    for store in [store, LayoutStore::open(workspace.join("layout")).unwrap()] {
        let found = store.referrers(&image.digest).await.unwrap();
        assert_eq!(found.len(), 2000);
        assert!(found.iter().all(|it| it.annotations.contains_key("turn")));
    }
}

#[tokio::test]
async fn other_tools_read_what_we_write() {
    let workspace = Workspace::new();
    let path = workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    let image = push_image(&store, b"layer", None).await;
    let proof = push_image(&store, b"proof", Some(&image)).await;
    store.tag(&image, &tag("app")).await.unwrap();
    store.tag(&image, &tag("latest")).await.unwrap();
    if let Some(oras) = peer("oras") {
        let reference = format!("{}:app", path.display());
        let output = workspace
            .command(oras)
            .args(["discover", "--format", "json", "--oci-layout", &reference])
            .output()
            .unwrap();
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let referrers = found["referrers"].as_array().unwrap();
        assert_eq!(referrers.len(), 1, "{found}");
        assert_eq!(referrers[0]["digest"], proof.digest.as_str());
        assert_eq!(referrers[0]["artifactType"], "application/x-proof");
        assert_eq!(referrers[0]["annotations"]["which"], "this one");
    }
    if let Some(skopeo) = peer("skopeo") {
        for name in ["app", "latest"] {
            let output = workspace
                .command(&skopeo)
                .args(["inspect", "--raw"])
                .arg(format!("oci:{}:{name}", path.display()))
                .output()
                .unwrap();
            assert_eq!(Digest::of(&output.stdout), image.digest);
        }
    }
}
