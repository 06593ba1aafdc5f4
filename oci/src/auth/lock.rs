//! One process at a time changes a file of credentials.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::time::{Instant, sleep};

use super::CredentialsError;

/// How long to wait for others: who changes the file needs milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look whether they are done.
const AGAIN: Duration = Duration::from_millis(10);
/// Links that are followed; as many as Linux follows.
const LINKS: usize = 40;

/// Waits until nobody else changes the file at `path`, as far as they ask. It is made, without a
/// credential in it, if there is none. The lock ends with the value, or the process.
///
/// What is locked is the file itself: nothing more lies about, and it belongs to whom the file
/// belongs to. Since it is replaced by who has the lock, who gets the lock looks whether the file is
/// still there.
pub(super) async fn lock(path: &Path, patience: Duration) -> Result<File, CredentialsError> {
    let failed = |source| CredentialsError::Io {
        path: path.to_owned(),
        action: "lock",
        source,
    };
    let deadline = Instant::now() + patience;
    loop {
        match open(path) {
            Ok(file) if is_ours(&file, path).map_err(failed)? => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(failed)?,
            Err(error) => return Err(failed(error)),
        }
        if Instant::now() >= deadline {
            return Err(CredentialsError::Locked {
                path: path.to_owned(),
                patience,
            });
        }
        sleep(AGAIN).await;
    }
}

/// The file that `path` means: a link stays one, and what it points at is replaced.
pub(super) fn target(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        let Ok(next) = std::fs::read_link(&target) else {
            break;
        };
        target = folder(&target).join(next);
    }
    target
}

/// The folder of a file.
pub(super) fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// A network's file system locks only what may be written.
fn open(path: &Path) -> io::Result<File> {
    match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(path),
        other => other,
    }
}

/// Locks `file`, unless another has; whether it is ours now, and still the one at `path`.
fn is_ours(file: &File, path: &Path) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => is_at(file, path),
        Err(Errno::INTR | Errno::WOULDBLOCK) => Ok(false),
        // Not every file system has locks: there it goes as with other clients, which have none.
        Err(Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let file = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(it) => Ok((it.dev(), it.ino()) == (file.dev(), file.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the file, unless another does; whole, for who reads it meanwhile.
fn make(path: &Path) -> io::Result<()> {
    let folder = folder(path);
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(b"{}\n")?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_too_long_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let first = lock(&path, PATIENCE).await.unwrap();
        let error = lock(&path, AGAIN).await.unwrap_err();
        assert!(
            matches!(error, CredentialsError::Locked { .. }),
            "{error:?}"
        );
        drop(first);
        drop(lock(&path, AGAIN).await.unwrap());
    }

    #[tokio::test]
    async fn a_lock_on_a_file_that_was_replaced_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let first = lock(&path, PATIENCE).await.unwrap();
        let replace = async {
            sleep(AGAIN * 3).await;
            fs_err::write(folder.path().join("new"), "{}").unwrap();
            fs_err::rename(folder.path().join("new"), &path).unwrap();
            drop(first);
        };
        let (second, ()) = tokio::join!(lock(&path, PATIENCE), replace);
        assert!(is_at(&second.unwrap(), &path).unwrap());
    }

    #[test]
    fn who_gets_the_lock_looks_whether_the_file_is_still_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        make(&path).unwrap();
        let file = open(&path).unwrap();
        assert!(is_ours(&file, &path).unwrap());
        fs_err::remove_file(&path).unwrap();
        assert!(!is_ours(&file, &path).unwrap());
        make(&path).unwrap();
        assert!(!is_ours(&file, &path).unwrap());
        // The roots of these two have one number.
        let (one, other) = (Path::new("/proc"), Path::new("/sys"));
        assert!(!is_at(&File::open(one).unwrap(), other).unwrap());
    }

    #[test]
    fn a_file_that_another_made_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs_err::write(&path, "theirs").unwrap();
        make(&path).unwrap();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "theirs");
    }

    #[tokio::test]
    async fn what_can_never_be_locked_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("round");
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let error = lock(&path, PATIENCE).await.unwrap_err();
        assert!(matches!(error, CredentialsError::Io { .. }), "{error:?}");
    }

    #[test]
    fn a_bare_name_is_in_this_folder() {
        assert_eq!(folder(Path::new("config.json")), Path::new("."));
        assert_eq!(folder(Path::new("a/config.json")), Path::new("a"));
    }

    #[test]
    fn links_are_followed_to_where_they_point() {
        let folder = tempfile::tempdir().unwrap();
        let path = |it: &str| folder.path().join(it);
        for (link, to) in [("a", "b"), ("b", "deep/c"), ("round", "round")] {
            std::os::unix::fs::symlink(to, path(link)).unwrap();
        }
        assert_eq!(target(&path("a")), path("deep/c"));
        assert_eq!(target(&path("deep/c")), path("deep/c"));
        assert!(open(&target(&path("round"))).is_err());
    }
}
