//! Images that are put together file by file.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use oci::layer::{self, Compression};
use oci::tar::{Entry, EntryKind, TarError};
use oci::{Descriptor, DiffId, LayoutStore, MediaType, Store as _, Upload};
use serde_json::{Value, json};

/// A layer in the making: its entries, in order.
#[derive(Clone, Debug, Default)]
pub struct LayerFiles(Vec<(Entry, Source)>);

#[derive(Clone, Debug)]
enum Source {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl LayerFiles {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn entry(mut self, path: &str, kind: EntryKind, mode: u32, source: Source) -> Self {
        let entry = Entry {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 315_532_801,
        };
        self.0.push((entry, source));
        self
    }

    /// Adds a file.
    pub fn file(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        let content = content.into();
        let size = content.len() as u64;
        self.entry(
            path,
            EntryKind::File { size },
            0o644,
            Source::Bytes(content),
        )
    }

    /// Adds a file that can be run.
    pub fn program(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        let content = content.into();
        let size = content.len() as u64;
        self.entry(
            path,
            EntryKind::File { size },
            0o755,
            Source::Bytes(content),
        )
    }

    /// Adds a folder.
    pub fn folder(self, path: &str) -> Self {
        self.entry(path, EntryKind::Directory, 0o755, Source::Bytes(Vec::new()))
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        let target = target.into();
        self.entry(
            path,
            EntryKind::Symlink { target },
            0o777,
            Source::Bytes(Vec::new()),
        )
    }

    /// Adds a hard link.
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        let target = target.into();
        self.entry(
            path,
            EntryKind::Hardlink { target },
            0o644,
            Source::Bytes(Vec::new()),
        )
    }

    /// Gives what was added last to this user and group.
    pub fn owned(mut self, uid: u64, gid: u64) -> Self {
        if let Some((entry, _)) = self.0.last_mut() {
            (entry.uid, entry.gid) = (uid, gid);
        }
        self
    }

    /// Gives what was added last this mode.
    pub fn mode(mut self, mode: u32) -> Self {
        if let Some((entry, _)) = self.0.last_mut() {
            entry.mode = mode;
        }
        self
    }

    /// Adds what is at `from` on this machine, with all below it: folders, files and symbolic links.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn tree(mut self, path: &str, from: &Path) -> Self {
        let metadata = fs_err::symlink_metadata(from).expect("what is added is there");
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_symlink() {
            let target = fs_err::read_link(from).expect("the link is readable");
            return self.symlink(path, target.to_str().expect("the name is UTF-8"));
        }
        if !metadata.is_dir() {
            if metadata.is_file() {
                let kind = EntryKind::File {
                    size: metadata.len(),
                };
                self = self.entry(path, kind, mode, Source::File(from.to_owned()));
            }
            return self;
        }
        if !path.is_empty() {
            self = self.entry(path, EntryKind::Directory, mode, Source::Bytes(Vec::new()));
        }
        let entries = fs_err::read_dir(from).expect("the folder is readable");
        let mut entries: Vec<PathBuf> = entries.filter_map(|it| Some(it.ok()?.path())).collect();
        entries.sort();
        for below in entries {
            let name = below.file_name().and_then(|it| it.to_str());
            let name = name.expect("the name is UTF-8");
            let path = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}/{name}")
            };
            self = self.tree(&path, &below);
        }
        self
    }

    /// As a tar archive in memory.
    ///
    /// # Panics
    /// If an entry cannot be written.
    pub fn tar(&self) -> Vec<u8> {
        let mut tar = oci::tar::Writer::new(Vec::new());
        self.write(&mut tar).expect("the entries can be written");
        tar.finish().expect("the archive can be ended")
    }

    fn write<W: io::Write>(&self, tar: &mut oci::tar::Writer<W>) -> Result<(), TarError> {
        for (entry, source) in &self.0 {
            match source {
                Source::Bytes(bytes) => tar.write(entry, &bytes[..])?,
                Source::File(path) => {
                    let file = fs_err::File::open(path).expect("the file is readable");
                    tar.write(entry, file)?;
                }
            }
        }
        Ok(())
    }
}

/// Writes an image of these layers, lowest first, to a new layout at `folder`, and calls it `latest`.
///
/// # Panics
/// If the disk is full.
pub async fn write_image(folder: &Path, layers: &[LayerFiles]) -> Descriptor {
    write_image_with(folder, layers, |_| json!({})).await
}

/// The same, with a configuration (`Labels`, say) that is made of the layers' diff IDs.
///
/// # Panics
/// If the disk is full.
pub async fn write_image_with(
    folder: &Path,
    layers: &[LayerFiles],
    config: impl FnOnce(&[DiffId]) -> Value,
) -> Descriptor {
    let store = LayoutStore::create(folder).expect("a new layout");
    let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
    for (number, files) in layers.iter().enumerate() {
        let file = folder.join(format!("layer-{number}"));
        let layer = layer::write(&file, Compression::GoGzip, |tar| files.write(tar));
        let layer = layer.expect("the layer can be written");
        descriptors.push(layer.descriptor.clone());
        diff_ids.push(layer.diff_id.clone());
        let upload = Upload::Layer(Box::new(layer.clone()));
        let pushed = store.push_blob(&layer.descriptor, upload).await;
        pushed.expect("the layout takes it");
        fs_err::remove_file(&file).expect("the file is ours");
    }
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": config(&diff_ids),
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config_bytes = Bytes::from(config.to_string());
    let config = Descriptor::of(MediaType::IMAGE_CONFIG, &config_bytes);
    let pushed = store.push_blob(&config, Upload::Bytes(config_bytes)).await;
    pushed.expect("the layout takes it");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::IMAGE_MANIFEST,
        "config": config, "layers": descriptors,
    });
    let manifest = Bytes::from(manifest.to_string());
    let image = Descriptor::of(MediaType::IMAGE_MANIFEST, &manifest);
    let pushed = store.push_manifest(&image, manifest).await;
    pushed.expect("the layout takes it");
    let tag = "latest".parse().expect("it is a tag");
    store.tag(&image, &tag).await.expect("the layout takes it");
    image
}
