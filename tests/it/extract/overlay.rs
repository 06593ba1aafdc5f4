//! Layers kept as overlayfs wants them, one folder a layer, and who owns what is in them.

use std::os::unix::fs::MetadataExt as _;

use oci::{DiffId, ExtractSummary, IdMap, IdRange, Links, OverlayXattrs, Owners, Whiteouts};

use super::*;

fn overlay() -> ExtractOptions {
    ExtractOptions {
        whiteouts: Whiteouts::Overlay(OverlayXattrs::User),
        ..ExtractOptions::default()
    }
}

fn unpack(cell: &Cell, options: &ExtractOptions, tar: Tar) -> Result<ExtractSummary, ExtractError> {
    extract(&tar.end()[..], &cell.inside, options)
}

fn is_whiteout(cell: &Cell, path: &str) -> bool {
    let found = fs_err::symlink_metadata(cell.inside.join(path)).unwrap();
    found.file_type().is_char_device() && found.rdev() == 0
}

fn is_opaque(cell: &Cell, path: &str) -> bool {
    let mut value = [0; 8];
    let read = rustix::fs::getxattr(
        cell.inside.join(path),
        "user.overlay.opaque",
        value.as_mut_slice(),
    );
    matches!(read, Ok(1)) && value[0] == b'y'
}

#[test]
fn whiteouts_become_what_overlayfs_has() {
    let cell = Cell::new();
    let tar = Tar::default()
        .file("gone/.wh.file", "")
        .folder("emptied")
        .file("emptied/.wh..wh..opq", "")
        .file("emptied/new", "x")
        .file(".wh..wh.aufs", "");
    unpack(&cell, &overlay(), tar).unwrap();
    assert!(is_whiteout(&cell, "gone/file"));
    assert!(is_opaque(&cell, "emptied") && !is_opaque(&cell, "gone"));
    assert_eq!(cell.read("emptied/new"), "x");
    assert!(!cell.has("emptied/.wh..wh..opq") && !cell.has("gone/.wh.file"));
    assert!(!cell.has("..wh.aufs") && !cell.has(".wh..wh.aufs"));
    for path in [".wh.", "a/.wh..", "a/.wh..."] {
        let cell = Cell::new();
        let refused = unpack(&cell, &overlay(), Tar::default().file(path, ""));
        assert!(matches!(refused, Err(ExtractError::Outside { .. })));
        assert!(cell.is_whole());
    }
}

/// A whiteout is about the layers below, so what its own layer has stays, in whichever order.
#[test]
fn what_a_layer_hides_and_brings_is_there_and_alone() {
    for whiteout_first in [true, false] {
        let cell = Cell::new();
        let mut tar = Tar::default();
        if whiteout_first {
            tar = tar.file(".wh.folder", "").file(".wh.file", "");
            tar = tar.file(".wh.made", "");
        }
        tar = tar
            .folder("folder")
            .file("folder/new", "x")
            .file("file", "x");
        tar = tar.file("made/for/it", "x");
        if !whiteout_first {
            tar = tar.file(".wh.folder", "").file(".wh.file", "");
            tar = tar.file(".wh.made", "");
        }
        let summary = unpack(&cell, &overlay(), tar).unwrap();
        assert!(is_opaque(&cell, "folder") && is_opaque(&cell, "made"));
        assert!(!is_opaque(&cell, "made/for"));
        for path in ["folder/new", "file", "made/for/it"] {
            assert_eq!(cell.read(path), "x");
        }
        assert_eq!(summary.implied, [Path::new("made"), Path::new("made/for")]);
    }
    // And it is nothing that could be linked to, or be in the way.
    let cell = Cell::new();
    let tar = Tar::default().file(".wh.a", "").hard_link("b", "a");
    unpack(&cell, &overlay(), tar).unwrap_err();
    let cell = Cell::new();
    let tar = Tar::default().file(".wh.a", "").symlink("a", "x");
    unpack(&cell, &overlay(), tar).unwrap();
    assert_eq!(
        fs_err::read_link(cell.inside.join("a")).unwrap(),
        Path::new("x")
    );
}

/// Their modes and owners are those of the layers below.
#[test]
fn folders_that_the_layer_does_not_have_are_told() {
    let cell = Cell::new();
    let tar = Tar::default()
        .file("a/b/file", "x")
        .folder("c")
        .file("c/d/file", "x")
        .folder("a");
    let summary = unpack(&cell, &overlay(), tar).unwrap();
    assert_eq!(summary.implied, [Path::new("a/b"), Path::new("c/d")]);
    // Each takes room, on the disk and in the summary.
    let tar = Tar::default().file(&format!("{}f", "x/".repeat(41)), "");
    let options = ExtractOptions {
        entries: 40,
        ..overlay()
    };
    let refused = unpack(&Cell::new(), &options, tar);
    assert!(matches!(
        refused,
        Err(ExtractError::TooManyEntries { limit: 40 })
    ));
}

/// The names of attributes that the kernel or overlayfs takes a meaning from.
#[test]
fn no_attribute_of_an_archive_is_set_but_capabilities() {
    let cell = Cell::new();
    let mut tar = Tar::default();
    for name in ["user.overlay.opaque", "user.overlay.redirect", "user.other"] {
        tar = tar.pax(&format!("SCHILY.xattr.{name}"), "y").folder(name);
    }
    unpack(&cell, &overlay(), tar).unwrap();
    for name in ["user.overlay.opaque", "user.overlay.redirect", "user.other"] {
        let mut list = [0; 256];
        let size = rustix::fs::listxattr(cell.inside.join(name), list.as_mut_slice()).unwrap();
        let list = String::from_utf8_lossy(&list[..size]).into_owned();
        assert!(!list.contains("user."), "{list}");
    }
}

#[test]
fn capabilities_are_kept_with_the_owner() {
    if !owners::is_root() {
        return;
    }
    // cap_net_bind_service, permitted and effective. All bytes are text here.
    let value = "\u{1}\0\0\u{2}\0\u{4}\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar = || {
        let tar = Tar::default().pax("SCHILY.xattr.security.capability", value);
        tar.file("server", "x")
    };
    let of = |owners| {
        let cell = Cell::new();
        let options = ExtractOptions {
            owners,
            ..ExtractOptions::default()
        };
        unpack(&cell, &options, tar()).unwrap();
        let mut value = [0; 64];
        let path = cell.inside.join("server");
        let read = rustix::fs::getxattr(path, "security.capability", value.as_mut_slice());
        read.ok().map(|size| value[..size].to_vec())
    };
    assert_eq!(of(Owners::Drop), None);
    assert_eq!(of(Owners::Record), None);
    assert_eq!(of(Owners::Keep).unwrap(), value.as_bytes());
    let shifted = of(shifted()).unwrap();
    assert_eq!(shifted.len(), 24);
    assert_eq!(
        (shifted[3], &shifted[20..]),
        (3, &70_000_u32.to_le_bytes()[..])
    );
}

fn shifted() -> Owners {
    let map = IdMap(vec![IdRange {
        inside: 0,
        outside: 70_000,
        count: 5_000,
    }]);
    Owners::Map {
        users: map.clone(),
        groups: map,
    }
}

#[test]
fn owners_are_mapped_or_recorded() {
    let tar = |uid: &str| {
        let tar = Tar::default().pax("uid", uid).file("of/a/user", "");
        tar.symlink("of/root", "user")
    };
    if owners::is_root() {
        let cell = Cell::new();
        let options = ExtractOptions {
            owners: shifted(),
            ..overlay()
        };
        unpack(&cell, &options, tar("1000")).unwrap();
        let uid = |path: &str| {
            let found = fs_err::symlink_metadata(cell.inside.join(path)).unwrap();
            (found.uid(), found.gid())
        };
        assert_eq!(uid("of/a/user"), (71_000, 70_000));
        assert_eq!(uid("of/root"), (70_000, 70_000));
        assert_eq!(uid("of/a"), (70_000, 70_000));
        let refused = unpack(&Cell::new(), &options, tar("5000"));
        assert!(matches!(refused, Err(ExtractError::File { .. })));
    }
    let cell = Cell::new();
    let options = ExtractOptions {
        owners: Owners::Record,
        ..overlay()
    };
    let tar = tar("1000").then(tar("7"));
    let summary = unpack(&cell, &options, tar).unwrap();
    let [one] = &summary.recorded[..] else {
        panic!("{summary:?}");
    };
    assert_eq!(
        (one.path.as_path(), one.uid, one.gid),
        (Path::new("of/a/user"), 7, 0)
    );
}

#[test]
fn what_an_archive_has_to_be_is_checked_before_all_else() {
    let wrong = DiffId(Digest::of(b"another"));
    let mut options = ExtractOptions {
        diff_id: Some(wrong.clone()),
        ..ExtractOptions::default()
    };
    for bytes in [Tar::default().file("x", "x").end(), vec![7; 6000], vec![]] {
        options.diff_id = Some(wrong.clone());
        let refused = extract(&bytes[..], &Cell::new().inside, &options);
        let found = Digest::of(&bytes);
        assert!(
            matches!(&refused, Err(ExtractError::OtherContent { expected, presented })
                if *expected == wrong && presented.0 == found),
            "{refused:?}"
        );
        options.diff_id = Some(DiffId(found));
        let outcome = extract(&bytes[..], &Cell::new().inside, &options);
        assert!(!matches!(outcome, Err(ExtractError::OtherContent { .. })));
    }
}

#[test]
fn only_a_part_is_unpacked_and_links_may_be_refused() {
    let cell = Cell::new();
    let options = ExtractOptions {
        below: Some("/layers".into()),
        links: Links::Refused,
        ..ExtractOptions::default()
    };
    let tar = Tar::default()
        .folder("/layers")
        .file("/layers/a/b", "x")
        .file("/layersx", "x")
        .file("/etc/passwd", "x");
    unpack(&cell, &options, tar).unwrap();
    assert_eq!(cell.read("a/b"), "x");
    assert_eq!(fs_err::read_dir(&cell.inside).unwrap().count(), 1);
    let tar = Tar::default()
        .symlink("/layers/link", "a")
        .file("/layers/link/c", "x");
    let refused = unpack(&cell, &options, tar);
    assert!(matches!(refused, Err(ExtractError::File { .. })));
    assert!(!cell.has("a/c"));
    let tar = Tar::default().hard_link("/layers/passwd", "/etc/passwd");
    let refused = unpack(&cell, &options, tar);
    assert!(matches!(refused, Err(ExtractError::File { .. })));
}
