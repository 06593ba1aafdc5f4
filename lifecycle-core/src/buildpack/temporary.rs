//! Folders for files that a program of a buildpack reads and writes, and nobody after.

use std::fs::DirBuilder;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf, absolute};

use go::words::PathError;

/// How often another name is tried.
const TRIES: usize = 10_000;

/// A folder that is gone when this is dropped, with all in it.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes one in `parent` that nobody else may enter, as Go's `os.MkdirTemp`: its name is `pattern`
    /// with a number at its end, or where its last `*` stands.
    ///
    /// # Errors
    ///
    /// Names the folder that cannot be made, or `parent` if it is not there.
    pub(crate) fn make(parent: &Path, pattern: &str) -> Result<Self, PathError> {
        let (prefix, suffix) = pattern.rsplit_once('*').unwrap_or((pattern, ""));
        for _ in 0..TRIES {
            let random = RandomState::new().hash_one(0_u8) >> 32;
            let path = parent.join(format!("{prefix}{random}{suffix}"));
            let Err(error) = DirBuilder::new().mode(0o700).create(&path) else {
                // The program runs in another folder.
                return Ok(Self(absolute(&path).unwrap_or(path)));
            };
            match error.kind() {
                io::ErrorKind::AlreadyExists => {}
                io::ErrorKind::NotFound if !parent.exists() => {
                    return Err(PathError::new("stat", parent, &error));
                }
                _ => return Err(PathError::new("mkdir", &path, &error)),
            }
        }
        let path = parent.join(format!("{prefix}*{suffix}"));
        let error = io::Error::new(io::ErrorKind::AlreadyExists, "file already exists");
        Err(PathError::new("mkdirtemp", &path, &error))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it harms nobody.
        drop(go::files::remove_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_has_a_number_in_its_name_and_is_gone_after() {
        let parent = tempfile::tempdir().unwrap();
        for (pattern, start, end) in [("plan.", "plan.", ""), ("a*b*-", "a*b", "-")] {
            let made = Folder::make(parent.path(), pattern).unwrap();
            let name = made.path().file_name().unwrap().to_str().unwrap();
            let number = name.strip_prefix(start).unwrap().strip_suffix(end).unwrap();
            number.parse::<u32>().unwrap();
            let mode = made.path().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        assert_eq!(parent.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_made_is_told_as_in_go() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        let missing = parent.path().join("missing");
        let error = Folder::make(&missing, "plan.").unwrap_err().to_string();
        let expected = format!("stat {}: no such file or directory", missing.display());
        assert_eq!(error, expected);
        let error = Folder::make(&file, "plan.").unwrap_err().to_string();
        assert!(error.starts_with(&format!("mkdir {}/plan.", file.display())));
        assert!(error.ends_with(": not a directory"), "{error}");
        let error = Folder::make(parent.path(), &"x".repeat(300)).unwrap_err();
        assert_eq!(error.cause, "file name too long");
    }
}
