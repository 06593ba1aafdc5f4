//! `sealpack gc`: what nothing refers to goes, of layouts and of unpacked builders.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use lifecycle_core::exec::Cancel;
use oci::store::{GcRoots, LayoutStore};
use oci::{Location, Reference};
use platform::rootfs::RootStore;
use serde::Serialize;

use crate::args::Printed;
use crate::building;
use crate::environment::{self, Environment};
use crate::error::{CommandError, Message};
use crate::ui::{Tone, Ui, size};

/// Remove unreferenced content from an OCI layout.
///
/// That is what broken writes left, layers of deleted images, and by choice images whose tag has moved
/// on. Others may write into the layout meanwhile: what is younger than `--older-than` stays.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sealpack gc oci:out
  Also the images of earlier builds, whose tag has moved on:
    sealpack gc oci:out --untagged
  The unpacked layers of builder images that no build has used for a week:
    sealpack gc --roots --older-than 10080")]
pub(crate) struct Gc {
    /// The layout: `oci:DIR`.
    #[arg(required_unless_present = "roots", conflicts_with = "roots")]
    pub(crate) layout: Option<Reference>,

    /// Free layers of builder images that builds keep unpacked, and that none uses. The next build that
    /// wants one unpacks it again.
    #[arg(long, conflicts_with = "untagged")]
    pub(crate) roots: bool,

    /// Where they are kept, if not in the user's cache: as `sealpack build --root-store`.
    #[arg(long, value_name = "DIR", requires = "roots")]
    pub(crate) root_store: Option<PathBuf>,

    /// Free images without a tag, too, unless an index or artifact that stays refers to them.
    #[arg(long)]
    pub(crate) untagged: bool,

    /// Leave files that were written, and layers that were used, in the last so many minutes: someone
    /// may be about to refer to them.
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub(crate) older_than: u32,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What `sealpack gc --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    layout: String,
    freed_bytes: u64,
}

/// What `sealpack gc --roots --output json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RootsReport {
    root_store: PathBuf,
    freed_bytes: u64,
    freed_layers: u64,
    kept_layers: u64,
}

pub(crate) async fn run(args: Gc, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    let age = Duration::from_mins(args.older_than.into());
    let before = environment::now().checked_sub(age);
    let before = before.unwrap_or(SystemTime::UNIX_EPOCH);
    let Some(layout) = &args.layout else {
        return roots(&args, before, environment, ui).await;
    };
    let Location::Layout(path) = &layout.location else {
        return Err(CommandError::undecided(Message(format!(
            "`{layout}` is not a layout: only a layout (`oci:DIR`) has content to remove"
        )))
        .hint("registries free what was deleted by themselves; an archive is written without it"));
    };
    if layout.selector().is_some() {
        return Err(CommandError::undecided(Message(format!(
            "`{layout}` is one image, and what is freed is all that no image refers to"
        )))
        .hint(format!("name the layout: `oci:{}`", path.display())));
    }
    let named = path;
    let path = environment.directory.join(named);
    if !path.exists() {
        return Err(Message(format!("folder `{}` not found", named.display())).into());
    }
    let store = LayoutStore::open(path)?;
    let roots = if args.untagged {
        GcRoots::Tagged
    } else {
        GcRoots::Listed
    };
    ui.begin("gc", layout.to_string());
    let freed = store.gc(roots, before);
    let report = Report {
        layout: layout.to_string(),
        freed_bytes: freed.await?,
    };
    ui.result(args.printed.output, &report, |ui, report| {
        ui.line(format_args!(
            "{} {} in {}",
            ui.paint(Tone::Good, "freed"),
            size(report.freed_bytes),
            report.layout
        ));
    })
}

/// Frees the layers of builder images.
async fn roots(
    args: &Gc,
    before: SystemTime,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let folder = match &args.root_store {
        Some(folder) => environment.directory.join(folder),
        None => environment.root_store().ok_or_else(|| {
            CommandError::undecided(Message(
                "there is no folder for the user's cache".to_owned(),
            ))
            .hint("set `HOME`, or name the folder with `--root-store DIR`")
        })?,
    };
    ui.begin("gc", folder.display().to_string());
    let store = RootStore {
        folder: folder.clone(),
        enter: building::sandbox_program()?,
        cancel: Cancel::default(),
    };
    let freed = store.collect(before).await;
    let freed = freed.map_err(CommandError::undecided)?;
    if freed.foreign > 0 {
        let count = freed.foreign;
        ui.warn(format_args!(
            "{count} layers stay: their files belong to users that `/etc/subuid` gave you once, or to root's builds"
        ));
    }
    let report = RootsReport {
        root_store: folder,
        freed_bytes: freed.bytes,
        freed_layers: freed.layers,
        kept_layers: freed.kept + freed.foreign,
    };
    let failed = freed.problems;
    ui.result(args.printed.output, &report, |ui, report| {
        ui.line(format_args!(
            "{} {} in {}, {} of {} layers",
            ui.paint(Tone::Good, "freed"),
            size(report.freed_bytes),
            report.root_store.display(),
            report.freed_layers,
            report.freed_layers + report.kept_layers
        ));
    })?;
    if failed.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "{} layers or folders of them could not be freed",
        failed.len()
    );
    let error = CommandError::undecided(Message(problem));
    Err(failed.into_iter().fold(error, CommandError::note))
}
