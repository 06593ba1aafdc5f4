//! Environment variables that come from files and folders: of a platform, of an operator, of layers.
//!
//! | file | what it does to the variable |
//! |---|---|
//! | `NAME.append`, `NAME.prepend` | adds to it, with the content of `NAME.delim` between |
//! | `NAME.override` | sets it |
//! | `NAME.default` | sets it unless it has a value |
//! | `NAME.` | adds before, with `:` between unless `NAME.delim` says else |
//! | `NAME` | what the caller says |
//! | any other suffix | nothing |
//!
//! <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#provided-by-the-buildpacks>

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use go::files::join;
use go::words::PathError;

/// The most bytes of a file that are read for a variable. Linux takes no program with a variable of so
/// many, at most 2 MiB; what is cut here is refused there, as the whole would be.
const MAX_VALUE: u64 = 4 * 1024 * 1024;

/// Folders of a layer, and the variables that they are put in front of, for buildpacks.
pub const BUILD_DIRS: &[(&str, &[&str])] = &[
    ("bin", &["PATH"]),
    ("lib", &["LD_LIBRARY_PATH", "LIBRARY_PATH"]),
    ("include", &["CPATH"]),
    ("pkgconfig", &["PKG_CONFIG_PATH"]),
];

/// Folders of a layer, and the variables that they are put in front of, for the app.
pub const LAUNCH_DIRS: &[(&str, &[&str])] = &[("bin", &["PATH"]), ("lib", &["LD_LIBRARY_PATH"])];

/// Environment variables.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Env {
    vars: BTreeMap<OsString, OsString>,
}

/// What a file without a suffix does to its variable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the specification lists them all")]
pub enum Action {
    /// Adds after, with the delimiter between.
    Append,
    /// Sets unless there is a value.
    Default,
    /// Sets.
    Override,
    /// Adds before, with the delimiter between.
    Prepend,
    /// Adds before, with `:` between unless a delimiter is given: a dot alone stands for it.
    PrependPath,
}

impl Action {
    fn of_suffix(suffix: &[u8]) -> Option<Self> {
        match suffix {
            b"append" => Some(Self::Append),
            b"default" => Some(Self::Default),
            b"override" => Some(Self::Override),
            b"prepend" => Some(Self::Prepend),
            b"" => Some(Self::PrependPath),
            _ => None,
        }
    }
}

impl Env {
    /// These variables.
    pub fn new(vars: BTreeMap<OsString, OsString>) -> Self {
        Self { vars }
    }

    /// The variables of a process: of a name that is there twice the first counts, as in Go.
    pub fn of_process(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut env = Self::default();
        for (name, value) in vars {
            env.vars.entry(name).or_insert(value);
        }
        env
    }

    /// The value of `name`; empty if it is not set.
    pub fn get(&self, name: impl AsRef<OsStr>) -> &OsStr {
        self.vars
            .get(name.as_ref())
            .map_or(OsStr::new(""), OsString::as_os_str)
    }

    /// Sets `name`.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.vars.insert(name.into(), value.into());
    }

    /// Takes `name` away.
    pub fn remove(&mut self, name: impl AsRef<OsStr>) {
        self.vars.remove(name.as_ref());
    }

    /// All variables.
    pub fn vars(&self) -> &BTreeMap<OsString, OsString> {
        &self.vars
    }

    /// All variables.
    pub fn into_vars(self) -> BTreeMap<OsString, OsString> {
        self.vars
    }

    /// Puts the folders that `root` has of `dirs` in front of their variables.
    pub fn add_root(&mut self, root: &Path, dirs: &[(&str, &[&str])]) -> Result<(), EnvError> {
        for (dir, names) in dirs {
            let path = join(root, dir);
            // Upstream takes a file for a folder, too.
            match fs::metadata(&path) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(PathError::new("stat", &path, &error).into()),
            }
            for name in *names {
                self.prepend(OsStr::new(name), path.as_os_str(), OsStr::new(":"));
            }
        }
        Ok(())
    }

    /// Does what the files in `dir` say; one without a suffix does `plain`. No such folder is fine.
    pub fn add_dir(&mut self, dir: &Path, plain: Action) -> Result<(), EnvError> {
        for (file, value) in files(dir)? {
            let name = file.as_bytes();
            let dot = name.iter().position(|byte| *byte == b'.');
            let (name, suffix) = name.split_at(dot.unwrap_or(name.len()));
            let name = OsStr::from_bytes(name);
            let action = match suffix.split_first() {
                None => plain,
                Some((_dot, suffix)) => match Action::of_suffix(suffix) {
                    Some(action) => action,
                    None => continue,
                },
            };
            match action {
                Action::Append => self.append(name, &value, &delimiter(dir, name, "")),
                Action::Default if !self.get(name).is_empty() => {}
                Action::Default | Action::Override => self.set(name, value),
                Action::Prepend => self.prepend(name, &value, &delimiter(dir, name, "")),
                Action::PrependPath => self.prepend(name, &value, &delimiter(dir, name, ":")),
            }
        }
        Ok(())
    }

    /// Sets what a platform gives: each file is a variable, and those that list folders for
    /// buildpacks are put in front.
    pub fn add_platform(&mut self, dir: &Path) -> Result<(), EnvError> {
        for (name, value) in files(dir)? {
            let is_list = BUILD_DIRS
                .iter()
                .any(|(_, names)| names.iter().any(|it| *it == name));
            if is_list {
                self.prepend(&name, &value, OsStr::new(":"));
            } else {
                self.set(name, value);
            }
        }
        Ok(())
    }

    fn append(&mut self, name: &OsStr, value: &OsStr, delimiter: &OsStr) {
        let old = self.get(name);
        let new = joined(old, delimiter, value);
        self.set(name, new);
    }

    fn prepend(&mut self, name: &OsStr, value: &OsStr, delimiter: &OsStr) {
        let old = self.get(name);
        let new = if old.is_empty() {
            value.to_owned()
        } else {
            [value, delimiter, old].into_iter().collect()
        };
        self.set(name, new);
    }
}

/// `value` after `old`, which may be empty.
fn joined(old: &OsStr, delimiter: &OsStr, value: &OsStr) -> OsString {
    if old.is_empty() {
        value.to_owned()
    } else {
        [old, delimiter, value].into_iter().collect()
    }
}

/// The content of `NAME.delim`, as it is.
fn delimiter(dir: &Path, name: &OsStr, otherwise: &str) -> OsString {
    let mut file = name.to_owned();
    file.push(".delim");
    content(&dir.join(file)).unwrap_or_else(|_none| otherwise.into())
}

/// The files in `dir` by name, with their content. Folders and links to folders are no files. Of
/// several that are bad the first is told.
fn files(dir: &Path) -> Result<BTreeMap<OsString, OsString>, EnvError> {
    let list = || fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>();
    let mut entries = match list() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(PathError::new("open", dir, &error).into()),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry.path();
        let stat = |error| PathError::new("stat", &path, &error);
        let mut r#type = entry.file_type().map_err(stat)?;
        if r#type.is_symlink() {
            r#type = fs::metadata(&path).map_err(stat)?.file_type();
        }
        if !r#type.is_dir() {
            files.insert(entry.file_name(), content(&path)?);
        }
    }
    Ok(files)
}

fn content(path: &Path) -> Result<OsString, PathError> {
    let file = File::open(path).map_err(|error| PathError::new("open", path, &error))?;
    let mut bytes = Vec::new();
    file.take(MAX_VALUE)
        .read_to_end(&mut bytes)
        .map_err(|error| PathError::new("read", path, &error))?;
    Ok(OsString::from_vec(bytes))
}

/// Why files did not become variables.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    /// The files of a folder cannot be applied.
    #[error("apply env files from dir '{}'", folder.display())]
    Apply {
        /// Which.
        folder: PathBuf,
        /// Why not.
        source: Box<EnvError>,
    },
    /// A file or folder cannot be looked at, opened or read.
    #[error(transparent)]
    Path(#[from] PathError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        dir
    }

    fn after(files: &[(&str, &str)], plain: Action) -> Env {
        let mut env = Env::default();
        env.set("OLD", "old");
        env.set("EMPTY", "");
        env.add_dir(dir(files).path(), plain).expect("good files");
        env
    }

    #[test]
    fn suffixes_say_what_to_do() {
        let env = after(
            &[
                ("OLD.append", "a"),
                ("OLD.prepend", "p"),
                ("OLD.delim", ","),
                ("NEW.append", "n"),
                ("NEW.delim", ";"),
                ("EMPTY.default", "d"),
                ("ODD.unknown", "x"),
                ("LINES", "a\n"),
                (".override", "nameless"),
            ],
            Action::Override,
        );
        assert_eq!(env.get("OLD"), "p,old,a");
        assert_eq!(env.get("NEW"), "n");
        assert_eq!(env.get("EMPTY"), "d");
        assert_eq!(env.get("LINES"), "a\n");
        // Upstream takes a file without a name too.
        assert_eq!(env.get(""), "nameless");
        assert_eq!(env.vars().len(), 5);
    }

    #[test]
    fn a_plain_file_does_what_the_caller_says() {
        let get = |plain| after(&[("OLD", "x")], plain).get("OLD").to_owned();
        assert_eq!(get(Action::Override), "x");
        assert_eq!(get(Action::Default), "old");
        assert_eq!(get(Action::Append), "oldx");
        assert_eq!(get(Action::PrependPath), "x:old");
    }

    #[test]
    fn folders_are_skipped_and_links_to_nowhere_are_not() {
        let dir = dir(&[("A", "1")]);
        fs::create_dir(dir.path().join("sub")).unwrap();
        std::os::unix::fs::symlink("sub", dir.path().join("LINK")).unwrap();
        let mut env = Env::default();
        env.add_dir(dir.path(), Action::Override).unwrap();
        assert_eq!(env.vars().len(), 1);
        std::os::unix::fs::symlink("nowhere", dir.path().join("BROKEN")).unwrap();
        let bad = || env_error(dir.path());
        let stat = |name: &str| {
            let path = dir.path().join(name);
            format!("stat {}: no such file or directory", path.display())
        };
        assert_eq!(bad(), stat("BROKEN"));
        for name in ["Z", "B", "Q"] {
            std::os::unix::fs::symlink("nowhere", dir.path().join(name)).unwrap();
        }
        assert_eq!(bad(), stat("B"));
        env.add_dir(&dir.path().join("none"), Action::Override)
            .unwrap();
    }

    #[test]
    fn of_a_name_that_is_there_twice_the_first_counts() {
        let vars =
            [("A", "1"), ("B", "x"), ("A", "2")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(Env::of_process(vars).get("A"), "1");
    }

    #[test]
    fn a_platforms_lists_come_first() {
        let mut env = Env::default();
        env.set("PATH", "/bin");
        let dir = dir(&[("PATH", "/p"), ("HOME", "/h"), ("A.append", "x")]);
        env.add_platform(dir.path()).unwrap();
        assert_eq!(env.get("PATH"), "/p:/bin");
        assert_eq!(env.get("HOME"), "/h");
        assert_eq!(env.get("A.append"), "x");
    }

    fn env_error(dir: &Path) -> String {
        let error = Env::default().add_dir(dir, Action::Override).unwrap_err();
        go::words::chain(&error)
    }

    #[test]
    fn a_value_that_no_program_can_be_given_is_not_read_whole() {
        let dir = dir(&[("BIG.delim", "x")]);
        let file = File::create(dir.path().join("BIG")).unwrap();
        file.set_len(1 << 40).unwrap();
        let mut env = Env::default();
        env.add_dir(dir.path(), Action::Override).unwrap();
        assert_eq!(env.get("BIG").len() as u64, MAX_VALUE);
    }

    #[test]
    fn folders_of_a_layer_come_first_and_a_file_counts_as_one() {
        let dir = dir(&[("include", "a file")]);
        fs::create_dir(dir.path().join("bin")).unwrap();
        let mut env = Env::default();
        env.set("PATH", "/bin");
        env.add_root(dir.path(), BUILD_DIRS).unwrap();
        let path = format!("{}:/bin", dir.path().join("bin").display());
        assert_eq!(env.get("PATH"), path.as_str());
        assert_eq!(env.get("CPATH"), dir.path().join("include").as_os_str());
        assert_eq!(env.vars().len(), 2);
        std::os::unix::fs::symlink("lib", dir.path().join("lib")).unwrap();
        let error = env.add_root(dir.path(), BUILD_DIRS).unwrap_err();
        let lib = dir.path().join("lib");
        assert_eq!(
            error.to_string(),
            format!("stat {}: too many levels of symbolic links", lib.display())
        );
    }
}
