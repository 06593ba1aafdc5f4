//! Buildpacks and extensions from anywhere: a folder, a tar file of such a folder, a `.cnb` file, an
//! image. What comes out is the same: a [`Package`] of [`Module`]s.
//!
//! | from | digest | files |
//! |---|---|---|
//! | folder | of the folder, see [`source::copy`] | in the folder |
//! | `.tgz`, `.tar` | of the file | in the file |
//! | `.cnb`, image | of the manifest | in layers, each verified by its diff ID when it is laid out |
//!
//! <https://github.com/buildpacks/spec/blob/distribution/0.3/distribution.md#buildpackage>

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use lifecycle_core::buildpack::Kind;
use oci::store::{ArchiveForm, ArchiveStore};
use oci::tar::Reader;
use oci::{
    Descriptor, DiffId, Digest, ExtractError, HashReader, Image, ImageError, Limits, Platform,
    Store, StoreError,
};

use super::descriptor::{Mistake, ModuleDescriptor};
use super::file::MAX_TOML;
use super::labels::{
    self, LabelError, LabelProblem, ModuleLayers, PACKAGE, PackageMetadata, layers_label,
};
use super::module::{Content, LayerContent, Module, Origin, word};
use super::target::Target;
use crate::source::{self, SourceError};

/// The most entries of an archive that are looked at to find its descriptor.
const MAX_ENTRIES: u64 = 1_000_000;
/// The longest path in an archive, in bytes.
const MAX_PATH: usize = 4096;

/// A buildpack or extension, with all others that it was packed together with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Package {
    /// The one that is meant.
    pub main: Module,
    /// Those that it needs, by id and version.
    pub others: Vec<Module>,
    /// What nobody reads of what they say: misspelt keys.
    pub notes: Vec<String>,
}

impl Package {
    /// The one that is meant, and then the others.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        std::iter::once(&self.main).chain(&self.others)
    }

    /// The same, to be changed.
    pub(crate) fn modules_mut(&mut self) -> impl Iterator<Item = &mut Module> {
        std::iter::once(&mut self.main).chain(&mut self.others)
    }

    /// The same, as values.
    pub fn into_modules(self) -> impl Iterator<Item = Module> {
        std::iter::once(self.main).chain(self.others)
    }

    /// What is in `folder`. With a target, a folder below that is for it, `linux/arm64` say, stands
    /// for it; the descriptor may then be that of `folder`.
    ///
    /// `uri` is how the folder was named.
    pub fn of_folder(
        kind: Kind,
        folder: &Path,
        uri: &str,
        target: Option<&Target>,
    ) -> Result<Self, PackageError> {
        let root = fs::canonicalize(folder).map_err(|source| PackageError::Read {
            path: folder.to_owned(),
            source,
        })?;
        let file = format!("{}.toml", word(kind));
        let place = target.map_or_else(|| root.clone(), |it| place_for(&root, it));
        let own = place.join(&file);
        let path = if own.exists() || place == root {
            own
        } else {
            root.join(&file)
        };
        let text = read_text(&path)?;
        let descriptor = parse(kind, &path, &text)?;
        let inherited = (path != place.join(&file)).then_some(path);
        let digest = match &inherited {
            None => source::digest(&place),
            Some(_) => source::digest_with(&place, &file, text.as_bytes()),
        };
        let digest = digest.map_err(|source| PackageError::Hash {
            path: place.clone(),
            source,
        })?;
        let content = match inherited {
            None => Content::Folder(place),
            Some(descriptor) => Content::PlatformFolder {
                folder: place,
                descriptor,
            },
        };
        Ok(Self::single(kind, descriptor, uri, digest, content))
    }

    /// What is in the file `path`: a tar file of a folder, plain or compressed, or a `.cnb` file. Of
    /// several platforms in it, what is for `platform`.
    pub async fn of_file(
        kind: Kind,
        path: &Path,
        uri: &str,
        platform: &Platform,
    ) -> Result<Self, PackageError> {
        let owned = path.to_owned();
        let found = tokio::task::spawn_blocking(move || Contents::of(kind, &owned)).await;
        match found.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))? {
            Contents::Folder { text, digest } => {
                let shown = path.join(format!("{}.toml", word(kind)));
                let descriptor = parse(kind, &shown, &text)?;
                let content = Content::Archive(path.to_owned());
                Ok(Self::single(kind, descriptor, uri, digest, content))
            }
            Contents::Layout => {
                let (store, image) = layout(path).await?;
                Self::of_image(kind, Arc::new(store), &image, uri, platform).await
            }
        }
    }

    /// What is in the image `target` of `store`; of an index, in the image that is for `platform`.
    pub async fn of_image(
        kind: Kind,
        store: Arc<dyn Store>,
        target: &Descriptor,
        uri: &str,
        platform: &Platform,
    ) -> Result<Self, PackageError> {
        let image = Image::read(&*store, target, platform, &Limits::default()).await?;
        Self::in_image(kind, &store, &image, uri)
    }

    /// What is in `image`, which lies in `store`. No layer is read.
    pub fn in_image(
        kind: Kind,
        store: &Arc<dyn Store>,
        image: &Image,
        uri: &str,
    ) -> Result<Self, PackageError> {
        let all = &image.config().config.labels;
        let metadata: PackageMetadata =
            labels::read(all, PACKAGE)?.ok_or(PackageError::NoLabel { label: PACKAGE })?;
        let label = layers_label(kind);
        let layers: ModuleLayers =
            labels::read(all, label)?.ok_or(PackageError::NoLabel { label })?;
        let mut main = None;
        let mut others = Vec::new();
        for (name, layer) in labels::listed(&layers).map_err(|it| it.of(label))? {
            let no_layer = || LabelProblem::NoLayer {
                module: name.to_string(),
                layer: layer.layer_diff_id.clone(),
            };
            let digest = layer.layer_diff_id.parse();
            let diff_id = DiffId(digest.map_err(|_bad| no_layer().of(label))?);
            let descriptor = image.layer(&diff_id).ok_or_else(|| no_layer().of(label))?;
            let is_main = name.id == metadata.named.id && name.version == metadata.named.version;
            let module = Module::new(
                kind,
                layer.descriptor(name.clone()).map_err(|it| it.of(label))?,
                Origin {
                    uri: uri.to_owned(),
                    digest: image.descriptor().digest.clone(),
                },
                Content::Layer(Box::new(LayerContent {
                    store: Arc::clone(store),
                    descriptor: descriptor.clone(),
                    diff_id,
                })),
            );
            if is_main {
                main = Some(module);
            } else {
                others.push(module);
            }
        }
        let main = main.ok_or_else(|| {
            let named = &metadata.named;
            LabelProblem::NoModule {
                module: format!("{}@{}", named.id, named.version),
                other: label,
            }
            .of(PACKAGE)
        })?;
        let package = Self {
            main,
            others,
            notes: Vec::new(),
        };
        package.check_order()?;
        Ok(package)
    }

    /// Whether it has all that its composite buildpacks stand for, and none of them itself.
    fn check_order(&self) -> Result<(), PackageError> {
        for module in self.modules() {
            for member in module.order.iter().flat_map(|it| &it.group) {
                if !self.modules().any(|it| it.is(member)) {
                    return Err(PackageError::Lacks {
                        module: module.name().to_string(),
                        member: member.to_string(),
                    });
                }
            }
        }
        super::add::check_cycles(self.modules()).map_err(|module| PackageError::Cycle { module })
    }

    fn single(
        kind: Kind,
        mut descriptor: ModuleDescriptor,
        uri: &str,
        digest: Digest,
        content: Content,
    ) -> Self {
        let name = descriptor.name.clone();
        let unknown = std::mem::take(&mut descriptor.unknown);
        let note = |key| format!("`{name}` has the key `{key}`, which nobody reads");
        let origin = Origin {
            uri: uri.to_owned(),
            digest,
        };
        Self {
            notes: unknown.into_iter().map(note).collect(),
            main: Module::new(kind, descriptor, origin, content),
            others: Vec::new(),
        }
    }
}

/// The folder below `root` that is for `target`: of those that are there, the deepest.
pub fn place_for(root: &Path, target: &Target) -> PathBuf {
    let mut place = root.to_owned();
    for name in target.folders() {
        let next = place.join(name);
        // A link could lead anywhere.
        if !fs::symlink_metadata(&next).is_ok_and(|it| it.is_dir()) {
            break;
        }
        place = next;
    }
    place
}

/// The one image of the archive at `path`, or the index of several.
async fn layout(path: &Path) -> Result<(ArchiveStore, Descriptor), PackageError> {
    let owned = path.to_owned();
    let open = move || ArchiveStore::open(owned, ArchiveForm::Oci, None);
    let store = match tokio::task::spawn_blocking(open).await {
        Ok(store) => store?,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let tags = store.tags().await?;
    let image = match tags.as_slice() {
        [tag] => store.resolve(&oci::Selector::Tag(tag.clone())).await?,
        _ => store.only().await?,
    };
    Ok((store, image))
}

/// What a file holds.
enum Contents {
    /// A folder with this descriptor.
    Folder { text: String, digest: Digest },
    /// An OCI image layout.
    Layout,
}

impl Contents {
    fn of(kind: Kind, path: &Path) -> Result<Self, PackageError> {
        let unreadable = |source| PackageError::Read {
            path: path.to_owned(),
            source,
        };
        let bad = |source| PackageError::Archive {
            path: path.to_owned(),
            source,
        };
        let file = fs::File::open(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(PackageError::NoFile {
                path: path.to_owned(),
            });
        }
        let wanted = format!("{}.toml", word(kind));
        let mut archive = Reader::new(file, MAX_ENTRIES, MAX_PATH).map_err(bad)?;
        let mut text = None;
        while let Some(seen) = archive.next_entry().map_err(bad)? {
            let parts = seen.entry.path.components();
            let name: PathBuf = parts
                .filter(|it| matches!(it, Component::Normal(_)))
                .collect();
            if name == Path::new("oci-layout") {
                return Ok(Self::Layout);
            }
            if name == Path::new(&wanted) {
                // What is read here has to be what runs, and of two the last one would.
                if text.is_some() {
                    return Err(PackageError::Twice {
                        path: path.to_owned(),
                        file: wanted,
                    });
                }
                let bytes = oci::read_at_most(&mut archive, MAX_TOML).map_err(unreadable)?;
                text = Some(to_text(&path.join(&wanted), bytes)?);
            }
        }
        let text = text.ok_or_else(|| PackageError::NoDescriptor {
            path: path.to_owned(),
            file: wanted,
        })?;
        let digest = hash(path).map_err(unreadable)?;
        Ok(Self::Folder { text, digest })
    }
}

/// The SHA-256 of a file.
fn hash(path: &Path) -> io::Result<Digest> {
    HashReader::new(fs::File::open(path)?).finish()
}

pub(crate) fn read_text(path: &Path) -> Result<String, PackageError> {
    let unreadable = |source| PackageError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = fs::File::open(path)
        .and_then(|file| oci::read_at_most(file, MAX_TOML))
        .map_err(unreadable)?;
    to_text(path, bytes)
}

/// `bytes` are those of a file, or none if it is larger than [`MAX_TOML`].
fn to_text(path: &Path, bytes: Option<Vec<u8>>) -> Result<String, PackageError> {
    let bytes = bytes.ok_or_else(|| PackageError::TooLarge {
        path: path.to_owned(),
        limit: MAX_TOML,
    })?;
    String::from_utf8(bytes).map_err(|error| PackageError::Descriptor {
        path: path.to_owned(),
        line: 1,
        problem: error.utf8_error().to_string(),
    })
}

fn parse(kind: Kind, path: &Path, text: &str) -> Result<ModuleDescriptor, PackageError> {
    ModuleDescriptor::parse(kind, text).map_err(|Mistake { line, problem }| {
        PackageError::Descriptor {
            path: path.to_owned(),
            line,
            problem,
        }
    })
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// An archive has its descriptor more than once.
    #[error("`{}` has `{file}` twice", path.display())]
    Twice {
        /// The archive.
        path: PathBuf,
        /// What it has twice.
        file: String,
    },
    /// A file is no tar archive, or a broken one.
    #[error("`{}` is not an archive of a buildpack", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ExtractError,
    },
    /// A composite buildpack stands for itself, in the end.
    #[error("`{module}` stands for itself")]
    Cycle {
        /// Which.
        module: String,
    },
    /// A descriptor says something that cannot be.
    #[error("`{}`, line {line}: {problem}", path.display())]
    Descriptor {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What.
        problem: String,
    },
    /// A folder could not be hashed.
    #[error("failed to hash the buildpack in `{}`", path.display())]
    Hash {
        /// Which.
        path: PathBuf,
        /// Why.
        source: SourceError,
    },
    /// An image could not be read.
    #[error("the image cannot be read")]
    Image(#[from] ImageError),
    /// A label says something that cannot be.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A composite buildpack names what is not there.
    #[error("`{module}` stands for `{member}`, which is not in the package")]
    Lacks {
        /// Which.
        module: String,
        /// What it names.
        member: String,
    },
    /// An archive has no descriptor at its root.
    #[error("`{}` has no `{file}` at its root, and is not an OCI layout", path.display())]
    NoDescriptor {
        /// The archive.
        path: PathBuf,
        /// What it should have.
        file: String,
    },
    /// What should be a file is something else.
    #[error("`{}` is not a file", path.display())]
    NoFile {
        /// Which.
        path: PathBuf,
    },
    /// An image is no package.
    #[error("the image has no label `{label}`: it is not a package of this kind")]
    NoLabel {
        /// Which label.
        label: &'static str,
    },
    /// A file or folder could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file is longer than we read.
    #[error("`{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}

#[cfg(test)]
mod tests;
