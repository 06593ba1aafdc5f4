//! `sealpack config`: which settings hold, and which of variables and file says so.

use clap::Args;
use serde::Serialize;

use crate::args::Printed;
use crate::defaults::{self, Setting};
use crate::environment::Environment;
use crate::error::CommandError;
use crate::ui::{Tone, Ui};

/// Show what is set by variables and by `sealpack.toml`, and which of them says so.
///
/// The file lies where the command is called, or is named by `SEALPACK_CONFIG`. Flags win over variables,
/// and these over the file. A file that was not named holds for `build` alone.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  sealpack config

A `sealpack.toml`:
  builder = \"builder.toml\"
  key = \"release.key\"
  policy = \"policy\"
  tags = [\"registry.example/app:v1\"]
Only in one that is named:
  public-keys = [\"release.pub\"]
  insecure-registries = [\"registry.internal:5000\"]
  registry-ca = [\"ca.pem\"]
  registries-conf = \"registries.conf\"")]
pub(crate) struct Config {
    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What `sealpack config --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
struct Report {
    settings: Vec<Setting>,
}

pub(crate) fn run(args: &Config, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    let settings = defaults::all(environment, true)?;
    ui.result(args.printed.output, &Report { settings }, |ui, report| {
        for it in &report.settings {
            let only = if it.build_only { ", for `build`" } else { "" };
            let from = ui.paint(Tone::Faint, format_args!("{}{only}", it.from));
            ui.line(format_args!("{:20} {}  {from}", it.name, it.value));
        }
    })
}
