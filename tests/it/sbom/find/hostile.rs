//! Files that were made to cost time or memory, or to be misread.

use std::time::{Duration, Instant};

use oci::view::{View, ViewLimits};
use sbom::find::{Finders, find};
use testkit::{LayerFiles, repository};

use super::{found, gaps, made, purls};

fn rpm(file: &str) -> Vec<u8> {
    fs_err::read(repository().join("tests/fixtures/packages/rpm").join(file)).unwrap()
}

/// Whatever is done to a database, reading it ends, and what is left of it is said to be incomplete.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a reader that goes in circles must fail the test"
)]
fn damaged_rpm_databases_end() {
    let begin = Instant::now();
    for file in ["Packages", "Packages.db", "rpmdb.sqlite"] {
        let good = rpm(file);
        let path = format!("var/lib/rpm/{file}");
        // Each number in the first pages and here and there becomes one that leads elsewhere.
        let places = (0..4096).step_by(4).chain((4096..good.len()).step_by(252));
        for (round, at) in places.enumerate() {
            let mut bad = good.clone();
            let number: u32 = match round % 4 {
                0 => 0,
                1 => 1,
                2 => u32::MAX,
                _ => 0x0302_0100,
            };
            let Some(field) = bad.get_mut(at..at + 4) else {
                break;
            };
            field.copy_from_slice(&number.to_le_bytes());
            let inventory = found(&[LayerFiles::new().file(&path, bad)]);
            assert!(inventory.components.len() <= 3, "{file} {at}");
        }
        let cut = found(&[LayerFiles::new().file(&path, &good[..good.len() / 2])]);
        assert!(cut.components.len() < 3 && !cut.gaps.is_empty(), "{file}");
        assert!(found(&[LayerFiles::new().file(&path, "")]).gaps.len() == 1);
    }
    assert!(begin.elapsed() < Duration::from_mins(1));
}

/// A page that leads to itself, in each of the three.
#[test]
fn pages_in_circles_are_noticed() {
    // Of the overflow pages of Berkeley DB, each leads to itself.
    let mut bdb = rpm("Packages");
    for page in 0..bdb.len() / 1024 {
        let start = page * 1024;
        if bdb[start + 25] == 7 {
            let number = u32::try_from(page).unwrap().to_le_bytes();
            bdb[start + 16..start + 20].copy_from_slice(&number);
        }
    }
    let inventory = found(&[LayerFiles::new().file("var/lib/rpm/Packages", bdb)]);
    let circles = "var/lib/rpm/Packages: its pages are missing or lead in circles";
    assert_eq!(gaps(&inventory)[0], circles);
    // Of SQLite, what overflows leads to the first page again.
    let mut sqlite = rpm("rpmdb.sqlite");
    for page in 1..sqlite.len() / 1024 {
        let start = page * 1024;
        if !matches!(sqlite[start], 2 | 5 | 10 | 13) {
            sqlite[start..start + 4].copy_from_slice(&1_u32.to_be_bytes());
        }
    }
    let inventory = found(&[LayerFiles::new().file("var/lib/rpm/rpmdb.sqlite", sqlite)]);
    let circles = "var/lib/rpm/rpmdb.sqlite: its pages are missing or lead in circles";
    assert_eq!(gaps(&inventory)[0], circles);
    // All slots of an ndb lead to one blob.
    let mut ndb = rpm("Packages.db");
    let slot: Vec<u8> = ndb[32..48].to_vec();
    for at in (48..4096).step_by(16) {
        ndb[at..at + 16].copy_from_slice(&slot);
    }
    let inventory = found(&[LayerFiles::new().file("var/lib/rpm/Packages.db", ndb)]);
    assert_eq!(purls(&inventory).len(), 1);
    assert!(gaps(&inventory)[0].contains("leads to no package"));
}

#[test]
fn a_log_that_is_not_in_the_database_is_said() {
    let inventory = found(&[LayerFiles::new()
        .file("var/lib/rpm/rpmdb.sqlite", rpm("rpmdb.sqlite"))
        .file("var/lib/rpm/rpmdb.sqlite-wal", "something")]);
    assert_eq!(
        gaps(&inventory)[0],
        "var/lib/rpm/rpmdb.sqlite-wal: a log of changes that are not in the database yet"
    );
}

#[test]
fn what_unpacks_to_too_much_is_not_unpacked() {
    let bomb = made::deflated(&vec![b' '; 64 << 20]);
    let inventory = found(&[LayerFiles::new().program("app", made::elf(&[(".dep-v0", &bomb)]))]);
    assert_eq!(
        gaps(&inventory),
        ["app: its list of crates is larger than 8388608 bytes"]
    );
    // A text of that size in an archive is passed by, an archive in it is said.
    let large = vec![b' '; 40 << 20];
    let jar = made::small_zip(&[
        ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n"),
        ("META-INF/maven/a/a/pom.properties", &large),
        ("lib/large.jar", &large),
    ]);
    let inventory = found(&[LayerFiles::new().file("app-1.jar", jar)]);
    assert_eq!(purls(&inventory), ["pkg:maven/app/app@1"]);
    assert_eq!(
        gaps(&inventory),
        ["app-1.jar: lib/large.jar: larger than what is unpacked, or malformed"]
    );
}

#[test]
fn archives_end_somewhere() {
    let manifest = b"Manifest-Version: 1.0\n";
    let mut jar = made::zip(&[("META-INF/MANIFEST.MF", manifest)]);
    for _ in 0..100 {
        jar = made::zip(&[("META-INF/MANIFEST.MF", manifest), ("a-1.jar", &jar)]);
    }
    let inventory = found(&[LayerFiles::new().file("a-1.jar", jar)]);
    assert_eq!(inventory.components.len(), 1);
    assert!(gaps(&inventory)[0].contains("more than 8 deep"));
    let one = made::zip(&[("META-INF/MANIFEST.MF", manifest)]);
    for broken in [&one[..one.len() - 10], &one[..50], b"PK\x05\x06", b""] {
        let inventory = found(&[LayerFiles::new().file("b-1.jar", broken)]);
        assert_eq!(gaps(&inventory), ["b-1.jar: it is no zip archive"]);
    }
}

#[test]
fn programs_may_say_anything() {
    let good = made::go_program("mod\ta.b/c\tv1\n");
    for at in (0..good.len().min(400)).chain(good.len() - 300..good.len()) {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut bad = good.clone();
            bad[at] = byte;
            found(&[LayerFiles::new().program("app", bad)]);
        }
    }
    for size in 0..good.len() {
        found(&[LayerFiles::new().program("app", &good[..size])]);
    }
}

/// What a name says gets into no place where it would mean something.
#[test]
fn names_stay_names() {
    let status =
        "Package: a@1?b=c#d/\u{1b}[31m%41\nVersion: 1 &x=y\nStatus: install ok installed\n\n";
    let inventory = found(&[LayerFiles::new().file("var/lib/dpkg/status", status)]);
    assert_eq!(
        purls(&inventory),
        ["pkg:deb/a%401%3Fb%3Dc%23d%2F%1B%5B31m%2541@1%20%26x%3Dy"]
    );
}

#[test]
fn the_same_path_again_and_again_costs_nothing() {
    let mut files = LayerFiles::new();
    for number in 0..10_000 {
        let status = format!("Package: a\nVersion: {number}\nStatus: install ok installed\n\n");
        files = files.file("var/lib/dpkg/status", status);
    }
    let inventory = found(&[files]);
    assert_eq!(purls(&inventory), ["pkg:deb/a@9999"]);
}

#[test]
fn a_stanza_without_end_is_cut_off() {
    let mut status =
        "Package: a\nVersion: 1\nStatus: install ok installed\n\nPackage: b\nDescription: x\n"
            .to_owned();
    for _ in 0..1_000_000 {
        status.push_str(" more and more and more\n");
    }
    status.push_str("Version: ");
    status.push_str(&"x".repeat(2 << 20));
    let inventory = found(&[LayerFiles::new().file("var/lib/dpkg/status", status)]);
    assert_eq!(purls(&inventory), ["pkg:deb/a@1", "pkg:deb/b"]);
    assert!(gaps(&inventory)[0].contains("is longer than 1048576 bytes"));
}

#[test]
fn what_is_too_large_to_be_looked_into_is_said() {
    let limits = ViewLimits {
        file: 100,
        ..ViewLimits::default()
    };
    let mut view = View::new(limits);
    let layer = LayerFiles::new().file("var/lib/dpkg/status", "x".repeat(101));
    view.add_layer(&layer.tar()[..], &mut Finders::default())
        .unwrap();
    assert_eq!(
        gaps(&find(&view)),
        ["var/lib/dpkg/status: larger than 100 bytes"]
    );
}
