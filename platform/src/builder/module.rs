//! A buildpack or extension, wherever it came from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_core::buildpack::Kind;
use lifecycle_core::files::group::GroupElement;
use lifecycle_core::files::order::OrderGroup;
use oci::{Descriptor, DiffId, Digest, Store};

use super::descriptor::{ModuleDescriptor, ModuleInfo, Stack};
use super::id::{ModuleId, ModuleName, ModuleVersion};
use super::target::Target;

/// A buildpack or an image extension: who it is, what it says of itself, where it was had from, and
/// where its files are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Module {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: ModuleId,
    /// Its version.
    pub version: ModuleVersion,
    /// The Buildpack API that it speaks, as text.
    pub api: String,
    /// What it says to people.
    pub info: ModuleInfo,
    /// The stacks that it names, as buildpacks did before there were targets.
    pub stacks: Vec<Stack>,
    /// What it runs on; empty if it does not say.
    pub targets: Vec<Target>,
    /// Of a composite buildpack: what it stands for.
    pub order: Vec<OrderGroup>,
    /// Where it was had from.
    pub origin: Origin,
    /// Where its files are.
    pub content: Content,
}

/// Where a module was had from, and which bytes that were.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Origin {
    /// As who named it wrote it: a folder, a file, a URL, an image.
    pub uri: String,
    /// Of a folder, see [`source::copy`](crate::source::copy); of a file, its SHA-256; of a package, its
    /// manifest's; of what is in a builder image, its layer's diff ID.
    pub digest: Digest,
}

/// Where the files of a module are.
#[derive(Clone)]
#[non_exhaustive]
pub enum Content {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// In a folder that is for one platform, and whose descriptor lies further up: the file
    /// `descriptor` is put into it.
    PlatformFolder {
        /// Where the files are.
        folder: PathBuf,
        /// `buildpack.toml`, or `extension.toml`.
        descriptor: PathBuf,
    },
    /// In a tar file of such a folder, plain or compressed.
    Archive(PathBuf),
    /// In a layer, below `cnb/buildpacks/<id>/<version>` or `cnb/extensions/<id>/<version>`.
    Layer(Box<LayerContent>),
    /// In the root of the builder image, as above.
    Builder,
}

/// A layer that holds modules.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct LayerContent {
    /// Where it lies.
    pub store: Arc<dyn Store>,
    /// Which blob it is.
    pub descriptor: Descriptor,
    /// What it is uncompressed.
    pub diff_id: DiffId,
}

impl Module {
    /// The module that `descriptor` describes.
    pub(crate) fn new(
        kind: Kind,
        descriptor: ModuleDescriptor,
        origin: Origin,
        content: Content,
    ) -> Self {
        Self {
            kind,
            id: descriptor.name.id,
            version: descriptor.name.version,
            api: descriptor.api,
            info: descriptor.info,
            stacks: descriptor.stacks,
            targets: descriptor.targets,
            order: descriptor.order,
            origin,
            content,
        }
    }

    /// `id@version`.
    pub fn name(&self) -> ModuleName {
        ModuleName {
            id: self.id.clone(),
            version: self.version.clone(),
        }
    }

    /// It as a member of a group.
    pub fn element(&self) -> GroupElement {
        GroupElement::new(self.id.as_str(), self.version.as_str())
    }

    /// Whether it stands for others.
    pub fn is_composite(&self) -> bool {
        !self.order.is_empty()
    }

    /// Where it lies in an image, without a leading slash: `cnb/buildpacks/<id>/<version>`.
    pub fn place(&self) -> PathBuf {
        Path::new(root_of(self.kind))
            .join(self.id.escaped())
            .join(self.version.as_str())
    }

    /// Whether it is the same by what it was had by.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Content::Layer(one), Content::Layer(other)) => one.diff_id == other.diff_id,
            // What is in a builder image is known by the layer that it lies in.
            (Content::Builder, Content::Layer(layer)) => self.origin.digest == layer.diff_id.0,
            _ => self.origin.digest == other.origin.digest,
        }
    }

    /// Whether `element` means this one.
    pub fn is(&self, element: &GroupElement) -> bool {
        self.id == element.id && self.version == element.version
    }
}

/// Where modules of this kind lie in an image, without a leading slash.
pub(crate) fn root_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Buildpack => "cnb/buildpacks",
        Kind::Extension => "cnb/extensions",
    }
}

/// What the specification calls modules of this kind in its file names: `buildpack`, `extension`.
pub(crate) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Buildpack => "buildpack",
        Kind::Extension => "extension",
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => f.debug_tuple("Folder").field(path).finish(),
            Self::PlatformFolder { folder, .. } => f.debug_tuple("Folder").field(folder).finish(),
            Self::Archive(path) => f.debug_tuple("Archive").field(path).finish(),
            Self::Layer(layer) => layer.fmt(f),
            Self::Builder => f.write_str("Builder"),
        }
    }
}

impl fmt::Debug for LayerContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layer").field(&self.diff_id).finish()
    }
}
