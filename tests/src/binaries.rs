use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the repository.
///
/// # Panics
/// Never: this crate lies in a folder of it.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in the repository")
}

/// The path of one of our programs: `sealpack`, `lifecycle` or `launcher`; built if it is not in
/// date.
///
/// # Panics
/// If it does not build.
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build).join(name)
}

/// `cargo test` builds tests, not the programs of other packages.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let folder = test
        .ancestors()
        .nth(2)
        .expect("tests lie in target/PROFILE/deps")
        .to_owned();
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--quiet", "--bins"])
        .args([
            "-p",
            "sealpack-cli",
            "-p",
            "sealpack-lifecycle",
            "-p",
            "sealpack-launcher",
        ])
        .current_dir(repository());
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let status = command
        .status()
        .expect("cargo runs the tests, so it is there");
    assert!(status.success(), "the programs under test do not build");
    folder
}
