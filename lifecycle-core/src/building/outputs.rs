//! What a buildpack says in `launch.toml`, `build.toml` and SBOM files.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::sbom::{self, SbomFile};
use super::{BuildError, BuiltLayer};
use crate::api::BuildpackApi;
use crate::files::build_toml::{BuildToml, Unmet};
use crate::files::group::GroupElement;
use crate::files::launch_toml::{LaunchProcess, LaunchToml, RawCommand};
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
    /// The names of what it provided.
    pub(super) met: Vec<String>,
    pub(super) build_bom: Vec<BomEntry>,
    pub(super) launch_bom: Vec<BomEntry>,
    pub(super) sboms: Vec<SbomFile>,
}

/// Reads them from the buildpack's layers, in the order in which upstream does: the first that is
/// wrong is told. `said` is the buildpack as its own descriptor has it, whose version may be another
/// than that in the group.
pub(super) fn read_outputs(
    dir: &Path,
    said: &GroupElement,
    api: BuildpackApi,
    sbom_formats: &[String],
    layers: &[BuiltLayer],
    plan: &BuildpackPlan,
    log: &dyn Log,
) -> Result<Outputs, BuildError> {
    let failed = |source| BuildError::Read { source };
    let has_sbom_files = sbom::has_files(dir);
    let entries = |bom: Vec<BomToml>| {
        if !bom.is_empty() && !has_sbom_files {
            log.line(Level::Warn, BOM_IS_OLD);
        }
        entries(bom, said)
    };

    let build: BuildToml = read_or_default(&dir.join("build.toml")).map_err(failed)?;
    // Upstream looks at these twice, and warns twice.
    entries(build.bom.clone())?;
    let build_bom = entries(build.bom.clone())?;
    let met = met(&build, said, plan)?;
    let sboms = sbom::find(dir, said, sbom_formats, layers)?;

    let path = dir.join("launch.toml");
    let (launch, commands) = if api.has_command_lists() {
        let launch: LaunchToml<Vec<String>> = read_or_default(&path).map_err(failed)?;
        for process in &launch.processes {
            if process.direct.is_some() {
                return Err(BuildError::DirectNotSupported {
                    buildpack: said.to_string(),
                });
            }
            word_for_word(&process.command)?;
        }
        split(launch, Command::Words)
    } else {
        let launch: LaunchToml<String> = read_or_default(&path).map_err(failed)?;
        for process in &launch.processes {
            if process.command == RawCommand::Missing {
                return Err(BuildError::Command {
                    cause: NO_COMMAND.to_owned(),
                });
            }
            word_for_word(&process.command)?;
        }
        // Wherever old commands are read they may be lists; so they are written as one word.
        split(launch, |text| Command::Words(vec![text]))
    };
    let launch_bom = entries(launch.bom)?;
    let processes = processes(launch.processes, commands, said, api, log)?;
    Ok(Outputs {
        processes,
        labels: launch.labels,
        slices: launch.slices,
        met,
        build_bom,
        launch_bom,
        sboms,
    })
}

/// Before Buildpack API 0.9 a process without a command is none.
const NO_COMMAND: &str =
    "toml: incompatible types: TOML value has type <nil>; destination has type string";

fn word_for_word<C>(command: &RawCommand<C>) -> Result<(), BuildError> {
    match command {
        RawCommand::Wrong(cause) => Err(BuildError::Command {
            cause: cause.clone(),
        }),
        RawCommand::Missing | RawCommand::Read(_) => Ok(()),
    }
}

/// The same without commands, and the commands.
fn split<C>(
    launch: LaunchToml<C>,
    command: impl Fn(C) -> Command,
) -> (LaunchToml<()>, Vec<Command>) {
    let mut commands = Vec::new();
    let mut processes = Vec::new();
    for it in launch.processes {
        commands.push(match it.command {
            RawCommand::Read(words) => command(words),
            RawCommand::Missing | RawCommand::Wrong(_) => Command::default(),
        });
        processes.push(LaunchProcess {
            r#type: it.r#type,
            command: RawCommand::Missing,
            args: it.args,
            direct: it.direct,
            default: it.default,
            working_dir: it.working_dir,
            exec_env: it.exec_env,
        });
    }
    let launch = LaunchToml {
        bom: launch.bom,
        labels: launch.labels,
        processes,
        slices: launch.slices,
    };
    (launch, commands)
}

const BOM_IS_OLD: &str = "BOM table is deprecated in this buildpack api version, though it remains \
    supported for backwards compatibility. Buildpack authors should write BOM information to \
    <layer>.sbom.<ext>, launch.sbom.<ext>, or build.sbom.<ext>.";

fn read_or_default<T: DeserializeOwned + Default>(path: &Path) -> Result<T, FileError> {
    Ok(read(path)?.unwrap_or_default())
}

/// What the buildpack was asked for but for what it left to others.
fn met(
    build: &BuildToml,
    element: &GroupElement,
    plan: &BuildpackPlan,
) -> Result<Vec<String>, BuildError> {
    for Unmet { name } in &build.unmet {
        if name.is_empty() {
            return Err(BuildError::UnmetWithoutName {
                buildpack: element.to_string(),
            });
        }
        if !plan.entries.iter().any(|it| it.name == *name) {
            return Err(BuildError::UnmetUnknown {
                buildpack: element.to_string(),
                name: name.clone(),
            });
        }
    }
    let is_unmet = |name: &String| build.unmet.iter().any(|it| it.name == *name);
    let names = plan.entries.iter().map(|it| it.name.clone());
    Ok(names.filter(|name| !is_unmet(name)).collect())
}

fn processes(
    processes: Vec<LaunchProcess<()>>,
    commands: Vec<Command>,
    element: &GroupElement,
    api: BuildpackApi,
    log: &dyn Log,
) -> Result<Vec<Process>, BuildError> {
    // A default without a type does not count as the first: upstream only remembers the type.
    let mut default = "";
    for process in processes.iter().filter(|it| it.default) {
        if !default.is_empty() {
            return Err(BuildError::MultipleDefaults {
                buildpack: element.to_string(),
            });
        }
        default = &process.r#type;
    }
    let processes = processes.into_iter().zip(commands).map(|(it, command)| {
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
            command,
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
