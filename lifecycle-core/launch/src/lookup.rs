//! Finding a program on `PATH`, by Go's rules.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use go::words::{PathError, io_cause};
use nix::unistd::{AccessFlags, eaccess};

/// Where `command` is: itself when it has a slash, else in the first folder of `search` that has it.
///
/// An empty entry of `search` is the working directory. What is found through a relative entry is
/// refused.
///
/// # Errors
///
/// When there is no such program, or it cannot be executed.
pub(super) fn look_up(command: &OsStr, search: &OsStr) -> Result<PathBuf, LookUpError> {
    let error = |cause| LookUpError {
        command: command.to_owned(),
        cause,
    };
    if command.as_bytes().contains(&b'/') {
        let path = PathBuf::from(command);
        return match executable(&path) {
            Ok(()) => Ok(path),
            Err(cause) => Err(error(cause)),
        };
    }
    for folder in search.as_bytes().split(|&byte| byte == b':') {
        let folder = Path::new(OsStr::from_bytes(folder));
        let path = folder.join(command);
        if executable(&path).is_ok() {
            return if folder.is_absolute() {
                Ok(path)
            } else {
                Err(error(
                    "cannot run executable found relative to current directory".to_owned(),
                ))
            };
        }
    }
    Err(error("executable file not found in $PATH".to_owned()))
}

fn executable(path: &Path) -> Result<(), String> {
    let metadata =
        fs::metadata(path).map_err(|error| PathError::new("stat", path, &error).to_string())?;
    if metadata.is_dir() {
        return Err("is a directory".to_owned());
    }
    eaccess(path, AccessFlags::X_OK).map_err(|errno| io_cause(&io::Error::from(errno)))
}

/// A program that cannot be started, as Go's `exec.Error` puts it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("exec: {command:?}: {cause}")]
#[non_exhaustive]
pub struct LookUpError {
    /// The program, as it was asked for.
    pub command: OsString,
    /// Why not.
    pub cause: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_go_finds_them() {
        let look = |command: &str, search: &str| {
            look_up(OsStr::new(command), OsStr::new(search))
                .map(|path| path.display().to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(look("sh", "/nowhere:/bin"), Ok("/bin/sh".to_owned()));
        assert_eq!(look("/bin/sh", ""), Ok("/bin/sh".to_owned()));
        assert_eq!(
            look("no-such-program", "/bin"),
            Err("exec: \"no-such-program\": executable file not found in $PATH".to_owned())
        );
        assert_eq!(
            look("/bin", ""),
            Err("exec: \"/bin\": is a directory".to_owned())
        );
        assert_eq!(
            look("/nowhere/x", ""),
            Err("exec: \"/nowhere/x\": stat /nowhere/x: no such file or directory".to_owned())
        );
        // Cargo runs tests in the folder of the package.
        assert!(look("src", "").is_err());
    }
}
