//! `builder.toml`, as pack has it.

mod schema;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_core::buildpack::Kind;
use lifecycle_core::files::group::GroupElement;
use lifecycle_core::files::order::{Order, OrderGroup};
use lifecycle_core::files::run::{Run, RunImages};
use lifecycle_core::files::system::System;
use oci::Digest;
use toml::Spanned;

pub(crate) use self::schema::TargetEntry;
use self::schema::{BuilderFile, GroupEntry, ModuleEntry};
use super::descriptor::{Member, Members, line};
use super::labels::{SystemLabel, SystemMembers};
use super::lifecycle::{Apis, Lifecycle};
use super::module::Module;
use super::package::{Package, PackageError};
use super::{Builder, BuilderSource};
use crate::source::SourceError;

/// The most bytes that a `builder.toml` or `buildpack.toml` may have.
pub(crate) const MAX_TOML: u64 = 1 << 20;

/// A `builder.toml` that was read, and the modules of which were not had yet.
#[derive(Debug)]
pub struct BuilderToml {
    path: PathBuf,
    text: String,
    file: BuilderFile,
}

impl Builder {
    /// Reads `builder.toml` at `path`, and the `buildpack.toml` of each buildpack that it names, all of
    /// which have to be in folders of this machine.
    pub fn load(path: &Path) -> Result<Self, BuilderError> {
        let toml = BuilderToml::read(path)?;
        let buildpacks = toml.folders(Kind::Buildpack)?;
        let extensions = toml.folders(Kind::Extension)?;
        toml.builder(buildpacks, extensions)
    }
}

impl BuilderToml {
    /// Reads `builder.toml` at `path`; what it names is not looked at.
    pub fn read(path: &Path) -> Result<Self, BuilderError> {
        let text = read(path)?;
        let file: BuilderFile = parse(path, &text)?;
        let toml = Self {
            path: path.to_owned(),
            text,
            file,
        };
        let at = toml.source();
        if let (Some(uri), Some(_)) = (&toml.file.lifecycle.uri, &toml.file.lifecycle.version) {
            return Err(at.invalid(uri, "`lifecycle` has both `uri` and `version`"));
        }
        for env in &toml.file.build.env {
            env.problem()
                .map_or(Ok(()), |problem| Err(at.invalid(&env.name, problem)))?;
        }
        at.images(&toml.file)?;
        Ok(toml)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is relative in it is so to this folder.
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    /// Where the modules of this kind are to be had from, in order.
    pub fn locators(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.entries(kind)
            .iter()
            .map(|it| it.uri.get_ref().as_str())
    }

    /// What it is to build for.
    pub fn targets(&self) -> Vec<super::Target> {
        let targets = self.file.targets.iter();
        targets.map(Into::into).collect()
    }

    /// The image that the builder is to stand on.
    pub fn build_image(&self) -> Option<&str> {
        let stack = self.file.stack.as_ref();
        let old = stack.and_then(|it| it.get_ref().build_image.as_deref());
        self.file.build.image.as_deref().or(old)
    }

    /// Of the file.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// All images that apps may run on, but for mirrors.
    pub fn run_images(&self) -> Vec<String> {
        let images = self.file.run.images.iter().map(|it| it.image.clone());
        let images: Vec<String> = images.collect();
        if images.is_empty() {
            return self.run_image().map(str::to_owned).into_iter().collect();
        }
        images
    }

    /// The first of the images that apps are to run on.
    pub fn run_image(&self) -> Option<&str> {
        let stack = self.file.stack.as_ref();
        let old = stack.and_then(|it| it.get_ref().run_image.as_deref());
        let first = self.file.run.images.first();
        first.map(|it| it.image.as_str()).or(old)
    }

    /// Where the lifecycle is to be had from, and which version it is to be.
    pub fn lifecycle(&self) -> (Option<&str>, Option<&str>) {
        let lifecycle = &self.file.lifecycle;
        let uri = lifecycle.uri.as_ref().map(|it| it.get_ref().as_str());
        (uri, lifecycle.version.as_deref())
    }

    /// The id of the stack, as there were before targets.
    pub fn stack_id(&self) -> Option<&str> {
        self.file.stack.as_ref()?.get_ref().id.as_deref()
    }

    /// The groups as the file has them, for a label: a member may be without its version.
    pub(crate) fn groups_for_label(&self, kind: Kind) -> Option<Vec<Members>> {
        let groups = match kind {
            Kind::Buildpack => &self.file.order,
            Kind::Extension => &self.file.order_extensions,
        };
        let members = |group: &schema::Group| Members {
            group: member_list(&group.group, kind),
        };
        (!groups.is_empty()).then(|| groups.iter().map(members).collect())
    }

    /// The system buildpacks as the file has them, for a label.
    pub(crate) fn system_for_label(&self) -> Option<SystemLabel> {
        let list = |group: &[GroupEntry]| SystemMembers {
            buildpacks: member_list(group, Kind::Buildpack),
        };
        let system = &self.file.system;
        let label = SystemLabel {
            pre: list(&system.pre.buildpacks),
            post: list(&system.post.buildpacks),
        };
        let is_empty = label.pre.buildpacks.is_empty() && label.post.buildpacks.is_empty();
        (!is_empty).then_some(label)
    }

    /// The builder, its modules being these: one package for each locator, in order.
    pub fn builder(
        &self,
        buildpacks: Vec<Package>,
        extensions: Vec<Package>,
    ) -> Result<Builder, BuilderError> {
        let at = self.source();
        let file = &self.file;
        let buildpacks = self.modules(Kind::Buildpack, buildpacks)?;
        let extensions = self.modules(Kind::Extension, extensions)?;
        let order = Order {
            order: at.groups(&file.order, &buildpacks)?,
            order_extensions: at.groups(&file.order_extensions, &extensions)?,
        };
        let mut system = System::default();
        system.system.pre.buildpacks = at.group(&file.system.pre.buildpacks, &buildpacks)?;
        system.system.post.buildpacks = at.group(&file.system.post.buildpacks, &buildpacks)?;
        let (build_image, run) = at.images(file)?;
        Ok(Builder {
            source: BuilderSource::File(self.path.clone()),
            digest: Digest::of(self.text.as_bytes()),
            description: file.description.clone(),
            buildpacks,
            extensions,
            order,
            build_image,
            build_env: file.build.env.iter().map(Into::into).collect(),
            run,
            lifecycle: Lifecycle {
                uri: file.lifecycle.uri.as_ref().map(|it| it.get_ref().clone()),
                version: file.lifecycle.version.clone(),
                apis: Apis::default(),
            },
            targets: self.targets(),
            system,
            is_added_to: false,
        })
    }

    fn source(&self) -> Source<'_> {
        Source {
            path: &self.path,
            text: &self.text,
        }
    }

    fn entries(&self, kind: Kind) -> &[ModuleEntry] {
        match kind {
            Kind::Buildpack => &self.file.buildpacks,
            Kind::Extension => &self.file.extensions,
        }
    }

    /// The modules that lie in folders.
    fn folders(&self, kind: Kind) -> Result<Vec<Package>, BuilderError> {
        let at = self.source();
        let mut packages = Vec::new();
        for entry in self.entries(kind) {
            let uri = entry.uri.get_ref();
            let local = match uri.split_once("://") {
                None => uri.as_str(),
                Some(("file", path)) => path,
                Some(_) => {
                    let problem = format!(
                        "`{uri}` is not a local folder: make a builder image of this file with `sealpack builder create`, and build with that"
                    );
                    return Err(at.invalid(&entry.uri, problem));
                }
            };
            let folder = self.folder().join(local);
            let package = Package::of_folder(kind, &folder, uri, None);
            packages.push(package.map_err(|error| module_error(error, folder))?);
        }
        Ok(packages)
    }

    /// All modules of `packages`, which are what the entries name.
    fn modules(&self, kind: Kind, packages: Vec<Package>) -> Result<Vec<Module>, BuilderError> {
        let at = self.source();
        let mut modules: Vec<Module> = Vec::new();
        let mut listed = BTreeSet::new();
        for (entry, package) in self.entries(kind).iter().zip(packages) {
            let name = package.main.name();
            for (what, said, own) in [
                ("id", &entry.id, name.id.as_str()),
                ("version", &entry.version, name.version.as_str()),
            ] {
                if let Some(said) = said
                    && said.get_ref() != own
                {
                    let said_text = said.get_ref();
                    let problem = format!(
                        "the {what} is `{said_text}`, but `{}` says `{own}`",
                        entry.uri.get_ref()
                    );
                    return Err(at.invalid(said, problem));
                }
            }
            if !listed.insert(name.clone()) {
                return Err(at.invalid(&entry.uri, format!("`{name}` is listed twice")));
            }
            for module in package.into_modules() {
                match modules.iter().find(|it| it.name() == module.name()) {
                    None => modules.push(module),
                    Some(other) if other.is_same(&module) => {}
                    Some(_) => {
                        let problem =
                            format!("`{}` is there twice, with different content", module.name());
                        return Err(at.invalid(&entry.uri, problem));
                    }
                }
            }
        }
        Ok(modules)
    }
}

fn member_list(group: &[GroupEntry], kind: Kind) -> Vec<Member> {
    let member = |it: &GroupEntry| Member {
        id: it.id.get_ref().clone(),
        version: it.version.clone().unwrap_or_default(),
        // An extension is optional in any case.
        optional: it.optional && kind == Kind::Buildpack,
    };
    group.iter().map(member).collect()
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
        groups: &[schema::Group],
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

/// What is wrong with a module that a `builder.toml` names.
fn module_error(error: PackageError, folder: PathBuf) -> BuilderError {
    match error {
        PackageError::Descriptor {
            path,
            line,
            problem,
        } => BuilderError::Invalid {
            path,
            line,
            problem,
        },
        PackageError::Read { path, source } => BuilderError::Read { path, source },
        PackageError::TooLarge { path, limit } => BuilderError::TooLarge { path, limit },
        PackageError::Hash { path, source } => BuilderError::Hash { path, source },
        other => BuilderError::Module {
            path: folder,
            source: Box::new(other),
        },
    }
}

pub(crate) fn read(path: &Path) -> Result<String, BuilderError> {
    let unreadable = |source| BuilderError::Read {
        path: path.to_owned(),
        source,
    };
    fs::File::open(path)
        .and_then(|file| oci::read_text_at_most(file, MAX_TOML))
        .map_err(unreadable)?
        .ok_or_else(|| BuilderError::TooLarge {
            path: path.to_owned(),
            limit: MAX_TOML,
        })
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    path: &Path,
    text: &str,
) -> Result<T, BuilderError> {
    toml::from_str(text).map_err(|error| BuilderError::Invalid {
        path: path.to_owned(),
        line: line(text, error.span().map_or(0, |span| span.start)),
        problem: error.message().trim().replace('\n', ", "),
    })
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
    /// A module cannot be used.
    #[error("what is in `{}` cannot be used", path.display())]
    Module {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<PackageError>,
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
