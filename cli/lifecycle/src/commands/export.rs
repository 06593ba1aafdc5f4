//! The exporter.

use std::num::NonZeroUsize;
use std::path::{Path, absolute};
use std::thread::available_parallelism;

use lifecycle_core::buildpack::{Kind, api_of};
use lifecycle_core::cache::Cache;
use lifecycle_core::export::{
    self, ExportContext, ExportError, OwnSboms, Owner, run_image_for_export,
};
use lifecycle_core::files;
use lifecycle_core::files::analyzed::Analyzed;
use lifecycle_core::files::group::Group;
use lifecycle_core::files::project_metadata::ProjectMetadata;
use lifecycle_core::labels::LifecycleVersion;
use lifecycle_core::{Level, Log as _};
use oci::spans;
use tracing::info_span;

use super::analyze::offered;
use super::cache;
use crate::console::Console;
use crate::experimental::guard;
use crate::failure::{BUILDPACK_API, Failure, GENERIC};
use crate::files::{read, read_or_default};
use crate::inputs::Inputs;
use crate::phase::Phase;
use crate::privileges::User;
use crate::session::{Session, temporary_folder};
use crate::version;

/// The exporter.
pub(super) fn run(
    inputs: &Inputs,
    analyzed: &Analyzed,
    session: &Session,
    console: Console,
) -> Result<(), Failure> {
    let group: Group = read(&inputs.group, "group", GENERIC)?;
    verify_apis(&group)?;
    let cache = cache::open(inputs, session, console)?;
    let extended = inputs.extended.join("run");
    let is_extended = std::fs::read_dir(extended).is_ok_and(|mut it| it.next().is_some());
    if is_extended && !inputs.platform_api.has_stable_extensions() {
        guard("Dockerfiles", &inputs.environment, console)?;
    }
    export(inputs, &group, analyzed, cache, session, console)
}

/// Makes the image and pushes it; the report is written, and the cache filled.
pub(super) fn export(
    inputs: &Inputs,
    group: &Group,
    analyzed: &Analyzed,
    cache: Option<Cache>,
    session: &Session,
    console: Console,
) -> Result<(), Failure> {
    spans::inside(&info_span!("export"), || {
        export_and_cache(inputs, group, analyzed, cache, session, console)
    })
}

fn export_and_cache(
    inputs: &Inputs,
    group: &Group,
    analyzed: &Analyzed,
    cache: Option<Cache>,
    session: &Session,
    console: Console,
) -> Result<(), Failure> {
    let generic = |text| Failure {
        code: GENERIC,
        text,
    };
    let project = project(&inputs.project_metadata, console).map_err(generic)?;
    let names = inputs.names();
    let epoch = inputs.environment.text("SOURCE_DATE_EPOCH");
    let user = User::new(inputs.uid, inputs.gid)?;
    // No folder is the one that this runs in.
    let here = absolute(".").unwrap_or_default();
    let app_dir = if inputs.app.as_os_str().is_empty() {
        &here
    } else {
        &inputs.app
    };
    let lifecycle = LifecycleVersion {
        version: version::VERSION.to_owned(),
        repository: version::REPOSITORY.to_owned(),
        commit: version::COMMIT.to_owned(),
    };
    let context = ExportContext {
        api: inputs.platform_api,
        images: session.images(),
        names: &names,
        analyzed,
        group,
        project: &project,
        app_dir,
        layers_dir: &inputs.layers,
        extended_dir: Some(inputs.extended.as_path()).filter(|it| !it.as_os_str().is_empty()),
        launcher: &inputs.launcher,
        own_sboms: match inputs.launcher_sbom.to_str() {
            Some("" | OwnSboms::BUILDER) => OwnSboms::Builder,
            _ => OwnSboms::Named(&inputs.launcher_sbom),
        },
        process_type: Some(inputs.process_type.as_str()).filter(|it| !it.is_empty()),
        exec_env: &inputs.exec_env(),
        owner: Owner {
            uid: user.uid,
            gid: user.gid,
        },
        cache: cache.as_ref(),
        layout_digests: inputs.layout_digests,
        source_date_epoch: epoch.as_deref(),
        lifecycle: &lifecycle,
        temporary_dir: &temporary_folder(&inputs.environment),
        workers: available_parallelism().unwrap_or(NonZeroUsize::MIN),
        root: Path::new("/"),
        limits: &session.limits,
    };
    let failed = |error: ExportError| Failure::new(error.exit_code(), error.action(), &error);
    let opened = session.wait(export::open(&context, &console));
    let opened = opened.map_err(failed)?;
    let offered = offered(inputs, console).map_err(generic)?;
    let api = inputs.platform_api;
    // It is read once more, as the user that this became: one who may not read it gets no further.
    let of_user: Analyzed = if api.has_targets() && !offered.images.is_empty() {
        read_or_default(&inputs.analyzed, "analyzed", Level::Warn, console).map_err(generic)?
    } else {
        Analyzed::default()
    };
    let run_images = run_image_for_export(api, &of_user, &offered, &inputs.layers);
    let run_images = run_images.map_err(|error| {
        let cause = go::words::chain(&error);
        generic(format!("failed to read build metadata file: {cause}"))
    })?;
    let report = console.time("Exporter", || {
        session.wait(export::export(&context, opened, &run_images, &console))
    });
    let report = report.map_err(failed)?;
    let mut file = report.file();
    if inputs.layout && inputs.layout_digests {
        file = file.with_digest(&report.image);
    }
    if inputs.report_run_image {
        file = file.with_run_image(&report.run_image.metadata);
    }
    files::write(&inputs.report, &file).map_err(|error| {
        let cause = format!("failed to write report file: {}", go::words::chain(&error));
        Failure::because(Phase::Export.failure(), "write export report", &cause)
    })?;
    match cache {
        Some(cache) => cache::fill(inputs, group, cache, session, console),
        None => Ok(()),
    }
}

/// What the platform says of the app's source, if it says something.
fn project(path: &Path, console: Console) -> Result<ProjectMetadata, String> {
    let read = files::read(path).map_err(|error| {
        format!(
            "failed to read project metadata file: {}",
            go::words::chain(&error)
        )
    })?;
    Ok(read.unwrap_or_else(|| {
        let text = format!(
            "No project metadata found at path \"{}\", project metadata will not be exported",
            path.display()
        );
        console.line(Level::Debug, &text);
        ProjectMetadata::default()
    }))
}

/// All buildpacks of `group` speak an API that we do. Extensions are asked by who runs them.
pub(super) fn verify_apis(group: &Group) -> Result<(), Failure> {
    for element in &group.group {
        api_of(Kind::Buildpack, element, &element.api).map_err(|error| Failure {
            code: BUILDPACK_API,
            text: error.to_string(),
        })?;
    }
    Ok(())
}
