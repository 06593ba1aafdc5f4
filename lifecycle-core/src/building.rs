//! Runs the buildpacks of a group, one after the other, and gathers what they leave.
//!
//! | what a buildpack leaves | what becomes of it | where |
//! |---|---|---|
//! | `<layer>.toml`, `<layer>/` | variables for the buildpacks after it | `layers` |
//! | `launch.toml`, `build.toml` | `config/metadata.toml`, the plan of those after it | `outputs` |
//! | `*.sbom.*.json` | `sbom/{build,launch,cache}` | `sbom` |

mod layers;
mod outputs;
mod processes;
mod sbom;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use go::words::PathError;
use oci::spans;

use self::layers::process_layers;
use self::outputs::{Outputs, read_outputs};
use self::processes::Processes;
pub use self::sbom::{SbomFile, SbomKind};
use crate::buildpack::{
    Action, ApiError, BuildpackDescriptor, Folder, Kind, ModuleContext, api_of, base_env, target,
    tell_target, user_env,
};
use crate::env::{Env, EnvError};
use crate::exec::{Command, Exit, RunError, ToLog};
use crate::files::analyzed::TargetMetadata;
use crate::files::group::{Group, GroupElement};
use crate::files::layer::{LayerTomlError, LayerTypes};
use crate::files::metadata::{BomEntry, BuildMetadata};
use crate::files::plan::{BuildPlan, BuildpackPlan};
use crate::files::{self, FileError, OsError};
use crate::labels::{self, LabelError};
use crate::{Level, Log};

/// What building needs.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever builds has to say all of it"
)]
pub struct BuildContext<'a> {
    /// Where modules lie and what they are given.
    pub modules: &'a ModuleContext<'a>,
    /// Where buildpacks leave what they made.
    pub layers_dir: PathBuf,
    /// Who builds: `group.toml`.
    pub group: Group,
    /// What they agreed on: `plan.toml`.
    pub plan: BuildPlan,
    /// The file that is to say which buildpack builds (`id@version`), for whoever has to tell which one
    /// failed.
    pub building: Option<PathBuf>,
}

/// What came of a build.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Built {
    /// How the app starts: the content of `config/metadata.toml`.
    pub metadata: BuildMetadata,
    /// The layers, by buildpack in the order of the group, then by name.
    pub layers: Vec<BuiltLayer>,
    /// The SBOM files of buildpacks, as they lie below `sbom`.
    pub sboms: Vec<SbomFile>,
}

/// A layer that a buildpack left, or only its description.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BuiltLayer {
    /// Who left it, by id.
    pub buildpack: String,
    /// Its name.
    pub name: String,
    /// Its folder, which need not be there.
    pub dir: PathBuf,
    /// What it is for.
    pub types: LayerTypes,
}

/// Runs all buildpacks of the group. Writes `config/metadata.toml` and `sbom` below the layers.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#phase-3-build>
pub fn build(context: &BuildContext<'_>, log: &dyn Log) -> Result<Built, BuildError> {
    let modules = context.modules;
    let api = modules.platform_api;
    for element in &context.group.group {
        api_of(Kind::Buildpack, element, &element.api)?;
    }
    let debug = |text: &str| log.line(Level::Debug, text);
    let sbom_dir = context.layers_dir.join("sbom");
    go::files::remove_all(&sbom_dir).map_err(BuildError::Clean)?;

    let target = target::completed(modules.target.clone(), &modules.os_release, log);
    let mut env = base_env(&modules.env);
    let mut plan = context.plan.clone();
    let mut processes = Processes::default();
    let mut built = Built::default();
    let mut build_bom = Vec::new();
    let mut launch_bom = Vec::new();
    for element in &context.group.group {
        log.line(
            Level::Debug,
            &format!("Running build for buildpack {element}"),
        );
        if let Some(path) = &context.building {
            // No build fails of it.
            fs::write(path, element.to_string()).unwrap_or_default();
        }
        debug("Looking up buildpack");
        let dir = modules.dir_of(Kind::Buildpack);
        // Whatever it says that it is, here it is one.
        let buildpack = GroupElement {
            extension: false,
            ..element.clone()
        };
        let descriptor = BuildpackDescriptor::read(dir, &buildpack)
            .map_err(|source| BuildError::Read { source })?;
        debug("Finding plan");
        let one = One {
            context,
            element,
            descriptor,
            target: &target,
            plan: plan.of(&element.id, false),
        };
        let span = Action::Build.span(element);
        let (layers, outputs) = spans::inside(&span, || one.build(&mut env, log))?;
        built.layers.extend(layers);
        debug("Updating buildpack processes");
        plan = plan.without_met(&outputs.met);
        debug("Updating process list");
        if let Some(warning) = processes.add(outputs.processes) {
            log.line(Level::Warn, &warning);
        }
        built.metadata.labels.extend(outputs.labels);
        built.metadata.slices.extend(outputs.slices);
        built.sboms.extend(outputs.sboms);
        build_bom.extend(outputs.build_bom);
        launch_bom.extend(outputs.launch_bom);
        log.line(
            Level::Debug,
            &format!("Finished running build for buildpack {element}"),
        );
    }

    if api.has_sbom_files() {
        debug("Copying SBOM files");
        sbom::copy(&sbom_dir, &mut built.sboms)?;
    }
    if api.has_sbom_files_only() {
        debug("Creating SBOM files for legacy BOM");
        write_bom(&sbom_dir.join("launch"), &launch_bom)?;
        write_bom(&sbom_dir.join("build"), &build_bom)?;
        launch_bom.clear();
    }
    debug("Listing processes");
    built.metadata.bom = launch_bom;
    let group = &context.group;
    let has_list = group.has_list || !group.group.is_empty();
    built.metadata.buildpacks = has_list.then(|| group.group.clone());
    built.metadata.extensions = as_in_metadata(&context.group.group_extensions);
    let (default, processes) = processes.finish();
    built.metadata.buildpack_default_process_type = default;
    built.metadata.processes = Some(processes);
    built.metadata = built.metadata.for_platform(api);
    let path = context.layers_dir.join("config").join("metadata.toml");
    files::write(&path, &built.metadata).map_err(|source| BuildError::Metadata { source })?;
    Ok(built)
}

/// The build of one buildpack.
struct One<'a> {
    context: &'a BuildContext<'a>,
    element: &'a GroupElement,
    descriptor: BuildpackDescriptor,
    target: &'a TargetMetadata,
    plan: BuildpackPlan,
}

impl One<'_> {
    fn build(
        &self,
        env: &mut Env,
        log: &dyn Log,
    ) -> Result<(Vec<BuiltLayer>, Outputs), BuildError> {
        let debug = |text: &str| log.line(Level::Debug, text);
        let descriptor = &self.descriptor;
        let api = descriptor.api(self.element)?;
        let escaped = self.element.escaped_id();
        debug("Creating plan directory");
        let temp = Folder::make(&self.context.modules.temp_dir, &format!("{escaped}-"))
            .map_err(BuildError::Io)?;
        debug("Preparing paths");
        let layers_dir = self.context.layers_dir.join(&escaped);
        go::files::create_dir_all(&layers_dir).map_err(BuildError::Io)?;
        let plan = temp.path().join(escaped).join("plan.toml");
        files::write(&plan, &self.plan).map_err(|source| BuildError::Write { source })?;
        debug("Running build command");
        self.run(&layers_dir, &plan, env, log)?;
        debug("Processing layers");
        let layers = process_layers(&layers_dir, self.element)?;
        debug("Updating environment");
        layers::extend(env, &layers).map_err(|source| BuildError::Env { source })?;
        debug("Reading output files");
        let said = GroupElement::new(&self.element.id, &descriptor.info.version);
        let outputs = read_outputs(
            &layers_dir,
            &said,
            api,
            &descriptor.info.sbom_formats,
            &layers,
            &self.plan,
            log,
        )?;
        Ok((layers, outputs))
    }

    fn run(
        &self,
        layers_dir: &Path,
        plan: &Path,
        env: &Env,
        log: &dyn Log,
    ) -> Result<(), BuildError> {
        let modules = self.context.modules;
        let descriptor = &self.descriptor;
        let api = descriptor.api(self.element)?;

        let mut env = user_env(modules, env, descriptor.info.clear_env)
            .map_err(|source| BuildError::Env { source })?;
        env.set("CNB_BUILDPACK_DIR", &descriptor.root);
        if api.has_path_variables() {
            env.set("CNB_PLATFORM_DIR", &modules.platform_dir);
            env.set("CNB_BP_PLAN_PATH", plan);
            env.set("CNB_LAYERS_DIR", layers_dir);
        }
        tell_target(&mut env, api, self.target, &modules.exec_env);
        modules.tell_telemetry(&mut env, self.element, Action::Build);
        let command = Command {
            program: descriptor.root.join("bin").join("build"),
            args: vec![
                layers_dir.into(),
                modules.platform_dir.clone().into(),
                plan.into(),
            ],
            env: env.into_vars(),
            dir: modules.app_dir.clone(),
        };
        match modules.run.run(&command, &ToLog(log)) {
            Ok(exit) if exit.is_success() => Ok(()),
            Ok(exit) => Err(BuildError::BuildpackFailed {
                buildpack: self.element.to_string(),
                exit,
            }),
            Err(source) => Err(BuildError::BuildpackNotRun {
                buildpack: self.element.to_string(),
                source,
            }),
        }
    }
}

/// Extensions as the image tells of them.
fn as_in_metadata(elements: &[GroupElement]) -> Vec<GroupElement> {
    let elements = elements.iter().map(|it| GroupElement {
        extension: false,
        optional: false,
        ..it.clone()
    });
    elements.collect()
}

/// What buildpacks said before there were SBOM files; `null` when they said nothing.
fn write_bom(dir: &Path, bom: &[BomEntry]) -> Result<(), BuildError> {
    let path = dir.join("sbom.legacy.json");
    let mut text = labels::bom(bom).map_err(|source| BuildError::Bom {
        path: path.clone(),
        source,
    })?;
    text.push('\n');
    files::write_bytes(&path, text.as_bytes()).map_err(|source| BuildError::Write { source })
}

fn io_error<'a>(operation: &'static str, path: &'a Path) -> impl Fn(io::Error) -> BuildError + 'a {
    move |error| BuildError::Io(PathError::new(operation, path, &error))
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A module speaks an API that we do not.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// What a buildpack said of what is in the image has no form in JSON.
    #[error("failed to build: encode {}", path.display())]
    Bom {
        /// Where it was to be written.
        path: PathBuf,
        /// Why not.
        source: LabelError,
    },
    /// The SBOMs of an earlier build cannot be removed.
    #[error("failed to build: cleaning layers SBOM directory: {0}")]
    Clean(PathError),
    /// An entry of the old bill of materials has its version in the wrong place.
    #[error(
        "failed to build: bom entry '{name}' has a top level version which is not allowed. The buildpack should \
         instead set metadata.version"
    )]
    BomVersion {
        /// The entry.
        name: String,
    },
    /// A buildpack's `bin/build` said no.
    #[error("failed to build: {exit}")]
    BuildpackFailed {
        /// Which.
        buildpack: String,
        /// How it ended.
        exit: Exit,
    },
    /// A buildpack's `bin/build` did not run, or not to its end.
    #[error("failed to build")]
    BuildpackNotRun {
        /// Which.
        buildpack: String,
        /// Why not.
        source: RunError,
    },
    /// The command of a process is missing, or of another type than its Buildpack API wants.
    #[error("failed to build: {cause}")]
    Command {
        /// Where and why.
        cause: String,
    },
    /// A process says `direct` at a Buildpack API that does not have it.
    #[error("failed to build: process.direct is not supported on this buildpack version")]
    DirectNotSupported {
        /// Whose process.
        buildpack: String,
    },
    /// Variables that a platform or a layer gives cannot be read.
    #[error("failed to build")]
    Env {
        /// Why not.
        source: EnvError,
    },
    /// The file system failed.
    #[error("failed to build: {0}")]
    Io(PathError),
    /// A `<layer>.toml` is no good.
    #[error("failed to build: failed to process buildpack layer")]
    Layer {
        /// Why not.
        source: LayerTomlError,
    },
    /// The folder of a buildpack's layers cannot be read.
    #[error("failed to build: failed to process buildpack layer: open {}", path.display())]
    LayersDir {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: OsError,
    },
    /// One buildpack names more than one default process.
    #[error("failed to build: multiple default process types aren't allowed")]
    MultipleDefaults {
        /// Which.
        buildpack: String,
    },
    /// A file of a buildpack cannot be read.
    #[error("failed to build")]
    Read {
        /// Why not.
        source: FileError,
    },
    /// A layer that is for nothing cannot be set aside.
    #[error("failed to build: failed to process buildpack layer: failed to rename layer directory: rename {} {}", from.display(), to.display())]
    SetAside {
        /// Its folder.
        from: PathBuf,
        /// What it was to be called.
        to: PathBuf,
        /// Why not.
        source: OsError,
    },
    /// An SBOM file is of a format that nobody knows.
    #[error("failed to build: unsupported SBOM file format: '{}'", path.display())]
    SbomFormat {
        /// Which.
        path: PathBuf,
    },
    /// A buildpack declares an SBOM format that is not a media type.
    #[error(
        "failed to build: validating SBOM file '{}' for buildpack: '{buildpack}': parsing declared media type: {problem}",
        path.display()
    )]
    SbomDeclaration {
        /// For which file it was looked at.
        path: PathBuf,
        /// Whose.
        buildpack: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An SBOM file is of a format that its buildpack does not declare.
    #[error("failed to build: validating SBOM file '{}' for buildpack: '{buildpack}': undeclared SBOM media type: '{media_type}'", path.display())]
    SbomUndeclared {
        /// Which.
        path: PathBuf,
        /// Whose.
        buildpack: String,
        /// The format.
        media_type: &'static str,
    },
    /// An entry of `build.toml` that names nothing.
    #[error("failed to build: unmet.name is required")]
    UnmetWithoutName {
        /// Whose.
        buildpack: String,
    },
    /// An entry of `build.toml` that names what the buildpack was not asked for.
    #[error("failed to build: unmet.name '{name}' must match a requested dependency")]
    UnmetUnknown {
        /// Whose.
        buildpack: String,
        /// What it names.
        name: String,
    },
    /// What came of it cannot be written. Upstream counts this as no failure of the build.
    #[error("failed to write build metadata file")]
    Metadata {
        /// Why not.
        source: FileError,
    },
    /// A file cannot be written.
    #[error("failed to build")]
    Write {
        /// Why not.
        source: FileError,
    },
}

impl BuildError {
    /// The exit code that tells this to a platform.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Metadata { .. } => 1,
            Self::Api(_) => 12,
            Self::BuildpackFailed { .. } | Self::BuildpackNotRun { .. } => 51,
            _ => 52,
        }
    }
}

#[cfg(test)]
mod tests;
