//! Where the phases find images and put them: a registry, a folder of layouts, a Docker daemon, a
//! staging area.

mod daemon;
mod name;
mod registry;

use std::fmt;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use oci::store::LayoutStore;
use oci::{
    Descriptor, Digest, Image, ImageError, Limits, Location, Manifest, ManifestError, MediaType,
    Platform, Reference, Selector, Store, StoreError, Tag,
};

pub use self::daemon::DaemonImages;
pub(crate) use self::daemon::target;
pub use self::name::registry;
pub use self::registry::RegistryImages;
use crate::words;

/// Finds the place of each image by its name.
#[async_trait]
pub trait Images: fmt::Debug + Send + Sync {
    /// What `name` is called here, for the user and for reports.
    fn shown(&self, name: &str) -> Result<String, PlaceError>;

    /// The place of `name`, to read from. `None` if there is nothing; but whether there is an image
    /// in a place is not asked.
    async fn open(&self, name: &str) -> Result<Option<Place>, PlaceError>;

    /// The place of `name`, to write to.
    async fn create(&self, name: &str) -> Result<Place, PlaceError>;

    /// An error if the image `name` may not be read. One that is not there may be.
    async fn check_read(&self, name: &str) -> Result<(), PlaceError>;

    /// Whether a registry says that there is an image `name`. Elsewhere that is known by opening it
    /// only.
    async fn is_there(&self, name: &str) -> Result<bool, PlaceError> {
        let _ = name;
        Ok(true)
    }

    /// An error if an image may not be written to `name`.
    async fn check_write(&self, name: &str) -> Result<(), PlaceError>;

    /// An error if a registry does not say whether there is an image `name`: it is asked before one is
    /// written.
    async fn check_name(&self, name: &str) -> Result<(), PlaceError> {
        let _ = name;
        Ok(())
    }

    /// What images are known by here.
    fn kind(&self) -> Kind {
        Kind::Registry
    }

    /// The daemon, if it is one: it takes whole images only, so they are written another way.
    fn daemon(&self) -> Option<&DaemonImages> {
        None
    }
}

/// What images are known by, which decides what files and logs say of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the platform API has these three")]
pub enum Kind {
    /// The digest of the manifest, so that reports name it.
    Registry,
    /// The path of a layout, which may lack layers.
    Layout,
    /// The image ID.
    Daemon,
}

/// Where an image is, or will be.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by who implements `Images`")]
pub struct Place {
    /// Where its content lies.
    pub store: Arc<dyn Store>,
    /// What it is called here, for the user and for reports.
    pub name: String,
    /// The name without tag and digest: what `@sha256:…` is appended to.
    pub repository: String,
    /// Which image of the store it is.
    pub selector: Selector,
    /// The image ID, in a daemon: a daemon has no digests of manifests.
    pub image_id: Option<Digest>,
    /// Whether a registry has to say in the words of the specification that nothing is there, as
    /// upstream wants it.
    pub strict: bool,
}

impl Place {
    /// Names the image `digest` of this place for good: in a daemon by the image ID alone.
    pub fn identifier(&self, digest: &Digest) -> String {
        match &self.image_id {
            Some(id) => id.hex().to_owned(),
            None => format!("{}@{digest}", self.repository),
        }
    }

    /// What is there, if anything.
    pub async fn resolve(&self) -> Result<Option<Descriptor>, StoreError> {
        match self.store.resolve(&self.selector).await {
            Ok(descriptor) => Ok(Some(descriptor)),
            Err(error) => {
                let is_missing = match error.answer() {
                    Some(answer) if self.strict => words::is_absence(answer),
                    _ => error.is_not_found(),
                };
                if is_missing { Ok(None) } else { Err(error) }
            }
        }
    }

    /// The image that is there, if any; of an index, the one that runs on `platform`.
    pub async fn image(
        &self,
        platform: &Platform,
        limits: &Limits,
    ) -> Result<Option<Image>, OpenError> {
        let failed = |source| OpenError {
            name: self.name.clone(),
            strict: self.strict,
            source: Box::new(source),
        };
        let found = self.resolve().await;
        let Some(descriptor) = found.map_err(|error| failed(error.into()))? else {
            return Ok(None);
        };
        // Large, and most that open an image do more.
        let image = Box::pin(Image::read(&*self.store, &descriptor, platform, limits)).await;
        image.map(Some).map_err(failed)
    }
}

/// Parses the name of an image as go-containerregistry does, `latest` where nothing else is said.
///
/// A repository needs two characters: no tool of the field reads a shorter one.
pub fn parse_name(name: &str) -> Result<Reference, PlaceError> {
    let unnameable = || PlaceError::Name {
        name: name.to_owned(),
    };
    let mut reference = name
        .parse()
        .or_else(|_strict| Reference::parse_weakly(name))
        .map_err(|_reason| unnameable())?;
    let Location::Registry(repository) = &reference.location else {
        return Err(unnameable());
    };
    // It is looked at before Docker's folder is put before it.
    let path = repository.path();
    let given = path
        .strip_prefix("library/")
        .filter(|_| !name.contains("library/"));
    if given.unwrap_or(path).len() < 2 {
        return Err(unnameable());
    }
    if reference.selector().is_none() {
        reference.tag = Tag::LATEST.parse().ok();
    }
    Ok(reference)
}

/// Images in a folder of OCI layouts, one for each, as upstream's `-layout` has them:
/// `<folder>/<registry>/<repository>/<tag>`.
///
/// <https://github.com/buildpacks/rfcs/blob/main/text/0119-export-to-oci.md>
#[derive(Clone, Debug)]
pub struct LayoutImages {
    folder: PathBuf,
}

impl LayoutImages {
    /// Images below `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The layout of `name`: a name of an image, or a path that was made of one. A path in a file of
    /// the phase before may lie elsewhere: then it is read, and never written.
    fn path(&self, name: &str) -> Result<(PathBuf, Selector), PlaceError> {
        let unnameable = || PlaceError::Name {
            name: name.to_owned(),
        };
        let latest = || Tag::LATEST.parse().map_err(|_reason| unnameable());
        if Path::new(name).is_absolute() {
            let (path, digest) = name.split_once('@').map_or((name, None), |(path, digest)| {
                (path, Some(digest.parse::<Digest>()))
            });
            let climbs = Path::new(path)
                .components()
                .any(|it| it == std::path::Component::ParentDir);
            if climbs {
                return Err(unnameable());
            }
            let selector = match digest {
                Some(digest) => Selector::Digest(digest.map_err(|_reason| unnameable())?),
                None => Selector::Tag(last_tag(Path::new(path)).map_or_else(latest, Ok)?),
            };
            return Ok((path.into(), selector));
        }
        let reference = parse_name(name)?;
        let Location::Registry(repository) = &reference.location else {
            return Err(unnameable());
        };
        let base = self
            .folder
            .join(repository.registry().as_str())
            .join(repository.path());
        match reference.selector() {
            Some(Selector::Digest(digest)) => Ok((
                base.join(digest.algorithm().name()).join(digest.hex()),
                Selector::Digest(digest),
            )),
            Some(Selector::Tag(tag)) => Ok((base.join(tag.as_str()), Selector::Tag(tag))),
            None => Err(unnameable()),
        }
    }
}

/// The tag that the layout's path ends with.
fn last_tag(path: &Path) -> Option<Tag> {
    path.file_name()?.to_str()?.parse().ok()
}

#[async_trait]
impl Images for LayoutImages {
    fn shown(&self, name: &str) -> Result<String, PlaceError> {
        Ok(self.path(name)?.0.display().to_string())
    }

    async fn open(&self, name: &str) -> Result<Option<Place>, PlaceError> {
        let (path, selector) = self.path(name)?;
        if !path.join("index.json").exists() {
            return Ok(None);
        }
        let layout = LayoutStore::open(&path)?;
        // Upstream's layouts hold one image each, and need not name it.
        // A digest in a path is that of an earlier image and does not count.
        let selector = match layout.resolve(&selector).await {
            Err(
                StoreError::NotFound { .. }
                | StoreError::Malformed { .. }
                | StoreError::NoRegistry { .. },
            ) => Selector::Digest(only(&path, &layout).await?),
            _ => selector,
        };
        Ok(Some(place(&path, layout, selector)))
    }

    async fn create(&self, name: &str) -> Result<Place, PlaceError> {
        let (path, selector) = self.path(name)?;
        if !path.starts_with(&self.folder) {
            return Err(PlaceError::Name {
                name: name.to_owned(),
            });
        }
        let is_new = !path.join(VERSION_FILE).exists();
        let layout = LayoutStore::create(&path)?;
        if is_new {
            as_upstream(&path).map_err(|source| PlaceError::Version {
                path: path.clone(),
                source,
            })?;
        }
        Ok(place(&path, layout, selector))
    }

    async fn check_read(&self, name: &str) -> Result<(), PlaceError> {
        self.path(name).map(drop)
    }

    async fn check_write(&self, name: &str) -> Result<(), PlaceError> {
        self.path(name).map(drop)
    }

    fn kind(&self) -> Kind {
        Kind::Layout
    }
}

/// The image of the layout at `path` that is meant if none is named: the only one, or of several the
/// one for this machine.
async fn only(path: &Path, layout: &LayoutStore) -> Result<Digest, StoreError> {
    let error = match layout.only().await {
        Ok(found) => return Ok(found.digest),
        Err(error) => error,
    };
    let limits = Limits::default();
    let read = std::fs::File::open(path.join("index.json"))
        .and_then(|it| oci::read_at_most(it, limits.manifest_bytes));
    if let Ok(Some(bytes)) = read
        && let Ok(Manifest::Index(index)) =
            Manifest::parse(&MediaType::IMAGE_INDEX, &bytes, &limits)
        && let Some(image) = index.pick(&Platform::host())
    {
        return Ok(image.digest.clone());
    }
    Err(error)
}

/// The file that says that a folder is a layout.
const VERSION_FILE: &str = "oci-layout";

/// Gives the file that says so the bytes and the mode that go-containerregistry writes.
fn as_upstream(path: &Path) -> std::io::Result<()> {
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o755))
        .tempfile_in(path)?;
    file.write_all(b"{\n    \"imageLayoutVersion\": \"1.0.0\"\n}")?;
    file.as_file().sync_all()?;
    file.persist(path.join(VERSION_FILE))?;
    Ok(())
}

fn place(path: &Path, layout: LayoutStore, selector: Selector) -> Place {
    let name = path.display().to_string();
    Place {
        store: Arc::new(layout),
        repository: name.clone(),
        name,
        selector,
        image_id: None,
        strict: false,
    }
}

/// Why an image could not be opened. What a registry did is told by [`words`].
#[derive(Debug, thiserror::Error)]
#[error("failed to read image '{name}'")]
#[expect(clippy::exhaustive_structs, reason = "made by who implements `Images`")]
pub struct OpenError {
    /// What the image is called.
    pub name: String,
    /// As of its [`Place`].
    pub strict: bool,
    /// Why.
    pub source: Box<ImageError>,
}

impl OpenError {
    /// Whether the image may be all right, and was not had: nobody answered, or a registry answered
    /// otherwise than it should.
    pub(crate) fn is_of_store(&self) -> bool {
        match &*self.source {
            ImageError::Store(StoreError::Unavailable { .. } | StoreError::Refused { .. }) => true,
            ImageError::Store(error) => self.strict && words::of_store(error).is_some(),
            ImageError::Manifest {
                source: ManifestError::NotJson { .. },
                ..
            } => self.strict,
            _ => false,
        }
    }

    /// Whether there is the image, of which its config could not be had.
    pub(crate) fn is_of_config(&self) -> bool {
        match &*self.source {
            ImageError::Config { .. } => true,
            ImageError::Store(error) => {
                words::request(error).is_some_and(|it| it.url.contains("/blobs/"))
            }
            _ => false,
        }
    }
}

/// Why a name is no place, or one that may not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// It is no name of an image.
    #[error("could not parse reference: {name}")]
    Name {
        /// What was given.
        name: String,
    },
    /// The file that makes a folder a layout could not be written.
    #[error("write {}", path.join(VERSION_FILE).display())]
    Version {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no daemon; in upstream's words.
    #[error("{text}")]
    NoDaemon {
        /// Which, and what is wrong.
        text: String,
    },
    /// A daemon did not make the image.
    #[error("{text}")]
    Said {
        /// Why.
        text: String,
    },
    /// The store said no, or nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_everywhere_in_the_field() {
        let shown = |name: &str| parse_name(name).map(|it| it.to_string()).ok();
        assert_eq!(
            shown("shop/run").as_deref(),
            Some("index.docker.io/shop/run:latest")
        );
        assert_eq!(
            shown("localhost:5000/app:v1").as_deref(),
            Some("localhost:5000/app:v1")
        );
        for bad in [
            "localhost:5000/a",
            "a",
            "docker.io/a",
            "UPPER CASE",
            "",
            "oci:folder",
        ] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }

    #[test]
    fn layouts_lie_where_upstream_has_them_and_nowhere_else() {
        let digest = Digest::of(b"");
        let images = LayoutImages::new("/layouts");
        let shown = |name: &str| images.shown(name).ok();
        let at = |path: &str| Some(format!("/layouts/{path}"));
        assert_eq!(shown("myrun"), at("index.docker.io/library/myrun/latest"));
        assert_eq!(shown("shop/app:v1"), at("index.docker.io/shop/app/v1"));
        assert_eq!(
            shown(&format!("shop/app@{digest}")),
            at(&format!("index.docker.io/shop/app/sha256/{}", digest.hex()))
        );
        assert_eq!(
            shown(&format!("/layouts/index.docker.io/shop/app/v1@{digest}")),
            at("index.docker.io/shop/app/v1")
        );
        for bad in ["/layouts/../etc/v1", "/layouts/x@sha256:0"] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_path_elsewhere_is_read_and_never_written() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there/app/v1");
        LayoutStore::create(&there).unwrap();
        let images = LayoutImages::new(folder.path().join("layouts"));
        let name = there.display().to_string();
        assert!(matches!(
            images.create(&name).await,
            Err(PlaceError::Name { .. })
        ));
        // It is found, and has no image.
        assert!(images.open(&name).await.is_err());
    }

    #[tokio::test]
    async fn of_several_images_in_a_layout_the_one_for_this_machine_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let images = LayoutImages::new(folder.path());
        let there = folder.path().join("index.docker.io/shop/app/latest");
        let layout = LayoutStore::create(&there).unwrap();
        let mut listed = Vec::new();
        let own = Platform::host();
        for (architecture, text) in [("other", "{\"a\":1}"), (&*own.architecture, "{}")] {
            let config = Descriptor::of(MediaType::IMAGE_CONFIG, text.as_bytes());
            let manifest = serde_json::json!({
                "schemaVersion": 2, "mediaType": MediaType::IMAGE_MANIFEST,
                "config": config, "layers": [],
            });
            let bytes = bytes::Bytes::from(manifest.to_string());
            let image = Descriptor::of(MediaType::IMAGE_MANIFEST, &bytes);
            layout.push_manifest(&image, bytes).await.unwrap();
            listed.push(serde_json::json!({
                "mediaType": image.media_type, "digest": image.digest, "size": image.size,
                "platform": {"os": own.os, "architecture": architecture},
            }));
        }
        let index = serde_json::json!({"schemaVersion": 2, "manifests": listed});
        std::fs::write(there.join("index.json"), index.to_string()).unwrap();
        let place = images.open("shop/app").await.unwrap().unwrap();
        let found = place.resolve().await.unwrap().unwrap();
        assert_eq!(listed[1]["digest"], found.digest.as_str());
    }

    #[tokio::test]
    async fn a_layout_that_is_not_there_is_no_place_to_read_from() {
        let folder = tempfile::tempdir().unwrap();
        let images = LayoutImages::new(folder.path());
        assert!(images.open("shop/app").await.unwrap().is_none());
        let place = images.create("shop/app").await.unwrap();
        assert!(place.resolve().await.unwrap().is_none());
        let there = folder.path().join("index.docker.io/shop/app/latest");
        assert_eq!(place.name, there.display().to_string());
    }
}
