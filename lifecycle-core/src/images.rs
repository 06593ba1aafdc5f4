//! Where the phases find images and put them: a registry, a folder of layouts, a Docker daemon, a
//! staging area.

mod daemon;
mod layout;
mod name;
mod registry;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use oci::{
    Descriptor, Digest, Image, ImageConfig, ImageError, ImageManifest, Limits, Location,
    ManifestError, MediaType, Platform, Reference, Selector, Store, StoreError, Tag,
};

pub use self::daemon::DaemonImages;
pub(crate) use self::daemon::target;
pub use self::layout::LayoutImages;
pub(crate) use self::layout::create_layout;
pub(crate) use self::name::digest_problem;
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
        let image = if self.strict {
            let read = Image::read_loosely(&*self.store, &descriptor, platform, limits);
            match Box::pin(read).await {
                Err(ImageError::NoPlatform { .. } | ImageError::NoChild(_)) => {
                    empty(platform).map(|it| it.found_in(descriptor.bare()))
                }
                image => image,
            }
        } else {
            Box::pin(Image::read(&*self.store, &descriptor, platform, limits)).await
        };
        image.map(Some).map_err(failed)
    }
}

/// The image without anything that upstream has in place of one that an index lacks.
fn empty(platform: &Platform) -> Result<Image, ImageError> {
    let config = ImageConfig {
        architecture: platform.architecture.clone(),
        created: Some("0001-01-01T00:00:00Z".to_owned()),
        os: platform.os.clone(),
        ..ImageConfig::default()
    };
    let like = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::DOCKER_MANIFEST),
        config: Descriptor::of(MediaType::DOCKER_CONFIG, b""),
        layers: Vec::new(),
        annotations: BTreeMap::new(),
        subject: None,
        artifact_type: None,
    };
    Image::new(&like, config, Vec::new())
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
    /// Whether the image was not had: nobody answered, or a registry answered otherwise than it should, or
    /// with what cannot be read. Upstream fails then; it ignores what it can read and finds corrupt.
    pub(crate) fn is_of_store(&self) -> bool {
        match &*self.source {
            ImageError::Store(StoreError::Unavailable { .. } | StoreError::Refused { .. })
            | ImageError::Refused { .. } => true,
            ImageError::Store(error) => self.strict && words::of_store(error).is_some(),
            ImageError::Manifest {
                source: ManifestError::Malformed(problem),
                ..
            } => self.strict && !problem.go_reads_on(),
            ImageError::Config { .. } => self.strict,
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

/// Why nothing can be put on an image.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoBase {
    /// It has no layers.
    #[error("image has no layers")]
    Empty,
    /// It cannot be said which of its layers is the last.
    #[error(transparent)]
    Uneven(#[from] Uneven),
}

impl NoBase {
    /// An error if nothing can be put on `image`. Of images elsewhere than in registries that is not
    /// asked.
    pub(crate) fn check(place: &Place, image: &Image) -> Result<(), Self> {
        if !place.strict {
            return Ok(());
        }
        if image.manifest().layers.is_empty() {
            return Err(Self::Empty);
        }
        Ok(Uneven::check(image)?)
    }
}

/// Manifest and config of an image speak of different layers, so that it cannot be said which is
/// which.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("mismatched fs layers ({layers}) and diff ids ({diff_ids})")]
#[non_exhaustive]
pub struct Uneven {
    /// How many the manifest has.
    pub layers: usize,
    /// How many the config has.
    pub diff_ids: usize,
}

impl Uneven {
    /// An error if `image` is so.
    pub(crate) fn check(image: &Image) -> Result<(), Self> {
        if image.is_even() {
            return Ok(());
        }
        Err(Self {
            layers: image.manifest().layers.len(),
            diff_ids: image.config().rootfs.diff_ids.len(),
        })
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
    /// What lies where a layout should be cannot be read, or nothing can be written there; in
    /// upstream's words.
    #[error("{text}")]
    Layout {
        /// What is wrong.
        text: String,
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
    fn what_stands_for_a_missing_image_is_upstreams() {
        let platform = Platform {
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            ..Platform::default()
        };
        assert_eq!(
            empty(&platform).unwrap().descriptor().digest.to_string(),
            "sha256:03cbce912ef1a8a658f73c660ab9c539d67188622f00b15c4f15b89b884f0e10"
        );
    }

    #[tokio::test]
    async fn an_index_without_our_image_is_an_empty_one_where_upstream_has_it_so() {
        let store = oci::MemoryStore::new();
        let index = bytes::Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
        let target = Descriptor::of(MediaType::IMAGE_INDEX, &index);
        store.push_manifest(&target, index).await.unwrap();
        let mut place = Place {
            store: Arc::new(store),
            name: "app".to_owned(),
            repository: "app".to_owned(),
            selector: Selector::Digest(target.digest.clone()),
            image_id: None,
            strict: true,
        };
        let (host, limits) = (Platform::host(), Limits::default());
        let image = place.image(&host, &limits).await.unwrap().unwrap();
        assert_eq!(image.index(), Some(&target));
        assert!(matches!(NoBase::check(&place, &image), Err(NoBase::Empty)));
        place.strict = false;
        let refused = place.image(&host, &limits).await.unwrap_err();
        assert!(matches!(*refused.source, ImageError::NoPlatform { .. }));
    }

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
}
