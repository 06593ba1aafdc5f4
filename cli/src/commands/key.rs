//! `sealpack key`: pairs of keys to sign with.

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
    /// Print the public key that belongs to a private key (PEM).
    #[command(after_help = "\
Examples:
  sealpack key public --key release.key > release.pub
  Of a key in a variable, as CI systems keep secrets:
    sealpack key public --key env://COSIGN_PRIVATE_KEY")]
    Public {
        /// The private key: a file, or `env://NAME` for what a variable holds. Its password comes from
        /// `COSIGN_PASSWORD` or a prompt.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,

        #[command(flatten)]
        printed: Printed,
    },
}

/// What `sealpack key public --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
struct PublicReport {
    /// PEM.
    public: String,
    /// Digest of its DER form, by which signers are named.
    fingerprint: String,
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
        Key::Public { key, printed } => {
            let key = keys::private(key, environment)?;
            let report = PublicReport {
                public: key.public_key().to_pem(),
                fingerprint: key.public_key().fingerprint().to_string(),
            };
            ui.result(printed.output, &report, |ui, report| {
                ui.line(report.public.trim_end());
            })
        }
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
    let is_open = keys::generate(&files, environment)?;
    let report = Report {
        private: files.private,
        public: files.public,
    };
    ui.result(output, &report, |ui, report| {
        ui.line(format_args!(
            "{} (private, encrypted{}) and {} (public)",
            report.private.display(),
            if is_open {
                " with an empty password"
            } else {
                ""
            },
            report.public.display()
        ));
    })
}
