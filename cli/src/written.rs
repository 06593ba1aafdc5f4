//! Documents that commands write, whole or not at all.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::error::{CommandError, Context as _};
use crate::ui::Ui;

/// Writes a document in the place of what was there; to standard output, if `path` is `-`.
pub(crate) fn write(path: &Path, text: &str, ui: &Ui) -> Result<(), CommandError> {
    if path == Path::new("-") {
        ui.document(text.trim_end());
        return Ok(());
    }
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".sealpack-")
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(folder.unwrap_or_else(|| Path::new(".")))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|it| it.error)?;
        Ok::<_, std::io::Error>(())
    };
    write().context(|| format!("failed to write `{}`", path.display()))
}
