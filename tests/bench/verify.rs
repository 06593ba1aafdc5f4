//! How long `sealpack verify` takes for an image in a registry, by key and by identity, next to
//! `cosign verify`: whole processes, in turn, in one run.
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
    let (no_log, nothing) = (["--insecure-ignore-tlog"], []);
    let signers: [(&str, &str, &[&str], &[&str]); 2] = [
        ("key", "cosign-v3-key", &by_key, &no_log),
        ("identity", "cosign-v3-keyless", &by_identity, &nothing),
    ];
    let servers = [
        ("without referrers API", &plain),
        ("with referrers API", &referrers),
    ];
    for (signer, layout, believed, more) in signers {
        for (kind, server) in servers {
            let repository = format!("{}/{signer}", server.host());
            let image = format!("{repository}@{DIGEST}");
            let source = format!("oci:{}@{DIGEST}", fixtures.join(layout).display());
            let target = format!("{repository}:v1");
            Output::of(&mut workspace.sealpack(["copy", "--referrers", &source, &target]))
                .expect(0);
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
            compare(rounds, signer, kind, &ours, &theirs);
        }
    }
}

/// Runs both in turn, and says how long they took.
fn compare(
    rounds: usize,
    signer: &str,
    kind: &str,
    ours: &dyn Fn() -> Command,
    theirs: &dyn Fn() -> Command,
) {
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
        "verify by {signer}, registry {kind}: sealpack {:?}, cosign {:?} (medians of {rounds}); cosign / sealpack = {:.1}",
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
