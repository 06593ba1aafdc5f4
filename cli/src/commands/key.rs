use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::args::Format;
use crate::environment::Environment;
use crate::error::CommandError;
use crate::keys::{self, Files};
use crate::ui::Ui;

/// What `sealpack key generate --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
struct Report {
    private: PathBuf,
    public: PathBuf,
}

/// Makes a key pair.
pub(crate) fn generate(
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
