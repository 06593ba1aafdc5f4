//! Runs `bin/detect` of each member of a group, at the same time.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use go::words::PathError;
use serde::Deserialize;
use tracing::{error, info};

use super::DetectError;
use crate::api::BuildpackApi;
use crate::buildpack::descriptor::Target;
use crate::buildpack::{
    Action, BuildpackDescriptor, Folder, Kind, ModuleContext, tell_target, user_env,
};
use crate::env::Env;
use crate::exec::{Capped, Command, Exit, RunError};
use crate::files::analyzed::TargetMetadata;
use crate::files::group::GroupElement;
use crate::files::plan::Require;
use crate::files::{read, read_required};

/// How one `bin/detect` ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ran {
    pub(super) output: Vec<u8>,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// It passed: these are the alternatives in its plan.
    Pass(Vec<Sections>),
    /// It does not want to take part.
    Fail,
    /// It ended with another code, or another way.
    Exit(Option<i32>),
    /// It could not run, or its plan is no good.
    Err(String),
}

/// What a module provides and requires.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sections {
    pub(super) provides: Vec<String>,
    pub(super) requires: Vec<Require>,
}

impl Ran {
    /// It was not run, as it does not fit the run image.
    pub(super) fn mismatch(base: &TargetMetadata, targets: &[Target]) -> Self {
        let base = go::json::to_string(base).unwrap_or_default();
        let targets = go::json::to_string(targets).unwrap_or_default();
        Self::err(format!(
            "unable to satisfy target os/arch constraints; run image: {base}, buildpack: {targets}"
        ))
    }

    /// The thread that ran it is gone.
    pub(super) fn lost() -> Self {
        Self::err("the program's end was not seen".to_owned())
    }

    fn err(text: String) -> Self {
        Self {
            output: Vec::new(),
            outcome: Outcome::Err(text),
        }
    }
}

/// Runs `bin/detect` of this module. An extension may do without, and have its plan ready.
pub(super) fn run_detect(
    context: &ModuleContext<'_>,
    base: &Env,
    target: &TargetMetadata,
    element: &GroupElement,
    descriptor: &BuildpackDescriptor,
) -> Result<Ran, DetectError> {
    let _span = Action::Detect.span(element).entered();
    let ran = ran(context, base, target, element, descriptor)?;
    match &ran.outcome {
        Outcome::Pass(_) => info!("detect-pass"),
        Outcome::Fail => info!("detect-fail"),
        Outcome::Exit(Some(code)) => error!("exit-code" = *code, "detect-error"),
        Outcome::Exit(None) | Outcome::Err(_) => error!("detect-error"),
    }
    Ok(ran)
}

fn ran(
    context: &ModuleContext<'_>,
    base: &Env,
    target: &TargetMetadata,
    element: &GroupElement,
    descriptor: &BuildpackDescriptor,
) -> Result<Ran, DetectError> {
    // An extension without a program has it, too.
    let dir = match Folder::make(&context.temp_dir, "plan.") {
        Ok(dir) => dir,
        Err(error) => return Ok(Ran::err(error.to_string())),
    };
    if descriptor.kind == Kind::Extension {
        let program = descriptor.root.join("bin").join("detect");
        // What is there and cannot be looked at is run, which tells why.
        let found = fs::metadata(program);
        if found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            let plan = descriptor.root.join("detect").join("plan.toml");
            return Ok(match read_plan(&plan, descriptor) {
                Ok(outcome) => Ran {
                    output: Vec::new(),
                    outcome,
                },
                Err(text) => Ran::err(text),
            });
        }
    }
    let output = Capped::default();
    let plan = dir.path().join("plan.toml");
    let outcome = match start(context, base, target, element, descriptor, &plan, &output) {
        Ok(outcome) => outcome,
        Err(Stop::Cancelled) => return Err(DetectError::Cancelled),
        Err(Stop::Because(text)) => Outcome::Err(text),
    };
    Ok(Ran {
        output: output.into_bytes(),
        outcome,
    })
}

enum Stop {
    Cancelled,
    Because(String),
}

impl Stop {
    /// The whole chain of causes: it is printed, and no error is handed on.
    fn because(error: &dyn std::error::Error) -> Self {
        Self::Because(go::words::chain(error))
    }
}

fn start(
    context: &ModuleContext<'_>,
    base: &Env,
    target: &TargetMetadata,
    element: &GroupElement,
    descriptor: &BuildpackDescriptor,
    plan: &Path,
    output: &Capped,
) -> Result<Outcome, Stop> {
    let api = descriptor
        .api(element)
        .map_err(|error| Stop::because(&error))?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(plan);
    file.map_err(|error| Stop::because(&PathError::new("open", plan, &error)))?;

    let mut env = user_env(context, base, descriptor.info.clear_env)
        .map_err(|error| Stop::because(&error))?;
    tell_paths(&mut env, api, context, descriptor, plan);
    tell_target(&mut env, api, target, &context.exec_env);
    context.tell_telemetry(&mut env, element, Action::Detect);
    let command = Command {
        program: descriptor.root.join("bin").join("detect"),
        args: vec![context.platform_dir.clone().into(), plan.into()],
        env: env.into_vars(),
        dir: context.app_dir.clone(),
    };
    match context.run.run(&command, output) {
        // A program that took its plan away did not pass.
        Ok(Exit::Code(0)) => read_required(plan)
            .map_err(|error| Stop::because(&error))
            .and_then(|plan| judged(plan, descriptor).map_err(Stop::Because)),
        Ok(Exit::Code(100)) => Ok(Outcome::Fail),
        Ok(Exit::Code(code)) => Ok(Outcome::Exit(Some(code))),
        Ok(Exit::Signal(_)) => Ok(Outcome::Exit(None)),
        Err(RunError::Cancelled) => Err(Stop::Cancelled),
        Err(error) => Err(Stop::because(&error)),
    }
}

fn tell_paths(
    env: &mut Env,
    api: BuildpackApi,
    context: &ModuleContext<'_>,
    descriptor: &BuildpackDescriptor,
    plan: &Path,
) {
    let dir = match descriptor.kind {
        Kind::Buildpack => "CNB_BUILDPACK_DIR",
        Kind::Extension => "CNB_EXTENSION_DIR",
    };
    env.set(dir, &descriptor.root);
    if api.has_path_variables() {
        env.set("CNB_PLATFORM_DIR", &context.platform_dir);
        env.set("CNB_BUILD_PLAN_PATH", plan);
    }
}

/// The plan that a module wrote.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#build-plan-toml>
#[derive(Default, Deserialize)]
#[serde(default)]
struct PlanFile {
    provides: Vec<ProvideFile>,
    requires: Vec<RequireFile>,
    or: Vec<SectionsFile>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SectionsFile {
    provides: Vec<ProvideFile>,
    requires: Vec<RequireFile>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ProvideFile {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RequireFile {
    name: String,
    version: String,
    #[serde(deserialize_with = "crate::files::table")]
    metadata: Option<toml::Table>,
}

fn read_plan(path: &Path, descriptor: &BuildpackDescriptor) -> Result<Outcome, String> {
    let plan: Option<PlanFile> = read(path).map_err(|error| go::words::chain(&error))?;
    judged(plan.unwrap_or_default(), descriptor)
}

fn judged(plan: PlanFile, descriptor: &BuildpackDescriptor) -> Result<Outcome, String> {
    let top = SectionsFile {
        provides: plan.provides,
        requires: plan.requires,
    };
    let alternatives: Vec<_> = std::iter::once(top).chain(plan.or).collect();
    let mut requires = alternatives.iter().flat_map(|it| &it.requires);
    let id = &descriptor.info.id;
    match descriptor.kind {
        Kind::Extension if requires.next().is_some() => {
            return Err(format!(
                "extension {id} outputs \"requires\" which is not allowed"
            ));
        }
        Kind::Buildpack if requires.any(|it| !it.version.is_empty()) => {
            return Err(format!(
                "buildpack {id} has a \"version\" key which is not supported. \
                 \"metadata.version\" should be used instead"
            ));
        }
        _ => {}
    }
    let sections = alternatives.into_iter().map(|it| Sections {
        provides: it.provides.into_iter().map(|it| it.name).collect(),
        requires: it
            .requires
            .into_iter()
            .map(|it| Require {
                name: it.name,
                version: String::new(),
                metadata: it.metadata,
            })
            .collect(),
    });
    Ok(Outcome::Pass(sections.collect()))
}
