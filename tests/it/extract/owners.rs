//! Owners, modes and times: whose things are, and what they may do.

use std::os::unix::fs::MetadataExt as _;

use super::*;

/// As root alone one can give things away.
pub(super) fn is_root() -> bool {
    let is_root = fs_err::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        testkit::skipped("only root can set owners");
    }
    is_root
}

fn extract_owned(cell: &Cell, tar: Tar, rules: ExtractRules) -> Result<(), ExtractError> {
    let options = ExtractOptions {
        rules,
        owners: oci::Owners::Keep,
        ..ExtractOptions::default()
    };
    extract(&tar.end()[..], &cell.inside, &options).map(|_| ())
}

fn owned(flag: u8, path: &str, link: &str, mode: &str) -> Tar {
    let mut tar = Tar::default().pax("uid", "1234");
    tar = tar.pax("gid", "5678");
    tar.header(flag, path, link, "00000000000\0", mode);
    tar
}

impl Tar {
    pub(super) fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

fn of(cell: &Cell, path: &str) -> (u32, u32, u32) {
    let found = fs_err::symlink_metadata(cell.inside.join(path)).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

#[test]
fn things_belong_to_whom_the_archive_names_if_that_is_asked_for() {
    if !is_root() {
        return;
    }
    let tar = || {
        owned(b'0', "su", "", "0006755\0")
            .then(owned(b'5', "folder", "", "0002750\0"))
            .then(owned(b'2', "link", "su", "0000777\0"))
            .then(owned(b'6', "pipe", "", "0006640\0"))
    };
    let cell = Cell::new();
    extract_owned(&cell, tar(), ExtractRules::Layer).unwrap();
    assert_eq!(of(&cell, "su"), (1234, 5678, 0o6755));
    assert_eq!(of(&cell, "folder"), (1234, 5678, 0o2750));
    assert_eq!(of(&cell, "link").0, 1234);
    assert_eq!((of(&cell, "pipe").0, of(&cell, "pipe").1), (1234, 5678));
    assert_eq!(of(&cell, "pipe").2 & 0o7000, 0);

    let own = fs_err::metadata("/proc/self").unwrap();
    let own = (own.uid(), own.gid());
    let cell = Cell::new();
    cell.extract(tar()).unwrap();
    for (path, mode) in [("su", 0o755), ("folder", 0o750), ("link", 0o777)] {
        assert_eq!(of(&cell, path), (own.0, own.1, mode), "{path}");
    }
    assert_eq!((of(&cell, "pipe").0, of(&cell, "pipe").1), own);
    // The lifecycle never gives anything away, but modes are as they were.
    let cell = Cell::new();
    let tar = owned(b'0', "su", "", "0006755\0").then(owned(b'5', "folder", "", "0002750\0"));
    extract_owned(&cell, tar, ExtractRules::Lifecycle).unwrap();
    assert_eq!(of(&cell, "su"), (own.0, own.1, 0o6755));
    assert_eq!(of(&cell, "folder"), (own.0, own.1, 0o2750));
}

/// The owner of what a link leads to is none of the link's business, nor is its time.
#[test]
fn a_link_gets_an_owner_and_a_time_of_its_own() {
    if !is_root() {
        return;
    }
    let cell = Cell::new();
    let secret = cell.outside.join("secret");
    let before = fs_err::metadata(&secret).unwrap();
    let tar = owned(b'2', "link", "../secret", "0000777\0").then(owned(
        b'2',
        "absolute",
        secret.to_str().unwrap(),
        "0000777\0",
    ));
    extract_owned(&cell, tar, ExtractRules::Layer).unwrap();
    let after = fs_err::metadata(&secret).unwrap();
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
    assert_eq!(of(&cell, "link").0, 1234);
    let link = fs_err::symlink_metadata(cell.inside.join("link")).unwrap();
    assert_eq!(link.mtime(), 10);
}

/// To the kernel, the highest number means that nothing is to change: then it would be root's.
#[test]
fn an_owner_that_is_none_is_refused() {
    if !is_root() {
        return;
    }
    for number in ["4294967295", "4294967296", "9223372036854775807"] {
        for key in ["uid", "gid"] {
            for flag in *b"0256" {
                let cell = Cell::new();
                let tar = Tar::default().pax(key, number).entry(flag, "x", "y", b"");
                let refused = extract_owned(&cell, tar, ExtractRules::Layer);
                assert!(
                    matches!(refused, Err(ExtractError::File { .. })),
                    "{refused:?}"
                );
            }
        }
    }
    let cell = Cell::new();
    let tar = Tar::default().pax("uid", "4294967294").file("x", "");
    extract_owned(&cell, tar, ExtractRules::Layer).unwrap();
    assert_eq!(of(&cell, "x").0, 4_294_967_294);
}

/// Something else is there by now, and a link leads to a folder that is not ours.
#[test]
fn the_mode_of_a_folder_is_not_set_through_a_link() {
    let cell = Cell::new();
    let inner = cell.inside.join("kept");
    fs_err::create_dir(&inner).unwrap();
    let mode = std::fs::Permissions::from_mode(0o711);
    fs_err::set_permissions(&inner, mode).unwrap();
    let mut tar = Tar::default();
    tar.header(b'5', "folder", "", "00000000000\0", "0000700\0");
    let tar = tar.symlink("folder", "kept");
    cell.extract(tar).unwrap();
    assert_eq!(of(&cell, "kept").2, 0o711);
    // Or nothing is.
    let cell = Cell::new();
    let tar = Tar::default().folder("a/b").file("a", "x");
    cell.extract(tar).unwrap();
    assert_eq!(cell.read("a"), "x");
    // Nor is one made where a link leads.
    let cell = Cell::new();
    let tar = Tar::default().folder("a/b").symlink("a", "gone");
    cell.extract(tar).unwrap();
    assert!(!cell.has("gone"));
}

/// A folder that may not be written is filled first.
#[test]
fn folders_are_closed_at_the_end() {
    let cell = Cell::new();
    let mut tar = Tar::default();
    tar.header(b'5', "closed", "", "00000000000\0", "0000400\0");
    tar.header(b'5', "closed/inner", "", "00000000000\0", "0000000\0");
    let tar = tar.file("closed/inner/file", "x");
    cell.extract(tar).unwrap();
    let found = fs_err::metadata(cell.inside.join("closed")).unwrap();
    assert_eq!(found.mtime(), 10, "what was put into it later changed it");
    // Only root looks into what is closed.
    for (path, expected) in [("closed", 0o400), ("closed/inner", 0)] {
        assert_eq!(of(&cell, path).2, expected, "{path}");
        let mode = std::fs::Permissions::from_mode(0o700);
        fs_err::set_permissions(cell.inside.join(path), mode).unwrap();
    }
}
