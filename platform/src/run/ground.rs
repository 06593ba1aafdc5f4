//! What a build stands on: this machine, with a builder that is laid out for it, or a builder image.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_core::Level;
use lifecycle_core::api::PlatformApi;
use lifecycle_core::export::Owner;
use rustix::fs::{AtFlags, Dir, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::staging::FIXED;
use super::{API, BuildProgress, EXEC_ENV, OWNER, Request, RunError, Staging};
use crate::builder::{BuilderImage, Content, Module};
use crate::rootfs::{Layers, MappedFolder, RootStore, find};
use crate::sandbox::{
    ImageRoot, Mount, Network, Root, RootFiles, Sandbox, SandboxError, User, UserMap,
};

/// Where the programs of ours are inside.
pub(super) const PROGRAMS: &str = "/cnb/sealpack";
/// Where the launcher is in a builder image.
const LAUNCHER: &str = "cnb/lifecycle/launcher";
/// More than any launcher or SBOM of one has.
const MAX_LAUNCHER: u64 = 256 << 20;
/// The home of who builds instead of root, where nothing is isolated.
pub(super) const HOME: &str = "home";
/// What an image that names no `PATH` has.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The variables by which proxies are named.
pub const PROXIES: [&str; 6] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// What a build stands on, and what follows from it.
#[derive(Debug)]
pub(super) struct Ground {
    /// What the phases speak.
    pub(super) api: PlatformApi,
    /// Who owns what is in the image.
    pub(super) owner: Owner,
    pub(super) root: Root,
    pub(super) mounts: Vec<Mount>,
    /// The environment of the lifecycle where it runs buildpacks, besides what it is told of the build.
    pub(super) env: BTreeMap<OsString, OsString>,
    /// The folder with the launcher that the image gets, and its SBOMs.
    pub(super) launcher: PathBuf,
    /// The version of the lifecycle that the image names, if it is not ours.
    pub(super) lifecycle: Option<String>,
    /// Held as long as the build needs them.
    _layers: Option<Layers>,
}

impl Ground {
    /// Makes ready what the builder needs.
    pub(super) async fn prepare(
        request: &Request<'_>,
        staging: &Staging,
        progress: &dyn BuildProgress,
    ) -> Result<Self, RunError> {
        match request.builder.image() {
            Some(image) => Self::of_image(image, request, staging, progress).await,
            None => Self::of_machine(request, staging).await,
        }
    }

    async fn of_machine(request: &Request<'_>, staging: &Staging) -> Result<Self, RunError> {
        request
            .builder
            .lay_out(&staging.root().join("cnb"), EXEC_ENV)
            .await
            .map_err(RunError::LayOut)?;
        let mount = |name: &str, writable: bool| Mount {
            source: staging.root().join(name),
            target: Path::new("/").join(name),
            writable,
        };
        Ok(Self {
            api: request.api.unwrap_or(API),
            owner: OWNER,
            root: Root::Machine,
            mounts: vec![
                mount("layers", true),
                mount("workspace", true),
                mount("platform", false),
                mount("cnb", false),
            ],
            env: request.surroundings.clone(),
            launcher: request.launcher.folder(&staging.root().join("launcher"))?,
            lifecycle: None,
            _layers: None,
        })
    }

    async fn of_image(
        image: &BuilderImage,
        request: &Request<'_>,
        staging: &Staging,
        progress: &dyn BuildProgress,
    ) -> Result<Self, RunError> {
        progress.begin("builder", &image.name);
        let user = User {
            uid: image.uid,
            gid: image.gid,
        };
        let map = choose(user, request, progress).await?;
        let store = root_store(request)?;
        let layers = store.unpack(&image.image, &image.store, &map).await?;
        let text = match layers.unpacked {
            0 => "its layers are here".to_owned(),
            count => format!("{count} of {} layers unpacked", layers.folders.len()),
        };
        progress.done("builder", &text);
        let lifecycle = &request.builder.lifecycle;
        let api = match request.api {
            Some(api) if !lifecycle.apis.platform.all().any(|it| it == api.as_str()) => {
                return Err(RunError::OtherApi {
                    api,
                    spoken: lifecycle.apis.platform.all().collect::<Vec<_>>().join(", "),
                });
            }
            Some(api) => api,
            None => image
                .platform_api(&lifecycle.apis)
                .ok_or(RunError::NoCommonApi)?,
        };
        let launcher = staging.root().join("launcher");
        take_launcher(&layers, &launcher)?;
        let mut mounts = mounts(request, staging)?;
        mounts.extend(additions(request, staging).await?);
        Ok(Self {
            api,
            owner: Owner {
                uid: user.uid,
                gid: user.gid,
            },
            mounts,
            env: env(image, request),
            launcher,
            lifecycle: lifecycle.version.clone(),
            root: Root::Image(ImageRoot {
                files: RootFiles::Layers(layers.folders.clone()),
                map,
                user,
                as_root: false,
                sides: false,
            }),
            _layers: Some(layers),
        })
    }

    /// Has the build run in a copy of the layers, which cannot be stacked for the reasons in `refused`;
    /// it is there as long as what is returned.
    pub(super) async fn copy(
        &mut self,
        request: &Request<'_>,
        staging: &Staging,
        progress: &dyn BuildProgress,
        refused: &[String],
    ) -> Result<Option<MappedFolder>, RunError> {
        let (Root::Image(root), Some(image)) = (&mut self.root, request.builder.image()) else {
            return Ok(None);
        };
        let why = refused.first().map_or("", String::as_str);
        let text = format!("the layers of the builder are copied for this build alone: {why}");
        progress.line(Level::Warn, &text);
        progress.begin("builder", "copying its layers");
        let folder = staging.root().join("root");
        let store = root_store(request)?;
        let copy = store.copy(&image.image, &image.store, &root.map, &folder);
        let copy = copy.await?;
        root.files = RootFiles::Copy(copy.folder().to_owned());
        Ok(Some(copy))
    }

    /// Whether buildpacks see folders of this machine by the paths that they have here.
    pub(super) fn is_bare(&self, sandbox: &Sandbox) -> bool {
        let layers = Path::new("/layers");
        matches!(self.root, Root::Machine) && sandbox.path(layers) != layers
    }

    /// Has the folders of the build where the image is to have them, where nothing can be mounted.
    pub(super) fn fix(&mut self, staging: &Staging) -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Err(io::Error::other("only root can make them"));
        }
        staging.fix(Path::new("/"))?;
        for mount in &mut self.mounts {
            let name = mount.target.file_name().and_then(|it| it.to_str());
            if let Some(name) = name.filter(|it| FIXED.contains(it)) {
                mount.source = staging.place(name);
            }
        }
        Ok(())
    }

    /// Gives what buildpacks are to write to to the user that they run as.
    pub(super) fn hand_over(&self, staging: &Staging, sandbox: &Sandbox) -> io::Result<()> {
        if let Some(user) = sandbox.instead() {
            let mut folders = vec!["layers", "workspace"];
            // Without mounts what is theirs lies behind folders that are ours alone.
            if !sandbox.has_root() {
                fs::set_permissions(staging.root(), std::fs::Permissions::from_mode(0o711))?;
                fs::create_dir_all(staging.root().join(HOME))?;
                folders.push(HOME);
            }
            for folder in folders {
                give(&staging.place(folder), user)?;
            }
        }
        let Root::Image(root) = &self.root else {
            return Ok(());
        };
        if !matches!(root.map, UserMap::Shifted | UserMap::Real) {
            return Ok(());
        }
        let user = root
            .map
            .outside(root.user)
            .ok_or(io::ErrorKind::InvalidInput)?;
        for folder in ["layers", "workspace"] {
            give(&staging.root().join(folder), user)?;
        }
        Ok(())
    }
}

pub(super) fn root_store(request: &Request<'_>) -> Result<RootStore, RunError> {
    Ok(RootStore {
        folder: request.roots.ok_or(RunError::NoRootStore)?.to_owned(),
        enter: request.programs.enter.clone(),
        cancel: request.cancel.clone(),
    })
}

/// Whose the files of the builder are on this machine.
pub(super) async fn choose(
    user: User,
    request: &Request<'_>,
    progress: &dyn BuildProgress,
) -> Result<UserMap, RunError> {
    let (enter, cancel) = (request.programs.enter.clone(), request.cancel.clone());
    let choosing = tokio::task::spawn_blocking(move || UserMap::choose(user, &enter, &cancel));
    let chosen = choosing.await.map_err(io::Error::other)?;
    let (map, problem) = chosen.map_err(|problem| SandboxError::NoRoot {
        refused: vec![problem],
    })?;
    if let Some(problem) = problem {
        let what = match map {
            UserMap::One(_) => "all files of the builder are its user's",
            _ => "the build has no user namespace",
        };
        progress.line(Level::Warn, &format!("{what}: {problem}"));
    }
    Ok(map)
}

/// Gives a folder and all that is in it to `user`. What is in there was put there by whoever builds: so each
/// folder is had from the one above it, never by its path, which could lead elsewhere by now.
fn give(path: &Path, user: User) -> io::Result<()> {
    let folder = rustix::fs::open(path, FOLDER, Mode::empty())?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::fs::fchown(&folder, Some(uid), Some(gid))?;
    give_below(&folder, (uid, gid))
}

/// How folders are opened: no link is one.
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn give_below(folder: &OwnedFd, (uid, gid): (Uid, Gid)) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        match rustix::fs::openat(folder, name, FOLDER, Mode::empty()) {
            Ok(below) => {
                rustix::fs::fchown(&below, Some(uid), Some(gid))?;
                give_below(&below, (uid, gid))?;
            }
            // Whatever else it is, a link say: that itself.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let itself = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(folder, name, Some(uid), Some(gid), itself)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Copies the launcher of the builder, and what it says of itself.
fn take_launcher(layers: &Layers, to: &Path) -> Result<(), RunError> {
    use std::io::Read as _;

    fs::create_dir_all(to)?;
    let sboms = ["cdx", "spdx", "syft"].map(|it| format!("{LAUNCHER}.sbom.{it}.json"));
    for (at, path) in [LAUNCHER.to_owned()].iter().chain(&sboms).enumerate() {
        let found = find(&layers.folders, Path::new(path))?;
        let (Some(file), Some(name)) = (found, Path::new(path).file_name()) else {
            if at == 0 {
                return Err(RunError::NoLauncher);
            }
            continue;
        };
        let target = to.join(name);
        let mut copy = fs::File::create(&target)?;
        let copied = io::copy(&mut file.take(MAX_LAUNCHER + 1), &mut copy)?;
        if copied > MAX_LAUNCHER {
            return Err(RunError::LauncherTooLarge {
                path: path.clone(),
                limit: MAX_LAUNCHER,
            });
        }
        fs::set_permissions(target, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// What of ours there is in the root of a builder image.
fn mounts(request: &Request<'_>, staging: &Staging) -> Result<Vec<Mount>, RunError> {
    let mount = |name: &str, target: &str, writable: bool| Mount {
        source: staging.root().join(name),
        target: target.into(),
        writable,
    };
    let mut mounts = vec![
        mount("layers", "/layers", true),
        mount("workspace", "/workspace", true),
        mount("cnb/lifecycle", PROGRAMS, false),
    ];
    // Beside those that the builder has.
    for name in request.env.keys() {
        let path = format!("platform/env/{name}");
        mounts.push(mount(&path, &format!("/{path}"), false));
    }
    mounts.extend(names(request, staging)?);
    Ok(mounts)
}

/// The files by which a program finds hosts.
pub(super) fn names(request: &Request<'_>, staging: &Staging) -> io::Result<Vec<Mount>> {
    fs::write(
        staging.root().join("hosts"),
        "127.0.0.1\tlocalhost sealpack\n::1\tlocalhost sealpack\n",
    )?;
    let readable = std::fs::Permissions::from_mode(0o644);
    fs::set_permissions(staging.root().join("hosts"), readable)?;
    let mut mounts = vec![Mount {
        source: staging.root().join("hosts"),
        target: "/etc/hosts".into(),
        writable: false,
    }];
    let resolver = Path::new("/etc/resolv.conf");
    if request.network == Network::Host && resolver.exists() {
        mounts.push(Mount {
            source: resolver.to_owned(),
            target: resolver.to_owned(),
            writable: false,
        });
    }
    Ok(mounts)
}

/// What was added to a builder image, over what it has itself: modules, and the order of all.
async fn additions(request: &Request<'_>, staging: &Staging) -> Result<Vec<Mount>, RunError> {
    let builder = request.builder;
    if !builder.is_added_to {
        return Ok(Vec::new());
    }
    let laid_out = builder.lay_out(&staging.root().join("cnb"), EXEC_ENV).await;
    laid_out.map_err(RunError::LayOut)?;
    let modules = builder.buildpacks.iter().chain(&builder.extensions);
    let places = modules
        .filter(|it| !matches!(it.content, Content::Builder))
        .map(Module::place)
        .chain([PathBuf::from("cnb/order.toml")]);
    let mount = |place: PathBuf| Mount {
        source: staging.root().join(&place),
        target: Path::new("/").join(place),
        writable: false,
    };
    Ok(places.map(mount).collect())
}

/// The environment of the image, and what a program cannot do without.
fn env(image: &BuilderImage, request: &Request<'_>) -> BTreeMap<OsString, OsString> {
    let mut env = BTreeMap::new();
    env.insert("PATH".into(), PATH.into());
    env.insert("HOSTNAME".into(), "sealpack".into());
    let own = image.image.config().config.env.iter();
    for (name, value) in own.filter_map(|it| it.split_once('=')) {
        env.insert(name.into(), value.into());
    }
    for name in PROXIES {
        if let Some(value) = request.surroundings.get(&OsString::from(name)) {
            env.insert(name.into(), value.clone());
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn a_folder_is_given_without_what_links_in_it_lead_to() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let of_root = rustix::process::geteuid().is_root();
        let user = if of_root {
            User { uid: 12, gid: 34 }
        } else {
            User {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
            }
        };
        fs::create_dir_all(inside.path().join("a/b")).unwrap();
        fs::write(inside.path().join("a/b/file"), "").unwrap();
        fs::write(outside.path().join("file"), "").unwrap();
        symlink(outside.path(), inside.path().join("a/link")).unwrap();
        give(inside.path(), user).unwrap();
        for path in ["", "a", "a/b", "a/b/file", "a/link"] {
            let found = fs::symlink_metadata(inside.path().join(path)).unwrap();
            assert_eq!((found.uid(), found.gid()), (user.uid, user.gid), "{path}");
        }
        for path in ["", "file"] {
            let found = fs::symlink_metadata(outside.path().join(path)).unwrap();
            assert_eq!(found.uid() == user.uid, !of_root, "{path}");
        }
        // Not even where a link stands for the folder itself.
        give(&inside.path().join("a/link"), user).unwrap_err();
    }
}
