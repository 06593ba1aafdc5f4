//! The launcher as it is copied into images: small, and without symbols.

use std::path::Path;
use std::process::Command;

use testkit::{binary, skipped};

/// What `cargo build --profile launcher -p sealpack-launcher` makes, where it was run. Half of it is
/// the C library: an empty program that is linked in the same way has 0.7 MB.
#[test]
fn the_launcher_is_small() {
    let programs = binary("launcher");
    let folder = programs.ancestors().nth(2).unwrap();
    let Ok(program) = fs_err::read(folder.join("launcher/launcher")) else {
        skipped("the launcher's own profile was not built");
        return;
    };
    let kib = program.len() / 1024;
    assert!(kib < 1464, "the launcher has {kib} KiB");
    // The standard library's own words have these names, too, so only the table of sections counts.
    let sections = sections(&folder.join("launcher/launcher"));
    assert!(sections.contains(" .text "), "{sections}");
    for section in [" .symtab ", " .debug_info "] {
        assert!(!sections.contains(section), "the launcher has {section}");
    }
}

/// The table of sections, as `readelf` prints it, which comes with the linker.
fn sections(program: &Path) -> String {
    let printed = Command::new("readelf")
        .args(["--sections", "--wide"])
        .arg(program)
        .output();
    String::from_utf8(printed.unwrap().stdout).unwrap()
}
