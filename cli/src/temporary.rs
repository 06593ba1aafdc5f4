//! Where temporary files go: the folder that `TMPDIR` names, or `/tmp`. What is wrong with it is said by that
//! name, since nobody has typed the path on this command line.

use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::fs::{Access, access};
use tempfile::TempDir;

use crate::environment::Environment;
use crate::error::{CommandError, Message};

/// What to do where the folder cannot be used.
pub(crate) const HINT: &str = "set `TMPDIR` to a folder that is there and can be written";

/// What to do where it is full.
pub(crate) const ROOM: &str = "set `TMPDIR` to a folder with more room";

/// A new folder there, which is gone at the end.
pub(crate) fn folder(environment: &Environment, prefix: &str) -> Result<TempDir, CommandError> {
    check(environment)?;
    let folder = environment.temporary();
    TempDir::with_prefix_in(prefix, &folder)
        .map_err(|error| unusable(environment, &reason(error.kind(), &error)))
}

/// Refuses a folder in which nothing can be made, as far as that can be known without doing it.
pub(crate) fn check(environment: &Environment) -> Result<(), CommandError> {
    match problem(&environment.temporary()) {
        Some(problem) => Err(unusable(environment, &problem)),
        None => Ok(()),
    }
}

fn unusable(environment: &Environment, problem: &str) -> CommandError {
    let folder = environment.temporary();
    let error = CommandError::undecided(Message(format!(
        "the folder for temporary files `{}` cannot be used ({}): {problem}",
        folder.display(),
        said_by(environment)
    )));
    error.hint(HINT)
}

/// What names the folder.
pub(crate) fn said_by(environment: &Environment) -> String {
    match relative(environment) {
        Some(value) => format!("`TMPDIR` is `{value}`, which is not an absolute path"),
        None if environment.text("TMPDIR").is_some_and(|it| !it.is_empty()) => "`TMPDIR`".into(),
        None => "`TMPDIR` is not set".into(),
    }
}

/// What `TMPDIR` is, if it does not count because it depends on the working folder: buildpacks and phases
/// run in others.
pub(crate) fn relative(environment: &Environment) -> Option<&str> {
    let value = environment.text("TMPDIR");
    value.filter(|it| !it.is_empty() && !Path::new(it).is_absolute())
}

/// Why nothing can be made in `folder`.
pub(crate) fn problem(folder: &Path) -> Option<String> {
    let error = match fs_err::metadata(folder) {
        Ok(found) if !found.is_dir() => ErrorKind::NotADirectory.into(),
        Ok(_) => access(folder, Access::WRITE_OK | Access::EXEC_OK)
            .err()?
            .into(),
        Err(error) => error,
    };
    Some(reason(error.kind(), &error))
}

fn reason(kind: ErrorKind, error: &io::Error) -> String {
    match kind {
        ErrorKind::NotFound => "it does not exist".to_owned(),
        ErrorKind::NotADirectory => "it is not a folder".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "its file system is read-only".to_owned(),
        ErrorKind::StorageFull => "its disk is full".to_owned(),
        _ => error.to_string(),
    }
}

/// Adds what to do to an error that is about a full disk, and names a file in that folder.
pub(crate) fn explained(error: CommandError, environment: &Environment) -> CommandError {
    let folder = environment.temporary().display().to_string();
    let lines = error.lines();
    let says = |text: &str| lines.iter().any(|it| it.text.contains(text));
    let is_full = says("No space left on device") || says("Disk quota exceeded");
    if is_full && says(&format!("{folder}/")) && !says(ROOM) {
        error.hint(ROOM)
    } else {
        error
    }
}
