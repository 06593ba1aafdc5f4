//! Copies of single files that modules made, as upstream makes them (its `fsutil.Copy`): a link stays
//! a link, a folder is copied whole, and devices, pipes and sockets are passed over.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use go::words::PathError;

/// Copies `from` to `to`, whose folder is there. A file gets the mode of a new one.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), PathError> {
    let kind = fs::symlink_metadata(from).map_err(failed("lstat", from))?;
    if kind.is_symlink() {
        let target = fs::read_link(from).map_err(failed("readlink", from))?;
        let both = PathBuf::from(format!("{} {}", target.display(), to.display()));
        return symlink(&target, to).map_err(failed("symlink", &both));
    }
    if kind.is_dir() {
        go::files::create_dir_all(to)?;
        let entries = fs::read_dir(from).map_err(failed("open", from))?;
        for entry in entries {
            let name = entry.map_err(failed("readdirent", from))?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    if !kind.is_file() {
        return Ok(());
    }
    let mut content = fs::File::open(from).map_err(failed("open", from))?;
    let mut copied = fs::File::create(to).map_err(failed("open", to))?;
    io::copy(&mut content, &mut copied).map_err(failed("write", to))?;
    Ok(())
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl Fn(io::Error) -> PathError + 'a {
    move |error| PathError::new(operation, path, &error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_copy_is_of_the_same_kind() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "1").unwrap();
        fs::set_permissions(at("file"), fs::Permissions::from_mode(0o400)).unwrap();
        symlink("nowhere", at("link")).unwrap();
        fs::create_dir_all(at("dir/in")).unwrap();
        fs::write(at("dir/in/file"), "2").unwrap();
        for name in ["file", "link", "dir"] {
            copy(&at(name), &at(&format!("{name}.copy"))).unwrap();
        }
        assert_eq!(fs::read(at("file.copy")).unwrap(), b"1");
        let mode = fs::metadata(at("file.copy")).unwrap().permissions().mode();
        assert_eq!(mode & 0o200, 0o200, "a new file can be written");
        assert_eq!(
            fs::read_link(at("link.copy")).unwrap(),
            Path::new("nowhere")
        );
        assert_eq!(fs::read(at("dir.copy/in/file")).unwrap(), b"2");
        let missing = copy(&at("missing"), &at("x")).unwrap_err();
        assert_eq!((missing.operation, missing.path), ("lstat", at("missing")));
        let twice = copy(&at("link"), &at("link.copy")).unwrap_err();
        assert_eq!(twice.operation, "symlink");
    }
}
