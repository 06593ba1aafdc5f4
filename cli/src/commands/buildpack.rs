//! `sealpack buildpack` and `sealpack extension`: packages, made in pack's format, and looked at.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use lifecycle_core::buildpack::Kind;
use lifecycle_core::provenance::Named;
use oci::{Platform, Reference};
use platform::builder::{Content, Module, ModuleName, Package, Target};
use platform::make::package::{PackageRecipe, make, platform as platform_of};
use platform::make::{Made, PackageToml};
use serde::Serialize;

use crate::args::{Access, Printed};
use crate::environment::{self, Environment};
use crate::error::{CommandError, Context as _, Message};
use crate::images::Lookup;
use crate::making::{self, About, MakingArgs, Parts};
use crate::signing::Signer;
use crate::typed;
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum BuildpackCommand {
    Package(Box<PackageArgs>),
    Inspect(Box<Inspect>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExtensionCommand {
    #[command(after_help = "\
Examples:
  A folder, as an image:
    sealpack extension package registry.example/extension:v1 --path extension --key release.key
  As a file, by its description:
    sealpack extension package extension.cnb --config package.toml")]
    Package(Box<PackageArgs>),
    #[command(after_help = "\
Examples:
  sealpack extension inspect registry.example/extension:v1
  sealpack extension inspect extension.cnb --output json")]
    Inspect(Box<Inspect>),
}

/// Make a package: an image, or a `.cnb` file, that builders and builds take.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  A folder, as an image:
    sealpack buildpack package registry.example/buildpack:v1 --path buildpack --key release.key
  A buildpack with all that it stands for, as a file:
    sealpack buildpack package buildpack.cnb --config package.toml
  All in one layer, but for one:
    sealpack buildpack package oci:out:all -c package.toml --flatten --flatten-exclude example/big@1.0.0")]
pub(crate) struct PackageArgs {
    /// Where it goes: `HOST/REPO:TAG`, `oci:DIR:TAG`, `docker-daemon:NAME:TAG`; or a file that ends in
    /// `.cnb`.
    destination: String,

    /// What it is made of: a `package.toml`.
    #[arg(long, short, value_name = "FILE", conflicts_with = "path")]
    config: Option<PathBuf>,

    /// The folder, if it needs no others; without either, this one.
    #[arg(long, short, value_name = "DIR")]
    path: Option<PathBuf>,

    /// What is made; without it, a file if the name ends in `.cnb`.
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<PackageFormat>,

    /// Put all into one layer. Old platforms cannot read that.
    #[arg(long)]
    flatten: bool,

    /// But for this one: `ID@VERSION`. Repeatable.
    #[arg(long, short = 'e', value_name = "NAME", requires = "flatten")]
    flatten_exclude: Vec<String>,

    #[command(flatten)]
    making: MakingArgs,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum PackageFormat {
    /// An image.
    Image,
    /// A `.cnb` file: an OCI layout as a tar file.
    File,
}

/// Show what a package holds, or what is in a folder.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sealpack buildpack inspect registry.example/buildpack:v1
  sealpack buildpack inspect buildpack.cnb --output json")]
pub(crate) struct Inspect {
    /// A folder, an archive of one, a `.cnb` file or an image.
    package: String,

    /// Of several platforms, this one; without it, this machine's.
    #[arg(long, value_name = "TARGET")]
    target: Option<Target>,

    #[command(flatten)]
    access: Access,

    #[command(flatten)]
    printed: Printed,
}

pub(crate) async fn run(
    command: BuildpackCommand,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    match command {
        BuildpackCommand::Package(args) => {
            Box::pin(package(Kind::Buildpack, *args, environment, ui)).await
        }
        BuildpackCommand::Inspect(args) => inspect(Kind::Buildpack, *args, environment, ui).await,
    }
}

pub(crate) async fn run_extension(
    command: ExtensionCommand,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    match command {
        ExtensionCommand::Package(args) => {
            Box::pin(package(Kind::Extension, *args, environment, ui)).await
        }
        ExtensionCommand::Inspect(args) => inspect(Kind::Extension, *args, environment, ui).await,
    }
}

async fn package(
    kind: Kind,
    args: PackageArgs,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let mut description = None;
    let (uri, dependencies, declared, folder) = if let Some(path) = &args.config {
        let toml = PackageToml::read(kind, &environment.directory.join(path))
            .context(|| format!("failed to read `{}`", path.display()))?;
        description = Some(Named {
            name: path.display().to_string(),
            uri: None,
            digest: toml.digest,
        });
        (toml.uri, toml.dependencies, toml.targets, toml.folder)
    } else {
        let path = args.path.clone().unwrap_or_else(|| PathBuf::from("."));
        let uri = path.display().to_string();
        (uri, Vec::new(), Vec::new(), environment.directory.clone())
    };
    let labels = args.making.labels()?;
    let about = About {
        kind: making::MadeKind::Package(kind),
        description,
        labels: labels.clone(),
        flatten: flattened(&args),
        run_images: Vec::new(),
        started: environment::now(),
    };
    // Who cannot sign should know before anything is made.
    let signer = args.making.signer(environment).await?;
    let flatten = excluded(&args)?;
    let images = Lookup::new(&args.making.access, environment, ui);
    let parts = Parts {
        images: &images,
        folder: &folder,
        notes: making::Notes::default(),
    };
    let asked_first = args.making.targets.first().cloned();
    let host = asked_first.unwrap_or_else(|| Target::from(&Platform::host()));
    let first = parts.package(kind, &uri, &host, ui).await?;
    // A composite buildpack says it in `package.toml`, any other itself.
    let own = if first.main.is_composite() {
        declared
    } else {
        first.main.targets.clone()
    };
    let asked = if args.making.targets.is_empty() {
        own
    } else {
        args.making.targets.clone()
    };
    let mut targets: Vec<Target> = asked.iter().flat_map(Target::expanded).collect();
    if targets.is_empty() {
        targets.push("linux".parse().map_err(CommandError::undecided)?);
    }
    let scratch = making::scratch(environment)?;
    let mut made: Vec<(Target, Made)> = Vec::new();
    for (at, target) in targets.into_iter().enumerate() {
        let main = parts.package(kind, &uri, &target, ui).await?;
        let mut needed = Vec::new();
        for dependency in &dependencies {
            ui.begin("dependencies", dependency.clone());
            needed.push(parts.package(kind, dependency, &target, ui).await?);
        }
        runnable(&main.main)?;
        let folder = scratch.path().join(at.to_string());
        fs_err::create_dir(&folder).map_err(CommandError::undecided)?;
        ui.begin("layers", target.to_string());
        let recipe = PackageRecipe {
            main: main.main,
            dependencies: needed,
            target: target.clone(),
            labels: labels.clone(),
            flatten: flatten.clone(),
        };
        let one = make(recipe, &folder).await;
        let one = one.context(|| format!("failed to make the package for {target}"))?;
        ui.done("layers", format_args!("{} for {target}", one.layers.len()));
        made.push((target, one));
    }
    let shared = (&images, environment, ui);
    deliver(&args, made, &about, signer.as_ref(), shared).await
}

/// Publishes what was made as one image or index, or writes a file for each target.
async fn deliver(
    args: &PackageArgs,
    made: Vec<(Target, Made)>,
    about: &About,
    signer: Option<&Signer>,
    shared: (&Lookup<'_>, &Environment, &Ui),
) -> Result<(), CommandError> {
    let ui = shared.2;
    let is_file = match args.format {
        Some(format) => format == PackageFormat::File,
        None => Path::new(&args.destination)
            .extension()
            .is_some_and(|it| it == "cnb"),
    };
    let asked = (&args.making, signer);
    if !is_file {
        let destination = typed::image(&args.destination)
            .context(|| format!("`{}` is not a place for an image", args.destination))?;
        let made: Vec<_> = made
            .into_iter()
            .map(|(target, it)| (platform_of(&target), it))
            .collect();
        let report = making::publish((&made, about), &destination, asked, shared).await?;
        return ui.result(args.making.printed.output, &report, making::print);
    }
    let several = made.len() > 1;
    let mut reports = Vec::new();
    for (target, one) in made {
        let name = file_name(&args.destination, several.then_some(&target));
        let made = (platform_of(&target), one);
        reports.push(Box::pin(write_file(&name, (made, about), asked, shared)).await?);
    }
    ui.result(args.making.printed.output, &reports, |ui, reports| {
        for report in reports {
            making::print(ui, report);
        }
    })
}

/// Writes one package to the file `name`.
async fn write_file(
    name: &Path,
    (made, about): ((Platform, Made), &About),
    asked: (&MakingArgs, Option<&Signer>),
    shared: (&Lookup<'_>, &Environment, &Ui),
) -> Result<making::Report, CommandError> {
    let path = shared.1.directory.join(name);
    // An archive keeps what is in it; a `.cnb` file is one package, so the old one makes room.
    let part = path.with_extension("cnb.part");
    let destination: Reference = format!("oci-archive:{}:latest", part.display())
        .parse()
        .context(|| format!("`{}` cannot be the name of a file", path.display()))?;
    if part.exists() {
        fs_err::remove_file(&part).map_err(CommandError::undecided)?;
    }
    let mut report = making::publish((&[made], about), &destination, asked, shared).await?;
    fs_err::rename(&part, &path).map_err(CommandError::undecided)?;
    report.image = name.display().to_string();
    Ok(report)
}

/// The file of a package: of several, each has its platform in its name.
fn file_name(name: &str, target: Option<&Target>) -> PathBuf {
    let stem = name.strip_suffix(".cnb").unwrap_or(name);
    let Some(target) = target else {
        return PathBuf::from(format!("{stem}.cnb"));
    };
    let mut full = format!("{stem}-{}", target.os);
    for part in [&target.arch, &target.variant] {
        if !part.is_empty() {
            full.extend(["-", part.as_str()]);
        }
    }
    for distro in &target.distros {
        full.extend(["-", &distro.name, "-", &distro.version]);
    }
    PathBuf::from(full + ".cnb")
}

/// Whether what has programs has those that are run.
fn runnable(module: &Module) -> Result<(), CommandError> {
    let (Content::Folder(folder) | Content::PlatformFolder { folder, .. }) = &module.content else {
        return Ok(());
    };
    if module.is_composite() || module.kind == Kind::Extension {
        return Ok(());
    }
    for name in ["bin/detect", "bin/build"] {
        let with = |ending: &str| folder.join(format!("{name}{ending}")).exists();
        if !(with("") || with(".exe") || with(".bat")) {
            return Err(Message(format!(
                "`{}` lacks `{name}`: it is not a buildpack that can run",
                folder.display()
            ))
            .into());
        }
    }
    Ok(())
}

/// Which modules share a layer, as provenance says it.
fn flattened(args: &PackageArgs) -> Vec<String> {
    if !args.flatten {
        return Vec::new();
    }
    let but = args.flatten_exclude.iter().map(|it| format!("but {it}"));
    std::iter::once("all".to_owned()).chain(but).collect()
}

fn excluded(args: &PackageArgs) -> Result<Option<BTreeSet<ModuleName>>, CommandError> {
    if !args.flatten {
        return Ok(None);
    }
    let name = |it: &String| {
        it.parse::<ModuleName>()
            .context(|| "failed to read `--flatten-exclude`".to_owned())
    };
    args.flatten_exclude
        .iter()
        .map(name)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// What `inspect --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    package: String,
    digest: String,
    id: String,
    version: String,
    description: String,
    modules: Vec<Row>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    version: String,
    api: String,
    name: String,
    homepage: String,
    targets: Vec<String>,
    stacks: Vec<String>,
    order: Vec<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<String>,
}

async fn inspect(
    kind: Kind,
    args: Inspect,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let images = Lookup::new(&args.access, environment, ui);
    let parts = Parts {
        images: &images,
        folder: &environment.directory,
        notes: making::Notes::default(),
    };
    let target = args
        .target
        .unwrap_or_else(|| Target::from(&Platform::host()));
    let package = parts.package(kind, &args.package, &target, ui).await?;
    let report = report(&args.package, &package);
    ui.result(args.printed.output, &report, |ui, report| {
        ui.line(format_args!("{} ({})", report.package, report.digest));
        if !report.description.is_empty() {
            ui.line(format_args!("  {}", report.description));
        }
        for row in &report.modules {
            ui.line(format_args!("{}@{} (API {})", row.id, row.version, row.api));
            if !row.targets.is_empty() {
                ui.line(format_args!("  for {}", row.targets.join(", ")));
            }
            for group in &row.order {
                ui.line(format_args!("  stands for {}", group.join(", ")));
            }
        }
    })
}

fn report(name: &str, package: &Package) -> Report {
    let row = |it: &Module| Row {
        id: it.id.to_string(),
        version: it.version.to_string(),
        api: it.api.clone(),
        name: it.info.name.clone(),
        homepage: it.info.homepage.clone(),
        targets: it.targets.iter().map(ToString::to_string).collect(),
        stacks: it.stacks.iter().map(|it| it.id.clone()).collect(),
        order: it
            .order
            .iter()
            .map(|it| it.group.iter().map(ToString::to_string).collect())
            .collect(),
        layer: match &it.content {
            Content::Layer(layer) => Some(layer.diff_id.to_string()),
            _ => None,
        },
    };
    let main = &package.main;
    Report {
        package: name.to_owned(),
        digest: main.origin.digest.to_string(),
        id: main.id.to_string(),
        version: main.version.to_string(),
        description: main.info.description.clone(),
        modules: package.modules().map(row).collect(),
    }
}
