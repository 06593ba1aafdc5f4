//! `sealpack builder`: builder images, made in pack's format, and looked at.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::Arc;

use clap::{Args, Subcommand};
use lifecycle_core::buildpack::Kind;
use lifecycle_core::provenance::Named;
use oci::{Image, Limits, Platform, Reference};
use platform::builder::{Builder, BuilderToml, CreatedBy, Locator, ModuleName, Target};
use platform::make::builder::{BuilderRecipe, make};
use platform::make::{LifecycleFiles, Made};
use serde::Serialize;

use crate::args::{Access, Printed};
use crate::building::{HOW, OwnPrograms};
use crate::environment::{self, Environment};
use crate::error::{CommandError, Context as _, Message};
use crate::images::Lookup;
use crate::making::{self, MakingArgs, Parts};
use crate::typed;
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum BuilderCommand {
    Create(Box<Create>),
    Inspect(Box<Inspect>),
}

/// Make a builder image of a base image, a lifecycle, buildpacks and extensions.
///
/// The image is of pack's format: pack, kpack and others build with it. The lifecycle is the one that
/// `builder.toml` names by `lifecycle.uri`, an archive or an image; without that it is ours.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sealpack builder create registry.example/builder:v1 --config builder.toml --key release.key
  For two platforms, as an index:
    sealpack builder create registry.example/builder:v1 -c builder.toml -t linux/amd64 -t linux/arm64
  Into a layout, with two buildpacks in one layer:
    sealpack builder create oci:out:builder -c builder.toml --flatten 'example/one@1.0.0,example/two@2.0.0'")]
pub(crate) struct Create {
    /// Where it goes: `HOST/REPO:TAG`, `oci:DIR:TAG`, `oci-archive:FILE`, `docker-daemon:NAME:TAG`.
    #[arg(value_parser = typed::image)]
    destination: Reference,

    /// What it is made of: a `builder.toml`.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,

    /// Put these buildpacks into one layer: `ID@VERSION,ID@VERSION`. Repeatable: a layer each.
    #[arg(long, value_name = "LIST")]
    flatten: Vec<String>,

    /// Take our own lifecycle from this folder: `lifecycle` and `launcher`. Without it, `lifecycle`
    /// beside `sealpack`, which is smaller, else `sealpack` itself, which is a lifecycle, too.
    #[arg(long, value_name = "DIR")]
    lifecycle: Option<PathBuf>,

    #[command(flatten)]
    making: MakingArgs,
}

/// Show what a builder image is: who made it, its lifecycle, run images, buildpacks and their order.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sealpack builder inspect registry.example/builder:v1")]
pub(crate) struct Inspect {
    /// The builder image.
    #[arg(value_parser = typed::image)]
    image: Reference,

    /// Of an index, the image for this platform; without it, for this machine's.
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    #[command(flatten)]
    access: Access,

    #[command(flatten)]
    printed: Printed,
}

pub(crate) async fn run(
    command: BuilderCommand,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    match command {
        BuilderCommand::Create(args) => Box::pin(create(*args, environment, ui)).await,
        BuilderCommand::Inspect(args) => inspect(*args, environment, ui).await,
    }
}

async fn create(args: Create, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    let config = environment.directory.join(&args.config);
    let toml = BuilderToml::read(&config)
        .context(|| format!("failed to read `{}`", args.config.display()))?;
    if toml.run_image().is_none() {
        return Err(Message("the builder names no run image".to_owned()))
            .context(|| format!("failed to use `{}`", args.config.display()))
            .map_err(|it: CommandError| it.hint("add `[[run.images]]` with `image = …`"));
    }
    let base_name = toml.build_image().ok_or_else(|| {
        CommandError::undecided(Message("the builder names no base image".to_owned()))
            .hint("add `[build]` with `image = …`")
    })?;
    let flatten = flattened(&args.flatten)?;
    let labels = args.making.labels()?;
    let about = making::About {
        kind: making::MadeKind::Builder,
        description: Some(Named {
            name: args.config.display().to_string(),
            uri: None,
            digest: toml.digest(),
        }),
        labels: labels.clone(),
        flatten: args.flatten.clone(),
        run_images: toml.run_images(),
        started: environment::now(),
    };
    // Who cannot sign should know before anything is made.
    let signer = args.making.signer(environment).await?;
    let images = Lookup::new(&args.making.access, environment, ui);
    let parts = Parts {
        images: &images,
        folder: toml.folder(),
        notes: making::Notes::default(),
    };
    ui.begin("base", base_name.to_owned());
    let found = parts.image(base_name).await?;
    let scratch = making::scratch(environment)?;
    let mut targets = args.making.targets.clone();
    if targets.is_empty() {
        targets = toml.targets();
    }
    if targets.is_empty() {
        targets.push(Target::from(&Platform::host()));
    }
    making::once_each(&targets)?;
    let mut made: Vec<(Platform, Made)> = Vec::new();
    for (at, target) in targets.iter().enumerate() {
        let base = making::image_for(&found, target).await?;
        let target = &Target::from(&base.config().platform());
        let folder = scratch.path().join(at.to_string());
        fs_err::create_dir(&folder).map_err(CommandError::undecided)?;
        let lifecycle = lifecycle(&toml, &args, &parts, target, &folder, environment).await?;
        let mut packages = [Vec::new(), Vec::new()];
        for (kind, packages) in [Kind::Buildpack, Kind::Extension].iter().zip(&mut packages) {
            for locator in toml.locators(*kind) {
                ui.begin("modules", locator.to_owned());
                packages.push(parts.package(*kind, locator, target, ui).await?);
            }
        }
        let [buildpacks, extensions] = packages;
        ui.begin("layers", target.to_string());
        let recipe = BuilderRecipe {
            toml: &toml,
            base_store: Arc::clone(&found.store),
            buildpacks,
            extensions,
            lifecycle,
            labels: labels.clone(),
            flatten: flatten.clone(),
            created_by: CreatedBy {
                name: "sealpack".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            base,
        };
        let one = make(recipe, &folder).await;
        let one = one.context(|| format!("failed to make the builder for {target}"))?;
        ui.done(
            "layers",
            format_args!("{} new for {target}", one.layers.len()),
        );
        made.push((target.platform(), one));
    }
    let shared = (&images, environment, ui);
    let asked = (&args.making, signer.as_ref());
    let report = making::publish((&made, &about), &args.destination, asked, shared).await?;
    ui.result(args.making.printed.output, &report, making::print)
}

/// The lifecycle that the description names, or ours.
async fn lifecycle(
    toml: &BuilderToml,
    args: &Create,
    parts: &Parts<'_>,
    target: &Target,
    scratch: &Path,
    environment: &Environment,
) -> Result<LifecycleFiles, CommandError> {
    let what = || "failed to use the lifecycle".to_owned();
    match toml.lifecycle() {
        (Some(_), _) if args.lifecycle.is_some() => {
            Err(Message("`--lifecycle` is not allowed beside `lifecycle.uri`".to_owned()).into())
        }
        (Some(uri), _) => {
            let locator = Locator::parse(uri, Kind::Buildpack, parts.folder, None);
            match locator.map_err(making::unknown)? {
                Locator::Path(path) => LifecycleFiles::of_archive(&path).context(what),
                Locator::Image(reference) => {
                    let found = parts.images.find(&reference).await?;
                    let image = making::image_for(&found, target).await?;
                    let files = LifecycleFiles::of_image(&found.store, &image, scratch).await;
                    files.context(what)
                }
                Locator::Builder | Locator::Named { .. } => Err(making::of_a_builder(uri)),
            }
        }
        (None, Some(version)) => Err(CommandError::undecided(Message(format!(
            "lifecycle {version} is not on this machine"
        )))
        .hint("download its archive, and name it by `lifecycle.uri`")
        .hint("or leave out `lifecycle.version`: then our own is taken")),
        (None, None) => ours(args, target, environment),
    }
}

/// Our own lifecycle, which is for this machine's platform only.
fn ours(
    args: &Create,
    target: &Target,
    environment: &Environment,
) -> Result<LifecycleFiles, CommandError> {
    let host = Target::from(&Platform::host());
    if (&host.os, &host.arch) != (&target.os, &target.arch) {
        return Err(CommandError::undecided(Message(format!(
            "our own lifecycle is for {host}, and the builder is for {target}"
        )))
        .hint("name one for that platform by `lifecycle.uri` in `builder.toml`"));
    }
    let programs = OwnPrograms::find(args.lifecycle.as_deref(), environment)?;
    // Others take it out of the builder, and have no need of all that `sealpack` is besides.
    let beside = programs.others.join("lifecycle");
    let program = if beside.is_file() {
        beside
    } else {
        programs.running.lifecycle.clone()
    };
    if let Some(folder) = programs.missing() {
        let path = folder.join("launcher");
        let missing = format!("`{}` is not there, and a builder needs it", path.display());
        return Err(CommandError::undecided(Message(missing)).hint(HOW));
    }
    let output = Process::new(&program)
        .arg0("detector")
        .arg("-version")
        .env_clear()
        .env("CNB_PLATFORM_API", "0.12")
        .output();
    let output = output.context(|| format!("failed to run `{}`", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.trim().split('+').next().unwrap_or_default().to_owned();
    if version.is_empty() || !output.status.success() {
        let path = program.display();
        return Err(Message(format!("`{path}` does not say its version")).into());
    }
    LifecycleFiles::of_programs(&program, &programs.launcher, &version)
        .context(|| "failed to use our own lifecycle".to_owned())
}

fn flattened(lists: &[String]) -> Result<Vec<Vec<ModuleName>>, CommandError> {
    let name = |it: &str| {
        it.trim()
            .parse::<ModuleName>()
            .context(|| "failed to read `--flatten`".to_owned())
    };
    lists
        .iter()
        .map(|it| it.split(',').map(name).collect())
        .collect()
}

/// What `sealpack builder inspect --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    image: String,
    digest: String,
    description: String,
    platform: String,
    created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<String>,
    user: String,
    lifecycle: LifecycleReport,
    run_images: Vec<RunImage>,
    buildpacks: Vec<Module>,
    extensions: Vec<Module>,
    order: Vec<Vec<Member>>,
    order_extensions: Vec<Vec<Member>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleReport {
    version: String,
    buildpack_apis: Vec<String>,
    platform_apis: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RunImage {
    image: String,
    mirrors: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Module {
    id: String,
    version: String,
    api: String,
    name: String,
    homepage: String,
    layer: String,
}

#[derive(Debug, Serialize)]
struct Member {
    id: String,
    version: String,
    optional: bool,
}

async fn inspect(args: Inspect, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    let images = Lookup::new(&args.access, environment, ui);
    let found = images.find(&args.image).await?;
    let platform = args.platform.unwrap_or_else(Platform::host);
    let limits = Limits::default();
    let image = Image::read(&*found.store, &found.descriptor, &platform, &limits)
        .await
        .map_err(CommandError::undecided)?;
    let builder = Builder::of_image(args.image.to_string(), image, Arc::clone(&found.store))
        .context(|| format!("`{}` cannot be used as a builder", args.image))?;
    let report = Report::of(&builder);
    ui.result(args.printed.output, &report, print)
}

impl Report {
    fn of(builder: &Builder) -> Self {
        let image = builder.image();
        let modules = |kind| {
            let module = |it: &platform::builder::Module| Module {
                id: it.id.to_string(),
                version: it.version.to_string(),
                api: it.api.clone(),
                name: it.info.name.clone(),
                homepage: it.info.homepage.clone(),
                layer: it.origin.digest.to_string(),
            };
            builder.modules(kind).iter().map(module).collect()
        };
        let groups = |groups: &[lifecycle_core::files::order::OrderGroup]| {
            let member = |it: &lifecycle_core::files::group::GroupElement| Member {
                id: it.id.clone(),
                version: it.version.clone(),
                optional: it.optional,
            };
            let group = |it: &lifecycle_core::files::order::OrderGroup| {
                it.group.iter().map(member).collect()
            };
            groups.iter().map(group).collect()
        };
        let lifecycle = &builder.lifecycle;
        let created = image.map(|it| &it.created_by);
        Self {
            image: image.map_or_else(String::new, |it| it.name.clone()),
            digest: builder.digest.to_string(),
            description: builder.description.clone(),
            platform: image.map_or_else(String::new, |it| it.target().to_string()),
            created_by: created.map_or_else(String::new, |it| {
                format!("{} {}", it.name, it.version).trim().to_owned()
            }),
            stack: image.and_then(|it| it.stack_id.clone()),
            user: image.map_or_else(String::new, |it| format!("{}:{}", it.uid, it.gid)),
            lifecycle: LifecycleReport {
                version: lifecycle.version.clone().unwrap_or_default(),
                buildpack_apis: lifecycle.apis.buildpack.all().map(str::to_owned).collect(),
                platform_apis: lifecycle.apis.platform.all().map(str::to_owned).collect(),
            },
            run_images: builder
                .run
                .images
                .iter()
                .map(|it| RunImage {
                    image: it.image.clone(),
                    mirrors: it.mirrors.clone(),
                })
                .collect(),
            buildpacks: modules(Kind::Buildpack),
            extensions: modules(Kind::Extension),
            order: groups(&builder.order.order),
            order_extensions: groups(&builder.order.order_extensions),
        }
    }
}

fn print(ui: &Ui, report: &Report) {
    ui.line(format_args!("{} ({})", report.image, report.digest));
    if !report.description.is_empty() {
        ui.line(format_args!("  {}", report.description));
    }
    ui.line(format_args!("made by     {}", report.created_by));
    ui.line(format_args!("platform    {}", report.platform));
    ui.line(format_args!("user        {}", report.user));
    ui.line(format_args!(
        "lifecycle   {} (Buildpack API {}; Platform API {})",
        report.lifecycle.version,
        report.lifecycle.buildpack_apis.join(", "),
        report.lifecycle.platform_apis.join(", ")
    ));
    for image in &report.run_images {
        ui.line(format_args!("run image   {}", image.image));
        for mirror in &image.mirrors {
            ui.line(format_args!("  or        {mirror}"));
        }
    }
    for (title, modules) in [
        ("buildpacks", &report.buildpacks),
        ("extensions", &report.extensions),
    ] {
        if !modules.is_empty() {
            ui.line(title);
        }
        for module in modules {
            ui.line(format_args!(
                "  {}@{} (API {})",
                module.id, module.version, module.api
            ));
        }
    }
    for (title, groups) in [
        ("group", &report.order),
        ("group of extensions", &report.order_extensions),
    ] {
        for (at, group) in groups.iter().enumerate() {
            ui.line(format_args!("{title} {}", at + 1));
            for member in group {
                let optional = if member.optional { " (optional)" } else { "" };
                ui.line(format_args!("  {}@{}{optional}", member.id, member.version));
            }
        }
    }
}
