use std::path::Path;

use crate::environment::Environment;
use crate::error::CommandError;
use crate::keys::{self, Files};
use crate::ui::Ui;

/// Makes a key pair.
pub(crate) fn generate(
    prefix: &Path,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let files = Files::of(prefix);
    keys::generate(&files, environment)?;
    ui.line(format_args!(
        "{} (private, encrypted) and {} (public)",
        files.private.display(),
        files.public.display()
    ));
    Ok(())
}
