//! The launcher as it is copied into images: small, and without symbols.

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
    for section in [".symtab", ".debug_info"] {
        let name = section.as_bytes();
        let found = program.windows(name.len()).any(|it| it == name);
        assert!(!found, "the launcher has {section}");
    }
}
