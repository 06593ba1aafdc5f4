//! Buildpacks that a build adds to its builder: those of the command line, else those of
//! `project.toml`. Each is found, once, here.

use std::path::Path;

use lifecycle_core::buildpack::Kind;
use oci::Platform;
use platform::builder::{Additions, Builder, BuilderToml, Locator, Package, Part, Target};
use platform::project::{Project, Wanted, What};
use platform::run::EXEC_ENV;
use tempfile::TempDir;

use super::args::Build;
use super::builders::{Inputs, Resolved};
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::images::Lookup;
use crate::making::unknown;
use crate::temporary;
use crate::typed;
use crate::ui::Ui;

/// Where modules are looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finder<'a> {
    pub(super) images: &'a Lookup<'a>,
    pub(super) environment: &'a Environment,
    pub(super) inputs: Inputs<'a>,
    /// What the names of images were found to be.
    pub(super) resolved: &'a Resolved,
    /// What they are to run on.
    pub(super) platform: &'a Platform,
    pub(super) ui: &'a Ui,
}

/// A builder that has all that was added to it.
#[derive(Debug)]
pub(super) struct Complete {
    pub(super) builder: Builder,
    /// The folders of scripts of `project.toml`; gone with this.
    pub(super) scripts: Option<TempDir>,
}

impl Finder<'_> {
    /// Reads the `builder.toml` at `path`, and all that it names, wherever it is.
    pub(super) async fn builder(self, path: &Path) -> Result<Builder, CommandError> {
        let failed = || format!("failed to read the builder `{}`", path.display());
        let toml = BuilderToml::read(path).context(failed)?;
        // What is no folder and no package either is best said by whoever looks for folders.
        let is_folder = |it: &str| {
            let parsed = Locator::parse(it, Kind::Buildpack, toml.folder(), None);
            match parsed {
                Ok(Locator::Path(path)) => !path.is_file(),
                Ok(_) => false,
                Err(_) => !it.contains("://"),
            }
        };
        let kinds = [Kind::Buildpack, Kind::Extension];
        if kinds.iter().all(|kind| toml.locators(*kind).all(is_folder)) {
            return Builder::load(path).context(failed);
        }
        let mut modules = [Vec::new(), Vec::new()];
        for (kind, list) in kinds.into_iter().zip(&mut modules) {
            for text in toml.locators(kind) {
                let locator = Locator::parse(text, kind, toml.folder(), None);
                let locator = locator.map_err(|it| unknown(it).note(failed()));
                match self
                    .part(kind, text, locator?)
                    .await
                    .map_err(|it| it.note(failed()))?
                {
                    Part::Package(package) => list.push(*package),
                    Part::Builder | Part::Named { .. } => {
                        let problem = format!("`{text}` is of a builder, and this is one");
                        return Err(CommandError::undecided(Message(problem)).note(failed()));
                    }
                }
            }
        }
        let [buildpacks, extensions] = modules;
        toml.builder(buildpacks, extensions).context(failed)
    }

    /// Adds to `builder` what the command line says, else what `project` says.
    pub(super) async fn complete(
        self,
        builder: Builder,
        args: &Build,
        project: Option<&Project>,
    ) -> Result<Complete, CommandError> {
        let mut additions = Additions::default();
        let mut scripts = None;
        for (said, key, list) in [
            (&args.buildpack, "group", &mut additions.buildpacks),
            (&args.pre_buildpack, "pre", &mut additions.before),
            (&args.post_buildpack, "post", &mut additions.after),
        ] {
            let wanted = project.map(|it| match key {
                "group" => &it.group,
                "pre" => &it.pre,
                _ => &it.post,
            });
            let mut wanted = wanted
                .into_iter()
                .flatten()
                .filter(|it| it.is_for(EXEC_ENV));
            if said.is_empty() {
                for it in wanted {
                    let Some(project) = project else { continue };
                    let part = self.wanted(it, project, &builder, &mut scripts).await;
                    list.push(part.map_err(|error| {
                        let path = project.path.display();
                        error.note(format!("`{path}`, line {}, asks for it", it.line))
                    })?);
                }
                continue;
            }
            if let (Some(_), Some(project)) = (wanted.next(), project) {
                self.ui.aside(format_args!(
                    "buildpacks are not those of `{key}` in `{}`, but those of the command line",
                    project.path.display()
                ));
            }
            for text in said {
                let folder = &self.environment.directory;
                let locator = Locator::parse(text, Kind::Buildpack, folder, Some(&builder));
                let locator = locator.map_err(unknown)?;
                list.push(self.part(Kind::Buildpack, text, locator).await?);
            }
        }
        for text in &args.extension {
            let (kind, folder) = (Kind::Extension, &self.environment.directory);
            let locator = Locator::parse(text, kind, folder, Some(&builder)).map_err(unknown)?;
            additions
                .extensions
                .push(self.part(kind, text, locator).await?);
        }
        let around = additions.before.len() + additions.after.len();
        if !additions.buildpacks.is_empty() && around > 0 {
            self.ui.warn(
                "buildpacks that are to come before and after the builder's are left out: others stand in place of the builder's",
            );
        }
        let builder = builder
            .with(additions)
            .context(|| "the buildpacks do not go together".to_owned())?;
        Ok(Complete { builder, scripts })
    }

    /// What `project` asks for.
    async fn wanted(
        self,
        wanted: &Wanted,
        project: &Project,
        builder: &Builder,
        scripts: &mut Option<TempDir>,
    ) -> Result<Part, CommandError> {
        let folder = project.path.parent().unwrap_or(Path::new("."));
        let kind = Kind::Buildpack;
        match &wanted.what {
            What::Uri(text) => {
                let locator = Locator::parse(text, kind, folder, Some(builder)).map_err(unknown)?;
                self.part(kind, text, locator).await
            }
            What::Id(text) if text == "from=builder" => Ok(Part::Builder),
            What::Id(text) => {
                let locator = Locator::named(text).map_err(unknown)?;
                self.part(kind, text, locator).await
            }
            What::Script(script) => {
                let scripts = if let Some(scripts) = scripts {
                    scripts
                } else {
                    scripts.insert(temporary::folder(self.environment, "sealpack-scripts-")?)
                };
                let place = scripts.path().join(wanted.line.to_string());
                script.write(&place).map_err(CommandError::undecided)?;
                let uri = format!("{}#{}", project.path.display(), script.id);
                let package = Package::of_folder(kind, &place, &uri, None);
                let package = package.context(|| format!("failed to use `{uri}`"))?;
                Ok(Part::Package(Box::new(package)))
            }
        }
    }

    /// What is at `locator`, which was said as `text`.
    async fn part(self, kind: Kind, text: &str, locator: Locator) -> Result<Part, CommandError> {
        let platform = self.platform;
        let what = match kind {
            Kind::Buildpack => "buildpack",
            Kind::Extension => "extension",
        };
        let failed = || format!("failed to use the {what} `{text}`");
        let package = match locator {
            Locator::Builder => return Ok(Part::Builder),
            Locator::Named { id, version } => return Ok(Part::Named { id, version }),
            Locator::Path(path) if path.is_dir() => {
                let target = Target::from(platform);
                Package::of_folder(kind, &path, text, Some(&target)).context(failed)?
            }
            Locator::Path(path) => {
                self.ui.begin(what, text);
                let package = Package::of_file(kind, &path, text, platform).await;
                package.context(failed)?
            }
            Locator::Image(reference) => {
                typed::module_image(text).context(failed)?;
                self.ui.begin(what, text);
                let by = (self.inputs, self.images, self.ui);
                let found = self.resolved.find(what, &reference, by).await?;
                let package =
                    Package::of_image(kind, found.store, &found.descriptor, text, platform).await;
                package.context(failed)?
            }
        };
        for note in &package.notes {
            self.ui.warn(note);
        }
        Ok(Part::Package(Box::new(package)))
    }
}
