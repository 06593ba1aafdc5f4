//! Paths below a folder that is the root of all: links and `..` never lead out of it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The most links on the way to a file, as Linux has it.
const MAX_LINKS: usize = 40;

/// Where `path` leads in `root`: an absolute path without links; of what is not there as far as it is.
pub(super) fn resolve(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut at = PathBuf::from("/");
    let mut ahead = parts(path);
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == Path::new("..") {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        match fs::symlink_metadata(outside(root, &next)) {
            Ok(metadata) if metadata.is_symlink() => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                let target = fs::read_link(outside(root, &next))?;
                if target.is_absolute() {
                    at = "/".into();
                }
                ahead.extend(parts(&target));
            }
            Ok(_) => at = next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                at = next;
                while let Some(part) = ahead.pop() {
                    if part == Path::new("..") {
                        at.pop();
                    } else {
                        at.push(part);
                    }
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

/// Where `path` of `root` is for us.
pub(super) fn outside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().rev().filter_map(|it| match it {
        Component::Normal(part) => Some(part.into()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    parts.collect()
}
