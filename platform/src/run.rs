//! A build: the phases of the lifecycle in their order, from an app's source to an image in a staged
//! layout.
//!
//! Phases that reach images run here. Detecting and building run the `lifecycle` program in the
//! sandbox: what buildpacks do happens where no key and no credential is. Nothing here prints, and
//! neither environment nor clock is read: whoever calls [`run`] says all of it in a [`Request`], finds
//! the images, says whether they may be used, and hears what goes on as [`BuildProgress`].

mod borrowing;
mod error;
mod extending;
mod ground;
mod inputs;
mod kept;
mod phases;
mod programs;
mod progress;
mod staging;
mod stale;
mod volumes;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use lifecycle_core::Level;
use lifecycle_core::api::PlatformApi;
use lifecycle_core::cache::Cache;
use lifecycle_core::exec::Cancel;
use lifecycle_core::export::{
    self, ExportContext, ExportError, OwnSboms, Owner, run_image_for_export,
};
use lifecycle_core::files;
use lifecycle_core::files::group::Group;
use lifecycle_core::files::project_metadata::ProjectMetadata;
use lifecycle_core::files::run::{Run, RunImages};
use lifecycle_core::images::Place;
use lifecycle_core::provenance::{Named as Ingredient, Source};
use lifecycle_core::report::Report;
use oci::{Digest, Found, Limits, Platform, spans};
use tracing::info_span;

pub use self::borrowing::Borrowing;
pub use self::error::{PhaseFailure, RunError};
pub use self::extending::{ChooseError, FindRunImage};
use self::extending::{ExtendedRunImage, RunImageChoice};
use self::ground::Ground;
pub use self::ground::PROXIES;
use self::phases::Phases;
pub use self::programs::{Launcher, Programs};
pub use self::progress::{BuildProgress, Lack, Telemetry, Watch, WatchError};
use self::staging::IMAGE;
pub use self::staging::Staging;
pub use self::stale::stale;
pub use self::volumes::{VolumeError, parse_volume};
use crate::builder::Builder;
use crate::project::Files;
use crate::rootfs::MappedFolder;
use crate::sandbox::{
    Interpreter, Isolation, IsolationReport, Mount, Network, Sandbox, SandboxError,
};

/// The API that we speak with the lifecycle, unless a builder image knows none so new.
pub const API: PlatformApi = PlatformApi::V0_15;

/// What the image is built for.
pub const EXEC_ENV: &str = "production";

/// Who owns what is in the image: the user of the static base, and of most others.
const OWNER: Owner = Owner {
    uid: 1000,
    gid: 1000,
};

/// What a build is asked for: resolved, and allowed.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "who builds has to say all of it")]
pub struct Request<'a> {
    /// The folder with the app's source.
    pub app: &'a Path,
    /// Which of its files take part.
    pub files: &'a Files,
    /// What the image's labels say of the source.
    pub metadata: &'a ProjectMetadata,
    /// What builds it.
    pub builder: &'a Builder,
    /// What it is built for. Buildpacks run on this machine, and are told.
    pub platform: &'a Platform,
    /// The launcher for that platform; a builder image has its own.
    pub launcher: &'a Launcher,
    /// The programs that take part.
    pub programs: &'a Programs,
    /// What it runs on.
    pub run_image: &'a RunImage,
    /// Finds another one, if an extension chooses it.
    pub run_images: &'a dyn FindRunImage,
    /// The image that the new one replaces, whose layers may be used again.
    pub previous: Option<&'a Found>,
    /// The variables that buildpacks get from the platform.
    pub env: &'a BTreeMap<String, OsString>,
    /// The environment of the lifecycle where it runs buildpacks, besides what it is told of the
    /// build: `PATH`, `HOME`, proxies.
    pub surroundings: &'a BTreeMap<OsString, OsString>,
    /// The process that the image starts by default.
    pub process_type: Option<&'a str>,
    /// The folder in which the layers of builder images are kept.
    pub roots: Option<&'a Path>,
    /// How far buildpacks are kept from this machine.
    pub isolation: Isolation,
    /// The network that they see.
    pub network: Network,
    /// What runs programs of the builder, if they are for machines of another kind, and this machine itself
    /// has nothing that does.
    pub interpreter: Option<&'a Interpreter>,
    /// What they are not to see of this machine: keys, credentials.
    pub hidden: &'a [PathBuf],
    /// What else of this machine they see.
    pub volumes: &'a [Mount],
    /// Where layers are kept between builds; nothing of an earlier build is used without.
    pub cache: Option<CachePlace<'a>>,
    /// Whether what was kept is left aside, and replaced at the end.
    pub clear_cache: bool,
    /// When the build is: by it, what was kept is too old.
    pub now: SystemTime,
    /// What is spoken with the lifecycle; without it, the newest that is known, also to the builder.
    pub api: Option<PlatformApi>,
    /// When the image says that it was made, in seconds since 1970.
    pub created: i64,
    /// How much the phases have to say.
    pub log_level: Level,
    /// `PATH` and home for `git`, which is asked where the source stands.
    pub git: Git<'a>,
    /// The trace that the build is part of, if it is part of one.
    pub telemetry: Option<&'a dyn Telemetry>,
    /// Ends the build early.
    pub cancel: &'a Cancel,
}

/// Where layers are kept between builds.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "here or elsewhere")]
pub enum CachePlace<'a> {
    /// In a folder.
    Folder(&'a Path),
    /// In a folder that nobody named: where it cannot be used, nothing is kept.
    Usual(&'a Path),
    /// In an image. Whoever may write it has a say in what is built.
    Image(&'a Place),
}

impl<'a> CachePlace<'a> {
    /// The folder, if it is one.
    fn folder(self) -> Option<&'a Path> {
        match self {
            Self::Folder(folder) | Self::Usual(folder) => Some(folder),
            Self::Image(_) => None,
        }
    }
}

/// How `git` is found, and whose settings it reads.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "who builds has to say all of it")]
pub struct Git<'a> {
    /// Where it is sought.
    pub path: Option<&'a std::ffi::OsStr>,
    /// Whose settings count.
    pub home: Option<&'a Path>,
}

/// What an app runs on.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "made here, or somewhere else")]
pub enum RunImage {
    /// The [static base](crate::base).
    Static,
    /// An image that was found.
    Found {
        /// What labels and files of the build call it.
        name: String,
        /// What the user calls it.
        shown: String,
        /// Which it is, and where.
        found: Box<Found>,
    },
}

/// A staged image, and what it was made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Built {
    /// What the exporter says.
    pub report: Report,
    /// The app's source.
    pub source: Source,
    /// The run image.
    pub run_image: Ingredient,
    /// The buildpacks that took part, in order.
    pub buildpacks: Vec<Ingredient>,
    /// The extensions that took part, in order.
    pub extensions: Vec<Ingredient>,
    /// How they were kept from the machine.
    pub isolation: IsolationReport,
    /// The launcher in the image.
    pub launcher: Digest,
    /// The version of the lifecycle that ran.
    pub lifecycle_version: String,
    /// The API between platform and lifecycle.
    pub platform_api: PlatformApi,
    /// When the image says that it was made, in seconds since 1970.
    pub created: i64,
}

/// Runs all phases; the image is in `staging` then.
pub async fn run(
    request: &Request<'_>,
    staging: &Staging,
    progress: &dyn BuildProgress,
    watch: &mut dyn Watch,
) -> Result<Built, RunError> {
    let phases = all_phases(request, staging, progress, watch);
    let built = spans::within(info_span!("phases"), phases).await;
    if let Some(telemetry) = request.telemetry {
        telemetry.collect(&staging.layers().join("tracing"));
    }
    built
}

async fn all_phases(
    request: &Request<'_>,
    staging: &Staging,
    progress: &dyn BuildProgress,
    watch: &mut dyn Watch,
) -> Result<Built, RunError> {
    let run_image = inputs::run_image(request, staging, progress).await?;
    let previous = match request.previous {
        Some(found) => Some(inputs::previous(found, request.platform).await?),
        None => None,
    };
    write_env(request, staging)?;
    let (ground, sandbox, copy) = open(request, staging, progress).await?;
    let source = inputs::take_source(request, staging)?;
    let phases = Phases {
        request,
        staging,
        ground: &ground,
        sandbox: &sandbox,
        progress,
    };
    let limits = Limits::default();
    ground.hand_over(staging, &sandbox)?;
    let version = phases.version().await?;
    let isolation = sandbox.report().clone();

    runs_in(watch, request, &phases, &version, &isolation);
    watch.begin("analyze", &["cnb"]).await.map_err(watched)?;
    watch.takes("run-image", &run_image.digest);
    if let Some(previous) = &previous {
        watch.takes("previous-image", &previous.digest);
    }
    let previous_again = previous.clone();
    let found = staging.images(run_image.clone(), previous);
    let analyzed = phases.analyze(&found, &run_image, &limits).await?;
    watch.end(&["layers"]).await.map_err(watched)?;
    ground.hand_over(staging, &sandbox)?;
    watch
        .begin("detect", &["cnb", "layers", "workspace"])
        .await
        .map_err(watched)?;
    if request.builder.image().is_some() {
        watch.takes("builder", &request.builder.digest);
    }
    phases.detect().await?;
    staging.refuse_links()?;
    watch.end(&["layers"]).await.map_err(watched)?;
    let group: Group = staging.read("group.toml")?;
    let buildpacks = phases.buildpacks(&group)?;
    let extensions = phases.extensions(&group)?;
    let chosen = RunImageChoice::none(run_image, found, analyzed);
    let extends = !group.group_extensions.is_empty();
    if extends {
        let begun = watch.begin("extend", &["layers"]).await;
        begun.map_err(watched)?;
    }
    let mut chosen = phases.choose(&group, chosen, previous_again).await?;
    let extended = phases.extend_run_image(&mut chosen, &extensions).await?;
    let run_image = &chosen.run_image;
    if extends {
        watch.takes("run-image", &run_image.digest);
        watch.end(&["layers"]).await.map_err(watched)?;
    }
    watch.begin("restore", &["layers"]).await.map_err(watched)?;
    let cache = phases.restore(&chosen.analyzed, &group).await?;
    watch.end(&["layers"]).await.map_err(watched)?;
    ground.hand_over(staging, &sandbox)?;
    watch
        .begin("build", &["cnb", "layers", "workspace"])
        .await
        .map_err(watched)?;
    watch.told(buildpacks.iter().map(|it| it.name.clone()).collect());
    phases.build(&group, &chosen, &extensions).await?;
    staging.refuse_links()?;
    watch.end(&["layers", "workspace"]).await.map_err(watched)?;

    watch
        .begin("export", &["layers", "workspace"])
        .await
        .map_err(watched)?;
    watch.takes("run-image", &run_image.digest);
    let launcher = programs::digest(&ground.launcher.join("launcher"))?;
    watch.takes("launcher", &launcher);
    let extended = extended.as_ref();
    let report = export(&phases, &chosen, extended, &group, cache.as_ref(), &version).await?;
    watch.makes("image", &report.image.digest);
    watch.end(&[]).await.map_err(watched)?;
    phases.keep(cache, &group).await;
    // Nothing runs in it any more.
    drop(copy);
    progress.done("export", &summary(&report));
    Ok(Built {
        report,
        source,
        run_image: Ingredient {
            uri: None,
            digest: run_image.digest.clone(),
            name: run_image.name.clone(),
        },
        buildpacks,
        extensions,
        isolation,
        lifecycle_version: version,
        launcher,
        platform_api: ground.api,
        created: request.created,
    })
}

/// What was exported, in a few words.
fn summary(report: &Report) -> String {
    let reused = report.layers.iter().filter(|it| it.reused).count();
    let (digest, count) = (&report.image.digest, report.layers.len());
    format!("{digest} ({count} layers, {reused} reused)")
}

/// Makes ready what the build stands on, and the sandbox: with a copy of the builder, where this machine
/// cannot have its layers as they are.
async fn open(
    request: &Request<'_>,
    staging: &Staging,
    progress: &dyn BuildProgress,
) -> Result<(Ground, Arc<Sandbox>, Option<MappedFolder>), RunError> {
    let preparing = Ground::prepare(request, staging, progress);
    let mut ground = spans::within(info_span!("builder"), preparing).await?;
    let volumes = programs::volumes(request, staging, &ground.root)?;
    ground.mounts.extend(volumes);
    programs::take_programs(request, staging)?;
    let (sandbox, copy) = match programs::open_sandbox(request, &ground) {
        Err(RunError::Sandbox(SandboxError::NoRoot { refused })) => {
            let copy = ground.copy(request, staging, progress, &refused).await?;
            (programs::open_sandbox(request, &ground)?, copy)
        }
        opened => (opened?, None),
    };
    let isolation = sandbox.report();
    if !isolation.refused.is_empty() || !isolation.own_processes {
        progress.lacks(&Lack::Isolation(isolation));
    }
    if !ground.is_bare(&sandbox) {
        return Ok((ground, Arc::new(sandbox), copy));
    }
    let sandbox = match ground.fix(staging) {
        Ok(()) => programs::open_sandbox(request, &ground)?,
        Err(error) => {
            progress.lacks(&Lack::Places {
                at: staging.root(),
                why: error.to_string(),
            });
            sandbox
        }
    };
    Ok((ground, Arc::new(sandbox), copy))
}

fn watched(source: WatchError) -> RunError {
    RunError::Watch(source)
}

/// Writes the variables for the buildpacks, each into a file.
fn write_env(request: &Request<'_>, staging: &Staging) -> Result<(), RunError> {
    use std::os::unix::ffi::OsStrExt as _;

    for (name, value) in request.env {
        let path = staging.root().join("platform/env").join(name);
        fs_err::write(path, value.as_bytes())?;
    }
    Ok(())
}

/// What is offered to apps that run on `run_image`: with its mirrors, if the builder has some.
fn offered(request: &Request<'_>, run_image: &str) -> Run {
    let known = request.builder.run.images.iter();
    let mut known = known.filter(|it| it.all().any(|name| name == run_image));
    let images = known.next().cloned().unwrap_or_else(|| RunImages {
        image: run_image.to_owned(),
        mirrors: Vec::new(),
    });
    Run {
        images: vec![images],
    }
}

/// Says where the phases run.
fn runs_in(
    watch: &mut dyn Watch,
    request: &Request<'_>,
    phases: &Phases<'_>,
    version: &str,
    isolation: &IsolationReport,
) {
    let api = phases.ground.api.as_str();
    let isolation = serde_json::to_value(isolation).unwrap_or_default();
    watch.runs_in("exec-env", EXEC_ENV.into());
    watch.runs_in("isolation", isolation);
    watch.runs_in("lifecycle", version.into());
    watch.runs_in("network", request.network.name().into());
    watch.runs_in("platform-api", api.into());
}

/// Makes the image in the staged layout.
async fn export(
    phases: &Phases<'_>,
    chosen: &RunImageChoice,
    extended: Option<&ExtendedRunImage>,
    group: &Group,
    cache: Option<&Cache>,
    version: &str,
) -> Result<Report, RunError> {
    let (request, staging, progress) = (phases.request, phases.staging, phases.progress);
    progress.begin("export", "making layers");
    let run = offered(request, &chosen.run_image.name);
    let extended = extended.map(ExtendedRunImage::folder);
    let ground = phases.ground;
    let names = [IMAGE.to_owned()];
    let temporary = staging.root().join("tmp");
    fs_err::create_dir_all(&temporary)?;
    let context = ExportContext {
        api: ground.api,
        images: &chosen.images,
        names: &names,
        analyzed: &chosen.analyzed,
        group,
        project: request.metadata,
        root: &phases.root(),
        app_dir: &staging.workspace(),
        layers_dir: &staging.layers(),
        launcher: &ground.launcher.join("launcher"),
        own_sboms: OwnSboms::Launcher(&ground.launcher),
        process_type: request.process_type,
        exec_env: EXEC_ENV,
        extended_dir: extended.as_deref(),
        owner: ground.owner,
        cache,
        layout_digests: true,
        source_date_epoch: Some(&request.created.to_string()),
        lifecycle: &phases.named(version).await,
        temporary_dir: &temporary,
        workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        limits: &Limits::default(),
    };
    let layers = staging.layers();
    let exporting = async {
        let opened = export::open(&context, progress).await?;
        let images = run_image_for_export(ground.api, &chosen.analyzed, &run, &layers);
        let images = images.map_err(ExportError::Metadata)?;
        export::export(&context, opened, &images, progress).await
    };
    let report = spans::within(info_span!("export"), Box::pin(exporting))
        .await
        .map_err(|error| RunError::Export(Box::new(error)))?;
    files::write(&staging.layers().join("report.toml"), &report.file())?;
    Ok(report)
}
