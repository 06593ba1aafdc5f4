//! `sealpack manifest`: indexes of images that were built elsewhere, in pack's words.

mod args;
mod list;
mod members;
mod push;

use std::collections::BTreeMap;

use oci::{Descriptor, Location, Platform, Reference};
use serde::Serialize;

pub(crate) use self::args::Manifest;
use self::args::{Add, Annotate, Create, Inspect, Push, Remove, Rm};
use self::list::{List, Lists};
use crate::args::{Access, Format, SignerArgs};
use crate::claims::Attached;
use crate::environment::Environment;
use crate::error::{CommandError, Message};
use crate::images::Lookup;
use crate::keys;
use crate::signing::Signer;
use crate::typed;
use crate::ui::Ui;

/// What `sealpack manifest … --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    list: String,
    /// The index, by digest, where it was pushed or found.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<String>,
    digest: String,
    media_type: String,
    manifests: Vec<EntryReport>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attached: Vec<Attached>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referrers: Option<usize>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryReport {
    digest: String,
    media_type: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    /// Where it is, by digest; of a list on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

/// What `sealpack manifest remove --output json` prints.
#[derive(Debug, Serialize)]
struct Removed {
    removed: Vec<String>,
}

pub(crate) async fn run(
    command: Manifest,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let lists = Lists::of(environment)?;
    match command {
        Manifest::Create(args) => create(args, &lists, environment, ui).await,
        Manifest::Add(args) => add(args, &lists, environment, ui).await,
        Manifest::Annotate(args) => annotate(args, &lists, environment, ui).await,
        Manifest::Rm(args) => rm(args, &lists, ui).await,
        Manifest::Remove(args) => remove(args, &lists, ui),
        Manifest::Push(args) => push(args, &lists, environment, ui).await,
        Manifest::Inspect(args) => inspect(args, &lists, environment, ui).await,
    }
}

async fn create(
    args: Create,
    lists: &Lists,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    if !args.publish && push::signs(&args.signer) {
        return Err(CommandError::undecided(Message(
            "a list on this machine is not signed".to_owned(),
        ))
        .hint(
            "sign when it is pushed: `sealpack manifest push --key FILE`, or here with `--publish`",
        ));
    }
    let form = args.format.media_type();
    let mut list = if args.publish {
        lists.empty(&args.list, form)?
    } else {
        lists.create(&args.list, form)?
    };
    let images = Lookup::new(&args.access, environment, ui);
    for reference in &args.images {
        for member in members::find(reference, &list.name, &images).await? {
            list.add(member.found_anywhere(&environment.directory))?;
        }
    }
    if args.publish {
        let destination = list.name.clone();
        let signer = signer(&args.signer, &args.access, environment).await?;
        let pushed = push::run(&list, &destination, None, signer.as_ref(), &images, ui).await?;
        return pushed_to(&list, &destination, pushed, args.printed.output, ui);
    }
    list.save(ui)?;
    let line = format!("Successfully created manifest list '{}'", args.list);
    say(&list, &line, args.printed.output, ui)
}

async fn add(
    args: Add,
    lists: &Lists,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let mut list = lists.load(&args.list)?;
    let images = Lookup::new(&args.access, environment, ui);
    for reference in &args.images {
        for member in members::find(reference, &list.name, &images).await? {
            list.add(member.found_anywhere(&environment.directory))?;
        }
    }
    list.save(ui)?;
    let lines: Vec<_> = args
        .images
        .iter()
        .map(|it| format!("Successfully added image '{it}' to index"))
        .collect();
    say(&list, &lines.join("\n"), args.printed.output, ui)
}

async fn annotate(
    args: Annotate,
    lists: &Lists,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let mut annotations = BTreeMap::new();
    for it in &args.annotations {
        match it.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                annotations.insert(key.to_owned(), value.to_owned());
            }
            _ => return Err(Message(format!("`{it}` is not of the form KEY=VALUE")).into()),
        }
    }
    let mut list = lists.load(&args.list)?;
    let images = Lookup::new(&args.access, environment, ui);
    let digest = members::of_list(&args.image, &list, Some(&images)).await?;
    let entry = list
        .entry(&digest)
        .ok_or_else(|| Message(format!("`{}` is not in the list", args.image)))?;
    let mut platform = entry.platform.clone().unwrap_or_default();
    if let Some(os) = args.os {
        platform.os = os;
    }
    if let Some(architecture) = args.arch {
        platform.architecture = architecture;
    }
    if let Some(variant) = args.variant {
        platform.variant = Some(variant).filter(|it| !it.is_empty());
    }
    // It has to be one that others can ask for.
    platform
        .to_string()
        .parse::<Platform>()
        .map_err(CommandError::undecided)?;
    entry.platform = Some(platform);
    entry.annotations.extend(annotations);
    list.save(ui)?;
    let line = format!(
        "Successfully annotated image '{}' in index '{}'",
        args.image, args.list
    );
    say(&list, &line, args.printed.output, ui)
}

async fn rm(args: Rm, lists: &Lists, ui: &Ui) -> Result<(), CommandError> {
    let mut list = lists.load(&args.list)?;
    for name in &args.images {
        let digest = members::of_list(name, &list, None).await?;
        list.take_out(&digest);
    }
    list.save(ui)?;
    let line = format!("Successfully removed image(s) from index: '{}'", args.list);
    say(&list, &line, args.printed.output, ui)
}

fn remove(args: Remove, lists: &Lists, ui: &Ui) -> Result<(), CommandError> {
    let found = args.lists.iter().map(|it| lists.load(it));
    // All or none.
    let found = found.collect::<Result<Vec<_>, _>>()?;
    for list in &found {
        list.remove()?;
    }
    let report = Removed {
        removed: args.lists,
    };
    ui.result(args.printed.output, &report, |ui, _| {
        ui.line("Successfully deleted manifest list(s) from local storage");
    })
}

async fn push(
    args: Push,
    lists: &Lists,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let list = lists.load(&args.list)?;
    let signer = signer(&args.signer, &args.access, environment).await?;
    let images = Lookup::new(&args.access, environment, ui);
    let destination = args.destination.unwrap_or_else(|| list.name.clone());
    let form = args.format.map(args::Form::media_type);
    let pushed = push::run(&list, &destination, form, signer.as_ref(), &images, ui).await?;
    if args.purge {
        list.remove()?;
    }
    pushed_to(&list, &destination, pushed, args.printed.output, ui)
}

async fn inspect(
    args: Inspect,
    lists: &Lists,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let reference = typed::image(&args.list).map_err(CommandError::undecided)?;
    let is_name = matches!(reference.location, Location::Registry(_));
    let local = match (is_name, &reference.digest) {
        (true, None) => lists.find(&args.list)?,
        _ => None,
    };
    let (report, index) = if let Some(list) = local {
        (Report::of(&list)?, list.index)
    } else {
        let images = Lookup::new(&args.access, environment, ui);
        let found = images.find(&reference).await?;
        let index = members::index(&found).await?;
        let report = Report {
            list: args.list,
            index: Some(found.reference.to_string()),
            digest: found.descriptor.digest.to_string(),
            media_type: found.descriptor.media_type.to_string(),
            manifests: index.manifests.iter().map(EntryReport::of).collect(),
            annotations: index.annotations.clone(),
            attached: Vec::new(),
            referrers: None,
        };
        (report, index)
    };
    match args.printed.output {
        // As pack: the index itself.
        Format::Text => ui.json(&index),
        Format::Json => ui.json(&report),
    }
}

/// Who signs, if someone does.
async fn signer(
    args: &SignerArgs,
    access: &Access,
    environment: &Environment,
) -> Result<Option<Signer>, CommandError> {
    if !push::signs(args) {
        return Ok(None);
    }
    let key = args.key.as_deref().map(|it| keys::private(it, environment));
    let signer = Signer::open(key.transpose()?, &args.services, access, environment).await?;
    Ok(Some(signer))
}

/// Says that something was done with a list.
fn say(list: &List, line: &str, format: Format, ui: &Ui) -> Result<(), CommandError> {
    ui.result(format, &Report::of(list)?, |ui, _| ui.line(line))
}

/// Says that a list was pushed.
fn pushed_to(
    list: &List,
    destination: &Reference,
    pushed: push::Pushed,
    format: Format,
    ui: &Ui,
) -> Result<(), CommandError> {
    let report = Report {
        index: Some(destination.at(pushed.root.digest.clone()).to_string()),
        digest: pushed.root.digest.to_string(),
        media_type: pushed.root.media_type.to_string(),
        attached: pushed.attached,
        referrers: Some(pushed.referrers),
        ..Report::of(list)?
    };
    let place = match destination.location {
        Location::Registry(_) if *destination == list.name => "registry".to_owned(),
        _ => format!("'{destination}'"),
    };
    ui.result(format, &report, |ui, report| {
        ui.line(format_args!(
            "Successfully pushed manifest list '{}' to {place}",
            report.list
        ));
    })
}

impl Report {
    fn of(list: &List) -> Result<Self, CommandError> {
        let (root, _) = list.index.encode().map_err(CommandError::undecided)?;
        let mut manifests = Vec::new();
        for entry in &list.index.manifests {
            manifests.push(EntryReport {
                source: Some(list.place(&entry.digest)?.to_string()),
                ..EntryReport::of(entry)
            });
        }
        Ok(Self {
            list: list.typed_name().to_owned(),
            index: None,
            digest: root.digest.to_string(),
            media_type: root.media_type.to_string(),
            manifests,
            annotations: list.index.annotations.clone(),
            attached: Vec::new(),
            referrers: None,
        })
    }
}

impl EntryReport {
    fn of(entry: &Descriptor) -> Self {
        Self {
            digest: entry.digest.to_string(),
            media_type: entry.media_type.to_string(),
            size: entry.size,
            platform: entry.platform.clone(),
            annotations: entry.annotations.clone(),
            source: None,
        }
    }
}
