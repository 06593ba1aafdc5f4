//! Finding a program on `PATH`, by Go's rules.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use go::files::join;
use go::words::{PathError, io_cause, quoted};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};

/// Where `command` is: itself when it has a slash, else in the first folder of `search` that has it.
///
/// An empty entry of `search` is the working directory, but an empty `search` has no entries. What is
/// found through a relative entry is refused.
///
/// # Errors
///
/// When there is no such program, or it cannot be executed.
pub(super) fn look_up(command: &OsStr, search: &OsStr) -> Result<PathBuf, LookUpError> {
    let error = |cause| LookUpError {
        command: command.to_owned(),
        cause,
    };
    let not_found = || error("executable file not found in $PATH".to_owned());
    if matches!(command.as_bytes(), b"" | b"." | b"..") {
        return Err(not_found());
    }
    if command.as_bytes().contains(&b'/') {
        let path = PathBuf::from(command);
        return match executable(&path) {
            Ok(()) => Ok(path),
            Err(cause) => Err(error(cause)),
        };
    }
    if search.is_empty() {
        return Err(not_found());
    }
    for folder in search.as_bytes().split(|&byte| byte == b':') {
        let path = join(Path::new(OsStr::from_bytes(folder)), command);
        if executable(&path).is_ok() {
            return if path.is_absolute() {
                Ok(path)
            } else {
                Err(error(
                    "cannot run executable found relative to current directory".to_owned(),
                ))
            };
        }
    }
    Err(not_found())
}

fn executable(path: &Path) -> Result<(), String> {
    let metadata =
        fs::metadata(path).map_err(|error| PathError::new("stat", path, &error).to_string())?;
    if metadata.is_dir() {
        return Err("is a directory".to_owned());
    }
    match eaccess(path, AccessFlags::X_OK) {
        Ok(()) => Ok(()),
        // Where a container may not ask, the mode has to do.
        Err(Errno::ENOSYS | Errno::EPERM) if metadata.mode() & 0o111 != 0 => Ok(()),
        Err(Errno::ENOSYS | Errno::EPERM) => Err("permission denied".to_owned()),
        Err(errno) => Err(io_cause(&io::Error::from(errno))),
    }
}

/// A program that cannot be started, as Go's `exec.Error` puts it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("exec: {}: {cause}", quoted(command.as_bytes()))]
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
        let relative = "cannot run executable found relative to current directory";
        let here = fs::read_link("/proc/self/exe").unwrap();
        let up = "../".repeat(20);
        let to = here.parent().unwrap().display();
        let name = here.file_name().unwrap().to_str().unwrap();
        assert_eq!(
            look(name, &format!("{up}{to}")),
            Err(format!("exec: \"{name}\": {relative}"))
        );
        let none = |command: &str| {
            let quoted = quoted(command.as_bytes());
            Err(format!(
                "exec: {quoted}: executable file not found in $PATH"
            ))
        };
        for command in ["", ".", "..", "x\0"] {
            assert_eq!(look(command, "/:/bin"), none(command));
        }
        assert_eq!(look("sh", "/bin/../bin/./"), Ok("/bin/sh".to_owned()));
    }
}
