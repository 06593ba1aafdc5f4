//! The extender: applies the Dockerfiles of extensions to the build image, or to the run image.
//!
//! Where instructions are carried out is a [`Root`]: [`InPlace`] is the root of this process, as
//! upstream's extender has it in a container that was started from the image. An instruction that
//! changes files makes a layer; one that does not makes none.
//!
//! | module | is about |
//! |---|---|
//! | `generated` | what extensions left |
//! | `stage` | the instructions of one Dockerfile, `variables` its arguments, `users` who runs them |
//! | `copy` | `COPY` and `ADD` |
//! | `walk`, `upper` | what was changed: by looking at all files, or at the upper folder of an overlay |
//! | `layer` | from what was changed to a layer |
//! | `cache` | layers of commands that were run before |
//! | `hand_over` | the folders between restorer, extender and exporter |
//!
//! <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#extender-optional>

mod cache;
mod copy;
mod generated;
pub mod hand_over;
mod in_place;
mod layer;
mod paths;
mod root;
mod stage;
#[cfg(test)]
mod tests;
mod upper;
mod users;
mod variables;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

use oci::layer::{Layer, LayerError};
use oci::{History, Image, ImageError, Platform, spans};
use thiserror::Error;
use tracing::info_span;

pub use self::cache::{CacheError, LayerCache};
pub use self::copy::CopyError;
use self::generated::Generated;
pub use self::in_place::InPlace;
pub use self::layer::{FillError, Times};
pub use self::root::{Changes, Command, Found, Look, Root};
use self::stage::{Scope, Stage};
pub use self::users::{Identity, UserError};
use self::variables::Arguments;
use crate::api::PlatformApi;
use crate::dockerfile::DockerfileError;
use crate::dockerfile::ignore::IgnoreError;
use crate::dockerfile::words::WordError;
use crate::exec::{Exit, RunError};
use crate::files::FileError;
use crate::files::group::Group;
use crate::labels::REBASABLE;
use crate::{Level, Log};

/// When an extended image is said to be made.
const CREATED: &str = "0001-01-01T00:00:00Z";

/// Which image is extended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the specification knows two")]
pub enum ExtendKind {
    /// That in which buildpacks run.
    Build,
    /// That in which the app runs.
    Run,
}

impl ExtendKind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Run => "run",
        }
    }
}

/// What the extender needs.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "who extends has to say all of it"
)]
pub struct ExtendContext<'a> {
    /// What the platform speaks.
    pub api: PlatformApi,
    /// Which image it is.
    pub kind: ExtendKind,
    /// How it is named.
    pub reference: &'a str,
    /// The image, of which manifest and config count.
    pub base: &'a Image,
    /// The extensions, in their order.
    pub group: &'a Group,
    /// What they left.
    pub generated_dir: &'a Path,
    /// The context of Dockerfiles that have none of their own.
    pub app_dir: &'a Path,
    /// What no other build has: the argument `build_id`, another one for each Dockerfile.
    pub build_ids: &'a [String],
    /// Layers of commands that were run before.
    pub cache: &'a LayerCache,
    /// Which times files have in layers.
    pub times: Times,
    /// Where layers are made.
    pub temporary_dir: &'a Path,
}

/// An image that was extended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Extended {
    /// Manifest and config.
    pub image: Image,
    /// The layers that were added, lowest first.
    pub layers: Vec<Layer>,
}

/// Applies the Dockerfiles of all extensions. If buildpacks are to run in it, `root` is brought to
/// where the image is.
pub fn extend(
    context: &ExtendContext<'_>,
    root: &mut dyn Root,
    log: &dyn Log,
) -> Result<Extended, ExtendError> {
    let kind = context.kind.name();
    let text = format!("Extending base image for {kind}: {}", context.reference);
    log.line(Level::Debug, &text);
    context.cache.prune();
    let mut found = Vec::new();
    for extension in &context.group.group_extensions {
        if let Some(it) = generated::read(context, extension)? {
            let text = format!("Found {kind} Dockerfile for extension '{}'", it.id);
            log.line(Level::Debug, &text);
            found.push(it);
        }
    }
    let digest = &context.base.descriptor().digest;
    log.line(
        Level::Debug,
        &format!("Original image has digest: {digest}"),
    );

    let mut config = context.base.config().clone();
    config.history = normal_history(&config.history, config.rootfs.diff_ids.len());
    let original_user = user(&config.config.user).0.to_owned();
    let mut stage = Stage {
        root,
        cache: context.cache,
        temporary: context.temporary_dir,
        times: context.times,
        log,
        config,
        layers: Vec::new(),
        applied: 0,
        is_remembered: false,
    };
    let mut is_rebasable = true;
    for (index, it) in found.into_iter().enumerate() {
        let before = user(&stage.config.config.user).0.to_owned();
        let made = stage.layers.len();
        let (id, path) = (it.id.clone(), it.path.clone());
        let build_id = context.build_ids.get(index).cloned().unwrap_or_default();
        let span = info_span!("extension-apply", "extension-id" = id);
        spans::inside(&span, || apply(&mut stage, it, build_id, digest))?;
        let labels = &mut stage.config.config.labels;
        is_rebasable &= labels.get(REBASABLE).is_some_and(|it| parse_bool(it));
        labels.insert(REBASABLE.to_owned(), is_rebasable.to_string());
        for (_layer, by) in stage.layers.iter().skip(made) {
            stage.config.history.push(History {
                created: Some(CREATED.to_owned()),
                created_by: format!("Layer: '{by}', Created by extension: {id}"),
                ..History::default()
            });
        }
        let (now, _group) = user(&stage.config.config.user);
        if is_left_to_root(&stage, now, &before) {
            let text = format!(
                "Extension from {} changed the user ID from {before} to {now}; this must not be the final user ID (a following extension must reset the user).",
                path.display()
            );
            log.line(Level::Warn, &text);
        }
    }
    let (last_user, _group) = user(&stage.config.config.user);
    if is_left_to_root(&stage, last_user, &original_user) && context.kind == ExtendKind::Run {
        return Err(ExtendError::Root);
    }
    if last_user != original_user {
        let text = format!(
            "The original user ID was {original_user} but the final extension left the user ID set to {last_user}."
        );
        log.line(Level::Warn, &text);
    }
    if context.kind == ExtendKind::Build {
        stage.catch_up().map_err(|source| ExtendError::CatchUp {
            source: Box::new(source),
        })?;
    }
    finish(context, stage, log)
}

/// The image of all that was done.
fn finish(
    context: &ExtendContext<'_>,
    stage: Stage<'_>,
    log: &dyn Log,
) -> Result<Extended, ExtendError> {
    let mut config = stage.config;
    config.created = Some(CREATED.to_owned());
    let layers: Vec<Layer> = stage.layers.into_iter().map(|(layer, _by)| layer).collect();
    let diff_ids = layers.iter().map(|it| it.diff_id.clone());
    config.rootfs.diff_ids.extend(diff_ids);
    let below = context.base.layers().map(|(layer, _)| layer.clone());
    let above = layers.iter().map(|it| it.descriptor.clone());
    let image = Image::new(
        context.base.manifest(),
        config,
        below.chain(above).collect(),
    );
    let image = image.map_err(ExtendError::Image)?;
    let digest = &image.descriptor().digest;
    let text = format!("Final extended image has digest: {digest}");
    log.line(Level::Debug, &text);
    Ok(Extended { image, layers })
}

/// Carries out one Dockerfile.
fn apply(
    stage: &mut Stage<'_>,
    generated: Generated,
    build_id: String,
    base: &oci::Digest,
) -> Result<(), ExtendError> {
    let Generated {
        path,
        dockerfile,
        arguments,
        context,
        ..
    } = generated;
    let text = format!(
        "Applying Dockerfile at {} to 'base@{base}'...",
        path.display()
    );
    stage.log.line(Level::Debug, &text);
    let [only] = dockerfile.stages.as_slice() else {
        return Err(ExtendError::Stages { path });
    };
    let (uid, gid) = user(&stage.config.config.user);
    let given = [
        ("build_id", build_id),
        ("user_id", uid.to_owned()),
        ("group_id", gid.to_owned()),
    ];
    let given = given.map(|(name, value)| (name.to_owned(), value));
    let last = ("base_image".to_owned(), format!("base@{base}"));
    let platform: Platform = stage.config.platform();
    let mut scope = Scope {
        arguments: Arguments::new(given.into_iter().chain(arguments).chain([last]), &platform),
        escape: dockerfile.escape,
        context,
    };
    for names in &dockerfile.args {
        let declared = scope.arguments.declare_global(names, dockerfile.escape);
        declared.map_err(|source| ExtendError::Arguments {
            path: path.clone(),
            source,
        })?;
    }
    for step in &only.steps {
        let done = stage.carry_out(step, &mut scope);
        done.map_err(|error| error.at(&path, step))?;
    }
    Ok(())
}

/// One entry for each layer.
fn normal_history(history: &[History], layers: usize) -> Vec<History> {
    let told = history.iter().filter(|it| !it.empty_layer);
    let told: Vec<History> = told.cloned().collect();
    if told.len() == layers {
        return told;
    }
    let unknown = History {
        created: Some(CREATED.to_owned()),
        ..History::default()
    };
    vec![unknown; layers]
}

/// User and group of a config.
fn user(text: &str) -> (&str, &str) {
    let mut parts = text.split(':');
    match (parts.next(), parts.next()) {
        (Some(user), Some(group)) => (user, group),
        _ => (text, ""),
    }
}

/// Whether `now`, the user of the image, is root. By another name, or none, it is root all the same; but
/// an image that had no other user `before` may stay so.
fn is_left_to_root(stage: &Stage<'_>, now: &str, before: &str) -> bool {
    let named = || users::identity(&*stage.root, &stage.config.config.user);
    is_root(now) || now != before && named().is_ok_and(|it| it.uid == 0)
}

fn is_root(user: &str) -> bool {
    user == "root" || user.parse::<i64>() == Ok(0)
}

/// As Go's `strconv.ParseBool`; what it does not take is false.
fn parse_bool(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

/// Why an image could not be extended. The texts are upstream's where it has one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExtendError {
    /// The default of an argument cannot be used.
    #[error("{}: an argument before FROM", path.display())]
    Arguments {
        /// The Dockerfile.
        path: PathBuf,
        /// Why not.
        source: WordError,
    },
    /// Layers could not be unpacked at the end.
    #[error("failed to bring the root file system to the extended image")]
    CatchUp {
        /// Why not.
        source: Box<StepError>,
    },
    /// `extend-config.toml` cannot be used.
    #[error("reading extend config")]
    Config {
        /// Why not.
        source: FileError,
    },
    /// A Dockerfile is malformed.
    #[error("{}", path.display())]
    Dockerfile {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: DockerfileError,
    },
    /// A `.dockerignore` cannot be used.
    #[error("{}", path.display())]
    Ignore {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: IgnoreError,
    },
    /// The image could not be put together.
    #[error("failed to make the image")]
    Image(#[source] ImageError),
    /// A file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The app would run as root.
    #[error(
        "the final user ID is 0 (root); please add another extension that resets the user to non-root"
    )]
    Root,
    /// A Dockerfile has several stages.
    #[error("{} is not permitted to use multistage build", path.display())]
    Stages {
        /// Which.
        path: PathBuf,
    },
    /// An instruction could not be carried out.
    #[error("{} line {line}, `{text}`", file.display())]
    Step {
        /// The Dockerfile.
        file: PathBuf,
        /// Where.
        line: usize,
        /// What.
        text: String,
        /// Why not.
        source: Box<StepError>,
    },
}

/// Why an instruction could not be carried out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StepError {
    /// A layer could not be unpacked.
    #[error("failed to unpack a layer")]
    Apply(#[source] oci::ExtractError),
    /// A layer could not be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Nothing could be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A command failed.
    #[error("the command ended with {exit}")]
    Exit {
        /// How.
        exit: Exit,
    },
    /// A flag that is not supported.
    #[error("{flag} is not supported")]
    FlagNotSupported {
        /// Which.
        flag: &'static str,
    },
    /// Patterns of what is left out.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// A layer could not be made.
    #[error("failed to make a layer")]
    Layer(#[source] LayerError<FillError>),
    /// The root could not be looked at.
    #[error("failed to look at the root file system")]
    Look(#[source] io::Error),
    /// Permissions that are not in octal digits.
    #[error("`{mode}` is not a permission: octal digits are, up to 7777")]
    Mode {
        /// What was given.
        mode: String,
    },
    /// An instruction that has no place in an extension.
    #[error("this instruction is not supported in an extension")]
    NotSupported,
    /// A source that is not in the context.
    #[error("`{source_text}` would have to be downloaded, which is not supported: use RUN")]
    Remote {
        /// Which.
        source_text: String,
    },
    /// A command could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A missing user.
    #[error(transparent)]
    User(#[from] UserError),
    /// Variables that cannot be replaced.
    #[error(transparent)]
    Words(#[from] WordError),
}
