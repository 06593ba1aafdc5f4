//! Images that a real daemon can run.

use std::convert::Infallible;
use std::process::Command;

use oci::layer::{self, Compression, Layer};
use oci::tar::{Entry, EntryKind};
use oci::{
    Descriptor, Image, ImageConfig, ImageManifest, LayoutStore, Limits, MediaType, Platform,
    Selector, Store as _, Upload,
};
use serde_json::{Value, json};
use testkit::{Output, Workspace, peer};

/// A layout `src` in a workspace, with images that are on top of each other: `base`, and on it `one`
/// and `two`, which say so when they are run.
pub(super) struct Images {
    pub(super) workspace: Workspace,
    pub(super) store: LayoutStore,
}

impl Images {
    /// Makes them, of the machine's busybox.
    pub(super) async fn make() -> Option<Self> {
        let busybox = fs_err::read(peer("busybox")?).unwrap();
        let workspace = Workspace::new();
        let store = LayoutStore::create(workspace.join("src")).unwrap();
        let images = Self { workspace, store };
        let base = images.layer("bin/busybox", &busybox, Compression::GoGzip);
        let one = images.layer("hello", b"one", Compression::GoGzip);
        let two = images.layer("hello", b"two", Compression::None);
        images.push("base", &[&base]).await;
        images.push("one", &[&base, &one]).await;
        images.push("two", &[&base, &two]).await;
        Some(images)
    }

    pub(super) fn layer(&self, path: &str, content: &[u8], compression: Compression) -> Layer {
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

    pub(super) async fn push(&self, tag: &str, layers: &[&Layer]) {
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

    pub(super) async fn image(&self, store: &LayoutStore, tag: &str) -> Image {
        let tag = Selector::Tag(tag.parse().unwrap());
        let found = store.resolve(&tag).await.unwrap();
        let (platform, limits) = (Platform::host(), Limits::default());
        let image = Image::read(store, &found, &platform, &limits).await;
        image.unwrap()
    }

    /// `sealpack`, for the daemon at `host`.
    pub(super) fn command(&self, host: &str, arguments: &[&str]) -> Command {
        let mut command = self.workspace.sealpack(arguments);
        command.env("DOCKER_HOST", host);
        command
    }

    /// Runs it.
    pub(super) fn sealpack(&self, host: &str, arguments: &[&str]) -> Output {
        Output::of(&mut self.command(host, arguments))
    }

    /// Copies an image, and returns what is said about that.
    pub(super) fn copy(&self, host: &str, from: &str, to: &str) -> Value {
        let arguments = ["copy", from, to, "--output", "json"];
        report(self.sealpack(host, &arguments))
    }
}

/// The JSON of a command that must succeed.
pub(super) fn report(output: Output) -> Value {
    serde_json::from_str(&output.expect(0).stdout).unwrap()
}
