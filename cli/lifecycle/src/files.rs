//! Reading the files that platforms and phases leave, with what is said when one is not there.

use std::path::Path;

use lifecycle_core::files::{self, FileError};
use lifecycle_core::{Level, Log as _};
use serde::de::DeserializeOwned;

use crate::console::Console;
use crate::failure::Failure;

/// A file that may be missing: then that is said at `level`, and it counts as empty.
///
/// # Errors
///
/// With `failed to read <kind> file`, as the cause of what the caller was about.
pub(crate) fn read_or_default<T: Default + DeserializeOwned>(
    path: &Path,
    kind: &str,
    level: Level,
    console: Console,
) -> Result<T, String> {
    let read = files::read(path).map_err(|error| cause(kind, &error))?;
    Ok(read.unwrap_or_else(|| {
        let path = path.display();
        console.line(
            level,
            &format!("No {kind} metadata found at path \"{path}\""),
        );
        T::default()
    }))
}

/// A file that has to be there.
///
/// # Errors
///
/// With `failed to read <kind> file` and `code`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, kind: &str, code: u8) -> Result<T, Failure> {
    files::read_required(path).map_err(|error| Failure {
        code,
        text: cause(kind, &error),
    })
}

fn cause(kind: &str, error: &FileError) -> String {
    format!("failed to read {kind} file: {}", go::words::chain(error))
}
