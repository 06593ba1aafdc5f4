//! What comes where there is something already, and paths that lead elsewhere from then on.

use std::error::Error as _;

use super::*;

fn link(cell: &Cell, target: &str, name: &str) {
    fs_err::os::unix::fs::symlink(target, cell.inside.join(name)).unwrap();
}

/// `d` is the directory itself, until it is something else.
#[test]
fn a_path_is_walked_anew_when_it_leads_elsewhere() {
    let cell = Cell::new();
    let tar = Tar::default().symlink("d", ".").file("d/d", "x");
    let refused = cell.extract(tar.file("d/e", "x"));
    assert!(matches!(refused, Err(ExtractError::File { .. })));
    assert!(!cell.has("e"));
    for whiteout in ["d/.wh.d", "d/.wh..wh..opq"] {
        let cell = Cell::new();
        link(&cell, ".", "d");
        let tar = Tar::default().file(whiteout, "").file("d/e", "x");
        cell.extract(tar).unwrap();
        assert!(!cell.has("e"), "{whiteout}");
        assert_eq!(cell.read("d/e"), "x");
    }
}

#[test]
fn whiteouts_leave_what_is_not_theirs() {
    let cell = Cell::new();
    fs_err::write(cell.inside.join(".wh.plnk"), "note").unwrap();
    cell.extract(Tar::default().file(".wh..wh.plnk", ""))
        .unwrap();
    assert_eq!(cell.read(".wh.plnk"), "note");
    // A folder that this layer needed, even for nothing.
    let tar = Tar::default()
        .file("a/sub/.wh.x", "")
        .file("a/.wh..wh..opq", "");
    cell.extract(tar).unwrap();
    assert!(cell.has("a/sub"));
    // To the lifecycle it is a file like any other.
    let cell = Cell::new();
    let tar = Tar::default().file("x", "x").file(".wh.x", "");
    cell.extract_by(ExtractRules::Lifecycle, tar).unwrap();
    assert!(cell.has("x") && cell.has(".wh.x"));
}

#[test]
fn what_comes_replaces_what_is_there() {
    for before in [*b"0", *b"2", *b"6", *b"5"] {
        for after in [*b"0", *b"2", *b"6", *b"5", *b"1"] {
            let cell = Cell::new();
            let tar = Tar::default()
                .file("target", "x")
                .entry(before[0], "x", "target", b"")
                .entry(after[0], "x", "target", b"");
            cell.extract(tar).unwrap();
            let found = fs_err::symlink_metadata(cell.inside.join("x")).unwrap();
            let is_as_expected = match after[0] {
                b'0' => found.is_file(),
                b'1' => found.nlink() == 2,
                b'2' => found.is_symlink(),
                b'5' => found.is_dir(),
                _ => found.file_type().is_fifo(),
            };
            assert!(is_as_expected, "{before:?} {after:?}");
        }
    }
}

#[test]
fn the_lifecycle_replaces_nothing_by_something_else() {
    let rules = ExtractRules::Lifecycle;
    for before in *b"02" {
        for after in *b"25" {
            let cell = Cell::new();
            let tar = Tar::default()
                .entry(before, "x", "target", b"")
                .entry(after, "x", "target", b"");
            let refused = cell.extract_by(rules, tar);
            assert!(
                matches!(refused, Err(ExtractError::File { .. })),
                "{before} {after}"
            );
        }
    }
    // What is there is shorter afterwards.
    let cell = Cell::new();
    let tar = Tar::default().file("x", "long before").file("x", "now");
    cell.extract_by(rules, tar).unwrap();
    assert_eq!(cell.read("x"), "now");
}

#[test]
fn hard_links_are_to_files_by_their_own_paths() {
    let cell = Cell::new();
    let tar = Tar::default()
        .symlink("to-secret", "../secret")
        .hard_link("same", "to-secret");
    cell.extract(tar).unwrap();
    assert!(cell.is_whole(), "it was linked to through the link");
    let same = fs_err::symlink_metadata(cell.inside.join("same")).unwrap();
    assert!(same.is_symlink());

    let cell = Cell::new();
    let tar = Tar::default().file("file", "x");
    let refused = cell.extract(tar.hard_link("x", "a/../file"));
    assert!(matches!(refused, Err(ExtractError::Outside { .. })));
    let tar = Tar::default().hard_link("file", "file");
    cell.extract(tar).unwrap();
    assert_eq!(cell.read("file"), "x");
    let tar = Tar::default().folder("folder").hard_link("file", "folder");
    let refused = cell.extract(tar).unwrap_err();
    let cause = refused.source().unwrap().downcast_ref::<std::io::Error>();
    assert_eq!(cause.unwrap().kind(), std::io::ErrorKind::IsADirectory);
    assert_eq!(cell.read("file"), "x");
}

/// What cannot be linked to is not made, and what is half made is for nobody.
#[test]
fn what_fails_leaves_nothing_open() {
    let cell = Cell::new();
    let tar = Tar::default().folder("folder").hard_link("x", "gone/file");
    let refused = cell.extract(tar);
    assert!(matches!(refused, Err(ExtractError::File { .. })));
    assert!(!cell.has("gone") && !cell.has("x"));
    let mode = fs_err::metadata(cell.inside.join("folder")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700);
}
