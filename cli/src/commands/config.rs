//! `sealpack config`: which settings hold, and which of variables and file says so.

use clap::Args;
use serde::Serialize;

use crate::args::Printed;
use crate::defaults::{self, Setting};
use crate::environment::Environment;
use crate::error::CommandError;
use crate::ui::{Tone, Ui};

/// Show the settings from variables and `sealpack.toml`, and where each comes from.
///
/// The file lies where the command is called or beside that folder, or is named by `SEALPACK_CONFIG`. Flags
/// win over variables, and these over the file. A file that was not named holds for `build` alone. Whom to
/// believe and how registries are reached holds for all commands that ask; the rest for `build`, `sign`,
/// `attest`, `verify`, `policy check`, `mirror`, `rebase` and `key public`.
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
  registries-conf = \"registries.conf\"
  authfile = \"auth.json\"")]
pub(crate) struct Config {
    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What `sealpack config --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
struct Report {
    settings: Vec<Setting>,
    /// What can be set, and is not: the variable that would, if there is one.
    #[serde(rename = "notSet")]
    not_set: Vec<NotSet>,
}

#[derive(Debug, Serialize)]
struct NotSet {
    name: &'static str,
    flag: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<&'static str>,
}

pub(crate) fn run(args: &Config, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    let settings = defaults::all(environment, true)?;
    let is_set = |name: &str| settings.iter().any(|it| it.name == name);
    let not_set = defaults::known_settings().filter(|(name, ..)| !is_set(name));
    let not_set = not_set.map(|(name, flag, variable)| NotSet {
        name,
        flag,
        variable,
    });
    let report = Report {
        not_set: not_set.collect(),
        settings,
    };
    ui.result(args.printed.output, &report, |ui, report| {
        for it in &report.settings {
            let only = if it.build_only { ", for `build`" } else { "" };
            let from = ui.paint(Tone::Faint, format_args!("{}{only}", it.from));
            ui.line(format_args!("{:20} {}  {from}", it.name, it.value));
        }
        for it in &report.not_set {
            let by = it.variable.unwrap_or("only in a file that is named");
            let by = ui.paint(
                Tone::Faint,
                if it.name == "tags" { "in a file" } else { by },
            );
            ui.line(format_args!("{:20} -  {by}", it.name));
        }
    })
}
