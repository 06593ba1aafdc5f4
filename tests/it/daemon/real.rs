//! Against Debian's Docker, skipped, loudly, where it is not installed.

use std::convert::Infallible;

use oci::layer::{self, Compression, Layer};
use oci::tar::{Entry, EntryKind};
use oci::{
    Descriptor, Image, ImageConfig, ImageManifest, LayoutStore, Limits, MediaType, Platform,
    Selector, Store as _, Upload,
};
use serde_json::{Value, json};
use testkit::{Dockerd, Output, Workspace};

/// A daemon, and a layout `src` with images that are on top of each other: `base`, and on it `one`
/// and `two`.
struct Case {
    workspace: Workspace,
    store: LayoutStore,
    docker: Dockerd,
}

impl Case {
    async fn start(arguments: &[String]) -> Option<Self> {
        let busybox = fs_err::read("/bin/busybox").ok()?;
        let workspace = Workspace::new();
        fs_err::create_dir(workspace.join("docker")).unwrap();
        let docker = Dockerd::start(&workspace.join("docker"), arguments)?;
        let store = LayoutStore::create(workspace.join("src")).unwrap();
        let case = Self {
            workspace,
            store,
            docker,
        };
        let base = case.layer("bin/busybox", &busybox, Compression::GoGzip);
        let one = case.layer("hello", b"one", Compression::GoGzip);
        let two = case.layer("hello", b"two", Compression::None);
        case.push("base", &[&base]).await;
        case.push("one", &[&base, &one]).await;
        case.push("two", &[&base, &two]).await;
        Some(case)
    }

    fn layer(&self, path: &str, content: &[u8], compression: Compression) -> Layer {
        let name = format!("layer-{}", oci::Digest::of(content).hex());
        let entry = Entry {
            path: path.into(),
            kind: EntryKind::File {
                size: content.len() as u64,
            },
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 1,
        };
        let made = layer::write(&self.workspace.join(name), compression, |tar| {
            tar.write(&entry, content).unwrap();
            Ok::<_, Infallible>(())
        });
        made.unwrap()
    }

    async fn push(&self, tag: &str, layers: &[&Layer]) {
        let diff_ids: Vec<_> = layers.iter().map(|it| &it.diff_id).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Cmd": ["/bin/busybox", "cat", "/hello"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config: ImageConfig = serde_json::from_value(config).unwrap();
        let like = ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::IMAGE_MANIFEST),
            config: Descriptor::of(MediaType::IMAGE_CONFIG, b""),
            layers: Vec::new(),
            annotations: std::collections::BTreeMap::default(),
            subject: None,
            artifact_type: None,
        };
        let descriptors = layers.iter().map(|it| it.descriptor.clone()).collect();
        let image = Image::new(&like, config, descriptors).unwrap();
        for it in layers {
            let upload = Upload::File(it.file.clone());
            self.store.push_blob(&it.descriptor, upload).await.unwrap();
        }
        let upload = Upload::Bytes(image.config_bytes().clone());
        let config = &image.manifest().config;
        self.store.push_blob(config, upload).await.unwrap();
        let bytes = image.manifest_bytes().clone();
        let pushed = self.store.push_manifest(image.descriptor(), bytes).await;
        pushed.unwrap();
        let tag = tag.parse().unwrap();
        self.store.tag(image.descriptor(), &tag).await.unwrap();
    }

    async fn image(&self, store: &LayoutStore, tag: &str) -> Image {
        let tag = Selector::Tag(tag.parse().unwrap());
        let found = store.resolve(&tag).await.unwrap();
        let (platform, limits) = (Platform::host(), Limits::default());
        let image = Image::read(store, &found, &platform, &limits).await;
        image.unwrap()
    }

    fn sealpack(&self, arguments: &[&str]) -> Output {
        let mut command = self.workspace.sealpack(arguments);
        Output::of(command.env("DOCKER_HOST", self.docker.host()))
    }

    fn copy(&self, from: &str, to: &str) -> Value {
        let output = self.sealpack(&["copy", from, to, "--output", "json"]);
        assert_eq!(output.code, 0, "{output:?}");
        serde_json::from_str(&output.stdout).unwrap()
    }
}

#[tokio::test]
async fn docker_runs_what_we_load_and_gives_it_back() {
    let Some(case) = Case::start(&[]).await else {
        return;
    };
    // Into the daemon: the second and third image bring their own layer only.
    let mut sizes = Vec::new();
    for tag in ["base", "one", "two", "two"] {
        let report = case.copy(&format!("oci:src:{tag}"), &format!("docker-daemon:{tag}"));
        let image = case.image(&case.store, tag).await;
        assert_eq!(report["imageId"], image.id().as_str());
        sizes.push(report["newBytes"].as_u64().unwrap());
    }
    assert!(
        sizes[0] > 500_000 && sizes[1] < 2_000 && sizes[2] < 5_000,
        "{sizes:?}"
    );
    assert_eq!(sizes[3], 0);
    for tag in ["one", "two"] {
        let run = ["run", "--rm", "--network=host", tag];
        if let Some(output) = case.docker.docker(&run) {
            assert_eq!(
                (output.code, output.stdout.as_str()),
                (0, tag),
                "{output:?}"
            );
        }
    }

    // Back: the same config and the same layers, under a manifest made anew.
    let back = LayoutStore::create(case.workspace.join("back")).unwrap();
    let image = case.image(&case.store, "two").await;
    let by_id = format!("docker-daemon:whatever@{}", image.id());
    for (source, tag) in [("docker-daemon:two", "by-name"), (&by_id, "by-id")] {
        case.copy(source, &format!("oci:back:{tag}"));
        let came = case.image(&back, tag).await;
        assert_eq!(came.config_bytes(), image.config_bytes());
        for (layer, diff_id) in came.layers() {
            let file = tempfile::tempdir_in(case.workspace.path()).unwrap();
            let rules = oci::ExtractOptions::default();
            let read = oci::extract_layer(&back, layer, file.path(), &rules).await;
            assert_eq!(read.unwrap().diff_id, *diff_id);
        }
    }
    let output = case.sealpack(&["unpack", "docker-daemon:one", "root"]);
    assert_eq!(output.code, 0, "{output:?}");
    let hello = fs_err::read(case.workspace.join("root/hello")).unwrap();
    assert_eq!(hello, b"one");
    let output = case.sealpack(&["inspect", "docker-daemon:one", "--output", "json"]);
    let shown: Value = serde_json::from_str(&output.stdout).unwrap();
    let one = case.image(&case.store, "one").await;
    assert_eq!(shown["imageId"], one.id().as_str());

    let output = case.sealpack(&["inspect", "docker-daemon:missing"]);
    assert_eq!(output.code, 2);
    insta::assert_snapshot!(output.stderr, @"error: `latest` was not found in `docker-daemon:missing`");
    // Nothing of it is left.
    let left = fs_err::read_dir(case.workspace.path()).unwrap();
    let left = left.map(|it| it.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|it| it.starts_with("sealpack-")).collect();
    assert_eq!(left, [] as [&str; 0]);
}
