//! Becoming the user that the build runs as.
//!
//! When the program already is that user, nothing here needs root.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown};
use std::path::Path;

use go::words::{PathError, io_cause};
use nix::unistd::{Gid, Uid, getegid, geteuid, getgid, getuid, setresgid, setresuid};

use crate::environment::Environment;
use crate::failure::{Failure, GENERIC};

/// The user and group of the build.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// Checks the numbers that flags gave.
    ///
    /// # Errors
    ///
    /// When they are no user and group.
    pub(crate) fn new(uid: i64, gid: i64) -> Result<Self, Failure> {
        match (u32::try_from(uid), u32::try_from(gid)) {
            (Ok(uid), Ok(gid)) if uid != u32::MAX && gid != u32::MAX => Ok(Self { uid, gid }),
            _ => Err(Failure::because(
                GENERIC,
                &format!("exec as user {uid}:{gid}"),
                "invalid argument",
            )),
        }
    }
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    getuid().is_root() || geteuid().is_root()
}

/// Gives those of `folders` that are there to `user`, with all below, unless they can be used as
/// they are. Who is not root fails here, as upstream does, and not somewhere in a build.
///
/// # Errors
///
/// When an owner cannot be changed.
pub(crate) fn own(user: User, folders: &[&Path]) -> Result<(), Failure> {
    for folder in folders.iter().filter(|it| !it.as_os_str().is_empty()) {
        let failed = |error: &PathError| Failure::new(GENERIC, "chown volumes", error);
        match fs::metadata(folder) {
            Ok(metadata) if is_writable(&metadata, user) => {}
            Ok(_) => own_tree(user, folder).map_err(|error| failed(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&PathError::new("stat", folder, &error))),
        }
    }
    Ok(())
}

/// An owner is taken to have the right to write.
fn is_writable(metadata: &Metadata, user: User) -> bool {
    let mode = metadata.permissions().mode();
    metadata.uid() == user.uid
        || (metadata.gid() == user.gid && mode & 0o020 != 0)
        || mode & 0o002 != 0
}

/// Links below `root` are changed themselves, never followed.
fn own_tree(user: User, root: &Path) -> Result<(), PathError> {
    chown(root, Some(user.uid), Some(user.gid))
        .map_err(|error| PathError::new("chown", root, &error))?;
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        let open = |error: io::Error| PathError::new("open", &folder, &error);
        for entry in fs::read_dir(&folder).map_err(open)? {
            let entry = entry.map_err(open)?;
            let path = entry.path();
            let is_dir = entry.file_type().map_err(open)?.is_dir();
            let action = if is_dir { "chown" } else { "lchown" };
            lchown(&path, Some(user.uid), Some(user.gid))
                .map_err(|error| PathError::new(action, &path, &error))?;
            if is_dir {
                pending.push(path);
            }
        }
    }
    Ok(())
}

/// Becomes `user`, for good. Nothing happens when the process is that user already.
///
/// # Errors
///
/// When it may not.
pub(crate) fn become_user(user: User) -> Result<(), Failure> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    if getuid() == uid && geteuid() == uid && getgid() == gid && getegid() == gid {
        return Ok(());
    }
    // The group first: without root there is no way to it any more.
    setresgid(gid, gid, gid)
        .and_then(|()| setresuid(uid, uid, uid))
        .map_err(|errno| {
            Failure::because(
                GENERIC,
                &format!("exec as user {}:{}", user.uid, user.gid),
                &io_cause(&io::Error::from(errno)),
            )
        })
}

/// Sets `HOME` and `USER` to what `/etc/passwd` says of `user`; without an entry they stay.
///
/// The file is read here and not by the C library, which would want plug-ins that a static program
/// cannot load.
///
/// # Errors
///
/// When the user is unknown.
pub(crate) fn set_home(user: User, environment: &mut Environment) -> Result<(), Failure> {
    let failed = |cause: &str| {
        let action = format!("set environment for user {}", user.uid);
        Err(Failure::because(GENERIC, &action, cause))
    };
    let passwd = match fs::read(PASSWD) {
        Ok(passwd) => String::from_utf8_lossy(&passwd).into_owned(),
        Err(error) => {
            return failed(&PathError::new("open", Path::new(PASSWD), &error).to_string());
        }
    };
    let Some((name, home)) = entry(&passwd, user.uid) else {
        return failed(&format!("user: unknown userid {}", user.uid));
    };
    environment.set("HOME", home);
    environment.set("USER", name);
    Ok(())
}

const PASSWD: &str = "/etc/passwd";

/// Name and home of a user.
fn entry(passwd: &str, uid: u32) -> Option<(&str, &str)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?;
        let home = fields.nth(2)?;
        (number.parse() == Ok(uid)).then_some((name, home))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_and_a_home() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\ncnb:x:1000:1000::/home/cnb:/bin/sh\n";
        assert_eq!(entry(passwd, 1000), Some(("cnb", "/home/cnb")));
        assert_eq!(entry(passwd, 1), None);
    }

    #[test]
    fn no_user_is_below_zero() {
        assert!(User::new(-1, 0).is_err());
        assert!(User::new(0, 1 << 32).is_err());
        assert!(User::new(1000, 1000).is_ok());
    }
}
