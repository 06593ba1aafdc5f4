//! An `ssh` that talks too much, or does not end.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use testkit::{Output, Workspace};

/// A workspace in which `ssh` is this script of the shell.
fn workspace(script: &str) -> Workspace {
    let workspace = Workspace::new();
    let ssh = workspace.write("bin/ssh", format!("#!/bin/sh\n{script}\n"));
    fs_err::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    workspace
}

fn inspect(workspace: &Workspace) -> std::process::Command {
    let mut command = workspace.sealpack(["inspect", "docker-daemon:app"]);
    command
        .env("PATH", workspace.join("bin"))
        .env("DOCKER_HOST", "ssh://far.example");
    command
}

#[test]
fn only_the_beginning_of_long_words_is_kept() {
    let script = "i=0; while [ $i -lt 2000 ]; do echo 'no route to that host, or so' >&2; i=$((i+1)); done; exit 255";
    let output = Output::of(&mut inspect(&workspace(script))).expect(2);
    assert!(output.stderr.contains("no route"), "{}", output.stderr);
    assert!(output.stderr.len() < 10_000, "{}", output.stderr.len());
}

/// It has closed the connection, and stays.
#[test]
fn an_ssh_that_does_not_end_is_ended() {
    let workspace = workspace("echo $$ > pid; echo stuck >&2; exec /bin/sleep 600 <&- >&-");
    let mut child = inspect(&workspace)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = (0..6000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        child.try_wait().unwrap().is_some()
    });
    let pid = fs_err::read_to_string(workspace.join("pid")).unwrap();
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    // Whoever inherits it may not have buried it yet.
    let is_gone = || stat().map_or(true, |it| it.contains(") Z "));
    let was_ended = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        is_gone()
    });
    if !was_ended {
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
    }
    child.kill().ok();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(ended, "it waits for what `ssh` may say: {stderr}");
    assert!(stderr.contains("stuck"), "{stderr}");
    assert!(was_ended, "`ssh` was left running");
}
