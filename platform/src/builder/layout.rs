//! The files of a builder image that say how it builds: read from its layers as a stream, or from the
//! folder that they were unpacked into; and whether they say what the labels say.
//!
//! What a lifecycle reads are the files. So where they are there, they count, and a label that says
//! something else is an error: whoever looked at the label was told something else than what runs.
//!
//! <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#build-image>

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use lifecycle_core::buildpack::Kind;
use lifecycle_core::files::group::GroupElement;
use lifecycle_core::files::order::{Order, OrderGroup};
use lifecycle_core::files::run::{Run, Stack};
use lifecycle_core::files::system::System;
use oci::view::{FileContent, FileInfo, Missed, Pick, ViewError, ViewLimits, view_image};
use oci::{Image, Store};
use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, openat2};
use serde::de::DeserializeOwned;

use super::env::{BuildEnv, EnvSuffix};
use super::labels::{LabelError, LabelProblem, MAX_MODULES, ORDER, SYSTEM, layers_label};
use super::module::root_of;
use super::{Builder, Source};

/// The most bytes that one of the files may have.
const MAX_FILE: u64 = 1 << 20;

const ORDER_TOML: &str = "cnb/order.toml";
const RUN_TOML: &str = "cnb/run.toml";
const STACK_TOML: &str = "cnb/stack.toml";
const SYSTEM_TOML: &str = "cnb/system.toml";
const ENV: &str = "cnb/build-config/env";

/// What the files of a builder image say.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BuilderFiles {
    /// `/cnb/order.toml`.
    pub order: Option<Order>,
    /// `/cnb/run.toml`.
    pub run: Option<Run>,
    /// `/cnb/stack.toml`, which older builders have.
    pub stack: Option<Stack>,
    /// `/cnb/system.toml`.
    pub system: Option<System>,
    /// `/cnb/build-config/env`.
    pub build_env: Vec<BuildEnv>,
    /// The modules that are there: kind, id with `_` for `/`, version.
    modules: BTreeSet<(Kind, String, String)>,
}

impl BuilderFiles {
    /// Reads the files of the builder whose layers were unpacked into `root`. Links are followed as if
    /// `root` were `/`.
    pub fn of_root(root: &Path) -> Result<Self, BuilderFilesError> {
        let root = Root::open(root)?;
        let mut texts = BTreeMap::new();
        for path in [ORDER_TOML, RUN_TOML, STACK_TOML, SYSTEM_TOML] {
            if let Some(text) = root.read(path)? {
                texts.insert(path.to_owned(), text);
            }
        }
        for name in root.list(ENV)? {
            let path = format!("{ENV}/{name}");
            if let Some(text) = root.read(&path)? {
                texts.insert(path, text);
            }
        }
        let mut modules = BTreeSet::new();
        for kind in [Kind::Buildpack, Kind::Extension] {
            let folder = root_of(kind);
            for id in root.list(folder)? {
                for version in root.list(&format!("{folder}/{id}"))? {
                    modules.insert((kind, id.clone(), version));
                    if modules.len() > MAX_MODULES {
                        return Err(BuilderFilesError::TooMany { limit: MAX_MODULES });
                    }
                }
            }
        }
        Self::of(&texts, modules)
    }

    /// Reads the files from the layers of `image`, which lie in `store`. Nothing is unpacked; each
    /// layer is read once, and verified.
    pub async fn of_layers(store: &dyn Store, image: &Image) -> Result<Self, BuilderFilesError> {
        let limits = ViewLimits {
            file: MAX_FILE,
            ..ViewLimits::default()
        };
        let (view, _) = view_image(store, image, Wanted, limits).await?;
        let mut texts = BTreeMap::new();
        let mut modules = BTreeSet::new();
        for file in view.files() {
            if let Some(module) = module_at(file.path) {
                modules.insert(module);
                if modules.len() > MAX_MODULES {
                    return Err(BuilderFilesError::TooMany { limit: MAX_MODULES });
                }
            } else if let Some(text) = &**file.kept {
                texts.insert(file.path.to_owned(), text.clone());
            } else {
                return Err(BuilderFilesError::TooLarge {
                    path: file.path.to_owned(),
                    limit: MAX_FILE,
                });
            }
        }
        Self::of(&texts, modules)
    }

    fn of(
        texts: &BTreeMap<String, Vec<u8>>,
        modules: BTreeSet<(Kind, String, String)>,
    ) -> Result<Self, BuilderFilesError> {
        let mut build_env = Vec::new();
        for (path, value) in texts {
            if let Some(name) = path.strip_prefix(ENV).and_then(|it| it.strip_prefix('/')) {
                add_env(&mut build_env, name, value);
            }
        }
        Ok(Self {
            order: parse(texts, ORDER_TOML)?,
            run: parse(texts, RUN_TOML)?,
            stack: parse(texts, STACK_TOML)?,
            system: parse(texts, SYSTEM_TOML)?,
            build_env,
            modules,
        })
    }
}

impl Builder {
    /// The builder with what the files of its image say, which the labels must not contradict.
    pub fn with_files(mut self, files: &BuilderFiles) -> Result<Self, LabelError> {
        for kind in [Kind::Buildpack, Kind::Extension] {
            for module in self.modules(kind) {
                let place = (kind, module.id.escaped(), module.version.to_string());
                if matches!(module.content, super::Content::Builder)
                    && !files.modules.contains(&place)
                {
                    let difference = format!("`{}` is not there", module.name());
                    return Err(contradiction(root_of(kind), difference).of(layers_label(kind)));
                }
            }
        }
        if let Some(order) = &files.order {
            let label = match &self.source {
                Source::Image(image) => image.order_label.as_ref(),
                Source::File(_) => None,
            };
            for (kind, groups) in [
                (Kind::Buildpack, &order.order),
                (Kind::Extension, &order.order_extensions),
            ] {
                self.check_members(kind, groups)?;
                let told = label.map(|it| match kind {
                    Kind::Buildpack => &it.order,
                    Kind::Extension => &it.order_extensions,
                });
                if let Some(told) = told
                    && let Some(difference) = difference(told, groups)
                {
                    return Err(contradiction(ORDER_TOML, difference).of(ORDER));
                }
            }
            self.order = order.clone();
        }
        if let Some(system) = &files.system {
            let (told, there) = (&self.system.system, &system.system);
            for (told, there) in [
                (&told.pre.buildpacks, &there.pre.buildpacks),
                (&told.post.buildpacks, &there.post.buildpacks),
            ] {
                let one = |group: &Vec<GroupElement>| vec![OrderGroup::new(group.clone())];
                if let Some(difference) = difference(&one(told), &one(there)) {
                    return Err(contradiction(SYSTEM_TOML, difference).of(SYSTEM));
                }
            }
        }
        if let Some(run) = &files.run
            && run.images.iter().any(|it| !it.is_empty())
        {
            self.run = run.clone();
        }
        self.build_env.clone_from(&files.build_env);
        Ok(self)
    }

    /// Whether each member of the groups is there.
    fn check_members(&self, kind: Kind, groups: &[OrderGroup]) -> Result<(), LabelError> {
        for member in groups.iter().flat_map(|it| &it.group) {
            if self.module(kind, member).is_none() {
                let problem = LabelProblem::Contradicts {
                    other: ORDER_TOML.to_owned(),
                    difference: format!("it names `{member}`"),
                };
                return Err(problem.of(layers_label(kind)));
            }
        }
        Ok(())
    }
}

fn contradiction(file: &str, difference: String) -> LabelProblem {
    LabelProblem::Contradicts {
        other: format!("/{file}"),
        difference,
    }
}

/// Where the groups of a label and of a file differ. What a label leaves open, a version, may be any.
fn difference(told: &[OrderGroup], there: &[OrderGroup]) -> Option<String> {
    if told.len() != there.len() {
        return Some(format!("{} groups, not {}", there.len(), told.len()));
    }
    for (at, (told, there)) in told.iter().zip(there).enumerate() {
        let group = at + 1;
        if told.group.len() != there.group.len() {
            let (told, there) = (told.group.len(), there.group.len());
            return Some(format!("group {group} has {there} members, not {told}"));
        }
        for (told, there) in told.group.iter().zip(&there.group) {
            let same = told.id == there.id
                && (told.version.is_empty() || told.version == there.version)
                && told.optional == there.optional;
            if !same {
                return Some(format!("group {group} has `{there}` in place of `{told}`"));
            }
        }
    }
    None
}

/// Adds what the file `name` below `build-config/env` says.
fn add_env(all: &mut Vec<BuildEnv>, name: &str, value: &[u8]) {
    let value = String::from_utf8_lossy(value).into_owned();
    let (variable, suffix) = name.split_once('.').unwrap_or((name, ""));
    if suffix == "delim" {
        for env in all.iter_mut().filter(|it| it.name == variable) {
            env.delim = Some(value.clone());
        }
        return;
    }
    let suffix = match suffix {
        "append" => EnvSuffix::Append,
        "default" => EnvSuffix::Default,
        "override" => EnvSuffix::Override,
        "prepend" => EnvSuffix::Prepend,
        _ => EnvSuffix::None,
    };
    all.push(BuildEnv {
        name: variable.to_owned(),
        value,
        suffix,
        delim: None,
        exec_env: Vec::new(),
    });
}

fn parse<T: DeserializeOwned>(
    texts: &BTreeMap<String, Vec<u8>>,
    path: &str,
) -> Result<Option<T>, BuilderFilesError> {
    let Some(bytes) = texts.get(path) else {
        return Ok(None);
    };
    let malformed = |problem: String| BuilderFilesError::Malformed {
        path: path.to_owned(),
        problem,
    };
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
    let value = toml::from_str(text);
    let value = value.map_err(|error| malformed(error.message().trim().replace('\n', ", ")))?;
    Ok(Some(value))
}

/// The module whose descriptor is at `path`.
fn module_at(path: &str) -> Option<(Kind, String, String)> {
    for (kind, file) in [
        (Kind::Buildpack, "buildpack.toml"),
        (Kind::Extension, "extension.toml"),
    ] {
        let rest = path
            .strip_prefix(root_of(kind))
            .and_then(|it| it.strip_prefix('/'));
        let mut parts = rest.into_iter().flat_map(|it| it.split('/'));
        if let (Some(id), Some(version), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
            && name == file
        {
            return Some((kind, id.to_owned(), version.to_owned()));
        }
    }
    None
}

/// Looks at the files of a builder.
struct Wanted;

impl Pick for Wanted {
    /// What a file says; none, if it is too large.
    type Kept = Option<Vec<u8>>;

    fn wants(&mut self, file: &FileInfo<'_>) -> bool {
        let named = [ORDER_TOML, RUN_TOML, STACK_TOML, SYSTEM_TOML].contains(&file.path);
        let env = || {
            file.path
                .strip_prefix(ENV)
                .and_then(|it| it.strip_prefix('/'))
                .is_some_and(|it| !it.contains('/'))
        };
        named || module_at(file.path).is_some() || env()
    }

    fn keep(&mut self, file: &FileInfo<'_>, content: &mut FileContent<'_>) -> Option<Self::Kept> {
        if module_at(file.path).is_some() {
            return Some(Some(Vec::new()));
        }
        Some(content.all(MAX_FILE).ok().flatten())
    }

    fn miss(&mut self, _: &FileInfo<'_>, _: Missed) -> Option<Self::Kept> {
        Some(None)
    }
}

/// A folder that is read as if it were `/`.
struct Root {
    folder: OwnedFd,
    path: PathBuf,
}

impl Root {
    fn open(path: &Path) -> Result<Self, BuilderFilesError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, path, flags, Mode::empty());
        Ok(Self {
            folder: folder.map_err(|error| BuilderFilesError::Read {
                path: path.to_owned(),
                source: error.into(),
            })?,
            path: path.to_owned(),
        })
    }

    fn open_at(&self, path: &str, flags: OFlags) -> Result<Option<OwnedFd>, BuilderFilesError> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match openat2(self.folder.as_fd(), path, flags, Mode::empty(), resolve) {
            Ok(file) => Ok(Some(file)),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(error) => Err(self.unreadable(path, error.into())),
        }
    }

    fn unreadable(&self, path: &str, source: io::Error) -> BuilderFilesError {
        BuilderFilesError::Read {
            path: self.path.join(path),
            source,
        }
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, BuilderFilesError> {
        let Some(file) = self.open_at(path, OFlags::empty())? else {
            return Ok(None);
        };
        let file = std::fs::File::from(file);
        let mut bytes = Vec::new();
        let read = file.metadata().and_then(|it| {
            if it.is_file() {
                file.take(MAX_FILE + 1).read_to_end(&mut bytes)
            } else {
                Err(io::Error::other("it is no file"))
            }
        });
        read.map_err(|error| self.unreadable(path, error))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(BuilderFilesError::TooLarge {
                path: path.to_owned(),
                limit: MAX_FILE,
            });
        }
        Ok(Some(bytes))
    }

    /// The names in a folder; none, if it is not there.
    fn list(&self, path: &str) -> Result<Vec<String>, BuilderFilesError> {
        let Some(folder) = self.open_at(path, OFlags::DIRECTORY)? else {
            return Ok(Vec::new());
        };
        let failed = |error: rustix::io::Errno| self.unreadable(path, error.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
            if names.len() > MAX_MODULES {
                return Err(BuilderFilesError::TooMany { limit: MAX_MODULES });
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Why the files of a builder image could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuilderFilesError {
    /// A file is not of its form.
    #[error("`/{path}` of the builder is malformed: {problem}")]
    Malformed {
        /// Which.
        path: String,
        /// Why.
        problem: String,
    },
    /// A file could not be read.
    #[error("failed to read `{}` of the builder", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has more bytes than are read.
    #[error("`/{path}` of the builder is larger than {limit} bytes")]
    TooLarge {
        /// Which.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// There is more than is read.
    #[error("the builder has more than {limit} modules or variables")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The layers could not be read.
    #[error("the layers of the builder cannot be read")]
    View(#[from] ViewError),
}

#[cfg(test)]
mod tests;
