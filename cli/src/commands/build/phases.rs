//! The lifecycle: analyze, detect, restore, build, export; from the app's source to a staged image.
//!
//! Phases that reach images run here. Detecting and building run the `lifecycle` program in the
//! sandbox: what buildpacks do happens where no key and no credential is.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lifecycle_core::exec::Cancel;
use lifecycle_core::export::{self, ExportContext};
use lifecycle_core::files;
use lifecycle_core::files::analyzed::Analyzed;
use lifecycle_core::files::group::Group;
use lifecycle_core::files::project_metadata::ProjectMetadata;
use lifecycle_core::files::run::{Run, RunImages};
use lifecycle_core::labels::LifecycleVersion;
use lifecycle_core::provenance::{Named as Ingredient, Source};
use lifecycle_core::report::Report;
use oci::Limits;

use super::inputs;
use super::lifecycle::{API, EXEC_ENV, Lifecycle, OWNER, PhaseLog, open_sandbox};
use super::links::Watch;
use super::settings::Settings;
use super::staging::{IMAGE, StagedImages, Staging};
use crate::environment::Environment;
use crate::error::{CommandError, Context as _};
use crate::images::Images;
use crate::ui::Ui;

/// 1980-01-01T00:00:01Z: when an image was made that is to be the same whenever it is made.
const CREATED: i64 = 315_532_801;

/// A staged image, and what it was made of.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) report: Report,
    pub(super) source: Source,
    pub(super) run_image: Ingredient,
    pub(super) buildpacks: Vec<Ingredient>,
    pub(super) isolation: serde_json::Value,
    pub(super) lifecycle_version: String,
    pub(super) invocation_id: String,
    /// The time in the image, in seconds since 1970.
    pub(super) created: i64,
    /// What each phase took and made, if links are wanted.
    pub(super) links: Vec<links::Link>,
}

/// Runs all phases.
pub(super) async fn run(
    settings: &Settings,
    staging: &Staging,
    images: &Images<'_>,
    cancel: &Cancel,
    environment: &Environment,
    ui: &Ui,
) -> Result<Built, CommandError> {
    let created = created(environment)?;
    let source = inputs::take_source(settings, staging, environment)?;
    let run_image = inputs::run_image(settings, staging, images, ui).await?;
    let previous = inputs::previous(settings, images).await?;
    settings
        .builder
        .lay_out(&staging.root().join("cnb"), EXEC_ENV)
        .context(|| "failed to lay out the builder".to_owned())?;
    write_env(settings, staging)?;
    let sandbox = Arc::new(open_sandbox(settings, staging, cancel, ui)?);
    let lifecycle = Lifecycle {
        settings,
        staging,
        sandbox: &sandbox,
        environment,
        ui,
    };
    let log = PhaseLog { ui };
    let limits = Limits::default();
    let version = lifecycle.version().await?;
    let isolation = serde_json::to_value(sandbox.report()).map_err(CommandError::undecided)?;
    let root = lifecycle.root();

    let mut watch = watch(settings, staging, &version, &isolation);
    watch.begin("analyze", &["cnb"]).await?;
    watch.takes("run-image", &run_image.digest);
    if let Some(previous) = &previous {
        watch.takes("previous-image", &previous.digest);
    }
    let found = staging.images(run_image.clone(), previous);
    let analyzed = lifecycle
        .analyze(&found, &run_image, &root, &limits, &log)
        .await?;
    watch.end(&["layers"]).await?;
    watch
        .begin("detect", &["cnb", "layers", "workspace"])
        .await?;
    lifecycle.detect().await?;
    watch.end(&["layers"]).await?;
    let group: Group = files::read_required(&staging.layers().join("group.toml"))
        .map_err(CommandError::undecided)?;
    let buildpacks = lifecycle.buildpacks(&group)?;
    watch.begin("restore", &["layers"]).await?;
    let cache = lifecycle.restore(&analyzed, &group, &root, &log).await?;
    watch.end(&["layers"]).await?;
    watch
        .begin("build", &["cnb", "layers", "workspace"])
        .await?;
    watch.told(buildpacks.iter().map(|it| it.name.clone()));
    lifecycle.build(&group).await?;
    watch.end(&["layers", "workspace"]).await?;

    watch.begin("export", &["layers", "workspace"]).await?;
    watch.takes("run-image", &run_image.digest);
    if settings.links.is_some() {
        for (name, digest) in settings.programs.digests()? {
            if name == "launcher" {
                watch.takes(name, &digest);
            }
        }
    }
    let report = export(
        &lifecycle,
        &found,
        &run_image.name,
        &analyzed,
        &group,
        created,
        &version,
    )
    .await?;
    watch.makes("image", &report.image.digest);
    watch.end(&[]).await?;
    lifecycle.keep(cache, &group, &root, &log).await?;
    let reused = report.layers.iter().filter(|it| it.reused).count();
    ui.done(
        "export",
        format_args!(
            "{} ({} layers, {reused} reused)",
            report.image.digest,
            report.layers.len()
        ),
    );
    Ok(Built {
        report,
        source,
        run_image: Ingredient {
            uri: None,
            digest: run_image.digest,
            name: run_image.name,
        },
        buildpacks,
        isolation,
        lifecycle_version: version,
        invocation_id: invocation_id()?,
        created,
        links: watch.into_links(),
    })
}

/// Writes the variables for the buildpacks, each into a file.
fn write_env(settings: &Settings, staging: &Staging) -> Result<(), CommandError> {
    use std::os::unix::ffi::OsStrExt as _;

    for (name, (value, _)) in &settings.env {
        let path = staging.root().join("platform/env").join(name);
        fs_err::write(path, value.as_bytes()).map_err(CommandError::undecided)?;
    }
    Ok(())
}

/// Watches what the phases take and make, where links are wanted.
fn watch(
    settings: &Settings,
    staging: &Staging,
    version: &str,
    isolation: &serde_json::Value,
) -> Watch {
    let mut watch = Watch::new(settings.links.is_some().then(|| staging.root()));
    watch.runs_in("exec-env", EXEC_ENV);
    watch.runs_in("isolation", isolation.clone());
    watch.runs_in("lifecycle", version);
    watch.runs_in("network", settings.network.name());
    watch.runs_in("platform-api", API.as_str());
    watch
}

/// Makes the image in the staged layout.
async fn export(
    lifecycle: &Lifecycle<'_>,
    images: &StagedImages,
    run_image: &str,
    analyzed: &Analyzed,
    group: &Group,
    created: i64,
    version: &str,
) -> Result<Report, CommandError> {
    lifecycle.ui.begin("export", "making layers");
    let run = Run {
        images: vec![RunImages {
            image: run_image.to_owned(),
            mirrors: Vec::new(),
        }],
    };
    let names = [IMAGE.to_owned()];
    let temporary = lifecycle.staging.root().join("tmp");
    fs_err::create_dir_all(&temporary).map_err(CommandError::undecided)?;
    let context = ExportContext {
        api: API,
        images,
        names: &names,
        analyzed,
        group,
        run: &run,
        project: &ProjectMetadata::default(),
        root: &lifecycle.root(),
        app_dir: &lifecycle.staging.root().join("workspace"),
        layers_dir: &lifecycle.staging.layers(),
        launcher: &lifecycle.settings.programs.path("launcher"),
        launcher_sbom_dir: &lifecycle.settings.programs.folder,
        process_type: lifecycle.settings.process_type.as_deref(),
        exec_env: EXEC_ENV,
        owner: OWNER,
        created: Some(created),
        lifecycle: &LifecycleVersion {
            version: version.to_owned(),
            ..LifecycleVersion::default()
        },
        temporary_dir: &temporary,
        workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        limits: &Limits::default(),
    };
    let report = export::export(&context, &PhaseLog { ui: lifecycle.ui })
        .await
        .context(|| "failed to export the image".to_owned())?;
    files::write(
        &lifecycle.staging.layers().join("report.toml"),
        &report.file(),
    )
    .map_err(CommandError::undecided)?;
    Ok(report)
}

/// The time in the image: `SOURCE_DATE_EPOCH`, else the one that is always the same.
fn created(environment: &Environment) -> Result<i64, CommandError> {
    match environment.text("SOURCE_DATE_EPOCH") {
        None | Some("") => Ok(CREATED),
        Some(text) => text
            .parse()
            .context(|| format!("SOURCE_DATE_EPOCH is `{text}`, not a number of seconds")),
    }
}

/// Tells this build from all others.
fn invocation_id() -> Result<String, CommandError> {
    let mut bytes = [0; 16];
    let mut random = fs_err::File::open("/dev/urandom").map_err(CommandError::undecided)?;
    std::io::Read::read_exact(&mut random, &mut bytes).map_err(CommandError::undecided)?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}
