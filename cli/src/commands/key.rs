use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use crate::args::{Format, Printed};
use crate::environment::Environment;
use crate::error::CommandError;
use crate::keys::{self, Files};
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key pair in cosign's format: PREFIX.key, encrypted, and PREFIX.pub.
    ///
    /// The password comes from `COSIGN_PASSWORD` or a prompt.
    #[command(after_help = "Example:\n  sealpack key generate --output-key-prefix release")]
    Generate {
        /// What the files' names begin with.
        #[arg(long, value_name = "PREFIX", default_value = "sealpack")]
        output_key_prefix: PathBuf,

        #[command(flatten)]
        printed: Printed,
    },
}

/// What `sealpack key generate --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
struct Report {
    private: PathBuf,
    public: PathBuf,
}

pub(crate) fn run(command: &Key, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    match command {
        Key::Generate {
            output_key_prefix,
            printed,
        } => generate(output_key_prefix, printed.output, environment, ui),
    }
}

/// Makes a key pair.
fn generate(
    prefix: &Path,
    output: Format,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let files = Files::of(prefix);
    keys::generate(&files, environment)?;
    let report = Report {
        private: files.private,
        public: files.public,
    };
    ui.result(output, &report, |ui, report| {
        ui.line(format_args!(
            "{} (private, encrypted) and {} (public)",
            report.private.display(),
            report.public.display()
        ));
    })
}
