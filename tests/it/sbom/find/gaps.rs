//! What is not known is said: who removes a database does not get a short list that looks whole.

use sbom::component::Completeness;
use testkit::LayerFiles;

use super::{STATUS, found, gaps, made, purls};

const RELEASE: &str = "ID=debian\nVERSION_ID=12\n";

#[test]
fn a_removed_database_is_missed() {
    let lower = || {
        LayerFiles::new()
            .file("etc/os-release", RELEASE)
            .file("var/lib/dpkg/status", STATUS)
    };
    let removed = "var/lib/dpkg/status: package database that a later layer removed";
    let without = "etc/os-release: `debian-12` without a package database";
    for upper in [
        LayerFiles::new().file("var/lib/dpkg/.wh.status", ""),
        LayerFiles::new().file("var/.wh.lib", ""),
        LayerFiles::new().file(".wh.var", ""),
        LayerFiles::new().file("var/lib/.wh..wh..opq", ""),
        LayerFiles::new().symlink("var/lib/dpkg/status", "/dev/null"),
        LayerFiles::new().file("var/lib/dpkg", "no folder any more"),
        LayerFiles::new().symlink("var/lib", "elsewhere"),
    ] {
        let inventory = found(&[lower(), upper]);
        assert_eq!(purls(&inventory), [""; 0]);
        assert_eq!(gaps(&inventory), [removed, without]);
        assert_eq!(inventory.completeness, Completeness::Incomplete);
    }
    let hidden = found(&[
        lower(),
        LayerFiles::new()
            .file("tmp/x", "")
            .hard_link("var/lib/dpkg/status", "tmp/x"),
    ]);
    assert_eq!(
        gaps(&hidden)[0],
        "var/lib/dpkg/status: a hard link to a file that was not looked into"
    );
    assert_eq!(found(&[lower()]).completeness, Completeness::Unknown);
}

#[test]
fn a_database_that_is_elsewhere_is_found() {
    let inventory = found(&[LayerFiles::new()
        .file("etc/os-release", RELEASE)
        .file("data/dpkg-real/lib/dpkg/status", STATUS)
        .symlink("var", "data/dpkg-real")]);
    assert_eq!(purls(&inventory).len(), 3);
}

#[test]
fn a_program_that_nobody_explains_is_said() {
    let inventory = found(&[LayerFiles::new()
        .program("app/mystery", made::elf(&[(".text", b"x")]))
        .file("app/library.so", made::elf(&[]))
        .program("app/script", "#!/bin/sh\n")
        .program("app/go", made::go_program("mod\ta\tv1\n"))]);
    assert_eq!(
        gaps(&inventory),
        ["app/mystery: executable that no package owns"]
    );
}

#[test]
fn files_that_cannot_be_read_are_said() {
    let inventory = found(&[LayerFiles::new()
        .file("app/node_modules/a/package.json", "{")
        .symlink("loop", "loop")
        .file("loop/x", "")]);
    let gaps = gaps(&inventory);
    assert!(
        gaps[0].starts_with("app/node_modules/a/package.json: malformed: EOF"),
        "{gaps:?}"
    );
    assert_eq!(
        gaps[1],
        ": files behind symbolic links that lead in circles"
    );
}
