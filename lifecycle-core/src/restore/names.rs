//! Names of layers, as images and caches have them: anything, until it was looked at.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// Where the metadata of the layer `name` lie, if it is in `folder`, that of its buildpack.
///
/// Nobody else's: a name may climb (`../../etc/x`), be none at all, or lead through a link. Upstream
/// writes there, whatever it is.
pub(super) fn metadata_file(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = go::files::join(folder, name);
    let below = path.strip_prefix(go::files::join(folder, "")).ok()?;
    let mut parts = below.components().peekable();
    parts.peek()?;
    let is_link = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink());
    if is_link(folder) {
        return None;
    }
    let mut above = folder.to_owned();
    while let Some(Component::Normal(part)) = parts.next() {
        if parts.peek().is_none() {
            let mut file = part.to_owned();
            file.push(OsStr::new(".toml"));
            return Some(above.join(file));
        }
        above.push(part);
        if is_link(&above) {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder_of_its_buildpack() {
        let room = tempfile::tempdir().unwrap();
        let folder = room.path().join("bp");
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(room.path(), folder.join("link")).unwrap();
        let file = |name: &str| {
            let file = metadata_file(&folder, name)?;
            Some(file.strip_prefix(&folder).unwrap().display().to_string())
        };
        for (name, lies_at) in [
            ("deps", "deps.toml"),
            ("a.b", "a.b.toml"),
            ("a/b", "a/b.toml"),
            ("/a", "a.toml"),
            ("x/../a", "a.toml"),
            ("link", "link.toml"),
        ] {
            assert_eq!(file(name).as_deref(), Some(lies_at), "{name}");
        }
        assert_eq!(metadata_file(&folder.join("link"), "deps"), None);
        for name in [
            "",
            ".",
            "..",
            "../bp",
            "../up",
            "a/../..",
            "link/x",
            "../bp/../../x",
        ] {
            assert_eq!(file(name), None, "{name}");
        }
    }
}
