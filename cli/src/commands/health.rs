//! `sealpack health`: the community health of a source repository.

use std::path::{Path, PathBuf};

use clap::Args;
use health::{Health, HistoryError, Limits, Measured, RepositoryPlace};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::args::Printed;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::temporary;
use crate::ui::Ui;
use crate::written;

/// Measure the community health of a source repository.
///
/// From git alone: who contributes and since when, on how few it rests, how often there are commits
/// and releases, what carries a signature (which is not verified), which files are there. The same
/// commit, tags and time give the same figures. docs/health.md defines each.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  Of what is checked out here:
    sealpack health
  As a page with plots:
    sealpack health https://git.example/app.git --html health.html
  As a signed claim about an image:
    sealpack health --output json > health.json
    sealpack attest registry.example/app:v1 --type health --predicate health.json --key release.key")]
pub(crate) struct HealthArgs {
    /// The repository: a folder in it, a bare one, or its address (`file://`, `https://`, `ssh://`,
    /// `user@host:path`), which the program `git` clones into a temporary folder.
    #[arg(value_name = "DIR|URL", default_value = ".")]
    source: String,

    /// Measure the history of this commit, branch or tag; of what is checked out without it.
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,

    /// Count ages and the last year back from this time (RFC 3339, or a date); from when the commit
    /// was made without it.
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,

    /// Add what a forge knows, from this export: a JSON object of GitHub's lists `issues`, `pulls`,
    /// `releases` and `comments` (docs/health.md).
    #[arg(long, value_name = "FILE")]
    forge: Option<PathBuf>,

    /// Name so many of the most active people. Without it nobody is named.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    people: usize,

    /// Write a page with plots into this file, `-` for standard output.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Open no connection at all: only files on this machine.
    #[arg(long)]
    offline: bool,

    #[command(flatten)]
    printed: Printed,
}

pub(crate) fn run(
    args: &HealthArgs,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let health = measured(args, environment, ui)?;
    if let Some(path) = &args.html {
        written::write(path, &report::health::page(&health).html(), ui)?;
        if path == Path::new("-") {
            return Ok(());
        }
    }
    ui.result(args.printed.output, &health, |ui, health| {
        ui.line(report::health::text(health).trim_end());
    })
}

/// Reads and measures what was asked for.
fn measured(args: &HealthArgs, environment: &Environment, ui: &Ui) -> Result<Health, CommandError> {
    let as_of = args.as_of.as_deref().map(time).transpose()?;
    let limits = Limits::default();
    let history = match RepositoryPlace::parse(&args.source).map_err(CommandError::undecided)? {
        RepositoryPlace::Folder(folder) => {
            let folder = environment.directory.join(folder);
            history(&folder, args, &limits)?
        }
        RepositoryPlace::Remote(_) if args.offline => {
            return Err(Message(
                "the repository is elsewhere, and `--offline` opens no connection".to_owned(),
            )
            .into());
        }
        RepositoryPlace::Remote(url) => {
            let folder = temporary::folder(environment, "sealpack-health-")?;
            ui.begin("clone", args.source.clone());
            let target = folder.path().join("repository");
            health::clone(Path::new("git"), &url, &target).map_err(CommandError::undecided)?;
            let mut history = history(&target, args, &limits)?;
            history.uri = history.uri.or_else(|| health::without_credentials(&url));
            history
        }
    };
    let how = Measured {
        as_of,
        named_people: args.people,
    };
    let mut health = health::measure(&history, how);
    if let Some(path) = &args.forge {
        let export = super::attest::read(path, limits.forge_bytes)?;
        health::forge::add(&mut health, &export)
            .context(|| format!("failed to use `{}`", path.display()))?;
    }
    Ok(health)
}

fn history(
    folder: &Path,
    args: &HealthArgs,
    limits: &Limits,
) -> Result<health::History, CommandError> {
    health::read(folder, args.revision.as_deref(), limits).map_err(|error| {
        let is_shallow = matches!(error, HistoryError::Shallow { .. });
        let error = CommandError::undecided(error);
        if is_shallow {
            error.hint("bring the rest: `git fetch --unshallow --tags`")
        } else {
            error
        }
    })
}

/// Reads a time, or a date, which means its beginning in UTC.
fn time(text: &str) -> Result<i64, CommandError> {
    let full = if text.len() == 10 {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    OffsetDateTime::parse(&full, &Rfc3339)
        .map(OffsetDateTime::unix_timestamp)
        .context(|| format!("`{text}` is neither a date nor an RFC 3339 time"))
}
