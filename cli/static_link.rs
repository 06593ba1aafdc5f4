//! Build script of our binaries: links them statically, so that they run in any root file system.
//!
//! `-C target-feature=+crt-static` would do it too, but only with `--target`, which moves the
//! binaries out of `target/release`. So the dynamic libraries that rustc names are made to mean the
//! static ones, by linker scripts that stand in front of the system's folders.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a build script hears from cargo by its environment, and answers on stdout"
)]

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

pub(crate) fn main() {
    println!("cargo::rerun-if-env-changed=TARGET");
    let target = env::var("TARGET").unwrap_or_default();
    if !target.ends_with("-linux-gnu") {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let archive = |name: &str| {
        let printed = Command::new("cc")
            .arg(format!("-print-file-name={name}"))
            .output()
            .expect("rustc links with `cc` too");
        String::from_utf8_lossy(&printed.stdout).trim().to_owned()
    };
    let [c, m, gcc, gcc_eh] = ["libc.a", "libm.a", "libgcc.a", "libgcc_eh.a"].map(archive);
    for (library, script) in [
        ("libc.so", format!("GROUP({c} {gcc} {gcc_eh})\n")),
        ("libm.so", format!("INPUT({m})\n")),
        ("libgcc_s.so", format!("INPUT({gcc_eh})\n")),
    ] {
        fs::write(out.join(library), script).expect("cargo makes OUT_DIR");
    }
    println!("cargo::rustc-link-arg-bins=-L{}", out.display());
    println!("cargo::rustc-link-arg-bins=-static-pie");
    if packs_relocations() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether the C library that is linked in reads packed relocations at the start: glibc does from
/// 2.36 on. A third of the time that a short command takes is its start, and unpacked they are
/// 24 bytes each in place of some bits.
fn packs_relocations() -> bool {
    let printed = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let printed = printed.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    let printed = printed.unwrap_or_default();
    let version = printed.trim().strip_prefix("glibc 2.");
    version
        .and_then(|it| it.parse().ok())
        .is_some_and(|it: u32| it >= 36)
}
