//! Builders, as `builder.toml` describes them.

mod cnb;
mod file;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_core::files::group::GroupElement;
use lifecycle_core::files::order::{Order, OrderGroup};
use lifecycle_core::files::run::{Run, RunImages};
use lifecycle_core::files::system::System;
use oci::Digest;
use toml::Spanned;

pub use self::cnb::LayOutError;
pub use self::file::{BuildEnv, EnvSuffix, Lifecycle, Target, TargetDistro};
use self::file::{BuilderFile, BuildpackFile, GroupEntry, ModuleEntry};
use crate::source::{self, SourceError};

/// The most bytes that a `builder.toml` or `buildpack.toml` may have.
const MAX_TOML: u64 = 1 << 20;

/// Which buildpacks there are, in which groups they are tried, and what the app runs on.
///
/// <https://github.com/buildpacks/pack>, `builder.toml`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Builder {
    /// Its file.
    pub path: PathBuf,
    /// Of the file.
    pub digest: Digest,
    /// What it is for, in its own words; may be empty.
    pub description: String,
    /// The buildpacks.
    pub buildpacks: Vec<Module>,
    /// The extensions.
    pub extensions: Vec<Module>,
    /// The groups; each member has a version.
    pub order: Order,
    /// The image that a build would run in elsewhere. Here it runs on the machine itself.
    pub build_image: Option<String>,
    /// Variables that all buildpacks see.
    pub build_env: Vec<BuildEnv>,
    /// The images that the app may run on; the first is taken unless another is asked for.
    pub run: Run,
    /// The lifecycle that it asks for. Ours is the one that is used.
    pub lifecycle: Lifecycle,
    /// What it builds for; empty if it does not say.
    pub targets: Vec<Target>,
    /// Buildpacks that run before and after each group.
    pub system: System,
}

/// A buildpack or extension in a folder.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Module {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The API that it speaks.
    pub api: String,
    /// Where `builder.toml` has it from, verbatim.
    pub uri: String,
    /// Where it lies.
    pub folder: PathBuf,
    /// Of the folder, see [`source::copy`].
    pub digest: Digest,
}

impl Builder {
    /// Reads `builder.toml` at `path`, and the `buildpack.toml` of each buildpack that it names.
    pub fn load(path: &Path) -> Result<Self, BuilderError> {
        let text = read(path)?;
        let file: BuilderFile = parse(path, &text)?;
        let at = Source { path, text: &text };
        let base = path.parent().unwrap_or(Path::new("."));
        let buildpacks = modules(&at, base, &file.buildpacks, "buildpack")?;
        let extensions = modules(&at, base, &file.extensions, "extension")?;
        if let (Some(uri), Some(_)) = (&file.lifecycle.uri, &file.lifecycle.version) {
            return Err(at.invalid(uri, "`lifecycle` has both `uri` and `version`"));
        }
        for env in &file.build.env {
            env.problem()
                .map_or(Ok(()), |problem| Err(at.invalid(&env.name, problem)))?;
        }
        let order = Order {
            order: at.groups(&file.order, &buildpacks)?,
            order_extensions: at.groups(&file.order_extensions, &extensions)?,
        };
        let mut system = System::default();
        system.system.pre.buildpacks = at.group(&file.system.pre.buildpacks, &buildpacks)?;
        system.system.post.buildpacks = at.group(&file.system.post.buildpacks, &buildpacks)?;
        let (build_image, run) = at.images(&file)?;
        Ok(Self {
            path: path.to_owned(),
            digest: Digest::of(text.as_bytes()),
            description: file.description,
            buildpacks,
            extensions,
            order,
            build_image,
            build_env: file.build.env.into_iter().map(Into::into).collect(),
            run,
            lifecycle: Lifecycle {
                uri: file.lifecycle.uri.map(Spanned::into_inner),
                version: file.lifecycle.version,
            },
            targets: file.targets,
            system,
        })
    }
}

/// A `builder.toml` that is being read.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn invalid<T>(&self, value: &Spanned<T>, problem: impl Into<String>) -> BuilderError {
        BuilderError::Invalid {
            path: self.path.to_owned(),
            line: line(self.text, value.span().start),
            problem: problem.into(),
        }
    }

    fn groups(
        &self,
        groups: &[file::Group],
        modules: &[Module],
    ) -> Result<Vec<OrderGroup>, BuilderError> {
        groups
            .iter()
            .map(|group| Ok(OrderGroup::new(self.group(&group.group, modules)?)))
            .collect()
    }

    /// Finds each member among the modules; one without a version is of the only one there is.
    fn group(
        &self,
        group: &[GroupEntry],
        modules: &[Module],
    ) -> Result<Vec<GroupElement>, BuilderError> {
        let mut elements = Vec::new();
        for entry in group {
            let id = entry.id.get_ref();
            let versions: BTreeSet<&str> = modules
                .iter()
                .filter(|module| module.id == *id)
                .map(|module| module.version.as_str())
                .collect();
            let version = match (
                &entry.version,
                versions.iter().collect::<Vec<_>>()[..].as_ref(),
            ) {
                (_, []) => {
                    return Err(self.invalid(&entry.id, format!("`{id}` is not listed")));
                }
                (Some(version), _) if versions.contains(version.as_str()) => version.clone(),
                (Some(version), _) => {
                    let problem = format!("`{id}` is not listed in version `{version}`");
                    return Err(self.invalid(&entry.id, problem));
                }
                (None, [version]) => (**version).to_owned(),
                (None, _) => {
                    let problem = format!("`{id}` is listed in several versions: say which");
                    return Err(self.invalid(&entry.id, problem));
                }
            };
            let mut element = GroupElement::new(id, version);
            element.optional = entry.optional;
            elements.push(element);
        }
        Ok(elements)
    }

    /// The images, of the tables of today and of `stack`, which must not say different things.
    fn images(&self, file: &BuilderFile) -> Result<(Option<String>, Run), BuilderError> {
        let mut run = file.run.clone();
        let mut build_image = file.build.image.clone();
        let Some(stack) = &file.stack else {
            return Ok((build_image, run));
        };
        let table = stack.get_ref();
        if let Some(image) = &table.build_image {
            if build_image.as_ref().is_some_and(|it| it != image) {
                let problem = "`stack.build-image` is another than `build.image`";
                return Err(self.invalid(stack, problem));
            }
            build_image = Some(image.clone());
        }
        if let Some(image) = &table.run_image {
            let images = RunImages {
                image: image.clone(),
                mirrors: table.run_image_mirrors.clone(),
            };
            match run.images.first() {
                None => run.images.push(images),
                Some(first) if first.image == *image => {}
                Some(_) => {
                    let problem = "`stack.run-image` is another than the first of `run.images`";
                    return Err(self.invalid(stack, problem));
                }
            }
        }
        Ok((build_image, run))
    }
}

/// Finds the folder of each entry, and what it says of itself.
fn modules(
    at: &Source<'_>,
    base: &Path,
    entries: &[ModuleEntry],
    kind: &'static str,
) -> Result<Vec<Module>, BuilderError> {
    let mut modules: Vec<Module> = Vec::new();
    let mut known = BTreeSet::new();
    for entry in entries {
        let uri = entry.uri.get_ref();
        let local = match uri.split_once("://") {
            None => uri.as_str(),
            Some(("file", path)) => path,
            Some(_) => {
                let problem = format!(
                    "`{uri}` is not a local folder: packages in registries and archives cannot be \
                     used yet"
                );
                return Err(at.invalid(&entry.uri, problem));
            }
        };
        let folder = base.join(local);
        let folder = fs::canonicalize(&folder).map_err(|source| BuilderError::Read {
            path: folder,
            source,
        })?;
        let path = folder.join(format!("{kind}.toml"));
        let text = read(&path)?;
        let found: BuildpackFile = parse(&path, &text)?;
        let table = if kind == "buildpack" {
            found.buildpack
        } else {
            found.extension
        };
        let inside = Source {
            path: &path,
            text: &text,
        };
        let Some(table) = table else {
            return Err(BuilderError::Invalid {
                path,
                line: 1,
                problem: format!("there is no table `{kind}`"),
            });
        };
        let (id, version) = (table.id.get_ref(), table.version.get_ref());
        if !is_id(id) {
            return Err(inside.invalid(&table.id, format!("`{id}` cannot be an id")));
        }
        if !is_version(version) {
            return Err(inside.invalid(&table.version, format!("`{version}` is no version")));
        }
        for (name, said, own) in [("id", &entry.id, id), ("version", &entry.version, version)] {
            if let Some(said) = said
                && said.get_ref() != own
            {
                let said_text = said.get_ref();
                let problem = format!(
                    "the {name} is `{said_text}`, but `{}` says `{own}`",
                    path.display()
                );
                return Err(at.invalid(said, problem));
            }
        }
        if !known.insert((id.clone(), version.clone())) {
            let problem = format!("`{id}@{version}` is listed twice");
            return Err(at.invalid(&entry.uri, problem));
        }
        let digest = source::digest(&folder).map_err(|source| BuilderError::Hash {
            path: folder.clone(),
            source,
        })?;
        modules.push(Module {
            id: id.clone(),
            version: version.clone(),
            api: found.api,
            uri: uri.clone(),
            folder,
            digest,
        });
    }
    Ok(modules)
}

/// Letters, digits, `.`, `-` and `/`, and none of the names that upstream keeps for itself. So an id
/// with `_` for `/` is a file name, and no two have the same.
fn is_id(id: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "./-".contains(c);
    !matches!(
        id,
        "" | "config" | "app" | "sbom" | "generated" | "." | ".."
    ) && id.chars().all(good)
}

/// `X.Y.Z`, with what semantic versions may have behind it.
fn is_version(version: &str) -> bool {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    core.split('.').count() == 3
        && core.split('.').all(number)
        && version
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c))
}

fn read(path: &Path) -> Result<String, BuilderError> {
    use std::io::Read as _;

    let unreadable = |source| BuilderError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_TOML + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_TOML {
        return Err(BuilderError::TooLarge {
            path: path.to_owned(),
            limit: MAX_TOML,
        });
    }
    Ok(text)
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, BuilderError> {
    toml::from_str(text).map_err(|error| BuilderError::Invalid {
        path: path.to_owned(),
        line: line(text, error.span().map_or(0, |span| span.start)),
        problem: error.message().trim().replace('\n', ", "),
    })
}

fn line(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).split('\n').count()
}

/// Why there is no builder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuilderError {
    /// The file says something that cannot be.
    #[error("`{}`, line {line}: {problem}", path.display())]
    Invalid {
        /// Which: `builder.toml`, or the `buildpack.toml` of a buildpack.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What.
        problem: String,
    },
    /// A file or folder that it needs could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is longer than we read.
    #[error("`{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A buildpack could not be hashed.
    #[error("failed to hash the buildpack in `{}`", path.display())]
    Hash {
        /// Which.
        path: PathBuf,
        /// Why.
        source: SourceError,
    },
}

#[cfg(test)]
mod tests;
