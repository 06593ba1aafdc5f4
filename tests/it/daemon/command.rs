//! `sealpack copy` into daemons, wherever they are.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use oci::{LayoutStore, Store as _};
use serde_json::Value;
use testkit::daemon::{DaemonSwitches, TestDaemon};
use testkit::{Output, Workspace};

/// A workspace with a layout `src` that has an image `app`, with a referrer.
async fn workspace() -> Workspace {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("src")).unwrap();
    let image = super::push_image(&store, &["layer"], &["layer"]).await;
    store.tag(&image, &"app".parse().unwrap()).await.unwrap();
    crate::layout::push_image(&store, b"proof", Some(&image)).await;
    workspace
}

fn run(command: &mut Command, host: &str) -> Output {
    Output::of(command.env("DOCKER_HOST", host))
}

const COPY: [&str; 3] = ["copy", "oci:src:app", "docker-daemon:app"];

#[tokio::test]
async fn what_is_copied_and_what_is_not_is_told() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let workspace = workspace().await;
    let arguments = [&COPY[..], &["--output", "json"]].concat();
    let output = run(&mut workspace.sealpack(arguments), &daemon.host());
    assert_eq!(output.code, 0, "{output:?}");
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    let id = daemon.image("app:latest").unwrap();
    assert_eq!(report["imageId"], id.as_str());
    assert_eq!(report["leftBehind"], 1);
    insta::assert_snapshot!(output.stderr, @"  warning  1 referrer was not copied: a Docker daemon cannot keep what is attached to an image: signatures, SBOMs, provenance");
}

#[tokio::test]
async fn proof_has_no_place_in_a_daemon() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let workspace = workspace().await;
    let key = testkit::repository().join("tests/fixtures/keys/p256.pub.pem");
    let key = key.to_str().unwrap();
    let private = testkit::repository().join("tests/fixtures/keys/p256-pkcs8.pem");
    let private = private.to_str().unwrap();
    let referrers = [&COPY[..], &["--referrers"]].concat();
    for arguments in [
        &referrers[..],
        &["sign", "docker-daemon:app", "--key", private],
        &["verify", "docker-daemon:app", "--key", key],
    ] {
        let output = run(&mut workspace.sealpack(arguments), &daemon.host());
        assert_eq!(output.code, 2, "{output:?}");
        let text = "error: a Docker daemon cannot keep what is attached to an image";
        assert!(output.stderr.starts_with(text), "{output:?}");
    }
    assert_eq!(daemon.loads().len(), 0);
}

#[tokio::test]
async fn a_daemon_behind_ssh_is_reached_as_docker_reaches_it() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let workspace = workspace().await;
    let ssh = workspace.write(
        "bin/ssh",
        format!(
            "#!/bin/sh\necho \"$@\" >> {}\nexec {} {}\n",
            workspace.join("log").display(),
            env!("CARGO_BIN_EXE_dial"),
            daemon.socket().display(),
        ),
    );
    fs_err::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = workspace.sealpack(COPY);
    command.env("PATH", workspace.join("bin"));
    let output = run(&mut command, "ssh://me@far.example:2222/run/docker.sock");
    assert_eq!(output.code, 0, "{output:?}");
    assert!(daemon.image("app:latest").is_some());
    // One `ssh` for all requests that come one after the other.
    assert_eq!(
        fs_err::read_to_string(workspace.join("log")).unwrap(),
        "-o ConnectTimeout=30 -T -l me -p 2222 -- far.example docker --host unix:///run/docker.sock system dial-stdio\n"
    );

    fs_err::write(
        &ssh,
        "#!/bin/sh\necho far.example: no route >&2\nexit 255\n",
    )
    .unwrap();
    let mut command = workspace.sealpack(COPY);
    command.env("PATH", workspace.join("bin"));
    let output = run(&mut command, "ssh://far.example");
    assert_eq!(output.code, 2);
    insta::assert_snapshot!(output.stderr, @r"
    error: failed to reach the Docker daemon at `ssh://far.example`
      cause: `ssh` says: far.example: no route
    hint: see whether `ssh HOST docker version` works
    ");
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_told_apart_from_one_that_is_not_for_us() {
    let workspace = workspace().await;
    let output = run(&mut workspace.sealpack(COPY), "unix:///nowhere/docker.sock");
    assert_eq!(output.code, 2);
    insta::assert_snapshot!(output.stderr, @r"
    error: failed to reach the Docker daemon at `unix:///nowhere/docker.sock`
      cause: no Docker daemon listens there
      cause: No such file or directory (os error 2)
    hint: is Docker running? `DOCKER_HOST` or a Docker context names another daemon
    ");
    let output = run(&mut workspace.sealpack(COPY), "npipe:////./pipe/docker");
    assert_eq!(output.code, 2);
    insta::assert_snapshot!(output.stderr, @r"
    error: failed to find the Docker daemon
      cause: a Docker daemon cannot be reached by `npipe://`
    ");
    let mut command = workspace.sealpack(COPY);
    let output = run(command.arg("--offline"), "tcp://docker.example");
    assert_eq!(output.code, 2);
    insta::assert_snapshot!(output.stderr, @"error: the Docker daemon `tcp://docker.example:2375` is not on this machine, and `--offline` forbids connections");
}
