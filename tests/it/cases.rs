//! The scripts of `tests/cases`: small inputs from public bug reports, each of which says itself
//! whether the programs do right.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use testkit::{binary, peer, repository, skipped};

/// Cases in which we do as upstream, on purpose, and why: one that passes has to leave the list.
const AS_UPSTREAM: [(&str, &str); 2] = [
    (
        "04-cache-image-twice.sh",
        "cache images have the digests that upstream 0.21 gives them",
    ),
    (
        "14-rebase-media-types.sh",
        "layers have the media types that upstream gives them",
    ),
];

#[test]
fn the_lifecycle_does_right_in_the_cases_of_bug_reports() {
    let tools = ["python3", "jq", "unshare"].map(|tool| peer(tool).is_some());
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root || tools.contains(&false) {
        skipped("the cases of bug reports need root, python3, jq and unshare");
        return;
    }
    run_all("lifecycle");
}

#[test]
fn sealpack_does_right_in_the_cases_of_bug_reports() {
    if ["python3", "openssl"]
        .map(|tool| peer(tool).is_some())
        .contains(&false)
    {
        skipped(
            "the cases of bug reports about registries and signatures need python3 and openssl",
        );
        return;
    }
    // It builds in some of them.
    binary("lifecycle");
    binary("launcher");
    run_all("oci-signing");
}

fn run_all(area: &str) {
    let sealpack = binary("sealpack");
    let binaries = sealpack.parent().unwrap().to_owned();
    let folder = repository().join("tests/cases").join(area);
    let scripts: BTreeSet<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(|it: char| it.is_ascii_digit()))
        .collect();
    assert!(scripts.len() > 9, "{scripts:?}");
    let mut wrong = Vec::new();
    for script in scripts {
        let output = Command::new("bash")
            .arg(folder.join(&script))
            .env("SEALPACK_BIN", &binaries)
            .env("SEALPACK", &sealpack)
            .output()
            .unwrap();
        let known = AS_UPSTREAM.iter().find(|(name, _)| *name == script);
        if output.status.success() == known.is_some() {
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            wrong.push(format!("{script}:\n{printed}{errors}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
