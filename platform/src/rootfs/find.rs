//! Finds a file in layers that lie on top of each other, without mounting them.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use oci::OverlayXattrs;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::sandbox::LayerFolder;

/// Opens the file at `path`, which has no leading slash, in the highest of the layers that has it. No
/// link is followed: a file that is reached by one is not found.
pub(crate) fn find(layers: &[LayerFolder], path: &Path) -> io::Result<Option<File>> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    for layer in layers {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&layer.folder, flags, Mode::empty())?;
        if let Some(found) = is_file(&root, path) {
            if !found {
                return Ok(None);
            }
            // Whatever it is by now, opening it waits for nothing.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = openat2(&root, path, flags, Mode::empty(), how)?;
            return Ok(Some(file.into()));
        }
        if hides(&root, path) {
            return Ok(None);
        }
    }
    Ok(None)
}

/// Whether there is a file at `path`, or something else.
fn is_file(root: &OwnedFd, path: &Path) -> Option<bool> {
    let found = stat(root, path).ok()?;
    Some(FileType::from_raw_mode(found.st_mode) == FileType::RegularFile)
}

fn stat(root: &OwnedFd, path: &Path) -> Result<rustix::fs::Stat, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat2(root, path, flags, Mode::empty(), how)?;
    rustix::fs::statat(file, "", AtFlags::EMPTY_PATH)
}

/// Whether the layer hides what lies below it at `path`: there is something else on the way there, or a
/// folder of which nothing below is seen.
fn hides(root: &OwnedFd, path: &Path) -> bool {
    let mut at = PathBuf::new();
    let parents = path.parent().unwrap_or(Path::new(""));
    for component in parents.components() {
        let Component::Normal(name) = component else {
            return true;
        };
        at.push(name);
        let Ok(found) = stat(root, &at) else {
            return false;
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            return true;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(folder) = rustix::fs::openat(root, &at, flags, Mode::empty()) else {
            return true;
        };
        let mut value = [0; 8];
        let opaque = OverlayXattrs::User.opaque();
        if rustix::fs::fgetxattr(folder, opaque, &mut value).is_ok() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_highest_counts_and_what_is_hidden_is_not_there() {
        let folder = tempfile::TempDir::new().unwrap();
        let layer = |name: &str, files: &[&str]| {
            let folder = folder.path().join(name);
            for file in files {
                let path = folder.join(file);
                fs_err::create_dir_all(path.parent().unwrap()).unwrap();
                fs_err::write(path, name).unwrap();
            }
            LayerFolder {
                folder,
                implied: Vec::new(),
            }
        };
        let layers = [
            layer("top", &["a/b/one", "a/linked/x"]),
            layer(
                "bottom",
                &["a/b/one", "a/b/two", "a/b/three", "c/four", "d/five"],
            ),
        ];
        let top = folder.path().join("top");
        std::os::unix::fs::symlink("/etc", top.join("c")).unwrap();
        std::os::unix::fs::symlink("two", top.join("a/b/two")).unwrap();
        let text = |path: &str| {
            let mut file = find(&layers, Path::new(path)).unwrap()?;
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            Some(text)
        };
        assert_eq!(text("a/b/one").as_deref(), Some("top"));
        assert_eq!(text("a/b/three").as_deref(), Some("bottom"));
        assert_eq!(text("d/five").as_deref(), Some("bottom"));
        for hidden in [
            "a/b/two",
            "c/four",
            "c/passwd",
            "a/b",
            "../bottom/d/five",
            "x",
        ] {
            assert_eq!(text(hidden), None, "{hidden}");
        }
        let opaque = rustix::fs::open(top.join("a/b"), OFlags::RDONLY, Mode::empty()).unwrap();
        let name = OverlayXattrs::User.opaque();
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::fsetxattr(opaque, name, b"y", flags).is_ok() {
            assert_eq!(text("a/b/three"), None);
        }
    }
}
