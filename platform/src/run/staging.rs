//! Where a build takes place: the folders that buildpacks see, and the layout that the image is
//! staged in.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use lifecycle_core::files;
use lifecycle_core::images::{Images, Place, PlaceError};
use oci::{
    Descriptor, Digest, Image, LayoutStore, Limits, Location, Platform, Reference, Selector, Store,
    StoreError, Tag,
};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::RunError;
use super::borrowing::Borrowing;
use super::stale::make_removable;

/// What the phases call the image that they make.
pub(super) const IMAGE: &str = "sealpack.invalid/staged";

/// The folders of one build. All are gone at the end, unless the layout is kept.
#[derive(Debug)]
pub struct Staging {
    /// What is at `/` itself, if that had to be. Gone before what leads there.
    fixed: OnceLock<Fixed>,
    /// Seen by buildpacks as `/`: `layers`, `workspace`, `platform`, `cnb`.
    root: Root,
    layout: Layout,
    store: Borrowing,
    /// Held until our end, whatever end that is: so a later build knows what is nobody's any more.
    _locks: Vec<fs_err::File>,
}

/// A folder that is removed at the end, whatever modes buildpacks gave to folders in it.
#[derive(Debug)]
struct Root(TempDir);

/// The folders that may have to be at `/` itself.
pub(super) const FIXED: [&str; 2] = ["layers", "workspace"];

/// Folders that were made at `/`; gone at the end.
#[derive(Debug)]
struct Fixed {
    root: PathBuf,
    made: Vec<PathBuf>,
}

impl Drop for Fixed {
    fn drop(&mut self) {
        for path in &self.made {
            make_removable(path);
            fs_err::remove_dir_all(path).unwrap_or_default();
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        make_removable(self.0.path());
    }
}

/// The folder of the staged layout.
#[derive(Debug)]
enum Layout {
    /// Removed when it is no longer needed.
    Temporary(TempDir),
    /// The user's; stays.
    Named(PathBuf),
}

impl Layout {
    fn temporary(&self) -> Option<&Path> {
        match self {
            Self::Temporary(folder) => Some(folder.path()),
            Self::Named(_) => None,
        }
    }
}

impl Staging {
    /// Makes the folders of a build in `temporary`. The image is staged in the layout `layout`, which
    /// must not be there yet, and stays; without one, in a temporary folder.
    ///
    /// Where nothing is isolated, paths in the image are those of these folders. So that a build of the
    /// same image has the same, they follow from `name`; but if there is something by that name, of
    /// whomever, they are others.
    pub fn create(temporary: &Path, name: &str, layout: Option<&Path>) -> Result<Self, RunError> {
        let new = |prefix: &str| {
            TempDir::with_prefix_in(prefix, temporary).map_err(|source| RunError::Temporary {
                folder: temporary.to_owned(),
                source,
            })
        };
        super::stale::remove(temporary);
        let prefix = format!("{}{name}", super::stale::BUILD);
        // Made, never taken over: nobody else has put anything into it.
        let same = tempfile::Builder::new()
            .prefix(&prefix)
            .rand_bytes(0)
            .tempdir_in(temporary);
        let root = Root(same.or_else(|_| new(&format!("{prefix}-")))?);
        for folder in ["layers", "workspace", "platform/env", "cnb"] {
            fs_err::create_dir_all(root.0.path().join(folder))?;
        }
        let layout = match layout {
            Some(path) if path.join("index.json").exists() => {
                return Err(RunError::LayoutIsThere {
                    path: path.to_owned(),
                });
            }
            Some(path) => Layout::Named(path.to_owned()),
            None => Layout::Temporary(new(super::stale::STAGED)?),
        };
        let locks = [Some(root.0.path()), layout.temporary()];
        let locks = locks.into_iter().flatten().filter_map(super::stale::lock);
        let locks = locks.collect();
        let store = Borrowing::new(Arc::new(LayoutStore::create(layout.path())?));
        if let Some(folder) = layout.temporary() {
            super::stale::mark(folder);
        }
        Ok(Self {
            fixed: OnceLock::new(),
            root,
            layout,
            store,
            _locks: locks,
        })
    }

    /// What buildpacks see as `/`.
    pub fn root(&self) -> &Path {
        self.root.0.path()
    }

    /// Its folders, which no buildpack gets but by the mounts of a build.
    pub(super) fn folders(&self) -> [&Path; 2] {
        [self.root(), self.layout.path()]
    }

    /// Refuses what buildpacks may leave in `/layers` to lead the phases that run outside of the sandbox
    /// elsewhere, or to make them wait: a link where they expect a folder, and a `.toml` that is not a
    /// file.
    pub(super) fn refuse_links(&self) -> Result<(), RunError> {
        let layers = self.layers();
        let sboms = layers.join("sbom");
        let mut waiting = vec![layers.clone()];
        while let Some(folder) = waiting.pop() {
            let is_top = folder == layers;
            for entry in fs_err::read_dir(&folder)? {
                let entry = entry?;
                let (path, kind) = (entry.path(), entry.file_type()?);
                let is_toml = entry.file_name().as_encoded_bytes().ends_with(b".toml");
                // What the exporter writes lies at any depth of `sbom`.
                let is_walked = is_top || folder.starts_with(&sboms);
                let leads_away = kind.is_symlink() && is_walked;
                if leads_away || is_toml && !(kind.is_file() || kind.is_dir()) {
                    return Err(RunError::LinkInLayers { path });
                }
                if is_walked && kind.is_dir() {
                    waiting.push(path);
                }
            }
        }
        Ok(())
    }

    /// Reads a file that a phase left in `/layers`; anything but a plain file is refused.
    pub(super) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T, RunError> {
        let path = self.layers().join(name);
        match fs_err::symlink_metadata(&path) {
            Ok(found) if !found.is_file() => Err(RunError::LinkInLayers { path }),
            // Who reads says best what is missing.
            _ => Ok(files::read_required(&path)?),
        }
    }

    /// What buildpacks see as `/layers`.
    pub fn layers(&self) -> PathBuf {
        self.place("layers")
    }

    /// What buildpacks see as `/workspace`.
    pub(super) fn workspace(&self) -> PathBuf {
        self.place("workspace")
    }

    /// Where the folder is that buildpacks see as `/name`.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        let fixed = self.fixed.get().filter(|_| FIXED.contains(&name));
        fixed.map_or_else(|| self.root().join(name), |it| it.root.join(name))
    }

    /// Has `layers` and `workspace` at `root`, which is `/`: without mounts, paths in the image are then as
    /// they are to be. Only where there is nothing yet, and where nobody else can make anything. Before
    /// there is anything in them.
    pub(super) fn fix(&self, root: &Path) -> io::Result<()> {
        let mut fixed = Fixed {
            root: root.to_owned(),
            made: Vec::new(),
        };
        for name in FIXED {
            let path = root.join(name);
            fs_err::create_dir(&path)?;
            fixed.made.push(path.clone());
            fs_err::set_permissions(&path, Permissions::from_mode(0o755))?;
        }
        for name in FIXED {
            // Who looks for them below the root finds them, too.
            let own = self.root().join(name);
            fs_err::remove_dir(&own)?;
            fs_err::os::unix::fs::symlink(root.join(name), own)?;
        }
        // Only one build has a staging.
        self.fixed.set(fixed).unwrap_or_default();
        Ok(())
    }

    /// The staged layout, with the layers that are lent to it.
    pub fn store(&self) -> &dyn Store {
        &self.store
    }

    /// The same, for who takes over what is in it.
    pub fn lender(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    /// The same, to lend layers to.
    pub(super) fn borrowing(&self) -> &Borrowing {
        &self.store
    }

    /// The staged layout, read afresh.
    pub fn reopen(&self) -> Result<LayoutStore, StoreError> {
        LayoutStore::open(self.layout.path())
    }

    /// The name of a staged image.
    pub fn reference(&self, digest: &Digest) -> String {
        format!("oci:{}@{digest}", self.layout.path().display())
    }

    /// Keeps the layout, and says where it is, and what it lacks of `image`.
    pub async fn keep(self, image: &Descriptor) -> (PathBuf, Option<String>) {
        let lack = self.complete(image).await;
        let path = match self.layout {
            Layout::Temporary(folder) => {
                super::stale::unmark(folder.path());
                folder.keep()
            }
            Layout::Named(path) => path,
        };
        (path, lack)
    }

    /// Sees to it that a layout that stays is whole; what it lacks, otherwise.
    pub async fn finish(&self, image: &Descriptor) -> Option<String> {
        match self.layout {
            Layout::Temporary(_) => None,
            Layout::Named(_) => self.complete(image).await,
        }
    }

    async fn complete(&self, image: &Descriptor) -> Option<String> {
        let limits = Limits::default();
        let image = Image::read(&self.store, image, &Platform::host(), &limits).await;
        let problem = match image {
            Ok(image) => go::words::chain(&self.store.complete(&image).await.err()?),
            Err(error) => go::words::chain(&error),
        };
        let path = self.layout.path().display();
        Some(format!(
            "`oci:{path}` lacks layers that other images have: {problem}"
        ))
    }

    /// What the phases find by name, here: the run image in the staged layout, the image before in
    /// its destination, and the new one in the staged layout.
    pub(super) fn images(&self, run: Named, previous: Option<Named>) -> StagedImages {
        let staged = match &previous {
            Some(previous) => self.store.lent_by(previous.store.clone()),
            None => self.store.clone(),
        };
        StagedImages {
            staged: Arc::new(staged),
            run,
            previous,
        }
    }
}

impl Layout {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Named(path) => path,
        }
    }
}

/// An image, and what it is called.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) digest: Digest,
    pub(super) store: Arc<dyn Store>,
}

impl Named {
    /// The name without its tag.
    fn repository(&self) -> String {
        match self.name.parse().map(|it: Reference| it.location) {
            Ok(Location::Registry(repository)) => repository.to_string(),
            _ => self.name.clone(),
        }
    }
}

/// See [`Staging::images`].
#[derive(Debug)]
pub(super) struct StagedImages {
    staged: Arc<Borrowing>,
    run: Named,
    previous: Option<Named>,
}

impl StagedImages {
    /// What the image before is called; a name that nothing has, if there is none.
    pub(super) fn previous_name(&self) -> &str {
        self.previous.as_ref().map_or(IMAGE, |it| &it.name)
    }

    fn find(&self, name: &str) -> Option<&Named> {
        // The phases know an image by its name first, and then by its digest.
        let by_digest = |it: &Named| name == format!("{}@{}", it.repository(), it.digest);
        let is = |it: &&Named| name == it.name || by_digest(it);
        Some(&self.run)
            .filter(is)
            .or_else(|| self.previous.as_ref().filter(is))
    }
}

#[async_trait]
impl Images for StagedImages {
    fn shown(&self, name: &str) -> Result<String, PlaceError> {
        Ok(name.to_owned())
    }

    async fn open(&self, name: &str) -> Result<Option<Place>, PlaceError> {
        Ok(self.find(name).map(|it| Place {
            store: it.store.clone(),
            name: it.name.clone(),
            repository: it.repository(),
            selector: Selector::Digest(it.digest.clone()),
            image_id: None,
            strict: false,
        }))
    }

    async fn create(&self, name: &str) -> Result<Place, PlaceError> {
        let tag: Tag = Tag::LATEST.parse().map_err(|_reason| PlaceError::Name {
            name: name.to_owned(),
        })?;
        Ok(Place {
            store: self.staged.clone(),
            name: name.to_owned(),
            repository: name.to_owned(),
            selector: Selector::Tag(tag),
            image_id: None,
            strict: false,
        })
    }

    async fn check_read(&self, _name: &str) -> Result<(), PlaceError> {
        Ok(())
    }

    async fn check_write(&self, _name: &str) -> Result<(), PlaceError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_in_layers_leads_nowhere_else() {
        let folder = TempDir::new().unwrap();
        let staging = Staging::create(folder.path(), "app", None).unwrap();
        let at = |name: &str| staging.layers().join(name);
        fs_err::create_dir_all(at("good/layer")).unwrap();
        fs_err::write(at("good/layer.toml"), "").unwrap();
        symlink("/etc", at("good/layer/link")).unwrap();
        staging.refuse_links().unwrap();
        for name in ["evil", "group.toml", "good/x.toml"] {
            symlink("/etc", at(name)).unwrap();
            assert!(staging.refuse_links().is_err(), "{name}");
            fs_err::remove_file(at(name)).unwrap();
        }
        fs_err::create_dir_all(at("sbom")).unwrap();
        symlink("/etc", at("sbom/launch")).unwrap();
        assert!(staging.refuse_links().is_err());
        fs_err::remove_file(at("sbom/launch")).unwrap();
        fs_err::create_dir_all(at("sbom/launch/a")).unwrap();
        staging.refuse_links().unwrap();
        for name in ["sbom/launch/buildpacksio_lifecycle", "sbom/launch/a/layer"] {
            symlink("/etc", at(name)).unwrap();
            assert!(staging.refuse_links().is_err(), "{name}");
            fs_err::remove_file(at(name)).unwrap();
        }
    }

    #[test]
    fn what_a_phase_left_is_read_only_if_it_is_a_plain_file() {
        use lifecycle_core::files::group::Group;

        let folder = TempDir::new().unwrap();
        let staging = Staging::create(folder.path(), "app", None).unwrap();
        let path = staging.layers().join("group.toml");
        let missing = staging.read::<Group>("group.toml").unwrap_err();
        assert!(matches!(missing, RunError::File(_)), "{missing}");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        // Nobody would ever write to it.
        let refused = staging.read::<Group>("group.toml").unwrap_err();
        assert!(matches!(refused, RunError::LinkInLayers { .. }));
        fs_err::remove_file(&path).unwrap();
        fs_err::write(staging.layers().join("other.toml"), "").unwrap();
        symlink("other.toml", &path).unwrap();
        let refused = staging.read::<Group>("group.toml").unwrap_err();
        assert!(matches!(refused, RunError::LinkInLayers { .. }));
        fs_err::remove_file(&path).unwrap();
        fs_err::write(&path, "").unwrap();
        staging.read::<Group>("group.toml").unwrap();
    }

    #[test]
    fn the_same_build_has_the_same_folder_unless_somebody_was_there() {
        let folder = TempDir::new().unwrap();
        let create = || Staging::create(folder.path(), "app", None).unwrap();
        let named = folder.path().join("sealpack-build-app");
        assert_eq!(create().root(), named);
        let first = create();
        let second = create();
        assert_eq!(first.root(), named);
        assert_ne!(second.root(), named);
        drop((first, second));
        // A link by that name is not followed.
        fs_err::create_dir(folder.path().join("theirs")).unwrap();
        symlink("theirs", &named).unwrap();
        let staging = create();
        assert!(staging.layers().exists());
        assert_ne!(staging.root(), named);
        assert_eq!(
            fs_err::read_dir(folder.path().join("theirs"))
                .unwrap()
                .count(),
            0
        );
    }

    #[test]
    fn folders_at_a_root_are_taken_only_if_they_are_new() {
        let (folder, root) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let staging = Staging::create(folder.path(), "app", None).unwrap();
        staging.fix(root.path()).unwrap();
        assert_eq!(staging.layers(), root.path().join("layers"));
        fs_err::write(staging.workspace().join("a"), "").unwrap();
        // What looks below the root of the build finds it, too.
        assert!(staging.root().join("workspace/a").exists());
        let other = Staging::create(folder.path(), "other", None).unwrap();
        other.fix(root.path()).unwrap_err();
        assert_eq!(other.layers(), other.root().join("layers"));
        assert!(other.layers().is_dir());
        drop((staging, other));
        assert_eq!(fs_err::read_dir(root.path()).unwrap().count(), 0);
        // The first is taken back if the second is there, which stays as it was.
        fs_err::create_dir(root.path().join("workspace")).unwrap();
        fs_err::write(root.path().join("workspace/mine"), "").unwrap();
        let staging = Staging::create(folder.path(), "app", None).unwrap();
        staging.fix(root.path()).unwrap_err();
        assert!(!root.path().join("layers").exists());
        assert!(staging.layers().is_dir());
        drop(staging);
        assert!(root.path().join("workspace/mine").exists());
    }

    #[test]
    fn folders_that_cannot_be_written_are_removed_too() {
        let folder = TempDir::new().unwrap();
        let staging = Staging::create(folder.path(), "app", None).unwrap();
        let closed = staging.layers().join("a");
        fs_err::create_dir_all(closed.join("b")).unwrap();
        fs_err::set_permissions(&closed, Permissions::from_mode(0o555)).unwrap();
        drop(staging);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
    }
}
