//! The recorded cases of `tests/golden`: what upstream's lifecycle and launcher do, and ours too.

use std::collections::BTreeSet;
use std::process::Command;

use testkit::{binary, peer, repository};

/// All cases pass but those of `known-failures.txt`; and each of those fails, or it has to leave the
/// list.
#[test]
fn lifecycle_and_launcher_do_what_upstream_does() {
    let missing = missing();
    if !missing.is_empty() {
        eprintln!("SKIPPED: the golden cases need {}", missing.join(", "));
        return;
    }
    let golden = repository().join("tests/golden");
    let known = std::fs::read_to_string(golden.join("known-failures.txt")).unwrap();
    let known: BTreeSet<&str> = known
        .lines()
        .filter(|it| !it.is_empty() && !it.starts_with('#'))
        .filter_map(|it| it.split_whitespace().next())
        .collect();

    let output = Command::new(golden.join("run-cases"))
        .arg("--lifecycle")
        .arg(binary("lifecycle"))
        .arg("--launcher")
        .arg(binary("launcher"))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let named = |mark: &str| -> BTreeSet<&str> {
        printed
            .lines()
            .filter_map(|it| it.strip_prefix(mark)?.split_whitespace().next())
            .collect()
    };
    let (passed, failed) = (named("ok "), named("FAIL "));
    assert!(
        passed.len() + failed.len() > 500,
        "most cases did not run: {printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let unexpected: Vec<_> = failed.difference(&known).collect();
    assert!(
        unexpected.is_empty(),
        "these fail: {unexpected:#?}\n{printed}"
    );
    let mended: Vec<_> = passed.intersection(&known).collect();
    assert!(
        mended.is_empty(),
        "take these off the list, they pass: {mended:#?}"
    );
}

/// What the cases need and this machine does not have.
pub(crate) fn missing() -> Vec<&'static str> {
    let is_root = std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|it| {
            it.strip_prefix("Uid:")
                .and_then(|it| it.split_whitespace().nth(1))
                == Some("0")
        })
    });
    let has_toml = Command::new("python3")
        .args(["-c", "import tomllib"])
        .output()
        .is_ok_and(|it| it.status.success());
    [
        (is_root, "root"),
        (has_toml, "python3 >= 3.11"),
        (peer("docker-registry").is_some(), "docker-registry"),
        (peer("busybox").is_some(), "busybox-static"),
        (peer("bash-static").is_some(), "bash-static"),
    ]
    .into_iter()
    .filter_map(|(is_there, name)| (!is_there).then_some(name))
    .collect()
}
