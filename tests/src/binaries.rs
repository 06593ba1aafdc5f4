//! Our programs, built for tests.

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
#[expect(
    clippy::disallowed_methods,
    reason = "what cargo has set is to be unset"
)]
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let folder = test
        .ancestors()
        .nth(2)
        .expect("tests lie in target/PROFILE/deps")
        .to_owned();
    let mut command = Command::new(env!("CARGO"));
    command
        // Of the whole workspace, or libraries would be built again with other features.
        .args(["build", "--quiet", "--bins", "--workspace"])
        .current_dir(repository());
    // What cargo tells a test about its package would make build scripts run again, each time.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"CARGO_PKG_")
            || name.as_encoded_bytes().starts_with(b"CARGO_MANIFEST_")
        {
            command.env_remove(name);
        }
    }
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let status = command
        .status()
        .expect("cargo runs the tests, so it is there");
    assert!(status.success(), "the programs under test do not build");
    folder
}

/// Copies a program under test to `to`, by a process of its own: where this one had it open for writing
/// while another test starts a program, that would hold it open, and it could not be run.
///
/// # Panics
/// If it cannot be copied.
pub fn copy_binary(name: &str, to: impl AsRef<Path>) {
    let status = Command::new("cp")
        .arg(binary(name))
        .arg(to.as_ref())
        .status();
    assert!(status.is_ok_and(|it| it.success()), "{name} is not copied");
}
