//! How long `sealpack verify` takes for an image in a registry, by key and by identity, with one
//! bundle and with four, next to `cosign verify`: whole processes, in turn, in one run.
//!
//! `cargo bench -p sealpack-tests --bench verify`

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark measures time, prints what it found, and stops when it cannot"
)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Output, Workspace, docker_registry, olareg, peer, repository};

const ROUNDS: usize = 30;
const DIGEST: &str = "sha256:900ba210f34615e96cc5560c1177cc82499c1460eb6bb418199a63d512713ded";
/// A signature of the image, by key.
const KEY_BUNDLE: &str = "sha256:7f30505a247c89c499dfd0fe259abcfa3240d1b637a9a629eeac1888becaa20a";
/// A signature of the image, by identity.
const IDENTITY_BUNDLE: &str =
    "sha256:b5e459346ab3eb5d2820912d05b15d245ea1e63de0dfe15e514e085b0795645d";

fn main() {
    // `cargo test --all-targets` runs benchmarks too, to see that they start.
    let rounds = if std::env::args().any(|it| it == "--bench") {
        ROUNDS
    } else {
        1
    };
    let workspace = Workspace::new();
    let (Some(cosign), Some(plain), Some(referrers)) = (
        peer("cosign"),
        docker_registry(workspace.path()),
        olareg(workspace.path()),
    ) else {
        return;
    };
    let fixtures = repository().join("tests/fixtures");
    let key = fixtures.join("keys/cosign.pub").display().to_string();
    let root = fixtures
        .join("keyless/trusted_root.json")
        .display()
        .to_string();
    let by_key = ["--key", &key];
    let by_identity = [
        "--certificate-identity=dev@example.test",
        "--certificate-oidc-issuer=http://127.0.0.1:5620/oidc",
        "--trusted-root",
        &root,
    ];
    // A key says nothing of a log; cosign wants to be told so.
    let (no_log, nothing): (_, [&str; 0]) = (["--insecure-ignore-tlog"], []);
    let signers = [
        ("key", "cosign-v3-key", KEY_BUNDLE, &by_key[..], &no_log[..]),
        (
            "identity",
            "cosign-v3-keyless",
            IDENTITY_BUNDLE,
            &by_identity,
            &nothing,
        ),
    ];
    // A bundle that is copied by itself is found only where the registry lists what refers to what.
    let servers = [
        ("with referrers API", &referrers, 1),
        ("with referrers API", &referrers, 4),
        ("without referrers API", &plain, 4),
    ];
    for (signer, layout, bundle, believed, more) in signers {
        for (kind, server, bundles) in servers {
            let repository = format!("{}/{signer}-{bundles}", server.host());
            let image = format!("{repository}@{DIGEST}");
            let source = |digest: &str| format!("oci:{}@{digest}", fixtures.join(layout).display());
            let (image_source, target) = (source(DIGEST), format!("{repository}:v1"));
            let mut copy = vec!["copy", &image_source, &target];
            if bundles > 1 {
                copy.push("--referrers");
            }
            Output::of(&mut workspace.sealpack(copy)).expect(0);
            if bundles == 1 {
                let (bundle_source, target) = (source(bundle), format!("{repository}:bundle"));
                Output::of(&mut workspace.sealpack(["copy", &bundle_source, &target])).expect(0);
            }
            let ours = || {
                let mut command = workspace.sealpack(["verify", &image]);
                command.args(believed);
                command
            };
            let theirs = || {
                let mut command = workspace.command(&cosign);
                command.args(["verify", "--allow-http-registry", &image]);
                command.args(believed).args(more);
                command
            };
            let what = format!("verify by {signer}, bundles: {bundles}, registry {kind}");
            compare(rounds, &what, &ours, &theirs);
        }
    }
}

/// Runs both in turn, and says how long they took.
fn compare(rounds: usize, what: &str, ours: &dyn Fn() -> Command, theirs: &dyn Fn() -> Command) {
    let [mut a, mut b] = [Vec::new(), Vec::new()];
    time(&mut ours());
    time(&mut theirs());
    for _ in 0..rounds {
        a.push(time(&mut ours()));
        b.push(time(&mut theirs()));
    }
    let mut ratios: Vec<_> = a
        .iter()
        .zip(&b)
        .map(|(a, b)| b.as_secs_f64() / a.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    a.sort();
    b.sort();
    println!(
        "{what}: sealpack {:?}, cosign {:?} (medians of {rounds}); cosign / sealpack = {:.1}",
        median(&a),
        median(&b),
        median(&ratios)
    );
}

fn time(command: &mut Command) -> Duration {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().unwrap();
    let took = start.elapsed();
    assert!(status.success(), "{command:?}");
    took
}

fn median<T: Copy>(sorted: &[T]) -> T {
    sorted.iter().copied().nth(sorted.len() / 2).unwrap()
}
