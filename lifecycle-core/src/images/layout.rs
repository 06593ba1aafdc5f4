//! Images in a folder of OCI layouts.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use go::words::PathError;
use oci::store::LayoutStore;
use oci::{
    Digest, Limits, Location, Manifest, MediaType, Platform, Selector, Store as _, StoreError, Tag,
};

use super::{Images, Kind, Place, PlaceError, parse_name};

/// Images in a folder of OCI layouts, one for each, as upstream's `-layout` has them:
/// `<folder>/<registry>/<repository>/<tag>`, or `…/<repository>/<algorithm>/<digest>`.
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
        let below_folder =
            !self.folder.as_os_str().is_empty() && Path::new(name).starts_with(&self.folder);
        if Path::new(name).is_absolute() || below_folder {
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
        // A path that begins with a slash, as it may in a name that is read weakly, would be another one.
        let parts = repository.path().split('/').filter(|it| !it.is_empty());
        let mut base = self.folder.join(repository.registry().as_str());
        base.extend(parts);
        match reference.selector() {
            // It is the image's name in the layout, whatever digest the image has.
            Some(Selector::Digest(digest)) => Ok((
                base.join(digest.algorithm().name()).join(digest.hex()),
                Selector::Tag(Tag::in_layout(digest.as_str()).map_err(|_reason| unnameable())?),
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
        if !is_there(&path)? {
            return Ok(None);
        }
        let layout = LayoutStore::open_unversioned(&path)?;
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
        let layout = create_layout(&path)?;
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
    let read = File::open(path.join("index.json"))
        .and_then(|it| oci::read_at_most(it, limits.manifest_bytes));
    if let Ok(Some(bytes)) = read
        && let Ok(Manifest::Index(index)) =
            Manifest::parse_loosely(&MediaType::IMAGE_INDEX, &bytes, &limits)
        && let Some(image) = index.pick(&Platform::host())
    {
        return Ok(image.digest.clone());
    }
    Err(error)
}

/// The file that says that a folder is a layout.
const VERSION_FILE: &str = "oci-layout";

/// Takes away the file that says so, where there is no index or the file is odd, so that the layout is
/// made anew around its blobs; upstream does so each time. Whether the file is to be made.
fn begin(path: &Path) -> Result<bool, PathError> {
    let version = path.join(VERSION_FILE);
    let read = File::open(&version).and_then(|it| oci::read_at_most(it, 4096));
    let is_ours = matches!(read, Ok(Some(text)) if LayoutStore::is_version(&text));
    if is_ours && path.join("index.json").exists() {
        return Ok(false);
    }
    match std::fs::remove_file(&version) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(PathError::new("open", &version, &error))
        }
        _ => Ok(true),
    }
}

/// Whether there is a layout at `path`. One that cannot be read is told of in upstream's words, in the
/// order in which upstream comes upon it: its index, then manifest and config.
fn is_there(path: &Path) -> Result<bool, PlaceError> {
    let failed = |text: String| Err(PlaceError::Layout { text });
    let index = path.join("index.json");
    match std::fs::metadata(&index) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            let error = PathError::new("stat", &index, &error);
            return failed(format!("failed to load layout from path: {error}"));
        }
        Ok(_) => {}
    }
    let limits = Limits::default();
    let bytes = match File::open(&index) {
        Ok(file) => match oci::read_at_most(file, limits.manifest_bytes) {
            // What it says is for others to read.
            Ok(None) => return Ok(true),
            Ok(Some(bytes)) => bytes,
            Err(error) => {
                let error = PathError::new("read", &index, &error);
                return failed(format!("failed to load index: {error}"));
            }
        },
        Err(error) => {
            let error = PathError::new("open", &index, &error);
            return failed(format!("failed to load index: {error}"));
        }
    };
    let Ok(Manifest::Index(listed)) =
        Manifest::parse_loosely(&MediaType::IMAGE_INDEX, &bytes, &limits)
    else {
        return Ok(true);
    };
    let manifest = match &*listed.manifests {
        [] => {
            return failed(
                "failed to load image from index: failed to find manifest at index".to_owned(),
            );
        }
        [manifest] => manifest,
        _ => return Ok(true),
    };
    let config_unread = |problem| failed(format!("failed to get config: {problem}"));
    let bytes = match blob(path, &manifest.digest, limits.manifest_bytes) {
        Err(problem) => return config_unread(problem),
        Ok(bytes) => bytes.unwrap_or_default(),
    };
    if let Ok(Manifest::Image(image)) =
        Manifest::parse_loosely(&manifest.media_type, &bytes, &limits)
        && let Err(problem) = blob(path, &image.config.digest, limits.metadata_bytes)
    {
        return config_unread(problem);
    }
    Ok(true)
}

/// The blob `digest` of the layout at `path`, not checked, if it is not too large. The error is a text.
fn blob(path: &Path, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, String> {
    let file = path.join("blobs").join(digest.algorithm().name());
    let file = file.join(digest.hex());
    let failed = |operation, error| PathError::new(operation, &file, &error).to_string();
    let found = std::fs::symlink_metadata(&file).map_err(|error| failed("lstat", error))?;
    if found.is_symlink() {
        return Err(format!("layout blob {digest} is a symlink"));
    }
    if !found.is_file() {
        return Err(format!("layout blob {digest} is not a regular file"));
    }
    let opened = File::open(&file).map_err(|error| failed("open", error))?;
    oci::read_at_most(opened, limit).map_err(|error| failed("read", error))
}

/// Opens the layout at `path`, or makes it as upstream would.
pub(crate) fn create_layout(path: &Path) -> Result<LayoutStore, PlaceError> {
    let failed = |error: PathError| PlaceError::Layout {
        text: error.to_string(),
    };
    go::files::create_dir_all(path).map_err(failed)?;
    let is_new = begin(path).map_err(failed)?;
    let layout = LayoutStore::create(path)?;
    if is_new {
        let version = path.join(VERSION_FILE);
        as_upstream(path).map_err(|error| failed(PathError::new("open", &version, &error)))?;
    }
    Ok(layout)
}

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

#[cfg(test)]
mod tests {
    use oci::Descriptor;

    use super::*;

    #[test]
    fn layouts_lie_where_upstream_has_them_and_nowhere_else() {
        let digest = Digest::of(b"");
        let images = LayoutImages::new("/layouts");
        let shown = |name: &str| images.shown(name).ok();
        let at = |path: &str| Some(format!("/layouts/{path}"));
        assert_eq!(shown("myrun"), at("index.docker.io/library/myrun/latest"));
        // Empty parts of a name lead nowhere else.
        assert_eq!(shown("r.test//srv/x:v1"), at("r.test/srv/x/v1"));
        assert_eq!(shown("r.test/a//b/:v1"), at("r.test/a/b/v1"));
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
