//! Who is asked, by which scheme, where a phase of the lifecycle is given the name of an image: the same that
//! upstream's asks, as a proxy sees it.

use std::collections::BTreeSet;
use std::path::Path;

use testkit::{Output, Reply, Scripted, Workspace, binary, peer, skipped};

/// `SCHEME HOST[:PORT]` of all requests that the lifecycle `program` sends for an image of `registry`.
fn asked(workspace: &Workspace, program: &Path, registry: &str) -> BTreeSet<String> {
    let proxy = Scripted::start(|asked| match asked.line.split_once(' ') {
        Some(("CONNECT", _)) => Reply::new(502).body(""),
        _ => Reply::new(404).body(""),
    });
    let address = format!("http://{}", proxy.host());
    let phase = workspace.join("rebaser");
    fs_err::remove_file(&phase).unwrap_or_default();
    fs_err::os::unix::fs::symlink(program, &phase).unwrap();
    let mut command = workspace.command("timeout");
    command.arg("60").arg(&phase);
    command.args(["-run-image", &format!("{registry}/team/run:v1")]);
    command.arg(format!("{registry}/team/app:v1"));
    command.envs([
        ("CNB_PLATFORM_API", "0.12"),
        ("HTTP_PROXY", &address),
        ("HTTPS_PROXY", &address),
    ]);
    let output = Output::of(&mut command);
    assert_ne!(output.code, 0, "{output:?}");
    let lines = proxy.lines().into_iter().filter_map(|line| {
        let (method, target) = line.split_once(' ')?;
        let (scheme, rest, port) = match target.strip_prefix("http://") {
            Some(rest) => ("http", rest, ":80"),
            None if method == "CONNECT" => ("https", target, ":443"),
            None => return Some(line),
        };
        let host = rest.split('/').next()?;
        let host = host.strip_suffix(port).unwrap_or(host);
        Some(format!("{scheme} {}", host.to_ascii_lowercase()))
    });
    lines.collect()
}

#[test]
fn the_lifecycle_asks_whom_upstreams_asks() {
    let workspace = Workspace::new();
    let upstream = peer("upstream-lifecycle");
    if upstream.is_none() {
        skipped("upstream's lifecycle is not there to be compared with");
    }
    let both = |host: &str| vec![format!("http {host}"), format!("https {host}")];
    let tls = |host: &str| vec![format!("https {host}")];
    for (registry, expected) in [
        ("r.example", tls("r.example")),
        ("R.Example:443", tls("r.example")),
        ("r.example:80", tls("r.example:80")),
        ("r.example.", tls("r.example.")),
        ("r.local:5000", tls("r.local:5000")),
        ("10.1.2.3:5000", both("10.1.2.3:5000")),
        ("172.16.0.1", both("172.16.0.1")),
        (
            "192.168.1.1:443",
            vec![
                "http 192.168.1.1:443".to_owned(),
                "https 192.168.1.1".to_owned(),
            ],
        ),
        ("172.32.0.1:5000", tls("172.32.0.1:5000")),
        ("[2001:db8::1]:5000", tls("[2001:db8::1]:5000")),
    ] {
        let expected: BTreeSet<String> = expected.into_iter().collect();
        let ours = asked(&workspace, &binary("lifecycle"), registry);
        assert_eq!(ours, expected, "{registry}");
        if let Some(upstream) = &upstream {
            let theirs = asked(&workspace, upstream, registry);
            assert_eq!(theirs, expected, "{registry}, upstream");
        }
    }
}
