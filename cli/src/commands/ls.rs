//! `sealpack ls`: the tags of a place.

use clap::Args;
use oci::Reference;
use serde::Serialize;

use crate::args::{Access, Printed};
use crate::environment::Environment;
use crate::error::{CommandError, Message};
use crate::images::{Lookup, with_hint};
use crate::typed;
use crate::ui::Ui;

/// List the tags of a repository, layout, archive or Docker daemon.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sealpack ls registry.example/app
  sealpack ls oci:out
  Also those by which proof is attached where there is no referrers API:
    sealpack ls registry.example/app --all")]
pub(crate) struct Ls {
    /// The place: `HOST/REPO`, `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE:NAME` or
    /// `docker-daemon:NAME`.
    #[arg(value_parser = typed::image)]
    pub(crate) place: Reference,

    /// List the tags of attached proof (`sha256-…`), too.
    #[arg(long, short)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What `sealpack ls --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
struct Report {
    place: String,
    tags: Vec<String>,
}

pub(crate) async fn run(args: Ls, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    if args.place.selector().is_some() {
        return Err(CommandError::undecided(Message(format!(
            "`{}` is one image, and what is listed is all that have a tag",
            args.place
        )))
        .hint(format!("name the place: `{}`", args.place.location)));
    }
    let images = Lookup::new(&args.access, environment, ui);
    ui.begin("list", args.place.to_string());
    let store = images.open(&args.place).await?;
    let tags = store.tags().await;
    let mut tags = tags.map_err(|error| with_hint(error, &args.place))?;
    tags.retain(|it| args.all || !it.is_digest_tag());
    let report = Report {
        place: args.place.to_string(),
        tags: tags.iter().map(ToString::to_string).collect(),
    };
    ui.result(args.printed.output, &report, |ui, report| {
        for tag in &report.tags {
            ui.line(tag);
        }
    })
}
