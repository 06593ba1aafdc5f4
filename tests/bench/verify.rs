//! How long `sealpack verify` takes for an image in a registry, by key, next to `cosign verify`:
//! whole processes, in turn, in one run.
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
    let key = repository().join("tests/fixtures/keys/cosign.pub");
    let layout = repository().join("tests/fixtures/cosign-v3-key");
    for (kind, server) in [
        ("without referrers API", plain),
        ("with referrers API", referrers),
    ] {
        let image = format!("{}/bench@{DIGEST}", server.host());
        let source = format!("oci:{}@{DIGEST}", layout.display());
        Output::of(&mut workspace.sealpack([
            "copy",
            "--referrers",
            &source,
            &format!("{}/bench:v1", server.host()),
        ]))
        .expect(0);
        let key = key.to_str().unwrap();
        let ours = || workspace.sealpack(["verify", &image, "--key", key]);
        let theirs = || {
            let mut command = workspace.command(&cosign);
            command.args([
                "verify",
                "--key",
                key,
                "--insecure-ignore-tlog",
                "--allow-http-registry",
                &image,
            ]);
            command
        };
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
            "verify, registry {kind}: sealpack {:?}, cosign {:?} (medians of {rounds}); cosign / sealpack = {:.1}",
            median(&a),
            median(&b),
            median(&ratios)
        );
    }
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
