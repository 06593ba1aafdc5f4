//! `sealpack version`: which version this is, and of which specifications.

use clap::Args;
use lifecycle_core::api::{BuildpackApi, PlatformApi};
use serde::Serialize;

use crate::args::Printed;
use crate::error::CommandError;
use crate::ui::Ui;

/// Show the version of this program, and of the specifications that it knows.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sealpack version --output json")]
pub(crate) struct Version {
    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What `sealpack version --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    version: &'static str,
    /// The upstream version whose behaviour the lifecycle in this program has.
    lifecycle: &'static str,
    platform_apis: Vec<&'static str>,
    buildpack_apis: Vec<&'static str>,
}

pub(crate) fn run(args: &Version, ui: &Ui) -> Result<(), CommandError> {
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        lifecycle: lifecycle::version::VERSION,
        platform_apis: PlatformApi::SUPPORTED
            .iter()
            .map(|it| it.as_str())
            .collect(),
        buildpack_apis: BuildpackApi::SUPPORTED
            .iter()
            .map(|it| it.as_str())
            .collect(),
    };
    ui.result(args.printed.output, &report, |ui, report| {
        ui.line(format_args!("sealpack {}", report.version));
        ui.line(format_args!("lifecycle:      {}", report.lifecycle));
        ui.line(format_args!(
            "platform APIs:  {}",
            report.platform_apis.join(", ")
        ));
        ui.line(format_args!(
            "buildpack APIs: {}",
            report.buildpack_apis.join(", ")
        ));
    })
}
