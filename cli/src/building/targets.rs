//! What an image is built for: platforms, and for each what builds for it.

use std::ffi::OsStr;
use std::path::PathBuf;

use lifecycle_core::exec::Cancel;
use oci::Platform;
use platform::builder::Builder;
use platform::project::Project;
use platform::run::Launcher;
use platform::sandbox::{self, Interpreter};
use tempfile::TempDir;

use super::args::Build;
use super::builders::{self, BuilderName, Inputs, Resolved};
use super::launcher;
use super::modules::Finder;
use super::programs::{HOW, OwnPrograms};
use super::settings::Settings;
use crate::environment::Environment;
use crate::error::{CommandError, Message};
use crate::images::Lookup;
use crate::ui::Ui;

/// What builds, for each platform: builder images are for one, a `builder.toml` is for all.
#[derive(Debug)]
pub(super) struct Builders {
    first: Builder,
    others: Vec<(Platform, Builder)>,
    /// The images that were named so far.
    pub(super) resolved: Resolved,
    /// Buildpacks that are scripts; gone with this.
    _scripts: Vec<Option<TempDir>>,
}

impl Builders {
    /// Reads the builder for each of the platforms, and adds what is to be added.
    pub(super) async fn resolve(
        (named, platforms): (&BuilderName, &[Platform]),
        (args, project): (&Build, Option<&Project>),
        (images, inputs, environment, ui): (&Lookup<'_>, Inputs<'_>, &Environment, &Ui),
    ) -> Result<Self, CommandError> {
        let host = Platform::host();
        let (first, others) = match (named, platforms.split_first()) {
            (BuilderName::Image(_), Some(split)) => split,
            _ => (&host, [].as_slice()),
        };
        let known = Resolved::default();
        let resolved = &known;
        let one = |platform| {
            let finder = Finder {
                images,
                environment,
                inputs,
                resolved,
                platform,
                ui,
            };
            async move {
                let builder = match named {
                    BuilderName::File(path) => finder.builder(path).await?,
                    BuilderName::Image(reference) => {
                        builders::read(reference, platform, resolved, (inputs, images, ui)).await?
                    }
                };
                finder.complete(builder, args, project).await
            }
        };
        let complete = one(first).await?;
        let (first, mut scripts) = (complete.builder, vec![complete.scripts]);
        let mut rest = Vec::new();
        for platform in others {
            let complete = one(platform).await?;
            rest.push((platform.clone(), complete.builder));
            scripts.push(complete.scripts);
        }
        Ok(Self {
            first,
            others: rest,
            resolved: known,
            _scripts: scripts,
        })
    }

    /// The one that builds for `platform`.
    pub(super) fn of(&self, platform: &Platform) -> &Builder {
        let mut others = self.others.iter();
        let other = others.find(|(it, _)| it == platform);
        other.map_or(&self.first, |(_, builder)| builder)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Builder> {
        let others = self.others.iter().map(|(_, builder)| builder);
        std::iter::once(&self.first).chain(others)
    }

    /// The one for the first platform.
    pub(super) fn first(&self) -> &Builder {
        &self.first
    }
}

/// What an image is built for, and what that needs.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) platform: Platform,
    /// The launcher for it, which the app gets unless its builder has one.
    pub(crate) launcher: Launcher,
    /// What runs its builder's programs, if that has to be registered first.
    pub(super) interpreter: Option<Interpreter>,
    /// Where its layers are kept; none, if nothing of an earlier build is to be used.
    pub(super) cache: Option<PathBuf>,
}

impl Settings {
    /// What it is built for, each with what that needs.
    pub(crate) fn targets(&self) -> Result<Vec<Target>, CommandError> {
        let target = |platform: &Platform| {
            let is_own = *platform == Platform::host();
            let own = |cache: &PathBuf| {
                let folder = cache.join("platforms");
                let name = platform.to_string().replace('/', "-");
                if is_own {
                    cache.clone()
                } else {
                    folder.join(name)
                }
            };
            Ok(Target {
                platform: platform.clone(),
                launcher: if self.builders.of(platform).image().is_some() {
                    self.programs.launcher.clone()
                } else {
                    launcher_for(platform, &self.programs)?
                },
                interpreter: {
                    let mut all = self.interpreters.iter();
                    let found = all.find(|(it, _)| it == platform);
                    found.map(|(_, interpreter)| interpreter.clone())
                },
                cache: self.cache.as_ref().map(own),
            })
        };
        self.platforms.iter().map(target).collect()
    }
}

/// Whether this machine can build for all of the platforms; said before anything is done. Returns what has
/// to be registered to run programs for some of them.
pub(super) fn check(
    named: &BuilderName,
    platforms: &[Platform],
    programs: &OwnPrograms,
    environment: &Environment,
) -> Result<Vec<(Platform, Interpreter)>, CommandError> {
    let host = Platform::host();
    let mut interpreters = Vec::new();
    for platform in platforms {
        match named {
            BuilderName::File(_) => {
                launcher_for(platform, programs)?;
            }
            BuilderName::Image(_) if platform.architecture == host.architecture => {}
            BuilderName::Image(_) if sandbox::runs_programs_for(platform) => {}
            BuilderName::Image(_)
                if sandbox::runs_older_programs_for(platform, &environment.temporary()) => {}
            BuilderName::Image(_) => {
                let found = interpreter(platform, programs, environment);
                let found = found.map_err(|lack| {
                    CommandError::undecided(Message(format!(
                        "the builder image `{named}` cannot build for {platform} here: its programs \
                         run on this machine, which is {host}, and {}",
                        lack.problem
                    )))
                    .hint(lack.hint)
                    .hint("build on a machine of that kind, and join the images: `sealpack manifest`")
                })?;
                interpreters.push((platform.clone(), found));
            }
        }
    }
    Ok(interpreters)
}

/// Why programs for another platform cannot be run, and what to do.
struct Lack {
    problem: String,
    hint: &'static str,
}

/// The interpreter for programs of `platform` that a sandbox may register for itself.
fn interpreter(
    platform: &Platform,
    programs: &OwnPrograms,
    environment: &Environment,
) -> Result<Interpreter, Lack> {
    let path = environment.variables.get(OsStr::new("PATH"));
    let folders = path.into_iter().flat_map(std::env::split_paths);
    let found = Interpreter::find(platform, folders).ok_or_else(|| Lack {
        problem: "has no interpreter for them".to_owned(),
        hint: "install `qemu-user-static`: since Linux 6.7 a build registers it for itself",
    })?;
    let tried = found.may_be_registered(&programs.running.enter, &Cancel::default());
    let refusal = match tried {
        Ok(Ok(())) => return Ok(found),
        Ok(Err(refusal)) => refusal,
        Err(error) => CommandError::undecided(error).line(),
    };
    Err(Lack {
        problem: format!(
            "a build may not use `{}` for them: {refusal}",
            found.file().display()
        ),
        hint: "have root register one that stays open (`qemu-user-static` with `binfmt-support`, flag \
               `F`): each build may do so for itself since Linux 6.7, with user namespaces",
    })
}

/// The launcher for `platform`, which has to be there: ours, or one in a folder of its own.
fn launcher_for(platform: &Platform, programs: &OwnPrograms) -> Result<Launcher, CommandError> {
    if *platform == Platform::host() {
        return match programs.missing() {
            None => Ok(programs.launcher.clone()),
            Some(folder) => Err(CommandError::undecided(Message(format!(
                "`{}` is not there: nothing could start the app",
                folder.join("launcher").display()
            )))
            .hint(HOW)),
        };
    }
    let name = platform.to_string().replace('/', "-");
    let folder = programs.others.join(&name);
    let launcher = folder.join("launcher");
    let problem = if !launcher.is_file() {
        format!("is not there: nothing could start an app for {platform}")
    } else if launcher::machine(&launcher)?.as_deref() != Some(platform.architecture.as_str()) {
        format!("is not a program for {platform}")
    } else {
        return Ok(Launcher::In(folder));
    };
    Err(
        CommandError::undecided(Message(format!("`{}` {problem}", launcher.display()))).hint(
            format!("put one there, or name the folder above `{name}` with `--lifecycle DIR`"),
        ),
    )
}

/// What is built for: each once.
pub(super) fn platforms(given: &[Platform]) -> Result<Vec<Platform>, CommandError> {
    let mut all: Vec<Platform> = Vec::new();
    for platform in given {
        if platform.os != "linux" {
            return Err(Message(format!(
                "an image for {platform} cannot be built: buildpacks run on Linux"
            ))
            .into());
        }
        if all.contains(platform) {
            return Err(Message(format!("`--platform` names {platform} twice")).into());
        }
        all.push(platform.clone());
    }
    if all.is_empty() {
        all.push(Platform::host());
    }
    Ok(all)
}
