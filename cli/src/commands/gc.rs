use std::time::{Duration, SystemTime};

use clap::Args;
use oci::store::{GcRoots, LayoutStore};
use oci::{Location, Reference};
use serde::Serialize;

use crate::args::Printed;
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
    sealpack gc oci:out --untagged")]
pub(crate) struct Gc {
    /// The layout: `oci:DIR`.
    pub(crate) layout: Reference,

    /// Free images without a tag, too, unless an index or artifact that stays refers to them.
    #[arg(long)]
    pub(crate) untagged: bool,

    /// Leave files that were written in the last so many minutes: someone may be about to refer to
    /// them.
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

pub(crate) async fn run(args: Gc, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    let layout = &args.layout;
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
    let path = environment.directory.join(path);
    if !path.exists() {
        return Err(Message(format!("there is no folder `{}`", path.display())).into());
    }
    let store = LayoutStore::open(path)?;
    let roots = if args.untagged {
        GcRoots::Tagged
    } else {
        GcRoots::Listed
    };
    let age = Duration::from_mins(args.older_than.into());
    let before = environment::now().checked_sub(age);
    ui.begin("gc", layout.to_string());
    let freed = store.gc(roots, before.unwrap_or(SystemTime::UNIX_EPOCH));
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
