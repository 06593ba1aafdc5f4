//! What an extension leaves: Dockerfiles, contexts and arguments.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use go::bounded::read_at_most;
use go::words::{PathError, quoted};

use super::{GenerateError, io_error};
use crate::dockerfile::{self, Dockerfile};
use crate::files::extend_config::{self, ExtendConfig};
use crate::files::group::GroupElement;
use crate::files::read;
use crate::{Level, Log};

/// The most bytes of a Dockerfile that are read.
const MAX_DOCKERFILE: u64 = dockerfile::MAX_BYTES as u64;

/// Who made Dockerfiles, and where they lie.
pub(super) struct Generator<'a> {
    pub(super) element: &'a GroupElement,
    pub(super) dir: PathBuf,
    /// Whether the files belong to the builder.
    pub(super) is_prepared: bool,
}

/// A Dockerfile that an extension made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// Whose it is.
    pub(super) extension: String,
    pub(super) image: Image,
    pub(super) path: PathBuf,
    /// Who made it.
    pub(super) escaped_id: String,
    pub(super) is_prepared: bool,
    /// What it is based on, if not on what was there before.
    pub(super) new_base: Option<String>,
    /// Whether it adds to its base.
    pub(super) extends: bool,
    /// Whether a later one makes it needless.
    pub(super) is_superseded: bool,
}

/// What a Dockerfile is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Image {
    Build,
    Run,
}

impl Image {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Run => "run",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Build => "build.Dockerfile",
            Self::Run => "run.Dockerfile",
        }
    }
}

/// What a Dockerfile should do without; others get a warning.
const RECOMMENDED: &[&str] = &[
    "ADD", "ARG", "COPY", "ENV", "FROM", "LABEL", "RUN", "SHELL", "USER", "WORKDIR",
];

/// The name of the image before, in a Dockerfile.
const BASE_IMAGE: &str = "base_image";
const FROM_BASE_IMAGE: &str = "${base_image}";

/// The Dockerfiles that an extension made, checked.
pub(super) fn read_outputs(
    generator: &Generator<'_>,
    log: &dyn Log,
) -> Result<Vec<Made>, GenerateError> {
    check_config(generator)?;
    let mut made = Vec::new();
    for image in [Image::Run, Image::Build] {
        let found = read_dockerfile(generator, image, log)?;
        if found.is_some() {
            let text = format!("Found {} for processing", image.file());
            log.line(Level::Debug, &text);
        }
        made.extend(found);
    }
    let count = check_contexts(generator, log)?;
    let text = format!("Found '{count}' Build Contexts for processing");
    log.line(Level::Debug, &text);
    Ok(made)
}

fn check_config(generator: &Generator<'_>) -> Result<(), GenerateError> {
    let config: Option<ExtendConfig> = read(&generator.dir.join(extend_config::NAME))
        .map_err(|source| GenerateError::Config { source })?;
    match config.unwrap_or_default().reserved() {
        Some(name) => Err(GenerateError::ArgumentNotAllowed {
            extension: generator.element.to_string(),
            name: name.to_owned(),
        }),
        None => Ok(()),
    }
}

/// How many folders there are that Dockerfiles are built with.
fn check_contexts(generator: &Generator<'_>, log: &dyn Log) -> Result<usize, GenerateError> {
    let mut count = 0;
    let mut is_shared = false;
    for name in ["context", "context.build", "context.run"] {
        let folder = generator.dir.join(name);
        if !stat(&folder)?.is_some_and(|it| it.is_dir()) {
            continue;
        }
        if is_shared {
            return Err(GenerateError::Contexts {
                extension: generator.element.to_string(),
            });
        }
        is_shared = name == "context";
        let which = if is_shared {
            "shared extension"
        } else {
            "extension"
        };
        let folder = quoted(folder.as_os_str().as_bytes());
        let text = format!("found {which} context {folder}");
        log.line(Level::Debug, &text);
        count += 1;
    }
    Ok(count)
}

/// What the file system says of `path`, if there is something.
pub(super) fn stat(path: &Path) -> Result<Option<Metadata>, GenerateError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("stat", path)(error)),
    }
}

fn read_dockerfile(
    generator: &Generator<'_>,
    image: Image,
    log: &dyn Log,
) -> Result<Option<Made>, GenerateError> {
    let file = image.file();
    let path = generator.dir.join(file);
    if stat(&path)?.is_none() {
        return Ok(None);
    }
    let id = &generator.element.id;
    let text = text_of(&path).map_err(|source| GenerateError::DockerfileNotRead {
        file,
        extension: id.clone(),
        source,
    })?;
    let dockerfile = Dockerfile::parse(&text).map_err(|source| GenerateError::Dockerfile {
        file,
        extension: id.clone(),
        source,
    })?;
    let not_permitted = |problem| {
        Err(GenerateError::DockerfileNotPermitted {
            file,
            extension: id.clone(),
            problem,
        })
    };
    let no_stage = "should have at least one stage";
    let stage = match dockerfile.stages.as_slice() {
        [] if image == Image::Run => return not_permitted(no_stage),
        [] => None,
        [stage] => Some(stage),
        _ => return not_permitted("is not permitted to use multistage build"),
    };
    for it in stage.into_iter().flat_map(|it| &it.steps) {
        let (name, line) = (it.instruction.name(), it.line);
        if !RECOMMENDED.contains(&name) {
            let text = format!("{file} command {name} on line {line} is not recommended");
            log.line(Level::Warn, &text);
        }
    }
    if image == Image::Build {
        match dockerfile.args.as_slice() {
            [args] if args.first().is_some_and(|(name, _)| name == BASE_IMAGE) => {}
            _ => return not_permitted("did not start with required ARG command"),
        }
        if stage.is_some_and(|it| it.base != FROM_BASE_IMAGE) {
            return not_permitted("did not contain required FROM ${base_image} command");
        }
    }
    let Some(stage) = stage else {
        return not_permitted(no_stage);
    };
    let base = &stage.base;
    Ok(Some(Made {
        extension: id.clone(),
        image,
        path,
        escaped_id: generator.element.escaped_id(),
        is_prepared: generator.is_prepared,
        new_base: (base != FROM_BASE_IMAGE).then(|| base.clone()),
        extends: !stage.steps.is_empty(),
        is_superseded: false,
    }))
}

/// The text of a Dockerfile. What is no UTF-8 may stand in a command, so it is no error.
fn text_of(path: &Path) -> Result<String, PathError> {
    let file = File::open(path).map_err(|error| PathError::new("open", path, &error))?;
    let bytes = read_at_most(file, MAX_DOCKERFILE)
        .and_then(|it| it.ok_or_else(|| io::ErrorKind::FileTooLarge.into()))
        .map_err(|error| PathError::new("read", path, &error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
