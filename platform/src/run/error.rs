//! Why a build came to nothing.

use std::io;
use std::path::PathBuf;

use lifecycle_core::analyze::AnalyzeError;
use lifecycle_core::api::PlatformApi;
use lifecycle_core::cache::CacheError;
use lifecycle_core::exec::RunError as ExecError;
use lifecycle_core::export::ExportError;
use lifecycle_core::extend::hand_over::HandOverError;
use lifecycle_core::files::FileError;
use lifecycle_core::restore::RestoreError;
use oci::{ImageError, Platform, StoreError};

use super::{ChooseError, VolumeError, WatchError};
use crate::base::BaseError;
use crate::builder::LayOutError;
use crate::rootfs::RootfsError;
use crate::sandbox::SandboxError;
use crate::source::SourceError;

/// Why a build came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Looking at the images failed.
    #[error("failed to analyze")]
    Analyze(#[source] Box<AnalyzeError>),
    /// Buildpacks may not see what they were to see.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The static base could not be made.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The cache could not be opened.
    #[error("failed to open the cache `{name}`")]
    Cache {
        /// Which.
        name: String,
        /// Why.
        source: CacheError,
    },
    /// The builder's lifecycle does not speak what was asked for.
    #[error("the lifecycle of the builder speaks Platform API {spoken}, and not {api}")]
    OtherApi {
        /// What was asked for.
        api: PlatformApi,
        /// What it speaks.
        spoken: String,
    },
    /// The image could not be made of what the buildpacks left.
    #[error("failed to export the image")]
    Export(#[source] Box<ExportError>),
    /// A file of the build could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The builder could not be laid out.
    #[error("failed to lay out the builder")]
    LayOut(#[source] LayOutError),
    /// The folder that the image is to be staged in holds a layout.
    #[error("`{}` holds a layout already", path.display())]
    LayoutIsThere {
        /// Which folder.
        path: PathBuf,
    },
    /// The builder's lifecycle is of another time.
    #[error("the lifecycle of the builder speaks no Platform API that is known here")]
    NoCommonApi,
    /// The run image that an extension chose cannot be used.
    #[error("failed to use the run image `{name}`, which an extension chose")]
    Chosen {
        /// Which.
        name: String,
        /// Why.
        source: ChooseError,
    },
    /// An extension wants to change an image, and this machine has not what that needs.
    #[error("the {image} image cannot be extended: {problem}")]
    CannotExtend {
        /// `build` or `run`.
        image: &'static str,
        /// What is missing.
        problem: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// The image to extend could not be left for the extender.
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    /// A buildpack or an extension left something that would lead later phases elsewhere.
    #[error("`{}` is not allowed in the layers: it is a link, or not a file", path.display())]
    LinkInLayers {
        /// Which.
        path: PathBuf,
    },
    /// The launcher, or an SBOM of it, is too large.
    #[error("`/{path}` of the builder is larger than {limit} bytes")]
    LauncherTooLarge {
        /// Which file.
        path: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The builder has no launcher.
    #[error("`/cnb/lifecycle/launcher` is missing in the builder")]
    NoLauncher,
    /// Nobody says where layers of builders are kept.
    #[error("a folder to keep the layers of the builder in is missing")]
    NoRootStore,
    /// The lifecycle does not say which it is.
    #[error("the lifecycle does not say its version: {text}")]
    NoVersion {
        /// What it said instead.
        text: String,
    },
    /// The run image is for machines of another kind.
    #[error("the run image `{name}` is for {is_for}, not for {host}")]
    OtherPlatform {
        /// Which image.
        name: String,
        /// What it is for.
        is_for: Box<Platform>,
        /// What it is to be for.
        host: Box<Platform>,
    },
    /// A phase ended badly.
    #[error("{what}")]
    Phase {
        /// What went wrong.
        what: String,
        /// In which way.
        failure: PhaseFailure,
        /// The end of what was printed.
        output: String,
    },
    /// The image before could not be read.
    #[error("failed to read the image before, `{name}`")]
    Previous {
        /// Which.
        name: String,
        /// Why.
        source: Box<ImageError>,
    },
    /// Layers could not be restored.
    #[error("failed to restore layers")]
    Restore(#[source] Box<RestoreError>),
    /// The run image could not be read.
    #[error("failed to fetch the run image `{name}`")]
    RunImage {
        /// Which.
        name: String,
        /// Why.
        source: Box<ImageError>,
    },
    /// The layers of the builder could not be unpacked.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// There is no sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The source could not be copied.
    #[error("failed to take the source in `{}`", app.display())]
    Source {
        /// Where it lies.
        app: PathBuf,
        /// Why.
        source: SourceError,
    },
    /// A program could not be run.
    #[error("failed to run {name}")]
    Start {
        /// Which.
        name: String,
        /// Why.
        source: ExecError,
    },
    /// The staged layout failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no folder for temporary files.
    #[error("failed to make a folder in `{}`", folder.display())]
    Temporary {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The lifecycle chose a buildpack that nobody offered.
    #[error("the lifecycle chose `{id}@{version}`, which is not in the builder")]
    Unknown {
        /// The buildpack's id.
        id: String,
        /// Its version.
        version: String,
    },
    /// Who watches gave up.
    #[error(transparent)]
    Watch(WatchError),
}

/// In which way a phase ended badly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PhaseFailure {
    /// No group of buildpacks fits the app.
    NoGroup,
    /// A buildpack failed to look at it.
    Detect,
    /// A buildpack failed to build it.
    Build,
    /// What an extension wants could not be done.
    Extend,
    /// The lifecycle failed.
    Lifecycle,
}
