//! What the tests of this folder share: images in memory, folders with buildpacks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use fs_err as fs;
use oci::tar::{Entry, EntryKind, Writer};
use oci::{
    Descriptor, DiffId, Digest, Image, ImageConfig, ImageManifest, MediaType, MemoryStore,
    Store as _, Upload,
};

/// An image in memory: its layers, as paths and contents, and its labels.
#[derive(Default)]
pub(super) struct TestImage {
    layers: Vec<Vec<(String, String)>>,
    labels: Vec<(String, String)>,
    env: Vec<String>,
}

impl TestImage {
    pub(super) fn label(mut self, name: &str, value: impl Into<String>) -> Self {
        self.labels.retain(|it| it.0 != name);
        self.labels.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn env(mut self, line: &str) -> Self {
        self.env.push(line.to_owned());
        self
    }

    pub(super) fn layer(mut self, files: &[(&str, &str)]) -> Self {
        let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        self.layers.push(files.iter().map(owned).collect());
        self
    }

    /// A label may name the diff ID of a layer as `{0}`, `{1}` and so on.
    pub(super) async fn make(self) -> (Arc<MemoryStore>, Image) {
        let store = Arc::new(MemoryStore::new());
        let mut config = ImageConfig {
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            ..ImageConfig::default()
        };
        let mut descriptors = Vec::new();
        for files in &self.layers {
            let tar = tar(files);
            let descriptor = Descriptor::of(MediaType::LAYER_TAR, &tar);
            config.rootfs.diff_ids.push(DiffId(Digest::of(&tar)));
            store
                .push_blob(&descriptor, Upload::Bytes(tar.into()))
                .await
                .unwrap();
            descriptors.push(descriptor);
        }
        for (name, value) in self.labels {
            let mut value = value;
            for (at, diff_id) in config.rootfs.diff_ids.iter().enumerate() {
                value = value.replace(&format!("{{{at}}}"), diff_id.0.as_str());
            }
            config.config.labels.insert(name, value);
        }
        config.config.env = self.env;
        let image = Image::new(&plain(), config, descriptors).unwrap();
        let config = image.manifest().config.clone();
        let bytes = image.config_bytes().clone();
        store
            .push_blob(&config, Upload::Bytes(bytes))
            .await
            .unwrap();
        let bytes = image.manifest_bytes().clone();
        store
            .push_manifest(image.descriptor(), bytes)
            .await
            .unwrap();
        (store, image)
    }
}

fn plain() -> ImageManifest {
    ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        config: Descriptor::of(MediaType::IMAGE_CONFIG, b"{}"),
        layers: Vec::new(),
        annotations: BTreeMap::new(),
        subject: None,
        artifact_type: None,
    }
}

pub(super) fn tar(files: &[(String, String)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (path, text) in files {
        let entry = Entry {
            path: path.into(),
            kind: EntryKind::File {
                size: text.len() as u64,
            },
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
        };
        writer.write(&entry, text.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

/// A label `io.buildpacks.buildpack.layers` of these: id, version and layer.
pub(super) fn layers(modules: &[(&str, &str, &str)]) -> String {
    let mut text = String::from("{");
    for (at, (id, version, layer)) in modules.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(
            text,
            r#"{comma}"{id}":{{"{version}":{{"api":"0.10","layerDiffID":"{layer}","name":"N"}}}}"#
        )
        .unwrap();
    }
    text + "}"
}

/// A buildpack in `folder`.
pub(super) fn buildpack(folder: &Path, id: &str, version: &str) {
    fs::create_dir_all(folder.join("bin")).unwrap();
    fs::write(folder.join("bin/build"), "#!/bin/sh\n").unwrap();
    let text = format!("api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"{version}\"\n");
    fs::write(folder.join("buildpack.toml"), text).unwrap();
}
