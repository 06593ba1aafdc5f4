//! Inputs that `tests/golden/generate` makes by itself: what upstream's own lifecycle and launcher do
//! with them, ours do too.

use std::process::Command;

use testkit::{binary, peer, repository, skipped};

use crate::golden::missing;

/// A few hundred of them, always the same: the long run is a command, in `tests/golden/README.md`.
const COUNT: &str = "400";

#[test]
fn inputs_made_at_random_are_treated_as_upstream_treats_them() {
    let (Some(lifecycle), Some(launcher)) = (peer("upstream-lifecycle"), peer("upstream-launcher"))
    else {
        return;
    };
    let missing = missing();
    if !missing.is_empty() {
        skipped(&format!("made-up inputs need {}", missing.join(", ")));
        return;
    }
    let output = Command::new(repository().join("tests/golden/generate"))
        .arg("--lifecycle")
        .arg(binary("lifecycle"))
        .arg("--launcher")
        .arg(binary("launcher"))
        .arg("--upstream-lifecycle")
        .arg(lifecycle)
        .arg("--upstream-launcher")
        .arg(launcher)
        .args(["--seed", "1", "--count", COUNT, "--jobs", "4"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
