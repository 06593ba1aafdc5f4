//! A directory to unpack into, and what must stay as it is beside it.
//!
//! ```text
//! world/canary/file           the same file as canary/other
//! world/canary/directory/file
//! world/directory/            where archives go; made for each input
//! ```

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use fs_err::{create_dir, create_dir_all, hard_link, remove_dir_all, write};
use tempfile::TempDir;

use crate::seeds::list;

pub(super) struct Sandbox {
    /// Removed with all that is in it.
    folder: TempDir,
    /// All but the directory, and how it was.
    guarded: Vec<(PathBuf, State)>,
}

/// Something in the directory.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Which.
    #[expect(dead_code, reason = "printed where a promise is broken")]
    path: PathBuf,
    /// Bytes of a file.
    pub(super) size: u64,
    /// Names that it has; 1 of what is no file.
    pub(super) links: u64,
    /// Whether it is a device.
    pub(super) is_device: bool,
    /// Whether it is a named pipe.
    pub(super) is_pipe: bool,
    /// Whether who runs it becomes another.
    pub(super) is_set_id: bool,
}

/// All that tells that something was touched: any change of it, or of what is in it, has a time. The
/// world's changes whenever the directory is made anew, so there it is the entries.
#[derive(Clone, Debug, Eq, PartialEq)]
struct State {
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    changed: Option<(i64, i64, u64)>,
    entries: Vec<PathBuf>,
}

impl Sandbox {
    /// Makes one where temporary files go.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let world = folder.path().join("world");
        let canary = world.join("canary");
        create_dir_all(canary.join("directory")).expect("a folder can be made");
        for name in ["file", "directory/file"] {
            write(canary.join(name), "alive").expect("a file can be made");
        }
        hard_link(canary.join("file"), canary.join("other")).expect("a link can be made");
        create_dir(world.join("directory")).expect("a folder can be made");
        // Later changes must have another time, and clocks of file systems are coarse.
        std::thread::sleep(std::time::Duration::from_millis(30));
        let mut sandbox = Self {
            folder,
            guarded: Vec::new(),
        };
        let guarded = [
            "",
            "canary",
            "canary/file",
            "canary/directory",
            "canary/directory/file",
        ];
        let states = guarded.into_iter().map(|it| {
            let path = world.join(it);
            let state = state(&path, it.is_empty());
            (path, state)
        });
        sandbox.guarded = states.collect();
        let parent = sandbox.folder.path().to_owned();
        let state = state(&parent, false);
        sandbox.guarded.push((parent, state));
        sandbox
    }

    /// What is around the directory.
    pub(super) fn root(&self) -> &Path {
        self.guarded
            .first()
            .map_or(self.folder.path(), |(path, _)| path)
    }

    /// Where archives go.
    pub(super) fn directory(&self) -> PathBuf {
        self.root().join("directory")
    }

    /// Makes the directory anew; `used`, with links in it that lead out.
    pub(super) fn begin(&mut self, used: bool) {
        let directory = self.directory();
        self.remove();
        create_dir(&directory).expect("a folder can be made");
        if used {
            symlink("../canary", directory.join("a")).expect("a link can be made");
            symlink(self.root().join("canary"), directory.join("link"))
                .expect("a link can be made");
            symlink("../canary/file", directory.join("file")).expect("a link can be made");
            create_dir_all(directory.join("b/directory")).expect("a folder can be made");
            write(directory.join("b/file"), "old").expect("a file can be made");
        }
    }

    /// Panics if anything but the directory was touched. Returns what is in it.
    pub(super) fn end(&mut self) -> Vec<Found> {
        for (path, before) in &self.guarded {
            let now = state(path, before.changed.is_none());
            assert_eq!(now, *before, "{} was touched", path.display());
        }
        let mut found = Vec::new();
        let mut folders = vec![self.directory()];
        while let Some(folder) = folders.pop() {
            for path in list(&folder) {
                let it = describe(&path);
                if it.1 {
                    folders.push(path);
                }
                found.push(it.0);
            }
        }
        found
    }

    fn remove(&self) {
        if remove_dir_all(self.directory()).is_ok() {
            return;
        }
        // Folders may be closed to whoever is not root.
        let mut folders = vec![self.directory()];
        while let Some(folder) = folders.pop() {
            let open = std::fs::Permissions::from_mode(0o700);
            fs_err::set_permissions(&folder, open).expect("belongs to us");
            folders.extend(list(&folder).into_iter().filter(|it| describe(it).1));
        }
        remove_dir_all(self.directory()).expect("belongs to us");
    }
}

/// And whether it is a folder.
fn describe(path: &Path) -> (Found, bool) {
    let metadata = fs_err::symlink_metadata(path).expect("was just listed");
    let kind = metadata.file_type();
    let found = Found {
        path: path.to_owned(),
        size: if kind.is_file() { metadata.len() } else { 0 },
        links: if kind.is_file() { metadata.nlink() } else { 1 },
        // A whiteout is none, though it looks like one.
        is_device: kind.is_block_device() || (kind.is_char_device() && metadata.rdev() != 0),
        is_pipe: kind.is_fifo(),
        is_set_id: !kind.is_symlink() && metadata.mode() & 0o6000 != 0,
    };
    (found, kind.is_dir())
}

fn state(path: &Path, is_world: bool) -> State {
    let metadata = fs_err::symlink_metadata(path).expect("nothing takes it away");
    State {
        inode: metadata.ino(),
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        changed: (!is_world).then(|| (metadata.ctime(), metadata.ctime_nsec(), metadata.nlink())),
        entries: if is_world { list(path) } else { Vec::new() },
    }
}
