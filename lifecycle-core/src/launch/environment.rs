//! The environment that layers give to a process.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::go_words::PathError;

/// Variables by name.
pub type Variables = BTreeMap<OsString, OsString>;

/// What the launcher was told, and the process shall not see.
const OWN: [&str; 5] = [
    "CNB_APP_DIR",
    "CNB_DEPRECATION_MODE",
    "CNB_LAYERS_DIR",
    "CNB_PLATFORM_API",
    "CNB_PROCESS_TYPE",
];

/// Folders of the lifecycle on `PATH`: the launcher shall not find itself.
const OWN_PATH: [&[u8]; 2] = [b"/cnb/process", b"/cnb/lifecycle"];

/// Folders of a layer that go in front of a variable.
const ROOTS: [(&str, &str); 2] = [("bin", "PATH"), ("lib", "LD_LIBRARY_PATH")];

/// Takes away what only the launcher needs.
pub(super) fn without_own(mut variables: Variables) -> Variables {
    for name in OWN {
        variables.remove(OsStr::new(name));
    }
    if let Some(path) = variables.get_mut(OsStr::new("PATH")) {
        let kept: Vec<_> = path
            .as_bytes()
            .split(|&byte| byte == b':')
            .filter(|it| !OWN_PATH.contains(it))
            .collect();
        *path = OsString::from_vec(kept.join(&b':'));
    }
    variables
}

/// Puts `bin` and `lib` of a layer in front of `PATH` and `LD_LIBRARY_PATH`, when they are there.
///
/// # Errors
///
/// When that cannot be found out.
pub(super) fn add_root(variables: &mut Variables, layer: &Path) -> Result<(), PathError> {
    for (folder, name) in ROOTS {
        let path = layer.join(folder);
        match fs::metadata(&path) {
            Ok(_) => prepend(variables, OsStr::new(name), path.as_os_str(), b":"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(PathError::new("stat", &path, &error)),
        }
    }
    Ok(())
}

/// Does what the files of an `env` folder say: `NAME.append`, `.prepend`, `.default`, `.override`
/// and `NAME` alone, in the order of their names; `NAME.delim` says what goes between.
///
/// # Errors
///
/// When a file cannot be read. A folder that is not there says nothing.
pub(super) fn add_folder(variables: &mut Variables, folder: &Path) -> Result<(), PathError> {
    for path in entries(folder)? {
        let kind = fs::symlink_metadata(&path).map_err(|it| PathError::new("stat", &path, &it))?;
        let is_folder = if kind.is_symlink() {
            fs::metadata(&path)
                .map_err(|it| PathError::new("stat", &path, &it))?
                .is_dir()
        } else {
            kind.is_dir()
        };
        if is_folder {
            continue;
        }
        let value = fs::read(&path).map_err(|it| PathError::new("open", &path, &it))?;
        let file = path.file_name().unwrap_or_default().as_bytes();
        let dot = file.iter().position(|&byte| byte == b'.');
        let (name, action) = match dot.and_then(|at| file.split_at_checked(at)) {
            Some((name, action)) => (OsStr::from_bytes(name), action),
            None => (OsStr::from_bytes(file), b".override".as_slice()),
        };
        let value = OsString::from_vec(value);
        match action {
            b".append" => {
                let mut joined = variables.remove(name).unwrap_or_default();
                if !joined.is_empty() {
                    joined.push(delimiter(folder, name));
                }
                joined.push(value);
                variables.insert(name.to_owned(), joined);
            }
            b".prepend" => {
                let delimiter = delimiter(folder, name);
                prepend(variables, name, &value, delimiter.as_bytes());
            }
            b".override" => {
                variables.insert(name.to_owned(), value);
            }
            b".default" if variables.get(name).is_none_or(|it| it.is_empty()) => {
                variables.insert(name.to_owned(), value);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The paths in `folder` by name; none when there is no such folder.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, PathError> {
    let list = || {
        fs::read_dir(folder)?
            .map(|it| it.map(|it| it.path()))
            .collect::<io::Result<Vec<_>>>()
    };
    match list() {
        Ok(mut paths) => {
            paths.sort();
            Ok(paths)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(PathError::new("open", folder, &error)),
    }
}

fn prepend(variables: &mut Variables, name: &OsStr, value: &OsStr, delimiter: &[u8]) {
    let mut joined = value.to_owned();
    if let Some(present) = variables.get(name).filter(|it| !it.is_empty()) {
        joined.push(OsStr::from_bytes(delimiter));
        joined.push(present);
    }
    variables.insert(name.to_owned(), joined);
}

fn delimiter(folder: &Path, name: &OsStr) -> OsString {
    let mut file = name.to_owned();
    file.push(".delim");
    fs::read(folder.join(file))
        .map(OsString::from_vec)
        .unwrap_or_default()
}
