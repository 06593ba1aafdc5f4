//! Lets image extensions say, by Dockerfiles, what build and run image shall be.
//!
//! Since Platform API 0.13 an extension writes to `<generated>/<id>`; before, what it wrote is copied
//! to `<generated>/{build,run}/<id>/Dockerfile`.

mod outputs;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use go::words::PathError;
use oci::spans;

use self::outputs::{Generator, Image, Made, read_outputs};
use crate::buildpack::{
    Action, ApiError, BuildpackDescriptor, Folder, Kind, ModuleContext, base_env, target,
    tell_target, user_env,
};
use crate::dockerfile::DockerfileError;
use crate::env::EnvError;
use crate::exec::{Command, Exit, RunError, ToLog};
use crate::export::run_image::normal;
use crate::files::analyzed::{Analyzed, RunImage, TargetMetadata};
use crate::files::extend_config;
use crate::files::group::GroupElement;
use crate::files::plan::{BuildPlan, BuildpackPlan};
use crate::files::run::{Run, RunImages};
use crate::files::{self, FileError, OsError};
use crate::{Level, Log};

/// What generating needs.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever generates has to say all of it"
)]
pub struct GenerateContext<'a> {
    /// Where modules lie and what they are given.
    pub modules: &'a ModuleContext<'a>,
    /// The extensions that passed detection.
    pub extensions: Vec<GroupElement>,
    /// What was agreed on.
    pub plan: BuildPlan,
    /// What the analyzer found.
    pub analyzed: Analyzed,
    /// The run images that the platform offers.
    pub run_images: Run,
    /// Where Dockerfiles shall lie.
    pub generated_dir: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "what later phases need, and no more"
)]
pub struct Generated {
    /// What the analyzer found, with the run image that extensions chose.
    pub analyzed: Analyzed,
    /// The plan, without what extensions provide.
    pub plan: BuildPlan,
}

/// Runs `bin/generate` of each extension, and decides what the run image is.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/image_extension.md#phase-2-generation>
pub fn generate(context: &GenerateContext<'_>, log: &dyn Log) -> Result<Generated, GenerateError> {
    let modules = context.modules;
    let is_stable = modules.platform_api.has_stable_extensions();
    let temp;
    let output_dir = if is_stable {
        context.generated_dir.as_path()
    } else {
        temp = Folder::make(&modules.temp_dir, "cnb-extensions-generated.")
            .map_err(GenerateError::Path)?;
        temp.path()
    };
    let debug = |text: &str| log.line(Level::Debug, text);
    let target = target::completed(modules.target.clone(), &modules.os_release, log);
    let mut plan = context.plan.clone();
    let mut made = Vec::new();
    for element in &context.extensions {
        let element = GroupElement {
            extension: true,
            ..element.clone()
        };
        debug(&format!("Running generate for extension {element}"));
        debug("Looking up extension");
        let dir = modules.dir_of(Kind::Extension);
        let descriptor = BuildpackDescriptor::read(dir, &element)
            .map_err(|source| GenerateError::Read { source })?;
        debug("Finding plan");
        let own = plan.of(&element.id, true);
        plan.entries.retain(|entry| {
            let mut requires = entry.requires.iter();
            !requires.any(|it| own.entries.iter().any(|own| own.name == it.name))
        });
        debug("Invoking command");
        let span = Action::Generate.span(&element);
        made.extend(spans::inside(&span, || {
            run(
                context,
                &element,
                &descriptor,
                &own,
                &target,
                output_dir,
                log,
            )
        })?);
        debug(&format!(
            "Finished running generate for extension {element}"
        ));
    }
    debug("Checking run image");
    let analyzed = choose_run_image(context, &mut made, log);
    debug("Copying Dockerfiles");
    for it in &made {
        place(context, it, log)?;
    }
    Ok(Generated { analyzed, plan })
}

/// Runs one extension, unless all it has to say is prepared.
fn run(
    context: &GenerateContext<'_>,
    element: &GroupElement,
    descriptor: &BuildpackDescriptor,
    plan: &BuildpackPlan,
    target: &TargetMetadata,
    output_dir: &Path,
    log: &dyn Log,
) -> Result<Vec<Made>, GenerateError> {
    let modules = context.modules;
    let api = descriptor.api(element)?;
    let debug = |text: &str| log.line(Level::Debug, text);
    let escaped = element.escaped_id();
    debug("Creating plan directory");
    let temp =
        Folder::make(&modules.temp_dir, &format!("{escaped}-")).map_err(GenerateError::Path)?;
    debug("Preparing paths");
    let output = output_dir.join(&escaped);
    go::files::create_dir_all(&output).map_err(GenerateError::Path)?;
    let plan_path = temp.path().join(escaped).join("plan.toml");
    files::write(&plan_path, plan).map_err(|source| GenerateError::Write { source })?;
    debug("Running generate command");
    let program = descriptor.root.join("bin").join("generate");
    if outputs::stat(&program)?.is_none() {
        let generator = Generator {
            element,
            dir: descriptor.root.join("generate"),
            is_prepared: true,
        };
        return read_outputs(&generator, log);
    }

    let base = base_env(&modules.env);
    let mut env = user_env(modules, &base, descriptor.info.clear_env)
        .map_err(|source| GenerateError::Env { source })?;
    env.set("CNB_EXTENSION_DIR", &descriptor.root);
    env.set("CNB_BP_PLAN_PATH", &plan_path);
    env.set("CNB_OUTPUT_DIR", &output);
    env.set("CNB_PLATFORM_DIR", &modules.platform_dir);
    // It is not told the execution environment.
    tell_target(&mut env, api, target, "");
    modules.tell_telemetry(&mut env, element, Action::Generate);
    let command = Command {
        program,
        args: [&output, &modules.platform_dir, &plan_path]
            .map(OsString::from)
            .into(),
        env: env.into_vars(),
        dir: modules.app_dir.clone(),
    };
    match modules.run.run(&command, &ToLog(log)) {
        Ok(exit) if exit.is_success() => {}
        Ok(exit) => {
            return Err(GenerateError::ExtensionFailed {
                extension: element.to_string(),
                exit,
            });
        }
        Err(source) => {
            return Err(GenerateError::ExtensionNotRun {
                extension: element.to_string(),
                source,
            });
        }
    }
    let generator = Generator {
        element,
        dir: output,
        is_prepared: false,
    };
    debug("Reading output files");
    read_outputs(&generator, log)
}

/// The last Dockerfile with an image of its own decides; those before it do not count.
fn choose_run_image(context: &GenerateContext<'_>, made: &mut [Made], log: &dyn Log) -> Analyzed {
    let mut new_base = None;
    let mut extend = false;
    for it in made.iter_mut().rev().filter(|it| it.image == Image::Run) {
        if new_base.is_some() {
            it.is_superseded = true;
        } else {
            extend |= it.extends;
            new_base.clone_from(&it.new_base);
            if let Some(base) = &new_base {
                let text = format!(
                    "Found a run.Dockerfile from extension '{}' setting run image to '{base}' ",
                    it.extension
                );
                log.line(Level::Debug, &text);
            }
        }
    }
    let mut analyzed = context.analyzed.clone();
    let old = analyzed.run_image.as_ref().map(|it| it.image.as_str());
    match new_base {
        Some(new) if old != Some(&new) || !context.modules.platform_api.has_targets() => {
            let mut offered = context.run_images.images.iter().flat_map(RunImages::all);
            if !offered.any(|it| normal(it) == normal(&new)) {
                let text = format!("new runtime base image '{new}' not found in run metadata");
                log.line(Level::Warn, &text);
            }
            let text = format!("Updating analyzed metadata with new run image '{new}'");
            log.line(Level::Debug, &text);
            analyzed.run_image = Some(RunImage {
                reference: new.clone(),
                image: new,
                extend,
                target: None,
            });
        }
        _ => {}
    }
    if let Some(run_image) = analyzed.run_image.as_mut().filter(|_| extend) {
        let text = "Updating analyzed metadata to indicate run image extension";
        log.line(Level::Debug, text);
        run_image.extend = true;
    }
    analyzed
}

/// Puts a Dockerfile where the extender looks for it.
fn place(context: &GenerateContext<'_>, made: &Made, log: &dyn Log) -> Result<(), GenerateError> {
    let ignore = |path: PathBuf| {
        if made.is_superseded {
            path.with_added_extension("ignore")
        } else {
            path
        }
    };
    if context.modules.platform_api.has_stable_extensions() {
        // What is prepared belongs to the builder, and stays as it is.
        if made.is_superseded && !made.is_prepared {
            let to = ignore(made.path.clone());
            fs::rename(&made.path, to).map_err(io_error("rename", &made.path))?;
        }
        return Ok(());
    }
    let mut dir = context.generated_dir.join(made.image.name());
    dir.push(&made.escaped_id);
    go::files::create_dir_all(&dir).map_err(GenerateError::Path)?;
    let to = ignore(dir.join("Dockerfile"));
    let text = format!("Copying {} to {}", made.path.display(), to.display());
    log.line(Level::Debug, &text);
    copy(&made.path, &to).map_err(|source| GenerateError::NotCopied {
        what: "Dockerfile",
        path: made.path.clone(),
        source,
    })?;
    let config = made.path.with_file_name(extend_config::NAME);
    match fs::symlink_metadata(&config) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => copy(&config, &dir.join(extend_config::NAME)).map_err(|source| {
            GenerateError::NotCopied {
                what: "extend config",
                path: config.clone(),
                source,
            }
        }),
    }
}

/// Copies a file. A link stays one, as upstream has it: who made it may read what it leads to.
fn copy(from: &Path, to: &Path) -> Result<(), PathError> {
    let kind = fs::symlink_metadata(from).map_err(|error| PathError::new("lstat", from, &error))?;
    if kind.is_symlink() {
        let target =
            fs::read_link(from).map_err(|error| PathError::new("readlink", from, &error))?;
        return symlink(&target, to).map_err(|error| PathError::new("symlink", to, &error));
    }
    if !kind.is_file() {
        return Ok(());
    }
    let copied = fs::copy(from, to).map_err(|error| PathError::new("open", to, &error));
    copied.map(|_length| ())
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> GenerateError + 'a {
    move |source| GenerateError::Io {
        action,
        path: path.to_owned(),
        source: OsError(source),
    }
}

/// Why generating failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// An extension speaks an API that we do not.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// An argument that the lifecycle itself gives.
    #[error(
        "failed to build: validating extend config: invalid content: arg with name \"{name}\" is not allowed"
    )]
    ArgumentNotAllowed {
        /// Whose.
        extension: String,
        /// Its name.
        name: String,
    },
    /// A context for one image beside one for both.
    #[error(
        "failed to build: image-specific context dir is provided together with a shared context"
    )]
    Contexts {
        /// Whose.
        extension: String,
    },
    /// `extend-config.toml` cannot be used.
    #[error("failed to build: reading extend config")]
    Config {
        /// Why not.
        source: FileError,
    },
    /// A Dockerfile is none.
    #[error("failed to build: failed to parse {file} for extension {extension}")]
    Dockerfile {
        /// Which.
        file: &'static str,
        /// Whose, by id.
        extension: String,
        /// Why not.
        source: DockerfileError,
    },
    /// A Dockerfile cannot be read.
    #[error("failed to build: failed to parse {file} for extension {extension}")]
    DockerfileNotRead {
        /// Which.
        file: &'static str,
        /// Whose, by id.
        extension: String,
        /// Why not.
        source: PathError,
    },
    /// A Dockerfile does what extensions must not do.
    #[error("failed to build: failed to parse {file} for extension {extension}: {file} {problem}")]
    DockerfileNotPermitted {
        /// Which.
        file: &'static str,
        /// Whose, by id.
        extension: String,
        /// What it does.
        problem: &'static str,
    },
    /// Variables that a platform gives cannot be read.
    #[error("failed to build: env")]
    Env {
        /// Why not.
        source: EnvError,
    },
    /// An extension's `bin/generate` said no.
    #[error("failed to build: {exit}")]
    ExtensionFailed {
        /// Which.
        extension: String,
        /// How it ended.
        exit: Exit,
    },
    /// An extension's `bin/generate` did not run, or not to its end.
    #[error("failed to build")]
    ExtensionNotRun {
        /// Which.
        extension: String,
        /// Why not.
        source: RunError,
    },
    /// The file system failed.
    #[error("failed to build: {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: OsError,
    },
    /// A file cannot be put where the extender looks for it.
    #[error("failed to build: failed to copy {what} at {}", path.display())]
    NotCopied {
        /// What it is.
        what: &'static str,
        /// Where it lies.
        path: PathBuf,
        /// Why not.
        source: PathError,
    },
    /// A folder cannot be made.
    #[error("failed to build: {0}")]
    Path(PathError),
    /// A file of an extension cannot be read.
    #[error("failed to build")]
    Read {
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

impl GenerateError {
    /// The exit code that tells this to a platform.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Api(_) => 12,
            Self::ExtensionFailed { .. } | Self::ExtensionNotRun { .. } => 91,
            _ => 92,
        }
    }
}

#[cfg(test)]
mod tests;
