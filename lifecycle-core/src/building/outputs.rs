use std::path::Path;

use serde::de::DeserializeOwned;

use super::sbom::{self, SbomFile};
use super::{BuildError, BuiltLayer};
use crate::api::BuildpackApi;
use crate::files::build_toml::BuildToml;
use crate::files::group::GroupElement;
use crate::files::launch_toml::{LaunchProcess, LaunchToml};
use crate::files::metadata::{BomEntry, BomToml, Command, Label, Process, Slice};
use crate::files::plan::BuildpackPlan;
use crate::files::{FileError, read};
use crate::{Level, Log};

/// What one buildpack says in `launch.toml`, `build.toml` and SBOM files.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    pub(super) processes: Vec<Process>,
    pub(super) labels: Vec<Label>,
    pub(super) slices: Vec<Slice>,
    /// The names of what it did not provide.
    pub(super) unmet: Vec<String>,
    pub(super) build_bom: Vec<BomEntry>,
    pub(super) launch_bom: Vec<BomEntry>,
    pub(super) sboms: Vec<SbomFile>,
}

/// Reads them from the buildpack's layers.
pub(super) fn read_outputs(
    dir: &Path,
    element: &GroupElement,
    api: BuildpackApi,
    sbom_formats: &[String],
    layers: &[BuiltLayer],
    plan: &BuildpackPlan,
    log: &dyn Log,
) -> Result<Outputs, BuildError> {
    let failed = |source| BuildError::Read { source };
    let build: BuildToml = read_or_default(&dir.join("build.toml")).map_err(failed)?;
    let path = dir.join("launch.toml");
    let launch = if api.has_command_lists() {
        let launch: LaunchToml<Vec<String>> = read_or_default(&path).map_err(failed)?;
        launch.map_commands(Command::Words)
    } else {
        let launch: LaunchToml<String> = read_or_default(&path).map_err(failed)?;
        // Wherever old commands are read they may be lists; so they are written as one word.
        launch.map_commands(|text| Command::Words(vec![text]))
    };

    let sboms = sbom::find(dir, element, sbom_formats, layers)?;
    for bom in [&build.bom, &launch.bom] {
        if !bom.is_empty() && sboms.is_empty() {
            log.line(Level::Warn, BOM_IS_OLD);
        }
    }
    let unmet = unmet(&build, element, plan)?;
    let processes = processes(launch.processes, element, api, log)?;
    Ok(Outputs {
        processes,
        labels: launch.labels,
        slices: launch.slices,
        unmet,
        build_bom: entries(build.bom, element)?,
        launch_bom: entries(launch.bom, element)?,
        sboms,
    })
}

const BOM_IS_OLD: &str = "BOM table is deprecated in this buildpack api version, though it remains \
    supported for backwards compatibility. Buildpack authors should write BOM information to \
    <layer>.sbom.<ext>, launch.sbom.<ext>, or build.sbom.<ext>.";

fn read_or_default<T: DeserializeOwned + Default>(path: &Path) -> Result<T, FileError> {
    Ok(read(path)?.unwrap_or_default())
}

fn unmet(
    build: &BuildToml,
    element: &GroupElement,
    plan: &BuildpackPlan,
) -> Result<Vec<String>, BuildError> {
    let names = build.unmet.iter().map(|it| &it.name);
    names
        .map(|name| {
            if name.is_empty() {
                Err(BuildError::UnmetWithoutName {
                    buildpack: element.to_string(),
                })
            } else if plan.entries.iter().any(|it| it.name == *name) {
                Ok(name.clone())
            } else {
                Err(BuildError::UnmetUnknown {
                    buildpack: element.to_string(),
                    name: name.clone(),
                })
            }
        })
        .collect()
}

fn processes(
    processes: Vec<LaunchProcess<Command>>,
    element: &GroupElement,
    api: BuildpackApi,
    log: &dyn Log,
) -> Result<Vec<Process>, BuildError> {
    let buildpack = || element.to_string();
    if processes.iter().filter(|it| it.default).count() > 1 {
        return Err(BuildError::MultipleDefaults {
            buildpack: buildpack(),
        });
    }
    if api.has_command_lists() && processes.iter().any(|it| it.direct.is_some()) {
        return Err(BuildError::DirectNotSupported {
            buildpack: buildpack(),
        });
    }
    let processes = processes.into_iter().map(|it| {
        let mut working_dir = it.working_dir;
        if !working_dir.is_empty() && !api.has_path_variables() {
            let text = format!(
                "Warning: process working directory isn't supported in this buildpack api version. \
                 Ignoring working directory for process '{}'",
                it.r#type
            );
            log.line(Level::Warn, &text);
            working_dir.clear();
        }
        Process {
            r#type: it.r#type,
            command: it.command,
            args: it.args,
            direct: api.has_command_lists() || it.direct.unwrap_or_default(),
            default: it.default,
            buildpack_id: element.id.clone(),
            working_dir,
            exec_env: it.exec_env,
        }
    });
    Ok(processes.collect())
}

fn entries(bom: Vec<BomToml>, element: &GroupElement) -> Result<Vec<BomEntry>, BuildError> {
    let entry = |it: BomToml| {
        if it.version.is_empty() {
            Ok(BomEntry {
                name: it.name,
                metadata: it.metadata,
                buildpack: element.identity(),
            })
        } else {
            Err(BuildError::BomVersion { name: it.name })
        }
    };
    bom.into_iter().map(entry).collect()
}
