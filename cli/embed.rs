//! Build script of `sealpack`: links it statically, and puts the launcher into it, if there is one.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a build script hears from cargo by its environment, and answers on stdout"
)]

use std::io::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use flate2::Compression;
use flate2::write::ZlibEncoder;

mod static_link;

fn main() {
    static_link::main();
    launcher();
}

/// The program at `SEALPACK_LAUNCHER`, as `cli/dist` names it: built by a profile of its own, which
/// cargo cannot do for a dependency. Without it the file is empty.
fn launcher() {
    const NAME: &str = "SEALPACK_LAUNCHER";
    println!("cargo::rerun-if-env-changed={NAME}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("launcher");
    let Some(path) = env::var_os(NAME).filter(|it| !it.is_empty()) else {
        fs::write(out, []).expect("cargo makes OUT_DIR");
        return;
    };
    let path = PathBuf::from(path);
    println!("cargo::rerun-if-changed={}", path.display());
    let program = fs::read(path).expect("SEALPACK_LAUNCHER names a file");
    let is_program = program.starts_with(b"\x7fELF");
    assert!(is_program, "what SEALPACK_LAUNCHER names is not a program");
    // Packed, it takes half of the room.
    let file = fs::File::create(out).expect("cargo makes OUT_DIR");
    let mut packed = ZlibEncoder::new(file, Compression::best());
    packed.write_all(&program).expect("the disk has room");
    packed.finish().expect("the disk has room");
}
